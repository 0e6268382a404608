//! What the gate is sent. Each of the tasks has users of its own, so that it knows what is right; those who are
//! attacked are everybody's.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;

use crate::gate::{Clock, Process, USERS, totp};
use crate::rude;
use crate::tally::{May, NONE, Tally};

const PLACE: &str = "gate";
const TASKS: usize = 16;
/// Half of the users log in, a quarter is asked by phone, and a quarter is attacked.
const CALM: usize = USERS / 2 / TASKS;
const ASKED: usize = USERS / 4 / TASKS;
const FORM: &str = "application/x-www-form-urlencoded";

pub fn load(gate: &Process, tally: &Tally, tasks: &mut JoinSet<()>) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    for task in 0..TASKS {
        let (address, clock, tally, client) = (gate.address, gate.clock, tally.clone(), client.clone());
        let spent = vec![0; USERS];
        tasks.spawn(Sender { task, address, clock, tally, client, spent, round: 0 }.send_for_ever());
    }
}

struct Sender {
    task: usize,
    address: SocketAddr,
    clock: Clock,
    tally: Tally,
    client: Client<HttpConnector, Full<Bytes>>,
    /// The step of each user's last code.
    spent: Vec<u64>,
    round: usize,
}

type Ask = Request<Full<Bytes>>;

impl Sender {
    async fn send_for_ever(mut self) {
        loop {
            self.round += 1;
            self.log_in(self.task * CALM + self.round % CALM).await;
            self.guess().await;
            self.malformed().await;
            self.be_nobody().await;
            self.ask(USERS / 2 + self.task * ASKED + self.round % ASKED).await;
            let status = rude::visit(self.address, "/form", self.round + self.task).await;
            self.tally.note(PLACE, "broken off or no HTTP", May::NeverPass, status, status == 200);
        }
    }

    /// A right code, once it is a new one; the grant that comes of it; and both where they are no good.
    async fn log_in(&mut self, user: usize) {
        let Some(code) = self.next_code(user) else { return };
        let by_form = self.round.is_multiple_of(3);
        if by_form {
            self.put("right code, form", May::Pass, form("/form", user, &format!("a=1&otp={code}&b=2"))).await;
        } else {
            let answer = self.put("right code, header", May::Pass, with_code(user, &code)).await;
            let cookie = answer.as_ref().and_then(|answer| answer.headers().get(header::SET_COOKIE)?.to_str().ok());
            if let Some(grant) = cookie.and_then(|cookie| cookie.split(';').next()) {
                self.grant(user, grant).await;
            }
        }
        self.put("replayed code, header", May::NeverPass, with_code(user, &code)).await;
        self.put("replayed code, form", May::NeverPass, form("/form", user, &format!("otp={code}"))).await;
    }

    async fn grant(&self, user: usize, grant: &str) {
        let with = |user: usize, session: usize, grant: &str| {
            let cookies = format!("session={session}; {grant}");
            ask("/account", user).header("cookie", cookies).body(Full::default()).unwrap()
        };
        self.put("grant", May::Pass, with(user, user, grant)).await;
        self.put("grant of another session", May::NeverPass, with(user, user + 1, grant)).await;
        self.put("grant of another user", May::NeverPass, with(user + 1, user, grant)).await;
        let (kept, last) = grant.split_at(grant.len() - 1);
        let altered = format!("{kept}{}", if last == "A" { "Q" } else { "A" });
        self.put("altered grant", May::NeverPass, with(user, user, &altered)).await;
    }

    /// Wrong codes for those who exist, and for ever new names.
    async fn guess(&self) {
        let attacked = 3 * USERS / 4 + self.round % (USERS / 4);
        let right: Vec<_> = (-3_i32..=3).map(|step| self.code(attacked, step)).collect();
        let guess = format!("{:06}", (self.round * 7919 + self.task * 104_729) % 1_000_000);
        if !right.contains(&guess) {
            self.put("wrong code, header", May::NeverPass, with_code(attacked, &guess)).await;
            let form = form("/form", attacked, &format!("x=%20&otp={guess}"));
            self.put("wrong code, form", May::NeverPass, form).await;
        }
    }

    /// Names that nobody has, and which are never used again.
    async fn be_nobody(&self) {
        for at in 0..4 {
            let name = format!("nobody-{}-{}-{at}{}", self.task, self.round, "-".repeat(self.round % 200));
            let request = Request::post("/account").header("x-user", &name).header("toopher-otp", "123456");
            self.put("unknown user", May::NeverPass, request.body(Full::default()).unwrap()).await;
        }
        let name = format!("nobody-{}-{}", self.task, self.round);
        let request = Request::post("/pay").header("x-user", name).header("cookie", "session=1");
        self.put("unknown user's phone", May::NeverPass, request.body(Full::default()).unwrap()).await;
    }

    async fn malformed(&self) {
        let user = 3 * USERS / 4 + self.round % (USERS / 4);
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
        let once = ask("/account", user).header("toopher-otp", &value);
        let twice = ask("/account", user).header("toopher-otp", "111111").header("toopher-otp", &value);
        for request in [once, twice] {
            self.put("malformed header", May::NeverPass, request.body(Full::default()).unwrap()).await;
        }
        let forms = [
            format!("{}&otp=123456", "a".repeat(200_000)),
            "a&".repeat(30_000),
            format!("{}otp=12345", "otp=123456&".repeat(5000)),
            "%".repeat(60_000),
            "otp".into(),
        ];
        let request = form("/form", user, &forms[self.round % forms.len()]);
        self.put("huge or malformed form", May::NeverPass, request).await;
        let forged = ask("/pay", user).header("cookie", "session=1").header("toopher-challenge", "A".repeat(200));
        self.put("forged challenge", May::NeverPass, forged.body(Full::default()).unwrap()).await;
    }

    /// A phone is asked. Most of it is abandoned, some of it while it is held.
    async fn ask(&mut self, user: usize) {
        let pay = || ask("/pay", user).header("cookie", format!("session={user}"));
        if (self.round / ASKED).is_multiple_of(2) {
            let impatient = pay().header("prefer", "wait=5").body(Full::default()).unwrap();
            let held = tokio::time::timeout(Duration::from_millis(20), self.answer(impatient)).await;
            let status = held.ok().flatten().map_or(NONE, |answer| answer.status().as_u16());
            self.tally.note(PLACE, "phone asked, and left", May::Either, status, status == 200);
        }
        // It passes where the person had said yes to one that was left.
        let asked = self.put("phone asked", May::PassSometimes, pay().body(Full::default()).unwrap()).await;
        let Some(begun) = asked else { return };
        if let Some(challenge) = begun.headers().get("toopher-challenge") {
            let elsewhere = ask("/pay", user).header("cookie", "session=x").header("toopher-challenge", challenge);
            let elsewhere = elsewhere.body(Full::default()).unwrap();
            self.put("challenge of another session", May::NeverPass, elsewhere).await;
            let again = || pay().header("toopher-challenge", challenge).body(Full::default()).unwrap();
            let answer = self.put("challenge", May::PassSometimes, again()).await;
            if answer.is_some_and(|answer| answer.status() == 200) {
                self.put("used challenge", May::NeverPass, again()).await;
            }
        } else if let Some(code) = self.next_code(user) {
            // It has rung too often without a success.
            let request = pay().header("toopher-otp", code).body(Full::default()).unwrap();
            self.put("right code instead of a phone", May::Pass, request).await;
        }
    }

    fn code(&self, user: usize, step: i32) -> String {
        let at = self.clock.now().as_secs().saturating_add_signed(i64::from(step) * 30);
        totp(user).code_at(Duration::from_secs(at)).as_str().to_owned()
    }

    /// If its step is after that of the last one.
    fn next_code(&mut self, user: usize) -> Option<String> {
        let now = self.clock.now();
        let step = now.as_secs() / 30;
        (std::mem::replace(&mut self.spent[user], step) < step).then(|| totp(user).code_at(now).as_str().to_owned())
    }

    async fn put(&self, kind: &'static str, may: May, request: Ask) -> Option<Response<()>> {
        let answer = self.answer(request).await;
        let status = answer.as_ref().map(Response::status);
        let passed = status == Some(StatusCode::OK);
        self.tally.note(PLACE, kind, may, status.map_or(NONE, |status| status.as_u16()), passed);
        answer
    }

    /// Its head, once all of it has come.
    async fn answer(&self, mut request: Ask) -> Option<Response<()>> {
        *request.uri_mut() = self.url(request.uri().path()).parse().unwrap();
        let (head, body) = self.client.request(request).await.ok()?.into_parts();
        body.collect().await.ok()?;
        Some(Response::from_parts(head, ()))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn ask(path: &str, user: usize) -> http::request::Builder {
    Request::post(path).header("x-user", format!("user-{user}"))
}

fn with_code(user: usize, code: &str) -> Ask {
    let request = ask("/account", user).header("cookie", format!("session={user}")).header("toopher-otp", code);
    request.body(Full::default()).unwrap()
}

fn form(path: &str, user: usize, body: &str) -> Ask {
    ask(path, user).header("content-type", FORM).body(body.to_owned().into()).unwrap()
}
