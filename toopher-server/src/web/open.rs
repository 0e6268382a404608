//! Opens the session of a page: verifies the signed URL, and redirects the browser to the session.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{Method, StatusCode, header};
use toopher_oauth1::OauthRequest;

use super::browser::{TERMINAL_COOKIE, origin, require_frame, terminal_cookie};
use super::new_session::NewSession;
use super::page::{error_page, with_headers};
use super::session::Session;
use crate::api_error::ApiError;
use crate::audit::Audit;
use crate::crypto::token;
use crate::params::Params;
use crate::state::Server;

pub(super) async fn authenticate(State(server): State<Server>, request: Request) -> Response {
    open(server, request, "authenticate", true).await
}

/// The older page, whose sites show the page for pairing themselves, after error 705 or 707.
pub(super) async fn authenticate_only(State(server): State<Server>, request: Request) -> Response {
    open(server, request, "authenticate", false).await
}

pub(super) async fn pair(State(server): State<Server>, request: Request) -> Response {
    open(server, request, "pair", false).await
}

pub(super) async fn unpair(State(server): State<Server>, request: Request) -> Response {
    open(server, request, "unpair", false).await
}

pub(super) async fn manage(State(server): State<Server>, request: Request) -> Response {
    open(server, request, "manage", false).await
}

/// Errors are shown to the user and are not signed, since the sender of the URL is not authenticated.
///
/// `inline_pairing` is the default of the parameter `allow_inline_pairing`.
async fn open(server: Server, request: Request, kind: &'static str, inline_pairing: bool) -> Response {
    let (parts, _) = request.into_parts();
    let mut audit = Audit::for_call();
    let opened = verify(&server, &parts, kind, inline_pairing, &mut audit).await;
    match audit.close(opened) {
        Ok(response) => response,
        // Users cannot correct a signature, so they get another text.
        Err(error) if error.status() == StatusCode::UNAUTHORIZED => error_page(&ApiError::INVALID_PAGE_URL, "."),
        Err(error) => error_page(&error, "."),
    }
}

async fn verify(
    server: &Server,
    parts: &Parts,
    kind: &'static str,
    inline_pairing: bool,
    audit: &mut Audit,
) -> Result<Response, ApiError> {
    // Not HEAD either: the URL can be used once, and is for a person.
    if parts.method != Method::GET {
        return Err(ApiError::NOT_ALLOWED);
    }
    require_frame(&parts.headers)?;
    let query = parts.uri.query().unwrap_or_default();
    // Text that is not UTF-8 has several interpretations with the same signature, and an attacker could choose one.
    let spaced = query.replace('+', " ");
    if percent_encoding::percent_decode_str(&spaced).decode_utf8().is_err() {
        return Err(ApiError::NO_UTF8);
    }
    let all = Params::read(query.as_bytes());
    // In the first protocol, the page's script adds the name of the terminal after the site has signed the URL.
    let first_protocol = all.get(&["v"])?.is_none();
    let signed: String = if first_protocol { without(query, "terminal_name") } else { query.to_owned() };
    let base = server.shared.public_url.base_uri(parts).ok_or(ApiError::UNSIGNED)?;
    let request = OauthRequest::parse("GET", base, [], Some(&signed), None)?;
    let (requester, params) = server.authenticate(&request, &[], audit).await?;
    let expires = params.require(&["expires", "ttl"])?;
    let expires: i64 = expires.parse().map_err(|_| ApiError::bad_request("The time of expiry is not a number."))?;
    if expires <= server.now_i64()? {
        return Err(ApiError::EXPIRED);
    }
    let (terminal, is_new) = match terminal_cookie(&parts.headers) {
        Some(known) => (known, false),
        None => (token()?, true),
    };
    // The origin in the URL is signed by the site. The browser's referrer replaces a missing one, and must not
    // contradict it.
    let referrer = parts.headers.get(header::REFERER).and_then(|referrer| origin(referrer.to_str().ok()?));
    let named = match params.get_not_empty(&["site_origin"])? {
        None => None,
        Some(site) => Some(origin(site).ok_or(ApiError::bad_request("The origin of the site is not valid."))?),
    };
    if named.is_some() && referrer.is_some() && named != referrer {
        return Err(ApiError::OTHER_SITE);
    }
    // Rules apply to one site only, and not where the browser hides which one it is: the cookie must not help an
    // attacker who shows this URL in another site's frame.
    let discriminator = match &referrer {
        Some(origin) => format!("{terminal} {origin}"),
        None => token()?,
    };
    let origin = named.or(referrer);
    let new = NewSession {
        requester: &requester,
        params: &params,
        terminal_name: all.get(&["terminal_name"])?,
        discriminator: &discriminator,
        origin: origin.as_deref(),
        kind,
        first_protocol,
        inline_pairing,
    };
    let token = Session::create(server, &new).await?;
    let mut response = Redirect::to(&format!("{}/web/session/{token}", server.shared.public_url)).into_response();
    if is_new {
        let cookie = format!(
            "{TERMINAL_COOKIE}={terminal}; Path=/; Max-Age=315360000; HttpOnly; Secure; SameSite=None; Partitioned"
        );
        let cookie = cookie.parse().map_err(|error| ApiError::internal(&format!("{error}")))?;
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(with_headers(response, origin.as_deref()))
}

/// The query without the pairs of this name.
fn without(query: &str, name: &str) -> String {
    let keep = |pair: &&str| pair.split('=').next() != Some(name);
    query.split('&').filter(keep).collect::<Vec<_>>().join("&")
}
