//! nginx as a cache in front of a protected page: no client receives the page of another one without a code.

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{any, get};
use http::header::{CACHE_CONTROL, SET_COOKIE, VARY};
use http::{HeaderName, HeaderValue};
use test_support::have;
use tower_toopher::crypto::SealingKey;
use tower_toopher::middleware::Profile;
use tower_toopher::middleware::grants::{Epoch, Grants};
use tower_toopher::test_util::ScriptedVerifier;
use tower_toopher::verify::SessionId;
use tower_toopher::{DenyReason, Factor, Header, ToopherLayer, UserId, Verdict};

use super::nginx::{Nginx, Received};

/// It also stores responses that set a cookie, which nginx does not do by default.
const CONFIGURATION: &str = "
daemon off;
pid nginx.pid;
events {
}
http {
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    access_log off;
    proxy_cache_path cache keys_zone=pages:1m;
    server {
        listen 127.0.0.1:8080;
        location / {
            proxy_pass http://127.0.0.1:3000;
            proxy_cache pages;
            proxy_cache_valid 200 60s;
            proxy_ignore_headers Set-Cookie;
        }
    }
}
";

async fn count() -> String {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    format!("page {}", CALLS.fetch_add(1, Ordering::Relaxed))
}

#[tokio::test]
async fn a_cache_gives_no_page_to_a_client_without_a_code() {
    if !have(&["nginx"]) {
        return;
    }
    let layer = layer();
    let first_factor = tower::util::MapRequestLayer::new(|mut request: axum::extract::Request| {
        request.extensions_mut().insert(SessionId::new("session").unwrap());
        request.extensions_mut().insert(Epoch::from(1_u64));
        request
    });
    let public = || get(async || ([(CACHE_CONTROL, "public, s-maxage=60")], count().await));
    let grants = Grants::new(SealingKey::generate().unwrap());
    let app = Router::new()
        .route("/plain", get(count).layer(layer.clone()))
        .route("/public", public().layer(layer.clone()))
        .route("/cookie", public().layer(layer.grants(grants)))
        .layer(first_factor)
        .route("/unprotected", get(count));
    let nginx = Nginx::start_with("cache", CONFIGURATION, &[("127.0.0.1:3000", &serve(app).await)]);

    // The cache works.
    let [first, second] = [(); 2].map(|()| nginx.send("GET", "/unprotected", &[], ""));
    let (first, second) = (first.await, second.await);
    assert_eq!((first.status, second.status, first.text), (200, 200, second.text));
    for path in ["/plain", "/public", "/cookie"] {
        let has_cookie = each_client_needs_a_code(&nginx, path, &[]).await.header(SET_COOKIE).is_some();
        assert_eq!(has_cookie, path == "/cookie", "{path}");
    }
}

fn layer() -> ToopherLayer<ScriptedVerifier> {
    let verifier = ScriptedVerifier::new(|attempt| {
        Ok(match attempt.otp() {
            Some(_) => Verdict::Granted(Factor::Totp),
            None => Verdict::Denied(DenyReason::OtpRequired),
        })
    });
    ToopherLayer::new(verifier).identify(|_| UserId::new("alice").ok())
}

async fn serve(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Requests the page with a code, without one, and with another one, and returns the first response.
async fn each_client_needs_a_code(nginx: &Nginx, path: &str, other: &[(&str, &str)]) -> Received {
    let with_code = |code| [&[("toopher-otp", code)][..], other].concat();
    let page = nginx.send("GET", path, &with_code("081804"), "").await;
    assert_eq!(page.status, 200, "{path}");
    let without_code = nginx.send("GET", path, other, "").await;
    assert_eq!(without_code.status, 401, "{path}: {}", without_code.text);
    let other_code = nginx.send("GET", path, &with_code("050471"), "").await;
    assert_eq!(other_code.status, 200, "{path}");
    assert_ne!(other_code.text, page.text, "{path}");
    page
}

/// A page with these headers.
async fn page(set: &[(&'static str, &'static str)]) -> Response {
    let mut response = Response::new(Body::from(count().await));
    for (name, value) in set {
        response.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    response
}

/// Layers outside that add their own line to `Vary`.
#[tokio::test]
async fn another_vary_line_gives_no_page_to_a_client_without_a_code() {
    if !have(&["nginx"]) {
        return;
    }
    let handler = |set: &'static [(&'static str, &'static str)]| get(move || page(set));
    // As tower-http's `CorsLayer` does.
    let cors = tower::util::MapResponseLayer::new(|mut response: Response| {
        response.headers_mut().append(VARY, HeaderValue::from_static("origin"));
        response
    });
    let second = layer().action("administer").extractor(Header::new(HeaderName::from_static("x-otp")));
    let app = Router::new()
        .route("/max-age", handler(&[("cache-control", "max-age=60")]).layer((cors.clone(), layer())))
        .route("/revalidate", handler(&[("cache-control", "must-revalidate")]).layer((cors.clone(), layer())))
        .route("/plain", handler(&[]).layer((cors, layer())))
        .route("/vary", handler(&[("cache-control", "public"), ("vary", "accept"), ("vary", "origin")]).layer(layer()))
        .route("/two", handler(&[("cache-control", "public")]).layer((second, layer())));
    let nginx = Nginx::start_with("cache_vary", CONFIGURATION, &[("127.0.0.1:3000", &serve(app).await)]);
    for path in ["/max-age", "/revalidate", "/plain", "/vary", "/two"] {
        let other = [("x-otp", "081804")];
        let other = if path == "/two" { &other[..] } else { &[] };
        each_client_needs_a_code(&nginx, path, other).await;
    }
}

/// A cache in front of the nginx of `examples/forward-auth`.
#[tokio::test]
async fn a_cache_in_front_of_forward_auth_gives_no_page_to_a_client_without_a_code() {
    if !have(&["nginx"]) {
        return;
    }
    let verify = any(|| async {}).layer(layer().profile(Profile::ForwardAuth));
    let handler = |set: &'static [(&'static str, &'static str)]| get(move || page(set));
    let application = Router::new()
        .route("/plain", handler(&[]))
        .route("/max-age", handler(&[("cache-control", "max-age=60")]))
        .route("/revalidate", handler(&[("cache-control", "must-revalidate")]))
        .route("/private", handler(&[("cache-control", "max-age=60, private")]))
        .route("/public", handler(&[("cache-control", "max-age=60, public")]))
        .route("/public-vary", handler(&[("cache-control", "s-maxage=60"), ("vary", "accept")]))
        .route("/any", handler(&[("cache-control", "public"), ("vary", "*")]))
        .route("/later/", handler(&[]));
    let (verify, application) = (serve(Router::new().route("/verify", verify)).await, serve(application).await);
    let protected = Nginx::start("cache_protected", &verify, &application);
    let nginx = Nginx::start_with("cache_front", CONFIGURATION, &[("127.0.0.1:3000", &protected.address)]);
    for (path, added) in [
        ("/plain", Some("no-store")),
        ("/max-age", Some("private")),
        ("/revalidate", Some("no-store")),
        ("/private", None),
        ("/public", None),
        ("/public-vary", None),
        ("/any", None),
        ("/later/", Some("no-store")),
    ] {
        let page = each_client_needs_a_code(&nginx, path, &[]).await;
        let lines: Vec<_> = page.headers.get_all(CACHE_CONTROL).iter().collect();
        let own = usize::from(!["/plain", "/later/"].contains(&path));
        assert_eq!(
            (lines.len(), lines.get(own).copied()),
            (own + usize::from(added.is_some()), added.map(HeaderValue::from_static).as_ref()),
            "{path}"
        );
        // The cache works where the application allows it.
        let again = nginx.send("GET", path, &[("toopher-otp", "050471")], "").await;
        let once_more = nginx.send("GET", path, &[("toopher-otp", "050471")], "").await;
        assert_eq!(again.text == once_more.text, path.starts_with("/public"), "{path}");
    }
}
