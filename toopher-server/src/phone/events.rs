//! Notifications: server-sent events that make a phone read its requests and pairings.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::future::{Either, select};
use futures_util::{StreamExt, stream};
use tokio::sync::broadcast::error::RecvError;

use super::device::Device;
use crate::api_error::ApiError;
use crate::notify::ALL_DEVICES;
use crate::state::Server;

/// The maximum time without an event. Notifications of other servers on the database may be lost.
const MAX_SILENCE: Duration = Duration::from_secs(30);

async fn sleep_or_pend(time: Option<Duration>) {
    match time {
        None => pending().await,
        Some(time) => tokio::time::sleep(time).await,
    }
}

/// Sends an event named `changed` at the start, and after each change.
pub(super) async fn events(State(server): State<Server>, device: Device) -> Result<impl IntoResponse, ApiError> {
    let listener = server.shared.listeners.clone().try_acquire_owned().map_err(|_| ApiError::too_many(None))?;
    let events = server.shared.events.subscribe();
    let max_silence = server.database.is_shared().then_some(MAX_SILENCE);
    let changes = stream::unfold((events, device.id, listener), move |(mut events, id, listener)| async move {
        let silence = Box::pin(sleep_or_pend(max_silence));
        let event = Box::pin(async {
            loop {
                match events.recv().await {
                    Ok(changed) if *changed != *id && *changed != *ALL_DEVICES => {}
                    // A missed event may have been for this device.
                    Ok(_) | Err(RecvError::Lagged(_)) => return Some(()),
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        let event = match select(event, silence).await {
            Either::Left((event, _)) => event,
            Either::Right(_) => Some(()),
        };
        event.map(|()| ((), (events, id, listener)))
    });
    let changes = stream::once(async {}).chain(changes);
    let events = changes.map(|()| Event::default().event("changed").data("{}"));
    let events = events.map(Ok::<_, Infallible>);
    // nginx does not buffer the events with this header.
    Ok(([("x-accel-buffering", "no")], Sse::new(events).keep_alive(KeepAlive::default())))
}
