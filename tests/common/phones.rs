//! A gate before phones that the test answers.
#![allow(dead_code, unreachable_pub, unused_imports, clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceExt};
use tower_toopher::gate::ToopherService;
use tower_toopher::store::PushStore;
pub use tower_toopher::test_util::{Answer as Says, FakePhones as Phones};
use tower_toopher::{Approvals, HeaderOrForm, ProblemJson, ToopherLayer, UserId};

use super::{Body, Calls, Clock, Strict, alice};

pub type Gate<S> = ToopherService<Strict, Approvals<Phones, S>, HeaderOrForm, ProblemJson>;

/// The session is the cookie.
pub fn session(parts: &http::request::Parts) -> Option<Arc<str>> {
    Some(parts.headers.get("cookie")?.to_str().ok()?.into())
}

pub fn approvals<S: PushStore>(phones: &Phones, store: S, clock: &Clock) -> Approvals<Phones, S> {
    Approvals::new(phones.clone()).unwrap().store(store).clock(clock.reading())
}

/// The layer of a gate that takes the action from a header, too.
pub fn layer<V>(verifier: V) -> ToopherLayer<V, HeaderOrForm> {
    ToopherLayer::new(verifier)
        .extractor(HeaderOrForm::default().any_body())
        .approvals(session)
        .action_for(|parts| parts.headers.get("action").and_then(|action| action.to_str().ok()).unwrap_or("pay").into())
}

pub fn gate<S: PushStore>(approvals: Approvals<Phones, S>, calls: &Calls) -> Gate<S> {
    layer(approvals).layer(Strict::new(calls))
}

/// A request, as a list of what can be changed about it.
#[derive(Clone, Debug)]
pub struct Ask {
    pub user: UserId,
    pub method: &'static str,
    pub uri: &'static str,
    pub body: &'static str,
    pub headers: HashMap<&'static str, String>,
}

impl Default for Ask {
    fn default() -> Self {
        let headers = [("cookie", "session=1"), ("content-type", "application/json"), ("host", "shop.test")];
        let headers = headers.map(|(name, value)| (name, value.to_owned())).into();
        Self { user: alice(), method: "POST", uri: "/pay?to=bob", body: r#"{"amount":1}"#, headers }
    }
}

impl Ask {
    pub fn user(mut self, id: &str) -> Self {
        self.user = UserId::new(id).unwrap();
        self
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.insert(name, value.into());
        self
    }

    pub fn challenge(self, challenge: &str) -> Self {
        self.header("toopher-challenge", challenge)
    }

    pub fn otp(self, otp: &str) -> Self {
        self.header("toopher-otp", otp)
    }

    pub fn wait(self, seconds: u64) -> Self {
        self.header("prefer", format!("wait={seconds}"))
    }

    pub fn form(self, body: &'static str) -> Self {
        Self { body, ..self.header("content-type", "application/x-www-form-urlencoded") }
    }

    pub fn request(&self) -> Request<Body> {
        let mut request = Request::builder().method(self.method).uri(self.uri).extension(self.user.clone());
        for (name, value) in &self.headers {
            request = request.header(*name, HeaderValue::from_str(value).unwrap());
        }
        request.body(Body::from(Bytes::from_static(self.body.as_bytes()))).unwrap()
    }

    pub async fn send<S: Service<Request<Body>, Response = Response<Body>, Error: std::fmt::Debug> + Clone>(
        &self,
        gate: &S,
    ) -> Response<Body> {
        gate.clone().oneshot(self.request()).await.unwrap()
    }

    /// Asks for an approval, and returns the challenge.
    pub async fn begin<S: Service<Request<Body>, Response = Response<Body>, Error: std::fmt::Debug> + Clone>(
        &self,
        gate: &S,
    ) -> String {
        let response = self.send(gate).await;
        let why = response.extensions().get::<tower_toopher::Rejection>();
        assert_eq!(response.status(), 202, "{why:?}");
        response.headers()["toopher-challenge"].to_str().unwrap().to_owned()
    }
}

/// All that a client sees.
pub async fn look(response: Response<Body>) -> (u16, HeaderMap, Vec<u8>) {
    let (head, body) = response.into_parts();
    (head.status.as_u16(), head.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

/// Two minutes, after which nothing is waited for.
pub const LIFETIME: Duration = Duration::from_secs(120);
