//! The layer with the local verifier, and the middleware that an application would write instead.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::auth::AsyncRequireAuthorizationLayer;
use tower_toopher::store::MemoryStore;
use tower_toopher::totp::{MemoryPairings, Pairing};
use tower_toopher::verify::{ApprovalId, ApprovalMode, PendingApproval, SessionId};
use tower_toopher::{
    Action, Approvals, Attempt, DenyReason, Factor, HeaderOrForm, Otp, SecondFactor, ToopherLayer, TotpVerifier,
    UserId, Verdict,
};

use crate::input::{BoxError, Load, totp, user_of};

pub(crate) fn layer(load: &Load) -> Result<ToopherLayer<TotpVerifier<MemoryPairings>>, BoxError> {
    let pairings = MemoryPairings::new();
    for user in &load.users {
        pairings.insert(UserId::new(user.name.as_str())?, Pairing::confirmed(totp(&user.secret)));
    }
    let verifier = TotpVerifier::new(pairings)?.clock(load.clock());
    Ok(ToopherLayer::new(verifier).identify(|parts| user_of(&parts.headers)))
}

/// Decides with `totp-rs`, as an application would. It stores nothing.
pub(crate) fn totp_rs(
    load: &Load,
) -> AsyncRequireAuthorizationLayer<impl Fn(Request) -> Ready<Result<Request, Response>> + Clone + use<>> {
    let secrets: HashMap<_, _> = load
        .users
        .iter()
        .map(|user| {
            let totp = totp_rs::Builder::new().with_secret(user.secret.clone()).build().unwrap();
            (UserId::new(user.name.as_str()).unwrap(), totp)
        })
        .collect();
    let (secrets, clock, action) = (Arc::new(secrets), load.clock(), Action::from("log in"));
    AsyncRequireAuthorizationLayer::new(move |mut request: Request| {
        let mut decide = || {
            let user = user_of(request.headers())?;
            let otp = Otp::parse(request.headers_mut().remove("toopher-otp")?.as_bytes()).ok()?;
            secrets.get(&user)?.check(otp.as_str(), clock().as_secs())?;
            request.extensions_mut().insert(SecondFactor::new(user, action.clone(), Factor::Totp));
            Some(())
        };
        ready(if decide().is_some() { Ok(request) } else { Err(StatusCode::UNAUTHORIZED.into_response()) })
    })
}

/// Starts requests that wait for an approval for as long as the process runs.
pub(crate) async fn hold_requests(load: &Load, count: usize) -> Result<(), BoxError> {
    let wait = Duration::from_secs(100);
    let asked = Arc::new(AtomicUsize::new(0));
    let phone = {
        let asked = Arc::clone(&asked);
        service_fn(move |attempt: Attempt| ready(never_decide(&attempt, &asked)))
    };
    let approvals =
        Approvals::new(phone)?.store(MemoryStore::new()).clock(load.clock()).max_waiting(count).max_wait(wait);
    let layer = ToopherLayer::new(approvals).extractor(HeaderOrForm::default());
    let service = layer.approvals().layer(service_fn(respond));
    for i in 0..count {
        let request = http::Request::post("/pay")
            .extension(UserId::new(format!("held-{i}"))?)
            .extension(SessionId::new("session")?)
            .header("prefer", format!("wait={}", wait.as_secs()))
            .body(Full::<Bytes>::default())?;
        tokio::spawn(service.clone().oneshot(request));
    }
    while asked.load(Ordering::Relaxed) < count {
        tokio::task::yield_now().await;
    }
    Ok(())
}

fn respond(_: http::Request<Full<Bytes>>) -> Ready<Result<http::Response<Full<Bytes>>, Infallible>> {
    ready(Ok(http::Response::default()))
}

/// Starts an approval when it is requested and leaves it pending.
fn never_decide(attempt: &Attempt, asked: &AtomicUsize) -> Result<Verdict, tower_toopher::BoxError> {
    Ok(match attempt.approval_mode() {
        ApprovalMode::Request => {
            let id = ApprovalId::new(asked.fetch_add(1, Ordering::Relaxed).to_string())?;
            PendingApproval::new().with_id(id).into()
        }
        ApprovalMode::Poll(_) => PendingApproval::new().into(),
        _ => Verdict::Denied(DenyReason::NotEnrolled),
    })
}
