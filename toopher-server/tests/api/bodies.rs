//! Request bodies that do not end, over all routes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Request;
use tokio::sync::Notify;
use toopher_server_test_support::site::{Phone, Site, server};
use toopher_server_test_support::{Clock, T};
use tower::ServiceExt;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// All routes that accept POST. The handlers of the last ones read no body.
const ROUTES: [(&str, &str, bool); 35] = [
    ("/v1/pairings/create", FORM, true),
    ("/v1/pairings/create/qr", FORM, true),
    ("/v1/pairings/create/sms", FORM, true),
    ("/v1/pairings/upgrade", FORM, true),
    ("/v1/pairings/x", FORM, true),
    ("/v1/pairings/x/generate_reset_link", FORM, true),
    ("/v1/pairings/x/send_reset_link", FORM, true),
    ("/v1/pairings/x/reset", FORM, true),
    ("/v1/authentication_requests/initiate", FORM, true),
    ("/v1/authentication_requests/x/otp_auth", FORM, true),
    ("/v1/authentication_requests/x/cancel", FORM, true),
    ("/v1/users/create", FORM, true),
    ("/v1/users/reset", FORM, true),
    ("/v1/users/activate_next_otp_list", FORM, true),
    ("/v1/users/x", FORM, true),
    ("/v1/user_terminals/create", FORM, true),
    ("/v1/user_terminals/x", FORM, true),
    ("/phone/v1/devices", JSON, true),
    ("/phone/v1/claims", JSON, true),
    ("/phone/v1/requests/x/allow", JSON, true),
    ("/phone/v1/requests/x/deny", JSON, true),
    ("/v1/web/session/x", FORM, false),
    ("/web/session/x", FORM, false),
    ("/phone/v1/phrases", JSON, false),
    ("/phone/v1/pairings/x/allow", JSON, false),
    ("/phone/v1/pairings/x/deny", JSON, false),
    ("/phone/v1/pairings/x/remove", JSON, false),
    ("/phone/v1/automations/x/remove", JSON, false),
    ("/phone/v1/pairings", JSON, false),
    ("/phone/v1/requests", JSON, false),
    ("/phone/v1/events", JSON, false),
    ("/phone", FORM, false),
    ("/v1/web/pair", FORM, false),
    ("/v1", FORM, false),
    ("/", FORM, false),
];

async fn site() -> (Site, Phone) {
    let clock = Clock::from_secs(T);
    let site = Site::new(&server(&clock).await, &clock).await;
    let phone = Phone::register(&site.app).await;
    (site, phone)
}

fn post(phone: &Phone, path: &str, content_type: &str, body: Body) -> Request<Body> {
    let request = Request::post(path).header("content-type", content_type);
    let request = match path.starts_with("/phone/v1") {
        true => request.header("authorization", format!("Bearer {}", phone.token)),
        false => request,
    };
    request.body(body).unwrap()
}

#[tokio::test]
async fn no_route_reads_more_than_a_few_kib() {
    const CHUNK: usize = 1024;
    let (site, phone) = site().await;
    for (path, content_type, is_read) in ROUTES {
        let read = Arc::new(AtomicUsize::new(0));
        let endless = futures_util::stream::repeat_with({
            let read = read.clone();
            move || {
                read.fetch_add(CHUNK, Ordering::Relaxed);
                Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; CHUNK]))
            }
        });
        let request = post(&phone, path, content_type, Body::from_stream(endless));
        let response = site.app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status() == 413, is_read, "{path}: {}", response.status());
        assert!(read.load(Ordering::Relaxed) <= 17 * CHUNK, "{path}: {read:?}");
    }
}

#[tokio::test]
async fn no_route_waits_longer_than_ten_seconds() {
    let (site, phone) = site().await;
    for (path, content_type, is_read) in ROUTES {
        let waits = Arc::new(Notify::new());
        let half = futures_util::stream::unfold(0, {
            let waits = waits.clone();
            move |sent| {
                let waits = waits.clone();
                async move {
                    if sent > 0 {
                        waits.notify_one();
                        std::future::pending::<()>().await;
                    }
                    Some((Ok::<_, std::io::Error>(Bytes::from_static(b"{")), 1))
                }
            }
        });
        let request = post(&phone, path, content_type, Body::from_stream(half));
        let mut responding = tokio::spawn(site.app.clone().oneshot(request));
        let response = tokio::select! {
            response = &mut responding => response,
            () = waits.notified() => {
                tokio::time::pause();
                tokio::time::advance(Duration::from_secs(10)).await;
                tokio::time::resume();
                tokio::select! {
                    response = responding => response,
                    () = tokio::time::sleep(Duration::from_secs(20)) => panic!("{path} waits for the body"),
                }
            }
        };
        let status = response.unwrap().unwrap().status();
        assert_eq!(status == 408, is_read, "{path}: {status}");
    }
}
