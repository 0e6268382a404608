//! Several servers on one PostgreSQL database.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use http_body_util::BodyExt;
use serde_json::json;
use toopher_oauth1::Credentials;
use tower_toopher::time::UnixTime;

use crate::site::{HOST, Site};
use crate::{Clock, RFC_SECRET};
use test_support::postgres::{PASSWORD, Postgres};
use test_support::process::{Running, command, scratch};

pub fn now() -> UnixTime {
    SystemTime::now().try_into().unwrap()
}

/// A router that forwards calls to another server.
pub fn forward_to(address: &str) -> Router {
    forward(&format!("http://{address}"), reqwest::Client::builder())
}

fn forward(url: &str, client: reqwest::ClientBuilder) -> Router {
    // Connections are not reused: the server closes idle ones, perhaps while a call is sent.
    let client = client.pool_max_idle_per_host(0).build().unwrap();
    let url = url.to_owned();
    Router::new().fallback(move |request: Request| {
        let (client, url) = (client.clone(), url.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let sent = client.request(parts.method, format!("{url}{}", parts.uri));
            match sent.headers(parts.headers).body(body).timeout(Duration::from_secs(60)).send().await {
                Ok(answer) => axum::http::Response::from(answer).map(Body::new),
                // The server cannot be reached.
                Err(error) => {
                    let text = json!({ "error": format!("{error:?}") }).to_string();
                    axum::http::Response::builder().status(599).body(text.into()).unwrap()
                }
            }
        }
    })
}

/// A site that calls a server at its address, which is also its public URL. With a certificate, over TLS.
pub fn site_at(address: &str, (key, secret): &(String, String), certificate: Option<&[u8]>) -> Site {
    let (scheme, client) = match certificate {
        None => ("http", reqwest::Client::builder()),
        Some(pem) => {
            let root = reqwest::Certificate::from_pem(pem).unwrap();
            ("https", reqwest::Client::builder().tls_certs_only([root]))
        }
    };
    Site {
        app: forward(&format!("{scheme}://{address}"), client),
        credentials: Credentials::new(key.as_str(), secret.as_str()).unwrap(),
        clock: Clock::from_secs(now().as_secs()),
        public: (scheme.into(), address.into()),
    }
}

/// Servers behind one public URL.
pub struct Cluster {
    pub servers: Vec<Running>,
    pub credentials: Credentials,
    pub folder: PathBuf,
    /// The URL of the database, without its password.
    pub url: String,
}

impl Cluster {
    pub fn start(postgres: &Postgres, name: &str, count: usize) -> Self {
        Self::start_with(postgres, name, count, |_| {})
    }

    /// The same, with further options for each server and command.
    pub fn start_with(postgres: &Postgres, name: &str, count: usize, more: impl Fn(&mut Command) + Sync) -> Self {
        let folder = scratch(name);
        std::fs::write(folder.join("toopher.key"), "7".repeat(64)).unwrap();
        test_support::output("chmod", &["600", folder.join("toopher.key").to_str().unwrap()]);
        let url = postgres.url(&postgres.new_database());
        let mut create = command(&folder);
        more(&mut create);
        let made = with_database(&mut create, &url).args(["requester", "create", "my site"]).output().unwrap();
        let printed = String::from_utf8(made.stdout).unwrap();
        let mut values = printed.lines().map(|line| line.split_once('=').unwrap().1);
        let credentials = Credentials::new(values.next().unwrap(), values.next().unwrap()).unwrap();
        let public = format!("https://{HOST}");
        // At once: one of them creates the tables, and the others wait for it.
        let start = || {
            Running::start_with(&folder, &["--public-url", &public, "--replicas", "2"], |command| {
                more(with_database(command, &url));
            })
        };
        let servers = std::thread::scope(|scope| {
            let starting: Vec<_> = (0..count).map(|_| scope.spawn(start)).collect();
            starting.into_iter().map(|starting| starting.join().unwrap()).collect()
        });
        Self { servers, credentials, folder, url }
    }

    /// The site with the address of one of the servers.
    pub fn site(&self, at: usize) -> Site {
        Site {
            app: forward_to(&self.servers[at].address),
            credentials: self.credentials.clone(),
            clock: Clock::from_secs(now().as_secs()),
            public: ("https".into(), HOST.into()),
        }
    }
}

pub fn with_database<'a>(command: &'a mut Command, url: &str) -> &'a mut Command {
    command.env("TOOPHER_SERVER_DATABASE", url).env("TOOPHER_SERVER_DATABASE_PASSWORD", PASSWORD)
}

/// A user with an authenticator whose secret is RFC_SECRET.
pub async fn enrolled(site: &Site, user: &str) -> (u16, serde_json::Value) {
    let secret: String = RFC_SECRET.iter().map(|byte| format!("{byte:02x}")).collect();
    site.post("pairings/upgrade", &[("user_name", user), ("secret", &secret)]).await
}
