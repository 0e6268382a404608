//! Grants with clients of other authors: the cookie jar of `curl`, and a real browser.
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::*;
use axum::extract::State;
use axum::http::HeaderName;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Extension, Form, Router};
use test_support::browser::{Browser, Client, click, fill, have_browser, read};
use tower::util::MapRequestLayer;
use tower_toopher::crypto::SealingKey;
use tower_toopher::middleware::grants::{Epoch, Grants, SameSite};
use tower_toopher::verify::SessionId;
use tower_toopher::{HeaderOrForm, SecondFactor, ToopherLayer};

/// A site whose first factor always identifies alice, with one session and the current epoch.
#[derive(Clone)]
struct Site {
    address: String,
    clock: Clock,
    epoch: Arc<AtomicUsize>,
}

async fn serve(app: Router) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    port
}

async fn describe(factor: SecondFactor) -> String {
    let at = factor.auth_time().map(|at| at.as_secs());
    format!("{} by a factor for {}, {at:?}", factor.user(), factor.action().as_str())
}

impl Site {
    async fn start(change: impl FnOnce(Grants) -> Grants) -> Self {
        let (verifier, clock, _) = totp_verifier();
        let epoch = Arc::new(AtomicUsize::new(0));
        let current = epoch.clone();
        let first_factor = MapRequestLayer::new(move |mut request: axum::extract::Request| {
            let extensions = request.extensions_mut();
            extensions.insert(SessionId::new("the only session").unwrap());
            extensions.insert(Epoch::from(current.load(Ordering::SeqCst) as u64));
            request
        });
        let grants = Grants::new(SealingKey::generate().unwrap()).lifetime(Duration::from_secs(3600)).clock(&clock);
        let grants = change(grants);
        let layer = ToopherLayer::new(verifier).extractor(HeaderOrForm::default()).grants(grants.clone());
        let look = layer.clone().action("look").max_age(Duration::from_secs(3600)).also_accept(["pay"]);
        let pay = layer.action("pay").max_age(Duration::from_secs(300));
        let page = "<!doctype html><form method=post action=/pay><input name=otp><button>pay</button></form>";
        let app = Router::new()
            .route("/look", get(describe).layer(look))
            .route("/pay", post(|factor: SecondFactor, _: Form<Vec<(String, String)>>| describe(factor)).layer(pay))
            .layer(first_factor)
            .layer(Extension(alice()))
            .route("/", get(move || async move { Html(page) }))
            .route(
                "/log-out",
                post(|State(grants): State<Grants>| async move {
                    let cookie = grants.clear_cookie().map(|cookie| (HeaderName::from_static("set-cookie"), cookie));
                    axum::response::AppendHeaders(cookie)
                }),
            )
            .with_state(grants);
        let address = format!("http://localhost:{}", serve(app).await);
        Self { address, clock, epoch }
    }
}

/// `curl` with its own cookie jar.
struct Jar(PathBuf);

impl Jar {
    fn new(name: &str) -> Self {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&file);
        Self(file)
    }

    /// The status, and the body.
    async fn curl(&self, url: String, args: &[&str]) -> (u16, String) {
        let jar = self.0.to_str().unwrap();
        let mut all = vec!["-s", "-4", "-w", "\n%{http_code}", "-b", jar, "-c", jar];
        all.extend(args);
        all.push(&url);
        let output = tokio::process::Command::new("curl").args(&all).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let (body, status) = printed.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }
}

impl Drop for Jar {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn with_the_cookie_jar_of_curl() {
    if !test_support::have(&["curl"]) {
        return;
    }
    let site = Site::start(|grants| grants).await;
    let (jar, empty) = (Jar::new("jar"), Jar::new("empty"));
    let url = |path: &str| format!("{}{path}", site.address);
    assert_eq!(jar.curl(url("/look"), &[]).await.0, 401);
    assert_eq!(jar.curl(url("/pay"), &["-d", "otp=000000"]).await.0, 401);
    let paid = jar.curl(url("/pay"), &["-d", &format!("otp={CODE}")]).await;
    assert_eq!(paid, (200, "alice by a factor for pay, None".into()));
    let kept = std::fs::read_to_string(&jar.0).unwrap();
    assert!(
        kept.contains("#HttpOnly_localhost\tFALSE\t/\tTRUE\t") && kept.contains("\t__Host-second-factor\t"),
        "{kept}"
    );

    let by_grant = (200, format!("alice by a factor for pay, Some({T})"));
    assert_eq!(jar.curl(url("/look"), &[]).await, by_grant);
    assert_eq!(jar.curl(url("/pay"), &["-d", "amount=10"]).await, by_grant);
    // A client without this jar has no grant.
    assert_eq!(empty.curl(url("/look"), &[]).await.0, 401);
    site.clock.advance(301);
    assert_eq!((jar.curl(url("/look"), &[]).await.0, jar.curl(url("/pay"), &["-d", "a=1"]).await.0), (200, 401));
    site.epoch.fetch_add(1, Ordering::SeqCst);
    assert_eq!(jar.curl(url("/look"), &[]).await.0, 401);
    site.epoch.fetch_sub(1, Ordering::SeqCst);
    assert_eq!(jar.curl(url("/look"), &[]).await.0, 200);
    // The logout deletes the cookie.
    assert_eq!(jar.curl(url("/log-out"), &["-X", "POST"]).await.0, 200);
    assert_eq!(jar.curl(url("/look"), &[]).await.0, 401);
    assert!(!std::fs::read_to_string(&jar.0).unwrap().contains("second-factor"));
}

async fn goto(window: &Client, url: &str) {
    window.goto(url).await.unwrap();
}

#[tokio::test]
async fn a_browser_sends_the_cookie_only_for_requests_of_the_same_site() {
    if !have_browser() {
        return;
    }
    let browser = Browser::start().await;
    for (same_site, follows_links) in [(SameSite::Strict, false), (SameSite::Lax, true)] {
        let site = Site::start(|grants| grants.same_site(same_site)).await;
        let look = format!("{}/look", site.address);
        // Another host is another site for the browser.
        let page = format!(
            "<!doctype html><a id=link href={look}>look</a>\
             <form method=post action={}/pay><button>pay</button></form>",
            site.address
        );
        let other_site = Router::new().route("/", get(move || async move { Html(page) }));
        let other_site = format!("http://127.0.0.1:{}/", serve(other_site).await);

        let window = browser.window().await;
        goto(&window, &look).await;
        read(&window, "otp_required").await;
        goto(&window, &site.address).await;
        fill(&window, "input", CODE).await;
        click(&window, "button").await;
        read(&window, "by a factor for pay, None").await;
        let cookie = window.get_named_cookie("__Host-second-factor").await.unwrap();
        assert_eq!((cookie.http_only(), cookie.secure(), cookie.path()), (Some(true), Some(true), Some("/")));
        assert_eq!(window.execute("return document.cookie", vec![]).await.unwrap(), "");
        goto(&window, &look).await;
        let by_grant = format!("by a factor for pay, Some({T})");
        read(&window, &by_grant).await;

        goto(&window, &other_site).await;
        click(&window, "#link").await;
        read(&window, if follows_links { &by_grant } else { "otp_required" }).await;
        goto(&window, &other_site).await;
        click(&window, "button").await;
        read(&window, "otp_required").await;
        window.close().await.unwrap();
    }
}
