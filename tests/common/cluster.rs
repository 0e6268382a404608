//! Several servers on one PostgreSQL database.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use http_body_util::BodyExt;
use serde_json::json;
use tower_toopher::oauth1::Credentials;

use super::postgres::{PASSWORD, Postgres};
use super::process::{Running, command, scratch};
use super::toopher::{HOST, Site};
use super::{Clock, K20};

pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// A way to a server that runs elsewhere.
pub fn way_to(address: &str) -> Router {
    // No connection is used twice: the server ends those on which nothing comes, perhaps just as something does.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let address = address.to_owned();
    Router::new().fallback(move |request: Request| {
        let (client, address) = (client.clone(), address.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let sent = client.request(parts.method, format!("http://{address}{}", parts.uri));
            match sent.headers(parts.headers).body(body).timeout(Duration::from_secs(60)).send().await {
                Ok(answer) => axum::http::Response::from(answer).map(Body::new),
                // Nobody is there.
                Err(error) => {
                    let text = json!({ "error": format!("{error:?}") }).to_string();
                    axum::http::Response::builder().status(599).body(text.into()).unwrap()
                }
            }
        }
    })
}

/// Servers behind one public URL.
pub struct Cluster {
    pub servers: Vec<Running>,
    pub credentials: Credentials,
    pub folder: PathBuf,
    /// Of the database, without its password.
    pub url: String,
}

impl Cluster {
    pub fn start(postgres: &Postgres, name: &str, count: usize) -> Self {
        Self::start_with(postgres, name, count, |_| {})
    }

    /// The same, with more said to each, and to the commands.
    pub fn start_with(postgres: &Postgres, name: &str, count: usize, more: impl Fn(&mut Command) + Sync) -> Self {
        let folder = scratch(name);
        std::fs::write(folder.join("toopher.key"), "7".repeat(64)).unwrap();
        super::output("chmod", &["600", folder.join("toopher.key").to_str().unwrap()]);
        let url = postgres.url(&postgres.new_database());
        let mut create = command(&folder);
        more(&mut create);
        let made = with_database(&mut create, &url).args(["requester", "create", "my site"]).output().unwrap();
        let printed = String::from_utf8(made.stdout).unwrap();
        let mut values = printed.lines().map(|line| line.split_once('=').unwrap().1);
        let credentials = Credentials::new(values.next().unwrap(), values.next().unwrap()).unwrap();
        let public = format!("https://{HOST}");
        // All at once: one of them may have to wait for another that makes the tables.
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

    /// The site, as it calls one of the servers.
    pub fn site(&self, at: usize) -> Site {
        Site {
            app: way_to(&self.servers[at].address),
            credentials: self.credentials.clone(),
            clock: Clock::at(now().as_secs()),
            public: ("https".into(), HOST.into()),
        }
    }
}

pub fn with_database<'a>(command: &'a mut Command, url: &str) -> &'a mut Command {
    command.env("TOOPHER_SERVER_DATABASE", url).env("TOOPHER_SERVER_DATABASE_PASSWORD", PASSWORD)
}

/// A user with an authenticator whose secret is K20.
pub async fn enrolled(site: &Site, user: &str) -> (u16, serde_json::Value) {
    let secret: String = K20.iter().map(|byte| format!("{byte:02x}")).collect();
    site.post("pairings/upgrade", &[("user_name", user), ("secret", &secret)]).await
}
