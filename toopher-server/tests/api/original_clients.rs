//! What the original clients send and read differently from the standards, and what an intermediary could make of it.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use toopher_oauth1::{BaseUri, Credentials, sign};
use toopher_server_test_support::site::{HOST, Phone, Site, server};
use toopher_server_test_support::{Clock, T};
use tower::ServiceExt;

async fn site() -> (Site, Clock) {
    let clock = Clock::from_secs(T);
    (Site::new(&server(&clock).await, &clock).await, clock)
}

fn encode(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// A call with a signature over these parameters, and any query and form.
fn call(site: &Site, method: &str, path: &str, signed: &[(&str, &str)], query: &str, form: &str) -> Request<Body> {
    let base = BaseUri::new("https", HOST, &format!("/v1/{path}")).unwrap();
    let now = site.clock.now().as_secs();
    let header = sign::authorization(&site.credentials, method, &base, signed, &sign::nonce().unwrap(), now);
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    let request = Request::builder().method(method).uri(format!("/v1/{path}{query}")).header("authorization", header);
    let content_type = "application/x-www-form-urlencoded";
    request.header("content-type", content_type).body(Body::from(form.to_owned())).unwrap()
}

async fn names(site: &Site) -> Vec<String> {
    let (_, users) = site.get("users").await;
    users.as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn json_names_its_charset() {
    let (site, _) = site().await;
    let phone = Phone::register(&site.app).await;
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    for request in [
        site.signed("POST", "users/create", &[("name", "zo\u{eb}")]),
        site.signed("GET", "users", &[]),
        site.signed("POST", "users/create", &[]),
        site.signed("POST", "users/reset", &[("name", "unknown")]),
        site.signed("GET", "pairings/unknown", &[]),
        phone.request("GET", "pairings", String::new()),
        phone.request("POST", "devices", json!({ "name": "zo\u{eb}" }).to_string()),
        phone.request("POST", "devices", "{".into()),
        phone.request("POST", "requests/unknown/allow", "{}".into()),
        get("/v1/users"),
        get("/v1/unknown"),
        get("/unknown"),
        get("/"),
        get("/phone/v1/unknown"),
        get("/phone/v1/pairings"),
        get("/v1/pairings/create"),
        Request::delete("/v1/users").body(Body::empty()).unwrap(),
        Request::put("/phone/v1/devices").body(Body::empty()).unwrap(),
        Request::post("/v1/users/create").header("content-type", "text/plain").body("x".into()).unwrap(),
        Request::post("/v1/users/create").body("x".repeat(70_000).into()).unwrap(),
    ] {
        let what = format!("{} {}", request.method(), request.uri());
        let response = site.app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8", "{what}");
    }
}

/// .NET signs each parameter once, and sends it encoded in the form and without encoding in the query.
#[tokio::test]
async fn dot_net_sends_each_parameter_twice() {
    let (site, _) = site().await;
    for (value, sent) in [
        ("+15555555555", "+15555555555"),
        ("a&b", "a&b"),
        ("a&name=b", "a&name=b"),
        ("a=b c", "a=b%20c"),
        ("100 %", "100%20%25"),
        ("zo\u{eb}", "zo%C3%AB"),
        ("a#b", "a#b"),
    ] {
        let signed = [("user_name", "u"), ("name", value), ("name_extra", value)];
        let query = format!("user_name=u&name={sent}&name_extra={sent}");
        // No fragment is sent.
        let query = query.split('#').next().unwrap();
        let request = call(&site, "POST", "user_terminals/create", &signed, query, &encode(&signed));
        let (status, terminal) = site.send(request).await;
        assert_eq!(
            (status, &terminal["name"], &terminal["name_extra"]),
            (200, &json!(value), &json!(value)),
            "{query}"
        );
        assert_eq!(terminal["user"]["name"], "u");
    }
    // A query that does not repeat the form, and a form that is not signed.
    let signed = [("name", "victim")];
    for (query, form) in [
        ("name=eve", "name=victim"),
        ("name=victim&user_name=eve", "name=victim"),
        ("user_name=eve", "name=victim"),
        ("name=victim", "name=eve"),
        ("name=victim", "name=victim&user_name=eve"),
        ("name=victim&name=eve", "name=victim"),
        ("name=victim#", "name=eve"),
        ("oauth_nonce=other", "name=victim"),
    ] {
        let request = call(&site, "POST", "users/create", &signed, query, form);
        assert_eq!(site.send(request).await.0, 401, "{query} {form}");
    }
    assert_eq!(names(&site).await, ["u"]);
    // A plus in the query of a call without a form.
    site.post("users/create", &[("name", "a+b c")]).await;
    let (_, found) = site.send(call(&site, "GET", "users", &[("name", "a+b c")], "name=a+b%20c", "")).await;
    assert_eq!(found[0]["name"], "a+b c");
    let (_, found) = site.send(call(&site, "GET", "users", &[("name", "a b c")], "name=a+b%20c", "")).await;
    assert_eq!(found, json!([]));
}

/// A nonce is used once, whatever the spelling of the call that has it.
#[tokio::test]
async fn the_spellings_of_a_call_share_its_nonce() {
    let (site, _) = site().await;
    let signed = [("name", "a+b")];
    let first = call(&site, "GET", "users", &signed, "name=a+b", "");
    let header = first.headers()["authorization"].clone();
    assert_eq!(site.send(first).await.0, 200);
    for query in ["name=a+b", "name=a%2Bb"] {
        let mut again = call(&site, "GET", "users", &signed, query, "");
        again.headers_mut().insert("authorization", header.clone());
        assert_eq!(site.send(again).await.0, 401, "{query}");
    }
}

/// PHP 2.0 signs two empty parameters that it does not send.
#[tokio::test]
async fn php_signs_parameters_that_it_does_not_send() {
    let (site, _) = site().await;
    let (_, pairing) = site.paired("jdoe").await;
    let link = format!("pairings/{pairing}/generate_reset_link");
    let signed = [("security_question", ""), ("security_answer", "")];
    let (status, answer) = site.send(call(&site, "POST", &link, &signed, "", "")).await;
    assert!(status == 200 && answer["url"].as_str().unwrap().contains("reset_authorization="), "{answer}");
    // As .NET sends them.
    let empty = "security_question=&security_answer=";
    assert_eq!(site.send(call(&site, "POST", &link, &signed, empty, empty)).await.0, 200);
    // No others, no values, and for this call only.
    for (form, signed) in [
        ("security_question=q&security_answer=a", &signed[..]),
        ("security_question=", &signed),
        ("foo=bar", &signed),
        ("", &signed[..1]),
        ("", &[("security_question", "q"), ("security_answer", "a")]),
        ("", &[("security_question", ""), ("security_answer", ""), ("foo", "")]),
    ] {
        assert_eq!(site.send(call(&site, "POST", &link, signed, "", form)).await.0, 401, "{form} {signed:?}");
    }
    for path in [format!("pairings/{pairing}"), format!("pairings/{pairing}/send_reset_link"), "users/create".into()] {
        assert_eq!(site.send(call(&site, "POST", &path, &signed, "", "")).await.0, 401, "{path}");
    }
    assert_eq!(site.get(&format!("pairings/{pairing}")).await.1["enabled"], true);
}

/// Java signs a replacement character for each byte outside ASCII, so the signature is valid for other bytes as well.
#[tokio::test]
async fn a_call_that_is_not_utf8_cannot_be_altered() {
    let (site, _) = site().await;
    let text = "jos\u{fffd}";
    for (path, name) in [
        ("users/create", "name"),
        ("users/create", "user_name"),
        ("authentication_requests/initiate", "user_name"),
        ("authentication_requests/initiate", "pairing_id"),
        ("authentication_requests/initiate", "terminal_name_extra"),
        ("authentication_requests/initiate", "otp"),
        ("users/reset", "name"),
        ("users/create", "foo"),
    ] {
        for bytes in ["%E9", "%E8", "%ff", "%C3", "%ED%A0%80", "\u{fffd}%E9"] {
            let form = format!("{name}=jos{bytes}");
            let signed = text.replace('\u{fffd}', &String::from_utf8_lossy(&percent(bytes)));
            let (status, error) = site.send(call(&site, "POST", path, &[(name, &signed)], "", &form)).await;
            assert_eq!(
                (status, &error["error_message"]),
                (400, &json!("A parameter is not in UTF-8.")),
                "{path} {form}"
            );
            let (status, _) = site.send(call(&site, "POST", path, &[(name, &signed)], &form, "")).await;
            assert_eq!(status, 400, "{path}?{form}");
        }
    }
    // An altered name of a parameter.
    let (status, _) = site.send(call(&site, "POST", "users/create", &[("\u{fffd}", "x")], "", "%E9=x")).await;
    assert_eq!(status, 400);
    assert_eq!(names(&site).await, Vec::<String>::new());
    // The replacement character itself is text like any other, in one encoding.
    assert_eq!(site.post("users/create", &[("name", text)]).await.1["name"], text);
}

/// Decodes percent-encoded bytes.
fn percent(text: &str) -> Vec<u8> {
    let decoded = percent_encoding::percent_decode_str(text);
    decoded.collect()
}

/// The names of actions and terminals are read by a person, and are the text that is signed.
#[tokio::test]
async fn java_names_actions_and_terminals_in_latin1() {
    let (site, _) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let extra = ("terminal_name_extra", "cookie");
    let signed = [
        ("user_name", "jdoe"),
        extra,
        ("action_name", "pay \u{fffd}"),
        ("actionName", "pay \u{fffd}"),
        ("terminal_name", "caf\u{fffd}"),
    ];
    let path = "authentication_requests/initiate";
    for byte in ["%E9", "%E8"] {
        let form = format!(
            "user_name=jdoe&terminal_name_extra=cookie&action_name=pay+{byte}&actionName=pay+{byte}\
             &terminal_name=caf{byte}"
        );
        let (status, request) = site.send(call(&site, "POST", path, &signed, "", &form)).await;
        // A rule for one of these actions would be a rule for all of them.
        assert_eq!((status, &request["pending"]), (200, &json!(true)));
        assert_eq!(request["action"]["name"], "pay \u{fffd}");
        assert_eq!(request["terminal"]["name"], "caf\u{fffd}");
        let allow = format!("requests/{}/allow", request["id"].as_str().unwrap());
        let (status, answer) = phone.post(&allow, json!({ "automate": true })).await;
        assert_eq!((status, &answer["automated_from_now_on"]), (200, &json!(false)));
    }
}

#[tokio::test]
async fn other_formats_than_json_are_rejected() {
    let (site, _) = site().await;
    for (format, expected) in
        [("xml", 400), ("yaml", 400), ("XML", 400), ("jsonp", 400), ("json", 200), ("JSON", 200), ("", 200)]
    {
        let (status, answer) = site.post("users/create", &[("name", "x"), ("format", format)]).await;
        assert_eq!(status, expected, "{format}");
        assert_eq!(site.send(site.signed("GET", "users", &[("format", format)])).await.0, expected, "{format}");
        if status != 200 {
            assert!(answer["error_code"] == 400 && answer["error_message"].as_str().unwrap().contains("JSON only"));
        }
    }
}

#[tokio::test]
async fn a_terminal_id_with_a_name_renames_the_terminal() {
    let (site, _) = site().await;
    site.paired("jdoe").await;
    for extra in ["", "cookie"] {
        let create = [("user_name", "jdoe"), ("name", "old"), ("name_extra", extra)];
        let (_, terminal) = site.post("user_terminals/create", &create).await;
        let id = terminal["id"].as_str().unwrap();
        let (_, request) = site.initiate("jdoe", &[("terminal_id", id), ("terminal_name", "new")]).await;
        assert_eq!((&request["terminal"]["id"], &request["terminal"]["name"]), (&json!(id), &json!("new")), "{extra}");
        let (_, terminal) = site.get(&format!("user_terminals/{id}")).await;
        assert_eq!((&terminal["name"], &terminal["name_extra"]), (&json!("new"), &json!(extra)));
        // Without a name, or with its own one, it keeps its name.
        for name in [&[][..], &[("terminal_name", "")], &[("terminal_name", "new")]] {
            let parameters: Vec<_> = [("terminal_id", id)].into_iter().chain(name.iter().copied()).collect();
            let (_, request) = site.initiate("jdoe", &parameters).await;
            if request["terminal"].is_object() {
                assert_eq!((&request["terminal"]["id"], &request["terminal"]["name"]), (&json!(id), &json!("new")));
            }
            let path = format!("authentication_requests/{}/cancel", request["id"].as_str().unwrap_or_default());
            site.post(&path, &[]).await;
        }
    }
    // Names of terminals without a discriminator are unique.
    let (_, other) = site.post("user_terminals/create", &[("user_name", "jdoe"), ("name", "other")]).await;
    let (_, taken) = site.post("user_terminals/create", &[("user_name", "jdoe"), ("name", "taken")]).await;
    let rename = [("terminal_id", other["id"].as_str().unwrap()), ("terminal_name", "taken")];
    assert_eq!(site.initiate("jdoe", &rename).await.0, 400);
    assert_eq!(site.get(&format!("user_terminals/{}", taken["id"].as_str().unwrap())).await.1["name"], "taken");
    // Another user's terminal.
    site.paired("eve").await;
    let (status, error) = site.initiate("eve", &rename).await;
    assert_eq!((status, &error["error_code"]), (409, &json!(706)));
    assert_eq!(site.get(&format!("user_terminals/{}", other["id"].as_str().unwrap())).await.1["name"], "other");
}

#[tokio::test]
async fn an_unknown_pairing_is_not_found() {
    let (site, _) = site().await;
    for (method, path) in [
        ("GET", "pairings/unknown"),
        ("POST", "pairings/unknown"),
        ("POST", "pairings/unknown/generate_reset_link"),
        ("GET", "qr/pairings/unknown"),
    ] {
        let (status, error) = site.send(site.signed(method, path, &[])).await;
        assert_eq!((status, &error["error_code"]), (404, &json!(601)), "{method} {path}");
    }
}

#[tokio::test]
async fn a_secret_of_no_requester_verifies_no_spelling() {
    let (site, _) = site().await;
    let stranger = Site { credentials: Credentials::new("unknown", "secret").unwrap(), ..site.clone() };
    let signed = [("name", "+1")];
    for (query, form) in [("name=+1", "name=%2B1"), ("name=+1", ""), ("", "name=%2B1")] {
        assert_eq!(site.send(call(&stranger, "POST", "users/create", &signed, query, form)).await.0, 401);
    }
}
