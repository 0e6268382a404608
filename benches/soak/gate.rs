//! The gate in front of a small service, as a process.
//!
//! Its clock goes ten times as fast as the wall's, so that in ten minutes codes, waits, approvals and grants are over
//! as often as in more than an hour and a half. Its store is small, so that a flood fills it within seconds.

use std::hint::black_box;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::routing::any;
use http::request::Parts;
use tokio::net::TcpListener;
use tower::service_fn;
use tower_toopher::gate::grants::SealingKey;
use tower_toopher::store::MemoryStore;
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp, TotpVerifier};
use tower_toopher::{
    Approval, ApprovalId, Approvals, Attempt, BoxError, DenyReason, EitherVerifier, Factor, Grants, HeaderOrForm,
    Pending, ToopherLayer, UserId, Verdict,
};

use crate::Failure;

const SPEED: u32 = 10;
/// How many users there are. All others are unknown.
pub const USERS: usize = 512;
const CAPACITY: usize = 4096;

/// When it began, by the wall.
#[derive(Clone, Copy)]
pub struct Clock(Duration);

impl Clock {
    pub fn parse(milliseconds: &str) -> Result<Self, Failure> {
        Ok(Self(Duration::from_millis(milliseconds.parse()?)))
    }

    pub fn now(self) -> Duration {
        self.0 + (wall() - self.0) * SPEED
    }

    fn reading(self) -> impl Fn() -> SystemTime + Clone + Send + Sync {
        move || UNIX_EPOCH + self.now()
    }
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

pub fn totp(user: usize) -> Totp {
    Totp::new(Secret::from_bytes(format!("the secret of user {user:04}").as_bytes()).unwrap())
}

/// Serves until the standard input ends, which it does with whoever started it.
pub async fn serve(clock: Clock) -> Result<(), Failure> {
    // Everything is told, to nobody.
    tracing_subscriber::fmt().with_writer(std::io::sink).init();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?);
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    tokio::select! {
        served = axum::serve(listener, app(clock)?) => Ok(served?),
        _ = ended => Ok(()),
    }
}

fn app(clock: Clock) -> Result<Router, Failure> {
    let (users, store) = (MemoryPairings::new(), MemoryStore::bounded(CAPACITY));
    for user in 0..USERS {
        users.insert(UserId::new(format!("user-{user}"))?, Pairing::confirmed(totp(user)));
    }
    let codes = TotpVerifier::new(users)?.store(store.clone()).clock(clock.reading());
    let approvals = Approvals::new(EitherVerifier::new(codes.clone(), service_fn(phone)))?
        .store(store)
        .clock(clock.reading())
        .most_held(64)
        .longest_wait(Duration::from_secs(5))
        .poll_every(Duration::from_millis(200));
    let grants = Grants::new(SealingKey::generate()?, session, |_, _| Some(7)).clock(clock.reading());
    let minute = Duration::from_secs(60);
    let inner = || any(async || "in");
    let gate = ToopherLayer::new(codes).identify(user).audit(|event| {
        black_box(event);
    });
    let pay = ToopherLayer::new(approvals).identify(user).extractor(HeaderOrForm::default()).approvals(session);
    Ok(Router::new()
        .route("/account", inner().layer(gate.clone().grants(grants).max_age(minute)))
        .route("/form", inner().layer(gate.extractor(HeaderOrForm::default())))
        .route("/pay", inner().layer(pay)))
}

/// Stands for a first factor.
fn user(parts: &Parts) -> Option<UserId> {
    UserId::new(parts.headers.get("x-user")?.to_str().ok()?).ok()
}

fn session(parts: &Parts) -> Option<Arc<str>> {
    let cookies = parts.headers.get("cookie")?.to_str().ok()?;
    cookies.split("; ").find_map(|cookie| cookie.strip_prefix("session=")).map(Arc::from)
}

/// Of the people who are asked one says yes, one no, and two nothing.
async fn phone(attempt: Attempt) -> Result<Verdict, BoxError> {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    Ok(match attempt.approval() {
        Approval::Wanted if attempt.user().as_str().starts_with("user-") => {
            let id = ASKED.fetch_add(1, Ordering::Relaxed);
            Pending::new().with_id(ApprovalId::new(id.to_string())?).into()
        }
        Approval::Asked(id) => match id.as_str().parse::<u64>()? % 4 {
            0 => Verdict::Granted(Factor::Push),
            1 => Verdict::Denied(DenyReason::Refused),
            _ => Pending::new().into(),
        },
        _ => Verdict::Denied(DenyReason::NotEnrolled),
    })
}

/// The process, which ends with this.
pub struct Process {
    process: Child,
    pub address: SocketAddr,
    pub clock: Clock,
}

impl Process {
    pub fn start() -> Result<Self, Failure> {
        let clock = Clock(Duration::from_millis(u64::try_from(wall().as_millis())?));
        let mut process = Command::new(std::env::current_exe()?)
            .args(["gate", &clock.0.as_millis().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = process.stdout.take().ok_or("no output")?;
        BufReader::new(output).read_line(&mut line)?;
        Ok(Self { process, address: line.trim().parse()?, clock })
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
