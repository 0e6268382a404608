//! A Toopher API with scripted responses, which checks the signature of every request.
use std::collections::HashSet;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use toopher_oauth1::{BaseUri, OauthRequest};
use tower::Service;
use tower_toopher::client::{BaseUrl, Credentials, ToopherClient};
use tower_toopher::time::UnixTime;
use tower_toopher::{Attempt, UserId};

pub const NOW: u64 = 1_700_000_000;
pub const SECRET: &str = "hush hush & hush";
pub const BASE: &str = "https://mfa.example.test/v1/";

pub type ApiHttpResponse = Response<Full<Bytes>>;

pub fn credentials() -> Credentials {
    Credentials::new("key", SECRET).unwrap()
}

pub fn base() -> BaseUrl {
    BASE.parse().unwrap()
}

pub fn attempt(user: &str) -> Attempt {
    Attempt::new(UserId::new(user).unwrap(), "log in")
}

pub fn response(status: u16, body: impl Into<Bytes>) -> ApiHttpResponse {
    Response::builder().status(status).body(Full::new(body.into())).unwrap()
}

pub fn status(id: &str, pending: bool, granted: bool) -> ApiHttpResponse {
    response(200, format!(r#"{{"id":"{id}","pending":{pending},"granted":{granted}}}"#))
}

pub fn api_error(status: u16, code: i64, message: &str) -> ApiHttpResponse {
    response(status, serde_json::json!({"error_code": code, "error_message": message}).to_string())
}

pub const PENDING: &str = r#"{"id":"1","pending":true,"granted":false,"automated":false}"#;
pub const GRANTED: &str = r#"{"id":"1","pending":false,"granted":true,"automated":false}"#;
pub const DENIED: &str = r#"{"id":"1","pending":false,"granted":false,"automated":false}"#;

/// A request as the server received it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub body: String,
    /// The parameters of query and form, decoded, in their order.
    pub pairs: Vec<(String, String)>,
    pub nonce: String,
    pub timestamp: u64,
}

impl Seen {
    /// Reads a request, and panics unless it is signed with [`SECRET`].
    pub fn new(request: &Request<Bytes>) -> Self {
        let (uri, headers) = (request.uri(), request.headers());
        let full = if uri.authority().is_some() {
            uri.clone()
        } else {
            // A request from a socket.
            let host = headers["host"].to_str().unwrap();
            format!("http://{host}{uri}").parse::<Uri>().unwrap()
        };
        let base = BaseUri::new(full.scheme_str().unwrap(), full.authority().unwrap().as_str(), full.path()).unwrap();
        let form = headers.get("content-type").map(|stated| {
            assert_eq!(stated, "application/x-www-form-urlencoded");
            &request.body()[..]
        });
        let authorization = headers.get_all("authorization").iter().map(http::HeaderValue::as_bytes);
        let method = request.method().as_str();
        let signed = OauthRequest::parse(method, base, authorization, full.query(), form).unwrap();
        assert!(signed.signed_parameters(SECRET, &[]).is_some(), "{method} {full}");
        assert_eq!(signed.consumer_key(), "key");
        let mut pairs: Vec<_> =
            form_urlencoded::parse(full.query().unwrap_or_default().as_bytes()).into_owned().collect();
        pairs.extend(form_urlencoded::parse(request.body()).into_owned());
        Self {
            method: method.into(),
            path: full.path().trim_start_matches("/v1/").into(),
            body: String::from_utf8(request.body().to_vec()).unwrap(),
            pairs,
            nonce: signed.nonce().into(),
            timestamp: signed.timestamp(),
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

type Respond = dyn Fn(&Seen) -> ApiHttpResponse + Send + Sync;

/// A transport within the process.
#[derive(Clone)]
pub struct Api {
    respond: Arc<Respond>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Api {
    pub fn new(respond: impl Fn(&Seen) -> ApiHttpResponse + Send + Sync + 'static) -> Self {
        Self { respond: Arc::new(respond), seen: Arc::default() }
    }

    /// Returns one response after another, and repeats the last.
    pub fn script(responses: Vec<ApiHttpResponse>) -> Self {
        let sent = Mutex::new(0);
        Self::new(move |_| {
            let mut sent = sent.lock().unwrap();
            let response = responses[*sent].clone();
            *sent = (*sent + 1).min(responses.len() - 1);
            response
        })
    }

    pub fn always(response: ApiHttpResponse) -> Self {
        Self::script(vec![response])
    }

    /// The requests that it received. Each one was signed at [`NOW`] with a nonce of its own.
    pub fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap().clone();
        let nonces: HashSet<_> = seen.iter().map(|seen| &seen.nonce).collect();
        assert_eq!(nonces.len(), seen.len());
        assert!(seen.iter().all(|seen| seen.timestamp == NOW));
        seen
    }

    pub fn paths(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.path).collect()
    }

    pub fn client(&self) -> ToopherClient<Self> {
        with_fixed_clock(ToopherClient::with_transport(base(), credentials(), self.clone()))
    }
}

pub fn with_fixed_clock<T>(client: ToopherClient<T>) -> ToopherClient<T> {
    client.clock(|| UnixTime::from_secs(NOW))
}

impl Service<Request<Bytes>> for Api {
    type Response = ApiHttpResponse;
    type Error = Infallible;
    type Future = Ready<Result<ApiHttpResponse, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let seen = Seen::new(&request);
        self.seen.lock().unwrap().push(seen.clone());
        ready(Ok((self.respond)(&seen)))
    }
}

/// An [`Api`] that responds after a delay, so that calls overlap.
#[derive(Clone)]
pub struct Slow(pub Api, pub Duration);

impl Service<Request<Bytes>> for Slow {
    type Response = ApiHttpResponse;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<ApiHttpResponse, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (response, wait) = (self.0.call(request), self.1);
        Box::pin(async move {
            let response = response.await;
            tokio::time::sleep(wait).await;
            response
        })
    }
}
