//! Requests that wait for the decision: how long, at what cost, and with what effect on others.
use std::time::Duration;

use crate::support::phones::{Ask, Decision, LIFETIME, Phones, approvals, layer, service};
use crate::support::{Body, Calls, Clock, T, kind};
use http::{Request, Response};
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};
use tower_toopher::store::MemoryStore;
use tower_toopher::{Approvals, DenyReason, RejectionKind};

fn setup(
    change: impl FnOnce(Approvals<Phones>) -> Approvals<Phones>,
) -> (Phones, crate::support::phones::TestService<MemoryStore>, Calls) {
    let (phones, calls) = (Phones::default(), Calls::default());
    let approvals = change(approvals(&phones, MemoryStore::new(), &Clock::from_secs(T)));
    (phones.clone(), service(approvals, &calls), calls)
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_the_decision() {
    for (decision, status) in [(Decision::Allowed, 200), (Decision::Denied, 401)] {
        let (phones, service, calls) = setup(|approvals| approvals);
        let (started, answering) = (Instant::now(), phones.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            answering.decide(decision);
        });
        let response = Ask::default().wait(20).send(&service).await;
        assert_eq!(response.status(), status);
        // The verifier was polled every two seconds.
        assert_eq!((started.elapsed(), phones.poll_count()), (Duration::from_secs(6), 3));
        assert_eq!(calls.count(), usize::from(status == 200));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_as_long_as_the_client_prefers_within_a_limit() {
    let (phones, service, _) = setup(|approvals| approvals);
    for (preferred, held) in [(3, 3), (30, 30), (31, 30), (u64::MAX, 30), (0, 0)] {
        let (started, before) = (Instant::now(), phones.poll_count());
        let response = Ask::default().wait(preferred).send(&service).await;
        assert_eq!((response.status().as_u16(), started.elapsed()), (202, Duration::from_secs(held)), "{preferred}");
        let applied = response.headers().get("preference-applied").map(|applied| applied.to_str().unwrap().to_owned());
        assert_eq!(applied, (held > 0).then(|| format!("wait={held}")));
        assert!(phones.poll_count() - before <= 16, "{preferred}");
    }
    assert_eq!(phones.push_count(), 1);
    // A repeated request with the token waits too.
    let token = Ask::default().begin(&service).await;
    let started = Instant::now();
    assert_eq!(Ask::default().token(&token).wait(7).send(&service).await.status(), 202);
    assert_eq!(started.elapsed(), Duration::from_secs(7));
    // A request with an OTP does not wait, whatever it prefers.
    assert_eq!(Ask::default().otp("000000").wait(7).send(&service).await.status(), 401);
    assert_eq!(started.elapsed(), Duration::from_secs(7));

    let (_, impatient, _) = setup(|approvals| approvals.max_wait(Duration::ZERO));
    assert_eq!(Ask::default().wait(7).send(&impatient).await.status(), 202);
    assert_eq!(started.elapsed(), Duration::from_secs(7));
}

/// A failed poll is no decision: the client may not have the token yet, and the push was sent.
#[tokio::test(start_paused = true)]
async fn a_request_waits_during_errors() {
    let (phones, service, calls) = setup(|approvals| approvals);
    let troubled = phones.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        troubled.fail(1);
        tokio::time::sleep(Duration::from_secs(2)).await;
        troubled.decide(Decision::Allowed);
    });
    let started = Instant::now();
    assert_eq!(Ask::default().wait(20).send(&service).await.status(), 200);
    assert_eq!((started.elapsed(), phones.poll_count(), calls.count()), (Duration::from_secs(4), 1, 1));
}

/// A wait beyond the range of the clock does not panic.
#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_clock_is_ignored() {
    let (_, service, _) = setup(|approvals| approvals.max_wait(Duration::MAX));
    let started = Instant::now();
    assert_eq!(Ask::default().wait(u64::MAX).send(&service).await.status(), 202);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_approval_ends_at_its_time() {
    let (phones, calls, clock) = (Phones::default(), Calls::default(), Clock::from_secs(T));
    let approvals = approvals(&phones, MemoryStore::new(), &clock).max_wait(Duration::from_secs(3600));
    let service = service(approvals, &calls);
    let begun = Instant::now();
    let ticking = clock.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            ticking.set(T + begun.elapsed().as_secs());
        }
    });
    let response = Ask::default().wait(600).send(&service).await;
    assert_eq!(kind(&response), Some(RejectionKind::Denied(DenyReason::InvalidApproval)));
    // The next poll sees it.
    assert!(begun.elapsed() >= LIFETIME && begun.elapsed() <= LIFETIME + Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn the_number_of_waiting_requests_is_limited() {
    let (_, service, _) = setup(|approvals| approvals.max_waiting(2));
    let held = |user: &str| {
        let (service, ask) = (service.clone(), Ask::default().user(user).wait(10));
        tokio::spawn(async move { ask.send(&service).await.status().as_u16() })
    };
    let first = [held("a"), held("b")];
    tokio::time::sleep(Duration::from_secs(1)).await;
    let started = Instant::now();
    let response = Ask::default().user("c").wait(10).send(&service).await;
    assert_eq!((response.status().as_u16(), started.elapsed()), (202, Duration::ZERO));
    assert!(!response.headers().contains_key("preference-applied"));
    for held in first {
        assert_eq!(held.await.unwrap(), 202);
    }
    // The permits are released, also those of clients that disconnect.
    drop(tokio::time::timeout(Duration::from_secs(1), Ask::default().user("d").wait(10).send(&service)).await);
    let started = Instant::now();
    let both = tokio::join!(held("e"), held("f"));
    assert_eq!((both.0.unwrap(), both.1.unwrap(), started.elapsed()), (202, 202, Duration::from_secs(10)));
}

/// A waiting request occupies nothing of the inner service.
#[tokio::test(start_paused = true)]
async fn a_waiting_request_occupies_no_permit() {
    let phones = Phones::default();
    let inner = tower::ServiceBuilder::new().concurrency_limit(1).service(service_fn(|_: Request<Body>| async {
        Ok::<_, std::convert::Infallible>(Response::new(Body::from("in")))
    }));
    let service = layer(approvals(&phones, MemoryStore::new(), &Clock::from_secs(T))).layer(inner);
    let waiting: Vec<_> = (0..100)
        .map(|at| {
            let service = service.clone();
            let ask = Ask::default().user(&format!("user {at}")).wait(20);
            tokio::spawn(async move { service.oneshot(ask.request()).await.unwrap().status().as_u16() })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(phones.push_count(), 100);
    let started = Instant::now();
    let response = service.clone().oneshot(Ask::default().otp(crate::support::CODE).request()).await.unwrap();
    assert_eq!((response.status().as_u16(), started.elapsed()), (200, Duration::ZERO));
    phones.decide(Decision::Allowed);
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), 200);
    }
}
