//! The Toopher API, call by call: a site, a user and a phone, and everything that must be rejected.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use futures_util::future::join_all;
use serde_json::{Value, json};
use toopher_server::Message;
use toopher_server_test_support::site::{HOST, Phone, Site, server};
use toopher_server_test_support::{Clock, T};
use tower::ServiceExt;

async fn site() -> (Site, Clock) {
    let clock = Clock::from_secs(T);
    (Site::new(&server(&clock).await, &clock).await, clock)
}

fn id(value: &Value) -> &str {
    value["id"].as_str().unwrap()
}

fn outcome(value: &Value) -> (bool, bool, bool) {
    let flag = |name: &str| value[name].as_bool().unwrap();
    (flag("pending"), flag("granted"), flag("automated"))
}

const WAITING: (bool, bool, bool) = (true, false, false);
const GRANTED: (bool, bool, bool) = (false, true, false);
const DENIED: (bool, bool, bool) = (false, false, false);

#[tokio::test]
async fn pairing_by_phrase_and_approval_on_the_phone() {
    let (site, _) = site().await;
    let (phone, pairing) = site.paired("jdoe").await;
    let (_, status) = site.get(&format!("pairings/{pairing}")).await;
    assert_eq!(
        (&status["enabled"], &status["pending"], &status["user"]["name"]),
        (&json!(true), &json!(false), &json!("jdoe"))
    );
    assert!(status.get("secret").is_none());

    for (answer, expected) in [("allow", GRANTED), ("deny", DENIED)] {
        let (status, request) = site.initiate("jdoe", &[("action_name", "log in"), ("terminal_name", "laptop")]).await;
        assert_eq!((status, outcome(&request)), (200, WAITING));
        let waiting = phone.get("requests").await;
        assert_eq!(waiting.as_array().unwrap().len(), 1);
        for (key, value) in [("requester", "my site"), ("user", "jdoe"), ("terminal", "laptop"), ("action", "log in")] {
            assert_eq!(waiting[0][key], value);
        }
        assert_eq!(phone.post(&format!("requests/{}/{answer}", id(&request)), json!({})).await.0, 200);
        let (_, decided) = site.get(&format!("authentication_requests/{}", id(&request))).await;
        assert_eq!(outcome(&decided), expected);
        assert_eq!(phone.get("requests").await, json!([]));
        // The first decision is final.
        assert_eq!(phone.post(&format!("requests/{}/allow", id(&request)), json!({})).await.0, 409);
        let (_, again) = site.get(&format!("authentication_requests/{}", id(&request))).await;
        assert_eq!(outcome(&again), expected);
    }
}

#[tokio::test]
async fn a_phrase_is_used_once_in_any_case_and_expires() {
    let (site, clock) = site().await;
    let phone = Phone::register(&site.app).await;
    let phrase = |value: Value| value["phrase"].as_str().unwrap().to_owned();
    let first = phrase(phone.post("phrases", json!({})).await.1);
    let spelled = format!("  {} ", first.to_uppercase().replace(' ', "  "));
    assert_eq!(site.post("pairings/create", &[("user_name", "a"), ("pairing_token", &spelled)]).await.0, 200);
    let (status, error) = site.post("pairings/create", &[("user_name", "b"), ("pairing_phrase", &first)]).await;
    assert_eq!(
        (status, &error["error_message"]),
        (409, &json!("No pending pairing requests with specified pairing_phrase"))
    );
    let second = phrase(phone.post("phrases", json!({})).await.1);
    clock.advance(301);
    assert_eq!(site.post("pairings/create", &[("user_name", "b"), ("pairing_phrase", &second)]).await.0, 409);
}

#[tokio::test]
async fn pairing_by_qr_code() {
    let (site, _) = site().await;
    let (_, pairing) = site.post("pairings/create/qr", &[("user_name", "jdoe")]).await;
    let request = site.signed("GET", &format!("qr/pairings/{}", id(&pairing)), &[]);
    let response = site.app.clone().oneshot(request).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"image/svg+xml".parse().unwrap())
    );
    let phone = Phone::register(&site.app).await;
    assert_eq!(phone.post("claims", json!({ "claim": "a guess" })).await.0, 404);
    assert_eq!(phone.get("pairings").await, json!([]));
}

#[tokio::test]
async fn a_one_time_password_is_verified_at_once_and_accepted_once() {
    let (site, clock) = site().await;
    let (phone, pairing) = site.paired("jdoe").await;
    let code = phone.code(clock.now());
    let (status, right) = site.initiate("jdoe", &[("otp", &code)]).await;
    assert_eq!((status, outcome(&right), &right["totp_valid"]), (200, GRANTED, &json!(true)));
    for parameters in [vec![("user_name", "jdoe")], vec![("pairing_id", pairing.as_str())]] {
        let all: Vec<_> = parameters.into_iter().chain([("otp", code.as_str())]).collect();
        let (_, replayed) = site.post("authentication_requests/initiate", &all).await;
        assert_eq!((outcome(&replayed), &replayed["totp_valid"]), (DENIED, &json!(false)));
    }
    for otp in ["000000", "junk", "0818o4", "1234567890123456789012345"] {
        let (status, wrong) = site.initiate("jdoe", &[("otp", otp)]).await;
        assert_eq!((status, outcome(&wrong)), (200, DENIED), "{otp}");
        assert!(!wrong["reason"].as_str().unwrap().is_empty());
    }
    // None of them has sent a push.
    assert_eq!(phone.get("requests").await, json!([]));
}

#[tokio::test]
async fn a_code_without_leading_zeros_is_the_same_code() {
    let (site, clock) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let code = loop {
        let code = phone.code(clock.now());
        if code.starts_with('0') && !code.starts_with("00") {
            break code;
        }
        clock.advance(30);
    };
    assert_eq!(outcome(&site.initiate("jdoe", &[("otp", &code[1..])]).await.1), GRANTED);
    assert_eq!(outcome(&site.initiate("jdoe", &[("otp", &code)]).await.1), DENIED);
}

#[tokio::test]
async fn guesses_are_throttled_with_429_and_use_up_no_right_code() {
    let (site, clock) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let wrong = [("otp", "000000")];
    let burst = join_all((0..30).map(|_| site.initiate("jdoe", &wrong))).await;
    assert_eq!(burst.iter().filter(|(status, _)| *status == 200).count(), 5);
    let throttled = burst.iter().find(|(status, _)| *status == 429).unwrap();
    assert_eq!(throttled.1["error_code"], 429);
    let code = phone.code(clock.now() + Duration::from_secs(30));
    assert_eq!(site.initiate("jdoe", &[("otp", &code)]).await.0, 429);
    clock.advance(30);
    assert_eq!(outcome(&site.initiate("jdoe", &[("otp", &code)]).await.1), GRANTED);
}

#[tokio::test]
async fn fifty_calls_with_one_code_get_one_grant() {
    let clock = Clock::from_secs(T);
    let patient =
        tower_toopher::store::Throttle::new(100, Duration::from_secs(1), Duration::from_secs(1), 100).unwrap();
    let site = Site::new(&server(&clock).await.throttle(patient), &clock).await;
    let (phone, _) = site.paired("jdoe").await;
    let code = phone.code(clock.now());
    let otp = [("otp", code.as_str())];
    let answers = join_all((0..50).map(|_| site.initiate("jdoe", &otp))).await;
    assert_eq!(answers.iter().filter(|(_, answer)| answer["granted"] == true).count(), 1);
}

#[tokio::test]
async fn an_otp_answers_a_pending_request() {
    let (site, clock) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let (_, request) = site.initiate("jdoe", &[]).await;
    let path = format!("authentication_requests/{}/otp_auth", id(&request));
    let (_, wrong) = site.post(&path, &[("otp", "000000")]).await;
    assert_eq!((outcome(&wrong), &wrong["reason"]), (WAITING, &json!("Invalid OTP")));
    let code = phone.code(clock.now());
    assert_eq!(outcome(&site.post(&path, &[("otp", &code)]).await.1), GRANTED);
    // A decided request verifies no more codes and uses none up.
    let next = phone.code(clock.now() + Duration::from_secs(30));
    assert_eq!(outcome(&site.post(&path, &[("otp", &next)]).await.1), GRANTED);
    assert_eq!(outcome(&site.initiate("jdoe", &[("otp", &next)]).await.1), GRANTED);
    assert_eq!(phone.post(&format!("requests/{}/deny", id(&request)), json!({})).await.0, 409);
    assert_eq!(site.post(&path, &[]).await.0, 400);
}

#[tokio::test]
async fn requests_expire_are_cancelled_and_end_with_their_pairing() {
    let (site, clock) = site().await;
    let (phone, pairing) = site.paired("jdoe").await;
    let (_, old) = site.initiate("jdoe", &[]).await;
    clock.advance(120);
    assert_eq!(outcome(&site.get(&format!("authentication_requests/{}", id(&old))).await.1), DENIED);
    assert_eq!(phone.post(&format!("requests/{}/allow", id(&old)), json!({})).await.0, 409);

    let (_, cancelled) = site.initiate("jdoe", &[]).await;
    let (_, answer) = site.post(&format!("authentication_requests/{}/cancel", id(&cancelled)), &[]).await;
    assert_eq!((outcome(&answer), &answer["cancelled"]), (DENIED, &json!(true)));
    assert_eq!(phone.post(&format!("requests/{}/allow", id(&cancelled)), json!({})).await.0, 409);

    let (_, orphan) = site.initiate("jdoe", &[]).await;
    let (_, gone) = site.post(&format!("pairings/{pairing}"), &[("deactivated", "True")]).await;
    assert_eq!((&gone["deactivated"], &gone["enabled"]), (&json!(true), &json!(false)));
    assert_eq!(phone.post(&format!("requests/{}/allow", id(&orphan)), json!({})).await.0, 409);
    let (status, error) = site.initiate("jdoe", &[]).await;
    assert_eq!((status, &error["error_code"]), (409, &json!(707)));
    assert!(error["error_message"].as_str().unwrap().contains("pairing has been deactivated"));
}

#[tokio::test]
async fn one_of_many_concurrent_answers_decides() {
    let (site, _) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    for _ in 0..5 {
        let (_, request) = site.initiate("jdoe", &[]).await;
        let path =
            |i: usize| format!("requests/{}/{}", id(&request), if i.is_multiple_of(2) { "allow" } else { "deny" });
        let answers = join_all((0..20).map(|i| {
            let (phone, path) = (&phone, path(i));
            async move { phone.post(&path, json!({})).await }
        }))
        .await;
        let stood: Vec<_> = answers.iter().filter(|(status, _)| *status == 200).collect();
        assert_eq!(stood.len(), 1);
        let (_, decided) = site.get(&format!("authentication_requests/{}", id(&request))).await;
        assert_eq!(decided["granted"], stood[0].1["granted"]);
    }
}

#[tokio::test]
async fn rules_apply_to_their_terminal_only() {
    let (site, _) = site().await;
    let (phone, pairing) = site.paired("jdoe").await;
    let here = [("terminal_name", "laptop"), ("terminal_name_extra", "cookie"), ("action_name", "log in")];
    let with =
        |more: &[(&'static str, &'static str)]| here.iter().copied().chain(more.iter().copied()).collect::<Vec<_>>();
    let (_, request) = site.initiate("jdoe", &here).await;
    let (_, answer) = phone.post(&format!("requests/{}/allow", id(&request)), json!({ "automate": true })).await;
    assert_eq!(answer["automated_from_now_on"], true);
    assert_eq!(outcome(&site.initiate("jdoe", &here).await.1), (false, true, true));
    for other in [
        with(&[("automation_allowed", "False")]),
        with(&[("challenge_required", "true")]),
        vec![("terminal_name", "laptop"), ("terminal_name_extra", "another"), ("action_name", "log in")],
        vec![("terminal_name", "laptop"), ("action_name", "log in")],
        vec![("terminal_name", "laptop"), ("terminal_name_extra", "cookie"), ("action_name", "pay")],
    ] {
        let (_, answer) = site.initiate("jdoe", &other).await;
        assert_eq!(outcome(&answer), WAITING, "{other:?}");
        site.post(&format!("authentication_requests/{}/cancel", id(&answer)), &[]).await;
    }
    // A rule also requires the name of the terminal.
    let renamed =
        [("terminal_name", "new name"), ("requester_specified_terminal_id", "cookie"), ("action_name", "log in")];
    let (_, renamed) = site.initiate("jdoe", &renamed).await;
    assert_eq!((outcome(&renamed), &renamed["terminal"]["name"]), (WAITING, &json!("new name")));
    site.post(&format!("authentication_requests/{}/cancel", id(&renamed)), &[]).await;
    assert_eq!(outcome(&site.initiate("jdoe", &here).await.1), (false, true, true));

    let rules = phone.get("automations").await;
    assert_eq!(phone.post(&format!("automations/{}/remove", id(&rules[0])), json!({})).await.0, 200);
    assert_eq!(outcome(&site.initiate("jdoe", &here).await.1), WAITING);

    // A terminal without a discriminator, or a request that forbids it, is never automated.
    for parameters in [vec![("terminal_name", "library")], with(&[("automation_allowed", "0")])] {
        let (_, request) = site.initiate("jdoe", &parameters).await;
        let (_, answer) = phone.post(&format!("requests/{}/allow", id(&request)), json!({ "automate": true })).await;
        assert_eq!(answer["automated_from_now_on"], false);
    }
    // A rule can also deny, and ends with its pairing.
    let (_, request) = site.initiate("jdoe", &here).await;
    phone.post(&format!("requests/{}/deny", id(&request)), json!({ "automate": true })).await;
    assert_eq!(outcome(&site.initiate("jdoe", &here).await.1), (false, false, true));
    site.post(&format!("pairings/{pairing}"), &[("deactivated", "1")]).await;
    let (phone, _) = site.paired("jdoe").await;
    assert_eq!(outcome(&site.initiate("jdoe", &here).await.1), WAITING);
    assert_eq!(phone.get("automations").await, json!([]));
}

#[tokio::test]
async fn resources_of_other_sites_and_phones_do_not_exist() {
    let clock = Clock::from_secs(T);
    let server = server(&clock).await;
    let (mine, other) = (Site::new(&server, &clock).await, Site::new(&server, &clock).await);
    let (phone, pairing) = mine.paired("jdoe").await;
    let (_, request) = mine.initiate("jdoe", &[("terminal_name", "t")]).await;
    let (user, terminal) = (id(&request["user"]), id(&request["terminal"]));
    for path in [
        format!("pairings/{pairing}"),
        format!("authentication_requests/{}", id(&request)),
        format!("users/{user}"),
        format!("users/{user}/pairings"),
        format!("user_terminals/{terminal}"),
    ] {
        let (theirs, nobodys) =
            (other.get(&path).await, other.get(&path.replace(|c: char| c.is_ascii_digit(), "0")).await);
        assert!(theirs.0 >= 400 && theirs == nobodys, "{path}: {theirs:?} {nobodys:?}");
        assert_eq!(mine.get(&path).await.0, 200);
    }
    let code = phone.code(clock.now());
    assert_eq!(other.initiate("jdoe", &[("otp", &code)]).await.1["error_code"], 705);
    let by_id = [("pairing_id", pairing.as_str()), ("otp", code.as_str())];
    assert_eq!(other.post("authentication_requests/initiate", &by_id).await.1["error_code"], 601);
    assert_eq!(
        other.post(&format!("authentication_requests/{}/otp_auth", id(&request)), &[("otp", &code)]).await.0,
        404
    );
    assert_eq!(other.post(&format!("pairings/{pairing}"), &[("deactivated", "true")]).await.0, 404);
    // A user of that name at the other site is another user, whose reset does not affect this site's user.
    assert_eq!(other.post("users/reset", &[("name", "jdoe")]).await.1["error_code"], 705);
    other.post("users/create", &[("name", "jdoe")]).await;
    assert_eq!(other.post("users/reset", &[("name", "jdoe")]).await.0, 200);
    assert_eq!(mine.get(&format!("pairings/{pairing}")).await.1["enabled"], true);

    let (stranger, _) = other.paired("jdoe").await;
    assert_eq!(stranger.get("requests").await, json!([]));
    assert_eq!(stranger.post(&format!("requests/{}/allow", id(&request)), json!({})).await.0, 409);
    assert_eq!(stranger.post(&format!("pairings/{pairing}/remove"), json!({})).await.0, 404);
    assert_eq!(outcome(&mine.get(&format!("authentication_requests/{}", id(&request))).await.1), WAITING);
}

#[tokio::test]
async fn users_are_found_disabled_enabled_and_reset() {
    let (site, _) = site().await;
    let (_, user) = site.post("users/create", &[("name", "zo\u{eb} + co")]).await;
    for parameter in ["name", "user_name"] {
        let (_, found) = site.send(site.signed("GET", "users", &[(parameter, "zo\u{eb} + co")])).await;
        assert_eq!(found, json!([user]));
    }
    assert_eq!(site.send(site.signed("GET", "users", &[("name", "unknown")])).await.1, json!([]));
    site.paired("zo\u{eb} + co").await;
    for (parameter, value, enabled) in [
        ("toopher_authentication_enabled", "False", false),
        ("toopher_authentication_enabled", "true", true),
        ("disable_toopher_auth", "1", false),
        ("disable_toopher_auth", "false", true),
    ] {
        let (_, answer) = site.post(&format!("users/{}", id(&user)), &[(parameter, value)]).await;
        assert_eq!(
            (&answer["toopher_authentication_enabled"], &answer["disable_toopher_auth"]),
            (&json!(enabled), &json!(!enabled))
        );
        let (_, initiated) = site.initiate("zo\u{eb} + co", &[]).await;
        assert_eq!(initiated.get("error_code"), (!enabled).then_some(&json!(704)));
    }
    let contradiction = [("toopher_authentication_enabled", "true"), ("disable_toopher_auth", "true")];
    assert_eq!(site.post(&format!("users/{}", id(&user)), &contradiction).await.0, 400);
    assert_eq!(site.post("users/reset", &[("user_name", "zo\u{eb} + co")]).await, (200, json!({})));
    assert_eq!(site.initiate("zo\u{eb} + co", &[]).await.1["error_code"], 707);
    let (_, pairings) = site.get(&format!("users/{}/pairings", id(&user))).await;
    assert_eq!((pairings.as_array().unwrap().len(), &pairings[0]["deactivated"]), (1, &json!(true)));
    // A user who is created gets error 705 until paired. Only a call that needs the user creates one.
    assert_eq!(site.initiate("new", &[]).await.1["error_code"], 705);
    assert_eq!(site.send(site.signed("GET", "users", &[("name", "new")])).await.1, json!([]));
    site.post("users/create", &[("name", "new")]).await;
    assert_eq!(site.initiate("new", &[]).await.1["error_code"], 705);
}

#[tokio::test]
async fn recovery_codes_are_accepted_once() {
    let (site, _) = site().await;
    assert_eq!(site.post("users/activate_next_otp_list", &[("user_name", "new")]).await.1["error_code"], 705);
    site.paired("jdoe").await;
    let list = [("user_name", "jdoe"), ("create_user_if_needed", "True")];
    let (_, answer) = site.post("users/activate_next_otp_list", &list).await;
    let codes: Vec<_> = answer["otp_list"].as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect();
    assert_eq!(codes.len(), 10);
    let (_, granted) = site.initiate("jdoe", &[("otp", &codes[0].to_lowercase())]).await;
    assert_eq!((outcome(&granted), &granted["user"]["number_of_pregenerated_otps_remaining"]), (GRANTED, &json!(9)));
    assert_eq!(outcome(&site.initiate("jdoe", &[("otp", codes[0])]).await.1), DENIED);
    site.post("users/activate_next_otp_list", &list).await;
    assert_eq!(outcome(&site.initiate("jdoe", &[("otp", codes[1])]).await.1), DENIED);
}

#[tokio::test]
async fn terminals() {
    let (site, _) = site().await;
    site.paired("jdoe").await;
    let unknown = [("terminal_name", ""), ("terminal_name_extra", "cookie")];
    assert_eq!(site.initiate("jdoe", &unknown).await.1["error_code"], 706);
    for (name, extra) in [("name", "name_extra"), ("terminal_name", "requester_specified_id")] {
        let (status, terminal) =
            site.post("user_terminals/create", &[("user_name", "jdoe"), (name, "laptop"), (extra, "cookie")]).await;
        assert_eq!((status, &terminal["name"], &terminal["name_extra"]), (200, &json!("laptop"), &json!("cookie")));
        assert_eq!(site.get(&format!("user_terminals/{}", id(&terminal))).await.1["requester_specified_id"], "cookie");
    }
    let (_, request) = site.initiate("jdoe", &unknown).await;
    assert_eq!((outcome(&request), &request["terminal"]["name"]), (WAITING, &json!("laptop")));
    let path = format!("user_terminals/{}", id(&request["terminal"]));
    assert_eq!(site.post(&path, &[("name_extra", "00000000")]).await.1["name_extra"], "00000000");
    assert_eq!(site.initiate("jdoe", &unknown).await.1["error_code"], 706);
}

#[tokio::test]
async fn calls_need_a_signature_a_current_timestamp_and_a_new_nonce() {
    let (site, clock) = site().await;
    let (status, error) = site.send(Request::get("/v1/users").body(Body::empty()).unwrap()).await;
    assert_eq!(
        (status, &error),
        (401, &json!({ "error_code": 401, "error_message": "Not a valid OAuth signed request" }))
    );

    // The same call twice, and twenty times concurrently.
    let again = |request: &Request<Body>| {
        let builder = Request::builder().method(request.method()).uri(request.uri());
        builder.header("authorization", &request.headers()["authorization"]).body(Body::empty()).unwrap()
    };
    let once = site.signed("GET", "users", &[]);
    let twins: Vec<_> = (0..20).map(|_| again(&once)).collect();
    let answers = join_all(twins.into_iter().map(|request| site.send(request))).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 1);

    // Another consumer can use the same nonce.
    let other = Site { credentials: site.credentials.clone(), ..site.clone() };
    for (shift, expected) in [(0, 200), (299, 200), (300, 200), (301, 401), (100_000, 401)] {
        for sign in [1_i64, -1] {
            let request = other.signed("GET", "users", &[]);
            let now = clock.now().as_secs();
            clock.set(now.wrapping_add_signed(sign * shift));
            assert_eq!(site.send(request).await.0, expected, "{}", sign * shift);
            clock.set(now);
        }
    }

    // Altered after signing, or signed with another secret.
    let mut moved = site.signed("GET", "users", &[]);
    *moved.uri_mut() = "/v1/users?name=jdoe".parse().unwrap();
    let mut stranger = site.clone();
    stranger.credentials = toopher_oauth1::Credentials::new("unknown", "secret").unwrap();
    let mut impostor = site.clone();
    impostor.credentials = toopher_oauth1::Credentials::new(site.credentials.key(), "wrong").unwrap();
    for request in [moved, stranger.signed("GET", "users", &[]), impostor.signed("GET", "users", &[])] {
        assert_eq!(site.send(request).await.0, 401);
    }
    // A client's header does not change the server's URL.
    let mut spoofed = site.signed("GET", "users", &[]);
    spoofed.headers_mut().insert("host", "evil.test".parse().unwrap());
    spoofed.headers_mut().insert("x-forwarded-proto", "http".parse().unwrap());
    assert_eq!(site.send(spoofed).await.0, 200);
}

#[tokio::test]
async fn a_wrong_signature_uses_up_no_nonce() {
    let (site, _) = site().await;
    let request = site.signed("GET", "users", &[]);
    let header = request.headers()["authorization"].to_str().unwrap().to_owned();
    let forged = header.replace("oauth_signature=\"", "oauth_signature=\"AAAA");
    let forged = Request::get("/v1/users").header("authorization", forged).body(Body::empty()).unwrap();
    assert_eq!(site.send(forged).await.0, 401);
    assert_eq!(site.send(request).await.0, 200);
}

#[tokio::test]
async fn a_revoked_requester_is_rejected() {
    let clock = Clock::from_secs(T);
    let server = server(&clock).await;
    let site = Site::new(&server, &clock).await;
    assert!(server.revoke_requester(site.credentials.key()).await.unwrap());
    assert_eq!(site.get("users").await.0, 401);
    assert!(!server.revoke_requester("unknown").await.unwrap());
}

#[tokio::test]
async fn all_errors_have_the_format_of_the_api() {
    let (site, _) = site().await;
    let form = "application/x-www-form-urlencoded";
    let post = |path: &str, content_type: &str, body: Body| {
        Request::post(path.to_owned()).header("content-type", content_type).body(body).unwrap()
    };
    let stream =
        |chunks: Vec<Result<&'static str, std::io::Error>>| Body::from_stream(futures_util::stream::iter(chunks));
    for (request, expected) in [
        (Request::get("/v2/users").body(Body::empty()).unwrap(), 404),
        (Request::get("/").body(Body::empty()).unwrap(), 404),
        (Request::get("/v1").body(Body::empty()).unwrap(), 404),
        (Request::delete("/v1/users").body(Body::empty()).unwrap(), 405),
        (Request::get("/v1/pairings/create").body(Body::empty()).unwrap(), 405),
        (Request::put("/v1/pairings/x").body(Body::empty()).unwrap(), 405),
        (Request::get("/v1/pairings/%ff").body(Body::empty()).unwrap(), 404),
        (post("/v1/users/create", "application/json", Body::from("{\"name\":\"x\"}")), 415),
        (post("/v1/users/create", "multipart/form-data; boundary=x", Body::from("--x--")), 415),
        (post("/v1/users/create", &format!("{form}; charset=utf-16"), Body::from("name=x")), 415),
        (post("/v1/users/create", form, Body::from("x".repeat(16_385))), 413),
        (post("/v1/users/create", form, stream(vec![Ok("name="), Err(std::io::Error::other("cut"))])), 400),
        (post("/phone/v1/devices", "application/json", Body::from("{")), 400),
        (post("/phone/v1/devices", "application/json", Body::from("{\"name\":7}")), 400),
        (post("/phone/v1/devices", "text/plain", Body::from("{\"name\":\"x\"}")), 400),
        (post("/phone/v1/devices", "application/json", Body::from("{\"name\":\" \"}")), 400),
        (Request::get("/phone/v1/requests").body(Body::empty()).unwrap(), 401),
        (Request::get("/phone/v1/requests").header("authorization", "Bearer x").body(Body::empty()).unwrap(), 401),
    ] {
        let what = format!("{} {}", request.method(), request.uri());
        let (status, error) = site.send(request).await;
        assert_eq!(status, expected, "{what}");
        assert_eq!(error["error_code"].as_u64(), Some(u64::from(expected)), "{what}: {error}");
        assert!(!error["error_message"].as_str().unwrap().is_empty());
    }
    for (path, parameters) in [
        ("users/create", vec![]),
        ("users/create", vec![("name", "")]),
        ("pairings/create", vec![("user_name", "x")]),
        ("authentication_requests/initiate", vec![]),
        ("users/create", vec![("name", "a"), ("user_name", "b")]),
    ] {
        assert_eq!(site.post(path, &parameters).await.0, 400, "{path} {parameters:?}");
    }
    assert_eq!(site.post("users/create", &[("name", &"x".repeat(513))]).await.0, 400);
    // Unknown parameters are ignored.
    assert_eq!(site.post("users/create", &[("name", "x"), ("test_param", "42"), ("foo", "bar")]).await.0, 200);
}

#[tokio::test]
async fn pending_and_recent_requests_of_a_user_are_limited() {
    let (site, clock) = site().await;
    site.paired("jdoe").await;
    for _ in 0..5 {
        assert_eq!(site.initiate("jdoe", &[]).await.0, 200);
    }
    assert_eq!(site.initiate("jdoe", &[]).await.1["error_code"], 429);
    clock.advance(120);
    assert_eq!(site.initiate("jdoe", &[]).await.0, 200);
}

#[tokio::test]
async fn a_phone_is_notified_of_changes() {
    let (site, _) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let response = site.app.clone().oneshot(phone.request("GET", "events", String::new())).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut events = response.into_body().into_data_stream();
    let mut next = async || {
        use futures_util::StreamExt;
        String::from_utf8(events.next().await.unwrap().unwrap().to_vec()).unwrap()
    };
    assert!(next().await.contains("event: changed"));
    site.initiate("jdoe", &[]).await;
    assert!(next().await.contains("event: changed"));
}

#[tokio::test]
async fn cleanup_deletes_expired_rows_and_no_others() {
    let clock = Clock::from_secs(T);
    let server = server(&clock).await;
    let site = Site::new(&server, &clock).await;
    let (phone, _) = site.paired("jdoe").await;
    let code = phone.code(clock.now());
    let request = site.signed("GET", "users", &[]);
    let twin = Request::get("/v1/users?")
        .header("authorization", &request.headers()["authorization"])
        .body(Body::empty())
        .unwrap();
    assert_eq!(site.send(request).await.0, 200);
    assert_eq!(outcome(&site.initiate("jdoe", &[("otp", &code)]).await.1), GRANTED);
    clock.advance(300);
    server.cleanup().await.unwrap();
    assert_eq!(site.send(twin).await.0, 401);
    clock.set(T);
    assert_eq!(outcome(&site.initiate("jdoe", &[("otp", &code)]).await.1), DENIED);
    assert_eq!(HOST, "mfa.example.test");
}

/// A server that collects its messages.
async fn with_messages() -> (Site, Clock, std::sync::Arc<std::sync::Mutex<Vec<Message>>>) {
    let (clock, sent) = (Clock::from_secs(T), std::sync::Arc::<std::sync::Mutex<Vec<Message>>>::default());
    let keep = sent.clone();
    let server = server(&clock).await.messenger(move |message| {
        keep.lock().unwrap().push(message);
        async { Ok(()) }
    });
    (Site::new(&server, &clock).await, clock, sent)
}

#[tokio::test]
async fn pairing_by_text_message() {
    let (silent, _) = site().await;
    let sms = [("user_name", "jdoe"), ("phone_number", "+1 555 0100"), ("phone_country", "1")];
    assert_eq!(silent.post("pairings/create/sms", &sms).await.0, 403);
    assert_eq!(silent.send(silent.signed("GET", "users", &[])).await.1, json!([]));

    let (site, clock, sent) = with_messages().await;
    let (_, pairing) = site.post("pairings/create/sms", &sms).await;
    let Some(Message::Sms { number, text, .. }) = sent.lock().unwrap().pop() else { panic!("nothing was sent") };
    assert_eq!(number, "+1 555 0100");
    let claim = text.split_once("#claim=").unwrap().1.to_owned();
    let (phone, other) = (Phone::register(&site.app).await, Phone::register(&site.app).await);
    assert_eq!(phone.post("claims", json!({ "claim": claim })).await.1["id"], pairing["id"]);
    assert_eq!(other.post("claims", json!({ "claim": claim })).await.0, 404);
    assert_eq!(other.post(&format!("pairings/{}/allow", id(&pairing)), json!({})).await.0, 404);
    assert_eq!(phone.post(&format!("pairings/{}/allow", id(&pairing)), json!({})).await.0, 200);
    assert_eq!(site.get(&format!("pairings/{}", id(&pairing))).await.1["enabled"], true);

    site.post("pairings/create/sms", &sms).await;
    let Some(Message::Sms { text, .. }) = sent.lock().unwrap().pop() else { panic!("nothing was sent") };
    clock.advance(601);
    let late = text.split_once("#claim=").unwrap().1;
    assert_eq!(phone.post("claims", json!({ "claim": late })).await.0, 404);
}

/// Opens a reset link, or submits an answer.
async fn open(site: &Site, url: &str, answer: Option<&str>) -> (u16, String) {
    let (path, token) = url.strip_prefix(&format!("https://{HOST}")).unwrap().split_once('?').unwrap();
    let request = match answer {
        None => Request::get(format!("{path}?{token}")).body(Body::empty()),
        Some(answer) => Request::post(path).body(Body::from(format!("{token}&answer={answer}"))),
    };
    let response = site.app.clone().oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(response.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let status = response.status().as_u16();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_reset_link_ends_the_pairing_of_a_lost_phone() {
    let (site, clock, sent) = with_messages().await;
    let (_, pairing) = site.paired("jdoe").await;
    let path = format!("pairings/{pairing}");
    let link = async |more: &[(&str, &str)]| {
        let (status, answer) = site.post(&format!("{path}/generate_reset_link"), more).await;
        assert_eq!(status, 200);
        answer["url"].as_str().unwrap().to_owned()
    };
    let enabled = async || site.get(&path).await.1["enabled"] == true;

    let old = link(&[]).await;
    let url = link(&[]).await;
    assert_eq!(open(&site, &old, None).await.0, 404);
    assert_eq!(open(&site, &format!("{url}x"), Some("")).await.0, 404);
    // Loading a link changes nothing.
    assert!(open(&site, &url, None).await.1.contains("End the pairing") && enabled().await);
    clock.advance(24 * 3600);
    assert_eq!(open(&site, &url, Some("")).await.0, 404);
    assert!(enabled().await);

    let question = [("security_question", "<b>First & \"pet\"?"), ("security_answer", "Rex the Cat")];
    let url = link(&question).await;
    assert!(open(&site, &url, None).await.1.contains("&lt;b&gt;First &amp; &quot;pet&quot;?"));
    assert_eq!(open(&site, &url, Some("tom")).await.0, 403);
    assert!(enabled().await);
    assert_eq!(open(&site, &url, Some("+rex++the+cat")).await.0, 200);
    assert!(!enabled().await);
    assert_eq!(open(&site, &url, Some("rex+the+cat")).await.0, 404);

    // Five answers are accepted. After them, the right one is rejected, too.
    let (_, pairing) = site.paired("jdoe").await;
    let (_, answer) = site.post(&format!("pairings/{pairing}/generate_reset_link"), &question).await;
    let url = answer["url"].as_str().unwrap();
    let tries = join_all((0..20).map(|_| open(&site, url, Some("tom")))).await;
    assert_eq!(tries.iter().filter(|(status, _)| *status == 403).count(), 5);
    assert_eq!(open(&site, url, Some("rex+the+cat")).await.0, 404);

    let mail = [("reset_email", "jdoe@example.com")];
    assert_eq!(site.post(&format!("pairings/{pairing}/send_reset_link"), &mail).await, (200, json!({})));
    let Some(Message::Mail { address, text, .. }) = sent.lock().unwrap().pop() else { panic!("nothing was sent") };
    assert_eq!(address, "jdoe@example.com");
    let url = text.split_whitespace().last().unwrap();
    assert_eq!(open(&site, url, Some("")).await.0, 200);
    assert_eq!(
        site.post(&format!("pairings/{pairing}/generate_reset_link"), &[("security_question", "?")]).await.0,
        400
    );
}

#[tokio::test]
async fn a_lock_applies_to_all_factors() {
    let (site, clock) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let here = [("terminal_name", "laptop"), ("terminal_name_extra", "cookie"), ("action_name", "log in")];
    let (_, request) = site.initiate("jdoe", &here).await;
    phone.post(&format!("requests/{}/allow", id(&request)), json!({ "automate": true })).await;
    let (_, waiting) = site.initiate("jdoe", &[]).await;
    for _ in 0..5 {
        site.initiate("jdoe", &[("otp", "000000")]).await;
    }
    let code = phone.code(clock.now());
    let by_code = [("otp", code.as_str())];
    for parameters in [&here[..], &[], &by_code] {
        assert_eq!(site.initiate("jdoe", parameters).await.0, 429, "{parameters:?}");
    }
    assert_eq!(phone.post(&format!("requests/{}/allow", id(&waiting)), json!({})).await.0, 429);
    assert_eq!(site.post(&format!("authentication_requests/{}/otp_auth", id(&waiting)), &by_code).await.0, 429);
    // The user can still deny, and after the wait everything works again.
    assert_eq!(phone.post(&format!("requests/{}/deny", id(&waiting)), json!({})).await.0, 200);
    clock.advance(30);
    assert_eq!(outcome(&site.initiate("jdoe", &here).await.1), (false, true, true));
}

#[tokio::test]
async fn user_name_and_pairing_must_agree() {
    let (site, clock) = site().await;
    let (phone, bobs) = site.paired("bob").await;
    site.paired("alice").await;
    let code = phone.code(clock.now());
    let both = |user| [("user_name", user), ("pairing_id", bobs.as_str()), ("otp", code.as_str())];
    assert_eq!(site.post("authentication_requests/initiate", &both("alice")).await.0, 400);
    assert_eq!(outcome(&site.post("authentication_requests/initiate", &both("bob")).await.1), GRANTED);
}

#[tokio::test]
async fn disabled_users_and_ended_pairings_are_not_granted() {
    let (site, clock) = site().await;
    let (phone, pairing) = site.paired("jdoe").await;
    let code = phone.code(clock.now());
    for (path, parameter, undo) in [
        ("users", ("disable_toopher_auth", "true"), Some(("disable_toopher_auth", "false"))),
        ("pairings", ("deactivated", "true"), None),
    ] {
        let (_, request) = site.initiate("jdoe", &[]).await;
        let subject = if path == "users" { id(&request["user"]) } else { &pairing };
        site.post(&format!("{path}/{subject}"), &[parameter]).await;
        let answer = format!("authentication_requests/{}", id(&request));
        site.post(&format!("{answer}/otp_auth"), &[("otp", &code)]).await;
        assert_eq!(phone.post(&format!("requests/{}/allow", id(&request)), json!({})).await.0, 409);
        assert_eq!(outcome(&site.get(&answer).await.1), WAITING, "{path}");
        if let Some(undo) = undo {
            site.post(&format!("{path}/{subject}"), &[undo]).await;
        }
    }
}

#[tokio::test]
async fn a_deleted_nonce_is_never_accepted_again() {
    let clock = Clock::from_secs(T);
    let server = server(&clock).await;
    let site = Site::new(&server, &clock).await;
    let request = site.signed("GET", "users", &[]);
    let again = || {
        Request::get("/v1/users?")
            .header("authorization", &request.headers()["authorization"])
            .body(Body::empty())
            .unwrap()
    };
    assert_eq!(site.send(again()).await.0, 200);
    clock.advance(1000);
    server.cleanup().await.unwrap();
    let wide = Site { app: server.clone().clock_skew(Duration::from_secs(3600)).router(), ..site.clone() };
    assert_eq!(wide.send(again()).await.0, 401);
    clock.set(T);
    assert_eq!(site.send(again()).await.0, 401);
    server.reject_earlier_calls().await.unwrap();
}

#[tokio::test]
async fn concurrent_and_cancelled_requests_do_not_exceed_the_limits() {
    let (site, clock) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let burst = join_all((0..40).map(|_| site.initiate("jdoe", &[]))).await;
    assert_eq!(burst.iter().filter(|(status, _)| *status == 200).count(), 5);
    clock.advance(120);
    let mut asked = 0;
    for _ in 0..60 {
        let (status, request) = site.initiate("jdoe", &[]).await;
        if status == 200 {
            asked += 1;
            site.post(&format!("authentication_requests/{}/cancel", id(&request)), &[]).await;
        }
    }
    assert_eq!(asked, 25);
    // A code still works.
    assert_eq!(outcome(&site.initiate("jdoe", &[("otp", &phone.code(clock.now()))]).await.1), GRANTED);
}

#[tokio::test]
async fn a_reset_clears_locks_and_recovery_codes() {
    let (site, clock) = site().await;
    site.paired("jdoe").await;
    let (_, list) = site.post("users/activate_next_otp_list", &[("user_name", "jdoe")]).await;
    for _ in 0..5 {
        site.initiate("jdoe", &[("otp", "000000")]).await;
    }
    site.post("users/reset", &[("name", "jdoe")]).await;
    let (phone, _) = site.paired("jdoe").await;
    assert_eq!(outcome(&site.initiate("jdoe", &[("otp", list["otp_list"][0].as_str().unwrap())]).await.1), DENIED);
    assert_eq!(outcome(&site.initiate("jdoe", &[("otp", &phone.code(clock.now()))]).await.1), GRANTED);
}

#[tokio::test]
async fn rules_are_for_the_terminal_of_the_request() {
    let (site, _) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let unknown = [("terminal_name_extra", "evil")];
    site.initiate("jdoe", &[("terminal_name_extra", "evil"), ("otp", "000000")]).await;
    assert_eq!(site.initiate("jdoe", &unknown).await.1["error_code"], 706);
    // If the discriminator of a terminal changes while its request is pending, no rule is created for it.
    let (_, request) = site.initiate("jdoe", &[("terminal_name", "pc"), ("terminal_name_extra", "mine")]).await;
    site.post(&format!("user_terminals/{}", id(&request["terminal"])), &[("name_extra", "00000000")]).await;
    let (_, answer) = phone.post(&format!("requests/{}/allow", id(&request)), json!({ "automate": true })).await;
    assert_eq!((&answer["granted"], &answer["automated_from_now_on"]), (&json!(true), &json!(false)));
    let public = [("terminal_name", "pc"), ("terminal_name_extra", "00000000")];
    assert_eq!(outcome(&site.initiate("jdoe", &public).await.1), WAITING);
}

#[tokio::test]
async fn too_many_parameters_are_rejected_early() {
    let (site, _) = site().await;
    let request = Request::post(format!("/v1/users/create?{}", "a&".repeat(20_000)))
        .header("content-type", "application/x-www-form-urlencoded")
        .header(
            "authorization",
            "OAuth oauth_consumer_key=\"k\", oauth_nonce=\"n\", oauth_signature=\"s\", \
             oauth_signature_method=\"HMAC-SHA1\", oauth_timestamp=\"1\"",
        )
        .body(Body::from("b&".repeat(8_000)));
    assert_eq!(site.send(request.unwrap()).await.0, 401);
}

#[tokio::test]
async fn the_router_can_be_mounted_under_a_path() {
    let clock = Clock::from_secs(T);
    let reading = clock.clone();
    let server = toopher_server::Server::in_memory(&format!("https://{HOST}/mfa")).await.unwrap().clock(reading);
    let credentials = server.create_requester("my site").await.unwrap();
    let app = axum::Router::new().nest("/mfa", server.router());
    let base = toopher_oauth1::BaseUri::new("https", HOST, "/mfa/v1/users").unwrap();
    let header = toopher_oauth1::sign::authorization(&credentials, "GET", &base, &[], "n", T);
    let request = Request::get("/mfa/v1/users").header("authorization", header).body(Body::empty()).unwrap();
    assert_eq!(app.oneshot(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn addresses_that_a_program_could_misinterpret_are_rejected() {
    let (site, _, sent) = with_messages().await;
    for number in ["-oQ/tmp", "+1\n555", "555; rm", "tel:555", "\u{663}"] {
        let sms = [("user_name", "jdoe"), ("phone_number", number)];
        assert_eq!(site.post("pairings/create/sms", &sms).await.0, 400, "{number:?}");
    }
    let (_, pairing) = site.paired("jdoe").await;
    for address in ["-t@x", "a@b\nBcc: c@d", "a b@c", "unknown", "@", "a@b@c"] {
        let mail = [("reset_email", address)];
        assert_eq!(site.post(&format!("pairings/{pairing}/send_reset_link"), &mail).await.0, 400, "{address:?}");
    }
    assert!(sent.lock().unwrap().is_empty());
}

#[tokio::test]
async fn users_and_terminals_by_their_ids() {
    let (site, _) = site().await;
    let (_, user) = site.post("users/create", &[("name", "old name")]).await;
    site.post("users/create", &[("name", "taken")]).await;
    let phone = Phone::register(&site.app).await;
    let pair = async |more: &[(&str, &str)]| {
        let phrase = phone.post("phrases", json!({})).await.1["phrase"].as_str().unwrap().to_owned();
        let all: Vec<_> = [("pairing_phrase", phrase.as_str())].into_iter().chain(more.iter().copied()).collect();
        site.post("pairings/create", &all).await
    };
    assert_eq!(pair(&[("user_id", id(&user))]).await.1["user"]["name"], "old name");
    assert_eq!(pair(&[("user_id", id(&user)), ("user_name", "taken")]).await.0, 409);
    assert_eq!(pair(&[("user_id", "unknown")]).await.0, 409);
    let (_, pairing) = pair(&[("user_id", id(&user)), ("user_name", "new name")]).await;
    assert_eq!((&pairing["user"]["name"], &pairing["user"]["id"]), (&json!("new name"), &user["id"]));
    phone.post(&format!("pairings/{}/allow", id(&pairing)), json!({})).await;

    let (_, terminal) =
        site.post("user_terminals/create", &[("user_name", "new name"), ("name", "pc"), ("name_extra", "c")]).await;
    let (_, request) = site.initiate("new name", &[("terminal_id", id(&terminal))]).await;
    assert_eq!((&request["terminal"]["name"], &request["terminal"]["id"]), (&json!("pc"), &terminal["id"]));
    let (_, request) = site.initiate("new name", &[("terminal_id", id(&terminal)), ("terminal_name", "mac")]).await;
    assert_eq!((&request["terminal"]["name"], &request["terminal"]["id"]), (&json!("mac"), &terminal["id"]));
    site.paired("another").await;
    assert_eq!(site.initiate("another", &[("terminal_id", id(&terminal))]).await.1["error_code"], 706);
}

#[tokio::test]
async fn an_existing_authenticator() {
    let (site, clock) = site().await;
    clock.set(T);
    let hex = "3132333435363738393031323334353637383930";
    for (user, secret) in [("a", hex), ("b", "gezd gnbv gy3t qojq gezd gnbv gy3t qojq")] {
        let upgrade = [("user_name", user), ("label", "my token"), ("secret", secret)];
        let (status, pairing) = site.post("pairings/upgrade", &upgrade).await;
        assert_eq!((status, &pairing["enabled"]), (200, &json!(true)));
        assert_eq!(outcome(&site.initiate(user, &[("otp", "081804")]).await.1), GRANTED);
        assert_eq!(outcome(&site.initiate(user, &[("otp", "081804")]).await.1), DENIED);
    }
    for secret in ["", "3132", "GEZDGNBVGY3TQOJQ", "secret"] {
        let upgrade = [("user_name", "c"), ("secret", secret)];
        assert_eq!(site.post("pairings/upgrade", &upgrade).await.0, 400, "{secret}");
    }
}
