//! One call: sign, send, collect within bounds, and believe only what is said clearly.

use std::future::poll_fn;
use std::pin::pin;
use std::time::{Duration, UNIX_EPOCH};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use tower_service::Service;

use super::client::Config;
use super::json::Json;
use super::{ApiCall, ApiReply, ClientError};
use crate::BoxError;
use crate::oauth1::sign;

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("tower-toopher/", env!("CARGO_PKG_VERSION")));
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// A server that wants to be left alone for longer is asked again after a day.
const MAX_RETRY_AFTER: u64 = 24 * 60 * 60;

pub(super) async fn run<T, B>(mut transport: T, config: &Config, call: &ApiCall) -> Result<ApiReply, ClientError>
where
    T: Service<Request<Bytes>, Response = Response<B>>,
    T::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    call.check()?;
    let tries = async {
        match once(&mut transport, config, call).await {
            Err(error) if error.is_transport() && call.is_status() && config.retry_status => {
                once(&mut transport, config, call).await
            }
            result => result,
        }
    };
    tokio::time::timeout(config.timeout, tries).await.unwrap_or_else(|_| Err(ClientError::timeout()))
}

async fn once<T, B>(transport: &mut T, config: &Config, call: &ApiCall) -> Result<ApiReply, ClientError>
where
    T: Service<Request<Bytes>, Response = Response<B>>,
    T::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    poll_fn(|cx| transport.poll_ready(cx)).await.map_err(ClientError::transport)?;
    // Signed only now, so that no wait for a connection makes the timestamp old.
    let request = request(config, call)?;
    let (head, body) = transport.call(request).await.map_err(ClientError::transport)?.into_parts();
    let limit = if call.expects_image() && head.status.is_success() { config.image_limit } else { config.limit };
    let result = match collect(body, limit).await {
        Ok(body) if head.status.is_success() => success(call, &head.headers, body),
        Ok(body) => Err(failure(config, call, head.status, &body)),
        Err(error) => Err(error),
    };
    result.map_err(|error| error.with_status(head.status).with_retry_after(retry_after(&head.headers)))
}

/// A request with a signature of its own: each one has a new nonce.
fn request(config: &Config, call: &ApiCall) -> Result<Request<Bytes>, ClientError> {
    let timestamp = (config.clock)().duration_since(UNIX_EPOCH).map_err(|_| ClientError::clock())?.as_secs();
    let nonce = sign::nonce().map_err(ClientError::randomness)?;
    let base = config.base.join(call.path()).map_err(|_| ClientError::call("no address can be made of it"))?;
    let parameters: Vec<_> = call.parameters().collect();
    let authorization =
        sign::authorization(&config.credentials, call.method().as_str(), &base, &parameters, &nonce, timestamp);
    let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(&parameters).finish();
    let (uri, body) = match (call.method() == Method::GET, encoded.is_empty()) {
        (true, false) => (format!("{}?{encoded}", base.as_str()), Bytes::new()),
        (true, true) => (base.as_str().to_owned(), Bytes::new()),
        (false, _) => (base.as_str().to_owned(), Bytes::from(encoded)),
    };
    let mut request = Request::builder()
        .method(call.method())
        .uri(uri)
        .body(body)
        .map_err(|_| ClientError::call("no address can be made of it"))?;
    let headers = request.headers_mut();
    headers.insert(header::AUTHORIZATION, authorization);
    headers.insert(header::USER_AGENT, USER_AGENT);
    if !call.expects_image() {
        headers.insert(header::ACCEPT, JSON);
    }
    if call.method() == Method::POST {
        headers.insert(header::CONTENT_TYPE, FORM);
    }
    Ok(request)
}

/// Collects a body of at most `limit` bytes, and reads no further than that.
async fn collect<B>(body: B, limit: usize) -> Result<Bytes, ClientError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let too_large = || ClientError::answer("it is too large");
    if usize::try_from(body.size_hint().lower()).map_or(true, |least| least > limit) {
        return Err(too_large());
    }
    let mut body = pin!(body);
    let mut collected = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(ClientError::transport)?;
        let Ok(mut data) = frame.into_data() else { continue };
        if data.remaining() > limit - collected.len() {
            return Err(too_large());
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            collected.extend_from_slice(chunk);
            let read = chunk.len();
            data.advance(read);
        }
    }
    Ok(collected.freeze())
}

fn success(call: &ApiCall, headers: &HeaderMap, body: Bytes) -> Result<ApiReply, ClientError> {
    if call.expects_image() {
        return image(headers, body);
    }
    if call.expects_nothing() && body.is_empty() {
        return Ok(ApiReply::Done);
    }
    let json = Json::parse(&body).ok_or_else(|| ClientError::answer("it is not JSON, or has a key twice"))?;
    call.read(&json)
}

/// Takes bytes for an image unless they are said to be something else, such as the page of a gateway.
fn image(headers: &HeaderMap, body: Bytes) -> Result<ApiReply, ClientError> {
    let is_image = headers.get(header::CONTENT_TYPE).is_none_or(|stated| {
        let stated = stated.as_bytes().to_ascii_lowercase();
        stated.starts_with(b"image/") || stated.starts_with(b"application/octet-stream")
    });
    if !is_image || body.is_empty() {
        return Err(ClientError::answer("it is no image"));
    }
    Ok(ApiReply::Image(body))
}

/// An error is the API's own only when it carries the API's error code: a gateway on the way has statuses too.
fn failure(config: &Config, call: &ApiCall, status: StatusCode, body: &[u8]) -> ClientError {
    if status.is_redirection() {
        return ClientError::answer("it is a redirect, which is not followed");
    }
    let error = match Json::parse(body) {
        Some(Json::Object(fields)) if status.as_u16() >= 400 => fields
            .integer("error_code")
            .map(|code| (code, fields.optional_text("error_message").ok().flatten().unwrap_or_default().to_owned())),
        _ => None,
    };
    match error {
        Some((code, message)) => ClientError::api(code, &message, call.secrets().chain([config.credentials.secret()])),
        None => ClientError::answer("an error without the API's error code"),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // More digits than fit are a very long time.
    Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX).min(MAX_RETRY_AFTER)))
}
