//! The pages that a site shows in a frame: pairing, authentication, and a user's own settings.
//!
//! The site signs the address of the page. What the page then does it does under a token of its own, which only it has.
//! When it is done, it posts a signed result to the window around it, which hands it to the site.

mod pages;
mod payload;
mod session;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, Method, StatusCode, header};

use self::pages::Reply;
use self::session::{Opening, Session};
use super::Server;
use super::audit::Audit;
use super::error::ApiError;
use super::id::Id;
use super::params::Params;
use super::signed::read;
use crate::oauth1::{BaseUri, OauthRequest};

/// The cookie that tells browsers apart. It says nothing of the user.
const TERMINAL_COOKIE: &str = "__Host-toopher_terminal";
/// The most bytes of what a person types.
const MAX_FORM: usize = 4096;

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
    let mut audit = Audit::of_call();
    let opened = open_checked(&server, &parts, kind, &mut audit).await;
    match audit.close(opened) {
        Ok(response) => response,
        // A person has no signature to mend.
        Err(error) if error.status() == StatusCode::UNAUTHORIZED => pages::refused(&ApiError::NO_ADDRESS, "."),
        Err(error) => pages::refused(&error, "."),
    }
}

async fn open_checked(
    server: &Server,
    parts: &http::request::Parts,
    kind: &'static str,
    audit: &mut Audit,
) -> Result<Response, ApiError> {
    // Not for HEAD either: the address can be used once, and is meant for a person.
    if parts.method != Method::GET {
        return Err(ApiError::NOT_ALLOWED);
    }
    in_a_frame(&parts.headers)?;
    let query = parts.uri.query().unwrap_or_default();
    let all = Params::read(query, b"");
    // In the first protocol the page's script adds the terminal's name to an address that is signed already.
    let first_protocol = all.get(&["v"])?.is_none();
    let signed: String = if first_protocol { without(query, "terminal_name") } else { query.to_owned() };
    // What is no UTF-8 has one signature for many readings, and here a stranger could choose among them.
    let spaced = signed.replace('+', " ");
    if percent_encoding::percent_decode_str(&spaced).decode_utf8().is_err() {
        return Err(ApiError::bad_request("The address is not in UTF-8."));
    }
    let base = server.shared.public.base_uri(parts).ok_or(ApiError::UNSIGNED)?;
    let request = OauthRequest::parse("GET", base, [], Some(&signed), None)?;
    let requester = server.check(&request, audit).await?;
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
    // The site's word is signed. The browser's is what there is without it, and must not contradict it.
    let seen = parts.headers.get(header::REFERER).and_then(|referrer| origin(referrer.to_str().ok()?));
    let named = match params.get(&["site_origin"])? {
        None => None,
        Some(site) => Some(origin(site).ok_or(ApiError::bad_request("The site's origin is none."))?),
    };
    if named.is_some() && seen.is_some() && named != seen {
        return Err(ApiError::OTHER_SITE);
    }
    // What was automated for one site is not for another, and not where the browser hides which one it is: whoever can
    // show this address in a frame of their own must gain nothing by the cookie.
    let discriminator = match &seen {
        Some(origin) => format!("{terminal} {origin}"),
        None => super::pairings::token()?,
    };
    let origin = named.or(seen);
    let opening = Opening {
        requester: &requester,
        params: &params,
        terminal_name: all.get(&["terminal_name"])?,
        discriminator: &discriminator,
        origin: origin.as_deref(),
        kind,
        first_protocol,
    };
    let token = Session::open(server, &opening).await?;
    let mut response = Redirect::to(&format!("{}/web/session/{token}", server.shared.public)).into_response();
    if is_new {
        let cookie = format!(
            "{TERMINAL_COOKIE}={terminal}; Path=/; Max-Age=315360000; HttpOnly; Secure; SameSite=None; Partitioned"
        );
        let cookie = cookie.parse().map_err(|error| ApiError::internal(&format!("{error}")))?;
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(pages::headers(response, origin.as_deref()))
}

/// Refuses to be a page of its own, where it would lend its address to whoever has sent somebody there.
fn in_a_frame(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get("sec-fetch-dest") {
        Some(destination) if destination == "document" => Err(ApiError::NO_FRAME),
        _ => Ok(()),
    }
}

/// The origin of an address, spelled as browsers do.
fn origin(address: &str) -> Option<String> {
    let address: http::Uri = address.parse().ok()?;
    let (scheme, authority) = (address.scheme_str()?, address.authority()?.as_str());
    // It becomes part of a policy, where other signs have a meaning.
    if !authority.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b)) {
        return None;
    }
    let site = BaseUri::new(scheme, authority, "/").ok()?;
    Some(site.as_str().trim_end_matches('/').to_owned())
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
async fn show(State(server): State<Server>, Id(token): Id, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let page = async {
        in_a_frame(&headers)?;
        let session = Session::find(&server, &token).await?.ok_or(ApiError::OVER)?;
        let typing = query.as_deref() == Some("code");
        pages::session(&server, &session, Reply { typing, ..Reply::default() }).await
    };
    page.await.unwrap_or_else(|error| pages::refused(&error, ".."))
}

/// Does what a form of the page asks for.
async fn act(State(server): State<Server>, Id(token): Id, request: axum::extract::Request) -> Response {
    let page = async {
        in_a_frame(request.headers())?;
        let session = Session::find(&server, &token).await?.ok_or(ApiError::OVER)?;
        let form = Params::read("", &read(request.into_body(), MAX_FORM).await?);
        let reply = |message| Reply {
            message,
            pairing: form.get(&["pairing"]).ok().flatten().unwrap_or_default(),
            typing: true,
        };
        match session.act(&server, &form).await {
            // Look at the outcome, so that loading the page again does nothing twice.
            Ok(None) => {
                let page = Redirect::to(&format!("{}/web/session/{token}", server.shared.public));
                Ok(pages::headers(page.into_response(), session.origin.as_deref()))
            }
            Ok(Some(message)) => pages::session(&server, &session, reply(message)).await,
            Err(error) if error.status() == StatusCode::TOO_MANY_REQUESTS => {
                let message = "Too many attempts. Wait a while, or answer on your phone.";
                pages::session(&server, &session, reply(message)).await
            }
            Err(error) => Err(error),
        }
    };
    page.await.unwrap_or_else(|error| pages::refused(&error, ".."))
}
