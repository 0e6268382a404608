//! The state that all handlers share: the database, the keys, the public URL and the clock.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toopher_sql::{Database, query};
use tower_toopher::crypto::SealingKey;
use tower_toopher::store::{DynStore, Throttle};
use tower_toopher::time::Clock;
use tower_toopher::totp::Window;
use tower_toopher::{BoxError, TotpVerifier};
use zeroize::Zeroizing;

use crate::aad;
use crate::api_error::ApiError;
use crate::clock_check::ClockCheck;
use crate::error::ServerError;
use crate::failure_store::FailureStore;
#[cfg(feature = "postgres")]
use crate::id::new_id;
use crate::listeners::Listeners;
use crate::message::{Message, Messenger};
use crate::phrases::Phrases;
use crate::public_url::PublicUrl;
use crate::recovery_codes::RecoveryCodes;
use crate::test_write::TestWrite;

/// The default maximum number of phones that are connected for events at once.
const MAX_EVENT_STREAMS: usize = 5_000;

/// The server: its database, its keys and its public URL. Clones share them.
#[derive(Clone)]
pub struct Server {
    pub(crate) database: Database,
    pub(crate) shared: Arc<Shared>,
    pub(crate) failure_store: FailureStore,
    pub(crate) verifier: TotpVerifier<RecoveryCodes, DynStore>,
    pub(crate) clock: Clock,
    /// `None` if the clock is not compared with others.
    pub(crate) clock_check: Option<ClockCheck>,
    pub(crate) clock_skew: Duration,
    messenger: Option<Arc<Messenger>>,
    pub(crate) throttle: Throttle,
    pub(crate) phrases: Phrases,
}

pub(crate) struct Shared {
    /// Encrypts secrets in the database.
    sealing_key: SealingKey,
    /// The key of digests in the database, for an HMAC.
    pub(crate) digest_key: SealingKey,
    pub(crate) public_url: PublicUrl,
    /// Distinguishes this server from others on the same database.
    #[cfg(feature = "postgres")]
    pub(crate) instance: String,
    pub(crate) test_write: TestWrite,
    /// The phones that are connected for events.
    pub(crate) listeners: Listeners,
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
    /// When `public_url` is not an `http` or `https` URL, ends in `/v1`, or has a user, a query, a fragment or a path
    /// that can be read in two ways; when the database cannot be opened; or when its secrets are encrypted with another
    /// key.
    pub async fn open(path: impl AsRef<Path>, key: SealingKey, public_url: &str) -> Result<Self, ServerError> {
        Self::verify_key(Database::open(path.as_ref()).await?, &key, public_url).await
    }

    /// Opens a PostgreSQL database, which several servers share: with the same key, the same public URL, and
    /// synchronized clocks. Run [`forward_notifications`](Self::forward_notifications) beside the router of each.
    ///
    /// # Errors
    ///
    /// When `public_url` is invalid, as for [`open`](Self::open); when the database cannot be reached, is a standby, or
    /// has tables of a newer version; or when its secrets are encrypted with another key.
    #[cfg(feature = "postgres")]
    pub async fn open_postgres(
        database: &tower_toopher::store::PgDatabase,
        key: SealingKey,
        public_url: &str,
    ) -> Result<Self, ServerError> {
        Self::verify_key(Database::connect(database).await?, &key, public_url).await
    }

    /// A server with a database in memory and a random key. Both end with the process.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn in_memory(public_url: &str) -> Result<Self, ServerError> {
        Self::new(Database::in_memory().await?, &SealingKey::generate()?, public_url).await
    }

    /// Decrypts one secret of the database. With another key every call would fail, and the other servers could not
    /// decrypt what this one encrypts.
    async fn verify_key(database: Database, key: &SealingKey, public_url: &str) -> Result<Self, ServerError> {
        let server = Self::new(database, key, public_url).await?;
        if let Some(row) = query("SELECT id, sealed_secret FROM requesters LIMIT 1").row(&server.database).await? {
            let (id, sealed): (String, Vec<u8>) = (row.get("id")?, row.get("sealed_secret")?);
            let decrypted = server.sealing_key().decrypt(&aad::consumer_secret(&id), &sealed);
            decrypted.map_err(|_| {
                "the secrets in the database are encrypted with another key: set --key-file to the key of this database"
            })?;
        }
        Ok(server)
    }

    async fn new(database: Database, key: &SealingKey, public_url: &str) -> Result<Self, ServerError> {
        let public_url = PublicUrl::parse(public_url).map_err(BoxError::from)?;
        let failure_store = FailureStore::in_database(database.clone());
        let phrases = Phrases::new(&database).await?;
        // The vendor's servers accepted two steps before and after the current one, which the clocks of old phones
        // need.
        let verifier = TotpVerifier::new(RecoveryCodes(database.clone()))?
            .store((*failure_store).clone())
            .window(Window::new(2, 2)?);
        let shared = Arc::new(Shared {
            sealing_key: key.derive("toopher-server secrets"),
            digest_key: key.derive("toopher-server digests"),
            public_url,
            #[cfg(feature = "postgres")]
            instance: new_id(),
            test_write: TestWrite::default(),
            listeners: Listeners::new(MAX_EVENT_STREAMS),
        });
        let server = Self {
            database,
            shared,
            failure_store,
            verifier,
            clock: Clock::system(),
            clock_check: None,
            clock_skew: Duration::from_secs(300),
            messenger: None,
            throttle: Throttle::default(),
            phrases,
        };
        server.compare_clock(true)
    }

    /// Sets how failed one-time passwords slow a user down. Default: [`Throttle::default`].
    #[must_use]
    pub fn throttle(mut self, throttle: Throttle) -> Self {
        self.verifier = self.verifier.throttle(throttle);
        self.throttle = throttle;
        self
    }

    /// Sets the maximum number of event streams, over all phones. Default: 5,000.
    ///
    /// Each is an open connection, so this is best below the number of connections that the program can hold. A phone
    /// has at most four, and phones without a pairing have at most a quarter of all.
    #[must_use]
    pub fn max_event_streams(self, max: usize) -> Self {
        self.shared.listeners.set_max(max);
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

    /// Checks a public URL, as the functions that open a server do.
    ///
    /// # Errors
    ///
    /// The reason why the URL is invalid, which does not contain the URL.
    pub fn check_public_url(public_url: &str) -> Result<(), ServerError> {
        Ok(PublicUrl::parse(public_url).map(drop).map_err(BoxError::from)?)
    }

    /// The URL that clients sign, without `/v1`, in the spelling that the server uses.
    #[must_use]
    pub fn public_url(&self) -> String {
        self.shared.public_url.to_string()
    }

    /// The path of the public URL, under which the router is reached: empty, or with a slash at the start and none at
    /// the end.
    #[must_use]
    pub fn public_path(&self) -> &str {
        self.shared.public_url.path()
    }

    pub(crate) fn sealing_key(&self) -> &SealingKey {
        &self.shared.sealing_key
    }

    pub(crate) async fn consumer_secret(&self, requester: &str) -> Result<Zeroizing<String>, ApiError> {
        let sealed: Vec<u8> = query("SELECT sealed_secret FROM requesters WHERE id = $1")
            .bind(requester)
            .scalar(&self.database)
            .await?
            .ok_or_else(|| ApiError::internal(&"the requester does not exist"))?;
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

    /// Rejects a call that needs a messenger if there is none.
    pub(crate) fn require_messenger(&self) -> Result<&Messenger, ApiError> {
        self.messenger.as_deref().ok_or(ApiError::NO_MESSAGES)
    }

    pub(crate) fn can_send(&self) -> bool {
        self.messenger.is_some()
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
