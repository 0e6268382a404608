//! Requests that are held until the phone has answered: for how long, at what cost, and to whose harm.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::phones::{Ask, LIFETIME, Phones, Says, approvals, gate, layer};
use common::{Body, Calls, Clock, T, kind};
use futures_util::FutureExt;
use http::{Request, Response};
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};
use tower_toopher::store::MemoryStore;
use tower_toopher::{Approvals, RejectionKind};

fn setup(
    change: impl FnOnce(Approvals<Phones>) -> Approvals<Phones>,
) -> (Phones, common::phones::Gate<MemoryStore>, Calls) {
    let (phones, calls) = (Phones::default(), Calls::default());
    let approvals = change(approvals(&phones, MemoryStore::new(), &Clock::at(T)));
    (phones.clone(), gate(approvals, &calls), calls)
}

#[tokio::test(start_paused = true)]
async fn it_is_held_until_there_is_an_answer() {
    for (says, status) in [(Says::Yes, 200), (Says::No, 401)] {
        let (phones, gate, calls) = setup(|approvals| approvals);
        let (started, answering) = (Instant::now(), phones.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            answering.answer(says);
        });
        let response = Ask::default().wait(20).send(&gate).await;
        assert_eq!(response.status(), status);
        // Every two seconds it was looked.
        assert_eq!((started.elapsed(), phones.polls()), (Duration::from_secs(6), 3));
        assert_eq!(calls.count(), usize::from(status == 200));
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_held_as_long_as_the_client_likes_within_a_limit() {
    let (phones, gate, _) = setup(|approvals| approvals);
    for (preferred, held) in [(3, 3), (30, 30), (31, 30), (u64::MAX, 30), (0, 0)] {
        let (started, before) = (Instant::now(), phones.polls());
        let response = Ask::default().wait(preferred).send(&gate).await;
        assert_eq!((response.status().as_u16(), started.elapsed()), (202, Duration::from_secs(held)), "{preferred}");
        let applied = response.headers().get("preference-applied").map(|applied| applied.to_str().unwrap().to_owned());
        assert_eq!(applied, (held > 0).then(|| format!("wait={held}")));
        assert!(phones.polls() - before <= 16, "{preferred}");
    }
    assert_eq!(phones.rings(), 1);
    // One that comes again with the challenge is held too.
    let challenge = Ask::default().begin(&gate).await;
    let started = Instant::now();
    assert_eq!(Ask::default().challenge(&challenge).wait(7).send(&gate).await.status(), 202);
    assert_eq!(started.elapsed(), Duration::from_secs(7));
    // Whatever it prefers, an OTP is not waited for.
    assert_eq!(Ask::default().otp("000000").wait(7).send(&gate).await.status(), 401);
    assert_eq!(started.elapsed(), Duration::from_secs(7));

    let (_, impatient, _) = setup(|approvals| approvals.longest_wait(Duration::ZERO));
    assert_eq!(Ask::default().wait(7).send(&impatient).await.status(), 202);
    assert_eq!(started.elapsed(), Duration::from_secs(7));
}

/// One poll that fails is no answer: the client may not have the challenge yet, and the phone has been asked.
#[tokio::test(start_paused = true)]
async fn it_is_held_through_trouble() {
    let (phones, gate, calls) = setup(|approvals| approvals);
    let troubled = phones.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        troubled.fail(1);
        tokio::time::sleep(Duration::from_secs(2)).await;
        troubled.answer(Says::Yes);
    });
    let started = Instant::now();
    assert_eq!(Ask::default().wait(20).send(&gate).await.status(), 200);
    assert_eq!((started.elapsed(), phones.polls(), calls.count()), (Duration::from_secs(4), 1, 1));
}

/// No moment is that far away; whoever allows it is answered, not made to panic.
#[tokio::test(start_paused = true)]
async fn for_ever_is_not_at_all() {
    let (_, gate, _) = setup(|approvals| approvals.longest_wait(Duration::MAX));
    let started = Instant::now();
    assert_eq!(Ask::default().wait(u64::MAX).send(&gate).await.status(), 202);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn it_is_over_when_its_time_is() {
    let (phones, calls, clock) = (Phones::default(), Calls::default(), Clock::at(T));
    let approvals = approvals(&phones, MemoryStore::new(), &clock).longest_wait(Duration::from_secs(3600));
    let gate = gate(approvals, &calls);
    let begun = Instant::now();
    let ticking = clock.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            ticking.set(T + begun.elapsed().as_secs());
        }
    });
    let response = Ask::default().wait(600).send(&gate).await;
    assert_eq!(kind(&response), Some(RejectionKind::UnknownApproval));
    // Seen when it was looked at next.
    assert!(begun.elapsed() >= LIFETIME && begun.elapsed() <= LIFETIME + Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn so_many_are_held_and_no_more() {
    let (_, gate, _) = setup(|approvals| approvals.most_held(2));
    let held = |user: &str| {
        let (gate, ask) = (gate.clone(), Ask::default().user(user).wait(10));
        tokio::spawn(async move { ask.send(&gate).await.status().as_u16() })
    };
    let first = [held("a"), held("b")];
    tokio::time::sleep(Duration::from_secs(1)).await;
    let started = Instant::now();
    let response = Ask::default().user("c").wait(10).send(&gate).await;
    assert_eq!((response.status().as_u16(), started.elapsed()), (202, Duration::ZERO));
    assert!(!response.headers().contains_key("preference-applied"));
    for held in first {
        assert_eq!(held.await.unwrap(), 202);
    }
    // The places are free again, those of clients that hang up as well.
    drop(tokio::time::timeout(Duration::from_secs(1), Ask::default().user("d").wait(10).send(&gate)).await);
    let started = Instant::now();
    let both = tokio::join!(held("e"), held("f"));
    assert_eq!((both.0.unwrap(), both.1.unwrap(), started.elapsed()), (202, 202, Duration::from_secs(10)));
}

/// Whoever waits for a person holds nothing of the service behind.
#[tokio::test(start_paused = true)]
async fn a_waiting_request_keeps_nobody_out() {
    let phones = Phones::default();
    let inner = tower::ServiceBuilder::new().concurrency_limit(1).service(service_fn(|_: Request<Body>| async {
        Ok::<_, std::convert::Infallible>(Response::new(Body::from("in")))
    }));
    let gate = layer(approvals(&phones, MemoryStore::new(), &Clock::at(T))).layer(inner);
    let waiting: Vec<_> = (0..100)
        .map(|at| {
            let gate = gate.clone();
            let ask = Ask::default().user(&format!("user {at}")).wait(20);
            tokio::spawn(async move { gate.oneshot(ask.request()).await.unwrap().status().as_u16() })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(phones.rings(), 100);
    let started = Instant::now();
    let response = gate.clone().oneshot(Ask::default().otp(common::CODE).request()).await.unwrap();
    assert_eq!((response.status().as_u16(), started.elapsed()), (200, Duration::ZERO));
    phones.answer(Says::Yes);
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), 200);
    }
}

/// Ten thousand wait at once, on one thread. What each of them takes is counted, not guessed.
#[test]
fn ten_thousand_wait() {
    const MANY: usize = 10_000;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let _entered = runtime.enter();
    let (phones, gate, calls) = setup(|approvals| approvals);
    let mut waiting = Vec::with_capacity(MANY);
    let requests: Vec<_> = (0..MANY).map(|at| Ask::default().user(&format!("user {at}")).wait(30).request()).collect();
    let taken = allocation_counter::measure(|| {
        for request in requests {
            let mut future = Box::pin(gate.clone().oneshot(request));
            assert!(future.as_mut().now_or_never().is_none());
            waiting.push(future);
        }
    });
    assert_eq!(phones.rings(), MANY);
    // The request itself was there before; its place in the store is counted, and its future.
    let each = taken.bytes_current as usize / MANY;
    println!("each request that waits takes {each} bytes");
    assert!(each < 3 * 1024, "{each} bytes each");
    phones.answer(Says::Yes);
    runtime.block_on(async {
        for answered in futures_util::future::join_all(waiting).await {
            assert_eq!(answered.unwrap().status(), 200);
        }
    });
    assert_eq!(calls.count(), MANY);
}
