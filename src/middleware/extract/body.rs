//! Reads a body within bounds and replays the same bytes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::error::ExtractError;
use crate::verify::BoxError;

/// The number of frames after which the task yields.
const FRAMES_PER_POLL: usize = 64;
/// The maximum number of frames without data.
const MAX_EMPTY_FRAMES: usize = 1024;

pin_project! {
    /// A request body: the original one, or its bytes and trailers, replayed after they were read.
    ///
    /// The inner service receives it with [`HeaderOrForm::wrapping`](crate::HeaderOrForm::wrapping).
    pub struct ReplayBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Untouched {
            #[pin]
            body: B,
        },
        Replay {
            bytes: Bytes,
            trailers: Option<HeaderMap>,
        },
    }
}

impl<B> ReplayBody<B> {
    pub(super) fn untouched(body: B) -> Self {
        Self { kind: Kind::Untouched { body } }
    }

    pub(super) fn replay(bytes: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self { kind: Kind::Replay { bytes, trailers } }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    /// Shows the length only, because the body contains an OTP.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Untouched { .. } => f.write_str("ReplayBody(<untouched>)"),
            Kind::Replay { bytes, .. } => write!(f, "ReplayBody(<{} bytes>)", bytes.len()),
        }
    }
}

impl<B: Body<Data = Bytes>> Body for ReplayBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Untouched { body } => body.poll_frame(cx),
            KindProj::Replay { bytes, .. } if !bytes.is_empty() => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))))
            }
            KindProj::Replay { trailers, .. } => Poll::Ready(trailers.take().map(|t| Ok(Frame::trailers(t)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Untouched { body } => body.is_end_stream(),
            Kind::Replay { bytes, trailers } => bytes.is_empty() && trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Untouched { body } => body.size_hint(),
            Kind::Replay { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

pin_project! {
    /// Reads a complete body of at most `limit` bytes.
    ///
    /// Memory grows with the received bytes, never with the announced length.
    pub(super) struct Collect<B> {
        #[pin]
        body: B,
        read: Read,
        trailers: Option<HeaderMap>,
        empty_frames: usize,
        limit: usize,
    }
}

/// A body that consists of one frame is not copied.
enum Read {
    One(Bytes),
    Many(BytesMut),
}

impl Read {
    fn len(&self) -> usize {
        match self {
            Self::One(bytes) => bytes.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, mut data: impl Buf) {
        match self {
            Self::One(first) if first.is_empty() => *first = data.copy_to_bytes(data.remaining()),
            Self::One(first) => {
                let mut bytes = BytesMut::with_capacity((first.len() + data.remaining()).saturating_mul(2));
                bytes.extend_from_slice(first);
                *self = Self::Many(bytes);
                self.push(data);
            }
            Self::Many(bytes) => {
                while data.has_remaining() {
                    let chunk = data.chunk();
                    bytes.extend_from_slice(chunk);
                    let taken = chunk.len();
                    data.advance(taken);
                }
            }
        }
    }

    fn take(&mut self) -> Bytes {
        match std::mem::replace(self, Self::One(Bytes::new())) {
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.freeze(),
        }
    }
}

impl<B> Collect<B> {
    pub(super) fn new(body: B, limit: usize) -> Self {
        Self { body, read: Read::One(Bytes::new()), trailers: None, empty_frames: 0, limit }
    }
}

impl<B> Future for Collect<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Output = Result<(Bytes, Option<HeaderMap>), ExtractError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let announced = usize::try_from(this.body.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > this.limit.saturating_sub(this.read.len()) {
            return Poll::Ready(Err(ExtractError::BodyTooLarge));
        }
        for _ in 0..FRAMES_PER_POLL {
            let frame = match ready!(this.body.as_mut().poll_frame(cx)) {
                Some(frame) => frame.map_err(|error| ExtractError::UnreadableBody(error.into()))?,
                None => return Poll::Ready(Ok((this.read.take(), this.trailers.take()))),
            };
            match frame.into_data() {
                Ok(data) if !data.has_remaining() => {
                    *this.empty_frames += 1;
                    if *this.empty_frames > MAX_EMPTY_FRAMES {
                        return Poll::Ready(Err(ExtractError::UnreadableBody("too many empty frames".into())));
                    }
                }
                Ok(data) => {
                    if data.remaining() > this.limit.saturating_sub(this.read.len()) {
                        return Poll::Ready(Err(ExtractError::BodyTooLarge));
                    }
                    this.read.push(data);
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        this.trailers.get_or_insert_default().extend(trailers);
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<B> fmt::Debug for Collect<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collect").field("read", &self.read.len()).field("limit", &self.limit).finish_non_exhaustive()
    }
}
