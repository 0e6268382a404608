//! Event streams of phones: who may open them, how many, and when they end.

use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use http_body_util::BodyExt;
use serde_json::json;
use toopher_server::Server;
use toopher_server_test_support::site::{Phone, Site, json, server};
use toopher_server_test_support::{Clock, T};
use tower::ServiceExt;

async fn site() -> (Server, Site, Clock) {
    let clock = Clock::from_secs(T);
    let server = server(&clock).await;
    (server.clone(), Site::new(&server, &clock).await, clock)
}

struct Stream(Body);

impl Stream {
    async fn open(site: &Site, phone: &Phone) -> Result<Self, u16> {
        let response: Response<Body> =
            site.app.clone().oneshot(phone.request("GET", "events", String::new())).await.unwrap();
        if response.status() != 200 {
            return Err(json(response).await.0);
        }
        let mut stream = Self(response.into_body());
        assert!(stream.has_event().await);
        Ok(stream)
    }

    /// Waits for an event. Returns false at the end of the stream.
    async fn has_event(&mut self) -> bool {
        match tokio::time::timeout(Duration::from_secs(60), self.0.frame()).await.unwrap() {
            None => false,
            Some(frame) => {
                assert!(frame.unwrap().into_data().unwrap().starts_with(b"event: changed"));
                true
            }
        }
    }

    /// Whether it is open, and has no event.
    fn is_quiet(&mut self) -> bool {
        use futures_util::FutureExt;
        self.0.frame().now_or_never().is_none()
    }
}

#[tokio::test]
async fn only_phones_with_a_pairing_or_a_phrase_may_listen() {
    let (server, site, clock) = site().await;
    let phone = Phone::register(&site.app).await;
    assert_eq!(Stream::open(&site, &phone).await.err(), Some(403));
    let (_, phrase) = phone.post("phrases", json!({})).await;
    let mut stream = Stream::open(&site, &phone).await.ok().unwrap();
    let phrase = phrase["phrase"].as_str().unwrap();
    let (_, pairing) = site.post("pairings/create", &[("user_name", "jdoe"), ("pairing_phrase", phrase)]).await;
    assert!(stream.has_event().await);
    phone.post(&format!("pairings/{}/allow", pairing["id"].as_str().unwrap()), json!({})).await;
    // The end of the last pairing, by any party, is the last event.
    let mut stream = Stream::open(&site, &phone).await.ok().unwrap();
    let path = format!("pairings/{}", pairing["id"].as_str().unwrap());
    assert_eq!(site.post(&path, &[("deactivated", "true")]).await.0, 200);
    assert!(stream.has_event().await && !stream.has_event().await);
    assert_eq!(Stream::open(&site, &phone).await.err(), Some(403));
    let (phone, pairing) = site.paired("other").await;
    let mut stream = Stream::open(&site, &phone).await.ok().unwrap();
    phone.post(&format!("pairings/{pairing}/remove"), json!({})).await;
    assert!(stream.has_event().await && !stream.has_event().await);
    let (phone, _) = site.paired("third").await;
    let mut stream = Stream::open(&site, &phone).await.ok().unwrap();
    assert!(server.reset_user(site.credentials.key(), "third").await.unwrap());
    assert!(stream.has_event().await && !stream.has_event().await);
    // A phrase that has expired.
    let phone = Phone::register(&site.app).await;
    phone.post("phrases", json!({})).await;
    clock.advance(300);
    assert_eq!(Stream::open(&site, &phone).await.err(), Some(403));
}

#[tokio::test]
async fn a_stream_ends_with_its_phrase_or_after_an_hour() {
    let (_, site, _) = site().await;
    let phone = Phone::register(&site.app).await;
    phone.post("phrases", json!({})).await;
    let (paired, _) = site.paired("jdoe").await;
    for (phone, seconds) in [(phone, 300), (paired, 3600)] {
        let mut stream = Stream::open(&site, &phone).await.ok().unwrap();
        assert!(stream.is_quiet());
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
        // On PostgreSQL there is an event every 30 seconds. The keep-alive of the stream is due, too.
        let end = async { while stream.0.frame().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(20), end).await.unwrap();
    }
}

#[tokio::test]
async fn a_phone_has_four_streams_and_other_phones_are_not_notified() {
    let (_, site, _) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let (other, _) = site.paired("other").await;
    let mut others = Stream::open(&site, &other).await.ok().unwrap();
    let mut streams = Vec::new();
    for _ in 0..6 {
        streams.push(Stream::open(&site, &phone).await.ok().unwrap());
    }
    for stream in &mut streams[..2] {
        assert!(!stream.has_event().await);
    }
    site.initiate("jdoe", &[("terminal_name", "laptop")]).await;
    for stream in &mut streams[2..] {
        assert!(stream.has_event().await);
    }
    assert!(others.is_quiet());
}

#[tokio::test]
async fn strangers_do_not_exclude_paired_phones() {
    let (server, site, _) = site().await;
    let _server = server.max_event_streams(8);
    let (paired, _) = site.paired("jdoe").await;
    let mut strangers = Vec::new();
    for _ in 0..20 {
        let phone = Phone::register(&site.app).await;
        phone.post("phrases", json!({})).await;
        strangers.push(Stream::open(&site, &phone).await.ok().unwrap());
    }
    let mut stream = Stream::open(&site, &paired).await.ok().unwrap();
    assert!(stream.is_quiet());
    assert_eq!(strangers.iter_mut().map(Stream::is_quiet).filter(|is_quiet| *is_quiet).count(), 2);
}

#[tokio::test]
async fn streams_end_at_the_shutdown() {
    let (server, site, _) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let mut before = Stream::open(&site, &phone).await.ok().unwrap();
    server.shutdown();
    assert!(!before.has_event().await);
    let mut after = Stream::open(&site, &phone).await.ok().unwrap();
    assert!(!after.has_event().await);
}
