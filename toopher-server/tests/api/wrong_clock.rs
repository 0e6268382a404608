//! A clock that was wrong once, and is right again.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use toopher_server::Server;
use toopher_server_test_support::Clock;
use toopher_server_test_support::cluster::now;
use toopher_server_test_support::site::{Site, server};

const DAY: u64 = 24 * 3600;
const YEAR: u64 = 365 * DAY;

async fn site() -> (Site, Server, Clock) {
    let clock = Clock::from_secs(now().as_secs());
    let server = server(&clock).await;
    (Site::new(&server, &clock).await, server, clock)
}

/// A signed call, as often as it is sent.
struct Call(Request<()>);

impl Call {
    fn new(site: &Site) -> Self {
        let (parts, _) = site.signed("GET", "users", &[]).into_parts();
        Self(Request::from_parts(parts, ()))
    }

    async fn send(&self, site: &Site) -> u16 {
        site.send(self.0.clone().map(|()| Body::empty())).await.0
    }
}

fn granted((status, answer): (u16, Value)) -> bool {
    assert_eq!(status, 200, "{answer}");
    answer["granted"] == true
}

#[tokio::test]
async fn a_clock_that_is_ahead_during_one_cleanup_deletes_nothing() {
    for ahead in [120, DAY, YEAR] {
        let (site, server, clock) = site().await;
        let server = server.compare_clock(true).unwrap();
        let start = clock.now().as_secs();
        let (phone, _) = site.paired("jdoe").await;
        let (call, code) = (Call::new(&site), phone.code(clock.now()));
        assert_eq!(call.send(&site).await, 200);
        assert!(granted(site.initiate("jdoe", &[("otp", &code)]).await));
        clock.set(start + ahead);
        let error = server.cleanup().await.unwrap_err().to_string();
        assert!(error.contains("seconds ahead"), "{error}");
        clock.set(start + 1);
        // The clock was set back, which deletes less.
        server.cleanup().await.unwrap();
        server.ready().await.unwrap();
        assert_eq!(Call::new(&site).send(&site).await, 200);
        assert_eq!(call.send(&site).await, 401);
        assert!(!granted(site.initiate("jdoe", &[("otp", &code)]).await));
    }
}

#[tokio::test]
async fn a_clock_that_is_set_right_is_accepted_by_the_next_cleanup() {
    let (site, server, clock) = site().await;
    clock.set(clock.now().as_secs() - DAY);
    let server = server.compare_clock(true).unwrap();
    server.cleanup().await.unwrap();
    clock.advance(DAY);
    server.cleanup().await.unwrap_err();
    server.cleanup().await.unwrap();
    assert_eq!(Call::new(&site).send(&site).await, 200);
}

#[tokio::test]
async fn a_clock_that_differs_from_the_database_deletes_nothing() {
    let (_, server, clock) = site().await;
    clock.advance(DAY);
    // Since the comparison began, the clock is consistent with itself.
    let server = server.compare_clock(true).unwrap();
    let cleaned = server.cleanup().await;
    match std::env::var("TEST_DATABASE").as_deref() {
        Ok("postgres") => {
            assert!(cleaned.unwrap_err().to_string().contains("the clock of the database"));
            assert!(server.repair_clock().await.unwrap_err().to_string().contains("the clock of the database"));
        }
        _ => cleaned.unwrap(),
    }
}

#[tokio::test]
async fn a_limit_in_the_future_is_reported_and_repaired_without_replays() {
    for ahead in [3600, DAY, YEAR] {
        let (site, server, clock) = site().await;
        let start = clock.now().as_secs();
        let early = Call::new(&site);
        assert_eq!(early.send(&site).await, 200);
        // A client whose clock is ahead as far as it may be.
        clock.set(start + 299);
        let skewed = Call::new(&site);
        clock.set(start);
        assert_eq!(skewed.send(&site).await, 200);
        // Without the comparison, as after a start with a wrong clock.
        clock.set(start + ahead);
        server.cleanup().await.unwrap();
        clock.set(start + 10);
        let refused = Call::new(&site);
        // The server has failed, and not the call.
        assert_eq!(refused.send(&site).await, 503);
        let error = server.ready().await.unwrap_err().to_string();
        assert!(error.contains("repair-clock"), "{error}");
        let error = server.cleanup().await.unwrap_err().to_string();
        assert!(error.contains("repair-clock"), "{error}");
        let repair = server.repair_clock().await.unwrap();
        assert_eq!(repair.rejected_for, Some(Duration::from_secs(301)));
        assert!(server.ready().await.unwrap_err().to_string().contains("301 seconds"));
        for at in [10, 200, 310] {
            clock.set(start + at);
            for call in [&early, &skewed, &refused] {
                assert_eq!(call.send(&site).await, 401, "{at}");
            }
        }
        assert_eq!(Call::new(&site).send(&site).await, 401);
        clock.set(start + 311);
        assert_eq!(Call::new(&site).send(&site).await, 200);
        server.ready().await.unwrap();
        server.cleanup().await.unwrap();
        for call in [&early, &skewed, &refused] {
            assert_eq!(call.send(&site).await, 401);
        }
        // There is nothing more to repair, and a repair twice changes nothing.
        assert_eq!(server.repair_clock().await.unwrap().rejected_for, None);
    }
}

/// A server whose clock is behind accepts no call whose nonce was deleted, and changes nothing for the others.
#[tokio::test]
async fn a_clock_that_is_behind_once_opens_no_replay() {
    let (site, server, clock) = site().await;
    let start = clock.now().as_secs();
    let call = Call::new(&site);
    assert_eq!(call.send(&site).await, 200);
    clock.advance(DAY);
    server.cleanup().await.unwrap();
    clock.set(start);
    assert_eq!(call.send(&site).await, 503);
    server.cleanup().await.unwrap_err();
    clock.set(start + DAY);
    assert_eq!(Call::new(&site).send(&site).await, 200);
    server.ready().await.unwrap();
    assert_eq!(call.send(&site).await, 401);
}

#[tokio::test]
async fn deadlines_of_a_future_time_end_with_the_next_cleanup() {
    let (site, server, clock) = site().await;
    let start = clock.now().as_secs();
    let (phone, _) = site.paired("jdoe").await;
    clock.set(start + YEAR);
    for _ in 0..5 {
        assert_eq!(site.initiate("jdoe", &[]).await.0, 200);
    }
    let (_, qr) = site.post("pairings/create/qr", &[("user_name", "other")]).await;
    let phrase = phone.post("phrases", json!({})).await.1["phrase"].as_str().unwrap().to_owned();
    let reset = site.post(&format!("pairings/{}/generate_reset_link", qr["id"].as_str().unwrap()), &[]).await.1;
    clock.set(start + 1);
    assert_eq!(site.initiate("jdoe", &[]).await.0, 429);
    server.cleanup().await.unwrap();
    assert_eq!(site.initiate("jdoe", &[]).await.0, 200);
    assert_eq!(phone.get("requests").await.as_array().unwrap().len(), 1);
    let by_phrase = [("user_name", "late"), ("pairing_phrase", phrase.as_str())];
    assert_eq!(site.post("pairings/create", &by_phrase).await.0, 409);
    let path = reset["url"].as_str().unwrap().split_once(".test").unwrap().1;
    assert_eq!(toopher_server_test_support::site::text(&site.app, path).await.0, 404);
}

#[tokio::test]
async fn a_code_of_a_future_time_stays_used() {
    let (site, server, clock) = site().await;
    let start = clock.now().as_secs();
    let (phone, _) = site.paired("jdoe").await;
    clock.set(start + DAY);
    let code = phone.code(clock.now());
    assert!(granted(site.initiate("jdoe", &[("otp", &code)]).await));
    clock.set(start);
    server.cleanup().await.unwrap();
    // In Redis the record has expired by the clock of Redis.
    let in_redis = std::env::var_os("TEST_FAILURE_STORE").is_some();
    assert_eq!(server.repair_clock().await.unwrap().future_codes, u64::from(!in_redis));
    clock.set(start + DAY + 1);
    assert!(!granted(site.initiate("jdoe", &[("otp", &code)]).await));
}
