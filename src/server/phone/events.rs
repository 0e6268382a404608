//! When to look again.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::future::{Either, select};
use futures_util::{StreamExt, stream};
use tokio::sync::broadcast::error::RecvError;

use super::Device;
use crate::server::Server;
use crate::server::error::ApiError;
use crate::server::relay::EVERYBODY;

/// After how long a phone is told to look although nothing is known to have changed: another server may have had no way
/// to say that it has.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

async fn until(longest: Option<Duration>) {
    match longest {
        None => pending().await,
        Some(longest) => tokio::time::sleep(longest).await,
    }
}

/// Says when to look again: server-sent events called `changed`, the first one at once.
pub(super) async fn events(State(server): State<Server>, device: Device) -> Result<impl IntoResponse, ApiError> {
    let listener = server.shared.listeners.clone().try_acquire_owned().map_err(|_| ApiError::too_many(None))?;
    let events = server.shared.events.subscribe();
    let longest = server.database.is_shared().then_some(LONGEST_SILENCE);
    let changes = stream::unfold((events, device.id, listener), move |(mut events, id, listener)| async move {
        let silence = Box::pin(until(longest));
        let heard = Box::pin(async {
            loop {
                match events.recv().await {
                    Ok(changed) if *changed != *id && *changed != *EVERYBODY => {}
                    // Having missed some, this may have been among them.
                    Ok(_) | Err(RecvError::Lagged(_)) => return Some(()),
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        let heard = match select(heard, silence).await {
            Either::Left((heard, _)) => heard,
            Either::Right(_) => Some(()),
        };
        heard.map(|()| ((), (events, id, listener)))
    });
    let changes = stream::once(async {}).chain(changes);
    let events = changes.map(|()| Event::default().event("changed").data("{}"));
    let events = events.map(Ok::<_, Infallible>);
    // What a proxy holds back comes too late.
    Ok(([("x-accel-buffering", "no")], Sse::new(events).keep_alive(KeepAlive::default())))
}
