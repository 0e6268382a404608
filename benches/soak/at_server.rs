//! What `toopher-server` is sent, by a site and by phones.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tower::ServiceExt;
use tower_toopher::oauth1::Credentials;

use crate::common::cluster::{enrolled, now, way_to};
use crate::common::toopher::{Phone, Site};
use crate::common::{Clock, k20};
use crate::tally::{May, NONE, Tally};
use crate::{Failure, rude};

/// In KiB: four connections to SQLite, each of which keeps up to 2 MiB of pages. When they fill depends on how fast the
/// file grows.
pub const CACHES: u64 = 4 * 2 * 1024;
const TASKS: usize = 4;
/// Of each task: users who log in, and users with a phone.
const CALM: usize = 30;
const PAIRED: usize = 5;

pub async fn load(
    place: &'static str,
    address: &str,
    (key, secret): (&str, &str),
    tally: &Tally,
    tasks: &mut JoinSet<()>,
) -> Result<(), Failure> {
    for task in 0..TASKS {
        let site = Site {
            app: way_to(address),
            credentials: Credentials::new(key, secret)?,
            clock: Clock::at(now().as_secs()),
            public: ("http".into(), address.into()),
        };
        for user in 0..CALM {
            enrolled(&site, &format!("calm {task} {user}")).await;
        }
        enrolled(&site, &format!("attacked {task}")).await;
        let mut phones = Vec::new();
        for user in 0..PAIRED {
            phones.push(site.paired(&format!("paired {task} {user}")).await.0);
        }
        let (address, tally) = (address.parse()?, tally.clone());
        tasks.spawn(Sender { place, task, address, site, phones, tally, spent: [0; CALM], round: 0 }.send_for_ever());
    }
    Ok(())
}

struct Sender {
    place: &'static str,
    task: usize,
    address: SocketAddr,
    site: Site,
    phones: Vec<Phone>,
    tally: Tally,
    /// The step of each user's last code.
    spent: [u64; CALM],
    round: usize,
}

const INITIATE: &str = "authentication_requests/initiate";

impl Sender {
    async fn send_for_ever(mut self) {
        loop {
            self.round += 1;
            self.log_in(self.round % CALM).await;
            self.guess().await;
            self.unsigned().await;
            self.ask(self.round % PAIRED).await;
            self.listen(self.round % PAIRED).await;
            let status = rude::visit(self.address, "/v1/authentication_requests/initiate", self.round).await;
            self.tally.note(self.place, "broken off or no HTTP", May::NeverPass, status, status == 200);
        }
    }

    /// A right code, once it is a new one; the same call again, and the same code in another one.
    async fn log_in(&mut self, user: usize) {
        let (at, name) = (now(), format!("calm {} {user}", self.task));
        let step = at.as_secs() / 30;
        if std::mem::replace(&mut self.spent[user], step) >= step {
            return;
        }
        let code = k20().code_at(at);
        let call = || self.signed(INITIATE, &[("user_name", &name), ("otp", code.as_str())]);
        let (first, head) = (call(), call().into_parts().0);
        let mut again = call();
        let signature = first.headers()["authorization"].clone();
        again.headers_mut().insert("authorization", signature);
        self.put("right code", May::Pass, first).await;
        self.put("replayed call", May::NeverPass, again).await;
        self.put("replayed code", May::NeverPass, call()).await;
        // The code is right for this one, too.
        let another = format!("user_name=calm+{}+{}&otp={}", self.task, (user + 1) % CALM, code.as_str());
        self.put("signed for another user", May::NeverPass, Request::from_parts(head, another.into())).await;
    }

    async fn guess(&self) {
        let right = (-4_i64..=4)
            .map(|step| k20().code_at(Duration::from_secs(now().as_secs().saturating_add_signed(step * 30))));
        let guess = format!("{:06}", (self.round * 7919 + self.task * 104_729) % 1_000_000);
        if right.into_iter().any(|right| right.as_str() == guess) {
            return;
        }
        let (attacked, nobody) = (format!("attacked {}", self.task), format!("nobody {} {}", self.task, self.round));
        for (kind, name) in [("wrong code", attacked), ("unknown user", nobody)] {
            self.put(kind, May::NeverPass, self.signed(INITIATE, &[("user_name", &name), ("otp", &guess)])).await;
        }
        let malformed =
            ["", "-1", "not a code", "\u{0661}\u{0662}\u{0663}\u{0664}\u{0665}\u{0666}", "1234567890123456"];
        let name = format!("attacked {}", self.task);
        let call = self.signed(INITIATE, &[("user_name", &name), ("otp", malformed[self.round % malformed.len()])]);
        self.put("malformed code", May::NeverPass, call).await;
        // Somebody new, whose wrong codes are kept.
        let name = format!("new {} {}", self.task, self.round);
        self.site.clock.set(now().as_secs());
        let (status, _) = enrolled(&self.site, &name).await;
        self.tally.note(self.place, "new user", May::Either, status, false);
        let call = self.signed(INITIATE, &[("user_name", &name), ("otp", &guess)]);
        self.put("new user's wrong code", May::NeverPass, call).await;
    }

    async fn unsigned(&self) {
        let bodies = ["a=1&".repeat(50_000), "a&".repeat(30_000), "%".repeat(3000), String::new()];
        let headers =
            ["", "OAuth", "OAuth oauth_consumer_key=\"", "Basic YTpi", "OAuth oauth_nonce=\"1\", oauth_nonce=\"1\""];
        let request = Request::post(format!("/v1/{INITIATE}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("authorization", headers[self.round % headers.len()])
            .body(Body::from(bodies[self.round % bodies.len()].clone()));
        self.put("unsigned, huge or malformed", May::NeverPass, request.unwrap()).await;
    }

    /// A phone is asked, from a terminal that is new. One in three is answered, the others are abandoned.
    async fn ask(&self, user: usize) {
        let name = format!("paired {} {user}", self.task);
        let terminal = format!("terminal {}", self.round % 1000);
        let call = self.signed(INITIATE, &[("user_name", &name), ("terminal_name", &terminal)]);
        let asked = self.put("phone asked", May::NeverPass, call).await;
        let Some(id) = asked["id"].as_str().filter(|_| self.round.is_multiple_of(3)) else { return };
        let (status, _) = self.phones[user].post(&format!("requests/{id}/allow"), json!({})).await;
        self.tally.note(self.place, "phone allows", May::Either, status, false);
        self.site.clock.set(now().as_secs());
        let call = self.site.signed("GET", &format!("authentication_requests/{id}"), &[]);
        self.put("what the phone said", May::PassSometimes, call).await;
    }

    /// A phone that listens for a moment, and is gone.
    async fn listen(&self, user: usize) {
        let request = self.phones[user].request("GET", "events", String::new());
        let answer = self.site.app.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let _ = tokio::time::timeout(Duration::from_millis(100), answer.into_body().frame()).await;
        self.tally.note(self.place, "phone listens", May::Either, status, false);
    }

    fn signed(&self, path: &str, parameters: &[(&str, &str)]) -> Request {
        self.site.clock.set(now().as_secs());
        self.site.signed("POST", path, parameters)
    }

    async fn put(&self, kind: &'static str, may: May, request: Request) -> Value {
        let answer = self.site.app.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        // There is no connection.
        let status = if status == 599 { NONE } else { status };
        self.tally.note(self.place, kind, may, status, status == 200 && answer["granted"] == true);
        answer
    }
}
