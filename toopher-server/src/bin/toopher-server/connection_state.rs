//! The state of a connection: what it waits for, and since when.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a connection may be without a request: from its beginning to the head of its first request, and after each
/// response.
pub(crate) const MAX_IDLE: Duration = Duration::from_secs(10);
/// How long the requests of a connection may make no progress: a client that does not read its responses.
pub(crate) const MAX_STALLED: Duration = Duration::from_secs(60);
/// How long a connection counts as new, if it gets no response.
pub(crate) const NEW_TIME: Duration = Duration::from_secs(2);

/// Who a request waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    /// The client has not sent the whole body.
    Receiving,
    /// The request waits for its turn. The server has not begun to work on it.
    Queued,
    /// The server works on the response.
    Working,
    /// The client has not received the whole response.
    Responding,
    /// The response is an event stream: the client has received all events, and the server waits for the next one.
    Streaming,
}

/// How useful a connection is to its client now. A connection has the last class of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// The connection waits for its client, which has received a response.
    Waiting,
    /// The connection waits for its client, which has received no response yet.
    New,
    /// A request waits for its turn. Phones repeat it.
    Queued,
    /// It has an event stream. Phones connect again.
    Streaming,
    /// The server works on a response.
    Working,
}

impl Phase {
    pub(crate) const COUNT: usize = 5;

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

pub(crate) struct State {
    pub(crate) address: IpAddr,
    /// When it began.
    pub(crate) start: Instant,
    /// Whether a request has ended.
    pub(crate) is_served: bool,
    /// The number of its requests in each phase.
    pub(crate) phases: [usize; Phase::COUNT],
    /// When a phase last changed.
    pub(crate) since: Instant,
    pub(crate) order: u64,
    pub(crate) is_closing: bool,
    pub(crate) close: Arc<Notify>,
}

impl State {
    pub(crate) fn new(id: u64, address: IpAddr, close: Arc<Notify>) -> Self {
        let now = Instant::now();
        let phases = [0; Phase::COUNT];
        Self { address, start: now, is_served: false, phases, since: now, order: id, is_closing: false, close }
    }

    pub(crate) fn requests(&self) -> usize {
        self.phases.iter().sum()
    }

    pub(crate) fn class(&self) -> Class {
        let has = |phase: Phase| self.phases[phase.index()] > 0;
        if has(Phase::Working) {
            Class::Working
        } else if has(Phase::Streaming) {
            Class::Streaming
        } else if has(Phase::Queued) {
            Class::Queued
        } else if self.is_served {
            Class::Waiting
        } else {
            Class::New
        }
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.start.elapsed() < NEW_TIME
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.requests() {
            0 => Some(self.since + MAX_IDLE),
            _ if self.phases[Phase::Streaming.index()] > 0 => None,
            _ => Some(self.since + MAX_STALLED),
        }
    }
}
