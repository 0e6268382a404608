//! Remembered browsers, on which the password alone is enough for a login. Each has a cookie with a grant: the
//! encrypted proof that its user has shown a second factor there.

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use tower_sessions::Session;
use tower_toopher::middleware::grants::{Epoch, Grant};
use tower_toopher::verify::SessionId;
use tower_toopher::{BoxError, Factor, Rejection, SecondFactor, UserId};

use super::app::App;
use super::session;
use super::step::Step;
use super::table::{BROWSER_LIFETIME, Browser};
use super::visit::Visit;

/// Where a remembered browser completes the login.
pub(crate) const PATH: &str = "/second/remembered";
const COOKIE: &str = "remembered";

/// The browser's secret id, and its grant, if the browser has sent both.
fn read_cookie(headers: &HeaderMap) -> Option<(&str, &str)> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut values = lines.flat_map(|line| line.split("; ")).filter_map(|pair| pair.strip_prefix("remembered="));
    // Of two cookies neither is used.
    values.next().filter(|_| values.next().is_none())?.split_once('.')
}

pub(crate) fn has_cookie(headers: &HeaderMap) -> bool {
    read_cookie(headers).is_some()
}

/// The id of the browser that sent the request.
pub(crate) fn browser_id(headers: &HeaderMap) -> &str {
    read_cookie(headers).map_or("", |(id, _)| id)
}

/// Remembers the browser after a login with a second factor. Returns the `Set-Cookie` line.
pub(crate) fn remember(
    app: &App,
    headers: &HeaderMap,
    user: &UserId,
    factor: Factor,
) -> Result<Option<HeaderValue>, BoxError> {
    let id = session::random_token()?;
    let name = browser_name(headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default());
    let factor = SecondFactor::new(user.clone(), Step::LogIn.action(), factor);
    let Some(epoch) = app.users.factors(user, |factors| factors.epoch()) else { return Ok(None) };
    let Some(grant) = app.grants.issue(&factor, &SessionId::new(id.as_str())?, epoch) else { return Ok(None) };
    // Behind TLS: with `Secure`, and a name with the prefix `__Host-`.
    let cookie =
        format!("{COOKIE}={id}.{}; Path=/; Max-Age={BROWSER_LIFETIME}; HttpOnly; SameSite=Strict", grant.as_str())
            .try_into()?;
    app.users.factors(user, |factors| factors.add_browser(id, name));
    Ok(Some(cookie))
}

/// Outside the layer: inserts the grant of a browser that is still remembered, and what it is bound to.
pub(crate) async fn load_grant(State(app): State<App>, visit: Visit, mut request: Request, next: Next) -> Response {
    if let (Some((_, user)), Some((id, grant))) = (visit.pending_login(), read_cookie(request.headers())) {
        let known = |browsers: &[Browser]| browsers.iter().any(|browser| browser.id == id);
        let epoch = app.users.factors(&user, |it| known(it.browsers()).then(|| it.epoch())).flatten();
        if let (Some(epoch), Ok(id), Ok(grant)) = (epoch, SessionId::new(id), Grant::new(grant)) {
            let extensions = request.extensions_mut();
            extensions.insert(Epoch::from(epoch));
            extensions.insert(id);
            extensions.insert(grant);
        }
    }
    next.run(request).await
}

/// A browser that is not remembered shows a second factor.
pub(crate) fn rejected(_: &Rejection, _: &Parts) -> Response {
    Redirect::to(Step::LogIn.path()).into_response()
}

/// Inside the layer.
pub(crate) async fn log_in(session: Session, visit: Visit, factor: SecondFactor) -> Response {
    let logged_in = match visit.pending_login() {
        // The factor was shown in an earlier session: it is not fresh enough for changes of the factors.
        Some((login, user)) if user == *factor.user() => {
            session::complete_login(&session, login, factor.factor(), None).await
        }
        _ => Ok(false),
    };
    match logged_in {
        Ok(true) => Redirect::to("/account").into_response(),
        Ok(false) => Redirect::to("/login").into_response(),
        Err(error) => session::server_error(&*error),
    }
}

/// A short name for the list of browsers. The header is the client's, and says what the client likes.
fn browser_name(agent: &str) -> String {
    let find = |names: &[(&str, &'static str)], default| {
        names.iter().find(|(part, _)| agent.contains(part)).map_or(default, |(_, name)| *name)
    };
    // Most browsers also contain the names of others, so the order matters.
    let browsers =
        [("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("Chrome", "Chrome"), ("Safari", "Safari")];
    let systems = [
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ];
    format!("{} on {}", find(&browsers, "A browser"), find(&systems, "an unknown system"))
}
