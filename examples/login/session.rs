//! What a session knows of its visitor, and the guard in front of everything that changes something.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tower_sessions::Session;
use tower_toopher::{Challenge, Factor, UserId};

use super::pages;

/// How long a password counts for something without a second factor.
const HALF_LIFETIME: u64 = 10 * 60;
/// No form here is larger, and none takes longer to arrive.
const MAX_FORM: usize = 16 * 1024;
const FORM_WITHIN: Duration = Duration::from_secs(10);

const STAGE: &str = "stage";
const CSRF: &str = "csrf";

/// How far somebody has come. It is one value of the session, so nobody is two things at once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) enum Stage {
    #[default]
    Stranger,
    /// Has shown the password, and nothing else.
    Half(Half),
    /// Has shown both factors.
    Full { user: String, by: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Half {
    pub(crate) user: String,
    /// What approvals of this login are bound to. It is not the session's id, which changes when it succeeds, and it
    /// never leaves the server.
    pub(crate) approvals: String,
    pub(crate) since: u64,
}

impl Half {
    fn is_over(&self) -> bool {
        now() >= self.since.saturating_add(HALF_LIFETIME)
    }
}

/// Whose request it is, read from the session once.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) stage: Stage,
    /// What every form of this session carries.
    pub(crate) csrf: Arc<str>,
    /// The challenge in the form that was sent, so that the answer can lead back to what is waited for.
    pub(crate) challenge: Option<Challenge>,
}

/// The name under which approvals of this login are kept, for the gate and for the status service.
#[derive(Clone)]
pub(crate) struct Approving(Arc<str>);

impl Approving {
    pub(crate) fn of(half: &Half) -> Self {
        Self(half.approvals.as_str().into())
    }
}

pub(crate) fn approving(parts: &Parts) -> Option<Arc<str>> {
    Some(Arc::clone(&parts.extensions.get::<Approving>()?.0))
}

impl Visit {
    /// Who has shown the password, and only that.
    pub(crate) fn half(&self) -> Option<(&Half, UserId)> {
        match &self.stage {
            Stage::Half(half) => Some((half, UserId::new(half.user.as_str()).ok()?)),
            _ => None,
        }
    }

    /// Who has shown both factors.
    pub(crate) fn full(&self) -> Option<UserId> {
        match &self.stage {
            Stage::Full { user, .. } => UserId::new(user.as_str()).ok(),
            _ => None,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        parts.extensions.get().cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Reads the session, and lets nothing pass that could change anything unless one of our own pages has sent it. It stands
/// outside the gate: a page of another site must not even make a phone ring.
pub(crate) async fn visit(session: Session, request: Request, next: Next) -> Response {
    match admit(&session, request).await {
        Ok(Ok(request)) => next.run(request).await,
        Ok(Err(refused)) => refused,
        Err(error) => trouble(&*error),
    }
}

type Admitted = Result<Result<Request, Response>, Box<dyn Error + Send + Sync>>;

async fn admit(session: &Session, request: Request) -> Admitted {
    let (mut parts, mut body) = request.into_parts();
    let stage = match session.get(STAGE).await?.unwrap_or_default() {
        Stage::Half(half) if half.is_over() => Stage::Stranger,
        stage => stage,
    };
    let mut csrf: Option<String> = session.get(CSRF).await?;
    let mut challenge = None;
    if parts.method != Method::GET && parts.method != Method::HEAD {
        let Ok(Ok(form)) = tokio::time::timeout(FORM_WITHIN, to_bytes(body, MAX_FORM)).await else {
            return Ok(Err(pages::message(
                StatusCode::PAYLOAD_TOO_LARGE,
                "This form cannot be read",
                "It is too large, or took too long.",
            )));
        };
        let named = |name| {
            let mut values = form_urlencoded::parse(&form).filter(move |(key, _)| key == name).map(|(_, value)| value);
            values.next().filter(|_| values.next().is_none())
        };
        let sent = named("csrf").unwrap_or_default();
        let ours = csrf.as_ref().is_some_and(|csrf| csrf.as_bytes().ct_eq(sent.as_bytes()).into());
        if !ours || !same_origin(&parts.headers) {
            return Ok(Err(pages::out_of_date()));
        }
        challenge = named("toopher_challenge").map(|challenge| Challenge::new(challenge.as_bytes()));
        challenge = challenge.filter(|challenge| !challenge.as_str().is_empty());
        body = Body::from(form);
    }
    let csrf = match csrf.take() {
        Some(csrf) => csrf,
        None => {
            let csrf = token()?;
            session.insert(CSRF, &csrf).await?;
            csrf
        }
    };
    let visit = Visit { stage, csrf: csrf.into(), challenge };
    if let Some((half, user)) = visit.half() {
        parts.extensions.insert(user);
        parts.extensions.insert(Approving::of(half));
    }
    parts.extensions.insert(visit);
    Ok(Ok(Request::from_parts(parts, body)))
}

/// Browsers say where a form comes from. Where one does not, the token alone decides.
fn same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.as_bytes();
    let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
    authority.is_some() && authority == headers.get(header::HOST).map(|host| host.as_bytes())
}

/// After the password: a new session, which nobody can have planted in this browser.
pub(crate) async fn begin(session: &Session, visit: &Visit, user: &UserId) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (approvals, csrf) = match &visit.stage {
        // Another tab has come as far. What it waits for stays good, and this one joins it: the approval is bound to the
        // whole form, the token in it too.
        Stage::Half(half) if half.user == user.as_str() => (half.approvals.clone(), visit.csrf.to_string()),
        _ => (token()?, token()?),
    };
    session.clear().await;
    session.cycle_id().await?;
    session.insert(CSRF, csrf).await?;
    session.insert(STAGE, Stage::Half(Half { user: user.as_str().into(), approvals, since: now() })).await?;
    Ok(())
}

/// After the gate, of somebody whom it has found half way. Says whether they are in.
pub(crate) async fn complete(session: &Session, half: &Half, by: Factor) -> Result<bool, Box<dyn Error + Send + Sync>> {
    // The gate may have waited for the phone; meanwhile another tab may have logged out, or somebody else in.
    session.load().await?;
    match session.get(STAGE).await? {
        Some(Stage::Half(now)) if now == *half => {}
        _ => return Ok(false),
    }
    log_in(session, &UserId::new(half.user.as_str())?, by).await?;
    Ok(true)
}

/// The only place that logs anybody in: both factors were shown. The session gets another name, which nobody knows who
/// knew the one before.
pub(crate) async fn log_in(session: &Session, user: &UserId, by: Factor) -> Result<(), Box<dyn Error + Send + Sync>> {
    let by = match by {
        Factor::Totp => "a code of the authenticator",
        Factor::BackupCode => "a backup code",
        Factor::Push => "an approval on the phone",
        _ => "a second factor",
    };
    session.clear().await;
    session.cycle_id().await?;
    session.insert(CSRF, token()?).await?;
    session.insert(STAGE, Stage::Full { user: user.as_str().into(), by: by.into() }).await?;
    Ok(())
}

pub(crate) async fn log_out(session: Session) -> Response {
    match session.flush().await {
        Ok(()) => Redirect::to("/login").into_response(),
        Err(error) => trouble(&error),
    }
}

/// 128 random bits.
pub(crate) fn token() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |now| now.as_secs())
}

pub(crate) fn trouble(error: &(dyn Error + 'static)) -> Response {
    eprintln!("trouble: {error}");
    pages::message(StatusCode::SERVICE_UNAVAILABLE, "Something is out of order", "Please try again in a moment.")
}
