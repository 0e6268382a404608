//! A real nginx with the configuration of `examples/forward_auth.conf`: what its `auth_request` makes of the gate's
//! answers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::any;
use common::example::Example;
use common::process::scratch;
use common::{Says, have, output};
use http::request::Parts;
use http::{HeaderName, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower_toopher::{
    ApprovalId, Approvals, BoxError, DenyReason, Factor, Pending, Profile, Rejection, SecondFactor, ToopherLayer,
    Unavailable, UserId, Verdict,
};

/// A running nginx; it ends with the test.
struct Nginx {
    process: Child,
    address: String,
}

impl Nginx {
    /// With the documented configuration, but for its three addresses.
    fn start(name: &str, gate: &str, application: &str) -> Self {
        let folder = scratch(name);
        let documented =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/forward_auth.conf")).unwrap();
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
            let mut text = documented.clone();
            for (example, ours) in
                [("127.0.0.1:8080", port.as_str()), ("127.0.0.1:3000", gate), ("127.0.0.1:3001", application)]
            {
                assert_eq!(text.matches(example).count(), 1, "{example}");
                text = text.replace(example, ours);
            }
            // One that somebody adds later.
            let added = "        location /later/ {\n            proxy_pass http://application;\n        }\n";
            text = text.replacen("        location / {", &format!("{added}\n        location / {{"), 1);
            assert!(text.contains(added));
            std::fs::write(folder.join("nginx.conf"), text).unwrap();
            if let Some(nginx) = Self::try_start(&folder, port) {
                return nginx;
            }
        }
        panic!("nginx does not start: {}", std::fs::read_to_string(folder.join("errors")).unwrap());
    }

    /// None where somebody else has taken the port meanwhile.
    fn try_start(folder: &Path, address: String) -> Option<Self> {
        let errors = std::fs::File::create(folder.join("errors")).unwrap();
        let process = Command::new("nginx")
            .args(["-p", folder.to_str().unwrap(), "-e", "stderr", "-c", folder.join("nginx.conf").to_str().unwrap()])
            // One process, which can be killed.
            .args(["-g", "master_process off;"])
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .unwrap();
        let mut this = Self { process, address };
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if this.process.try_wait().unwrap().is_some() {
                return None;
            }
            if TcpStream::connect(&this.address).is_ok() {
                return Some(this);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &'static str) -> Seen {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
        let response = client.request(request.body(Full::from(body)).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Seen { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    async fn get(&self, headers: &[(&str, &str)]) -> Seen {
        self.send("GET", "/report", headers, "").await
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Seen {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Seen {
    fn header(&self, name: impl Into<HeaderName>) -> Option<&str> {
        self.headers.get(name.into()).map(|value| value.to_str().unwrap())
    }
}

const PASSWORD: (&str, &str) = ("authorization", "Basic YWxpY2U6d29uZGVybGFuZA==");
const CHALLENGE: HeaderName = HeaderName::from_static("toopher-challenge");

fn application(example: &Example) -> String {
    let line = example.printed.lines().find_map(|line| line.strip_prefix("The application is http://"));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn the_example_behind_nginx() {
    if !have(&["nginx", "oathtool"]) {
        return;
    }
    let example = Example::start("forward_auth");
    let nginx = Nginx::start("forward_auth", example.address(), &application(&example));
    let code = |when: &str| output("oathtool", &["--totp", "-b", "-N", when, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"]);

    let nobody = nginx.get(&[]).await;
    assert_eq!((nobody.status, nobody.header(header::WWW_AUTHENTICATE)), (401, Some("Basic realm=\"forward auth\"")));
    assert_eq!(nginx.get(&[("authorization", "Basic YWxpY2U6d3Jvbmc=")]).await.status, 401);
    let asked = nginx.get(&[PASSWORD]).await;
    let challenge = "Toopher realm=\"second factor\", error=\"otp_required\"";
    assert_eq!((asked.status, asked.header(header::WWW_AUTHENTICATE)), (401, Some(challenge)));

    // What the application hears: who it is, whatever the client says of that, and no secret.
    let now = code("now");
    let otp = ("toopher-otp", now.as_str());
    let spoofs = [("x-user", "admin"), ("X-User", "root"), ("x-original-uri", "/else")];
    let headers = [&[PASSWORD, otp][..], &spoofs].concat();
    let granted = nginx.send("POST", "/report?a=b", &headers, "the body").await;
    let told = "/report?a=b for alice. Code: nothing. Password: nothing. the body\n";
    assert_eq!((granted.status, granted.text.as_str()), (200, told));

    let replayed = nginx.get(&[PASSWORD, otp]).await;
    assert!(replayed.status == 401 && replayed.header(header::WWW_AUTHENTICATE).unwrap().contains("otp_invalid"));
    assert_eq!(nginx.get(&[PASSWORD, ("toopher-otp", "000000"), ("toopher-otp", "081804")]).await.status, 400);
    // The gate is not for the outside, and a code is not spent there.
    let next = code("now + 30 seconds");
    for path in ["/verify", "/verify?x", "//verify", "/%76erify", "/x/../verify"] {
        let seen = nginx.send("GET", path, &[PASSWORD, ("toopher-otp", &next)], "").await;
        assert!(seen.status == 404, "{path} {}", seen.status);
    }
    for method in ["HEAD", "OPTIONS", "DELETE", "PUT"] {
        assert_eq!(nginx.send(method, "/", &[PASSWORD], "").await.status, 401, "{method}");
    }
    let headers = [&[PASSWORD, ("toopher-otp", next.as_str())][..], &spoofs].concat();
    let next = nginx.send("GET", "/later/", &headers, "").await;
    assert_eq!((next.status, next.text.as_str()), (200, "/later/ for alice. Code: nothing. Password: nothing. \n"));
    assert_eq!(nginx.send("GET", "/later/", &[PASSWORD], "").await.status, 401);

    for _ in 0..5 {
        assert_eq!(nginx.get(&[PASSWORD, ("toopher-otp", "ABCDEFGHJKMNPQRS")]).await.status, 401);
    }
    let throttled = nginx.get(&[PASSWORD, otp]).await;
    let wait: u64 = throttled.header(header::RETRY_AFTER).unwrap().parse().unwrap();
    assert!(throttled.status == 429 && (1..=30).contains(&wait));

    // Nobody answers for the gate: closed.
    drop(example);
    let gone = nginx.get(&[PASSWORD, otp]).await;
    assert_eq!(gone.status, 503, "{}", gone.text);
}

#[test]
fn what_the_example_says_can_be_pasted() {
    if !have(&["nginx", "oathtool", "curl", "bash"]) {
        return;
    }
    let example = Example::start("forward_auth");
    let nginx = Nginx::start("forward_auth_pasted", example.address(), &application(&example));
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/forward_auth.rs")).unwrap();
    let block = text.split("//! ```sh\n").nth(3).unwrap().split("//! ```").next().unwrap();
    let script: String = block.lines().map(|line| line.trim_start_matches("//!").to_owned() + "\n").collect();
    let script = script.replace("127.0.0.1:8080", &nginx.address).replace("curl -i", "curl -s -i");
    let printed = output("bash", &["-c", &script]);
    let statuses: Vec<_> = printed.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)).collect();
    assert_eq!(statuses, ["401", "401", "200"], "{printed}");
    assert!(printed.contains("/report for alice."), "{printed}");
}

type Answer = Result<Verdict, BoxError>;
type Answering = fn() -> Answer;

/// A gate of its own before an application that must not be reached, and an nginx before both.
async fn before(name: &str, answer: Answering, profile: Profile, hooked: bool) -> Nginx {
    let gate = ToopherLayer::new(Approvals::new(Says::new(move |_| answer())).unwrap())
        .identify(|_| UserId::new("alice").ok())
        .profile(profile)
        .approvals(|_| Some("session".into()))
        .bind(|parts| parts.headers.get("x-original-uri")?.to_str().ok().map(Into::into));
    let verify = any(|factor: SecondFactor| async move { [("x-user", factor.user().to_string())] });
    let come_in = |_: &Rejection, _: &Parts| Response::new(axum::body::Body::from("come in"));
    let gate = match hooked {
        false => Router::new().route("/verify", verify.layer(gate)),
        true => Router::new().route("/verify", verify.layer(gate.reject_with(come_in))),
    };
    let mut addresses = Vec::new();
    for router in [gate, Router::new().fallback(|| async { "in" })] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap().to_string());
        tokio::spawn(async move { axum::serve(listener, router).await });
    }
    let (name, gate, application) = (name.to_owned(), addresses[0].clone(), addresses[1].clone());
    tokio::task::spawn_blocking(move || Nginx::start(&name, &gate, &application)).await.unwrap()
}

#[tokio::test]
async fn nothing_but_a_grant_lets_anyone_in() {
    if !have(&["nginx"]) {
        return;
    }
    let pending: Answering = || {
        let pending = Pending::new().with_id(ApprovalId::new("request 1").unwrap());
        Ok(pending.with_retry_after(Some(Duration::from_secs(3))).into())
    };
    let cases: [(&str, Answering, u16); 7] = [
        ("granted", || Ok(Verdict::Granted(Factor::Totp)), 200),
        ("pending", pending, 401),
        ("wrong", || Ok(Verdict::Denied(DenyReason::WrongOtp)), 401),
        ("refused", || Ok(Verdict::Denied(DenyReason::Refused)), 401),
        ("locked", || Ok(Verdict::Denied(DenyReason::LockedOut)), 429),
        ("down", || Err("down".into()), 503),
        ("busy", || Err(Unavailable::new("busy", Duration::from_secs(9)).into()), 503),
    ];
    for (name, answer, status) in cases {
        let nginx = before(&format!("forward_auth_{name}"), answer, Profile::ForwardAuth, false).await;
        let seen = nginx.get(&[]).await;
        assert_eq!((seen.status, seen.text == "in"), (status, status == 200), "{name}");
        let wait = match name {
            "pending" => Some("3"),
            "busy" => Some("9"),
            _ => None,
        };
        assert_eq!(seen.header(header::RETRY_AFTER), wait, "{name}");
        // What the client needs to come again arrives.
        assert_eq!(seen.header(CHALLENGE).is_some(), name == "pending");
        // A hook that says 200 to everything is stopped at the gate, where it is a refusal.
        let hooked = before(&format!("forward_auth_hooked_{name}"), answer, Profile::ForwardAuth, true).await;
        assert_eq!(hooked.get(&[]).await.status, if status == 200 { 200 } else { 401 }, "{name}");
    }

    // What it is for: with the profile for clients, nginx takes 202 for a pass.
    let wrong = before("forward_auth_wrong_profile", pending, Profile::Api, false).await;
    assert_eq!(wrong.get(&[]).await.text, "in");
}
