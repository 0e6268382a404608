//! The HTTP request of each call, and that `toopher-oauth1` accepts its signature.
use super::support::{Api, GRANTED, base, credentials, response, with_fixed_clock};
use http::Method;
use std::time::{Duration, UNIX_EPOCH};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_toopher::Terminal;
use tower_toopher::client::{ApiCall, ApiResponse, AuthenticationRequest, ClientError, ClientErrorKind, ToopherClient};
use tower_toopher::time::Clock;

const ID: &str = "12345678-1234-4123-8123-1234567890ab";

/// A call, its method, its path, and its parameters in order.
type Expected = (ApiCall, &'static str, String, Vec<(&'static str, &'static str)>);

fn call_of_each_kind() -> Vec<Expected> {
    let otp = "081 804".parse().unwrap();
    let terminal = Terminal::new("laptop").with_discriminator("cookie~*1");
    let path = |before: &str, after: &str| format!("{before}/{ID}{after}");
    let initiate = || "authentication_requests/initiate".to_owned();
    vec![
        (
            ApiCall::pair("awkward turtle", "jdoe").with_parameter("test_param", "42"),
            "POST",
            "pairings/create".into(),
            vec![("pairing_phrase", "awkward turtle"), ("user_name", "jdoe"), ("test_param", "42")],
        ),
        (
            ApiCall::pair_with_sms("+44 555-555-5555", "jdoe").with_parameter("phone_country", "44"),
            "POST",
            "pairings/create/sms".into(),
            vec![("phone_number", "+44 555-555-5555"), ("user_name", "jdoe"), ("phone_country", "44")],
        ),
        (ApiCall::pair_with_qr("jdoe"), "POST", "pairings/create/qr".into(), vec![("user_name", "jdoe")]),
        (ApiCall::qr_image(ID), "GET", path("qr/pairings", ""), vec![]),
        (ApiCall::pairing_status(ID), "GET", path("pairings", ""), vec![]),
        (ApiCall::deactivate_pairing(ID), "POST", path("pairings", ""), vec![("deactivated", "true")]),
        (ApiCall::generate_reset_link(ID), "POST", path("pairings", "/generate_reset_link"), vec![]),
        (
            ApiCall::send_reset_link(ID, "jdoe@example.com"),
            "POST",
            path("pairings", "/send_reset_link"),
            vec![("reset_email", "jdoe@example.com")],
        ),
        (
            ApiCall::authenticate(
                AuthenticationRequest::from_pairing_id(ID).terminal(&Terminal::new("laptop")).action("log in"),
            ),
            "POST",
            initiate(),
            vec![("pairing_id", ID), ("terminal_name", "laptop"), ("action_name", "log in")],
        ),
        (
            ApiCall::authenticate(
                AuthenticationRequest::from_user_name("jdoe")
                    .terminal(&terminal)
                    .otp(&otp)
                    .automation_allowed(false)
                    .challenge_required(true)
                    .with_parameter("use_sms_inband_reply", "False"),
            ),
            "POST",
            initiate(),
            vec![
                ("user_name", "jdoe"),
                ("terminal_name", "laptop"),
                ("terminal_name_extra", "cookie~*1"),
                ("otp", "081804"),
                ("automation_allowed", "false"),
                ("challenge_required", "true"),
                ("use_sms_inband_reply", "False"),
            ],
        ),
        // Empty values are not sent.
        (
            ApiCall::authenticate(
                AuthenticationRequest::from_user_name("jdoe")
                    .terminal(&Terminal::new("").with_discriminator(""))
                    .action(""),
            ),
            "POST",
            initiate(),
            vec![("user_name", "jdoe")],
        ),
        (ApiCall::authentication_status(ID), "GET", path("authentication_requests", ""), vec![]),
        (ApiCall::otp_auth(ID, &otp), "POST", path("authentication_requests", "/otp_auth"), vec![("otp", "081804")]),
        (ApiCall::cancel_authentication(ID), "POST", path("authentication_requests", "/cancel"), vec![]),
        (ApiCall::create_user("jdoe"), "POST", "users/create".into(), vec![("name", "jdoe")]),
        (ApiCall::find_users("jdoe"), "GET", "users".into(), vec![("name", "jdoe")]),
        (ApiCall::user(ID), "GET", path("users", ""), vec![]),
        (ApiCall::enable_user(ID), "POST", path("users", ""), vec![("toopher_authentication_enabled", "true")]),
        (ApiCall::disable_user(ID), "POST", path("users", ""), vec![("toopher_authentication_enabled", "false")]),
        (ApiCall::reset_user("jdoe"), "POST", "users/reset".into(), vec![("name", "jdoe")]),
        (ApiCall::pairings_of_user(ID), "GET", path("users", "/pairings"), vec![]),
        (
            ApiCall::create_terminal("jdoe", &terminal),
            "POST",
            "user_terminals/create".into(),
            vec![("user_name", "jdoe"), ("name", "laptop"), ("name_extra", "cookie~*1")],
        ),
        (
            ApiCall::create_terminal("jdoe", &Terminal::new("laptop")),
            "POST",
            "user_terminals/create".into(),
            vec![("user_name", "jdoe"), ("name", "laptop")],
        ),
        (ApiCall::terminal(ID), "GET", path("user_terminals", ""), vec![]),
    ]
}

/// The server receives each call with its parameters and a valid signature, and a second one with another nonce.
#[tokio::test]
async fn every_call_has_its_method_path_and_parameters() {
    for (call, method, path, pairs) in call_of_each_kind() {
        let api = Api::always(response(500, ""));
        let mut client = api.client();
        let shown = format!("{call:?}");
        assert!(shown.contains(&path) && !shown.contains("081804") && !shown.contains("cookie"), "{shown}");
        assert_eq!((call.method().as_str(), call.path()), (method, &*path));
        for _ in 0..2 {
            let error = client.ready().await.unwrap().call(call.clone()).await.unwrap_err();
            assert_eq!((error.kind(), error.error_code()), (ClientErrorKind::ServerError, None));
        }
        let seen = api.seen();
        assert_eq!(seen.len(), 2);
        for seen in seen {
            let sent: Vec<_> = seen.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!((seen.method.as_str(), &seen.path, sent), (method, &path, pairs.clone()));
        }
        assert_eq!(call.is_safe(), *call.method() == Method::GET);
    }
}

#[tokio::test]
async fn a_code_with_a_leading_zero_keeps_it() {
    let api = Api::always(response(200, GRANTED));
    let otp = "081-804".parse().unwrap();
    let status = api.client().authenticate(AuthenticationRequest::from_user_name("alice").otp(&otp)).await.unwrap();
    assert!(status.is_granted());
    api.client().otp_auth("1", &otp).await.unwrap();
    let seen = api.seen();
    assert_eq!((&*seen[0].body, &*seen[1].body), ("user_name=alice&otp=081804", "otp=081804"));
}

/// The server decodes each of these names to the same text, from a form and from a query.
#[tokio::test]
async fn awkward_names_are_encoded_correctly() {
    for name in [
        "a~b*c+d e",
        "Zo\u{eb}",
        "Zoe\u{308}",
        "%20",
        "a%20b",
        "a&b=c;d",
        "\u{1f511}",
        "",
        " ",
        "\r\n\0",
        "a/b?c#d",
        "\"'<>\\",
        "oauth_nonce",
    ] {
        let api = Api::always(response(500, ""));
        let client = api.client();
        let _ = client.create_user(name).await;
        let _ = client.find_user(name).await;
        let _ = client.create_terminal(name, &Terminal::new(name).with_discriminator(name)).await;
        let seen = api.seen();
        assert_eq!(seen.len(), 3, "{name:?}");
        assert_eq!((seen[0].get("name"), seen[1].get("name")), (Some(name), Some(name)));
        assert_eq!((seen[2].get("user_name"), seen[2].get("name")), (Some(name), Some(name)));
    }
}

#[tokio::test]
async fn no_id_can_change_the_path() {
    let api = Api::always(response(200, "{}"));
    let client = api.client();
    let otp = "081804".parse().unwrap();
    for id in ["", ".", "..", "../users", "a/b", "a%2fb", "a?b=c", "a#b", "a b", "\u{e9}", "a\r\nb", &"x".repeat(500)] {
        let terminal_or_user = [client.terminal(id).await.map(drop), client.user(id).await.map(drop)];
        let errors: Vec<Result<(), ClientError>> = vec![
            client.qr_image(id).await.map(drop),
            client.pairing_status(id).await.map(drop),
            client.deactivate_pairing(id).await.map(drop),
            client.generate_reset_link(id).await.map(drop),
            client.send_reset_link(id, "a").await,
            client.authentication_status(id).await.map(drop),
            client.otp_auth(id, &otp).await.map(drop),
            client.cancel_authentication(id).await,
            client.enable_user(id).await.map(drop),
            client.disable_user(id).await.map(drop),
            client.pairings_of_user(id).await.map(drop),
        ];
        for error in errors.into_iter().chain(terminal_or_user) {
            assert_eq!(error.unwrap_err().kind(), ClientErrorKind::InvalidCall, "{id:?}");
        }
    }
    let call = ApiCall::create_user("a").with_parameter("oauth_timestamp", "0");
    assert_eq!(client.send(call).await.unwrap_err().kind(), ClientErrorKind::InvalidCall);
    assert_eq!(api.seen().len(), 0);
}

/// With tower's retry layer around the client, each attempt has a new signature.
#[tokio::test]
async fn a_retry_layer_signs_each_attempt() {
    #[derive(Clone)]
    struct Thrice(u32);
    impl tower::retry::Policy<ApiCall, ApiResponse, ClientError> for Thrice {
        type Future = std::future::Ready<()>;
        fn retry(&mut self, call: &mut ApiCall, result: &mut Result<ApiResponse, ClientError>) -> Option<Self::Future> {
            self.0 = self.0.checked_sub(1)?;
            (call.is_safe() && result.is_err()).then(|| std::future::ready(()))
        }
        fn clone_request(&mut self, call: &ApiCall) -> Option<ApiCall> {
            Some(call.clone())
        }
    }
    let api = Api::always(response(503, ""));
    let service = ServiceBuilder::new().retry(Thrice(2)).service(api.client());
    assert!(service.clone().oneshot(ApiCall::authentication_status("1")).await.is_err());
    assert_eq!(api.seen().len(), 3);
    assert!(service.oneshot(ApiCall::cancel_authentication("1")).await.is_err());
    assert_eq!(api.seen().len(), 4);
}

/// The client repeats a call once after a connection failure, and only if it is safe.
#[tokio::test]
async fn the_client_retries_only_safe_calls() {
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use toopher_oauth1::OauthRequest;

    let nonces: Arc<Mutex<Vec<String>>> = Arc::default();
    let keep = nonces.clone();
    let broken = tower::service_fn(move |request: Request<Bytes>| {
        let uri = request.uri();
        let base = toopher_oauth1::BaseUri::new("https", "mfa.example.test", uri.path()).unwrap();
        let header = request.headers()["authorization"].as_bytes();
        let signed = OauthRequest::parse(request.method().as_str(), base, [header], uri.query(), None).unwrap();
        keep.lock().unwrap().push(signed.nonce().to_owned());
        async { Err::<Response<Full<Bytes>>, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset)) }
    });
    let client = with_fixed_clock(ToopherClient::with_transport(base(), credentials(), broken));
    let attempts = || std::mem::take(&mut *nonces.lock().unwrap());
    let error = client.authentication_status("1").await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Transport);
    assert!(std::error::Error::source(&error).is_some());
    let two = attempts();
    assert_eq!(two.len(), 2);
    assert_ne!(two[0], two[1]);
    let otp = "081804".parse().unwrap();
    assert_eq!(client.otp_auth("1", &otp).await.unwrap_err().kind(), ClientErrorKind::Transport);
    assert_eq!(
        client.authenticate(AuthenticationRequest::from_user_name("a")).await.unwrap_err().kind(),
        ClientErrorKind::Transport
    );
    assert_eq!(attempts().len(), 2);
    assert_eq!(
        client.clone().retry_safe(false).authentication_status("1").await.unwrap_err().kind(),
        ClientErrorKind::Transport
    );
    assert_eq!(attempts().len(), 1);
}

#[tokio::test]
async fn a_clock_before_1970_signs_nothing() {
    let api = Api::always(response(200, GRANTED));
    let clock = Clock::from_system_time(|| UNIX_EPOCH - Duration::from_secs(1));
    let client = api.client().clock(clock);
    assert_eq!(client.authentication_status("1").await.unwrap_err().kind(), ClientErrorKind::Clock);
    assert_eq!(api.seen().len(), 0);
}

/// Threads can share these types, with any transport.
#[test]
fn clients_and_verifiers_are_shareable() {
    use tower_toopher::client::iframe::{Iframe, Page, Postback};
    use tower_toopher::client::{BaseUrl, PairingStatus, ToopherVerifier};

    fn shareable<T: Clone + Send + Sync + Unpin + 'static>() {}
    fn sendable<T: Send + Sync + std::error::Error + 'static>() {}
    fn usable<T: Clone + Send + Sync + Unpin + 'static>()
    where
        ToopherClient<T>: Service<ApiCall, Future: Send>,
    {
        shareable::<(ToopherClient<T>, ToopherVerifier<ToopherClient<T>>)>();
    }
    #[cfg(feature = "client")]
    usable::<tower_toopher::client::ReqwestTransport>();
    #[cfg(feature = "client-hyper")]
    usable::<tower_toopher::client::HyperTransport>();
    shareable::<(ApiCall, ApiResponse, AuthenticationRequest, BaseUrl, PairingStatus, Iframe, Page, Postback)>();
    sendable::<ClientError>();
}

/// The futures of the methods can move to other threads.
#[tokio::test]
async fn futures_of_methods_are_send() {
    let client = Api::always(response(200, GRANTED)).client();
    let task = tokio::spawn(async move { client.authentication_status("1").await });
    assert!(task.await.unwrap().unwrap().is_granted());
}
