//! Sends one call: signs it, collects the response within its limit, and reads it strictly.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use toopher_oauth1::sign;
use tower_service::Service;

use super::call::ApiCall;
use super::config::Config;
use super::error::{ClientError, ClientErrorKind};
use super::json::Json;
use super::response::ApiResponse;
use super::response_shape::ResponseShape;
use crate::verify::BoxError;

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("tower-toopher/", env!("CARGO_PKG_VERSION")));
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The maximum of `Retry-After` in seconds. A larger value counts as one day.
const MAX_RETRY_AFTER: u64 = 24 * 60 * 60;

/// Sends a call within its time limit, and repeats a safe call once if its connection fails.
pub(super) async fn send_call<T, B>(
    mut transport: T,
    config: &Config,
    call: &ApiCall,
) -> Result<ApiResponse, ClientError>
where
    T: Service<Request<Bytes>, Response = Response<B>>,
    T::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    call.check()?;
    let response = async {
        match send_request(&mut transport, config, call).await {
            Err(error) if error.kind() == ClientErrorKind::Transport && call.is_safe() && config.retry_safe => {
                send_request(&mut transport, config, call).await
            }
            result => result,
        }
    };
    tokio::time::timeout(config.timeout, response).await.unwrap_or_else(|_| Err(ClientError::timeout()))
}

async fn send_request<T, B>(transport: &mut T, config: &Config, call: &ApiCall) -> Result<ApiResponse, ClientError>
where
    T: Service<Request<Bytes>, Response = Response<B>>,
    T::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    poll_fn(|cx| transport.poll_ready(cx)).await.map_err(ClientError::transport)?;
    // The request is signed after the transport is ready, so that the timestamp is current.
    let request = build_request(config, call)?;
    let (head, body) = transport.call(request).await.map_err(ClientError::transport)?.into_parts();
    let limit = match call.shape() {
        ResponseShape::Image if head.status.is_success() => config.image_limit,
        _ => config.response_limit,
    };
    let result = match collect_body(body, limit).await {
        Ok(body) if head.status.is_success() => read_success(call, &head.headers, body),
        Ok(body) => Err(read_error(config, call, head.status, &body)),
        Err(error) => Err(error),
    };
    result.map_err(|error| error.with_status(head.status).with_retry_after(parse_retry_after(&head.headers)))
}

/// Signs a call with a new nonce.
fn build_request(config: &Config, call: &ApiCall) -> Result<Request<Bytes>, ClientError> {
    let timestamp = config.clock.now().map_err(ClientError::clock)?.as_secs();
    let nonce = sign::nonce().map_err(ClientError::randomness)?;
    let base = config.base.join(call.path()).map_err(|_| ClientError::invalid_call("invalid path"))?;
    let parameters: Vec<_> = call.parameters().collect();
    let authorization =
        sign::authorization(&config.credentials, call.method().as_str(), &base, &parameters, &nonce, timestamp);
    let encoded = sign::form(&parameters);
    let (uri, body) = match (call.method() == Method::GET, encoded.is_empty()) {
        (true, false) => (format!("{}?{encoded}", base.as_str()), Bytes::new()),
        (true, true) => (base.as_str().to_owned(), Bytes::new()),
        (false, _) => (base.as_str().to_owned(), Bytes::from(encoded)),
    };
    let mut request = Request::builder()
        .method(call.method())
        .uri(uri)
        .body(body)
        .map_err(|_| ClientError::invalid_call("invalid path"))?;
    let headers = request.headers_mut();
    headers.insert(header::AUTHORIZATION, authorization);
    headers.insert(header::USER_AGENT, USER_AGENT);
    if !matches!(call.shape(), ResponseShape::Image) {
        headers.insert(header::ACCEPT, JSON);
    }
    if call.method() == Method::POST {
        headers.insert(header::CONTENT_TYPE, FORM);
    }
    Ok(request)
}

/// Collects a body of at most `limit` bytes and stops reading at the limit.
async fn collect_body<B>(body: B, limit: usize) -> Result<Bytes, ClientError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let too_large = || ClientError::invalid_response("too large");
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

fn read_success(call: &ApiCall, headers: &HeaderMap, body: Bytes) -> Result<ApiResponse, ClientError> {
    match call.shape() {
        ResponseShape::Image => read_image(headers, body),
        ResponseShape::Empty if body.is_empty() => Ok(ApiResponse::Done),
        shape => {
            let json = Json::parse(&body);
            shape.read(&json.ok_or_else(|| ClientError::invalid_response("not JSON, or repeated key"))?)
        }
    }
}

/// Accepts any bytes as an image unless their content type is another, such as that of a gateway's error page.
fn read_image(headers: &HeaderMap, body: Bytes) -> Result<ApiResponse, ClientError> {
    let is_image = headers.get(header::CONTENT_TYPE).is_none_or(|stated| {
        let stated = stated.as_bytes().to_ascii_lowercase();
        stated.starts_with(b"image/") || stated.starts_with(b"application/octet-stream")
    });
    if !is_image || body.is_empty() {
        return Err(ClientError::invalid_response("not an image"));
    }
    Ok(ApiResponse::Image(body))
}

/// Reads an unsuccessful response. Only a body with the API's error code is an error of the API: a gateway responds
/// with error statuses as well.
fn read_error(config: &Config, call: &ApiCall, status: StatusCode, body: &[u8]) -> ClientError {
    if status.is_redirection() {
        return ClientError::invalid_response("redirect");
    }
    let error = match Json::parse(body) {
        Some(Json::Object(fields)) if status.as_u16() >= 400 => fields
            .integer("error_code")
            .map(|code| (code, fields.optional_text("error_message").ok().flatten().unwrap_or_default().to_owned())),
        _ => None,
    };
    match error {
        Some((code, message)) => ClientError::api(code, &message, call.secrets().chain([config.credentials.secret()])),
        None => ClientError::invalid_response("error without the API's error code"),
    }
}

fn parse_retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // A number that does not fit is above the maximum.
    Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX).min(MAX_RETRY_AFTER)))
}
