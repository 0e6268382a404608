//! The files of the phone's page, without a browser: their headers and their references.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use toopher_server_test_support::site::{Phone, server};
use toopher_server_test_support::{Clock, T};
use tower::ServiceExt;

async fn app() -> Router {
    server(&Clock::from_secs(T)).await.router()
}

async fn fetch(app: &Router, method: &str, path: &str) -> (u16, HeaderMap, Vec<u8>) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    (parts.status.as_u16(), parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

async fn text(app: &Router, path: &str) -> String {
    let (status, _, body) = fetch(app, "GET", path).await;
    assert_eq!(status, 200, "{path}");
    String::from_utf8(body).unwrap()
}

/// The files that the service worker caches, which are those of the page.
async fn files(app: &Router) -> Vec<String> {
    let worker = text(app, "/phone/sw.js").await;
    let list = worker.split_once("const FILES = \"").unwrap().1.split_once('"').unwrap().0;
    list.split(' ').map(str::to_owned).collect()
}

#[tokio::test]
async fn files_have_their_type_and_the_same_policy() {
    let app = app().await;
    let mut paths: Vec<_> = files(&app).await.iter().map(|name| format!("/phone/{name}")).collect();
    paths.extend(["/phone", "/phone/sw.js", "/phone/icon-maskable-512.png"].map(str::to_owned));
    for path in paths {
        let (status, headers, body) = fetch(&app, "GET", &path).await;
        let expected = match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
            "" => "text/html; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "webmanifest" => "application/manifest+json",
            "svg" => "image/svg+xml",
            "png" => "image/png",
            other => unreachable!("{other}"),
        };
        assert_eq!((status, &headers["content-type"]), (200, &expected.parse().unwrap()), "{path}");
        assert!(!body.is_empty() && headers.get("set-cookie").is_none());
        let policy = headers["content-security-policy"].to_str().unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ] {
            assert!(policy.split("; ").any(|directive| directive == part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("data:") && !policy.contains('*'), "{policy}");
        for (name, value) in [
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(headers[name], value, "{path}");
        }
        assert_eq!(fetch(&app, "HEAD", &path).await.0, 200);
        assert_eq!(fetch(&app, "POST", &path).await.0, 405);
    }
    for missing in ["/phone/index.html", "/phone/mod.rs", "/phone/../page.rs", "/phone/app.js/", "/phone/v1"] {
        assert_eq!(fetch(&app, "GET", missing).await.0, 404, "{missing}");
    }
}

#[tokio::test]
async fn imports_are_cached_and_urls_are_relative() {
    let app = app().await;
    let files = files(&app).await;
    let page = text(&app, "/phone").await;
    for attribute in ["src=\"", "href=\""] {
        for after in page.split(attribute).skip(1) {
            let name = after.split_once('"').unwrap().0.strip_prefix("phone/").unwrap();
            assert!(files.iter().any(|file| file == name), "{name}");
        }
    }
    // No inline script and no inline style, which the policy would block.
    assert!(!page.contains("<style") && !page.contains(" style=") && page.matches("<script").count() == 1);
    for script in files.iter().filter(|name| name.ends_with(".js")) {
        let source = text(&app, &format!("/phone/{script}")).await;
        for import in source.split("from \"./").skip(1) {
            let name = import.split_once('"').unwrap().0;
            assert!(files.iter().any(|file| file == name), "{script}: {name}");
        }
        for never in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://", "document.cookie"]
        {
            assert!(!source.replace("open it with https://", "").contains(never), "{script}: {never}");
        }
    }
}

#[tokio::test]
async fn the_manifest() {
    let app = app().await;
    let manifest: Value = serde_json::from_str(&text(&app, "/phone/manifest.webmanifest").await).unwrap();
    assert_eq!((&manifest["start_url"], &manifest["scope"]), (&json!("../phone"), &json!("../phone")));
    for icon in manifest["icons"].as_array().unwrap() {
        let (status, headers, bytes) = fetch(&app, "GET", &format!("/phone/{}", icon["src"].as_str().unwrap())).await;
        assert_eq!((status, headers["content-type"].to_str().unwrap()), (200, icon["type"].as_str().unwrap()));
        if icon["type"] == "image/png" {
            // The first chunk contains the size.
            let side = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
            assert_eq!(icon["sizes"], format!("{}x{}", side(16), side(20)));
        }
    }
}

#[tokio::test]
async fn the_worker_has_its_scope_and_a_version() {
    let app = app().await;
    let (_, headers, body) = fetch(&app, "GET", "/phone/sw.js").await;
    assert_eq!(headers["service-worker-allowed"], "../phone");
    let worker = String::from_utf8(body).unwrap();
    assert!(!worker.contains("@version@") && !worker.contains("@files@"));
    let version = worker.split_once("const VERSION = \"").unwrap().1.split_once('"').unwrap().0;
    assert!(version.len() == 32 && version.bytes().all(|b| b.is_ascii_hexdigit()), "{version}");
    let (status, headers, _) = fetch(&app, "GET", "/phone/").await;
    assert_eq!((status, &headers["location"]), (307, &"../phone".parse().unwrap()));
}

#[tokio::test]
async fn phrases_have_a_qr_code_and_responses_are_not_cached() {
    let app = app().await;
    let phone = Phone::register(&app).await;
    let (_, phrase) = phone.post("phrases", json!({})).await;
    let rows: Vec<_> = phrase["qr"].as_array().unwrap().iter().map(|row| row.as_str().unwrap()).collect();
    assert!(rows.len() >= 21 && rows.iter().all(|row| row.len() == rows.len()));
    // The corner contains a finder pattern.
    assert!(rows[0].starts_with("11111110") && rows[1].starts_with("10000010"));
    for path in ["pairings", "requests", "automations", "events"] {
        let response = app.clone().oneshot(phone.request("GET", path, String::new())).await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
    }
}
