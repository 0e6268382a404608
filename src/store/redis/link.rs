//! The connection: one for all, made when it is wanted, and replaced when it is not sound.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, PushInfo, PushKind, Value};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::RedisError;
use super::call::{self, Call, Read};

pub(super) struct Link {
    client: Client,
    /// Held while a connection is made, so that a crowd makes one.
    live: Mutex<Option<Live>>,
    /// The number of the next call: from a random one on, so that those of two processes differ as well.
    number: AtomicU64,
}

#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    spoilt: Arc<AtomicBool>,
}

impl Link {
    pub(super) fn new(client: Client, first_number: u64) -> Self {
        Self { client, live: Mutex::new(None), number: AtomicU64::new(first_number) }
    }

    /// Calls the script, and reads its answer, within `deadline`.
    ///
    /// Nothing is sent twice unless the server said that it did nothing: a verb that was done and whose answer was lost
    /// must not be done again.
    pub(super) async fn call<T>(&self, call: &Call, deadline: Duration, read: Read<T>) -> Result<T, RedisError> {
        let by = by(deadline);
        let mut live = self.live(by).await?;
        let number = self.number.fetch_add(1, Ordering::Relaxed).to_string();
        let answer = match live.ask(&call.by_name(&number), by).await {
            Err(error) if error.code() == Some("NOSCRIPT") => live.ask(&call.by_text(&number), by).await,
            answer => answer,
        }?;
        call::read(&answer, &number, read).ok_or_else(|| live.spoil(RedisError::answer()))
    }

    /// What the server says to a command that is not the script.
    pub(super) async fn ask(&self, command: &Cmd, deadline: Duration) -> Result<Value, RedisError> {
        let by = by(deadline);
        self.live(by).await?.ask(command, by).await
    }

    /// The connection. Whoever waits for it with others makes it if they could not.
    async fn live(&self, by: Instant) -> Result<Live, RedisError> {
        let live = async {
            let mut slot = self.live.lock().await;
            match &*slot {
                Some(live) if !live.spoilt.load(Ordering::Relaxed) => Ok(live.clone()),
                _ => {
                    *slot = None;
                    Ok(slot.insert(self.connect().await?).clone())
                }
            }
        };
        timeout_at(by, live).await.unwrap_or_else(|_| Err(RedisError::deadline()))
    }

    async fn connect(&self) -> Result<Live, RedisError> {
        let spoilt = Arc::new(AtomicBool::new(false));
        let when_cut = Arc::clone(&spoilt);
        let config = AsyncConnectionConfig::new()
            // The deadline is ours, over all of it.
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    when_cut.store(true, Ordering::Relaxed);
                }
                Ok::<_, std::convert::Infallible>(())
            });
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Live { connection, spoilt })
    }
}

impl Live {
    async fn ask(&mut self, command: &Cmd, by: Instant) -> Result<Value, RedisError> {
        let answer = timeout_at(by, command.query_async(&mut self.connection)).await;
        let answer = answer.map_err(|_| RedisError::deadline()).and_then(|answer| answer.map_err(RedisError::from));
        answer.map_err(|error| self.spoil(error))
    }

    /// Has the next call make another connection, if this error says that it should. Those that wait on this one are
    /// let finish.
    fn spoil(&self, error: RedisError) -> RedisError {
        if error.spoils_the_connection() {
            self.spoilt.store(true, Ordering::Relaxed);
        }
        error
    }
}

/// The moment by which it must be done.
fn by(deadline: Duration) -> Instant {
    let now = Instant::now();
    // Where the clock has no such moment, an hour is as good.
    now.checked_add(deadline).unwrap_or(now + Duration::from_secs(3600))
}
