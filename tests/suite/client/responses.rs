//! How the client reads responses: the bodies and errors of the original clients' test suites, and responses that are
//! not of this API.
use std::convert::Infallible;
use std::time::Duration;

use super::support::{Api, ApiHttpResponse, GRANTED, api_error, base, credentials, response, with_fixed_clock};
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use tower_toopher::Terminal;
use tower_toopher::client::{ApiErrorKind, AuthenticationRequest, ClientErrorKind, ToopherClient};

fn api(body: &str) -> ToopherClient<Api> {
    Api::always(response(200, body.to_owned())).client()
}

fn request() -> AuthenticationRequest {
    AuthenticationRequest::from_user_name("jdoe")
}

/// F1 to F5, F26, F27.
#[tokio::test]
async fn pairings_of_every_api_version() {
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
        let pairings = [
            client.pair("immediate_pair", "some user").await,
            client.pair_with_sms("555-555-5555", "some user").await,
            client.pair_with_qr("some user").await,
            client.pairing_status("1").await,
            client.deactivate_pairing("1").await,
        ];
        for pairing in pairings {
            let pairing = pairing.unwrap();
            assert_eq!((pairing.is_enabled(), pairing.is_pending(), pairing.is_active()), (enabled, pending, active));
            assert_eq!(pairing.id(), "1");
            assert_eq!(pairing.user().and_then(|user| user.name()), Some("some user"));
            assert!(!format!("{pairing:?}").contains("hush"));
        }
        // The response must have the id of the call.
        assert_eq!(client.pairing_status("2").await.unwrap_err().kind(), ClientErrorKind::InvalidResponse);
    }
    // F14
    for body in [r#"{"id":"1"}"#, r#"{"key":"value"}"#, "{}", r#"{"id":1,"enabled":true}"#, r#"{"enabled":true}"#] {
        assert_eq!(api(body).pairing_status("1").await.unwrap_err().kind(), ClientErrorKind::InvalidResponse, "{body}");
    }
}

/// F6 to F11, F13.
#[tokio::test]
async fn authentications_of_every_api_version() {
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
            client.authenticate(request()).await,
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
        assert_eq!(client.authentication_status("2").await.unwrap_err().kind(), ClientErrorKind::InvalidResponse);
        assert_eq!(client.otp_auth("2", &otp).await.unwrap_err().kind(), ClientErrorKind::InvalidResponse);
    }
    let status = api(GRANTED).authenticate(request()).await.unwrap();
    assert_eq!((status.reason(), status.terminal(), status.user(), status.action()), ("", None, None, None));
}

/// F14 to F19.
#[tokio::test]
async fn users_and_terminals() {
    let one = r#"{"id":"1","name":"jdoe","toopher_authentication_enabled":true,"requester":{"name":"r","id":"2"}}"#;
    assert_eq!(api(one).create_user("jdoe").await.unwrap().id(), Some("1"));
    assert_eq!(api(one).enable_user("1").await.unwrap().is_enabled(), Some(true));
    // The response determines the state, not the call.
    assert_eq!(api(one).disable_user("1").await.unwrap().is_enabled(), Some(true));
    let old = r#"{"name":"jdoe","disable_toopher_auth":true}"#;
    assert_eq!(api(old).disable_user("1").await.unwrap().is_enabled(), Some(false));
    assert_eq!(api(one).user("2").await.unwrap_err().kind(), ClientErrorKind::InvalidResponse);
    for body in ["{}", r#"{"key":"value"}"#, r#"{"id":"1"}"#, "[]", r#"{"id":"../x","name":"jdoe"}"#] {
        assert_eq!(api(body).user("1").await.unwrap_err().kind(), ClientErrorKind::InvalidResponse, "{body}");
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
        assert_eq!(api(&body).find_user("jdoe").await.unwrap_err().kind(), ClientErrorKind::InvalidResponse, "{body}");
    }
    let pairings = r#"[{"id":"1","enabled":true,"pending":false,"deactivated":true,"user":{"id":"1"}}]"#;
    assert!(api(pairings).pairings_of_user("1").await.unwrap()[0].is_deactivated());
    assert_eq!(api("[]").pairings_of_user("1").await.unwrap(), []);
    assert_eq!(api("[{}]").pairings_of_user("1").await.unwrap_err().kind(), ClientErrorKind::InvalidResponse);

    let terminal = Terminal::new("laptop");
    let created = r#"{"id":"1","name":"laptop","requester_specified_id":"hush","user":{"id":"1","name":"jdoe"}}"#;
    assert_eq!(api(created).create_terminal("jdoe", &terminal).await.unwrap().name(), Some("laptop"));
    assert_eq!(api("{}").create_terminal("jdoe", &terminal).await.unwrap().id(), None);
    assert_eq!(
        api("[]").create_terminal("jdoe", &terminal).await.unwrap_err().kind(),
        ClientErrorKind::InvalidResponse
    );
    let got = api(created).terminal("1").await.unwrap();
    assert!(got.id() == Some("1") && !format!("{got:?}").contains("hush"));
    for body in ["{}", r#"{"id":"1"}"#, r#"{"id":"2","name":"laptop"}"#] {
        assert_eq!(api(body).terminal("1").await.unwrap_err().kind(), ClientErrorKind::InvalidResponse, "{body}");
    }
}

/// F20 to F23.
#[tokio::test]
async fn links_images_and_empty_responses() {
    let url = "http://api.toopher.test/v1/pairings/1/reset?reset_authorization=abcde";
    let link = api(&format!(r#"{{"url":"{url}"}}"#)).generate_reset_link("1").await.unwrap();
    assert_eq!(link.url(), url);
    assert!(!format!("{link:?}").contains("abcde"));
    assert_eq!(api("{}").generate_reset_link("1").await.unwrap_err().kind(), ClientErrorKind::InvalidResponse);

    for (status, body) in [(201, "[]"), (200, "{}"), (200, ""), (204, ""), (200, r#"{"id":"1","name":"jdoe"}"#)] {
        let client = Api::always(response(status, body)).client();
        client.send_reset_link("1", "jdoe@example.com").await.unwrap();
        client.reset_user("jdoe").await.unwrap();
        client.cancel_authentication("1").await.unwrap();
    }
    for body in ["<html>", "null", "true", "1", "\"\"", r#"{"error_code":404}"#, " "] {
        assert_eq!(api(body).reset_user("jdoe").await.unwrap_err().kind(), ClientErrorKind::InvalidResponse, "{body}");
    }

    let image = |kind: Option<&str>, body: &'static [u8]| {
        let mut image = response(200, Bytes::from_static(body));
        if let Some(kind) = kind {
            image.headers_mut().insert("content-type", kind.parse().unwrap());
        }
        Api::always(image).client()
    };
    for kind in [None, Some("image/png"), Some("Image/SVG+xml; charset=utf-8"), Some("application/octet-stream")] {
        assert_eq!(&image(kind, b"\x89PNG").qr_image("1").await.unwrap()[..], b"\x89PNG");
        assert_eq!(image(kind, b"").qr_image("1").await.unwrap_err().kind(), ClientErrorKind::InvalidResponse);
    }
    for kind in ["text/html", "application/json", ""] {
        assert_eq!(
            image(Some(kind), b"\x89PNG").qr_image("1").await.unwrap_err().kind(),
            ClientErrorKind::InvalidResponse
        );
    }
    let large = Api::always(response(200, vec![0; 1024 * 1024])).client();
    assert_eq!(large.qr_image("1").await.unwrap().len(), 1024 * 1024);
    let larger = Api::always(response(200, vec![0; 1024 * 1024 + 1])).client();
    assert_eq!(larger.qr_image("1").await.unwrap_err().kind(), ClientErrorKind::InvalidResponse);
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
        let error = Api::always(api_error(http, code, message)).client().authenticate(request()).await.unwrap_err();
        assert_eq!(error.kind(), ClientErrorKind::Api(kind));
        assert_eq!((error.error_code(), error.message()), (Some(code), Some(message)));
        assert_eq!(error.status().map(|status| status.as_u16()), Some(http));
        assert_eq!(error.kind() == ClientErrorKind::Api(Credentials), http == 401);
        assert!(error.to_string().contains(message) && error.to_string().contains(&http.to_string()));
    }
    let text = response(409, r#"{"error_code":"704","error_message":"x"}"#);
    let error = Api::always(text).client().authenticate(request()).await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Api(UserOptedOut));
    let bare = Api::always(response(401, r#"{"error_code":401}"#)).client().authenticate(request()).await.unwrap_err();
    assert_eq!((bare.kind(), bare.message()), (ClientErrorKind::Api(Credentials), Some("")));
}

/// E2 to E5, E11, E12, E15: an error without the API's error code is not an error of the API.
#[tokio::test]
async fn errors_of_other_servers() {
    for status in [300, 304, 399, 400, 401, 403, 404, 409, 429, 500, 503, 599, 999] {
        for body in ["", "stuff", "{'error_code':704}", "{}", "[]", r#"{"error_code":null}"#, r#"{"error_code":7.04}"#]
        {
            let error = Api::always(response(status, body)).client().authenticate(request()).await.unwrap_err();
            let kind = match status {
                429 => ClientErrorKind::RateLimited,
                500..600 => ClientErrorKind::ServerError,
                _ => ClientErrorKind::InvalidResponse,
            };
            assert_eq!((error.kind(), error.error_code()), (kind, None), "{status} {body}");
        }
    }
    // A redirect is invalid with any body.
    let error = Api::always(api_error(302, 704, "x")).client().authenticate(request()).await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::InvalidResponse);
}

/// F4 and similar cases: none of these is a grant, for any call that can be granted.
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
            let client = Api::always(response(status, body.clone())).client();
            for result in [
                client.authenticate(request()).await,
                client.authenticate(request().otp(&otp)).await,
                client.authentication_status("1").await,
                client.otp_auth("1", &otp).await,
            ] {
                let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
                let kind = result.map(drop).map_err(|error| error.kind());
                assert_eq!(kind, Err(ClientErrorKind::InvalidResponse), "{status} {shown}");
            }
        }
    }
    // A grant with another status than success.
    for status in [204, 205, 300, 302, 307, 400, 401, 404, 409, 500] {
        let client = Api::always(response(status, if status < 300 { "" } else { GRANTED })).client();
        let kind = client.authenticate(request()).await.map(drop).map_err(|error| error.kind());
        let expected = if status == 500 { ClientErrorKind::ServerError } else { ClientErrorKind::InvalidResponse };
        assert_eq!(kind, Err(expected), "{status}");
    }
    assert!(api(GRANTED).authenticate(request()).await.unwrap().is_granted());
}

#[tokio::test]
async fn the_size_of_a_response_is_limited() {
    let body = |size: usize| format!("{GRANTED}{}", " ".repeat(size - GRANTED.len()));
    assert!(api(&body(64 * 1024)).authenticate(request()).await.is_ok());
    assert_eq!(
        api(&body(64 * 1024 + 1)).authenticate(request()).await.unwrap_err().kind(),
        ClientErrorKind::InvalidResponse
    );
    assert_eq!(
        api(&body(101)).response_limit(100).authenticate(request()).await.unwrap_err().kind(),
        ClientErrorKind::InvalidResponse
    );
    // The limit also applies to errors, and to errors of calls for images.
    let error = Api::always(response(409, body(64 * 1024 + 1))).client();
    assert_eq!(error.authenticate(request()).await.unwrap_err().kind(), ClientErrorKind::InvalidResponse);
    assert_eq!(error.qr_image("1").await.unwrap_err().kind(), ClientErrorKind::InvalidResponse);
}

/// The client stops reading an endless body at the size limit, and a stalled body at the time limit.
#[tokio::test(start_paused = true)]
async fn endless_bodies_end() {
    let endless = tower::service_fn(|_: Request<Bytes>| async {
        let chunk = || Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b' '; 1000])));
        Ok::<_, Infallible>(Response::new(StreamBody::new(stream::repeat_with(chunk))))
    });
    let client = with_fixed_clock(ToopherClient::with_transport(base(), credentials(), endless));
    assert_eq!(client.authenticate(request()).await.unwrap_err().kind(), ClientErrorKind::InvalidResponse);
    assert_eq!(client.qr_image("1").await.unwrap_err().kind(), ClientErrorKind::InvalidResponse);

    let dripping = tower::service_fn(|_: Request<Bytes>| async {
        let drip = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b" "))), ()))
        });
        Ok::<_, Infallible>(Response::new(StreamBody::new(Box::pin(drip))))
    });
    let client = with_fixed_clock(ToopherClient::with_transport(base(), credentials(), dripping));
    let started = tokio::time::Instant::now();
    assert_eq!(client.authenticate(request()).await.unwrap_err().kind(), ClientErrorKind::Timeout);
    assert_eq!(started.elapsed().as_secs(), 10);
    let started = tokio::time::Instant::now();
    assert_eq!(
        client.timeout(Duration::from_secs(3)).authentication_status("1").await.unwrap_err().kind(),
        ClientErrorKind::Timeout
    );
    assert_eq!(started.elapsed().as_secs(), 3);
}

/// The time limit includes the retry, and the wait for a transport that is never ready.
#[tokio::test(start_paused = true)]
async fn the_time_limit_is_for_the_whole_call() {
    let failing_late = tower::service_fn(|_: Request<Bytes>| async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        Err::<ApiHttpResponse, _>("reset")
    });
    let client = with_fixed_clock(ToopherClient::with_transport(base(), credentials(), failing_late));
    let started = tokio::time::Instant::now();
    assert_eq!(client.authentication_status("1").await.unwrap_err().kind(), ClientErrorKind::Timeout);
    assert_eq!(started.elapsed().as_secs(), 10);

    let busy = tower::limit::ConcurrencyLimit::new(Api::always(response(200, GRANTED)), 0);
    let client = with_fixed_clock(ToopherClient::with_transport(base(), credentials(), busy));
    assert_eq!(client.authenticate(request()).await.unwrap_err().kind(), ClientErrorKind::Timeout);
}

#[tokio::test]
async fn retry_after_is_a_number_of_seconds_up_to_a_day() {
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
        let error = Api::always(busy).client().authenticate(request()).await.unwrap_err();
        assert_eq!(error.kind(), ClientErrorKind::RateLimited);
        assert_eq!(error.retry_after(), seconds.map(Duration::from_secs), "{stated:?}");
    }
}

/// Errors contain no parameter that the server repeats.
#[tokio::test]
async fn errors_and_debug_contain_no_secret() {
    let echo = Api::new(|seen| api_error(400, 400, &format!("bad\r\n{} {}", seen.body, super::support::SECRET)));
    let otp = "081804".parse().unwrap();
    let terminal = Terminal::new("laptop").with_discriminator("cookie-value");
    let client = echo.client();
    let error = client.authenticate(request().terminal(&terminal).otp(&otp)).await.unwrap_err();
    let shown = format!("{error} {error:?} {error:#?} {client:?} {:?}", request().otp(&otp));
    for secret in ["081804", "cookie-value", super::support::SECRET, "\r", "oauth_"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(error.message().unwrap().chars().count() <= 256);
    let failing = tower::service_fn(|_: Request<Bytes>| async { Err::<Response<Full<Bytes>>, _>("no route") });
    let client = ToopherClient::with_transport(base(), credentials(), failing);
    let shown = format!("{:?} {client:?}", client.find_user("a-private-name").await.unwrap_err());
    assert!(!shown.contains("a-private-name") && !shown.contains(super::support::SECRET), "{shown}");
}
