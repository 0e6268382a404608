//! A site and a phone, for tests of the server.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use test_support::redis::Redis;
use toopher_oauth1::{BaseUri, Credentials, sign};
use toopher_server::{SealingKey, Server};
use tower::ServiceExt;
use tower_toopher::store::{PgDatabase, RedisStore};
use tower_toopher::time::UnixTime;
use tower_toopher::totp::{Secret, Totp};

use crate::Clock;

pub const HOST: &str = "mfa.example.test";

/// A server with the clock of the test: in memory, or on PostgreSQL if `TEST_DATABASE` is `postgres`; and with its
/// failures and used codes in Redis if `TEST_FAILURE_STORE` is `redis`.
pub async fn server(clock: &Clock) -> Server {
    let public_url = format!("https://{HOST}");
    let server = match std::env::var("TEST_DATABASE").as_deref() {
        Err(_) => Server::in_memory(&public_url).await,
        Ok("postgres") => {
            let postgres = test_support::postgres::shared().unwrap();
            let database = PgDatabase::new(&postgres.socket_url(&postgres.new_database())).unwrap();
            Server::open_postgres(&database, SealingKey::generate().unwrap(), &public_url).await
        }
        Ok(other) => panic!("TEST_DATABASE={other} is not known"),
    };
    let server = match std::env::var("TEST_FAILURE_STORE").as_deref() {
        Err(_) => server.unwrap(),
        Ok("redis") => server.unwrap().failure_store_in_redis(redis_store(test_support::redis::shared().unwrap())),
        Ok(other) => panic!("TEST_FAILURE_STORE={other} is not known"),
    };
    server.clock(clock)
}

/// A store with keys of its own, and a deadline for a busy machine.
pub fn redis_store(redis: &Redis) -> RedisStore {
    let store = RedisStore::new(&redis.url()).unwrap().prefix(&Redis::new_prefix()).unwrap();
    store.deadline(Duration::from_secs(30))
}

pub async fn json(response: Response<Body>) -> (u16, Value) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{status}, and no JSON: {text:?}")))
}

pub async fn text(app: &Router, path: &str) -> (u16, String) {
    let response = app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// A site that calls the server.
#[derive(Clone)]
pub struct Site {
    pub app: Router,
    pub credentials: Credentials,
    pub clock: Clock,
    /// Scheme and authority of the server's public URL.
    pub public: (String, String),
}

impl Site {
    pub async fn new(server: &Server, clock: &Clock) -> Self {
        let credentials = server.create_requester("my site").await.unwrap();
        Self { app: server.router(), credentials, clock: clock.clone(), public: ("https".into(), HOST.into()) }
    }

    /// A signed request.
    pub fn signed(&self, method: &str, path: &str, parameters: &[(&str, &str)]) -> Request<Body> {
        let base = BaseUri::new(&self.public.0, &self.public.1, &format!("/v1/{path}")).unwrap();
        let now = self.clock.now().as_secs();
        let header = sign::authorization(&self.credentials, method, &base, parameters, &sign::nonce().unwrap(), now);
        let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let request = Request::builder().method(method).header("authorization", header);
        if method == "GET" {
            return request.uri(format!("/v1/{path}?{encoded}")).body(Body::empty()).unwrap();
        }
        let request = request.uri(format!("/v1/{path}")).header("content-type", "application/x-www-form-urlencoded");
        request.body(Body::from(encoded)).unwrap()
    }

    pub async fn send(&self, request: Request<Body>) -> (u16, Value) {
        json(self.app.clone().oneshot(request).await.unwrap()).await
    }

    pub async fn post(&self, path: &str, parameters: &[(&str, &str)]) -> (u16, Value) {
        self.send(self.signed("POST", path, parameters)).await
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.send(self.signed("GET", path, &[])).await
    }

    /// A phone that is paired with `user`.
    pub async fn paired(&self, user: &str) -> (Phone, String) {
        let mut phone = Phone::register(&self.app).await;
        let (_, phrase) = phone.post("phrases", json!({})).await;
        let phrase = phrase["phrase"].as_str().unwrap().to_owned();
        let (status, pairing) = self.post("pairings/create", &[("user_name", user), ("pairing_phrase", &phrase)]).await;
        assert_eq!((status, &pairing["pending"], &pairing["enabled"]), (200, &json!(true), &json!(false)));
        let id = pairing["id"].as_str().unwrap().to_owned();
        let (status, allowed) = phone.post(&format!("pairings/{id}/allow"), json!({})).await;
        assert_eq!(status, 200);
        phone.secret = allowed["secret"].as_str().map(str::to_owned);
        (phone, id)
    }

    pub async fn initiate(&self, user: &str, more: &[(&str, &str)]) -> (u16, Value) {
        let parameters: Vec<_> = [("user_name", user)].into_iter().chain(more.iter().copied()).collect();
        self.post("authentication_requests/initiate", &parameters).await
    }
}

pub struct Phone {
    app: Router,
    pub token: String,
    pub secret: Option<String>,
}

impl Phone {
    pub async fn register(app: &Router) -> Self {
        let mut phone = Self { app: app.clone(), token: String::new(), secret: None };
        let (status, device) = phone.post("devices", json!({ "name": "my phone" })).await;
        assert_eq!(status, 200);
        phone.token = device["token"].as_str().unwrap().to_owned();
        phone
    }

    /// The same phone, as a client of another server.
    pub fn with_app(&self, app: &Router) -> Self {
        Self { app: app.clone(), token: self.token.clone(), secret: self.secret.clone() }
    }

    pub fn request(&self, method: &str, path: &str, body: String) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(format!("/phone/v1/{path}"))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap()
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        json(self.app.clone().oneshot(self.request("POST", path, body.to_string())).await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, value) =
            json(self.app.clone().oneshot(self.request("GET", path, String::new())).await.unwrap()).await;
        assert_eq!(status, 200, "{value}");
        value
    }

    pub fn code(&self, at: UnixTime) -> String {
        let secret = Secret::from_base32(self.secret.as_deref().unwrap()).unwrap();
        Totp::new(secret).code_at(at).as_str().to_owned()
    }
}
