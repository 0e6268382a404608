//! The status service: what it tells to whom, and that nothing passes by it.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::phones::{Ask, Gate, LIFETIME, Phones, Says, approvals, gate, session};
use common::{Calls, Clock, T};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_toopher::UserId;
use tower_toopher::approvals::{ApprovalStatus, StatusBody};
use tower_toopher::store::{MemoryStore, Store, Throttle};

struct World {
    phones: Phones,
    clock: Clock,
    store: MemoryStore,
    gate: Gate<MemoryStore>,
    status: ApprovalStatus<Phones, MemoryStore>,
}

fn world(most_held: usize) -> World {
    let (phones, clock) = (Phones::default(), Clock::at(T));
    let store = MemoryStore::new();
    let approvals = approvals(&phones, store.clone(), &clock).most_held(most_held);
    let status = approvals.status().session(session);
    World { phones, clock, store, gate: gate(approvals, &Calls::default()), status }
}

fn get(challenge: &str) -> Request<()> {
    let request = Request::get(format!("/approvals/{challenge}")).header("cookie", "session=1");
    request.extension(common::alice()).body(()).unwrap()
}

impl World {
    async fn ask(&self, request: Request<()>) -> Response<StatusBody> {
        self.status.clone().oneshot(request).await.unwrap()
    }

    async fn json(&self, request: Request<()>) -> (u16, Value) {
        let response = self.ask(request).await;
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["content-type"], "application/json");
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap())
    }
}

#[tokio::test]
async fn it_tells_how_it_stands_and_changes_nothing() {
    let world = world(10);
    let challenge = Ask::default().begin(&world.gate).await;
    world.clock.advance(20);
    let pending = json!({"status": "pending", "expires_in": 100, "number": "07"});
    assert_eq!(world.json(get(&challenge)).await, (200, pending));
    world.phones.answer(Says::Yes);
    for _ in 0..3 {
        assert_eq!(world.json(get(&challenge)).await, (200, json!({"status": "granted"})));
    }
    // The request itself must come back, and passes once.
    let again = Ask::default().challenge(&challenge);
    assert_eq!(again.send(&world.gate).await.status(), 200);
    assert_eq!(world.json(get(&challenge)).await, (200, json!({"status": "expired"})));
    assert_eq!(again.send(&world.gate).await.status(), 401);
}

#[tokio::test]
async fn a_refusal_that_is_seen_here_frees_the_place() {
    let world = world(10);
    let challenge = Ask::default().begin(&world.gate).await;
    world.phones.answer(Says::No);
    assert_eq!(world.json(get(&challenge)).await.1["status"], "denied");
    assert_eq!(world.json(get(&challenge)).await.1["status"], "expired");
    // Another session need not wait for two minutes.
    let _ = Ask::default().header("cookie", "session=2").begin(&world.gate).await;
}

/// Whoever is throttled cannot fetch it now, but can in a while: it is neither over nor denied, and nobody is asked.
#[tokio::test]
async fn it_waits_while_its_user_is_throttled() {
    let world = world(10);
    let challenge = Ask::default().begin(&world.gate).await;
    for _ in 0..5 {
        let _ = world.store.count_attempt(&common::alice(), &Throttle::default(), world.clock.now()).await.unwrap();
    }
    world.phones.answer(Says::Yes);
    let polls = world.phones.polls();
    assert_eq!(world.json(get(&challenge)).await, (200, json!({"status": "pending", "expires_in": 120})));
    assert_eq!(world.phones.polls(), polls);
    world.clock.advance(30);
    assert_eq!(world.json(get(&challenge)).await.1["status"], "granted");
}

#[tokio::test]
async fn another_s_is_as_an_unknown_one() {
    let world = world(10);
    let challenge = Ask::default().begin(&world.gate).await;
    let with = |change: &dyn Fn(&mut Request<()>)| {
        let mut request = get(&challenge);
        change(&mut request);
        request
    };
    let expired = (200, json!({"status": "expired"}));
    for request in [
        get("bm9uc2Vuc2U"),
        get(""),
        get(&challenge[1..]),
        with(&|request| *request.headers_mut().get_mut("cookie").unwrap() = "session=2".parse().unwrap()),
        with(&|request| drop(request.headers_mut().remove("cookie"))),
        with(&|request| drop(request.extensions_mut().insert(UserId::new("bob").unwrap()))),
    ] {
        assert_eq!(world.json(request).await, expired);
    }
    let nobody = with(&|request| drop(request.extensions_mut().remove::<UserId>()));
    assert_eq!(world.json(nobody).await, (401, json!({"status": "unidentified"})));
    // Nobody's phone was looked at for that.
    assert_eq!(world.phones.polls(), 0);
    world.clock.advance(LIFETIME.as_secs());
    assert_eq!(world.json(get(&challenge)).await, expired);
    // Without a session nothing is anybody's.
    let blind = approvals(&world.phones, MemoryStore::new(), &world.clock).status();
    let response = blind.oneshot(get(&challenge)).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#"{"status":"expired"}"#);
}

#[tokio::test]
async fn methods_and_trouble() {
    let world = world(10);
    let challenge = Ask::default().begin(&world.gate).await;
    let (mut post, mut head) = (get(&challenge), get(&challenge));
    *post.method_mut() = http::Method::POST;
    *head.method_mut() = http::Method::HEAD;
    let response = world.ask(post).await;
    assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &"GET, HEAD".parse().unwrap()));
    assert_eq!(world.ask(head).await.status(), 200);
    world.phones.fail(1);
    let response = world.ask(get(&challenge)).await;
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"2".parse().unwrap()));
}

/// The next event, or what the stream is kept open with.
async fn next(body: &mut StatusBody) -> Option<String> {
    let frame = body.frame().await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
}

fn events(challenge: &str) -> Request<()> {
    let mut request = get(challenge);
    request.headers_mut().insert("accept", "text/html, Text/Event-Stream;q=0.9".parse().unwrap());
    request
}

#[tokio::test(start_paused = true)]
async fn events_until_it_is_decided() {
    let world = world(2);
    let challenge = Ask::default().begin(&world.gate).await;
    let response = world.ask(events(&challenge)).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let pending = "event: status\ndata: {\"status\":\"pending\",\"expires_in\":120,\"number\":\"07\"}\n\n";
    assert_eq!(next(&mut body).await.unwrap(), pending);
    let started = tokio::time::Instant::now();
    assert_eq!(next(&mut body).await.unwrap(), ":\n\n");
    assert_eq!(started.elapsed(), Duration::from_secs(2));
    // Trouble is waited out.
    world.phones.fail(1);
    assert_eq!(next(&mut body).await.unwrap(), ":\n\n");
    world.phones.answer(Says::Yes);
    assert_eq!(next(&mut body).await.unwrap(), "event: status\ndata: {\"status\":\"granted\"}\n\n");
    assert_eq!(next(&mut body).await, None);
    // One that is decided already is told so at once.
    let mut body = world.ask(events(&challenge)).await.into_body();
    assert_eq!(next(&mut body).await.unwrap(), "event: status\ndata: {\"status\":\"granted\"}\n\n");
    assert_eq!(next(&mut body).await, None);
    assert_eq!(Ask::default().challenge(&challenge).send(&world.gate).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn so_many_listen_and_no_more() {
    let world = world(2);
    let challenge = Ask::default().begin(&world.gate).await;
    let mut listening = vec![world.ask(events(&challenge)).await, world.ask(events(&challenge)).await];
    assert_eq!(world.ask(events(&challenge)).await.status(), 503);
    // Whoever only looks is not turned away, and whoever goes makes room.
    assert_eq!(world.ask(get(&challenge)).await.status(), 200);
    listening.pop();
    assert_eq!(world.ask(events(&challenge)).await.status(), 200);
}
