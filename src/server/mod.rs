//! The self-hosted Toopher API: the server that the vendor's cloud was, as an axum router.
//!
//! A *requester* is a site that has a consumer key and secret. It pairs its users with their phones, and asks for
//! authentication: with an `otp`, which is verified and answered at once, or without, which waits for the phone. The
//! phone's side is an HTTP API of its own, under `/phone/v1`, which the page at `/phone` speaks in a browser.
//!
//! ```
//! use tower_toopher::server::Server;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::in_memory("http://127.0.0.1:8080").await?;
//! let credentials = server.create_requester("my site").await?;
//! let app: axum::Router = server.router(); // to be served, or nested into another
//! # let _ = (credentials, app);
//! # Ok(())
//! # }
//! ```
//!
//! What every answer rests on:
//!
//! - A call is signed (OAuth 1.0a), near in time, and its nonce new; else 401, unless it cannot even be read.
//! - Requesters never see each other's users, pairings, terminals or requests: what is another's does not exist.
//! - One-time passwords are checked by [`TotpVerifier`]: spent once, counted before they are verified.
//! - A decision is one statement of the database that finds the request still waiting; the first one stands.
//! - Each decision is told once, and without a secret: an event of `tracing` of the target `tower_toopher::audit`. The page
//!   `docs/observing.md` lists the names, which stay.
//! - Consumer secrets and the secrets of pairings stand in the database under a [`SealingKey`].

mod admin;
mod ask;
mod audit;
mod error;
mod guard;
mod guard_place;
mod guard_state;
mod id;
mod message;
mod objects;
mod pairings;
mod params;
mod phone;
mod phrases;
mod public_url;
mod relay;
mod requests;
mod reset;
mod signed;
mod sweep;
mod terminals;
mod users;
mod web;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::middleware::map_request;
use axum::routing::{get, post};

use tokio::sync::{Semaphore, broadcast};
use uuid::Uuid;

pub use self::admin::{Requester, UserSummary};
use self::error::ApiError;
pub use self::error::ServerError;
use self::guard::BackupCodes;
use self::guard_state::GuardState;
pub use self::message::Message;
use self::public_url::{PublicUrl, record_path};
use crate::BoxError;
pub use crate::seal::{InvalidSealingKey, SealingKey};
use crate::store::{Database, Throttle, query};
use crate::totp::{TotpVerifier, Window};

/// How long a request waits for the phone.
const REQUEST_LIFETIME: u64 = 120;
/// How many devices may lag behind before they are told to look for themselves.
const EVENTS: usize = 256;
/// How many phones may listen for events at once.
const LISTENERS: usize = 10_000;
/// The server: its database, its keys, its address. Clones share it.
#[derive(Clone)]
pub struct Server {
    database: Database,
    shared: Arc<Shared>,
    guard: GuardState,
    verifier: TotpVerifier<BackupCodes, GuardState>,
    clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    clock_window: Duration,
    messenger: Option<Arc<message::Messenger>>,
    throttle: Throttle,
}

struct Shared {
    seal: SealingKey,
    public: PublicUrl,
    /// The id of each device for which something has changed.
    events: broadcast::Sender<Arc<str>>,
    /// What tells this server from others on the same database.
    #[cfg(feature = "postgres")]
    instance: String,
    /// How many more phones may listen.
    listeners: Arc<Semaphore>,
}

impl Server {
    /// Opens the database at `path`, and makes it if there is none.
    ///
    /// `public_url` is the address as clients write it, without the `/v1`: scheme, host, port, and the path that the
    /// router is mounted under. It is what they sign.
    /// Behind a proxy it is the proxy's. It is never guessed from a request, where anybody can write what they like.
    ///
    /// # Errors
    ///
    /// When the address is none, the database cannot be opened, or its secrets are sealed with another key.
    pub async fn open(path: impl AsRef<Path>, key: SealingKey, public_url: &str) -> Result<Self, ServerError> {
        Self::with_its_key(Database::open(path.as_ref()).await?, key, public_url).await
    }

    /// The same on PostgreSQL, which several servers share: with the same key, behind the same address, and with clocks that
    /// agree. Run [`relay_events`](Self::relay_events) beside the router of each.
    ///
    /// # Errors
    ///
    /// When the address is none; when the database cannot be reached, is a standby, or has tables of a newer version; or
    /// when its secrets are sealed with another key.
    #[cfg(feature = "postgres")]
    pub async fn open_postgres(
        database: &crate::store::PgDatabase,
        key: SealingKey,
        public_url: &str,
    ) -> Result<Self, ServerError> {
        Self::with_its_key(Database::connect(database).await?, key, public_url).await
    }

    /// A server whose database, and whose key, end with the process.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn in_memory(public_url: &str) -> Result<Self, ServerError> {
        Self::on(Database::in_memory().await?, SealingKey::generate()?, public_url)
    }

    /// With another key every call would fail, one by one; and what it sealed, nobody else could open.
    async fn with_its_key(database: Database, key: SealingKey, public_url: &str) -> Result<Self, ServerError> {
        let server = Self::on(database, key, public_url)?;
        if let Some(row) = query("SELECT id, sealed_secret FROM requesters LIMIT 1").row(&server.database).await? {
            let (id, sealed): (String, Vec<u8>) = (row.get("id")?, row.get("sealed_secret")?);
            let opened = server.seal().open(&place::consumer_secret(&id), &sealed);
            opened.map_err(|_| "the secrets in the database are sealed with another key")?;
        }
        Ok(server)
    }

    fn on(database: Database, seal: SealingKey, public_url: &str) -> Result<Self, ServerError> {
        let public = PublicUrl::parse(public_url).ok_or("the public URL is not an http or https address")?;
        let guard = GuardState::in_database(database.clone());
        // The vendor's servers accepted two steps to either side, and old phones' clocks need it.
        let verifier =
            TotpVerifier::new(BackupCodes(database.clone()))?.store(guard.clone()).window(Window::new(2, 2)?);
        let shared = Arc::new(Shared {
            seal,
            public,
            events: broadcast::Sender::new(EVENTS),
            #[cfg(feature = "postgres")]
            instance: new_id(),
            listeners: Arc::new(Semaphore::new(LISTENERS)),
        });
        let clock = Arc::new(SystemTime::now);
        Ok(Self {
            database,
            shared,
            guard,
            verifier,
            clock,
            clock_window: Duration::from_secs(300),
            messenger: None,
            throttle: Throttle::default(),
        })
    }

    /// Sets the clock. Default: `SystemTime::now`.
    #[must_use]
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        let now = Arc::new(now);
        self.verifier = self.verifier.clock({
            let now = now.clone();
            move || now()
        });
        self.clock = now;
        self
    }

    /// Sets how far a call's timestamp may be from the server's time. Default: 300 seconds.
    ///
    /// Nonces are remembered for as long, so a wide window costs room. Calls whose nonces have been forgotten under a
    /// narrower one stay refused.
    #[must_use]
    pub fn clock_window_of(mut self, window: Duration) -> Self {
        self.clock_window = window;
        self
    }

    /// Sets how failed one-time passwords slow a user down. Default: [`Throttle::default`].
    #[must_use]
    pub fn throttle(mut self, throttle: Throttle) -> Self {
        self.verifier = self.verifier.throttle(throttle);
        self.throttle = throttle;
        self
    }

    /// Sets how text messages and mails are sent. Default: they are not, and the calls that need them are refused.
    ///
    /// A message holds a link that pairs a phone, or ends a pairing: whoever reads it can use it.
    #[must_use]
    pub fn messenger<F>(mut self, send: impl Fn(Message) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.messenger = Some(Arc::new(move |message| Box::pin(send(message))));
        self
    }

    /// The API under `/v1`, the phone's under `/phone/v1`, and a phone's page at `/phone`, with its own errors for everything else.
    pub fn router(&self) -> Router {
        let v1 = Router::new()
            .route("/pairings/create", post(pairings::create))
            .route("/pairings/create/qr", post(pairings::create_qr))
            .route("/pairings/create/sms", post(pairings::create_sms))
            .route("/pairings/upgrade", post(pairings::upgrade))
            .route("/qr/pairings/{id}", get(pairings::qr))
            .route("/pairings/{id}", get(pairings::status).post(pairings::update))
            .route("/pairings/{id}/generate_reset_link", post(reset::generate_link))
            .route("/pairings/{id}/send_reset_link", post(reset::send_link))
            .route("/pairings/{id}/reset", get(reset::page).post(reset::submit))
            .route("/authentication_requests/initiate", post(requests::initiate))
            .route("/authentication_requests/{id}", get(requests::status))
            .route("/authentication_requests/{id}/otp_auth", post(requests::otp_auth))
            .route("/authentication_requests/{id}/cancel", post(requests::cancel))
            .route("/users/create", post(users::create))
            .route("/users", get(users::find))
            .route("/users/reset", post(users::reset))
            .route("/users/activate_next_otp_list", post(users::activate_next_otp_list))
            .route("/users/{id}", get(users::status).post(users::update))
            .route("/users/{id}/pairings", get(pairings::of_user))
            .route("/user_terminals/create", post(terminals::create))
            .route("/user_terminals/{id}", get(terminals::status).post(terminals::update));
        Router::new()
            // Clients ask for the pages under /v1, and some at the root.
            .nest("/v1", v1.nest("/web", web::router()))
            .nest("/web", web::router())
            .nest("/phone/v1", phone::router())
            .merge(phone::page())
            .fallback(async || ApiError::NOT_FOUND)
            .method_not_allowed_fallback(async || ApiError::NOT_ALLOWED)
            .layer(map_request(record_path))
            .with_state(self.clone())
    }

    /// Whether the database answers, and Redis where failures and spent codes are there: for a readiness probe.
    ///
    /// # Errors
    ///
    /// When it does not, or says that they have been [moved](Self::move_guard).
    pub async fn ready(&self) -> Result<(), ServerError> {
        query("SELECT id FROM requesters LIMIT 1").rows(&self.database).await?;
        self.guard_is_settled().await?;
        self.check_guard().await
    }

    fn seal(&self) -> &SealingKey {
        &self.shared.seal
    }

    async fn consumer_secret(&self, requester: &str) -> Result<zeroize::Zeroizing<String>, ApiError> {
        let sealed: Vec<u8> = query("SELECT sealed_secret FROM requesters WHERE id = $1")
            .bind(requester)
            .scalar(&self.database)
            .await?
            .ok_or(sqlx::Error::RowNotFound)?;
        self.open_consumer_secret(requester, &sealed)
    }

    fn open_consumer_secret(&self, requester: &str, sealed: &[u8]) -> Result<zeroize::Zeroizing<String>, ApiError> {
        let secret = self.seal().open(&place::consumer_secret(requester), sealed)?;
        let secret = std::str::from_utf8(&secret).map_err(|error| ApiError::internal(&error))?;
        Ok(zeroize::Zeroizing::new(secret.to_owned()))
    }

    fn now(&self) -> Result<u64, ApiError> {
        let now = (self.clock)().duration_since(UNIX_EPOCH).map_err(|error| ApiError::internal(&error))?;
        Ok(now.as_secs())
    }

    fn now_i64(&self) -> Result<i64, ApiError> {
        i64::try_from(self.now()?).map_err(|error| ApiError::internal(&error))
    }

    fn clock_window(&self) -> u64 {
        self.clock_window.as_secs()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("public_url", &format_args!("{}", self.shared.public))
            .field("clock_window", &self.clock_window)
            .finish_non_exhaustive()
    }
}

/// What transactions about one user are named, which therefore wait for each other.
fn of_user(id: &str) -> String {
    format!("user {id}")
}

fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// Where secrets are sealed for.
mod place {
    pub(super) fn consumer_secret(requester: &str) -> String {
        format!("consumer secret of {requester}")
    }

    pub(super) fn pairing_secret(pairing: &str) -> String {
        format!("secret of pairing {pairing}")
    }

    pub(super) fn claim(pairing: &str) -> String {
        format!("claim of pairing {pairing}")
    }
}
