//! The state that all handlers share: the database, the keys, the public URL and the clock.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, broadcast};
use toopher_sql::{Database, Transaction, query};
use tower_toopher::crypto::SealingKey;
use tower_toopher::store::{DynStore, Throttle};
use tower_toopher::time::{Clock, UnixTime};
use tower_toopher::totp::Window;
use tower_toopher::{BoxError, TotpVerifier};
use zeroize::Zeroizing;

use crate::aad;
use crate::api_error::ApiError;
use crate::error::ServerError;
use crate::failure_store::FailureStore;
#[cfg(feature = "postgres")]
use crate::id::new_id;
use crate::message::{Message, Messenger};
use crate::public_url::PublicUrl;
use crate::recovery_codes::RecoveryCodes;

/// How many events a connected phone can miss before it is notified once for all of them.
const EVENTS: usize = 256;
/// The maximum number of phones that are connected for events at once.
const MAX_LISTENERS: usize = 10_000;

/// The server: its database, its keys and its public URL. Clones share them.
#[derive(Clone)]
pub struct Server {
    pub(crate) database: Database,
    pub(crate) shared: Arc<Shared>,
    pub(crate) failure_store: FailureStore,
    pub(crate) verifier: TotpVerifier<RecoveryCodes, DynStore>,
    clock: Clock,
    clock_skew: Duration,
    messenger: Option<Arc<Messenger>>,
    pub(crate) throttle: Throttle,
}

pub(crate) struct Shared {
    sealing_key: SealingKey,
    pub(crate) public_url: PublicUrl,
    /// The id of each device for which something has changed.
    pub(crate) events: broadcast::Sender<Arc<str>>,
    /// Distinguishes this server from others on the same database.
    #[cfg(feature = "postgres")]
    pub(crate) instance: String,
    /// A permit for each further phone that may connect for events.
    pub(crate) listeners: Arc<Semaphore>,
}

impl Server {
    /// Opens the SQLite database at `path`, and creates it if there is none.
    ///
    /// `public_url` is the URL that clients use, without the `/v1`: scheme, host, port, and the path that the router is
    /// mounted under. Clients sign it. Behind a proxy it is the URL of the proxy. It is never derived from a request,
    /// whose headers the sender chooses.
    ///
    /// # Errors
    ///
    /// When `public_url` is not an `http` or `https` URL, the database cannot be opened, or its secrets are encrypted
    /// with another key.
    pub async fn open(path: impl AsRef<Path>, key: SealingKey, public_url: &str) -> Result<Self, ServerError> {
        Self::verify_key(Database::open(path.as_ref()).await?, key, public_url).await
    }

    /// Opens a PostgreSQL database, which several servers share: with the same key, the same public URL, and
    /// synchronized clocks. Run [`forward_notifications`](Self::forward_notifications) beside the router of each.
    ///
    /// # Errors
    ///
    /// When `public_url` is not an `http` or `https` URL; when the database cannot be reached, is a standby, or has
    /// tables of a newer version; or when its secrets are encrypted with another key.
    #[cfg(feature = "postgres")]
    pub async fn open_postgres(
        database: &tower_toopher::store::PgDatabase,
        key: SealingKey,
        public_url: &str,
    ) -> Result<Self, ServerError> {
        Self::verify_key(Database::connect(database).await?, key, public_url).await
    }

    /// A server with a database in memory and a random key. Both end with the process.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn in_memory(public_url: &str) -> Result<Self, ServerError> {
        Self::new(Database::in_memory().await?, SealingKey::generate()?, public_url)
    }

    /// Decrypts one secret of the database. With another key every call would fail, and the other servers could not
    /// decrypt what this one encrypts.
    async fn verify_key(database: Database, key: SealingKey, public_url: &str) -> Result<Self, ServerError> {
        let server = Self::new(database, key, public_url)?;
        if let Some(row) = query("SELECT id, sealed_secret FROM requesters LIMIT 1").row(&server.database).await? {
            let (id, sealed): (String, Vec<u8>) = (row.get("id")?, row.get("sealed_secret")?);
            let decrypted = server.sealing_key().decrypt(&aad::consumer_secret(&id), &sealed);
            decrypted.map_err(|_| "the secrets in the database are encrypted with another key")?;
        }
        Ok(server)
    }

    fn new(database: Database, sealing_key: SealingKey, public_url: &str) -> Result<Self, ServerError> {
        let public_url = PublicUrl::parse(public_url).ok_or("the public URL is not an http or https URL")?;
        let failure_store = FailureStore::in_database(database.clone());
        // The vendor's servers accepted two steps before and after the current one, which the clocks of old phones
        // need.
        let verifier = TotpVerifier::new(RecoveryCodes(database.clone()))?
            .store((*failure_store).clone())
            .window(Window::new(2, 2)?);
        let shared = Arc::new(Shared {
            sealing_key,
            public_url,
            events: broadcast::Sender::new(EVENTS),
            #[cfg(feature = "postgres")]
            instance: new_id(),
            listeners: Arc::new(Semaphore::new(MAX_LISTENERS)),
        });
        Ok(Self {
            database,
            shared,
            failure_store,
            verifier,
            clock: Clock::system(),
            clock_skew: Duration::from_secs(300),
            messenger: None,
            throttle: Throttle::default(),
        })
    }

    /// Sets the clock. Default: the clock of the operating system.
    #[must_use]
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        let clock = clock.into();
        self.verifier = self.verifier.clock(clock.clone());
        self.clock = clock;
        self
    }

    /// Sets the maximum difference between the timestamp of a call and the server's time. Default: 300 seconds.
    ///
    /// Nonces are stored for twice this time, so a larger skew needs more space. A call whose nonce was deleted under a
    /// smaller skew stays rejected.
    #[must_use]
    pub fn clock_skew(mut self, skew: Duration) -> Self {
        self.clock_skew = skew;
        self
    }

    /// Sets how failed one-time passwords slow a user down. Default: [`Throttle::default`].
    #[must_use]
    pub fn throttle(mut self, throttle: Throttle) -> Self {
        self.verifier = self.verifier.throttle(throttle);
        self.throttle = throttle;
        self
    }

    /// Sets how text messages and mails are sent. Default: none are sent, and calls that need them are rejected.
    ///
    /// A message contains a link that pairs a phone, or ends a pairing: anyone who reads the message can use it.
    #[must_use]
    pub fn messenger<F>(mut self, send: impl Fn(Message) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.messenger = Some(Arc::new(move |message| Box::pin(send(message))));
        self
    }

    pub(crate) fn sealing_key(&self) -> &SealingKey {
        &self.shared.sealing_key
    }

    pub(crate) async fn consumer_secret(&self, requester: &str) -> Result<Zeroizing<String>, ApiError> {
        let sealed: Vec<u8> = query("SELECT sealed_secret FROM requesters WHERE id = $1")
            .bind(requester)
            .scalar(&self.database)
            .await?
            .ok_or(sqlx::Error::RowNotFound)?;
        self.decrypt_consumer_secret(requester, &sealed)
    }

    pub(crate) fn decrypt_consumer_secret(
        &self,
        requester: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<String>, ApiError> {
        let secret = self.sealing_key().decrypt(&aad::consumer_secret(requester), sealed)?;
        let secret = std::str::from_utf8(&secret).map_err(|error| ApiError::internal(&error))?;
        Ok(Zeroizing::new(secret.to_owned()))
    }

    /// Begins a transaction. Those of the same user are serialized.
    pub(crate) async fn begin_for_user(&self, id: &str) -> Result<Transaction, sqlx::Error> {
        self.database.begin(&format!("user {id}")).await
    }

    pub(crate) fn now(&self) -> Result<UnixTime, ApiError> {
        self.clock.now().map_err(|error| ApiError::internal(&error))
    }

    /// The time as it is in the database, in seconds.
    pub(crate) fn now_i64(&self) -> Result<i64, ApiError> {
        i64::try_from(self.now()?.as_secs()).map_err(|error| ApiError::internal(&error))
    }

    /// The same for administrative operations, whose error is not a response.
    pub(crate) fn admin_now(&self) -> Result<i64, ServerError> {
        Ok(i64::try_from(self.clock.now()?.as_secs()).unwrap_or(i64::MAX))
    }

    pub(crate) fn clock_skew_secs(&self) -> u64 {
        self.clock_skew.as_secs()
    }

    /// Rejects a call that needs a messenger if there is none.
    pub(crate) fn require_messenger(&self) -> Result<&Messenger, ApiError> {
        self.messenger.as_deref().ok_or(ApiError::NO_MESSAGES)
    }

    pub(crate) async fn send(&self, message: Message) -> Result<(), ApiError> {
        self.require_messenger()?(message).await.map_err(|error| ApiError::internal(&error))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("public_url", &format_args!("{}", self.shared.public_url))
            .field("clock_skew", &self.clock_skew)
            .finish_non_exhaustive()
    }
}
