//! The servers that `benches/load.sh` puts under load: `load MODE REQUESTS USERS`.
//!
//! It writes the requests that a client is to send into the file `REQUESTS`, each as its length and its bytes, prints
//! its port, and serves until it is killed. A one-time password passes once, so each user is sent once with each code
//! of the window, in their order, and the clock stands still: nothing of what is checked is switched off.
#![allow(missing_docs, clippy::unwrap_used, clippy::result_large_err)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write as _;
use std::future::{IntoFuture, Ready, ready};
use std::hint::black_box;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use common::phones::{self, Ask, Phones, approvals};
use common::toopher::Site;
use common::{Calls, Clock};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower::Service;
use tower_http::auth::AsyncRequireAuthorizationLayer;
use tower_toopher::oauth1::Credentials;
use tower_toopher::server::{SealingKey, Server};
use tower_toopher::store::MemoryStore;
use tower_toopher::toopher::{ApiCall, ApiReply, HyperTransport, ReqwestTransport, ToopherClient, ToopherVerifier};
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp, TotpVerifier};
use tower_toopher::{Action, BoxError, Factor, HeaderOrForm, Otp, SecondFactor, ToopherLayer, UserId};

/// As the API answers a right one-time password.
const GRANTED: &str = r#"{"id":"1","pending":false,"granted":true,"automated":false,"reason":"","reason_code":0}"#;
const FORM: &str = "to=CH9300762011623852957&name=Bob+Miller&street=Long+Lane+7&city=Zurich&amount=1250.00&currency=CHF\
                    &reference=invoice+2026-0815&memo=with+%26+without&date=2026-11-30&csrf=3a7bd3e2360a3d29ee&otp=";

/// As the gate calls it, and unsigned.
const CALL: &str = "user_name=user-000000&action_name=log+in&otp=081804";

type Failure = Box<dyn Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [mode, file, users] = arguments.as_slice() else {
        println!("benches/load.sh runs this");
        return Ok(());
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let names = (0..users.parse()?).map(|i| format!("user-{i:06}"));
    let users = names.map(|name| (name.clone(), format!("{name:->20}").into_bytes())).collect();
    let mut load = Load { address, now, users, requests: Vec::new(), database: format!("{file}.sqlite").into() };
    let app = load.app(mode).await?;
    std::fs::File::create(file)?.write_all(&load.requests)?;
    println!("{}", address.port());
    axum::serve(listener, app).await?;
    Ok(())
}

struct Load {
    address: SocketAddr,
    /// The moment at which the clock stands.
    now: u64,
    /// Names and secrets.
    users: Vec<(String, Vec<u8>)>,
    requests: Vec<u8>,
    database: PathBuf,
}

impl Load {
    async fn app(&mut self, mode: &str) -> Result<Router, Failure> {
        Ok(match mode {
            "bare" => {
                self.send_codes(1);
                inner()
            }
            "authorization" => {
                self.send_codes(1);
                inner().layer(self.by_hand())
            }
            "gate-header" => {
                self.send_codes(1);
                inner().layer(self.layer())
            }
            "gate-and-10k-held" => {
                self.send_codes(1);
                self.hold(10_000).await;
                inner().layer(self.layer())
            }
            "gate-form" => {
                for (user, code) in self.codes(1) {
                    let form = format!("{FORM}{}", code.as_str());
                    self.send(&user, "content-type: application/x-www-form-urlencoded\r\n", &form);
                }
                inner().layer(self.layer().extractor(HeaderOrForm::default()))
            }
            "bare-reqwest" | "bare-hyper" | "gate-reqwest" | "gate-hyper" => {
                let api = TcpListener::bind(("127.0.0.1", 0)).await?;
                let at = api.local_addr()?;
                tokio::spawn(axum::serve(api, Router::new().fallback(granted)).into_future());
                self.in_front_of(mode, at, Credentials::new("key", "secret")?, 1)?
            }
            "server-reqwest" | "server-hyper" => {
                let api = TcpListener::bind(("127.0.0.1", 0)).await?;
                let at = api.local_addr()?;
                let site = self.pair(Server::in_memory(&format!("http://{at}")).await?, at).await?;
                tokio::spawn(axum::serve(api, site.app.clone()).into_future());
                self.in_front_of(&mode.replace("server", "gate"), at, site.credentials, 2)?
            }
            "server-in-memory" => self.alone(Server::in_memory(&format!("http://{}", self.address)).await?).await?,
            "server-on-file" => {
                let key = SealingKey::generate()?;
                self.alone(Server::open(&self.database, key, &format!("http://{}", self.address)).await?).await?
            }
            _ => return Err("no such mode".into()),
        })
    }

    /// Each user with each code of the window, the oldest codes first.
    fn codes(&self, reach: i64) -> Vec<(String, Otp)> {
        let at = |step: i64| Duration::from_secs(self.now.saturating_add_signed(step * 30));
        let of_step = |step| self.users.iter().map(move |(name, key)| (name.clone(), totp(key).code_at(at(step))));
        (-reach..=reach).flat_map(of_step).collect()
    }

    fn send_codes(&mut self, reach: i64) {
        for (user, code) in self.codes(reach) {
            self.send(&user, &format!("toopher-otp: {}\r\n", code.as_str()), "");
        }
    }

    /// Adds a request as it goes over the wire.
    fn send(&mut self, user: &str, headers: &str, body: &str) {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let mut text = format!("{method} / HTTP/1.1\r\nhost: {}\r\nx-user: {user}\r\n{headers}", self.address);
        if !body.is_empty() {
            let _ = write!(text, "content-length: {}\r\n", body.len());
        }
        self.push(&format!("{text}\r\n{body}"));
    }

    fn push(&mut self, request: &str) {
        let _ = writeln!(self.requests, "{}\n{request}", request.len());
    }

    fn clock(&self) -> impl Fn() -> SystemTime + Clone + Send + Sync + use<> {
        let now = UNIX_EPOCH + Duration::from_secs(self.now);
        // It takes as long to read as one that goes.
        move || {
            black_box(SystemTime::now());
            now
        }
    }

    fn layer(&self) -> ToopherLayer<TotpVerifier<MemoryPairings>> {
        let users = MemoryPairings::new();
        for (name, key) in &self.users {
            users.insert(UserId::new(name.as_str()).unwrap(), Pairing::confirmed(totp(key)));
        }
        ToopherLayer::new(TotpVerifier::new(users).unwrap().clock(self.clock()))
            .identify(|parts| user_of(&parts.headers))
    }

    /// Has so many requests wait for a phone, beside whatever else is served.
    async fn hold(&self, requests: usize) {
        let (phones, wait) = (Phones::default(), Duration::from_secs(100));
        let approvals = approvals(&phones, MemoryStore::new(), &Clock::at(self.now));
        let gate = phones::gate(approvals.most_held(requests).longest_wait(wait), &Calls::default());
        for i in 0..requests {
            let (gate, ask) = (gate.clone(), Ask::default().user(&format!("holder-{i}")).wait(wait.as_secs()));
            tokio::spawn(async move { ask.send(&gate).await });
        }
        while phones.rings() < requests {
            tokio::task::yield_now().await;
        }
    }

    /// What one would write: it records nothing.
    fn by_hand(
        &self,
    ) -> AsyncRequireAuthorizationLayer<impl Fn(Request) -> Ready<Result<Request, Response>> + Clone + use<>> {
        let key_of = |(name, key): &(String, Vec<u8>)| {
            let totp = totp_rs::Builder::new().with_secret(key.clone()).build().unwrap();
            (UserId::new(name.as_str()).unwrap(), totp)
        };
        let keys: Arc<HashMap<_, _>> = Arc::new(self.users.iter().map(key_of).collect());
        let (clock, action) = (self.clock(), Action::from("log in"));
        AsyncRequireAuthorizationLayer::new(move |mut request: Request| {
            let mut decide = || {
                let user = user_of(request.headers())?;
                let otp = Otp::parse(request.headers_mut().remove("toopher-otp")?.as_bytes()).ok()?;
                let now = clock().duration_since(UNIX_EPOCH).ok()?.as_secs();
                keys.get(&user)?.check(otp.as_str(), now)?;
                request.extensions_mut().insert(SecondFactor::new(user, action.clone(), Factor::Totp));
                Some(())
            };
            ready(if decide().is_some() { Ok(request) } else { Err(StatusCode::UNAUTHORIZED.into_response()) })
        })
    }

    /// What stands in front of an API: a gate, or a handler that makes one unsigned call with a bare client.
    fn in_front_of(
        &mut self,
        mode: &str,
        api: SocketAddr,
        credentials: Credentials,
        reach: i64,
    ) -> Result<Router, Failure> {
        self.send_codes(reach);
        let url = format!("http://{api}/v1/authentication_requests/initiate");
        let base = format!("http://{api}/v1/").parse()?;
        Ok(match mode {
            "bare-reqwest" => {
                let client = reqwest::Client::builder().build()?;
                Router::new().fallback(async move || {
                    let call = client.post(&url).header("content-type", "application/x-www-form-urlencoded").body(CALL);
                    let answer = call.send().await.unwrap().bytes().await.unwrap();
                    assert_eq!(answer, GRANTED);
                    "in"
                })
            }
            "bare-hyper" => {
                let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
                Router::new().fallback(async move || {
                    let call = http::Request::post(&url).header("content-type", "application/x-www-form-urlencoded");
                    let answer = client.request(call.body(CALL.into()).unwrap()).await.unwrap();
                    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), GRANTED);
                    "in"
                })
            }
            "gate-reqwest" => self.remote(ToopherClient::with_transport(base, credentials, ReqwestTransport::new()?)),
            _ => self.remote(ToopherClient::with_transport(base, credentials, HyperTransport::new()?)),
        })
    }

    fn remote<C>(&self, client: ToopherClient<C>) -> Router
    where
        ToopherClient<C>:
            Service<ApiCall, Response = ApiReply, Error: Into<BoxError>, Future: Send> + Clone + Send + Sync + 'static,
    {
        let client = client.clock(self.clock());
        inner().layer(ToopherLayer::new(ToopherVerifier::new(client)).identify(|parts| user_of(&parts.headers)))
    }

    /// Pairs each user with a phone, whose secret is theirs from then on.
    async fn pair(&mut self, server: Server, at: SocketAddr) -> Result<Site, Failure> {
        let clock = Clock::at(self.now);
        let mut site = Site::new(&server.clock(self.clock()), &clock).await;
        site.public = ("http".into(), at.to_string());
        for (name, key) in &mut self.users {
            let (phone, _) = site.paired(name).await;
            *key = Secret::from_base32(&phone.secret.ok_or("no secret")?)?.as_bytes().to_vec();
        }
        Ok(site)
    }

    /// The API itself, to which signed calls are sent.
    async fn alone(&mut self, server: Server) -> Result<Router, Failure> {
        let site = self.pair(server, self.address).await?;
        for (user, code) in self.codes(2) {
            let call = [("user_name", user.as_str()), ("otp", code.as_str())];
            let (head, body) = site.signed("POST", "authentication_requests/initiate", &call).into_parts();
            let body = body.collect().await?.to_bytes();
            let mut text = format!("POST {} HTTP/1.1\r\nhost: {}\r\n", head.uri, self.address);
            for (name, value) in &head.headers {
                let _ = write!(text, "{name}: {}\r\n", value.to_str()?);
            }
            let _ = write!(text, "content-length: {}\r\n\r\n{}", body.len(), str::from_utf8(&body)?);
            self.push(&text);
        }
        Ok(site.app)
    }
}

fn inner() -> Router {
    Router::new().route("/", any(async || "in"))
}

async fn granted() -> impl IntoResponse {
    ([("content-type", "application/json")], GRANTED)
}

fn totp(key: &[u8]) -> Totp {
    Totp::new(Secret::from_bytes(key).unwrap())
}

/// Stands for a first factor, which is not measured.
fn user_of(headers: &HeaderMap) -> Option<UserId> {
    UserId::new(headers.get("x-user")?.to_str().ok()?).ok()
}
