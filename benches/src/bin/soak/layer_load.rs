//! Requests to the layer, right and hostile.
//!
//! Each task sends right codes only for users of its own, so it knows which codes must be accepted. All tasks attack
//! the same users.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header, request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tower_toopher::time::UnixTime;

use crate::bad_clients;
use crate::layer_process::{Clock, LayerProcess, USERS, totp};
use crate::stats::{Expected, NO_RESPONSE, Stats};

pub(crate) const TARGET: &str = "layer";
const TASKS: usize = 16;
/// The users of each task that log in: half of all users.
const LOGIN_USERS: usize = USERS / 2 / TASKS;
/// The users of each task that approve on a phone: a quarter of all users.
const PHONE_USERS: usize = USERS / 4 / TASKS;
const FIRST_PHONE_USER: usize = USERS / 2;
/// The last quarter of all users is attacked.
const FIRST_ATTACKED_USER: usize = 3 * USERS / 4;
const ATTACKED_USERS: usize = USERS / 4;
const FORM_TYPE: &str = "application/x-www-form-urlencoded";

pub(crate) fn start(process: &LayerProcess, stats: &Stats, tasks: &mut JoinSet<()>) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    for task in 0..TASKS {
        let (address, clock, stats, client) = (process.address, process.clock, stats.clone(), client.clone());
        let last_steps = vec![0; USERS];
        tasks.spawn(Sender { task, address, clock, stats, client, last_steps, round: 0 }.run());
    }
}

struct Sender {
    task: usize,
    address: SocketAddr,
    clock: Clock,
    stats: Stats,
    client: Client<HttpConnector, Body>,
    /// The step of each user's last code.
    last_steps: Vec<u64>,
    round: usize,
}

type Body = Full<Bytes>;

impl Sender {
    async fn run(mut self) {
        loop {
            self.round += 1;
            self.log_in(self.task * LOGIN_USERS + self.round % LOGIN_USERS).await;
            self.guess().await;
            self.malformed().await;
            self.unknown_users().await;
            self.approve(FIRST_PHONE_USER + self.task * PHONE_USERS + self.round % PHONE_USERS).await;
            let status = bad_clients::send(self.address, "/form", self.round + self.task).await;
            self.stats.record(TARGET, "disconnect or no HTTP", Expected::NeverGranted, status, status == 200);
        }
    }

    /// Sends a right code and the grant of its response, and then both where they must be rejected.
    async fn log_in(&mut self, user: usize) {
        let Some(code) = self.next_code(user) else { return };
        let by_form = self.round.is_multiple_of(3);
        if by_form {
            self.put("right code, form", Expected::Granted, form("/form", user, &format!("a=1&otp={code}&b=2"))).await;
        } else {
            let response = self.put("right code, header", Expected::Granted, with_code(user, &code)).await;
            let cookie =
                response.as_ref().and_then(|response| response.headers().get(header::SET_COOKIE)?.to_str().ok());
            if let Some(grant) = cookie.and_then(|cookie| cookie.split(';').next()) {
                self.grant(user, grant).await;
            }
        }
        self.put("replayed code, header", Expected::NeverGranted, with_code(user, &code)).await;
        self.put("replayed code, form", Expected::NeverGranted, form("/form", user, &format!("otp={code}"))).await;
    }

    async fn grant(&self, user: usize, grant: &str) {
        let request = |user: usize, session: usize, grant: &str| {
            let cookies = format!("session={session}; {grant}");
            post("/account", user).header("cookie", cookies).body(Body::default()).unwrap()
        };
        self.put("grant", Expected::Granted, request(user, user, grant)).await;
        self.put("grant of another session", Expected::NeverGranted, request(user, user + 1, grant)).await;
        self.put("grant of another user", Expected::NeverGranted, request(user + 1, user, grant)).await;
        let (kept, last) = grant.split_at(grant.len() - 1);
        let altered = format!("{kept}{}", if last == "A" { "Q" } else { "A" });
        self.put("altered grant", Expected::NeverGranted, request(user, user, &altered)).await;
    }

    /// Guesses codes of an enrolled user.
    async fn guess(&self) {
        let attacked = self.attacked_user();
        let right: Vec<_> = (-3_i32..=3).map(|step| self.code(attacked, step)).collect();
        let guess = format!("{:06}", (self.round * 7919 + self.task * 104_729) % 1_000_000);
        if !right.contains(&guess) {
            self.put("wrong code, header", Expected::NeverGranted, with_code(attacked, &guess)).await;
            let form = form("/form", attacked, &format!("x=%20&otp={guess}"));
            self.put("wrong code, form", Expected::NeverGranted, form).await;
        }
    }

    /// Sends codes and asks for approvals of users that do not exist, with a new name each time.
    async fn unknown_users(&self) {
        for at in 0..4 {
            let name = format!("unknown-{}-{}-{at}{}", self.task, self.round, "-".repeat(self.round % 200));
            let request = Request::post("/account").header("x-user", &name).header("toopher-otp", "123456");
            self.put("unknown user", Expected::NeverGranted, request.body(Body::default()).unwrap()).await;
        }
        let name = format!("unknown-{}-{}", self.task, self.round);
        let request = Request::post("/pay").header("x-user", name).header("cookie", "session=1");
        self.put("approval of unknown user", Expected::NeverGranted, request.body(Body::default()).unwrap()).await;
    }

    async fn malformed(&self) {
        let user = self.attacked_user();
        let long = "7".repeat(8000);
        let headers: [&[u8]; 8] = [
            b"",
            b"      ",
            b"081804, 081804",
            b"\xff\xfe\x80",
            "\u{0661}\u{0662}\u{0663}\u{0664}\u{0665}\u{0666}".as_bytes(),
            b"-1",
            b"1e6\t",
            long.as_bytes(),
        ];
        let value = HeaderValue::from_bytes(headers[self.round % headers.len()]).unwrap();
        let once = post("/account", user).header("toopher-otp", &value);
        let twice = post("/account", user).header("toopher-otp", "111111").header("toopher-otp", &value);
        for request in [once, twice] {
            self.put("malformed header", Expected::NeverGranted, request.body(Body::default()).unwrap()).await;
        }
        let forms = [
            format!("{}&otp=123456", "a".repeat(200_000)),
            "a&".repeat(30_000),
            format!("{}otp=12345", "otp=123456&".repeat(5000)),
            "%".repeat(60_000),
            "otp".into(),
        ];
        let request = form("/form", user, &forms[self.round % forms.len()]);
        self.put("huge or malformed form", Expected::NeverGranted, request).await;
        let forged = post("/pay", user).header("cookie", "session=1").header("toopher-approval", "A".repeat(200));
        self.put("forged approval token", Expected::NeverGranted, forged.body(Body::default()).unwrap()).await;
    }

    /// Starts approvals. Most of them are abandoned, some of them while the layer holds the request.
    async fn approve(&mut self, user: usize) {
        let pay = || post("/pay", user).header("cookie", format!("session={user}"));
        if (self.round / PHONE_USERS).is_multiple_of(2) {
            let waiting = pay().header("prefer", "wait=5").body(Body::default()).unwrap();
            let response = tokio::time::timeout(Duration::from_millis(20), self.send(waiting)).await;
            let status = response.ok().flatten().map_or(NO_RESPONSE, |response| response.status().as_u16());
            self.stats.record(TARGET, "approval, disconnect", Expected::Any, status, status == 200);
        }
        // The layer grants this request if the person allowed an abandoned one.
        let request = pay().body(Body::default()).unwrap();
        let Some(response) = self.put("approval", Expected::SometimesGranted, request).await else { return };
        if let Some(token) = response.headers().get("toopher-approval") {
            let other_session = post("/pay", user).header("cookie", "session=x").header("toopher-approval", token);
            let other_session = other_session.body(Body::default()).unwrap();
            self.put("token of another session", Expected::NeverGranted, other_session).await;
            let with_token = || pay().header("toopher-approval", token).body(Body::default()).unwrap();
            let response = self.put("approval token", Expected::SometimesGranted, with_token()).await;
            if response.is_some_and(|response| response.status() == StatusCode::OK) {
                self.put("used approval token", Expected::NeverGranted, with_token()).await;
            }
        } else if let Some(code) = self.next_code(user) {
            // The user has reached the limit of approvals without a success.
            let request = pay().header("toopher-otp", code).body(Body::default()).unwrap();
            self.put("code instead of approval", Expected::Granted, request).await;
        }
    }

    fn attacked_user(&self) -> usize {
        FIRST_ATTACKED_USER + self.round % ATTACKED_USERS
    }

    fn code(&self, user: usize, step: i32) -> String {
        let seconds = self.clock.now().as_secs().saturating_add_signed(i64::from(step) * 30);
        totp(user).code_at(UnixTime::from_secs(seconds)).as_str().to_owned()
    }

    /// Returns the code of the current step, unless it was sent before.
    fn next_code(&mut self, user: usize) -> Option<String> {
        let now = self.clock.now();
        let step = now.as_secs() / 30;
        let last_step = std::mem::replace(&mut self.last_steps[user], step);
        (last_step < step).then(|| totp(user).code_at(now).as_str().to_owned())
    }

    /// Sends a request and records its outcome.
    async fn put(&self, case: &'static str, expected: Expected, request: Request<Body>) -> Option<Response<()>> {
        let response = self.send(request).await;
        let status = response.as_ref().map(Response::status);
        let granted = status == Some(StatusCode::OK);
        self.stats.record(TARGET, case, expected, status.map_or(NO_RESPONSE, |status| status.as_u16()), granted);
        response
    }

    /// Returns the head of the response after the whole body has been read.
    async fn send(&self, mut request: Request<Body>) -> Option<Response<()>> {
        *request.uri_mut() = format!("http://{}{}", self.address, request.uri().path()).parse().unwrap();
        let (head, body) = self.client.request(request).await.ok()?.into_parts();
        body.collect().await.ok()?;
        Some(Response::from_parts(head, ()))
    }
}

fn post(path: &str, user: usize) -> request::Builder {
    Request::post(path).header("x-user", format!("user-{user}"))
}

fn with_code(user: usize, code: &str) -> Request<Body> {
    let request = post("/account", user).header("cookie", format!("session={user}")).header("toopher-otp", code);
    request.body(Body::default()).unwrap()
}

fn form(path: &str, user: usize, body: &str) -> Request<Body> {
    post(path, user).header("content-type", FORM_TYPE).body(body.to_owned().into()).unwrap()
}
