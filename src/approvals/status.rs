use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use tower_service::Service;

pub use super::events::StatusBody;
use super::events::{self, Watch};
use super::sealed::{Opened, owner};
use super::{ApprovalError, Approvals};
use crate::store::{PushEnd, PushStore};
use crate::{Approval, Attempt, BoxError, Challenge, DenyReason, UserId, Verdict};

/// Tells a page how it stands with the approval that it waits for. It never grants anything: the guarded request itself
/// must come back.
///
/// It is mounted beside the application, behind the same first factor, at a path whose last segment is the challenge:
///
/// ```
/// # #[cfg(feature = "totp")] {
/// use axum::Router;
/// use tower_toopher::{Approvals, ToopherLayer};
/// # use tower_toopher::{TotpVerifier, totp::MemoryPairings};
/// # let verifier = TotpVerifier::new(MemoryPairings::new())?;
///
/// let approvals = Approvals::new(verifier)?.status_at("/approvals");
/// #[derive(Clone)]
/// struct SessionId(std::sync::Arc<str>); // put into the request's extensions by whatever reads the cookie
///
/// let session = |parts: &http::request::Parts| parts.extensions.get::<SessionId>().map(|session| session.0.clone());
/// let app: Router = Router::new()
///     .route("/pay", axum::routing::post(async || "paid"))
///     .layer(ToopherLayer::new(approvals.clone()).approvals(session))
///     .route_service("/approvals/{challenge}", approvals.status().session(session));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// To `GET` it answers `{"status": "pending", "expires_in": 93}`, with the `number` that the phone asks for where there
/// is one; or `granted`, `denied`, or `expired`, which is also what it says of a challenge that it does not know, of
/// another user, or of another session. To `Accept: text/event-stream` it sends the same as server-sent events called
/// `status`, each time the status changes, until it is not pending any more.
#[must_use]
pub struct ApprovalStatus<V, S> {
    approvals: Approvals<V, S>,
    identify: Option<Arc<Find<UserId>>>,
    session: Option<Arc<Find<Arc<str>>>>,
}

type Find<T> = dyn Fn(&Parts) -> Option<T> + Send + Sync;

impl<V, S> ApprovalStatus<V, S> {
    pub(super) fn new(approvals: Approvals<V, S>) -> Self {
        Self { approvals, identify: None, session: None }
    }

    /// Sets how a request's user is found, as for the [gate](crate::ToopherLayer::identify). Default: the [`UserId`] in
    /// the request's extensions.
    pub fn identify(mut self, identify: impl Fn(&Parts) -> Option<UserId> + Send + Sync + 'static) -> Self {
        self.identify = Some(Arc::new(identify));
        self
    }

    /// Sets how a request's session is found: as for the [gate](crate::ToopherLayer::approvals). Default: none is, and
    /// every challenge is unknown.
    pub fn session(mut self, session: impl Fn(&Parts) -> Option<Arc<str>> + Send + Sync + 'static) -> Self {
        self.session = Some(Arc::new(session));
        self
    }
}

/// How it stands.
pub(super) struct Standing {
    /// `pending` is the only one that is not the last.
    pub(super) status: &'static str,
    pub(super) json: String,
}

impl Standing {
    pub(super) fn last(status: &'static str) -> Self {
        Self { status, json: format!("{{\"status\":\"{status}\"}}") }
    }

    fn pending(expires_in: u64, number: Option<u8>) -> Self {
        let number = number.map_or_else(String::new, |number| format!(",\"number\":\"{number:02}\""));
        Self { status: PENDING, json: format!("{{\"status\":\"{PENDING}\",\"expires_in\":{expires_in}{number}}}") }
    }

    pub(super) fn is_last(&self) -> bool {
        self.status != PENDING
    }
}

const PENDING: &str = "pending";

impl<V, S> Watch<V, S>
where
    V: Service<Attempt, Response = Verdict> + Clone,
    V::Error: Into<BoxError>,
    S: PushStore,
{
    /// Looks, and redeems nothing.
    pub(super) async fn look(&mut self) -> Result<Standing, ApprovalError> {
        let Some(opened) = &self.opened else { return Ok(Standing::last("expired")) };
        match self.approvals.find(&self.user, opened).await? {
            None => {}
            Some(Verdict::Denied(DenyReason::UnknownApproval)) => return Ok(Standing::last("expired")),
            // Locked or throttled meanwhile: it may still be fetched later.
            Some(_) => return self.waits(opened, None),
        }
        let attempt = Attempt::new(self.user.clone(), opened.action.clone());
        Ok(match self.approvals.ask(attempt, Approval::Asked(opened.push.id.clone())).await? {
            Verdict::Granted(_) => Standing::last("granted"),
            Verdict::Denied(DenyReason::Throttled { .. } | DenyReason::LockedOut) => return self.waits(opened, None),
            Verdict::Denied(_) => {
                // The user may start anew, without waiting until this one is over.
                self.approvals.end(&self.user, opened.push.ticket, PushEnd::Asked).await;
                Standing::last("denied")
            }
            Verdict::Pending(pending) => return self.waits(opened, pending.number()),
        })
    }

    fn waits(&self, opened: &Opened, number: Option<u8>) -> Result<Standing, ApprovalError> {
        Ok(Standing::pending(opened.until.saturating_sub(self.approvals.now()?).as_secs(), number))
    }
}

impl<V, S> ApprovalStatus<V, S>
where
    V: Service<Attempt, Response = Verdict> + Clone + Send + 'static,
    V::Error: Into<BoxError>,
    V::Future: Send,
    S: PushStore,
{
    async fn answer(self, parts: Parts) -> Response<StatusBody> {
        if parts.method != Method::GET && parts.method != Method::HEAD {
            let mut response = json(StatusCode::METHOD_NOT_ALLOWED, &Standing::last("not_allowed"));
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let user = match &self.identify {
            None => parts.extensions.get::<UserId>().cloned(),
            Some(identify) => identify(&parts),
        };
        let Some(user) = user else { return json(StatusCode::UNAUTHORIZED, &Standing::last("unidentified")) };
        let last = parts.uri.path().rsplit('/').next().unwrap_or_default();
        let session = self.session.as_ref().and_then(|session| session(&parts));
        let opened = session.and_then(|session| {
            self.approvals.keys.open(&Challenge::new(last.as_bytes()), &owner(&user, Some(&session)))
        });
        let mut watch = Watch { approvals: self.approvals, user, opened, place: None };
        if !accepts_events(&parts) || parts.method == Method::HEAD {
            return match watch.look().await {
                Ok(standing) => json(StatusCode::OK, &standing),
                Err(_) => unavailable(),
            };
        }
        watch.place = watch.approvals.held.take(&watch.user);
        if watch.place.is_none() {
            return unavailable();
        }
        let mut response = Response::new(events::stream(watch));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // Proxies that gather answers would keep the events to themselves.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }
}

fn accepts_events(parts: &Parts) -> bool {
    let lines = parts.headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|range| {
        range.split(';').next().is_some_and(|range| range.trim().eq_ignore_ascii_case("text/event-stream"))
    })
}

fn unavailable() -> Response<StatusBody> {
    let mut response = json(StatusCode::SERVICE_UNAVAILABLE, &Standing::last("unavailable"));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

fn json(status: StatusCode, standing: &Standing) -> Response<StatusBody> {
    let mut response = Response::new(StatusBody::once(Bytes::from(standing.json.clone())));
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
    S: PushStore,
{
    type Response = Response<StatusBody>;
    type Error = Infallible;
    type Future = StatusFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> StatusFuture {
        StatusFuture(Box::pin(self.clone().answer(request.into_parts().0)))
    }
}

impl<V: Clone, S> Clone for ApprovalStatus<V, S> {
    fn clone(&self) -> Self {
        Self { approvals: self.approvals.clone(), identify: self.identify.clone(), session: self.session.clone() }
    }
}

impl<V: fmt::Debug, S> fmt::Debug for ApprovalStatus<V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApprovalStatus").field("approvals", &self.approvals).finish_non_exhaustive()
    }
}
