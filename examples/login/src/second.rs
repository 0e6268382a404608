//! The second factor, for a login and for changes: a dialog, the pages that wait, and the page after the time limit.

use axum::Extension;
use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;
use tower_sessions::Session;
use tower_toopher::verify::ApprovalToken;
use tower_toopher::{BoxError, SecondFactor};

use super::app::{App, Factors};
use super::login::redirect_to_stage;
use super::pages::{self, Phone, SecondPage};
use super::return_path;
use super::step::Step;
use super::visit::{Visit, now};
use super::{remember, session};

/// The pages of a step, except for the route that verifies.
pub(crate) fn pages_of(step: Step) -> Router<App> {
    let path = step.path();
    Router::new()
        .route(&format!("{path}/wait/{{token}}"), get(wait_page))
        .route(&format!("{path}/wait/{{token}}/state"), get(wait_frame))
        .route(&format!("{path}/limit"), get(limit_frame))
        .route(&format!("{path}/late"), get(late_page))
        .layer(Extension(step))
}

/// Outside the layer: only a user who is at this step reaches it. Withdraws the pending request of a user who asks for
/// another one.
pub(crate) async fn require_step(
    State(app): State<App>,
    Extension(step): Extension<Step>,
    visit: Visit,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(user) = visit.user(step) else { return redirect_to_stage(&visit) };
    if let (true, Some(token)) = (visit.asks_again, &visit.approval_token) {
        app.withdraw(&visit, step, token).await;
    }
    if let Ok(factors) = app.factors(&user).await {
        request.extensions_mut().insert(factors);
    }
    next.run(request).await
}

/// The factors that a page offers.
pub(crate) async fn offered(app: &App, visit: &Visit, step: Step) -> Option<Factors> {
    let user = visit.user(step)?;
    Some(app.factors(&user).await.unwrap_or(Factors::UNKNOWN))
}

/// The second place for a code: a dialog that accepts it at any time, and requests an approval if the user has a phone.
/// Loading the page requests nothing; its form does, or its script, which submits that form.
pub(crate) async fn second_page(State(app): State<App>, Extension(step): Extension<Step>, visit: Visit) -> Response {
    let Some(factors) = offered(&app, &visit, step).await else { return redirect_to_stage(&visit) };
    // A user who is logged in, and whose last phone was removed at the API, may have a recovery code.
    if step == Step::LogIn && factors.is_none() {
        return Redirect::to("/enroll").into_response();
    }
    let phone = if factors.phone { Phone::NotRequested { automatic: true } } else { Phone::Unavailable };
    SecondPage { visit: &visit, step, factors, phone: &phone, time_limit: Some(app.time_limit), problem: "" }.render()
}

/// The same page while an approval is pending.
async fn wait_page(
    State(app): State<App>,
    Extension(step): Extension<Step>,
    visit: Visit,
    Path(token): Path<String>,
) -> Response {
    let Some(factors) = offered(&app, &visit, step).await else { return redirect_to_stage(&visit) };
    let late = || Redirect::to(&format!("{}/late", step.path())).into_response();
    let Ok(token) = ApprovalToken::new(&token) else { return late() };
    let phone = match app.approval_status(&visit, step, &token).await {
        None => Phone::Pending { token, number: None },
        Some(approval) => match approval.status.as_str() {
            "pending" => Phone::Pending { token, number: approval.number },
            "granted" => Phone::Granted(token),
            "denied" => Phone::Denied,
            _ => return late(),
        },
    };
    SecondPage { visit: &visit, step, factors, phone: &phone, time_limit: None, problem: "" }.render()
}

/// The status for browsers without scripts: a frame that reloads, so that a code in the page around it is kept.
async fn wait_frame(
    State(app): State<App>,
    Extension(step): Extension<Step>,
    visit: Visit,
    Path(token): Path<String>,
) -> Response {
    let Ok(token) = ApprovalToken::new(&token) else { return pages::not_found().await };
    pages::wait_frame(&visit, step, &token, app.approval_status(&visit, step, &token).await.as_ref())
}

#[derive(Deserialize)]
struct LimitQuery {
    /// The seconds that remain.
    left: u64,
}

/// The time limit for browsers without scripts, in a frame for the same reason.
async fn limit_frame(Extension(step): Extension<Step>, Query(query): Query<LimitQuery>) -> Response {
    pages::limit_frame(step, query.left)
}

#[derive(Deserialize)]
struct LateQuery {
    /// The approval that the site no longer waits for.
    approval: Option<String>,
}

/// The third place.
async fn late_page(
    State(app): State<App>,
    Extension(step): Extension<Step>,
    visit: Visit,
    Query(query): Query<LateQuery>,
) -> Response {
    if let Some(token) = query.approval.and_then(|token| ApprovalToken::new(&token).ok()) {
        app.withdraw(&visit, step, &token).await;
    }
    match offered(&app, &visit, step).await {
        Some(factors) => pages::late(&visit, step, factors),
        None => redirect_to_stage(&visit),
    }
}

/// Inside the layer: the second factor was verified for this request.
pub(crate) async fn logged_in(
    State(app): State<App>,
    session: Session,
    visit: Visit,
    headers: HeaderMap,
    factor: SecondFactor,
) -> Response {
    let complete = async {
        let Some((login, user)) = visit.pending_login().filter(|(_, user)| user == factor.user()) else {
            return Ok(Redirect::to("/login").into_response());
        };
        // Another tab may have logged out, or logged in another user.
        if !session::complete_login(&session, login, factor.factor(), Some(now())).await? {
            return Ok(Redirect::to("/login").into_response());
        }
        let mut response = Redirect::to("/account").into_response();
        if login.remember
            && let Some(cookie) = remember::remember(&app, &headers, &user, factor.factor())?
        {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        Ok::<_, BoxError>(response)
    };
    complete.await.unwrap_or_else(|error| session::server_error(&*error))
}

/// The same for a user who is logged in, and was about to change a second factor.
pub(crate) async fn confirmed(session: Session, visit: Visit, factor: SecondFactor) -> Response {
    let complete = async {
        let Some((_, user)) = visit.logged_in().filter(|(_, user)| user == factor.user()) else {
            return Ok(Redirect::to("/login").into_response());
        };
        if !session::confirm_login(&session, &user).await? {
            return Ok(Redirect::to("/login").into_response());
        }
        Ok::<_, BoxError>(Redirect::to(&return_path::take(&session).await?).into_response())
    };
    complete.await.unwrap_or_else(|error| session::server_error(&*error))
}
