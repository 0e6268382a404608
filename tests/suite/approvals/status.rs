//! The status service: the responses to each client, and that it grants nothing.
use std::time::Duration;

use crate::support::phones::{Ask, Decision, LIFETIME, Phones, TestService, approvals, service};
use crate::support::{Calls, Clock, T};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_toopher::UserId;
use tower_toopher::approvals::{ApprovalStatus, StatusBody};
use tower_toopher::store::{MemoryStore, Store, Throttle};
use tower_toopher::verify::SessionId;

struct World {
    phones: Phones,
    clock: Clock,
    store: MemoryStore,
    service: TestService<MemoryStore>,
    status: ApprovalStatus<Phones, MemoryStore>,
}

fn world(max_waiting: usize) -> World {
    let (phones, clock) = (Phones::default(), Clock::from_secs(T));
    let store = MemoryStore::new();
    let approvals = approvals(&phones, store.clone(), &clock).max_waiting(max_waiting);
    let status = approvals.status();
    World { phones, clock, store, service: service(approvals, &Calls::default()), status }
}

fn get(token: &str) -> Request<()> {
    let request = Request::get(format!("/approvals/{token}")).extension(SessionId::new("session=1").unwrap());
    request.extension(crate::support::alice()).body(()).unwrap()
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
async fn it_returns_the_state_and_changes_nothing() {
    let world = world(10);
    let token = Ask::default().begin(&world.service).await;
    world.clock.advance(20);
    let pending = json!({"status": "pending", "expires_in": 100, "number": "07"});
    assert_eq!(world.json(get(&token)).await, (200, pending));
    world.phones.decide(Decision::Allowed);
    for _ in 0..3 {
        assert_eq!(world.json(get(&token)).await, (200, json!({"status": "granted"})));
    }
    // The original request must be repeated, and is granted once.
    let again = Ask::default().token(&token);
    assert_eq!(again.send(&world.service).await.status(), 200);
    assert_eq!(world.json(get(&token)).await, (200, json!({"status": "expired"})));
    assert_eq!(again.send(&world.service).await.status(), 401);
}

#[tokio::test]
async fn a_denial_that_is_polled_here_ends_the_approval() {
    let world = world(10);
    let token = Ask::default().begin(&world.service).await;
    world.phones.decide(Decision::Denied);
    assert_eq!(world.json(get(&token)).await.1["status"], "denied");
    assert_eq!(world.json(get(&token)).await.1["status"], "expired");
    // Another session can request one before two minutes have passed.
    let _ = Ask::default().header("cookie", "session=2").begin(&world.service).await;
}

/// A throttled user can redeem it later: it has neither ended nor been denied, and the verifier is not called.
#[tokio::test]
async fn it_is_pending_while_its_user_is_throttled() {
    let world = world(10);
    let token = Ask::default().begin(&world.service).await;
    for _ in 0..5 {
        let _ =
            world.store.count_attempt(&crate::support::alice(), &Throttle::default(), world.clock.now()).await.unwrap();
    }
    world.phones.decide(Decision::Allowed);
    let polls = world.phones.poll_count();
    assert_eq!(world.json(get(&token)).await, (200, json!({"status": "pending", "expires_in": 120})));
    assert_eq!(world.phones.poll_count(), polls);
    world.clock.advance(30);
    assert_eq!(world.json(get(&token)).await.1["status"], "granted");
}

#[tokio::test]
async fn the_token_of_another_user_is_unknown() {
    let world = world(10);
    let token = Ask::default().begin(&world.service).await;
    let with = |change: &dyn Fn(&mut Request<()>)| {
        let mut request = get(&token);
        change(&mut request);
        request
    };
    let expired = (200, json!({"status": "expired"}));
    for request in [
        get("bm9uc2Vuc2U"),
        get(""),
        get(&token[1..]),
        with(&|request| drop(request.extensions_mut().insert(SessionId::new("session=2").unwrap()))),
        with(&|request| drop(request.extensions_mut().remove::<SessionId>())),
        with(&|request| drop(request.extensions_mut().insert(UserId::new("bob").unwrap()))),
    ] {
        assert_eq!(world.json(request).await, expired);
    }
    let unidentified = with(&|request| drop(request.extensions_mut().remove::<UserId>()));
    assert_eq!(world.json(unidentified).await, (401, json!({"status": "unidentified"})));
    // That called no verifier.
    assert_eq!(world.phones.poll_count(), 0);
    world.clock.advance(LIFETIME.as_secs());
    assert_eq!(world.json(get(&token)).await, expired);
    // With another key no token is valid, and the body is exact.
    let other = approvals(&world.phones, MemoryStore::new(), &world.clock).status();
    let response = other.oneshot(get(&token)).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#"{"status":"expired"}"#);
}

#[tokio::test]
async fn methods_and_errors() {
    let world = world(10);
    let token = Ask::default().begin(&world.service).await;
    let (mut post, mut head) = (get(&token), get(&token));
    *post.method_mut() = http::Method::POST;
    *head.method_mut() = http::Method::HEAD;
    let response = world.ask(post).await;
    assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &"GET, HEAD".parse().unwrap()));
    assert_eq!(world.ask(head).await.status(), 200);
    world.phones.fail(1);
    let response = world.ask(get(&token)).await;
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"2".parse().unwrap()));
}

/// The next event, or the comment that keeps the stream open.
async fn next(body: &mut StatusBody) -> Option<String> {
    let frame = body.frame().await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
}

fn events(token: &str) -> Request<()> {
    let mut request = get(token);
    request.headers_mut().insert("accept", "text/html, Text/Event-Stream;q=0.9".parse().unwrap());
    request
}

#[tokio::test(start_paused = true)]
async fn events_until_it_is_decided() {
    let world = world(2);
    let token = Ask::default().begin(&world.service).await;
    let response = world.ask(events(&token)).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let pending = "event: status\ndata: {\"status\":\"pending\",\"expires_in\":120,\"number\":\"07\"}\n\n";
    assert_eq!(next(&mut body).await.unwrap(), pending);
    let started = tokio::time::Instant::now();
    assert_eq!(next(&mut body).await.unwrap(), ":\n\n");
    assert_eq!(started.elapsed(), Duration::from_secs(2));
    // Errors of the verifier do not end it.
    world.phones.fail(1);
    assert_eq!(next(&mut body).await.unwrap(), ":\n\n");
    world.phones.decide(Decision::Allowed);
    assert_eq!(next(&mut body).await.unwrap(), "event: status\ndata: {\"status\":\"granted\"}\n\n");
    assert_eq!(next(&mut body).await, None);
    // A decided approval is reported at once.
    let mut body = world.ask(events(&token)).await.into_body();
    assert_eq!(next(&mut body).await.unwrap(), "event: status\ndata: {\"status\":\"granted\"}\n\n");
    assert_eq!(next(&mut body).await, None);
    assert_eq!(Ask::default().token(&token).send(&world.service).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_streams_is_limited() {
    let world = world(2);
    let token = Ask::default().begin(&world.service).await;
    let mut listening = vec![world.ask(events(&token)).await, world.ask(events(&token)).await];
    assert_eq!(world.ask(events(&token)).await.status(), 503);
    // A request without a stream is not refused, and a stream that ends releases its permit.
    assert_eq!(world.ask(get(&token)).await.status(), 200);
    listening.pop();
    assert_eq!(world.ask(events(&token)).await.status(), 200);
}
