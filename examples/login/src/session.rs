//! Reads and writes the state of a login in the session, and checks every request that changes something.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use subtle::ConstantTimeEq;
use tower_sessions::Session;
use tower_toopher::time::UnixTime;
use tower_toopher::verify::ApprovalToken;
use tower_toopher::{BoxError, Factor, SecondFactor, UserId};

use super::app::App;
use super::pages;
use super::step::Step;
use super::visit::{By, Ended, Login, PendingLogin, Stage, Typed, Visit, now};

/// Limits of a form's size, and of the time in which it is received.
const MAX_FORM_BYTES: usize = 16 * 1024;
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

const STAGE: &str = "stage";
const CSRF: &str = "csrf";
/// New recovery codes, until the user has saved them.
pub(crate) const NEW_CODES: &str = "new_codes";

/// Reads the session, and rejects a form that was not sent by a page of this session. It is outside the layers, so that
/// a page of another site cannot cause a request to the user's phone.
pub(crate) async fn load_session(State(app): State<App>, session: Session, request: Request, next: Next) -> Response {
    match check_request(&app, &session, request).await {
        Ok(Ok(request)) => next.run(request).await,
        Ok(Err(rejected)) => rejected,
        Err(error) => server_error(&*error),
    }
}

async fn check_request(app: &App, session: &Session, request: Request) -> Result<Result<Request, Response>, BoxError> {
    let (mut parts, mut body) = request.into_parts();
    let (stage, ended) = current_stage(app, session.get(STAGE).await?.unwrap_or_default());
    let csrf: Option<String> = session.get(CSRF).await?;
    let (mut approval_token, mut asks_again, mut typed) = (None, false, None);
    if parts.method != Method::GET && parts.method != Method::HEAD {
        let Ok(Ok(form)) = tokio::time::timeout(FORM_TIMEOUT, to_bytes(body, MAX_FORM_BYTES)).await else {
            return Ok(Err(pages::unreadable_form()));
        };
        // A repeated field is ignored.
        let field = |name| {
            let mut values = form_urlencoded::parse(&form).filter(move |(key, _)| key == name).map(|(_, value)| value);
            values.next().filter(|_| values.next().is_none())
        };
        if !is_same_origin(&parts.headers) {
            return Ok(Err(pages::foreign_form()));
        }
        let Some(expected) = &csrf else { return Ok(Err(pages::no_session())) };
        let sent = field("csrf").unwrap_or_default();
        if !bool::from(expected.as_bytes().ct_eq(sent.as_bytes())) {
            return Ok(Err(pages::out_of_date()));
        }
        approval_token = field("toopher_approval").and_then(|token| ApprovalToken::new(&token).ok());
        asks_again = field("again").is_some();
        typed = field("otp").map(|otp| Typed::new(&otp));
        body = if asks_again {
            // The form of a first request: the next approval is bound to it.
            Body::from(form_urlencoded::Serializer::new(String::new()).append_pair("csrf", expected).finish())
        } else {
            Body::from(form)
        };
    }
    let csrf = match csrf {
        Some(csrf) => csrf,
        None => {
            let csrf = random_token()?;
            session.insert(CSRF, &csrf).await?;
            csrf
        }
    };
    let visit = Visit { stage, ended, csrf: csrf.into(), approval_token, asks_again, typed };
    insert_extensions(&visit, &mut parts.extensions);
    parts.extensions.insert(visit);
    Ok(Ok(Request::from_parts(parts, body)))
}

/// The stage, unless it has ended.
fn current_stage(app: &App, stage: Stage) -> (Stage, Option<Ended>) {
    let (user, epoch) = match &stage {
        Stage::LoggedOut => return (stage, None),
        Stage::Pending(login) if login.is_expired() => return (Stage::LoggedOut, Some(Ended::Expired)),
        Stage::Pending(login) => (&login.user, login.epoch),
        Stage::LoggedIn(login) => (&login.user, login.epoch),
    };
    let current = UserId::new(user.as_str()).ok().and_then(|user| app.users.factors(&user, |it| it.epoch()));
    if current == Some(epoch) { (stage, None) } else { (Stage::LoggedOut, Some(Ended::Revoked)) }
}

/// Inserts what the layers read: the user, the id that approvals are bound to, and the factor of a login with its time.
fn insert_extensions(visit: &Visit, extensions: &mut Extensions) {
    if let Some(session) = visit.session_id() {
        extensions.insert(session);
    }
    if let Some((_, user)) = visit.pending_login() {
        extensions.insert(user);
    }
    if let Some((login, user)) = visit.logged_in() {
        if let Some(time) = login.factor_time {
            let factor = SecondFactor::new(user.clone(), Step::LogIn.action(), login.by.factor());
            extensions.insert(factor.with_auth_time(UnixTime::from_secs(time)));
        }
        extensions.insert(user);
    }
}

/// Browsers send the origin of a form. Without the header, the CSRF token alone decides.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.as_bytes();
    let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
    authority.is_some() && authority == headers.get(header::HOST).map(|host| host.as_bytes())
}

/// After the password: a new session, against session fixation.
pub(crate) async fn begin_login(
    session: &Session,
    visit: &Visit,
    user: &UserId,
    login: PendingLogin,
) -> Result<(), BoxError> {
    let (approval_session, csrf) = match &visit.stage {
        // A login of the same user in another tab. This one joins its pending approval. The approval is bound to the
        // whole form, and so to the CSRF token in it.
        Stage::Pending(earlier) if earlier.user == user.as_str() => {
            (earlier.approval_session.clone(), visit.csrf.to_string())
        }
        _ => (random_token()?, random_token()?),
    };
    session.clear().await;
    session.cycle_id().await?;
    session.insert(CSRF, csrf).await?;
    session.insert(STAGE, Stage::Pending(PendingLogin { approval_session, ..login })).await?;
    Ok(())
}

/// After the second factor. Returns whether the user is logged in.
pub(crate) async fn complete_login(
    session: &Session,
    pending: &PendingLogin,
    by: Factor,
    factor_time: Option<u64>,
) -> Result<bool, BoxError> {
    // The layer may have held the request for the phone. Meanwhile another tab may have logged out, or logged in
    // another user.
    session.load().await?;
    match session.get(STAGE).await? {
        Some(Stage::Pending(current)) if current == *pending => {}
        _ => return Ok(false),
    }
    // The user has not saved them yet.
    let codes: Option<Vec<String>> = session.get(NEW_CODES).await?;
    log_in(session, &UserId::new(pending.user.as_str())?, pending.epoch, by, factor_time).await?;
    if let Some(codes) = codes {
        session.insert(NEW_CODES, codes).await?;
    }
    Ok(true)
}

/// The only function that logs a user in, after both factors. The session gets a new id.
pub(crate) async fn log_in(
    session: &Session,
    user: &UserId,
    epoch: u64,
    by: Factor,
    factor_time: Option<u64>,
) -> Result<(), BoxError> {
    session.clear().await;
    session.cycle_id().await?;
    session.insert(CSRF, random_token()?).await?;
    let (user, by, approval_session) = (user.as_str().to_owned(), By::new(by), random_token()?);
    let login = Login { user, by, approval_session, epoch, factor_time };
    session.insert(STAGE, Stage::LoggedIn(login)).await?;
    Ok(())
}

/// Records that the user of this session has shown a second factor now. Returns whether the user is still logged in.
pub(crate) async fn confirm_login(session: &Session, user: &UserId) -> Result<bool, BoxError> {
    // As for a login, the layer may have held the request.
    session.load().await?;
    match session.get(STAGE).await? {
        Some(Stage::LoggedIn(login)) if login.user == user.as_str() => {
            session.insert(STAGE, Stage::LoggedIn(Login { factor_time: Some(now()), ..login })).await?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Reads the session again, because another change may have ended it meanwhile. Returns whether its login is valid.
pub(crate) async fn is_current(app: &App, session: &Session) -> Result<bool, BoxError> {
    session.load().await?;
    let (stage, _) = current_stage(app, session.get(STAGE).await?.unwrap_or_default());
    Ok(!matches!(stage, Stage::LoggedOut))
}

/// After a change of the user's second factors: ends all other sessions of the user, and forgets all browsers.
pub(crate) async fn end_others(app: &App, session: &Session, user: &UserId) -> Result<(), BoxError> {
    let Some(epoch) = app.users.factors(user, |factors| factors.revoke()) else { return Ok(()) };
    let stage = match session.get(STAGE).await?.unwrap_or_default() {
        Stage::LoggedOut => Stage::LoggedOut,
        Stage::Pending(login) => Stage::Pending(PendingLogin { epoch, ..login }),
        Stage::LoggedIn(login) => Stage::LoggedIn(Login { epoch, ..login }),
    };
    session.insert(STAGE, stage).await?;
    // Now, and not with the response: a second click is handled before that.
    session.save().await?;
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
