use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, header};

use super::pending::json_members;
use super::rejection::Rejection;

/// Builds the response to a rejected request.
///
/// [`ProblemJson`] is the default. Any `Fn(&Rejection, &Parts) -> Response<B>` implements it too; start from
/// [`Rejection::response`] to keep the status and the headers. The layer sends what the hook returns, except that
/// [`Profile::ForwardAuth`](crate::middleware::Profile::ForwardAuth) changes a success to 401. A status of 2xx informs
/// the client that the request was performed, which is not the case.
pub trait Reject<B> {
    /// Builds the response. `request` is the request without its body.
    fn reject(&self, rejection: &Rejection, request: &Parts) -> Response<B>;
}

impl<F, B> Reject<B> for F
where
    F: Fn(&Rejection, &Parts) -> Response<B>,
{
    fn reject(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        self(rejection, request)
    }
}

/// Responds with `application/problem+json` (RFC 9457), without a body to `HEAD`.
///
/// The inner service's response body must be `From<Bytes>`, as axum's `Body` and `Full<Bytes>` are.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a hook can fall back to it by name")]
pub struct ProblemJson;

impl<B: From<Bytes>> Reject<B> for ProblemJson {
    fn reject(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        let json = json(rejection);
        let length = json.len();
        let body = if request.method == Method::HEAD { Bytes::new() } else { json };
        let mut response = rejection.document_response(B::from(body));
        // The document of a pending approval has more members.
        if length != rejection.problem().json.len() {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        response
    }
}

/// The problem document.
fn json(rejection: &Rejection) -> Bytes {
    let json = rejection.problem().json;
    let members = rejection.pending().map(json_members).filter(|members| !members.is_empty());
    match (members, json.strip_suffix('}')) {
        (Some(members), Some(head)) => format!("{head}{members}}}").into(),
        _ => Bytes::from_static(json.as_bytes()),
    }
}
