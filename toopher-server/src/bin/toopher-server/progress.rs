//! The progress of a request, and the bodies that report it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use futures_util::stream::poll_fn;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::connection_state::{MAX_STALLED, Phase};
use crate::connections::Connections;

/// A request in progress. Dropping it ends it.
pub(crate) struct Progress {
    connections: Arc<Connections>,
    connection: u64,
    phase: Mutex<Phase>,
}

impl Progress {
    /// Begins a request whose head is complete. `work` is its phase when it is complete.
    pub(crate) fn begin(connections: Arc<Connections>, connection: u64, has_body: bool, work: Phase) -> Arc<Self> {
        let phase = if has_body { Phase::Receiving } else { work };
        connections.change(connection, None, Some(phase));
        Arc::new(Self { connections, connection, phase: Mutex::new(phase) })
    }

    /// Continues with a later phase. A response can precede the end of the request's body.
    pub(crate) fn advance(&self, to: Phase) {
        self.change(to, |from| to.index() > from.index());
    }

    fn set(&self, to: Phase) {
        self.change(to, |_| true);
    }

    fn change(&self, to: Phase, condition: impl FnOnce(Phase) -> bool) {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if condition(*phase) {
            self.connections.change(self.connection, Some(*phase), Some(to));
            *phase = to;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let phase = *self.phase.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.connections.change(self.connection, Some(phase), None);
    }
}

/// The events of a stream, which a task reads: hyper does not poll a body while the HTTP/2 window of the client is
/// zero, and the stream ends nevertheless. While the client has not taken an event, the connection waits for its
/// client.
pub(crate) fn event_stream(mut events: Body, progress: Arc<Progress>) -> Body {
    let (sender, mut receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        // The channel has capacity when the previous event was taken.
        while let Ok(Ok(capacity)) = timeout(MAX_STALLED, sender.reserve()).await {
            progress.set(Phase::Streaming);
            let event = tokio::select! {
                event = events.frame() => event,
                () = sender.closed() => None,
            };
            progress.set(Phase::Responding);
            match event {
                Some(event) => capacity.send(event),
                None => return,
            }
        }
    });
    Body::new(StreamBody::new(poll_fn(move |context| receiver.poll_recv(context))))
}

/// A body whose end is reported, and whose request ends no earlier than the body.
pub(crate) struct Tracked<B> {
    body: B,
    progress: Arc<Progress>,
    at_end: Option<Phase>,
}

impl<B> Tracked<B> {
    /// The body of a request. The work begins at its end, or when the handler drops it, which reads no more of it.
    pub(crate) fn request(body: B, progress: Arc<Progress>, work: Phase) -> Self {
        Self { body, progress, at_end: Some(work) }
    }

    pub(crate) fn response(body: B, progress: Arc<Progress>) -> Self {
        Self { body, progress, at_end: None }
    }
}

impl<B> Drop for Tracked<B> {
    fn drop(&mut self) {
        if let Some(phase) = self.at_end {
            self.progress.advance(phase);
        }
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Tracked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        if let Some(phase) = this.at_end
            && (frame.is_none() || this.body.is_end_stream())
        {
            this.progress.advance(phase);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
