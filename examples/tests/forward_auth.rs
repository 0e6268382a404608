//! nginx with the configuration of `examples/forward-auth`: how its `auth_request` treats the responses of the layer.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::map_request;
use axum::routing::any;
use http::request::Parts;
use http::{HeaderName, Response, header};
use test_support::example::Example;
use test_support::{have, output};
use tower_toopher::middleware::Profile;
use tower_toopher::test_util::ScriptedVerifier;
use tower_toopher::verify::{ApprovalId, ExtraBinding, PendingApproval, SessionId, VerifierError};
use tower_toopher::{Approvals, BoxError, DenyReason, Factor, Rejection, SecondFactor, ToopherLayer, UserId, Verdict};

use super::commands;
use super::nginx::Nginx;

const PASSWORD: (&str, &str) = ("authorization", "Basic YWxpY2U6d29uZGVybGFuZA==");
const APPROVAL: HeaderName = HeaderName::from_static("toopher-approval");

fn application(example: &Example) -> String {
    let line = example.printed.lines().find_map(|line| line.strip_prefix("The application is http://"));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn the_example_behind_nginx() {
    if !have(&["nginx", "oathtool"]) {
        return;
    }
    let example = Example::start("forward-auth");
    let nginx = Nginx::start("forward_auth", example.address(), &application(&example));
    let code = |when: &str| output("oathtool", &["--totp", "-b", "-N", when, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"]);

    let anonymous = nginx.get(&[]).await;
    let basic = "Basic realm=\"forward auth\"";
    assert_eq!((anonymous.status, anonymous.header(header::WWW_AUTHENTICATE)), (401, Some(basic)));
    assert_eq!(nginx.get(&[("authorization", "Basic YWxpY2U6d3Jvbmc=")]).await.status, 401);
    let without_code = nginx.get(&[PASSWORD]).await;
    let challenge = "Toopher realm=\"second factor\", error=\"otp_required\"";
    assert_eq!((without_code.status, without_code.header(header::WWW_AUTHENTICATE)), (401, Some(challenge)));

    // The application receives the verified user, whatever the client sends, and no secret.
    let now = code("now");
    let otp = ("toopher-otp", now.as_str());
    let spoofs = [("x-user", "admin"), ("X-User", "root"), ("x-original-uri", "/else")];
    let headers = [&[PASSWORD, otp][..], &spoofs].concat();
    // The length of the body does not matter to the service, which does not receive it.
    let upload = "x".repeat(2_000_000);
    assert_eq!(nginx.send("POST", "/report", &[PASSWORD], upload.clone()).await.status, 401);
    let granted = nginx.send("POST", "/report?a=b", &headers, upload.clone()).await;
    assert_eq!(granted.status, 200, "{}", granted.text);
    assert!(granted.text == format!("/report?a=b for alice. Code: nothing. Password: nothing. {upload}\n"));

    let replayed = nginx.get(&[PASSWORD, otp]).await;
    assert!(replayed.status == 401 && replayed.header(header::WWW_AUTHENTICATE).unwrap().contains("otp_invalid"));
    assert_eq!(nginx.get(&[PASSWORD, ("toopher-otp", "000000"), ("toopher-otp", "081804")]).await.status, 400);
    // The service itself is not reachable from outside, and no code can be used there.
    let next = code("now + 30 seconds");
    for path in ["/verify", "/verify?x", "//verify", "/%76erify", "/x/../verify"] {
        let received = nginx.send("GET", path, &[PASSWORD, ("toopher-otp", &next)], "").await;
        assert!(received.status == 404, "{path} {}", received.status);
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

    // Without the service, nginx fails closed.
    drop(example);
    let unreachable = nginx.get(&[PASSWORD, otp]).await;
    assert_eq!(unreachable.status, 503, "{}", unreachable.text);
}

#[test]
fn the_commands_of_the_header_work() {
    if !have(&["nginx", "oathtool", "curl", "bash"]) {
        return;
    }
    let example = Example::start("forward-auth");
    let nginx = Nginx::start("forward_auth_header", example.address(), &application(&example));
    let script = commands("forward-auth", 2).replace("127.0.0.1:8080", &nginx.address).replace("curl -i", "curl -s -i");
    let printed = output("bash", &["-c", &script]);
    let statuses: Vec<_> = printed.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)).collect();
    assert_eq!(statuses, ["401", "401", "200"], "{printed}");
    assert!(printed.contains("/report for alice."), "{printed}");
}

type VerifierResult = Result<Verdict, BoxError>;
type Script = fn() -> VerifierResult;

/// The extensions that approvals require.
async fn insert_extensions(mut request: Request) -> Request {
    let uri = request.headers()["x-original-uri"].to_str().unwrap().to_owned();
    request.extensions_mut().insert(SessionId::new("session").unwrap());
    request.extensions_mut().insert(ExtraBinding::new(uri).unwrap());
    request
}

/// nginx in front of a layer with this verifier, and of an application.
async fn nginx_with(name: &str, script: Script, profile: Profile, with_hook: bool) -> Nginx {
    let layer = ToopherLayer::new(Approvals::new(ScriptedVerifier::new(move |_| script())).unwrap())
        .identify(|_| UserId::new("alice").ok())
        .profile(profile)
        .approvals();
    let verify = any(|factor: SecondFactor| async move {
        // The cookie is that of a grant.
        [("x-user", factor.user().to_string()), ("set-cookie", "grant=1".to_owned())]
    });
    let accept = |_: &Rejection, _: &Parts| Response::new(axum::body::Body::from("accepted"));
    let service = match with_hook {
        false => Router::new().route("/verify", verify.layer(layer)),
        true => Router::new().route("/verify", verify.layer(layer.reject_with(accept))),
    };
    let service = service.layer(map_request(insert_extensions));
    let mut addresses = Vec::new();
    for router in [service, Router::new().fallback(|| async { "in" })] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap().to_string());
        tokio::spawn(async move { axum::serve(listener, router).await });
    }
    let (name, service, application) = (name.to_owned(), addresses[0].clone(), addresses[1].clone());
    tokio::task::spawn_blocking(move || Nginx::start(&name, &service, &application)).await.unwrap()
}

#[tokio::test]
async fn only_a_granted_request_reaches_the_application() {
    if !have(&["nginx"]) {
        return;
    }
    let pending: Script = || {
        let pending = PendingApproval::new().with_id(ApprovalId::new("request 1").unwrap());
        Ok(pending.with_retry_after(Some(Duration::from_secs(3))).into())
    };
    let cases: [(&str, Script, u16); 7] = [
        ("granted", || Ok(Verdict::Granted(Factor::Totp)), 200),
        ("pending", pending, 401),
        ("wrong", || Ok(Verdict::Denied(DenyReason::WrongOtp)), 401),
        ("denied", || Ok(Verdict::Denied(DenyReason::DeniedByUser)), 401),
        ("locked", || Ok(Verdict::Denied(DenyReason::LockedOut)), 429),
        ("down", || Err("down".into()), 503),
        ("busy", || Err(VerifierError::new("busy").with_retry_after(Duration::from_secs(9)).into()), 503),
    ];
    for (name, script, status) in cases {
        let nginx = nginx_with(&format!("forward_auth_{name}"), script, Profile::ForwardAuth, false).await;
        let received = nginx.get(&[]).await;
        assert_eq!((received.status, received.text == "in"), (status, status == 200), "{name}");
        let caching = [header::SET_COOKIE, header::CACHE_CONTROL, header::VARY].map(|name| received.header(name));
        let vary = "toopher-otp, toopher-approval, authorization, cookie";
        assert!(status != 200 || caching == [Some("grant=1"), Some("no-store"), Some(vary)], "{name} {caching:?}");
        let retry_after = match name {
            "pending" => Some("3"),
            "busy" => Some("9"),
            _ => None,
        };
        assert_eq!(received.header(header::RETRY_AFTER), retry_after, "{name}");
        // The client needs the token to repeat the request.
        assert_eq!(received.header(APPROVAL).is_some(), name == "pending");
        // The profile changes a hook's 200 into a rejection.
        let hooked = nginx_with(&format!("forward_auth_hooked_{name}"), script, Profile::ForwardAuth, true).await;
        assert_eq!(hooked.get(&[]).await.status, if status == 200 { 200 } else { 401 }, "{name}");
    }

    // The reason for the profile: with the default one, nginx accepts 202.
    let wrong = nginx_with("forward_auth_wrong_profile", pending, Profile::Api, false).await;
    assert_eq!(wrong.get(&[]).await.text, "in");
}
