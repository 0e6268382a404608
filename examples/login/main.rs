//! A login page in the way of a real site: password, then a second factor, from an authenticator or on the phone.
//!
//! Run with
//!
//! ```sh
//! cargo run --example login
//! ```
//!
//! and open <http://127.0.0.1:3000>. The users are `alice` (password `wonderland`) and `bob` (`builder`). Log in, set up an
//! authenticator app, and log in again in each of three ways:
//!
//! 1. a link on the login page, "Input an OTP instead": name, password and code in one form;
//! 2. a dialog that shows how it stands with the phone, and takes a code at any time;
//! 3. a page for when the phone did not answer, or nobody typed a code.
//!
//! For approvals on the phone start the server beside it, which prints lines to paste into this shell, and then log in:
//!
//! ```sh
//! cargo run --features server --bin toopher-server -- serve --demo
//! cargo run --example login --features client
//! ```
//!
//! Every page works without a script, and better with one. `ADDR` sets the address (default `127.0.0.1:3000`), and
//! `APPROVAL_SECONDS` how long the phone, or the code, is waited for (default 120).
//!
//! What a site adds: TLS, and with it `Secure` cookies; sessions in a store that forgets and outlives the process; a bound
//! on how often passwords are tried from one address; an e-mail whenever a second factor is set up.

mod enrol;
mod login;
mod pages;
mod phone;
mod session;
mod users;

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, header};
use axum::middleware::{from_fn, map_response};
use axum::response::{Redirect, Response};
use axum::routing::{get, post};
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::sync::Mutex;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;
use tower_sessions::cookie::{SameSite, time};
use tower_sessions::{Expiry, MemoryStore as Sessions, SessionManagerLayer};
use tower_toopher::approvals::StatusBody;
use tower_toopher::oauth1::Credentials;
use tower_toopher::store::MemoryStore;
use tower_toopher::toopher::{ClientError, ReqwestTransport, TerminalCookie};
use tower_toopher::{
    Approvals, Attempt, BoxError, Challenge, EitherVerifier, HeaderOrForm, NotEnrolledPolicy, Rejection, ToopherClient,
    ToopherLayer, ToopherVerifier, TotpVerifier, UserId, Verdict,
};

use self::session::Visit;
use self::users::Users;

/// What the phone, and the authenticator app, show this site as.
const SITE: &str = "Example Site";

type Verifier = BoxCloneSyncService<Attempt, Verdict, BoxError>;
type Status = BoxCloneSyncService<Request<()>, http::Response<StatusBody>, Infallible>;
type Phones = ToopherClient<ReqwestTransport>;

/// What the pages are made from. Clones share it.
#[derive(Clone)]
struct App {
    users: Users,
    totp: TotpVerifier<Users, MemoryStore>,
    /// None where nobody's phone can be asked.
    phones: Option<Phones>,
    status: Status,
    wait: Duration,
    /// Held while somebody becomes enrolled, so that nobody does so twice. Several processes need a lock of their
    /// database instead.
    enrolling: Arc<Mutex<()>>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let wait = std::env::var("APPROVAL_SECONDS").map_or(Ok(120), |seconds| seconds.parse())?;
    let users = [("alice", "wonderland"), ("bob", "builder")];
    let app = router(Users::new(&users)?, phones()?, Duration::from_secs(wait))?;

    let listener = tokio::net::TcpListener::bind(&addr).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    println!("Users: {}", users.map(|(name, password)| format!("{name} (password {password})")).join(", "));
    axum::serve(listener, app).await?;
    Ok(())
}

/// The Toopher API, if the environment says where it is.
fn phones() -> Result<Option<Phones>, Box<dyn Error>> {
    let Ok(base) = std::env::var("TOOPHER_BASE_URL") else { return Ok(None) };
    let variable = |name| std::env::var(name).map_err(|_| format!("please set {name}"));
    let credentials = Credentials::new(variable("TOOPHER_CONSUMER_KEY")?, variable("TOOPHER_CONSUMER_SECRET")?)?;
    Ok(Some(ToopherClient::new(base.parse()?, credentials)?))
}

fn router(users: Users, phones: Option<Phones>, wait: Duration) -> Result<Router, Box<dyn Error>> {
    // One store for both ways, so that whoever is locked out on one is so on the other.
    let store = MemoryStore::new();
    let totp = TotpVerifier::new(users.clone())?.store(store.clone());
    let verifier: Verifier = match &phones {
        None => BoxCloneSyncService::new(totp.clone().map_err(BoxError::from)),
        Some(client) => {
            let phones = ToopherVerifier::new(client.clone()).create_terminals().number_matching();
            BoxCloneSyncService::new(EitherVerifier::new(totp.clone(), phones))
        }
    };
    let approvals = Approvals::new(verifier)?.store(store).lifetime(wait).status_at("/approvals");
    let status = approvals.status().session(session::approving);

    let asks_phones = phones.is_some();
    let gate = ToopherLayer::new(approvals)
        .action("log in")
        .terminal(|parts| TerminalCookie::terminal(parts, "a web browser"));
    // After the password, which is what the session vouches for.
    let second_factor = gate
        .clone()
        .extractor(HeaderOrForm::default())
        .approvals(session::approving)
        .not_enrolled(NotEnrolledPolicy::RequireEnrolment)
        .reject_with(move |rejection: &Rejection, request: &Parts| login::refused(rejection, request, asks_phones));
    // Name, password and code at once. Who the session belongs to is not what this form says, so it is not looked at.
    let all_at_once = gate
        .extractor(HeaderOrForm::default().user_field("username"))
        .identify(|_| None)
        .identify_by_form(Users::named)
        .reject_with(login::all_at_once_refused);

    let app =
        App { users, totp, phones, status: BoxCloneSyncService::new(status.clone()), wait, enrolling: Arc::default() };
    let sessions = SessionManagerLayer::new(Sessions::default())
        .with_name("session")
        .with_http_only(true)
        .with_same_site(SameSite::Lax)
        // Behind TLS: `true`, and a name that begins with `__Host-`.
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(time::Duration::hours(1)));
    Ok(Router::new()
        .route("/", get(|| async { Redirect::to("/account") }))
        .route("/login", get(login::password_page).post(login::password))
        .route("/login/otp", post(login::all_at_once).layer(all_at_once).get(login::all_at_once_page))
        .route(
            "/second",
            post(login::second_factor).layer(second_factor).layer(from_fn(login::half_way)).get(login::second_page),
        )
        .route("/second/wait/{challenge}", get(login::wait_page))
        .route("/second/wait/{challenge}/state", get(login::wait_frame))
        .route("/second/late", get(login::late_page))
        .route("/account", get(login::account))
        .route("/logout", post(session::log_out))
        .merge(enrol::routes())
        .with_state(app)
        .route_service("/approvals/{challenge}", status)
        .layer(from_fn(session::visit))
        .layer(sessions)
        .layer(TerminalCookie::insecure_without_tls())
        .route(
            "/login.css",
            get(|| async { ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("login.css")) }),
        )
        .route(
            "/login.js",
            get(|| async { ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("login.js")) }),
        )
        .fallback(pages::not_found)
        .layer(map_response(guarded)))
}

/// No script or style but ours, no other source, in nobody's frame, and kept by no cache.
async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, pages::POLICY),
        // With none at all, browsers would not say where a form comes from.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// What the status service says of an approval.
#[derive(Debug, Deserialize)]
struct Standing {
    status: String,
    number: Option<String>,
}

/// What somebody can show beside the password.
#[derive(Clone, Copy, Debug)]
struct Factors {
    authenticator: bool,
    phone: bool,
}

impl App {
    /// Asks the status service, as the page's script does. `None` where it is out of reach.
    async fn standing(&self, visit: &Visit, challenge: &Challenge) -> Option<Standing> {
        let (half, user) = visit.half()?;
        let mut request = Request::get(format!("/{}", challenge.as_str())).body(()).ok()?;
        request.extensions_mut().insert(user);
        request.extensions_mut().insert(session::Approving::of(half));
        let response = self.status.clone().oneshot(request).await.ok()?;
        serde_json::from_slice(&response.into_body().collect().await.ok()?.to_bytes()).ok()
    }

    async fn factors(&self, user: &UserId) -> Result<Factors, ClientError> {
        let authenticator = self.users.has_authenticator(user);
        let phone = self.pairings(user).await?.iter().any(|pairing| pairing.is_active());
        Ok(Factors { authenticator, phone })
    }
}
