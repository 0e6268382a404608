//! The connection: one for all, made when it is wanted, and replaced when it is not sound.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, PushInfo, PushKind, Value};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::RedisError;
use super::call::{self, Call, Read};

/// So long after a connection was begun none is begun anew: a server in trouble is not called once for each request.
const PAUSE: Duration = Duration::from_millis(100);
/// A connection has so long to be made at least, however little patience those have who want it.
const SHORTEST: Duration = Duration::from_secs(1);

pub(super) struct Link {
    client: Client,
    /// Locked for a look at it, and never while anything is waited for.
    latest: Mutex<Option<Making>>,
    /// The number of the next call: from a random one on, so that those of two processes differ as well.
    number: AtomicU64,
}

/// The connection that was begun last, for all who want one.
#[derive(Clone)]
struct Making {
    begun: Instant,
    outcome: watch::Receiver<Option<Outcome>>,
}

type Outcome = Result<Live, RedisError>;

#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    state: Arc<AtomicU8>,
}

/// What is known of a connection: only ever more.
const SOUND: u8 = 0;
/// Another one may fare better.
const STALE: u8 = 1;
/// Nothing more can be asked over it.
const BROKEN: u8 = 2;

impl Link {
    pub(super) fn new(client: Client, first_number: u64) -> Self {
        Self { client, latest: Mutex::default(), number: AtomicU64::new(first_number) }
    }

    /// Calls the script, and reads its answer, within `deadline`.
    ///
    /// Nothing is sent twice unless the server said that it did nothing: a verb that was done and whose answer was lost
    /// must not be done again.
    pub(super) async fn call<T>(&self, call: &Call, deadline: Duration, read: Read<T>) -> Result<T, RedisError> {
        self.call_as(self.number(), call, deadline, read).await
    }

    /// A number that no other call has.
    pub(super) fn number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    /// The same, with a number that the caller knows as well.
    pub(super) async fn call_as<T>(
        &self,
        number: u64,
        call: &Call,
        deadline: Duration,
        read: Read<T>,
    ) -> Result<T, RedisError> {
        let by = by(deadline);
        let mut live = self.live(by, deadline).await?;
        let number = number.to_string();
        let answer = match live.ask(&call.by_name(&number), by).await {
            Err(error) if error.code() == Some("NOSCRIPT") => live.ask(&call.by_text(&number), by).await,
            answer => answer,
        }?;
        call::read(&answer, &number, read).ok_or_else(|| live.spoil(RedisError::answer()))
    }

    /// What the server says to a command that is not the script.
    pub(super) async fn ask(&self, command: &Cmd, deadline: Duration) -> Result<Value, RedisError> {
        let by = by(deadline);
        self.live(by, deadline).await?.ask(command, by).await
    }

    /// The connection, or why there is none: the same to all who wait for it.
    async fn live(&self, by: Instant, deadline: Duration) -> Outcome {
        let live = async {
            loop {
                let Making { begun, mut outcome } = self.latest(deadline);
                let made = match outcome.wait_for(Option::is_some).await {
                    Ok(made) => made.clone(),
                    // It was being made in a runtime that has ended.
                    Err(_) => None,
                };
                match made {
                    Some(Ok(live)) if live.is(BROKEN) => sleep_until(begun + PAUSE).await,
                    Some(made) => return made,
                    None => yield_now().await,
                }
            }
        };
        timeout_at(by, live).await.unwrap_or_else(|_| Err(RedisError::deadline()))
    }

    /// The connection that was begun last. If that one is no good, and not of just now, another one is begun.
    ///
    /// It is made in a task and a time of its own. Were it made by whoever wants it first, it would be thrown away
    /// with that one's patience, and under steady traffic the next one would not have enough of it either.
    fn latest(&self, deadline: Duration) -> Making {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(making) = &*latest
            && making.serves()
        {
            return making.clone();
        }
        let (done, outcome) = watch::channel(None);
        let client = self.client.clone();
        tokio::spawn(async move {
            let made = timeout(deadline.max(SHORTEST), connect(&client)).await;
            done.send_replace(Some(made.unwrap_or_else(|_| Err(RedisError::deadline()))));
        });
        latest.insert(Making { begun: Instant::now(), outcome }).clone()
    }
}

impl Making {
    /// Whether its outcome, or what it will be, is the answer to who asks now.
    fn serves(&self) -> bool {
        match &*self.outcome.borrow() {
            Some(Ok(live)) if live.is(SOUND) => true,
            Some(_) => self.begun.elapsed() < PAUSE,
            // Nobody makes it any more if the runtime of that task has ended.
            None => self.outcome.has_changed().is_ok(),
        }
    }
}

async fn connect(client: &Client) -> Outcome {
    let state = Arc::new(AtomicU8::new(SOUND));
    let when_cut = Arc::clone(&state);
    let config = AsyncConnectionConfig::new()
        // The deadline is ours, over all of it.
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_push_sender(move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                when_cut.store(BROKEN, Ordering::Relaxed);
            }
            Ok::<_, std::convert::Infallible>(())
        });
    let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    Ok(Live { connection, state })
}

impl Live {
    async fn ask(&mut self, command: &Cmd, by: Instant) -> Result<Value, RedisError> {
        let answer = timeout_at(by, command.query_async(&mut self.connection)).await;
        let answer = answer.map_err(|_| RedisError::deadline()).and_then(|answer| answer.map_err(RedisError::from));
        answer.map_err(|error| self.spoil(error))
    }

    /// Has another connection made for those who come later, if this error says that it should. Those that wait on
    /// this one are let finish.
    fn spoil(&self, error: RedisError) -> RedisError {
        self.state.fetch_max(
            if error.code().is_none() {
                BROKEN
            } else if error.is_of_the_server() {
                STALE
            } else {
                SOUND
            },
            Ordering::Relaxed,
        );
        error
    }

    fn is(&self, state: u8) -> bool {
        self.state.load(Ordering::Relaxed) == state
    }
}

/// The moment by which it must be done.
fn by(deadline: Duration) -> Instant {
    let now = Instant::now();
    // Where the clock has no such moment, an hour is as good.
    now.checked_add(deadline).unwrap_or(now + Duration::from_secs(3600))
}
