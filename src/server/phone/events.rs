//! When to look again.

use std::convert::Infallible;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{StreamExt, stream};
use tokio::sync::broadcast::error::RecvError;

use super::Device;
use crate::server::Server;
use crate::server::error::ApiError;
use crate::server::relay::EVERYBODY;

/// Says when to look again: server-sent events called `changed`, the first one at once.
pub(super) async fn events(State(server): State<Server>, device: Device) -> Result<impl IntoResponse, ApiError> {
    let listener = server.shared.listeners.clone().try_acquire_owned().map_err(|_| ApiError::too_many(None))?;
    let events = server.shared.events.subscribe();
    let changes = stream::unfold((events, device.id, listener), |(mut events, id, listener)| async move {
        loop {
            match events.recv().await {
                Ok(changed) if *changed != *id && *changed != *EVERYBODY => {}
                // Having missed some, this may have been among them.
                Ok(_) | Err(RecvError::Lagged(_)) => return Some(((), (events, id, listener))),
                Err(RecvError::Closed) => return None,
            }
        }
    });
    let changes = stream::once(async {}).chain(changes);
    let events = changes.map(|()| Event::default().event("changed").data("{}"));
    let events = events.map(Ok::<_, Infallible>);
    // What a proxy holds back comes too late.
    Ok(([("x-accel-buffering", "no")], Sse::new(events).keep_alive(KeepAlive::default())))
}
