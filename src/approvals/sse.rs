//! The status as server-sent events.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tower_service::Service;

use super::error::ApprovalError;
use super::limiter::Permit;
use super::service::Approvals;
use super::status_response::StatusResponse;
use super::token::TokenClaims;
use crate::store::{ApprovalStore, EndReason};
use crate::verify::{ApprovalMode, Attempt, BoxError, DenyReason, UserId, Verdict};

/// Polls the status of one approval for its user.
pub(super) struct StatusPoller<V, S> {
    pub(super) approvals: Approvals<V, S>,
    pub(super) user: UserId,
    /// `None` if the token is not valid for the user and the session.
    pub(super) claims: Option<TokenClaims>,
    /// The permit of an event stream.
    pub(super) permit: Option<Permit>,
}

impl<V, S> StatusPoller<V, S>
where
    V: Service<Attempt, Response = Verdict> + Clone,
    V::Error: Into<BoxError>,
    S: ApprovalStore,
{
    /// Polls, and redeems nothing.
    pub(super) async fn poll(&mut self) -> Result<StatusResponse, ApprovalError> {
        let Some(claims) = &self.claims else { return Ok(StatusResponse::new(StatusResponse::EXPIRED)) };
        match self.approvals.find(&self.user, claims).await? {
            None => {}
            Some(Verdict::Denied(DenyReason::InvalidApproval)) => {
                return Ok(StatusResponse::new(StatusResponse::EXPIRED));
            }
            // The user is locked out or must wait. The approval may be fetched later.
            Some(_) => return self.pending(claims, None),
        }
        let attempt = Attempt::new(self.user.clone(), claims.action.clone());
        let mode = ApprovalMode::Poll(claims.approval.id().clone());
        match self.approvals.call_verifier(attempt, mode).await? {
            Verdict::Granted(_) => Ok(StatusResponse::new(StatusResponse::GRANTED)),
            Verdict::Denied(DenyReason::Throttled { .. } | DenyReason::LockedOut) => self.pending(claims, None),
            Verdict::Denied(_) => {
                // The user can begin another approval before this one expires.
                self.approvals.end(&self.user, claims.approval.key(), EndReason::Sent).await;
                Ok(StatusResponse::new(StatusResponse::DENIED))
            }
            Verdict::Pending(pending) => self.pending(claims, pending.number()),
            Verdict::Bypassed(_) => Err(ApprovalError::invalid_verdict()),
        }
    }

    fn pending(&self, claims: &TokenClaims, number: Option<u8>) -> Result<StatusResponse, ApprovalError> {
        let expires_in = claims.until.saturating_duration_since(self.approvals.now()?);
        Ok(StatusResponse::pending(expires_in.as_secs(), number))
    }
}

/// The body of a response of [`ApprovalStatus`](super::ApprovalStatus).
pub struct StatusBody(Kind);

enum Kind {
    Once(Bytes),
    Events(NextEvent),
    End,
}

type NextEvent = Pin<Box<dyn Future<Output = Event> + Send>>;

struct Event {
    text: String,
    next: Option<NextEvent>,
}

impl StatusBody {
    pub(super) fn once(bytes: Bytes) -> Self {
        Self(Kind::Once(bytes))
    }

    pub(super) fn events<V, S>(poller: StatusPoller<V, S>) -> Self
    where
        V: Service<Attempt, Response = Verdict> + Clone + Send + 'static,
        V::Error: Into<BoxError>,
        V::Future: Send,
        S: ApprovalStore,
    {
        Self(Kind::Events(next_event(poller, None)))
    }
}

/// The next event. `sent` is the status in the previous one. The first event is sent at once.
fn next_event<V, S>(mut poller: StatusPoller<V, S>, sent: Option<&'static str>) -> NextEvent
where
    V: Service<Attempt, Response = Verdict> + Clone + Send + 'static,
    V::Error: Into<BoxError>,
    V::Future: Send,
    S: ApprovalStore,
{
    Box::pin(async move {
        if sent.is_some() {
            tokio::time::sleep(poller.approvals.pause()).await;
        }
        match poller.poll().await {
            Ok(response) if Some(response.status) != sent => {
                let text = format!("event: status\ndata: {}\n\n", response.json);
                let next = response.is_pending().then(|| next_event(poller, Some(response.status)));
                Event { text, next }
            }
            // The status is the same, or unknown after an error. A comment detects a closed connection.
            _ => Event { text: ":\n\n".into(), next: Some(next_event(poller, sent.or(Some("")))) },
        }
    })
}

impl Body for StatusBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match &mut self.0 {
            Kind::Once(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Kind::End;
                bytes
            }
            Kind::Events(next) => {
                let Event { text, next } = ready!(next.as_mut().poll(cx));
                self.0 = next.map_or(Kind::End, Kind::Events);
                text.into()
            }
            Kind::End => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Kind::End)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Once(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Events(_) => SizeHint::default(),
            Kind::End => SizeHint::with_exact(0),
        }
    }
}

impl fmt::Debug for StatusBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatusBody")
    }
}
