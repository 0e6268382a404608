//! The servers that `load.sh` measures: `load MODE REQUESTS USERS`.
//!
//! Writes the requests for the load generator to the file `REQUESTS`, each as its length and its bytes, prints the
//! port, and serves until the process is killed. A one-time password is accepted once, so the file has one request for
//! each user and each code of the window, the oldest codes first. The server's clock is fixed, so that the codes stay
//! valid. All checks are active.

mod input;
mod local;
mod remote;
mod requests;

use std::fs;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::time::SystemTime;

use axum::Router;
use input::{BoxError, Load, inner_service, users_with_secrets};
use requests::Requests;
use tokio::net::TcpListener;
use toopher_oauth1::Credentials;
use toopher_server::{SealingKey, Server};
use toopher_server_test_support::Clock;
use toopher_server_test_support::site::Site;
use tower_toopher::HeaderOrForm;
use tower_toopher::time::UnixTime;
use tower_toopher::totp::Secret;

/// The steps of the layer's window on either side of the current one.
const LAYER_REACH: i64 = 1;
/// The steps of the server's window on either side of the current one.
const SERVER_REACH: i64 = 2;
const HELD_REQUESTS: usize = 10_000;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, file, users] = arguments.as_slice() else {
        return Err("usage: load MODE REQUESTS USERS (benches/load.sh runs this program)".into());
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let now = UnixTime::try_from(SystemTime::now())?.as_secs();
    let database = format!("{file}.sqlite").into();
    let mut load = Load { address, now, users: users_with_secrets(users.parse()?), database };
    let (app, requests) = load.prepare(mode).await?;
    fs::write(file, requests.into_bytes())?;
    println!("{}", address.port());
    axum::serve(listener, app).await?;
    Ok(())
}

impl Load {
    /// Returns the application of a mode and the requests to send to it.
    async fn prepare(&mut self, mode: &str) -> Result<(Router, Requests), BoxError> {
        match mode {
            "bare" => Ok((inner_service(), self.header_requests(LAYER_REACH))),
            "authorization" => Ok((inner_service().layer(local::totp_rs(self)), self.header_requests(LAYER_REACH))),
            "layer-header" => Ok((inner_service().layer(local::layer(self)?), self.header_requests(LAYER_REACH))),
            "layer-and-10k-held" => {
                local::hold_requests(self, HELD_REQUESTS).await?;
                Ok((inner_service().layer(local::layer(self)?), self.header_requests(LAYER_REACH)))
            }
            "layer-form" => {
                let layer = local::layer(self)?.extractor(HeaderOrForm::default());
                Ok((inner_service().layer(layer), self.form_requests(LAYER_REACH)))
            }
            "bare-reqwest" | "bare-hyper" | "layer-reqwest" | "layer-hyper" => {
                let api = TcpListener::bind(("127.0.0.1", 0)).await?;
                let address = api.local_addr()?;
                tokio::spawn(axum::serve(api, remote::granting_api()).into_future());
                let app = remote::app(self, mode, address, Credentials::new("key", "secret")?)?;
                Ok((app, self.header_requests(LAYER_REACH)))
            }
            "server-reqwest" | "server-hyper" => {
                let api = TcpListener::bind(("127.0.0.1", 0)).await?;
                let address = api.local_addr()?;
                let site = self.pair_users(Server::in_memory(&format!("http://{address}")).await?, address).await?;
                tokio::spawn(axum::serve(api, site.app).into_future());
                let app = remote::app(self, &mode.replace("server", "layer"), address, site.credentials)?;
                Ok((app, self.header_requests(SERVER_REACH)))
            }
            "server-in-memory" => {
                let server = Server::in_memory(&format!("http://{}", self.address)).await?;
                self.prepare_server(server).await
            }
            "server-on-file" => {
                let (key, url) = (SealingKey::generate()?, format!("http://{}", self.address));
                let server = Server::open(&self.database, key, &url).await?;
                self.prepare_server(server).await
            }
            _ => Err(format!("unknown mode: {mode}").into()),
        }
    }

    /// Returns `toopher-server` itself and signed calls of `initiate`.
    async fn prepare_server(&mut self, server: Server) -> Result<(Router, Requests), BoxError> {
        let site = self.pair_users(server, self.address).await?;
        let requests = self.signed_calls(&site, SERVER_REACH).await?;
        Ok((site.app, requests))
    }

    /// Pairs each user with a phone and sets the user's secret to that of the phone.
    async fn pair_users(&mut self, server: Server, address: SocketAddr) -> Result<Site, BoxError> {
        let mut site = Site::new(&server.clock(self.clock()), &Clock::from_secs(self.now)).await;
        site.public = ("http".into(), address.to_string());
        for user in &mut self.users {
            let (phone, _) = site.paired(&user.name).await;
            user.secret = Secret::from_base32(&phone.secret.ok_or("the phone has no secret")?)?.as_bytes().to_vec();
        }
        Ok(site)
    }
}
