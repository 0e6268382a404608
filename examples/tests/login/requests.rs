//! Requests that no page of the site sends.

use std::time::Duration;

use test_support::browser::PATIENCE;

use super::visitor::{Answer, JSON, Visitor, allow, with_phone};
use super::{now, pending_requests};

#[tokio::test(flavor = "multi_thread")]
async fn forms_of_other_sites_are_rejected() {
    let (with, phone) = with_phone().await;
    let site = &with.site;
    let other = Visitor::new(site).await.csrf;
    for csrf in ["", "csrf=&", "csrf=0123456789abcdef0123456789abcdef&", &format!("csrf={other}&")] {
        let mut visitor = Visitor::new(site).await;
        let twice = format!("csrf={}&csrf={}&", visitor.csrf, visitor.csrf);
        for csrf in [csrf, twice.as_str()] {
            let form = format!("{csrf}username=alice&password=wonderland");
            assert_eq!(visitor.post("/login", &form, &[]).await.status, 403, "{csrf}");
            let code = phone.code(now());
            assert_eq!(visitor.post("/login/otp", &format!("{form}&otp={code}"), &[]).await.status, 403, "{csrf}");
        }
        assert_eq!(visitor.get("/second").await.location, "/login");
    }
    // So is the form of another site that contains the token.
    let mut visitor = Visitor::new(site).await;
    let form = visitor.form(&[("username", "alice"), ("password", "wonderland")]);
    for origin in ["https://evil.example", "null", &site.0.url.replace("http://", "http://evil.example.")] {
        assert_eq!(visitor.post("/login", &form, &[("origin", origin)]).await.status, 403, "{origin}");
    }
    assert_eq!(visitor.post("/login", &form, &[("origin", &site.0.url)]).await.location, "/second");

    // A rejected form sends no request to the phone, and neither does loading a page.
    let mut pending = Visitor::pending(site, "alice", "wonderland").await;
    let stale = pending.csrf.replace(['0', '1', '2', '3'], "f");
    for (form, origin) in [("", ""), (&*format!("csrf={stale}"), ""), (&*pending.form(&[]), "https://evil.example")] {
        let headers = [("origin", origin)];
        let headers = if origin.is_empty() { &[][..] } else { &headers };
        assert_eq!(pending.post("/second", form, headers).await.status, 403, "{form}");
    }
    for path in ["/second", "/second/wait/abc", "/second/wait/abc/state", "/second/late", "/approvals/abc"] {
        pending.get(path).await;
    }
    assert_eq!(pending_requests(&phone).await, 0);
    // The code was not verified, so it is not used.
    let form = pending.form(&[("otp", &phone.code(now()))]);
    assert_eq!(pending.post("/second", &form, &[]).await.location, "/account");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_alone_gives_no_access() {
    let (with, phone) = with_phone().await;
    let mut pending = Visitor::pending(&with.site, "alice", "wonderland").await;
    assert_eq!(pending.get("/account").await.location, "/second");
    let page = pending.get("/second").await;
    for part in ["default-src 'none'", "frame-ancestors 'none'", "no-store", "nosniff", "same-origin"] {
        assert!(page.headers.contains(part) && !page.headers.contains("unsafe"), "{}", page.headers);
    }
    // A user with a second factor cannot enroll another one with the password alone.
    for path in ["/enroll", "/enroll/app", "/enroll/phone"] {
        assert_eq!(pending.get(path).await.status, 403, "{path}");
    }
    for path in ["/enroll/app", "/enroll/confirm", "/enroll/phone", "/enroll/phone/qr"] {
        let form = pending.form(&[("phrase", "a b c d"), ("code", "123456")]);
        assert_eq!(pending.post(path, &form, &[]).await.status, 403, "{path}");
    }
    for (otp, status) in [("000000", 401), ("", 401), ("1", 401), ("123456&otp=123456", 400)] {
        let form = pending.form(&[]) + "&otp=" + otp;
        assert_eq!(pending.post("/second", &form, &[]).await.status, status, "{otp}");
    }
    assert_eq!(pending.get("/account").await.location, "/second");
    // The login changes the session's id, and the id before is invalid.
    let before = pending.session();
    let form = pending.form(&[("otp", &phone.code(now()))]);
    assert_eq!(pending.post("/second", &form, &[]).await.location, "/account");
    assert_ne!(pending.session(), before);
    assert_eq!(pending.get("/account").await.status, 200);
    let after = pending.session();
    pending.cookies = vec![("session".into(), before)];
    assert_eq!(pending.get("/account").await.location, "/login");
    // After the logout the id is invalid too.
    pending.cookies = vec![("session".into(), after.clone())];
    pending.get("/account").await;
    let form = pending.form(&[]);
    assert_eq!(pending.post("/logout", &form, &[]).await.location, "/login");
    pending.cookies = vec![("session".into(), after)];
    assert_eq!(pending.get("/account").await.location, "/login");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_counts_only_in_the_session_that_requested_it() {
    let (with, phone) = with_phone().await;
    let mut alice = Visitor::pending(&with.site, "alice", "wonderland").await;
    let mut thief = Visitor::pending(&with.site, "alice", "wonderland").await;
    let form = alice.form(&[]);
    let response = alice.post("/second", &form, JSON).await;
    assert_eq!(response.status, 202);
    let body: serde_json::Value = serde_json::from_str(&response.body).unwrap();
    let token = body["approval_token"].as_str().unwrap();
    // A thief with the password requests an approval at the same time, and must type a code.
    let form = thief.form(&[]);
    let second = thief.post("/second", &form, JSON).await;
    assert!(second.status == 401 && second.body.contains("Another login of yours is waiting"), "{}", second.body);

    allow(&phone, &response).await;
    let status = format!("/approvals/{token}");
    assert!(thief.get(&status).await.body.contains("expired"));
    for form in [
        thief.form(&[("toopher_approval", token)]),
        // The same form, except for the CSRF token.
        alice.form(&[("toopher_approval", token)]).replace(&alice.csrf, &thief.csrf),
    ] {
        let rejected = thief.post("/second", &form, &[]).await;
        assert!(rejected.status == 401 && rejected.body.contains("You are not logged in"), "{}", rejected.status);
    }
    assert_eq!(thief.get("/account").await.location, "/second");

    assert!(alice.get(&status).await.body.contains("granted"));
    let form = alice.form(&[("toopher_approval", token)]);
    assert_eq!(alice.post("/second", &form, &[]).await.location, "/account");
    assert_eq!(alice.get("/account").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_cancels_a_held_login() {
    let (with, phone) = with_phone().await;
    let mut alice = Visitor::pending(&with.site, "alice", "wonderland").await;
    // The request waits for the phone. Meanwhile another tab joins the pending approval, and logs out.
    let (http, url, csrf) = (alice.http.clone(), alice.url.clone(), alice.csrf.clone());
    let mut held = Visitor { http, url, csrf, cookies: alice.cookies.clone() };
    let form = alice.form(&[]);
    let waits = tokio::spawn({
        let form = form.clone();
        async move { (held.post("/second", &form, &[("prefer", "wait=20"), JSON[0]]).await, held) }
    });
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while pending_requests(&phone).await == 0 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let joined = alice.post("/second", &form, JSON).await;
    assert_eq!((joined.status, pending_requests(&phone).await), (202, 1));
    assert_eq!(alice.post("/logout", &form, &[]).await.location, "/login");
    allow(&phone, &joined).await;
    let (answer, mut held) = waits.await.unwrap();
    assert_ne!(answer.location, "/account", "{}", answer.body);
    assert_eq!(held.get("/account").await.location, "/login");
}

/// The form contains the name again that was typed, and then has the focus in the password. A name that is too long for
/// any user is not repeated.
fn without_name(answer: Answer, user: &str) -> (u16, String, String) {
    assert_eq!(answer.body.contains(&format!("name=\"username\" value=\"{user}\"")), user.len() <= 100);
    let body = answer.body.replace(&format!("value=\"{user}\""), "value").replace("value=\"\"", "value");
    let headers = answer.headers.lines().filter(|line| !line.starts_with("content-length"));
    (answer.status, headers.collect::<Vec<_>>().join("\n"), body.replace(" autofocus", ""))
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_do_not_show_which_value_is_wrong() {
    let (with, phone) = with_phone().await;
    let mut visitor = Visitor::new(&with.site).await;
    let mut responses = Vec::new();
    let code = phone.code(now());
    // Uses the code.
    let mut alice = Visitor::new(&with.site).await;
    let form = alice.form(&[("username", "alice"), ("password", "wonderland"), ("otp", &code)]);
    assert_eq!(alice.post("/login/otp", &form, &[]).await.location, "/account");
    for (user, password, otp) in [
        ("unknown", "wonderland", "123456"),
        ("alice", "wonderland", "000000"),
        ("alice", "wrong", code.as_str()),
        ("alice", "wonderland", code.as_str()),
        ("alice", "wonderland", ""),
        ("bob", "builder", "123456"),
        ("", "", "123456"),
    ] {
        let form = visitor.form(&[("username", user), ("password", password), ("otp", otp)]);
        let answer = visitor.post("/login/otp", &form, &[]).await;
        responses.push(without_name(answer, user));
    }
    assert_eq!(responses[0].0, 403);
    assert!(responses.iter().all(|answer| *answer == responses[0]), "{responses:#?}");
    let mut responses = Vec::new();
    for (user, password) in [("unknown", "wonderland"), ("alice", "wrong"), ("", ""), (&"a".repeat(5000), "x")] {
        let form = visitor.form(&[("username", user), ("password", password)]);
        let answer = visitor.post("/login", &form, &[]).await;
        responses.push(without_name(answer, user));
    }
    assert!(responses[0].0 == 403 && responses.iter().all(|answer| *answer == responses[0]), "{responses:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_of_phrases_are_limited() {
    let (with, phone) = with_phone().await;
    let mut bob = Visitor::pending(&with.site, "bob", "builder").await;
    for attempt in 0..12 {
        // In sessions of two logins.
        if attempt == 6 {
            bob = Visitor::pending(&with.site, "bob", "builder").await;
        }
        let form = bob.form(&[("phrase", "odd ember odd ember")]);
        let expected = if attempt < 10 { 403 } else { 429 };
        assert_eq!(bob.post("/enroll/phone", &form, &[]).await.status, expected, "{attempt}");
    }
    let (_, shown) = phone.post("phrases", serde_json::json!({})).await;
    let form = bob.form(&[("phrase", shown["phrase"].as_str().unwrap())]);
    assert_eq!(bob.post("/enroll/phone", &form, &[]).await.status, 429);
    // A QR code needs no phrase.
    assert_eq!(bob.post("/enroll/phone/qr", &bob.form(&[]), &[]).await.location, "/enroll/phone/wait");
}
