//! The status as server-sent events.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tower_service::Service;

use super::Approvals;
use super::places::Place;
use super::sealed::Opened;
use crate::store::PushStore;
use crate::{Attempt, BoxError, UserId, Verdict};

/// One approval, looked at by whom it belongs to.
pub(super) struct Watch<V, S> {
    pub(super) approvals: Approvals<V, S>,
    pub(super) user: UserId,
    /// None of a challenge that is not theirs.
    pub(super) opened: Option<Opened>,
    pub(super) place: Option<Place>,
}

/// The body of an [`ApprovalStatus`](super::ApprovalStatus)'s answer.
pub struct StatusBody(Kind);

enum Kind {
    Once(Bytes),
    Events(NextEvent),
    Over,
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
}

pub(super) fn stream<V, S>(watch: Watch<V, S>) -> StatusBody
where
    V: Service<Attempt, Response = Verdict> + Clone + Send + 'static,
    V::Error: Into<BoxError>,
    V::Future: Send,
    S: PushStore,
{
    StatusBody(Kind::Events(next_event(watch, None)))
}

/// The next event. `said` is the status that the last one told; the first one comes at once.
fn next_event<V, S>(mut watch: Watch<V, S>, said: Option<&'static str>) -> NextEvent
where
    V: Service<Attempt, Response = Verdict> + Clone + Send + 'static,
    V::Error: Into<BoxError>,
    V::Future: Send,
    S: PushStore,
{
    Box::pin(async move {
        if said.is_some() {
            tokio::time::sleep(watch.approvals.pause()).await;
        }
        match watch.look().await {
            Ok(standing) if Some(standing.status) != said => {
                let text = format!("event: status\ndata: {}\n\n", standing.json);
                let next = (!standing.is_last()).then(|| next_event(watch, Some(standing.status)));
                Event { text, next }
            }
            // Still the same, or out of reach for the moment: a comment shows whether anybody listens.
            _ => Event { text: ":\n\n".into(), next: Some(next_event(watch, said.or(Some("")))) },
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
                self.0 = Kind::Over;
                bytes
            }
            Kind::Events(next) => {
                let Event { text, next } = ready!(next.as_mut().poll(cx));
                self.0 = next.map_or(Kind::Over, Kind::Events);
                text.into()
            }
            Kind::Over => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Kind::Over)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Once(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Events(_) => SizeHint::default(),
            Kind::Over => SizeHint::with_exact(0),
        }
    }
}

impl fmt::Debug for StatusBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatusBody")
    }
}
