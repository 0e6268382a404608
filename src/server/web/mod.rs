//! The pages that a site shows in a frame: pairing, authentication, and a user's own settings.
//!
//! The site signs the address of the page. What the page then does it does under a token of its own, which only it has.
//! When it is done, it posts a signed result to the window around it, which hands it to the site.

mod pages;
mod payload;
mod session;

use axum::Router;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, Method, StatusCode, header};
use serde::Deserialize;

use self::session::Session;
use super::Server;
use super::error::ApiError;
use super::id::Id;
use super::params::Params;
use crate::oauth1::OauthRequest;

/// The cookie that tells browsers apart. It says nothing of the user.
const TERMINAL_COOKIE: &str = "toopher_terminal";

pub(super) fn router() -> Router<Server> {
    Router::new()
        .route("/authenticate", get(open_authenticate))
        .route("/auth", get(open_authenticate))
        .route("/auth-v2", get(open_authenticate))
        .route("/pair", get(open_pair))
        .route("/pair-v2", get(open_pair))
        .route("/unpair", get(open_unpair))
        .route("/manage_user", get(open_manage))
        .route("/frame.js", get(pages::script))
        .route("/frame.css", get(pages::style))
        .route("/session/{token}", get(show).post(act))
}

async fn open_authenticate(State(server): State<Server>, request: axum::extract::Request) -> Response {
    open(server, request, "authenticate").await
}

async fn open_pair(State(server): State<Server>, request: axum::extract::Request) -> Response {
    open(server, request, "pair").await
}

async fn open_unpair(State(server): State<Server>, request: axum::extract::Request) -> Response {
    open(server, request, "unpair").await
}

async fn open_manage(State(server): State<Server>, request: axum::extract::Request) -> Response {
    open(server, request, "manage").await
}

/// Checks the signed address, and sends the browser on to a page of its own. Whatever is wrong is told to the person:
/// who has not signed the address gets nothing that is signed.
async fn open(server: Server, request: axum::extract::Request, kind: &'static str) -> Response {
    let (parts, _) = request.into_parts();
    match open_checked(&server, &parts, kind).await {
        Ok(response) => response,
        Err(error) => pages::refused(&error, "."),
    }
}

async fn open_checked(server: &Server, parts: &http::request::Parts, kind: &'static str) -> Result<Response, ApiError> {
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return Err(ApiError::NOT_ALLOWED);
    }
    let query = parts.uri.query().unwrap_or_default();
    let all = Params::read(query, b"");
    // In the first protocol the page's script adds the terminal's name to an address that is signed already.
    let first_protocol = all.get(&["v"])?.is_none();
    let signed: String = if first_protocol { without(query, "terminal_name") } else { query.to_owned() };
    let base = server.base_uri(parts).ok_or(ApiError::UNSIGNED)?;
    let request = OauthRequest::parse("GET", base, [], Some(&signed), None).map_err(|_| ApiError::UNSIGNED)?;
    let requester = server.check(&request).await?;
    let params = Params::read(&signed, b"");
    let expires = params.require(&["expires", "ttl"])?;
    let expires: i64 = expires.parse().map_err(|_| ApiError::bad_request("The time of expiry is no number."))?;
    if expires <= server.now_i64()? {
        return Err(ApiError::EXPIRED);
    }
    let (terminal, is_new) = match cookie(&parts.headers) {
        Some(known) => (known, false),
        None => (super::pairings::token()?, true),
    };
    // Some browsers keep no cookie in a frame; a terminal that is new each time is never automated.
    let token =
        Session::open(server, &requester, &params, all.get(&["terminal_name"])?, &terminal, kind, first_protocol)
            .await?;
    let mut response = Redirect::to(&format!("{}/web/session/{token}", server.shared.public)).into_response();
    if is_new {
        let cookie = format!(
            "{TERMINAL_COOKIE}={terminal}; Path=/; Max-Age=315360000; HttpOnly; Secure; SameSite=None; Partitioned"
        );
        let cookie = cookie.parse().map_err(|error| ApiError::internal(&format!("{error}")))?;
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(pages::headers(response))
}

/// The query without the pairs of this name.
fn without(query: &str, name: &str) -> String {
    let keep = |pair: &&str| pair.split('=').next() != Some(name);
    query.split('&').filter(keep).collect::<Vec<_>>().join("&")
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let mut pairs =
        headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
    let value = pairs.find_map(|pair| pair.trim().strip_prefix(TERMINAL_COOKIE)?.strip_prefix('='))?;
    // Ours, or nothing: it becomes part of what tells terminals apart.
    (value.len() == 43 && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')))
        .then(|| value.to_owned())
}

/// The page as it is now: with a form, waiting, or done. Without a script the browser looks again by itself.
async fn show(State(server): State<Server>, Id(token): Id) -> Response {
    let page = async {
        let session = Session::find(&server, &token).await?.ok_or(ApiError::NOT_FOUND)?;
        pages::session(&server, &session, "").await
    };
    page.await.unwrap_or_else(|error| pages::refused(&error, ".."))
}

/// What a person can do on a page.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Act {
    act: String,
    otp: String,
    phrase: String,
    pairing: String,
}

async fn act(
    State(server): State<Server>,
    Id(token): Id,
    form: Result<Form<Act>, axum::extract::rejection::FormRejection>,
) -> Response {
    let page = async {
        let Form(act) = form.map_err(|_| ApiError::NO_FORM)?;
        let session = Session::find(&server, &token).await?.ok_or(ApiError::NOT_FOUND)?;
        match session.act(&server, &act).await {
            // Look at the outcome, so that loading the page again does nothing twice.
            Ok(None) => Ok(pages::headers(
                Redirect::to(&format!("{}/web/session/{token}", server.shared.public)).into_response(),
            )),
            Ok(Some(message)) => pages::session(&server, &session, message).await,
            Err(error) if error.status() == StatusCode::TOO_MANY_REQUESTS => {
                pages::session(&server, &session, "Too many attempts. Wait a while, or answer on your phone.").await
            }
            Err(error) => Err(error),
        }
    };
    page.await.unwrap_or_else(|error| pages::refused(&error, ".."))
}
