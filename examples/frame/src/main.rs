//! A site that shows the pages of a Toopher API in a frame: a login, the pairing of a phone, and the phones of a user.
//! The site has no page of its own for codes and approvals, and no secret of an authenticator. It verifies the results.
//!
//! Start the server first. It prints lines to paste into the shell of the example:
//!
//! ```sh
//! cargo run -p toopher-server -- serve --demo
//! ```
//!
//! Run with
//!
//! ```sh
//! cargo run -p example-frame
//! ```
//!
//! and open <http://127.0.0.1:3000>. The users are `alice` (password `wonderland`) and `bob` (`builder`). The frame
//! pairs a phone at the first login: open the server's address with `/phone` in another window.
//!
//! `ADDR` sets the address (default `127.0.0.1:3000`). `PUBLIC_URL` sets the origin that browsers reach (default: the
//! address). Only pages of this origin can show the frames and receive their results. The results arrive by a script,
//! so the site needs one.

mod app;
mod pages;
mod postback;
mod session;

use std::error::Error;
use std::process::ExitCode;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, map_response_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use serde::Deserialize;
use tower_sessions::cookie::{SameSite, time};
use tower_sessions::{Expiry, MemoryStore, Session, SessionManagerLayer};
use tower_toopher::client::Credentials;
use tower_toopher::client::iframe::{Iframe, Page};

use self::app::{ACTION, App};
use self::pages::Frame;
use self::session::{Login, Stage};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let variable = |name| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let base = variable("TOOPHER_BASE_URL")?;
    let url = base.parse().map_err(|error| {
        format!("TOOPHER_BASE_URL {base}: {error}. It is the address of an API, such as http://127.0.0.1:8080/v1")
    })?;
    let credentials = Credentials::new(variable("TOOPHER_CONSUMER_KEY")?, variable("TOOPHER_CONSUMER_SECRET")?)
        .map_err(|error| format!("TOOPHER_CONSUMER_KEY, TOOPHER_CONSUMER_SECRET: {error}"))?;
    let listener = tokio::net::TcpListener::bind(&addr).await.map_err(|error| format!("ADDR {addr}: {error}"))?;
    let site = std::env::var("PUBLIC_URL").unwrap_or(format!("http://{}", listener.local_addr()?));
    let api = origin(&base).ok_or("TOOPHER_BASE_URL has no host")?;
    // The frame is the only content of another origin.
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; frame-src {api}; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'"
    );
    let policy = policy.try_into().map_err(|error| format!("TOOPHER_BASE_URL {base}: {error}"))?;
    let app = App { iframe: Iframe::new(url, credentials), api: api.into(), site: site.as_str().into(), policy };

    println!("Listening on http://{}", listener.local_addr()?);
    println!("Open {site}. The frames are of {api}.");
    axum::serve(listener, router(app)).with_graceful_shutdown(example_shutdown::signal()).await?;
    Ok(())
}

/// Scheme, host and port of a URL that is valid.
fn origin(url: &str) -> Option<&str> {
    let host = url.find("://")? + 3;
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |path| host + path);
    Some(&url[..end])
}

fn router(app: App) -> Router {
    let sessions = SessionManagerLayer::new(MemoryStore::default())
        .with_name("session")
        .with_http_only(true)
        .with_same_site(SameSite::Lax)
        // Behind TLS: `true`, and a name with the prefix `__Host-`.
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(time::Duration::hours(1)));
    Router::new()
        .route("/", get(home))
        .route("/login", get(login_page).post(login))
        .route("/second-factor", get(second_factor))
        .route("/pair", get(pair))
        .route("/phones", get(phones))
        .route("/postback", post(postback::receive))
        .route("/logout", post(log_out))
        .layer(from_fn(require_same_origin))
        .layer(sessions)
        .route("/frame.js", get(|| async { (content_type("text/javascript"), include_str!("frame.js")) }))
        .route("/frame.css", get(|| async { (content_type("text/css"), include_str!("frame.css")) }))
        .layer(map_response_with_state(app.clone(), set_security_headers))
        .with_state(app)
}

fn content_type(name: &'static str) -> [(header::HeaderName, &'static str); 1] {
    [(header::CONTENT_TYPE, name)]
}

async fn set_security_headers(State(app): State<App>, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, app.policy);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A form of another site cannot log in or out. Browsers send the origin of a form; a client without the header is no
/// browser that another site could use.
async fn require_same_origin(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_same = |origin: &HeaderValue| {
        let origin = origin.as_bytes();
        let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        authority.is_some() && authority == headers.get(header::HOST).map(HeaderValue::as_bytes)
    };
    if request.method() == "POST" && !headers.get(header::ORIGIN).is_none_or(is_same) {
        return pages::message(StatusCode::FORBIDDEN, "Another site has sent this form", "Nothing was changed.");
    }
    next.run(request).await
}

async fn home(session: Session) -> Response {
    match session::login(&session).await {
        Ok(Some(Login { user, stage: Stage::LoggedIn })) => pages::account(&user),
        Ok(Some(_)) => Redirect::to("/second-factor").into_response(),
        Ok(None) => Redirect::to("/login").into_response(),
        Err(error) => session::unavailable(&error),
    }
}

async fn login_page() -> Response {
    pages::login("", "")
}

#[derive(Deserialize)]
struct Password {
    username: String,
    password: String,
}

/// The first factor. A real site compares a salted hash, in constant time, and limits the attempts.
async fn login(session: Session, Form(form): Form<Password>) -> Response {
    if !matches!((form.username.as_str(), form.password.as_str()), ("alice", "wonderland") | ("bob", "builder")) {
        let page = pages::login(&form.username, "This name and password do not belong together.");
        return (StatusCode::FORBIDDEN, page).into_response();
    }
    match session::begin(&session, Login { user: form.username, stage: Stage::Password }).await {
        Ok(()) => Redirect::to("/second-factor").into_response(),
        Err(error) => session::unavailable(&error),
    }
}

async fn log_out(session: Session) -> Response {
    match session.flush().await {
        Ok(()) => Redirect::to("/login").into_response(),
        Err(error) => session::unavailable(&error),
    }
}

/// After the password. The page in the frame pairs a phone if the user has none.
async fn second_factor(State(app): State<App>, session: Session, headers: HeaderMap) -> Response {
    let page = |user: &str, token: &str| Page::authenticate(user, token).action(ACTION);
    let frame = Frame { title: "One more step", text: "Your phone confirms the login.", back: "/login" };
    show(&app, &session, &headers, Stage::Password, page, &frame).await
}

/// For a user who is logged in: another phone.
async fn pair(State(app): State<App>, session: Session, headers: HeaderMap) -> Response {
    let page = |user: &str, token: &str| Page::pair(user).with_parameter("session_token", token);
    let frame = Frame { title: "Pair a phone", text: "It confirms your logins from now on.", back: "/" };
    show(&app, &session, &headers, Stage::LoggedIn, page, &frame).await
}

/// For a user who is logged in: the phones, to remove them.
async fn phones(State(app): State<App>, session: Session, headers: HeaderMap) -> Response {
    let page = |user: &str, token: &str| Page::manage_user(user).with_parameter("session_token", token);
    let frame = Frame { title: "Your phones", text: "A phone is removed with one of its codes.", back: "/" };
    show(&app, &session, &headers, Stage::LoggedIn, page, &frame).await
}

/// Shows a page of the API in a frame, for a user at this stage of the login.
async fn show(
    app: &App,
    session: &Session,
    headers: &HeaderMap,
    stage: Stage,
    page: impl Fn(&str, &str) -> Page,
    frame: &Frame,
) -> Response {
    let user = match session::login(session).await {
        Ok(Some(login)) if login.stage == stage => login.user,
        Ok(_) => return Redirect::to("/").into_response(),
        Err(error) => return session::unavailable(&error),
    };
    // The browser would open the frame and then refuse to show it.
    if headers.get(header::HOST).is_some_and(|host| !app.site.as_bytes().ends_with(host.as_bytes())) {
        let text = format!("Open {} instead: the frames are for that address.", app.site);
        return pages::message(StatusCode::MISDIRECTED_REQUEST, "This is another address of the site", &text);
    }
    // A token for each display. It connects the result with this session.
    let signed = match session::new_token(session).await {
        Ok(token) => app.iframe.url(&page(&user, &token).site_origin(&app.site)),
        Err(error) => return session::unavailable(&*error),
    };
    match signed {
        Ok(url) => pages::frame(frame, &url, &app.api),
        Err(error) => session::unavailable(&error),
    }
}
