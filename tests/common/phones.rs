//! A verifier that asks people, whose answers the test gives; and a gate before it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use tower::{Layer, Service, ServiceExt};
use tower_toopher::gate::ToopherService;
use tower_toopher::store::PushStore;
use tower_toopher::{
    Approval, ApprovalId, Approvals, Attempt, BoxError, DenyReason, Factor, HeaderOrForm, Pending, ProblemJson,
    ToopherLayer, UserId, Verdict,
};

use super::{Body, Calls, Clock, Strict, alice};

/// What a person does with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    Nothing,
    Yes,
    No,
    /// Neither: the phone has been taken out of the account since it rang.
    Gone,
}

/// All phones there are. OTPs are right if they are `081804`.
#[derive(Clone, Default)]
pub struct Phones {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    asked: Vec<Says>,
    polls: usize,
    /// Fails this many times more.
    failing: usize,
    /// Takes back what it was asked on a right OTP.
    taken_back: Vec<String>,
    by_rule: Option<Verdict>,
}

impl Phones {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// How often any phone rang.
    pub fn rings(&self) -> usize {
        self.state().asked.len()
    }

    pub fn polls(&self) -> usize {
        self.state().polls
    }

    /// Answers whatever is open.
    pub fn answer(&self, says: Says) {
        for said in &mut self.state().asked {
            if *said == Says::Nothing {
                *said = says;
            }
        }
    }

    pub fn fail(&self, times: usize) {
        self.state().failing = times;
    }

    pub fn rule(&self, verdict: Option<Verdict>) {
        self.state().by_rule = verdict;
    }

    pub fn taken_back(&self) -> usize {
        self.state().taken_back.len()
    }
}

impl Service<Attempt> for Phones {
    type Response = Verdict;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Verdict, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let mut state = self.state();
        if state.failing > 0 {
            state.failing -= 1;
            return std::future::ready(Err("out of reach".into()));
        }
        let verdict = match (attempt.otp(), attempt.approval()) {
            (Some(otp), approval) if otp.as_str() == super::CODE => {
                if let Approval::Asked(id) = approval {
                    state.taken_back.push(id.as_str().to_owned());
                }
                Verdict::Granted(Factor::Totp)
            }
            (Some(_), _) => Verdict::Denied(DenyReason::WrongOtp),
            (None, Approval::Wanted) => match &state.by_rule {
                Some(verdict) => verdict.clone(),
                None => {
                    let id = format!("question {}", state.asked.len());
                    state.asked.push(Says::Nothing);
                    Pending::new().with_id(ApprovalId::new(id).unwrap()).with_number(Some(7)).into()
                }
            },
            (None, Approval::Asked(id)) => {
                state.polls += 1;
                match question(id).and_then(|at| state.asked.get(at)) {
                    Some(Says::Yes) => Verdict::Granted(Factor::Push),
                    Some(Says::No) => Verdict::Denied(DenyReason::Refused),
                    Some(Says::Gone) => Verdict::Denied(DenyReason::NotEnrolled),
                    Some(Says::Nothing) => Pending::new().with_number(Some(7)).into(),
                    None => panic!("asked for {id:?}, which nobody has begun"),
                }
            }
            (None, _) => Verdict::Denied(DenyReason::OtpRequired),
        };
        std::future::ready(Ok(verdict))
    }
}

fn question(id: &ApprovalId) -> Option<usize> {
    id.as_str().strip_prefix("question ")?.parse().ok()
}

pub type Gate<S> = ToopherService<Strict, Approvals<Phones, S>, HeaderOrForm, ProblemJson>;

/// The session is the cookie.
pub fn session(parts: &http::request::Parts) -> Option<Arc<str>> {
    Some(parts.headers.get("cookie")?.to_str().ok()?.into())
}

pub fn approvals<S: PushStore>(phones: &Phones, store: S, clock: &Clock) -> Approvals<Phones, S> {
    let clock = clock.clone();
    Approvals::new(phones.clone()).unwrap().store(store).clock(move || UNIX_EPOCH + clock.now())
}

/// The layer of a gate that takes the action from a header, too.
pub fn layer<V>(verifier: V) -> ToopherLayer<V, HeaderOrForm> {
    ToopherLayer::new(verifier)
        .extractor(HeaderOrForm::default().any_body())
        .approvals(session)
        .action_for(|parts| parts.headers.get("action").and_then(|action| action.to_str().ok()).unwrap_or("pay").into())
}

pub fn gate<S: PushStore>(approvals: Approvals<Phones, S>, calls: &Calls) -> Gate<S> {
    layer(approvals).layer(Strict::new(calls))
}

/// A request, as a list of what can be changed about it.
#[derive(Clone, Debug)]
pub struct Ask {
    pub user: UserId,
    pub method: &'static str,
    pub uri: &'static str,
    pub body: &'static str,
    pub headers: HashMap<&'static str, String>,
}

impl Default for Ask {
    fn default() -> Self {
        let headers = [("cookie", "session=1"), ("content-type", "application/json"), ("host", "shop.test")];
        let headers = headers.map(|(name, value)| (name, value.to_owned())).into();
        Self { user: alice(), method: "POST", uri: "/pay?to=bob", body: r#"{"amount":1}"#, headers }
    }
}

impl Ask {
    pub fn user(mut self, id: &str) -> Self {
        self.user = UserId::new(id).unwrap();
        self
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.insert(name, value.into());
        self
    }

    pub fn challenge(self, challenge: &str) -> Self {
        self.header("toopher-challenge", challenge)
    }

    pub fn otp(self, otp: &str) -> Self {
        self.header("toopher-otp", otp)
    }

    pub fn wait(self, seconds: u64) -> Self {
        self.header("prefer", format!("wait={seconds}"))
    }

    pub fn form(self, body: &'static str) -> Self {
        Self { body, ..self.header("content-type", "application/x-www-form-urlencoded") }
    }

    pub fn request(&self) -> Request<Body> {
        let mut request = Request::builder().method(self.method).uri(self.uri).extension(self.user.clone());
        for (name, value) in &self.headers {
            request = request.header(*name, HeaderValue::from_str(value).unwrap());
        }
        request.body(Body::from(Bytes::from_static(self.body.as_bytes()))).unwrap()
    }

    pub async fn send<S: Service<Request<Body>, Response = Response<Body>, Error: std::fmt::Debug> + Clone>(
        &self,
        gate: &S,
    ) -> Response<Body> {
        gate.clone().oneshot(self.request()).await.unwrap()
    }

    /// Asks for an approval, and returns the challenge.
    pub async fn begin<S: Service<Request<Body>, Response = Response<Body>, Error: std::fmt::Debug> + Clone>(
        &self,
        gate: &S,
    ) -> String {
        let response = self.send(gate).await;
        assert_eq!(response.status(), 202, "{:?}", super::kind(&response));
        response.headers()["toopher-challenge"].to_str().unwrap().to_owned()
    }
}

/// Two minutes, after which nothing is waited for.
pub const LIFETIME: Duration = Duration::from_secs(120);
