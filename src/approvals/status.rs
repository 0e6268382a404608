//! The service that reports the state of an approval to a page.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use tower_service::Service;

use super::service::Approvals;
use super::sse::{StatusBody, StatusPoller};
use super::status_response::StatusResponse;
use super::token::{self, owner_hash};
use crate::headers::split_list;
use crate::store::ApprovalStore;
use crate::verify::{ApprovalToken, Attempt, BoxError, SessionId, UserId, Verdict};

/// Reports the state of a pending approval to a page. It grants nothing: the client must repeat the original request.
///
/// Mount it beside the application, inside the same first factor, at a path whose last segment is the token. It reads
/// the [`UserId`] and the [`SessionId`] from the request's extensions, as the layer does. Without a user the response
/// is 401, and without a session every token is unknown.
///
/// ```
/// # #[cfg(feature = "totp")] {
/// use axum::Router;
/// use tower_toopher::{Approvals, ToopherLayer};
/// # use tower_toopher::{TotpVerifier, totp::MemoryPairings};
/// # let verifier = TotpVerifier::new(MemoryPairings::new())?;
///
/// let approvals = Approvals::new(verifier)?.status_path("/approvals")?;
/// let app: Router = Router::new()
///     .route("/pay", axum::routing::post(async || "paid"))
///     .layer(ToopherLayer::new(approvals.clone()).approvals())
///     .route_service("/approvals/{token}", approvals.status());
/// // Outside both: the first factor, which inserts a `UserId` and a `SessionId`.
/// # let _ = app; }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The response to `GET` is `{"status": "pending", "expires_in": 93}`, with the `number` that the user enters on the
/// phone if there is one. Other states are `granted`, `denied` and `expired`. A token that is unknown, of another user,
/// or of another session is `expired` too. With `Accept: text/event-stream` the response is a stream of server-sent
/// events `status`, one for each change, until the state is not `pending`.
#[must_use]
pub struct ApprovalStatus<V, S> {
    approvals: Approvals<V, S>,
}

impl<V: Clone, S> Approvals<V, S> {
    /// A service that reports the state of an approval to a page: see [`ApprovalStatus`].
    pub fn status(&self) -> ApprovalStatus<V, S> {
        ApprovalStatus { approvals: self.clone() }
    }
}

impl<V, S> ApprovalStatus<V, S>
where
    V: Service<Attempt, Response = Verdict> + Clone + Send + 'static,
    V::Error: Into<BoxError>,
    V::Future: Send,
    S: ApprovalStore,
{
    async fn respond(self, parts: Parts) -> Response<StatusBody> {
        if parts.method != Method::GET && parts.method != Method::HEAD {
            let mut response = json(StatusCode::METHOD_NOT_ALLOWED, &StatusResponse::new("not_allowed"));
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let Some(user) = parts.extensions.get::<UserId>().cloned() else {
            return json(StatusCode::UNAUTHORIZED, &StatusResponse::new("unidentified"));
        };
        let segment = parts.uri.path().rsplit('/').next().unwrap_or_default();
        let claims = parts.extensions.get::<SessionId>().and_then(|session| {
            let token = ApprovalToken::from_client(segment.as_bytes());
            token::decrypt(&self.approvals.keys, &token, &owner_hash(&user, Some(session)))
        });
        let mut poller = StatusPoller { approvals: self.approvals, user, claims, permit: None };
        if !accepts_events(&parts) || parts.method == Method::HEAD {
            return match poller.poll().await {
                Ok(response) => json(StatusCode::OK, &response),
                Err(_) => unavailable(),
            };
        }
        poller.permit = poller.approvals.limiter.try_acquire(&poller.user);
        if poller.permit.is_none() {
            return unavailable();
        }
        let mut response = Response::new(StatusBody::events(poller));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // Proxies that buffer responses would delay the events.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }
}

fn accepts_events(parts: &Parts) -> bool {
    let mut ranges = parts.headers.get_all(header::ACCEPT).iter().flat_map(|line| split_list(line.as_bytes(), b','));
    ranges.any(|range| {
        let mut parameters = split_list(range, b';');
        let is_event_stream = parameters.next().is_some_and(|name| name.eq_ignore_ascii_case(b"text/event-stream"));
        // A weight of zero means "not acceptable" (RFC 9110 section 12.4.2).
        let is_zero = |weight: &[u8]| weight.iter().all(|b| matches!(b, b'0' | b'.'));
        is_event_stream && !parameters.any(|p| matches!(p, [b'q' | b'Q', b'=', weight @ ..] if is_zero(weight)))
    })
}

fn unavailable() -> Response<StatusBody> {
    let mut response = json(StatusCode::SERVICE_UNAVAILABLE, &StatusResponse::new("unavailable"));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

fn json(status: StatusCode, body: &StatusResponse) -> Response<StatusBody> {
    let mut response = Response::new(StatusBody::once(Bytes::from(body.json.clone())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The future of [`ApprovalStatus`].
pub struct StatusFuture(Pin<Box<dyn Future<Output = Response<StatusBody>> + Send>>);

impl Future for StatusFuture {
    type Output = Result<Response<StatusBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for StatusFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusFuture").finish_non_exhaustive()
    }
}

impl<V, S, B> Service<Request<B>> for ApprovalStatus<V, S>
where
    V: Service<Attempt, Response = Verdict> + Clone + Send + 'static,
    V::Error: Into<BoxError>,
    V::Future: Send,
    S: ApprovalStore,
{
    type Response = Response<StatusBody>;
    type Error = Infallible;
    type Future = StatusFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> StatusFuture {
        StatusFuture(Box::pin(self.clone().respond(request.into_parts().0)))
    }
}

impl<V: Clone, S> Clone for ApprovalStatus<V, S> {
    fn clone(&self) -> Self {
        Self { approvals: self.approvals.clone() }
    }
}

impl<V: fmt::Debug, S> fmt::Debug for ApprovalStatus<V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApprovalStatus").field("approvals", &self.approvals).finish_non_exhaustive()
    }
}
