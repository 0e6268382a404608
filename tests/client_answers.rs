//! What the client makes of answers: the bodies of the original clients' suites, their errors, and everything that is
//! no answer of this API.
#![allow(clippy::unwrap_used)]

mod client_common;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use client_common::{Answer, Api, GRANTED, answer, api_error, at_now, base, credentials};
use futures_util::stream;
use http::{Request, Response};
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use tower_toopher::Terminal;
use tower_toopher::toopher::{ApiErrorKind, Initiate, ToopherClient};

fn api(body: &str) -> ToopherClient<Api> {
    Api::always(answer(200, body.to_owned())).client()
}

fn whom() -> Initiate {
    Initiate::by_user_name("jdoe")
}

/// F1 to F5, F26, F27.
#[tokio::test]
async fn pairings_of_every_generation() {
    let user = r#""user":{"id":"1","name":"some user"}"#;
    for (fields, enabled, pending, active) in [
        (r#""enabled":true"#, true, false, true),
        (r#""enabled":true,"pending":false"#, true, false, true),
        (r#""enabled":true,"pending":true"#, true, true, false),
        (r#""enabled":false,"pending":true"#, false, true, false),
        (r#""enabled":false"#, false, false, false),
        (r#""enabled":"true""#, true, false, true),
        (r#""enabled":true,"deactivated":true"#, true, false, false),
        (r#""enabled":true,"random_key":"84","secret":"hush","pending":null"#, true, false, true),
    ] {
        let client = api(&format!(r#"{{"id":"1",{fields},{user}}}"#));
        let otp_free = [
            client.pair("immediate_pair", "some user").await,
            client.pair_with_sms("555-555-5555", "some user").await,
            client.pair_with_qr("some user").await,
            client.pairing_status("1").await,
            client.deactivate_pairing("1").await,
        ];
        for pairing in otp_free {
            let pairing = pairing.unwrap();
            assert_eq!((pairing.is_enabled(), pairing.is_pending(), pairing.is_active()), (enabled, pending, active));
            assert_eq!(pairing.id(), "1");
            assert_eq!(pairing.user().and_then(|user| user.name()), Some("some user"));
            assert!(!format!("{pairing:?}").contains("hush"));
        }
        // The pairing that was asked for, and no other.
        assert!(client.pairing_status("2").await.unwrap_err().is_invalid_answer());
    }
    // F14
    for body in [r#"{"id":"1"}"#, r#"{"key":"value"}"#, "{}", r#"{"id":1,"enabled":true}"#, r#"{"enabled":true}"#] {
        assert!(api(body).pairing_status("1").await.unwrap_err().is_invalid_answer(), "{body}");
    }
}

/// F6 to F11, F13.
#[tokio::test]
async fn authentications_of_every_generation() {
    let terminal = r#""terminal":{"id":"1","name":"test terminal","requester_specified_id":"x","user":{"id":"1"}}"#;
    for (fields, code, outcome) in [
        (r#""pending":false,"granted":true,"automated":false,"reason":"its a test""#, None, "granted"),
        (r#""pending":false,"granted":true,"automated":true,"reason":"some reason""#, None, "granted automatically"),
        (r#""pending":true,"granted":false,"automated":false,"reason":"some other reason""#, None, "pending"),
        (r#""pending":false,"granted":false,"automated":false,"reason_code":"0""#, Some(0), "denied"),
        (r#""pending":false,"granted":true,"automated":true,"reason_code":"1""#, Some(1), "granted automatically"),
        (r#""pending":true,"granted":true,"automated":true,"reason_code":2"#, Some(2), "pending"),
        (r#""pending":false,"granted":true,"reason_code":100,"automation_allowed":"false""#, Some(100), "granted"),
        (r#""pending":false,"granted":false,"action":{"id":"1","name":"log in"},"user":{"id":"1"}"#, None, "denied"),
        (r#""pending":true,"granted":false,"totp_valid":false,"random_key":"84","terminal":null"#, None, "pending"),
    ] {
        let end = if fields.contains("terminal") { String::new() } else { format!(",{terminal}") };
        let client = api(&format!(r#"{{"id":"1",{fields}{end}}}"#));
        let otp = "123456".parse().unwrap();
        for status in [
            client.authenticate(whom()).await,
            client.authentication_status("1").await,
            client.otp_auth("1", &otp).await,
        ] {
            let status = status.unwrap();
            let flags = (status.is_pending(), status.is_granted(), status.is_denied(), status.is_automated());
            let expected = match outcome {
                "granted" => (false, true, false, false),
                "granted automatically" => (false, true, false, true),
                "denied" => (false, false, true, false),
                _ => (true, false, false, false),
            };
            assert_eq!(flags, expected, "{fields}");
            assert_eq!(status.reason_code(), code);
        }
        assert!(client.authentication_status("2").await.unwrap_err().is_invalid_answer());
        assert!(client.otp_auth("2", &otp).await.unwrap_err().is_invalid_answer());
    }
    let status = api(GRANTED).authenticate(whom()).await.unwrap();
    assert_eq!((status.reason(), status.terminal(), status.user(), status.action()), ("", None, None, None));
}

/// F14 to F19.
#[tokio::test]
async fn users_and_terminals() {
    let one = r#"{"id":"1","name":"jdoe","toopher_authentication_enabled":true,"requester":{"name":"r","id":"2"}}"#;
    assert_eq!(api(one).create_user("jdoe").await.unwrap().id(), Some("1"));
    assert_eq!(api(one).enable_user("1").await.unwrap().is_enabled(), Some(true));
    // The answer decides, not the wish.
    assert_eq!(api(one).disable_user("1").await.unwrap().is_enabled(), Some(true));
    let old = r#"{"name":"jdoe","disable_toopher_auth":true}"#;
    assert_eq!(api(old).disable_user("1").await.unwrap().is_enabled(), Some(false));
    assert!(api(one).user("2").await.unwrap_err().is_invalid_answer());
    for body in ["{}", r#"{"key":"value"}"#, r#"{"id":"1"}"#, "[]", r#"{"id":"../x","name":"jdoe"}"#] {
        assert!(api(body).user("1").await.unwrap_err().is_invalid_answer(), "{body}");
    }

    let found = api(&format!("[{one}]")).find_user("jdoe").await.unwrap().unwrap();
    assert_eq!(found.name(), Some("jdoe"));
    assert_eq!(api("[]").find_user("jdoe").await.unwrap(), None);
    for body in [
        format!("[{one},{one}]"),
        r#"[{"name":"jdoe"},{"name":"jdoe"}]"#.into(),
        r#"[{"id":"1","name":"another"}]"#.into(),
        r#"[{"id":"1"}]"#.into(),
        r#"[["1","jdoe"]]"#.into(),
        one.into(),
        "{}".into(),
    ] {
        assert!(api(&body).find_user("jdoe").await.unwrap_err().is_invalid_answer(), "{body}");
    }
    let pairings = r#"[{"id":"1","enabled":true,"pending":false,"deactivated":true,"user":{"id":"1"}}]"#;
    assert!(api(pairings).pairings_of_user("1").await.unwrap()[0].is_deactivated());
    assert_eq!(api("[]").pairings_of_user("1").await.unwrap(), []);
    assert!(api("[{}]").pairings_of_user("1").await.unwrap_err().is_invalid_answer());

    let terminal = Terminal::new("laptop");
    let created = r#"{"id":"1","name":"laptop","requester_specified_id":"hush","user":{"id":"1","name":"jdoe"}}"#;
    assert_eq!(api(created).create_terminal("jdoe", &terminal).await.unwrap().name(), Some("laptop"));
    assert_eq!(api("{}").create_terminal("jdoe", &terminal).await.unwrap().id(), None);
    assert!(api("[]").create_terminal("jdoe", &terminal).await.unwrap_err().is_invalid_answer());
    let got = api(created).terminal("1").await.unwrap();
    assert!(got.id() == Some("1") && !format!("{got:?}").contains("hush"));
    for body in ["{}", r#"{"id":"1"}"#, r#"{"id":"2","name":"laptop"}"#] {
        assert!(api(body).terminal("1").await.unwrap_err().is_invalid_answer(), "{body}");
    }
}

/// F20 to F23.
#[tokio::test]
async fn links_images_and_nothing() {
    let url = "http://api.toopher.test/v1/pairings/1/reset?reset_authorization=abcde";
    let link = api(&format!(r#"{{"url":"{url}"}}"#)).generate_reset_link("1").await.unwrap();
    assert_eq!(link.url(), url);
    assert!(!format!("{link:?}").contains("abcde"));
    assert!(api("{}").generate_reset_link("1").await.unwrap_err().is_invalid_answer());

    for (status, body) in [(201, "[]"), (200, "{}"), (200, ""), (204, ""), (200, r#"{"id":"1","name":"jdoe"}"#)] {
        let client = Api::always(answer(status, body)).client();
        client.send_reset_link("1", "jdoe@example.com").await.unwrap();
        client.reset_user("jdoe").await.unwrap();
        client.cancel_authentication("1").await.unwrap();
    }
    for body in ["<html>", "null", "true", "1", "\"\"", r#"{"error_code":404}"#, " "] {
        assert!(api(body).reset_user("jdoe").await.unwrap_err().is_invalid_answer(), "{body}");
    }

    let image = |kind: Option<&str>, body: &'static [u8]| {
        let mut image = answer(200, Bytes::from_static(body));
        if let Some(kind) = kind {
            image.headers_mut().insert("content-type", kind.parse().unwrap());
        }
        Api::always(image).client()
    };
    for kind in [None, Some("image/png"), Some("Image/SVG+xml; charset=utf-8"), Some("application/octet-stream")] {
        assert_eq!(&image(kind, b"\x89PNG").qr_image("1").await.unwrap()[..], b"\x89PNG");
        assert!(image(kind, b"").qr_image("1").await.unwrap_err().is_invalid_answer());
    }
    for kind in ["text/html", "application/json", ""] {
        assert!(image(Some(kind), b"\x89PNG").qr_image("1").await.unwrap_err().is_invalid_answer());
    }
    let large = Api::always(answer(200, vec![0; 1024 * 1024])).client();
    assert_eq!(large.qr_image("1").await.unwrap().len(), 1024 * 1024);
    let larger = Api::always(answer(200, vec![0; 1024 * 1024 + 1])).client();
    assert!(larger.qr_image("1").await.unwrap_err().is_invalid_answer());
    assert!(larger.image_limit(2 * 1024 * 1024).qr_image("1").await.is_ok());
}

/// E1, E6 to E10, E13.
#[tokio::test]
async fn errors_of_the_api() {
    use ApiErrorKind::*;
    let gone = "This pairing has been deactivated.";
    for (http, code, message, kind) in [
        (401, 401, "Not a valid OAuth signed request", Credentials),
        (409, 704, "The specified user has disabled Toopher authentication.", UserOptedOut),
        (409, 705, "No matching user exists.", UserUnknown),
        (409, 705, "disabled user", UserUnknown),
        (409, 706, "No matching terminal exists.", TerminalUnknown),
        (409, 707, "Not allowed: This pairing has been deactivated.", PairingDeactivated),
        (409, 708, "User requires OTP authentication", OtpRequired),
        (403, 601, gone, PairingDeactivated),
        (409, 601, "Pairing has not been authorized to authenticate", PairingDeactivated),
        (601, 601, gone, PairingDeactivated),
        (409, 601, "what", Other),
        (409, 42, "what", Other),
        (400, -1, "", Other),
    ] {
        let error = Api::always(api_error(http, code, message)).client().authenticate(whom()).await.unwrap_err();
        assert!(error.is_api() && !error.is_invalid_answer() && !error.is_transport());
        assert_eq!((error.kind(), error.error_code(), error.message()), (Some(kind), Some(code), Some(message)));
        assert_eq!(error.status().map(|status| status.as_u16()), Some(http));
        assert_eq!(error.is_credentials(), http == 401);
        assert!(error.to_string().contains(message) && error.to_string().contains(&http.to_string()));
    }
    let text = answer(409, r#"{"error_code":"704","error_message":"x"}"#);
    let error = Api::always(text).client().authenticate(whom()).await.unwrap_err();
    assert_eq!(error.kind(), Some(UserOptedOut));
    let bare = Api::always(answer(401, r#"{"error_code":401}"#)).client().authenticate(whom()).await.unwrap_err();
    assert!(bare.is_credentials() && bare.message() == Some(""));
}

/// E2 to E5, E11, E12, E15: an error that is not the API's own is not taken for one.
#[tokio::test]
async fn errors_of_somebody_else() {
    for status in [300, 304, 399, 400, 401, 403, 404, 409, 429, 500, 503, 599, 999] {
        for body in ["", "stuff", "{'error_code':704}", "{}", "[]", r#"{"error_code":null}"#, r#"{"error_code":7.04}"#]
        {
            let error = Api::always(answer(status, body)).client().authenticate(whom()).await.unwrap_err();
            assert!(error.is_invalid_answer() && !error.is_api() && !error.is_credentials(), "{status} {body}");
            assert_eq!(error.kind(), None);
            assert_eq!(error.is_rate_limited(), status == 429);
        }
    }
    // A redirect is one, whatever its body says.
    let error = Api::always(api_error(302, 704, "x")).client().authenticate(whom()).await.unwrap_err();
    assert!(error.is_invalid_answer());
}

/// F4 and its kin: none of these is a grant, for any call that could be granted.
#[tokio::test]
async fn nothing_but_a_grant_is_a_grant() {
    let mut bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "null",
        "true",
        "1",
        "\"granted\"",
        "[]",
        "{}",
        "<html>granted</html>",
        r#"["1",false,true]"#,
        r#"[{"id":"1","pending":false,"granted":true}]"#,
        r#"{"id":"1","pending":false,"granted":true"#,
        r#"{"id":"1","pending":false,"granted":true}}"#,
        r#"{"id":"1","pending":false,"granted":true}{"id":"1","pending":false,"granted":true}"#,
        r#"{"id":"1","pending":false,"granted":true,}"#,
        r#"{"id":"1","pending":false,"granted":"true"}"#,
        r#"{"id":"1","pending":false,"granted":1}"#,
        r#"{"id":"1","pending":false,"granted":[true]}"#,
        r#"{"id":"1","pending":false,"granted":{"granted":true}}"#,
        r#"{"id":"1","pending":false,"granted":null}"#,
        r#"{"id":"1","pending":false,"granted":True}"#,
        r#"{"id":"1","pending":false}"#,
        r#"{"id":"1","granted":true}"#,
        r#"{"id":"1","pending":"false","granted":true}"#,
        r#"{"id":"1","pending":0,"granted":true}"#,
        r#"{"id":"1","pending":null,"granted":true}"#,
        r#"{"id":"1","pending":"","granted":true}"#,
        r#"{"id":"1","Pending":false,"Granted":true}"#,
        r#"{"pending":false,"granted":true}"#,
        r#"{"id":1,"pending":false,"granted":true}"#,
        r#"{"id":null,"pending":false,"granted":true}"#,
        r#"{"id":"","pending":false,"granted":true}"#,
        r#"{"id":"../1","pending":false,"granted":true}"#,
        r#"{"id":"1","pending":false,"granted":true,"granted":true}"#,
        r#"{"id":"1","pending":false,"granted":false,"granted":true}"#,
        r#"{"id":"1","pending":false,"granted":true,"granted":false}"#,
        r#"{"id":"1","pending":false,"pending":false,"granted":true}"#,
        r#"{"id":"1","id":"1","pending":false,"granted":true}"#,
        r#"{"id":"1","pending":false,"granted":false,"\u0067ranted":true}"#,
        r#"{"id":"1","pending":false,"granted":true,"error_code":704}"#,
        r#"{"id":"1","pending":false,"granted":true,"error_code":null}"#,
        r#"{"id":"1","pending":false,"granted":true,"automated":"perhaps"}"#,
        r#"{"id":"1","pending":false,"granted":true,"terminal":"laptop"}"#,
        r#"{"request":{"id":"1","pending":false,"granted":true}}"#,
        r#"callback({"id":"1","pending":false,"granted":true})"#,
        "\u{feff}{\"id\":\"1\",\"pending\":false,\"granted\":true}",
    ]
    .iter()
    .map(|body| body.as_bytes().to_vec())
    .collect();
    bodies.push(format!(r#"{{"id":"1","pending":false,"granted":true,"x":{}}}"#, "[".repeat(30_000)).into());
    let nested = format!("{}1{}", "[".repeat(30_000), "]".repeat(30_000));
    bodies.push(format!(r#"{{"id":"1","pending":false,"granted":true,"x":{nested}}}"#).into());
    let padding = "x".repeat(10 * 1024 * 1024);
    bodies.push(format!(r#"{{"id":"1","pending":false,"granted":true,"x":"{padding}"}}"#).into());
    bodies.push(b"{\"id\":\"1\",\"pending\":false,\"granted\":true,\"x\":\"\xff\"}".to_vec());
    bodies
        .push("{\"id\":\"1\",\"pending\":false,\"granted\":true}".encode_utf16().flat_map(u16::to_be_bytes).collect());
    let otp = "081804".parse().unwrap();
    for body in bodies {
        for status in [200, 201, 299] {
            let client = Api::always(answer(status, body.clone())).client();
            for result in [
                client.authenticate(whom()).await,
                client.authenticate(whom().otp(&otp)).await,
                client.authentication_status("1").await,
                client.otp_auth("1", &otp).await,
            ] {
                let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
                assert!(result.is_err_and(|error| error.is_invalid_answer()), "{status} {shown}");
            }
        }
    }
    // A right answer under a wrong status.
    for status in [204, 205, 300, 302, 307, 400, 401, 404, 409, 500] {
        let result = Api::always(answer(status, if status < 300 { "" } else { GRANTED })).client();
        assert!(result.authenticate(whom()).await.is_err_and(|error| error.is_invalid_answer()), "{status}");
    }
    assert!(api(GRANTED).authenticate(whom()).await.unwrap().is_granted());
}

#[tokio::test]
async fn the_size_of_an_answer_is_limited() {
    let body = |size: usize| format!("{GRANTED}{}", " ".repeat(size - GRANTED.len()));
    assert!(api(&body(64 * 1024)).authenticate(whom()).await.is_ok());
    assert!(api(&body(64 * 1024 + 1)).authenticate(whom()).await.unwrap_err().is_invalid_answer());
    assert!(api(&body(101)).answer_limit(100).authenticate(whom()).await.unwrap_err().is_invalid_answer());
    // Errors, and the errors of images, too.
    let error = Api::always(answer(409, body(64 * 1024 + 1))).client();
    assert!(error.authenticate(whom()).await.unwrap_err().is_invalid_answer());
    assert!(error.qr_image("1").await.unwrap_err().is_invalid_answer());
}

/// A body without a length that never ends is cut off at the limit, and one that stalls when the time is up.
#[tokio::test(start_paused = true)]
async fn endless_bodies_end() {
    let endless = tower::service_fn(|_: Request<Bytes>| async {
        let chunk = || Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b' '; 1000])));
        Ok::<_, Infallible>(Response::new(StreamBody::new(stream::repeat_with(chunk))))
    });
    let client = at_now(ToopherClient::with_transport(base(), credentials(), endless));
    assert!(client.authenticate(whom()).await.unwrap_err().is_invalid_answer());
    assert!(client.qr_image("1").await.unwrap_err().is_invalid_answer());

    let dripping = tower::service_fn(|_: Request<Bytes>| async {
        let drip = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b" "))), ()))
        });
        Ok::<_, Infallible>(Response::new(StreamBody::new(Box::pin(drip))))
    });
    let client = at_now(ToopherClient::with_transport(base(), credentials(), dripping));
    let started = tokio::time::Instant::now();
    assert!(client.authenticate(whom()).await.unwrap_err().is_timeout());
    assert_eq!(started.elapsed().as_secs(), 10);
    let started = tokio::time::Instant::now();
    assert!(client.timeout(Duration::from_secs(3)).authentication_status("1").await.unwrap_err().is_timeout());
    assert_eq!(started.elapsed().as_secs(), 3);
}

/// The time holds for both tries together, and for a transport that is never ready.
#[tokio::test(start_paused = true)]
async fn the_time_is_a_call_s_and_not_a_try_s() {
    let failing_late = tower::service_fn(|_: Request<Bytes>| async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        Err::<Answer, _>("reset")
    });
    let client = at_now(ToopherClient::with_transport(base(), credentials(), failing_late));
    let started = tokio::time::Instant::now();
    assert!(client.authentication_status("1").await.unwrap_err().is_timeout());
    assert_eq!(started.elapsed().as_secs(), 10);

    let busy = tower::limit::ConcurrencyLimit::new(Api::always(answer(200, GRANTED)), 0);
    let client = at_now(ToopherClient::with_transport(base(), credentials(), busy));
    assert!(client.authenticate(whom()).await.unwrap_err().is_timeout());
}

#[tokio::test]
async fn how_long_to_wait_is_a_number_of_seconds_within_a_day() {
    for (stated, seconds) in [
        ("7", Some(7)),
        (" 7 ", Some(7)),
        ("0", Some(0)),
        ("86401", Some(86400)),
        ("99999999999999999999999", Some(86400)),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("+7", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
    ] {
        let mut busy = api_error(429, 429, "slower");
        busy.headers_mut().insert("retry-after", stated.parse().unwrap());
        let error = Api::always(busy).client().authenticate(whom()).await.unwrap_err();
        assert!(error.is_rate_limited());
        assert_eq!(error.retry_after(), seconds.map(Duration::from_secs), "{stated:?}");
    }
}

/// What the server repeats of the call does not come out again.
#[tokio::test]
async fn errors_and_debug_hold_no_secret() {
    let echo = Api::new(|seen| api_error(400, 400, &format!("bad\r\n{} {}", seen.body, client_common::SECRET)));
    let otp = "081804".parse().unwrap();
    let terminal = Terminal::new("laptop").with_discriminator("cookie-value");
    let client = echo.client();
    let error = client.authenticate(whom().terminal(&terminal).otp(&otp)).await.unwrap_err();
    let shown = format!("{error} {error:?} {error:#?} {client:?} {:?}", whom().otp(&otp));
    for secret in ["081804", "cookie-value", client_common::SECRET, "\r", "oauth_"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(error.message().unwrap().chars().count() <= 256);
    let failing = tower::service_fn(|_: Request<Bytes>| async { Err::<Response<Full<Bytes>>, _>("no route") });
    let client = ToopherClient::with_transport(base(), credentials(), failing);
    let shown = format!("{:?} {client:?}", client.find_user("a-private-name").await.unwrap_err());
    assert!(!shown.contains("a-private-name") && !shown.contains(client_common::SECRET), "{shown}");
}
