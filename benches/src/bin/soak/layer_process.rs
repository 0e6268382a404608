//! The layer in front of a small service, as a process.
//!
//! Its clock runs ten times as fast as the system clock, so in ten minutes as many codes, waits, approvals and grants
//! expire as in 100 minutes. Its store is small, so a flood of requests fills it within seconds.

use std::hint::black_box;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::map_request;
use axum::routing::any;
use tokio::net::TcpListener;
use tower::service_fn;
use tower_toopher::crypto::SealingKey;
use tower_toopher::middleware::grants::{Epoch, Grants};
use tower_toopher::store::MemoryStore;
use tower_toopher::time::UnixTime;
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::verify::{ApprovalId, ApprovalMode, FallbackVerifier, PendingApproval, SessionId};
use tower_toopher::{
    Approvals, Attempt, DenyReason, Factor, HeaderOrForm, ToopherLayer, TotpVerifier, UserId, Verdict,
};

use tower_toopher::BoxError;

/// The first argument of this process. The second one is the start of its clock.
pub(crate) const SUBCOMMAND: &str = "layer";
/// The number of enrolled users.
pub(crate) const USERS: usize = 512;
const CLOCK_SPEED: u32 = 10;
const STORE_CAPACITY: usize = 4096;

/// A fast clock that shows the system time at its start.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    start: UnixTime,
}

impl Clock {
    fn start() -> Self {
        // In whole milliseconds, as they are passed to the process.
        Self { start: UnixTime::from_millis(system_time().since_epoch().as_millis() as u64) }
    }

    pub(crate) fn parse(milliseconds: &str) -> Result<Self, BoxError> {
        Ok(Self { start: UnixTime::from_millis(milliseconds.parse()?) })
    }

    pub(crate) fn now(self) -> UnixTime {
        self.start + system_time().saturating_duration_since(self.start) * CLOCK_SPEED
    }

    fn reading(self) -> impl Fn() -> UnixTime + Clone + Send + Sync {
        move || self.now()
    }
}

fn system_time() -> UnixTime {
    SystemTime::now().try_into().unwrap()
}

pub(crate) fn totp(user: usize) -> Totp {
    Totp::new(Secret::from_bytes(format!("the secret of user {user:04}").as_bytes()).unwrap())
}

/// Serves until the standard input ends, which happens when the parent process ends.
pub(crate) async fn serve(clock: Clock) -> Result<(), BoxError> {
    // Formats all events and discards them.
    tracing_subscriber::fmt().with_writer(std::io::sink).init();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?);
    let input_ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    tokio::select! {
        served = axum::serve(listener, app(clock)?) => Ok(served?),
        _ = input_ended => Ok(()),
    }
}

fn app(clock: Clock) -> Result<Router, BoxError> {
    let (users, store) = (MemoryPairings::new(), MemoryStore::with_capacity(STORE_CAPACITY));
    for user in 0..USERS {
        users.insert(UserId::new(format!("user-{user}"))?, Pairing::confirmed(totp(user)));
    }
    let codes = TotpVerifier::new(users)?.store(store.clone()).clock(clock.reading());
    let approvals = Approvals::new(FallbackVerifier::new(codes.clone(), service_fn(decide_as_person)))?
        .store(store)
        .clock(clock.reading())
        .max_waiting(64)
        .max_wait(Duration::from_secs(5))
        .poll_interval(Duration::from_millis(200));
    let grants = Grants::new(SealingKey::generate()?).clock(clock.reading());
    let inner = || any(async || "in");
    let layer = ToopherLayer::new(codes).audit(|event| {
        black_box(event);
    });
    let account = layer.clone().grants(grants).max_age(Duration::from_secs(60));
    let form = layer.extractor(HeaderOrForm::default());
    let pay = ToopherLayer::new(approvals).extractor(HeaderOrForm::default()).approvals();
    Ok(Router::new()
        .route("/account", inner().layer(account))
        .route("/form", inner().layer(form))
        .route("/pay", inner().layer(pay))
        .layer(map_request(insert_identity)))
}

/// Inserts the user and the session of a header each, in place of a first factor, and the epoch of all users.
async fn insert_identity(mut request: Request) -> Request {
    let (user, session) = (user(request.headers()), session(request.headers()));
    let extensions = request.extensions_mut();
    user.map(|user| extensions.insert(user));
    session.map(|session| extensions.insert(session));
    extensions.insert(Epoch::from(7_u64));
    request
}

fn user(headers: &HeaderMap) -> Option<UserId> {
    UserId::new(headers.get("x-user")?.to_str().ok()?).ok()
}

fn session(headers: &HeaderMap) -> Option<SessionId> {
    let cookies = headers.get("cookie")?.to_str().ok()?;
    cookies.split("; ").find_map(|cookie| SessionId::new(cookie.strip_prefix("session=")?).ok())
}

/// Of four people one allows the request, one denies it, and two do not respond.
async fn decide_as_person(attempt: Attempt) -> Result<Verdict, BoxError> {
    static NEXT_ID: AtomicU64 = AtomicU64::new(0);
    Ok(match attempt.approval_mode() {
        ApprovalMode::Request if attempt.user().as_str().starts_with("user-") => {
            let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
            PendingApproval::new().with_id(ApprovalId::new(id.to_string())?).into()
        }
        ApprovalMode::Poll(id) => match id.as_str().parse::<u64>()? % 4 {
            0 => Verdict::Granted(Factor::Push),
            1 => Verdict::Denied(DenyReason::DeniedByUser),
            _ => PendingApproval::new().into(),
        },
        _ => Verdict::Denied(DenyReason::NotEnrolled),
    })
}

/// The running process. Dropping it ends the process.
pub(crate) struct LayerProcess {
    process: Child,
    pub(crate) address: SocketAddr,
    pub(crate) clock: Clock,
}

impl LayerProcess {
    pub(crate) fn start() -> Result<Self, BoxError> {
        let clock = Clock::start();
        let mut process = Command::new(std::env::current_exe()?)
            .args([SUBCOMMAND, &clock.start.since_epoch().as_millis().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("the process has no standard output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        Ok(Self { process, address: line.trim().parse()?, clock })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for LayerProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
