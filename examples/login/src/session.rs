//! Reads and writes the state of a login in the session, and checks every request that changes something.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use subtle::ConstantTimeEq;
use tower_sessions::Session;
use tower_toopher::verify::ApprovalToken;
use tower_toopher::{BoxError, Factor, UserId};

use super::pages;
use super::visit::{PendingLogin, Stage, Visit, now};

/// Limits of a form's size, and of the time in which it is received.
const MAX_FORM_BYTES: usize = 16 * 1024;
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

const STAGE: &str = "stage";
const CSRF: &str = "csrf";

/// Reads the session, and rejects a form that was not sent by a page of this session. It is outside the layer, so that
/// a page of another site cannot cause a request to the user's phone.
pub(crate) async fn load_session(session: Session, request: Request, next: Next) -> Response {
    match check_request(&session, request).await {
        Ok(Ok(request)) => next.run(request).await,
        Ok(Err(rejected)) => rejected,
        Err(error) => server_error(&*error),
    }
}

async fn check_request(session: &Session, request: Request) -> Result<Result<Request, Response>, BoxError> {
    let (mut parts, mut body) = request.into_parts();
    let stage = match session.get(STAGE).await?.unwrap_or_default() {
        Stage::Pending(login) if login.is_expired() => Stage::LoggedOut,
        stage => stage,
    };
    let csrf: Option<String> = session.get(CSRF).await?;
    let mut approval_token = None;
    if parts.method != Method::GET && parts.method != Method::HEAD {
        let Ok(Ok(form)) = tokio::time::timeout(FORM_TIMEOUT, to_bytes(body, MAX_FORM_BYTES)).await else {
            return Ok(Err(pages::unreadable_form()));
        };
        // A repeated field is ignored.
        let field = |name| {
            let mut values = form_urlencoded::parse(&form).filter(move |(key, _)| key == name).map(|(_, value)| value);
            values.next().filter(|_| values.next().is_none())
        };
        let sent = field("csrf").unwrap_or_default();
        let matches = csrf.as_ref().is_some_and(|csrf| csrf.as_bytes().ct_eq(sent.as_bytes()).into());
        if !matches || !is_same_origin(&parts.headers) {
            return Ok(Err(pages::out_of_date()));
        }
        approval_token = field("toopher_approval").and_then(|token| ApprovalToken::new(&token).ok());
        body = Body::from(form);
    }
    let csrf = match csrf {
        Some(csrf) => csrf,
        None => {
            let csrf = random_token()?;
            session.insert(CSRF, &csrf).await?;
            csrf
        }
    };
    let visit = Visit { stage, csrf: csrf.into(), approval_token };
    if let Some((login, user)) = visit.pending_login() {
        if let Some(session) = login.session_id() {
            parts.extensions.insert(session);
        }
        parts.extensions.insert(user);
    }
    parts.extensions.insert(visit);
    Ok(Ok(Request::from_parts(parts, body)))
}

/// Browsers send the origin of a form. Without the header, the CSRF token alone decides.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.as_bytes();
    let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
    authority.is_some() && authority == headers.get(header::HOST).map(|host| host.as_bytes())
}

/// After the password: a new session, against session fixation.
pub(crate) async fn begin_login(session: &Session, visit: &Visit, user: &UserId) -> Result<(), BoxError> {
    let (approval_session, csrf) = match &visit.stage {
        // A login of the same user in another tab. This one joins its pending approval. The approval is bound to the
        // whole form, and so to the CSRF token in it.
        Stage::Pending(login) if login.user == user.as_str() => {
            (login.approval_session.clone(), visit.csrf.to_string())
        }
        _ => (random_token()?, random_token()?),
    };
    session.clear().await;
    session.cycle_id().await?;
    session.insert(CSRF, csrf).await?;
    let login = PendingLogin { user: user.as_str().into(), approval_session, since: now() };
    session.insert(STAGE, Stage::Pending(login)).await?;
    Ok(())
}

/// After the second factor. Returns whether the user is logged in.
pub(crate) async fn complete_login(session: &Session, login: &PendingLogin, by: Factor) -> Result<bool, BoxError> {
    // The layer may have held the request for the phone. Meanwhile another tab may have logged out, or logged in
    // another user.
    session.load().await?;
    match session.get(STAGE).await? {
        Some(Stage::Pending(current)) if current == *login => {}
        _ => return Ok(false),
    }
    log_in(session, &UserId::new(login.user.as_str())?, by).await?;
    Ok(true)
}

/// The only function that logs a user in, after both factors. The session gets a new id.
pub(crate) async fn log_in(session: &Session, user: &UserId, by: Factor) -> Result<(), BoxError> {
    let by = match by {
        Factor::Totp => "a code of the authenticator",
        Factor::RecoveryCode => "a recovery code",
        Factor::Push => "an approval on the phone",
        _ => "a second factor",
    };
    session.clear().await;
    session.cycle_id().await?;
    session.insert(CSRF, random_token()?).await?;
    session.insert(STAGE, Stage::LoggedIn { user: user.as_str().into(), by: by.into() }).await?;
    Ok(())
}

pub(crate) async fn log_out(session: Session) -> Response {
    match session.flush().await {
        Ok(()) => Redirect::to("/login").into_response(),
        Err(error) => server_error(&error),
    }
}

/// 128 random bits.
pub(crate) fn random_token() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}

pub(crate) fn server_error(error: &(dyn Error + 'static)) -> Response {
    eprintln!("server error: {error}");
    pages::message(StatusCode::SERVICE_UNAVAILABLE, "Temporarily unavailable", "Please try again in a moment.")
}
