//! The pages that a site shows in a frame, without a browser: their content, their results, and what they reject.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use toopher_oauth1::{BaseUri, postback, sign};
use toopher_server_test_support::site::{HOST, Phone, Site, server};
use toopher_server_test_support::{Clock, T};
use tower::ServiceExt;

pub(super) async fn site() -> (Site, Clock) {
    let clock = Clock::from_secs(T);
    (Site::new(&server(&clock).await, &clock).await, clock)
}

pub(super) struct Answer {
    pub(super) status: u16,
    location: Option<String>,
    cookie: Option<String>,
    pub(super) body: String,
}

async fn fetch(site: &Site, request: Request<Body>) -> Answer {
    let response = site.app.clone().oneshot(request).await.unwrap();
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (status, location, cookie) = (response.status().as_u16(), header("location"), header("set-cookie"));
    let safe = header("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'"));
    assert!(safe && header("referrer-policy").as_deref() == Some("no-referrer"), "{status}");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Answer { status, location, cookie, body: String::from_utf8(body.to_vec()).unwrap() }
}

/// The URL of a page, signed by the site.
fn address(site: &Site, page: &str, more: &[(&str, &str)]) -> String {
    let expires = (site.clock.now().as_secs() + 100).to_string();
    let mut parameters = vec![("v", "2"), ("username", "jdoe"), ("session_token", "s9s7vsb"), ("expires", &expires)];
    parameters.retain(|(name, _)| !more.iter().any(|(n, _)| n == name));
    parameters.extend(more.iter().filter(|(_, value)| !value.is_empty()));
    let base = BaseUri::new("https", HOST, &format!("/v1/web/{page}")).unwrap();
    let url = sign::query(&site.credentials, &base, &parameters, &sign::nonce().unwrap(), site.clock.now().as_secs());
    url.strip_prefix(&format!("https://{HOST}")).unwrap().to_owned()
}

/// Opens a page and returns the path of its session.
pub(super) async fn open(site: &Site, page: &str, more: &[(&str, &str)], cookie: &str) -> String {
    let request = Request::get(address(site, page, more))
        .header("cookie", cookie)
        .header("referer", "https://site.test/login?x")
        .body(Body::empty())
        .unwrap();
    let answer = fetch(site, request).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    answer.location.unwrap().strip_prefix(&format!("https://{HOST}")).unwrap().to_owned()
}

pub(super) async fn look(site: &Site, session: &str) -> Answer {
    fetch(site, Request::get(session).body(Body::empty()).unwrap()).await
}

pub(super) async fn act(site: &Site, session: &str, form: &str) -> Answer {
    let request = Request::post(session).header("content-type", "application/x-www-form-urlencoded");
    fetch(site, request.body(Body::from(form.to_owned())).unwrap()).await
}

/// The result of the page, verified as a site does.
pub(super) fn outcome(site: &Site, page: &Answer) -> Option<Value> {
    let (_, after) = page.body.split_once("id=\"outcome\" data-origin=\"")?;
    let message: Value = serde_json::from_str(after.split_once("\">")?.1.split_once("</script>")?.0).unwrap();
    assert_eq!(message["status"], "toopher-api-complete");
    let payload = message["payload"].as_object().unwrap();
    let fields: Vec<_> = payload
        .iter()
        .filter(|(name, _)| *name != "toopher_sig")
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    let signature = payload["toopher_sig"].as_str().unwrap();
    assert!(postback::is_signature(site.credentials.secret(), &fields, signature));
    assert!(payload["timestamp"].as_str().unwrap().parse::<u64>().unwrap() <= site.clock.now().as_secs());
    assert_eq!(payload["session_token"], "s9s7vsb");
    Some(message["payload"].clone())
}

#[tokio::test]
async fn pairing_and_authentication_in_the_frame() {
    let (site, _) = site().await;
    let metadata = "</script><b>\"&";
    let session = open(&site, "authenticate", &[("requester_metadata", metadata), ("action_name", "Log In")], "").await;
    assert!(look(&site, &session).await.body.contains("name=\"phrase\""));
    assert!(act(&site, &session, "act=pair&phrase=no+such+words").await.body.contains("No phone shows these words"));
    let phone = Phone::register(&site.app).await;
    let phrase = phone.post("phrases", json!({})).await.1["phrase"].as_str().unwrap().replace(' ', "+");
    assert_eq!(act(&site, &session, &format!("act=pair&phrase={phrase}")).await.status, 303);
    let waiting = look(&site, &session).await;
    assert!(waiting.body.contains("id=\"pending\"") && waiting.body.contains("http-equiv=\"refresh\""));
    let pairings = phone.get("pairings").await;
    phone.post(&format!("pairings/{}/allow", pairings[0]["id"].as_str().unwrap()), json!({})).await;

    // A reload sends no second request, and shows the same number.
    let shown = number(&look(&site, &session).await).unwrap();
    for _ in 0..3 {
        assert_eq!(number(&look(&site, &session).await).as_ref(), Some(&shown));
    }
    let requests = phone.get("requests").await;
    assert_eq!((requests.as_array().unwrap().len(), &requests[0]["action"]), (1, &json!("Log In")));
    let path = format!("requests/{}/allow", requests[0]["id"].as_str().unwrap());
    assert_eq!(phone.post(&path, json!({})).await.0, 400);
    assert_eq!(phone.post(&path, json!({ "number": shown })).await.0, 200);
    let done = look(&site, &session).await;
    assert_eq!(number(&done), None);
    let payload = outcome(&site, &done).unwrap();
    assert!(payload.get("number").is_none());
    for (name, value) in [
        ("resource_type", "authentication_request"),
        ("granted", "true"),
        ("pending", "false"),
        ("automated", "false"),
        ("user_name", "jdoe"),
        ("action_name", "Log In"),
        ("user_toopher_authentication_enabled", "true"),
        ("reason_code", "0"),
        ("requester_metadata", metadata),
    ] {
        assert_eq!(payload[name], value, "{name}");
    }
}

/// The number on the page.
fn number(page: &Answer) -> Option<String> {
    let (_, after) = page.body.split_once("Type <strong>")?;
    Some(after.split_once("</strong> on your phone")?.0.to_owned())
}

#[tokio::test]
async fn a_site_can_disable_number_matching() {
    let (site, _) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let plain = address(&site, "authenticate", &[("number_matching", "false")]);
    // Only if it is signed.
    let changed = address(&site, "authenticate", &[]) + "&number_matching=false";
    let answer = fetch(&site, Request::get(changed).body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status, answer.location), (401, None));
    let answer = fetch(&site, Request::get(plain).body(Body::empty()).unwrap()).await;
    let session = answer.location.unwrap().strip_prefix(&format!("https://{HOST}")).unwrap().to_owned();
    let page = look(&site, &session).await;
    assert!(page.body.contains("Look at your phone") && number(&page).is_none());
    let requests = phone.get("requests").await;
    assert_eq!(requests[0]["number_required"], false);
    phone.post(&format!("requests/{}/allow", requests[0]["id"].as_str().unwrap()), json!({})).await;
    assert_eq!(outcome(&site, &look(&site, &session).await).unwrap()["granted"], "true");
}

#[tokio::test]
async fn the_page_posts_the_denial_after_a_wrong_number() {
    let (site, _) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    // Pages of the first protocol, too.
    let session = open(&site, "auth", &[("v", "")], "").await;
    assert!(number(&look(&site, &session).await).is_some());
    let requests = phone.get("requests").await;
    phone.post(&format!("requests/{}/allow", requests[0]["id"].as_str().unwrap()), json!({ "number": "00" })).await;
    let payload = outcome(&site, &look(&site, &session).await).unwrap();
    assert_eq!((&payload["granted"], &payload["reason"]), (&json!("false"), &json!("The number was wrong.")));
}

#[tokio::test]
async fn a_code_in_the_frame_and_a_denial_on_the_phone() {
    let (site, clock) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let session = open(&site, "authenticate", &[], "").await;
    assert!(act(&site, &session, "act=otp&otp=000000").await.body.contains("No request is pending"));
    look(&site, &session).await;
    assert!(act(&site, &session, "act=otp&otp=000000").await.body.contains("not accepted"));
    let code = phone.code(clock.now());
    let typed = format!("act=otp&otp={}+{}", &code[..3], &code[3..]);
    assert_eq!(act(&site, &session, &typed).await.status, 303);
    assert_eq!(outcome(&site, &look(&site, &session).await).unwrap()["granted"], "true");
    // The code is used up for all other pages.
    let second = open(&site, "auth", &[], "").await;
    look(&site, &second).await;
    assert!(act(&site, &second, &typed).await.body.contains("not accepted"));
    let requests = phone.get("requests").await;
    phone.post(&format!("requests/{}/deny", requests[0]["id"].as_str().unwrap()), json!({})).await;
    let payload = outcome(&site, &look(&site, &second).await).unwrap();
    assert_eq!((&payload["granted"], &payload["pending"]), (&json!("false"), &json!("false")));
}

#[tokio::test]
async fn the_browser_is_the_terminal() {
    let (site, _) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let answer = fetch(&site, Request::get(address(&site, "authenticate", &[])).body(Body::empty()).unwrap()).await;
    let cookie = answer.cookie.unwrap();
    for attribute in ["HttpOnly", "Secure", "SameSite=None", "Partitioned"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap();
    let session = open(&site, "authenticate", &[], cookie).await;
    let shown = number(&look(&site, &session).await);
    let requests = phone.get("requests").await;
    let path = format!("requests/{}/allow", requests[0]["id"].as_str().unwrap());
    assert_eq!(phone.post(&path, json!({ "automate": true, "number": shown })).await.1["automated_from_now_on"], true);
    let same = open(&site, "authenticate", &[], cookie).await;
    assert_eq!(outcome(&site, &look(&site, &same).await).unwrap()["automated"], "true");
    for other in ["", "__Host-toopher_terminal=short", &format!("{cookie}x")] {
        let session = open(&site, "authenticate", &[], other).await;
        assert!(outcome(&site, &look(&site, &session).await).is_none());
    }
}

#[tokio::test]
async fn errors_are_posted_with_a_signature() {
    let (site, _) = site().await;
    let session = open(&site, "authenticate", &[("allow_inline_pairing", "False")], "").await;
    assert_eq!(outcome(&site, &look(&site, &session).await).unwrap()["error_code"], "705");
    assert!(act(&site, &session, "act=pair&phrase=x").await.body.contains("error_code"));
    site.paired("jdoe").await;
    let (_, users) = site.send(site.signed("GET", "users", &[("name", "jdoe")])).await;
    site.post(&format!("users/{}", users[0]["id"].as_str().unwrap()), &[("disable_toopher_auth", "true")]).await;
    let session = open(&site, "authenticate", &[], "").await;
    let payload = outcome(&site, &look(&site, &session).await).unwrap();
    assert_eq!((&payload["error_code"], payload.get("granted")), (&json!("704"), None));
}

/// The Java, .NET and Ruby clients call `manage_user` the page for pairing.
#[tokio::test]
async fn the_settings_page_pairs_a_user_without_a_phone() {
    let (site, clock) = site().await;
    let session = open(&site, "manage_user", &[], "").await;
    let page = look(&site, &session).await;
    assert!(page.body.contains("name=\"phrase\"") && outcome(&site, &page).is_none());
    assert!(act(&site, &session, "act=pair&phrase=no+such+words").await.body.contains("No phone shows these words"));
    // Denied on the phone, and then allowed.
    for (decision, expected) in [("deny", None), ("allow", Some("pairing"))] {
        let phone = Phone::register(&site.app).await;
        let phrase = phone.post("phrases", json!({})).await.1["phrase"].as_str().unwrap().replace(' ', "+");
        assert_eq!(act(&site, &session, &format!("act=pair&phrase={phrase}")).await.status, 303);
        let waiting = look(&site, &session).await;
        assert!(waiting.body.contains("id=\"pending\"") && outcome(&site, &waiting).is_none());
        let id = phone.get("pairings").await[0]["id"].as_str().unwrap().to_owned();
        assert_eq!(phone.post(&format!("pairings/{id}/{decision}"), json!({})).await.0, 200);
        let page = look(&site, &session).await;
        let payload = outcome(&site, &page);
        assert_eq!(payload.as_ref().map(|payload| payload["resource_type"].as_str().unwrap()), expected);
        if let Some(payload) = payload {
            assert_eq!((&payload["id"], &payload["enabled"]), (&json!(id), &json!("true")));
        } else {
            assert!(page.body.contains("The pairing was denied") && page.body.contains("name=\"phrase\""));
        }
    }
    // The next page shows the phone, and removes it only with its code.
    let session = open(&site, "manage_user", &[], "").await;
    let page = look(&site, &session).await;
    assert!(page.body.contains("Your phones") && outcome(&site, &page).is_none());

    // A second phone of a paired user.
    site.paired("paired").await;
    clock.advance(1);
    let session = open(&site, "manage_user", &[("username", "paired")], "").await;
    let other = Phone::register(&site.app).await;
    let phrase = other.post("phrases", json!({})).await.1["phrase"].as_str().unwrap().replace(' ', "+");
    let refused = act(&site, &session, &format!("act=pair&phrase={phrase}")).await;
    assert!(refused.status == 200 && refused.body.contains("does not support"));
    assert_eq!(other.get("pairings").await, json!([]));
    // The page for unpairing offers no pairing, and neither does the settings page to a disabled user.
    let unpair = open(&site, "unpair", &[("username", "new"), ("allow_inline_pairing", "true")], "").await;
    assert_eq!(outcome(&site, &look(&site, &unpair).await).unwrap()["resource_type"], "requester_user");
    assert!(act(&site, &unpair, "act=pair&phrase=x").await.body.contains("requester_user"));
    let (_, user) = site.post("users/create", &[("name", "disabled")]).await;
    site.post(&format!("users/{}", user["id"].as_str().unwrap()), &[("disable_toopher_auth", "true")]).await;
    let session = open(&site, "manage_user", &[("username", "disabled")], "").await;
    let payload = outcome(&site, &look(&site, &session).await).unwrap();
    assert_eq!(payload["toopher_authentication_enabled"], "false");
}

/// The errors of the frame are those of the call for the same user.
#[tokio::test]
async fn pages_without_pairing_post_the_error_of_the_call() {
    let (site, _) = site().await;
    let pages = [("authenticate", "False"), ("auth", ""), ("auth-v2", "")];
    for (page, inline) in pages {
        let new = open(&site, page, &[("username", "new"), ("allow_inline_pairing", inline)], "").await;
        assert_eq!(outcome(&site, &look(&site, &new).await).unwrap()["error_code"], "705", "{page}");
    }
    assert_eq!(site.initiate("new", &[]).await.1["error_code"], 705);
    let (_, pairing) = site.paired("jdoe").await;
    site.post(&format!("pairings/{pairing}"), &[("deactivated", "true")]).await;
    assert_eq!(site.initiate("jdoe", &[]).await.1["error_code"], 707);
    for (page, inline) in pages {
        let ended = open(&site, page, &[("allow_inline_pairing", inline)], "").await;
        let payload = outcome(&site, &look(&site, &ended).await).unwrap();
        assert_eq!(payload["error_code"], "707", "{page}");
        assert!(payload["error_message"].as_str().unwrap().contains("pairing has been deactivated"));
    }
    // The first protocol, too. A site can ask for pairing in the newer one.
    let first = open(&site, "auth", &[("v", "")], "").await;
    assert_eq!(outcome(&site, &look(&site, &first).await).unwrap()["error_code"], "707");
    let inline = open(&site, "auth", &[("allow_inline_pairing", "true")], "").await;
    assert!(look(&site, &inline).await.body.contains("name=\"phrase\""));
}

#[tokio::test]
async fn the_page_for_errors_shows_no_text_of_its_url() {
    let (site, _) = site().await;
    for path in
        ["/v1/web/error.html?message=%3Cb%3Ecall+0900", "/web/error.html?message=call+0900", "/v1/web/error.html"]
    {
        let page = look(&site, path).await;
        assert!(page.status == 200 && page.body.contains("could not create the address"));
        assert!(!page.body.contains("0900") && !page.body.contains("toopher_sig"));
    }
}

#[tokio::test]
async fn the_first_factor_alone_cannot_change_the_second() {
    let (site, clock) = site().await;
    let (phone, pairing) = site.paired("jdoe").await;
    let enabled = async || site.get(&format!("pairings/{pairing}")).await.1["enabled"] == true;
    let session = open(&site, "manage_user", &[], "").await;
    assert!(look(&site, &session).await.body.contains(&pairing));
    for form in ["act=remove", "act=remove&otp=000000", "act=pair&phrase=x", "act=otp&otp=000000", "", "act=disable"] {
        let form = format!("{form}&pairing={pairing}");
        assert_eq!(act(&site, &session, &form).await.status, 200, "{form}");
        assert!(enabled().await);
    }
    // Pairing a second phone on a page, with the first factor alone, changes nothing.
    let other = Phone::register(&site.app).await;
    let phrase = other.post("phrases", json!({})).await.1["phrase"].as_str().unwrap().replace(' ', "+");
    let pair = open(&site, "pair", &[], "").await;
    assert_eq!(act(&site, &pair, &format!("act=pair&phrase={phrase}")).await.status, 303);
    assert_eq!(other.get("pairings").await, json!([]));

    let code = phone.code(clock.now());
    assert_eq!(act(&site, &session, &format!("act=remove&pairing={pairing}&otp={code}")).await.status, 303);
    assert!(!enabled().await);
    let payload = outcome(&site, &look(&site, &session).await).unwrap();
    assert_eq!((&payload["resource_type"], &payload["name"]), (&json!("requester_user"), &json!("jdoe")));
}

#[tokio::test]
async fn a_page_needs_a_signed_unused_and_current_url() {
    let (site, clock) = site().await;
    let get = |address: String| Request::get(address).body(Body::empty()).unwrap();
    let once = address(&site, "authenticate", &[]);
    assert_eq!(fetch(&site, get(once.clone())).await.status, 303);
    for (address, expected) in [
        (once.clone(), 401),
        (address(&site, "authenticate", &[]).replace("username=jdoe", "username=eve"), 401),
        (address(&site, "authenticate", &[]) + "&terminal_name=x", 401),
        (address(&site, "authenticate", &[]).replace("/authenticate", "/pair"), 401),
        ("/v1/web/authenticate?v=2&username=jdoe".into(), 401),
        (address(&site, "authenticate", &[("expires", "1111111109")]), 403),
        (address(&site, "authenticate", &[("expires", "soon")]), 400),
        (address(&site, "authenticate", &[("username", "")]), 400),
        ("/v1/web/session/guess".into(), 404),
        ("/web/session/guess".into(), 404),
    ] {
        let answer = fetch(&site, get(address.clone())).await;
        assert_eq!(answer.status, expected, "{address}");
        assert!(answer.body.contains("cannot be shown") && !answer.body.contains("toopher_sig"));
    }
    // The first protocol has no `v`, another name for the expiry, and an unsigned name of the terminal.
    let expires = (clock.now().as_secs() + 60).to_string();
    let first = address(&site, "auth", &[("v", ""), ("expires", ""), ("ttl", &expires)]) + "&terminal_name=my+pc";
    let session = fetch(&site, get(first)).await.location.unwrap();
    site.paired("jdoe").await;
    let page = look(&site, session.strip_prefix(&format!("https://{HOST}")).unwrap()).await;
    assert!(number(&page).is_some());

    // A page expires.
    let session = open(&site, "authenticate", &[], "").await;
    clock.advance(600);
    assert_eq!(look(&site, &session).await.status, 404);
}

#[tokio::test]
async fn ambiguous_encodings_of_a_signed_name_are_rejected() {
    let (site, _) = site().await;
    let signed = address(&site, "authenticate", &[("username", "jos\u{fffd}")]);
    for other in ["%E9", "%E8", "%ff"] {
        let changed = signed.replace("%EF%BF%BD", other);
        assert_ne!(changed, signed);
        assert_eq!(fetch(&site, Request::get(changed).body(Body::empty()).unwrap()).await.status, 400, "{other}");
    }
    assert_eq!(fetch(&site, Request::get(signed).body(Body::empty()).unwrap()).await.status, 303);
    // The part that is not signed, too.
    let first = address(&site, "auth", &[("v", "")]) + "&terminal_name=%E9";
    assert_eq!(fetch(&site, Request::get(first).body(Body::empty()).unwrap()).await.status, 400);
}

#[tokio::test]
async fn a_pairing_from_a_page_is_not_kept_for_later() {
    let (site, clock) = site().await;
    let thief = Phone::register(&site.app).await;
    let phrase = thief.post("phrases", json!({})).await.1["phrase"].as_str().unwrap().replace(' ', "+");
    let session = open(&site, "pair", &[], "").await;
    assert_eq!(act(&site, &session, &format!("act=pair&phrase={phrase}")).await.status, 303);
    let sleeper = thief.get("pairings").await[0]["id"].as_str().unwrap().to_owned();
    let (phone, pairing) = site.paired("jdoe").await;
    assert_eq!(thief.post(&format!("pairings/{sleeper}/allow"), json!({})).await.0, 404);
    // Neither is any other pairing.
    let (_, late) = site.post("pairings/create/qr", &[("user_name", "new")]).await;
    let other = Phone::register(&site.app).await;
    let words = other.post("phrases", json!({})).await.1["phrase"].as_str().unwrap().to_owned();
    let (_, slow) = site.post("pairings/create", &[("user_name", "slow"), ("pairing_phrase", &words)]).await;
    clock.advance(601);
    assert_eq!(other.post(&format!("pairings/{}/allow", slow["id"].as_str().unwrap()), json!({})).await.0, 404);
    assert_eq!(late["pending"], true);
    assert_eq!(site.get(&format!("pairings/{pairing}")).await.1["enabled"], true);
    drop(phone);
}

#[tokio::test]
async fn a_code_removes_only_its_phone_and_decided_pages_use_up_no_code() {
    let (site, clock) = site().await;
    let (first, pairing) = site.paired("jdoe").await;
    clock.advance(1);
    let (second, newer) = site.paired("jdoe").await;
    let session = open(&site, "manage_user", &[], "").await;
    let code = second.code(clock.now());
    let removed = act(&site, &session, &format!("act=remove&pairing={pairing}&otp={code}")).await;
    assert!(removed.body.contains("not accepted"));
    assert_eq!(site.get(&format!("pairings/{pairing}")).await.1["enabled"], true);
    assert!(act(&site, &session, &format!("act=remove&pairing=x&otp={code}")).await.body.contains("is not paired"));

    let page = open(&site, "authenticate", &[], "").await;
    look(&site, &page).await;
    clock.advance(120);
    let code = second.code(clock.now());
    let late = act(&site, &page, &format!("act=otp&otp={code}")).await;
    assert_eq!(outcome(&site, &late).unwrap()["granted"], "false");
    assert_eq!(site.initiate("jdoe", &[("otp", &code)]).await.1["granted"], true);
    let decided = outcome(&site, &look(&site, &page).await).unwrap();
    clock.advance(100);
    assert_eq!(outcome(&site, &look(&site, &page).await).unwrap(), decided);
    assert!(first.secret != second.secret && pairing != newer);
}

#[tokio::test]
async fn a_signed_site_origin_is_the_only_one() {
    let (site, _) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    for (named, referrer, expected) in [
        ("https://site.test", None, Ok("https://site.test")),
        ("HTTPS://Site.test:443/login", Some("https://site.test/login?x"), Ok("https://site.test")),
        ("https://site.test", Some("https://site.test:444/"), Err(403)),
        ("https://site.test", Some("http://site.test/"), Err(403)),
        ("https://site.test", Some("https://evil.test/site.test"), Err(403)),
        ("site.test", None, Err(400)),
        ("*", None, Err(400)),
        ("https://*", None, Err(400)),
        ("https://site.test;x", None, Err(400)),
        ("", Some("https://*"), Ok("*")),
        ("", Some("https://evil.test,x/"), Ok("*")),
    ] {
        let mut request = Request::get(address(&site, "authenticate", &[("site_origin", named)]));
        if let Some(referrer) = referrer {
            request = request.header("referer", referrer);
        }
        let answer = fetch(&site, request.body(Body::empty()).unwrap()).await;
        let opened = answer.location.ok_or(answer.status);
        assert_eq!(opened.as_ref().err(), expected.as_ref().err(), "{named} {referrer:?}");
        let (Ok(session), Ok(origin)) = (opened, expected) else { continue };
        let session = session.strip_prefix(&format!("https://{HOST}")).unwrap().to_owned();
        look(&site, &session).await;
        let requests = phone.get("requests").await;
        phone.post(&format!("requests/{}/deny", requests[0]["id"].as_str().unwrap()), json!({})).await;
        let response = site.app.clone().oneshot(Request::get(&session).body(Body::empty()).unwrap()).await.unwrap();
        let policies: Vec<_> = response.headers().get_all("content-security-policy").iter().collect();
        assert_eq!(policies.contains(&&format!("frame-ancestors {origin}").parse().unwrap()), origin != "*");
        let page = response.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8(page.to_vec()).unwrap().contains(&format!("data-origin=\"{origin}\"")));
    }
}

#[tokio::test]
async fn without_scripts_a_page_reloads_unless_the_user_types() {
    let (site, _) = site().await;
    site.paired("jdoe").await;
    let session = open(&site, "authenticate", &[], "").await;
    let refreshes = |page: &Answer| page.body.contains("http-equiv=\"refresh\"");
    assert!(refreshes(&look(&site, &session).await));
    assert!(!refreshes(&look(&site, &format!("{session}?code")).await));
    assert!(!refreshes(&act(&site, &session, "act=otp&otp=000000").await));
}

#[tokio::test]
async fn a_page_is_only_shown_in_the_frame_of_its_site() {
    let (site, _) = site().await;
    site.paired("jdoe").await;
    let session = open(&site, "authenticate", &[], "").await;
    let top = Request::get(&session).header("sec-fetch-dest", "document").body(Body::empty()).unwrap();
    assert_eq!(fetch(&site, top).await.status, 403);
    let request = Request::get(&session).body(Body::empty()).unwrap();
    let response = site.app.clone().oneshot(request).await.unwrap();
    let policies: Vec<_> = response.headers().get_all("content-security-policy").iter().collect();
    assert!(policies.contains(&&"frame-ancestors https://site.test".parse().unwrap()), "{policies:?}");
    let head = Request::head(address(&site, "authenticate", &[])).body(Body::empty()).unwrap();
    assert_eq!(site.app.clone().oneshot(head).await.unwrap().status(), 405);
    // Ten phrases are compared.
    let session = open(&site, "pair", &[("username", "new")], "").await;
    for _ in 0..10 {
        assert!(act(&site, &session, "act=pair&phrase=no+such").await.body.contains("No phone shows"));
    }
    assert!(act(&site, &session, "act=pair&phrase=no+such").await.body.contains("Too many"));
    assert_eq!(act(&site, &session, &"x".repeat(16_385)).await.status, 413);
}

#[tokio::test]
async fn invisible_characters_in_names_are_marked() {
    let (site, _) = site().await;
    for (name, shown) in [
        ("jd\u{ad}oe", "jd\u{fffd}oe"),
        ("jd\u{3164}oe\u{2800}\u{e0041}", "jd\u{fffd}oe\u{fffd}\u{fffd}"),
        (" jdoe  x ", "\u{2423}jdoe \u{2423}x\u{2423}"),
        ("Zoe\u{308} <b>", "Zoe\u{308} &lt;b&gt;"),
    ] {
        let session = open(&site, "pair", &[("username", name)], "").await;
        let page = look(&site, &session).await.body;
        assert!(page.contains(&format!("<strong>{shown}</strong> for <strong>my site</strong>")), "{page}");
    }
}

#[tokio::test]
async fn further_pages_give_no_further_guesses() {
    let (site, _) = site().await;
    for _ in 0..2 {
        let session = open(&site, "pair", &[], "").await;
        for _ in 0..10 {
            assert!(act(&site, &session, "act=pair&phrase=no+such").await.body.contains("No phone shows"));
        }
    }
    let phone = Phone::register(&site.app).await;
    let words = phone.post("phrases", json!({})).await.1["phrase"].as_str().unwrap().to_owned();
    let session = open(&site, "pair", &[], "").await;
    let refused = act(&site, &session, &format!("act=pair&phrase={}", words.replace(' ', "+"))).await;
    assert!(refused.body.contains("Too many attempts"), "{}", refused.body);
    assert_eq!(phone.get("pairings").await, json!([]));
}

/// A browser sends no such host. PostgreSQL could not index it.
#[tokio::test]
async fn a_site_with_an_overlong_name_is_not_stored() {
    let (site, _) = site().await;
    site.paired("jdoe").await;
    let referrer = format!("https://{}.test/", "x1".repeat(2000));
    let request = Request::get(address(&site, "authenticate", &[])).header("referer", &referrer).body(Body::empty());
    let opened = fetch(&site, request.unwrap()).await.location.unwrap();
    assert_eq!(look(&site, opened.strip_prefix(&format!("https://{HOST}")).unwrap()).await.status, 200);
    let page = address(&site, "authenticate", &[("site_origin", referrer.trim_end_matches('/'))]);
    assert_eq!(fetch(&site, Request::get(page).body(Body::empty()).unwrap()).await.status, 400);
}
