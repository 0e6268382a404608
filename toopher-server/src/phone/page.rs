//! The page at `/phone`: a phone in a browser, which can be installed as an app.
//!
//! It consists of static files that use the API of phones. There is no cookie, so other sites cannot send calls in the
//! user's name (CSRF), and no frame, so they cannot trick the user into pressing its buttons (clickjacking).

use std::sync::LazyLock;

use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use data_encoding::HEXLOWER;
use http::{HeaderName, HeaderValue, header};
use sha2::{Digest, Sha256};

use crate::state::Server;

/// A file under `/phone/`.
struct File {
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! file {
    ($name:literal, $media_type:expr) => {
        File { name: $name, media_type: $media_type, bytes: include_bytes!(concat!("page/", $name)) }
    };
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const PAGE: &str = include_str!("page/index.html");
const WORKER: &str = include_str!("page/sw.js");
/// The files of the page. The service worker keeps them for use without a network.
const FILES: [File; 16] = [
    file!("app.css", "text/css; charset=utf-8"),
    file!("app.js", SCRIPT),
    file!("api.js", SCRIPT),
    file!("claim.js", SCRIPT),
    file!("codes.js", SCRIPT),
    file!("dom.js", SCRIPT),
    file!("offline.js", SCRIPT),
    file!("pairings.js", SCRIPT),
    file!("phrase.js", SCRIPT),
    file!("requests.js", SCRIPT),
    file!("rules.js", SCRIPT),
    file!("store.js", SCRIPT),
    file!("manifest.webmanifest", "application/manifest+json"),
    file!("icon.svg", "image/svg+xml"),
    file!("icon-192.png", "image/png"),
    file!("icon-512.png", "image/png"),
];
/// Loaded by the browser when the page is installed, and not by the page.
const MASKABLE: File = file!("icon-maskable-512.png", "image/png");

/// The service worker keeps the headers with the files, so they are part of its version.
static HEADERS: [(HeaderName, &str); 9] = [
    (header::CACHE_CONTROL, "no-cache"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
         manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types toopher-phone",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    // The worker is in the folder under the page, and serves the page, too.
    (HeaderName::from_static("service-worker-allowed"), "../phone"),
];

/// The service worker with the list of files and a version, which changes when one of them does. The browser then
/// replaces its copy.
static FILLED_WORKER: LazyLock<String> = LazyLock::new(|| {
    let mut digest = Sha256::new();
    let files = FILES.iter().map(|file| (file.name, file.bytes));
    let headers = HEADERS.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    for (name, bytes) in files.chain(headers).chain([("", PAGE.as_bytes()), ("sw.js", WORKER.as_bytes())]) {
        digest.update(Sha256::digest(name));
        digest.update(Sha256::digest(bytes));
    }
    let names: Vec<_> = FILES.iter().map(|file| file.name).collect();
    WORKER.replace("@files@", &names.join(" ")).replace("@version@", &HEXLOWER.encode(&digest.finalize()[..16]))
});

pub(crate) fn router() -> Router<Server> {
    let page = Router::new()
        .route("/phone", get(async || serve(HTML, PAGE.as_bytes())))
        // The URLs in the page are relative to the path without the slash.
        .route("/phone/", get(async || Redirect::temporary("../phone")))
        .route("/phone/sw.js", get(async || serve(SCRIPT, FILLED_WORKER.as_bytes())));
    FILES.iter().chain([&MASKABLE]).fold(page, |page, file| {
        page.route(&format!("/phone/{}", file.name), get(async || serve(file.media_type, file.bytes)))
    })
}

fn serve(media_type: &'static str, bytes: &'static [u8]) -> Response {
    let mut response = bytes.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    for (name, value) in &HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
