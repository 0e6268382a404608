//! Grants in the hands of clients of other authors: the cookie jar of `curl`, and a real browser.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use axum::extract::State;
use axum::http::HeaderName;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Extension, Form, Router};
use common::browser::{Browser, click, fill, have_browser, read};
use common::*;
use fantoccini::Client;
use tower_toopher::gate::grants::{SameSite, SealingKey};
use tower_toopher::{Grants, HeaderOrForm, SecondFactor, ToopherLayer};

/// What the site's first factor would know: the session and the epoch of alice.
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

async fn told(factor: SecondFactor) -> String {
    let at = factor.shown_at().map(|at| at.duration_since(UNIX_EPOCH).unwrap().as_secs());
    format!("{} by a factor for {}, {at:?}", factor.user(), factor.action().as_str())
}

impl Site {
    async fn start(change: impl FnOnce(Grants) -> Grants) -> Self {
        let (verifier, clock, _) = totp_verifier();
        let (epoch, reading) = (Arc::new(AtomicUsize::new(0)), clock.clone());
        let counted = epoch.clone();
        let grants = Grants::new(
            SealingKey::generate().unwrap(),
            |_| Some("the only session".into()),
            move |_, _| Some(counted.load(Ordering::SeqCst) as u64),
        )
        .lifetime(Duration::from_secs(3600))
        .clock(move || UNIX_EPOCH + reading.now());
        let grants = change(grants);
        let gate = ToopherLayer::new(verifier).extractor(HeaderOrForm::default()).grants(grants.clone());
        let look = gate.clone().action("look").max_age(Duration::from_secs(3600)).covered_by(["pay"]);
        let pay = gate.action("pay").max_age(Duration::from_secs(300));
        let page = "<!doctype html><form method=post action=/pay><input name=otp><button>pay</button></form>";
        let app = Router::new()
            .route("/look", get(told).layer(look))
            .route("/pay", post(|factor: SecondFactor, _: Form<Vec<(String, String)>>| told(factor)).layer(pay))
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

/// `curl` with a jar of its own.
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
    if !have(&["curl"]) {
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
    // Who has no such jar is somebody else.
    assert_eq!(empty.curl(url("/look"), &[]).await.0, 401);
    site.clock.advance(301);
    assert_eq!((jar.curl(url("/look"), &[]).await.0, jar.curl(url("/pay"), &["-d", "a=1"]).await.0), (200, 401));
    site.epoch.fetch_add(1, Ordering::SeqCst);
    assert_eq!(jar.curl(url("/look"), &[]).await.0, 401);
    site.epoch.fetch_sub(1, Ordering::SeqCst);
    assert_eq!(jar.curl(url("/look"), &[]).await.0, 200);
    // Taken away at the log-out.
    assert_eq!(jar.curl(url("/log-out"), &["-X", "POST"]).await.0, 200);
    assert_eq!(jar.curl(url("/look"), &[]).await.0, 401);
    assert!(!std::fs::read_to_string(&jar.0).unwrap().contains("second-factor"));
}

async fn goto(window: &Client, url: &str) {
    window.goto(url).await.unwrap();
}

#[tokio::test]
async fn in_a_browser_only_the_site_itself_can_have_it_sent() {
    if !have_browser() {
        return;
    }
    let browser = Browser::start().await;
    for (same_site, follows_links) in [(SameSite::Strict, false), (SameSite::Lax, true)] {
        let site = Site::start(|grants| grants.same_site(same_site)).await;
        let look = format!("{}/look", site.address);
        // Another site, to the browser: another host.
        let page = format!(
            "<!doctype html><a id=link href={look}>look</a>\
             <form method=post action={}/pay><button>pay</button></form>",
            site.address
        );
        let stranger = Router::new().route("/", get(move || async move { Html(page) }));
        let stranger = format!("http://127.0.0.1:{}/", serve(stranger).await);

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

        goto(&window, &stranger).await;
        click(&window, "#link").await;
        read(&window, if follows_links { &by_grant } else { "otp_required" }).await;
        goto(&window, &stranger).await;
        click(&window, "button").await;
        read(&window, "otp_required").await;
        window.close().await.unwrap();
    }
}
