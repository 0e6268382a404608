//! A service behind the layer, with simulated phones.
use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceExt};
use tower_toopher::middleware::ProblemJson;
use tower_toopher::store::ApprovalStore;
pub use tower_toopher::test_util::{Decision, FakePhones as Phones};
use tower_toopher::verify::SessionId;
use tower_toopher::{Approvals, HeaderOrForm, Rejection, ToopherLayer, ToopherService, UserId};

use super::{Body, Calls, Clock, OneShotService, alice};

pub type TestService<S> = ToopherService<OneShotService, Approvals<Phones, S>, HeaderOrForm, ProblemJson>;

pub fn approvals<S: ApprovalStore>(phones: &Phones, store: S, clock: &Clock) -> Approvals<Phones, S> {
    Approvals::new(phones.clone()).unwrap().store(store).clock(clock)
}

/// A layer that reads bodies of every type, and the action from a header.
pub fn layer<V>(verifier: V) -> ToopherLayer<V, HeaderOrForm> {
    ToopherLayer::new(verifier)
        .extractor(HeaderOrForm::default().buffer_all_bodies())
        .approvals()
        .action_for(|parts| parts.headers.get("action").and_then(|action| action.to_str().ok()).unwrap_or("pay").into())
}

pub fn service<S: ApprovalStore>(approvals: Approvals<Phones, S>, calls: &Calls) -> TestService<S> {
    layer(approvals).layer(OneShotService::new(calls))
}

/// The parts of a request, for tests that change some of them. The header `cookie` is the session.
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

    pub fn token(self, token: &str) -> Self {
        self.header("toopher-approval", token)
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
        // The first factor would derive the session from the cookie.
        if let Some(session) = self.headers.get("cookie").and_then(|cookie| SessionId::new(cookie.as_str()).ok()) {
            request = request.extension(session);
        }
        request.body(Body::from(Bytes::from_static(self.body.as_bytes()))).unwrap()
    }

    pub async fn send<S: Service<Request<Body>, Response = Response<Body>, Error: std::fmt::Debug> + Clone>(
        &self,
        service: &S,
    ) -> Response<Body> {
        service.clone().oneshot(self.request()).await.unwrap()
    }

    /// Requests an approval, and returns its token.
    pub async fn begin<S: Service<Request<Body>, Response = Response<Body>, Error: std::fmt::Debug> + Clone>(
        &self,
        service: &S,
    ) -> String {
        let response = self.send(service).await;
        let why = response.extensions().get::<Rejection>();
        assert_eq!(response.status(), 202, "{why:?}");
        response.headers()["toopher-approval"].to_str().unwrap().to_owned()
    }
}

/// The complete response, as a client sees it.
pub async fn look(response: Response<Body>) -> (u16, HeaderMap, Vec<u8>) {
    let (head, body) = response.into_parts();
    (head.status.as_u16(), head.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

/// The time after which an approval expires.
pub const LIFETIME: Duration = Duration::from_secs(120);
