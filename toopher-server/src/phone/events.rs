//! Notifications: server-sent events that make a phone read its requests and pairings.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream;
use tokio::time::{Instant, sleep_until};
use toopher_sql::query;

use crate::api_error::ApiError;
use crate::listeners::Listener;
use crate::models::Device;
use crate::state::Server;

/// The maximum time without an event. Notifications of other servers on the database may be lost.
const MAX_SILENCE: Duration = Duration::from_secs(30);
/// The maximum time of a connection. The phone connects again, which checks its pairings again.
const MAX_TIME: Duration = Duration::from_secs(3600);

/// Why a phone may listen.
enum Reason {
    Paired,
    /// It shows a phrase that is valid for this time.
    Phrase(Duration),
}

impl Server {
    /// Why a device may listen, or `None` if no change can concern it.
    async fn reason_to_listen(&self, device: &str) -> Result<Option<Reason>, ApiError> {
        let paired = query("SELECT id FROM pairings WHERE device_id = $1 AND state IN ('pending', 'enabled') LIMIT 1");
        if paired.bind(device).scalar::<String>(&self.database).await?.is_some() {
            return Ok(Some(Reason::Paired));
        }
        let now = self.now_i64()?;
        let expires = self.phrases.expiry(device, now).await?;
        Ok(expires.map(|expires| Reason::Phrase(Duration::from_secs(expires.saturating_sub(now).unsigned_abs()))))
    }
}

/// An open connection.
struct Events {
    server: Server,
    device: Device,
    listener: Listener,
    end: Instant,
    is_first: bool,
}

/// Sends an event named `changed` at the start, and after each change. It ends when the phone has neither a pairing nor
/// a valid phrase, after an hour, and when newer connections of the phone replace it.
pub(super) async fn events(State(server): State<Server>, device: Device) -> Result<impl IntoResponse, ApiError> {
    let reason = server.reason_to_listen(&device.id).await?.ok_or(ApiError::NO_EVENTS)?;
    let (is_paired, time) = match reason {
        Reason::Paired => (true, MAX_TIME),
        Reason::Phrase(left) => (false, left.min(MAX_TIME)),
    };
    let listener = server.shared.listeners.add(&device.id, is_paired).ok_or_else(|| ApiError::too_many(None))?;
    let events = Events { server, device, listener, end: Instant::now() + time, is_first: true };
    let changes = stream::unfold(Some(events), |events| async {
        let events = events?.next().await?;
        let event = Event::default().event("changed").data("{}");
        Some((Ok::<_, Infallible>(event), events))
    });
    // nginx does not buffer the events with this header.
    Ok(([("x-accel-buffering", "no")], Sse::new(changes).keep_alive(KeepAlive::default())))
}

impl Events {
    /// Waits for the next event. Returns the state after it, which is `None` if it is the last one, or `None` if there
    /// is no further event.
    async fn next(mut self) -> Option<Option<Self>> {
        if self.is_first {
            self.is_first = false;
            return Some(Some(self));
        }
        let silence = Instant::now() + MAX_SILENCE;
        let silence = if self.server.database.is_shared() { silence.min(self.end) } else { self.end };
        tokio::select! {
            changed = self.listener.changed() => if !changed { return None },
            () = sleep_until(silence) => return (silence < self.end).then_some(Some(self)),
        }
        // The change may be the end of the last pairing. A notification is a hint, so an error ends nothing.
        let goes_on = !matches!(self.server.reason_to_listen(&self.device.id).await, Ok(None));
        Some(goes_on.then_some(self))
    }
}
