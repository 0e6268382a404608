//! The connection: one for all operations, opened lazily, and replaced after an error.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, PushInfo, PushKind, Value};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::error::RedisError;
use super::script::{self, Call, Parse};

/// The minimum time between two attempts to connect, so that a server that is down is not called for each request.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(100);
/// The minimum time for opening a connection, however short the deadline of an operation is.
const MIN_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) struct Connector {
    client: Client,
    /// Locked only for a moment, and never across an await.
    latest: Mutex<Option<Connecting>>,
    /// The number of the next call. It starts at a random number, so that the numbers of two processes differ too.
    number: AtomicU64,
}

/// The latest connection, for all operations that wait for it.
#[derive(Clone)]
struct Connecting {
    begun: Instant,
    outcome: watch::Receiver<Option<Outcome>>,
}

type Outcome = Result<Connection, RedisError>;

#[derive(Clone)]
struct Connection {
    connection: MultiplexedConnection,
    health: Arc<AtomicU8>,
}

/// The health of a connection. It only gets worse.
#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
enum Health {
    Healthy,
    /// Another connection may succeed where this one failed.
    Stale,
    /// No command can be sent any more.
    Broken,
}

impl Connector {
    pub(super) fn new(client: Client, first_number: u64) -> Self {
        Self { client, latest: Mutex::default(), number: AtomicU64::new(first_number) }
    }

    /// Calls the script and parses its reply, within `deadline`.
    ///
    /// Nothing is sent twice, unless the server reported that it did nothing: an operation that was done and whose
    /// reply was lost must not be repeated.
    pub(super) async fn call<T>(&self, call: &Call, deadline: Duration, parse: Parse<T>) -> Result<T, RedisError> {
        self.call_with_number(self.next_number(), call, deadline, parse).await
    }

    /// A number that no other call has.
    pub(super) fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    /// As [`call`](Self::call), with a number that the caller knows.
    pub(super) async fn call_with_number<T>(
        &self,
        number: u64,
        call: &Call,
        deadline: Duration,
        parse: Parse<T>,
    ) -> Result<T, RedisError> {
        let deadline_at = deadline_at(deadline);
        let mut connection = self.connection(deadline_at, deadline).await?;
        let number = number.to_string();
        let reply = match connection.send(&call.eval_sha(&number), deadline_at).await {
            Err(error) if error.code() == Some("NOSCRIPT") => connection.send(&call.eval(&number), deadline_at).await,
            reply => reply,
        }?;
        script::parse(&reply, &number, parse).ok_or_else(|| connection.invalidate(RedisError::invalid_reply()))
    }

    /// Sends a command that is not the script.
    pub(super) async fn send(&self, command: &Cmd, deadline: Duration) -> Result<Value, RedisError> {
        let deadline_at = deadline_at(deadline);
        self.connection(deadline_at, deadline).await?.send(command, deadline_at).await
    }

    /// The connection, or why there is none. All operations that wait get the same outcome.
    async fn connection(&self, deadline_at: Instant, deadline: Duration) -> Outcome {
        let connection = async {
            loop {
                let Connecting { begun, mut outcome } = self.latest(deadline);
                let opened = match outcome.wait_for(Option::is_some).await {
                    Ok(opened) => opened.clone(),
                    // The runtime of the task that opened it ended.
                    Err(_) => None,
                };
                match opened {
                    Some(Ok(connection)) if connection.is(Health::Broken) => {
                        sleep_until(begun + RECONNECT_INTERVAL).await;
                    }
                    Some(opened) => return opened,
                    None => yield_now().await,
                }
            }
        };
        timeout_at(deadline_at, connection).await.unwrap_or_else(|_| Err(RedisError::deadline()))
    }

    /// The latest connection. If it is not healthy, and older than [`RECONNECT_INTERVAL`], opens another one.
    ///
    /// A task opens it, with a timeout of its own. If the first operation that needs it opened it, the deadline of that
    /// operation would drop it, and under steady traffic the next operation would not have enough time either.
    fn latest(&self, deadline: Duration) -> Connecting {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connecting) = &*latest
            && connecting.is_current()
        {
            return connecting.clone();
        }
        let (done, outcome) = watch::channel(None);
        let client = self.client.clone();
        tokio::spawn(async move {
            let opened = timeout(deadline.max(MIN_CONNECT_TIMEOUT), connect(&client)).await;
            done.send_replace(Some(opened.unwrap_or_else(|_| Err(RedisError::deadline()))));
        });
        latest.insert(Connecting { begun: Instant::now(), outcome }).clone()
    }
}

impl Connecting {
    /// Whether its outcome, or its future outcome, applies to an operation that begins now.
    fn is_current(&self) -> bool {
        match &*self.outcome.borrow() {
            Some(Ok(connection)) if connection.is(Health::Healthy) => true,
            Some(_) => self.begun.elapsed() < RECONNECT_INTERVAL,
            // No task opens it any more if the runtime of that task ended.
            None => self.outcome.has_changed().is_ok(),
        }
    }
}

async fn connect(client: &Client) -> Outcome {
    let health = Arc::new(AtomicU8::new(Health::Healthy as u8));
    let on_disconnect = Arc::clone(&health);
    let config = AsyncConnectionConfig::new()
        // The deadline of the operation applies to all of it.
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_push_sender(move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                on_disconnect.store(Health::Broken as u8, Ordering::Relaxed);
            }
            Ok::<_, std::convert::Infallible>(())
        });
    let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    Ok(Connection { connection, health })
}

impl Connection {
    async fn send(&mut self, command: &Cmd, deadline_at: Instant) -> Result<Value, RedisError> {
        let reply = timeout_at(deadline_at, command.query_async(&mut self.connection)).await;
        let reply = reply.map_err(|_| RedisError::deadline()).and_then(|reply| reply.map_err(RedisError::from));
        reply.map_err(|error| self.invalidate(error))
    }

    /// Marks the connection as stale or broken, if the error is a reason for it: later operations open another one.
    /// Operations that wait on this connection are not cancelled.
    fn invalidate(&self, error: RedisError) -> RedisError {
        let health = match error.code() {
            None => Health::Broken,
            Some(_) if error.is_of_server() => Health::Stale,
            Some(_) => Health::Healthy,
        };
        self.health.fetch_max(health as u8, Ordering::Relaxed);
        error
    }

    fn is(&self, health: Health) -> bool {
        self.health.load(Ordering::Relaxed) == health as u8
    }
}

fn deadline_at(deadline: Duration) -> Instant {
    let now = Instant::now();
    // If the clock cannot express the time, an hour is sufficient.
    now.checked_add(deadline).unwrap_or(now + Duration::from_secs(3600))
}
