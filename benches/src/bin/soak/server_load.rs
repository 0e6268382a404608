//! Requests to `toopher-server`, by relying parties and by phones, right and hostile.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use toopher_oauth1::Credentials;
use toopher_server_test_support::cluster::{enrolled, forward_to};
use toopher_server_test_support::site::{Phone, Site};
use toopher_server_test_support::{Clock, rfc_totp};
use tower::ServiceExt;
use tower_toopher::time::UnixTime;

use crate::bad_clients;
use crate::stats::{Expected, NO_RESPONSE, Stats};
use tower_toopher::BoxError;

/// Each of the four connections to SQLite caches up to 2 MiB of pages. The caches fill as the file grows.
pub(crate) const CACHES_KIB: u64 = 4 * 2 * 1024;
const TASKS: usize = 4;
/// The users of each task that log in.
const LOGIN_USERS: usize = 30;
/// The users of each task that approve on a phone.
const PHONE_USERS: usize = 5;
const INITIATE: &str = "authentication_requests/initiate";

pub(crate) async fn start(
    target: &'static str,
    address: &str,
    (key, secret): (&str, &str),
    stats: &Stats,
    tasks: &mut JoinSet<()>,
) -> Result<(), BoxError> {
    for task in 0..TASKS {
        let site = Site {
            app: forward_to(address),
            credentials: Credentials::new(key, secret)?,
            clock: Clock::from_secs(now().as_secs()),
            public: ("http".into(), address.into()),
        };
        for user in 0..LOGIN_USERS {
            enrolled(&site, &login_user(task, user)).await;
        }
        enrolled(&site, &attacked_user(task)).await;
        let mut phones = Vec::new();
        for user in 0..PHONE_USERS {
            phones.push(site.paired(&phone_user(task, user)).await.0);
        }
        let (address, stats, last_steps) = (address.parse()?, stats.clone(), [0; LOGIN_USERS]);
        tasks.spawn(Sender { target, task, address, site, phones, stats, last_steps, round: 0 }.run());
    }
    Ok(())
}

struct Sender {
    target: &'static str,
    task: usize,
    address: SocketAddr,
    site: Site,
    phones: Vec<Phone>,
    stats: Stats,
    /// The step of each user's last code.
    last_steps: [u64; LOGIN_USERS],
    round: usize,
}

impl Sender {
    async fn run(mut self) {
        loop {
            self.round += 1;
            self.log_in(self.round % LOGIN_USERS).await;
            self.guess().await;
            self.unsigned().await;
            self.approve(self.round % PHONE_USERS).await;
            self.disconnect_events(self.round % PHONE_USERS).await;
            let status = bad_clients::send(self.address, &format!("/v1/{INITIATE}"), self.round).await;
            self.record("disconnect or no HTTP", Expected::NeverGranted, status, status == 200);
        }
    }

    /// Sends a right code, and then the same call again, the same code in another call, and an altered call.
    async fn log_in(&mut self, user: usize) {
        let (time, name) = (now(), login_user(self.task, user));
        let step = time.as_secs() / 30;
        if std::mem::replace(&mut self.last_steps[user], step) >= step {
            return;
        }
        let code = rfc_totp().code_at(time);
        let call = || self.signed(INITIATE, &[("user_name", &name), ("otp", code.as_str())]);
        let (first, head) = (call(), call().into_parts().0);
        let mut again = call();
        let signature = first.headers()["authorization"].clone();
        again.headers_mut().insert("authorization", signature);
        self.put("right code", Expected::Granted, first).await;
        self.put("replayed call", Expected::NeverGranted, again).await;
        self.put("replayed code", Expected::NeverGranted, call()).await;
        // All users have the same secret, so the code is right for the other user too.
        let other_user = login_user(self.task, (user + 1) % LOGIN_USERS).replace(' ', "+");
        let altered = format!("user_name={other_user}&otp={}", code.as_str());
        self.put("signed for another user", Expected::NeverGranted, Request::from_parts(head, altered.into())).await;
    }

    /// Guesses codes of an enrolled user, of an unknown one, and of one that has just been enrolled.
    async fn guess(&self) {
        let right = (-4_i64..=4)
            .map(|step| rfc_totp().code_at(UnixTime::from_secs(now().as_secs().saturating_add_signed(step * 30))));
        let guess = format!("{:06}", (self.round * 7919 + self.task * 104_729) % 1_000_000);
        if right.into_iter().any(|right| right.as_str() == guess) {
            return;
        }
        let (attacked, unknown) = (attacked_user(self.task), format!("unknown {} {}", self.task, self.round));
        for (case, name) in [("wrong code", &attacked), ("unknown user", &unknown)] {
            self.put(case, Expected::NeverGranted, self.signed(INITIATE, &[("user_name", name), ("otp", &guess)]))
                .await;
        }
        let malformed =
            ["", "-1", "not a code", "\u{0661}\u{0662}\u{0663}\u{0664}\u{0665}\u{0666}", "1234567890123456"];
        let call = self.signed(INITIATE, &[("user_name", &attacked), ("otp", malformed[self.round % malformed.len()])]);
        self.put("malformed code", Expected::NeverGranted, call).await;
        // The failures of each new user are stored.
        let name = format!("new {} {}", self.task, self.round);
        self.site.clock.set(now().as_secs());
        let (status, _) = enrolled(&self.site, &name).await;
        self.record("new user", Expected::Any, status, false);
        let call = self.signed(INITIATE, &[("user_name", &name), ("otp", &guess)]);
        self.put("new user's wrong code", Expected::NeverGranted, call).await;
    }

    /// Sends calls without a valid signature, with huge and malformed forms.
    async fn unsigned(&self) {
        let bodies = ["a=1&".repeat(50_000), "a&".repeat(30_000), "%".repeat(3000), String::new()];
        let headers =
            ["", "OAuth", "OAuth oauth_consumer_key=\"", "Basic YTpi", "OAuth oauth_nonce=\"1\", oauth_nonce=\"1\""];
        let request = Request::post(format!("/v1/{INITIATE}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("authorization", headers[self.round % headers.len()])
            .body(Body::from(bodies[self.round % bodies.len()].clone()));
        self.put("unsigned, huge or malformed", Expected::NeverGranted, request.unwrap()).await;
    }

    /// Starts an approval for a new terminal. The phone allows one in three; the others are abandoned.
    async fn approve(&self, user: usize) {
        let name = phone_user(self.task, user);
        let terminal = format!("terminal {}", self.round % 1000);
        let call = self.signed(INITIATE, &[("user_name", &name), ("terminal_name", &terminal)]);
        let started = self.put("approval", Expected::NeverGranted, call).await;
        let Some(id) = started["id"].as_str().filter(|_| self.round.is_multiple_of(3)) else { return };
        let (status, _) = self.phones[user].post(&format!("requests/{id}/allow"), json!({})).await;
        self.record("phone allows", Expected::Any, status, false);
        self.site.clock.set(now().as_secs());
        let call = self.site.signed("GET", &format!("authentication_requests/{id}"), &[]);
        self.put("status of approval", Expected::SometimesGranted, call).await;
    }

    /// Opens the event stream of a phone and disconnects.
    async fn disconnect_events(&self, user: usize) {
        let request = self.phones[user].request("GET", "events", String::new());
        let response = self.site.app.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let _ = tokio::time::timeout(Duration::from_millis(100), response.into_body().frame()).await;
        self.record("event stream, disconnect", Expected::Any, status, false);
    }

    fn signed(&self, path: &str, parameters: &[(&str, &str)]) -> Request {
        self.site.clock.set(now().as_secs());
        self.site.signed("POST", path, parameters)
    }

    /// Sends a request, records its outcome and returns its JSON.
    async fn put(&self, case: &'static str, expected: Expected, request: Request) -> Value {
        let response = self.site.app.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let json: Value = serde_json::from_slice(&body).unwrap_or_default();
        // `forward_to` returns this status if there is no connection.
        let status = if status == 599 { NO_RESPONSE } else { status };
        self.record(case, expected, status, status == 200 && json["granted"] == true);
        json
    }

    fn record(&self, case: &'static str, expected: Expected, status: u16, granted: bool) {
        self.stats.record(self.target, case, expected, status, granted);
    }
}

fn now() -> UnixTime {
    SystemTime::now().try_into().unwrap()
}

fn login_user(task: usize, user: usize) -> String {
    format!("login {task} {user}")
}

fn phone_user(task: usize, user: usize) -> String {
    format!("phone {task} {user}")
}

fn attacked_user(task: usize) -> String {
    format!("attacked {task}")
}
