//! The verifier over the Toopher API: the verdict for each response.
use std::convert::Infallible;
use std::future::{Future, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::support::{Api, ApiHttpResponse, DENIED, GRANTED, PENDING, Slow, api_error, attempt, response, status};
use tower::{Service, ServiceExt};
use tower_toopher::client::{
    ApiCall, ApiResponse, ClientError, ClientErrorKind, PairingIds, ToopherClient, ToopherVerifier,
};
use tower_toopher::verify::{ApprovalId, ApprovalMode, ErrorClass, PendingApproval, VerifierError};
use tower_toopher::{Attempt, DenyReason, Factor, Terminal, UserId, Verdict};

const PUSHED: Verdict = Verdict::Granted(Factor::Push);
const INITIATE: &str = "authentication_requests/initiate";
const STATUS: &str = "authentication_requests/1";

fn with_otp(otp: &str) -> Attempt {
    attempt("alice").with_otp(Some(otp.parse().unwrap()))
}

fn requesting(user: &str) -> Attempt {
    attempt(user).with_approval_mode(ApprovalMode::Request)
}

fn polling(user: &str) -> Attempt {
    attempt(user).with_approval_mode(ApprovalMode::Poll(ApprovalId::new("1").unwrap()))
}

/// The verifier has just requested an approval.
fn requested() -> Verdict {
    PendingApproval::new().with_retry_after(Some(Duration::from_secs(2))).with_id(ApprovalId::new("1").unwrap()).into()
}

/// The user has not decided yet.
fn pending() -> Verdict {
    Verdict::pending(Some(Duration::from_secs(2)))
}

fn denied(reason: DenyReason) -> Verdict {
    Verdict::Denied(reason)
}

fn verifier(api: &Api) -> ToopherVerifier<ToopherClient<Api>> {
    ToopherVerifier::new(api.client())
}

async fn verify<V: Service<Attempt, Response = Verdict> + Clone>(
    verifier: &V,
    attempt: &Attempt,
) -> Result<Verdict, V::Error> {
    verifier.clone().oneshot(attempt.clone()).await
}

/// The kind of the client's error that caused an error of the verifier.
fn kind(error: &VerifierError) -> Option<ClientErrorKind> {
    ClientError::find_in(error).map(ClientError::kind)
}

/// The verdicts for one response, to an attempt with an OTP and to one without.
async fn outcomes(response: ApiHttpResponse) -> [Result<Verdict, VerifierError>; 2] {
    let api = Api::always(response);
    [verify(&verifier(&api), &with_otp("081804")).await, verify(&verifier(&api), &requesting("alice")).await]
}

#[tokio::test]
async fn with_an_otp_no_push_is_sent() {
    let api = Api::script(vec![
        response(200, GRANTED),
        response(200, DENIED),
        response(200, PENDING),
        response(200, GRANTED),
    ]);
    let verifier = verifier(&api);
    assert_eq!(verify(&verifier, &with_otp("081 804")).await.unwrap(), Verdict::Granted(Factor::Totp));
    assert_eq!(verify(&verifier, &with_otp("081804")).await.unwrap(), denied(DenyReason::WrongOtp));
    assert_eq!(
        kind(&verify(&verifier, &with_otp("081804")).await.unwrap_err()),
        Some(ClientErrorKind::UnexpectedResponse)
    );
    assert_eq!(
        verify(&verifier, &with_otp("ABCD-EFGH-JKMN-PQRS")).await.unwrap(),
        Verdict::Granted(Factor::RecoveryCode)
    );
    let seen = api.seen();
    assert!(seen.iter().all(|seen| seen.path == INITIATE && seen.get("otp").is_some_and(|otp| !otp.is_empty())));
    assert_eq!(seen[0].body, "user_name=alice&action_name=log+in&automation_allowed=false&otp=081804");
}

#[tokio::test]
async fn without_an_otp_an_approval_is_requested_and_polled() {
    let api = Api::script(vec![
        response(200, PENDING),
        response(200, PENDING),
        response(200, GRANTED),
        response(200, DENIED),
    ]);
    let verifier = verifier(&api);
    assert_eq!(verify(&verifier, &requesting("alice")).await.unwrap(), requested());
    assert_eq!(verify(&verifier, &polling("alice")).await.unwrap(), pending());
    assert_eq!(verify(&verifier, &polling("alice")).await.unwrap(), PUSHED);
    assert_eq!(verify(&verifier, &polling("alice")).await.unwrap(), denied(DenyReason::DeniedByUser));
    assert_eq!(api.paths(), [INITIATE, STATUS, STATUS, STATUS]);
    assert!(api.seen().iter().all(|seen| seen.get("otp").is_none()));
}

/// The mode of the attempt decides whether the verifier sends a push.
#[tokio::test]
async fn no_push_is_sent_unless_approvals_are_allowed() {
    let api = Api::always(response(200, GRANTED));
    assert_eq!(verify(&verifier(&api), &attempt("alice")).await.unwrap(), denied(DenyReason::OtpRequired));
    assert!(api.seen().is_empty());
}

#[tokio::test]
async fn the_number_that_the_user_enters_on_the_phone() {
    let pending = |number: &str| response(200, format!(r#"{{"id":"1","pending":true,"granted":false{number}}}"#));
    for (json, number) in [
        (r#","number":"07""#, Some(7)),
        (r#","number":"42""#, Some(42)),
        (r#","number":"7""#, None),
        (r#","number":"123""#, None),
        (r#","number":"+4""#, None),
        ("", None),
    ] {
        let api = Api::always(pending(json));
        let matching = verifier(&api).number_matching();
        for attempt in [requesting("alice"), polling("alice")] {
            let Verdict::Pending(pending) = verify(&matching, &attempt).await.unwrap() else { panic!("{json}") };
            assert_eq!(pending.number(), number, "{json}");
        }
        assert_eq!(api.seen()[0].get("number_matching"), Some("true"));
    }
    // By default the call is that of older clients.
    let api = Api::always(response(200, PENDING));
    let _ = verify(&verifier(&api), &requesting("alice")).await.unwrap();
    assert_eq!(api.seen()[0].get("number_matching"), None);
}

#[tokio::test]
async fn a_rule_of_the_user_decides_immediately() {
    let automated = r#"{"id":"1","pending":false,"granted":true,"automated":true}"#;
    let api = Api::script(vec![response(200, automated), response(200, DENIED)]);
    let verifier = verifier(&api);
    assert_eq!(verify(&verifier, &requesting("alice")).await.unwrap(), PUSHED);
    assert_eq!(verify(&verifier, &requesting("alice")).await.unwrap(), denied(DenyReason::DeniedByUser));
    assert_eq!(api.paths(), [INITIATE, INITIATE]);
}

/// A grant for another reason, such as a rule, does not prove that the OTP is valid.
#[tokio::test]
async fn a_grant_with_an_invalid_otp_is_an_error() {
    let grant =
        |valid: &str| response(200, format!(r#"{{"id":"1","pending":false,"granted":true,"totp_valid":{valid}}}"#));
    for (valid, passes) in [("true", true), ("null", true), ("false", false), ("\"False\"", false), ("0", false)] {
        let [otp, phone] = outcomes(grant(valid)).await;
        assert_eq!(otp.is_ok_and(|verdict| verdict == Verdict::Granted(Factor::Totp)), passes, "{valid}");
        assert_eq!(phone.is_ok_and(|verdict| verdict == PUSHED), valid != "0", "{valid}");
    }
    let api = Api::always(response(200, GRANTED));
    let laptop = Terminal::new("laptop").with_discriminator("a");
    let _ = verify(&verifier(&api), &with_otp("081804").with_terminal(Some(laptop))).await.unwrap();
    assert_eq!(api.seen()[0].get("automation_allowed"), Some("false"));
}

/// The invalid combination is not a grant, with or without an OTP.
#[tokio::test]
async fn pending_and_granted_is_pending() {
    let [otp, phone] = outcomes(status("1", true, true)).await;
    assert_eq!(kind(&otp.unwrap_err()), Some(ClientErrorKind::UnexpectedResponse));
    assert_eq!(phone.unwrap(), requested());
    let api = Api::always(status("1", true, true));
    assert_eq!(verify(&verifier(&api), &polling("alice")).await.unwrap(), pending());
}

#[tokio::test]
async fn the_parameters_of_terminal_and_action() {
    let sent = |attempt: Attempt| async move {
        let attempt = attempt.with_approval_mode(ApprovalMode::Request);
        let api = Api::always(response(200, DENIED));
        let _ = verify(&verifier(&api), &attempt).await.unwrap();
        api.seen().remove(0).pairs.into_iter().skip(1).map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ")
    };
    let terminal = |terminal: Terminal| attempt("alice").with_terminal(Some(terminal));
    assert_eq!(sent(attempt("alice")).await, "action_name=log in automation_allowed=false");
    assert_eq!(
        sent(terminal(Terminal::new("laptop"))).await,
        "action_name=log in terminal_name=laptop automation_allowed=false"
    );
    assert_eq!(
        sent(terminal(Terminal::new("laptop").with_discriminator("a~b*c"))).await,
        "action_name=log in terminal_name=laptop terminal_name_extra=a~b*c"
    );
    assert_eq!(
        sent(terminal(Terminal::new("laptop").with_discriminator(""))).await,
        "action_name=log in terminal_name=laptop automation_allowed=false"
    );
    assert_eq!(sent(Attempt::new(UserId::new("a").unwrap(), "")).await, "automation_allowed=false");

    let api = Api::always(response(200, DENIED));
    let strict = verifier(&api).without_automation().require_lock_pattern();
    let _ = verify(&strict, &requesting("alice").with_terminal(Some(Terminal::new("laptop").with_discriminator("a"))))
        .await
        .unwrap();
    let seen = api.seen();
    assert_eq!((seen[0].get("automation_allowed"), seen[0].get("challenge_required")), (Some("false"), Some("true")));
}

/// 704 to 708 and 601: denials unless configured otherwise.
#[tokio::test]
async fn errors_of_the_api_are_denials_or_errors() {
    let gone = "This pairing has been deactivated.";
    for (http, code, message, otp, phone) in [
        (409, 704, "", Some(DenyReason::UnknownUser), Some(DenyReason::UnknownUser)),
        (409, 705, "", Some(DenyReason::UnknownUser), Some(DenyReason::UnknownUser)),
        (409, 706, "", None, Some(DenyReason::OtpRequired)),
        (409, 707, "", Some(DenyReason::NotEnrolled), Some(DenyReason::NotEnrolled)),
        (409, 601, gone, Some(DenyReason::NotEnrolled), Some(DenyReason::NotEnrolled)),
        (601, 601, gone, Some(DenyReason::NotEnrolled), Some(DenyReason::NotEnrolled)),
        (409, 708, "", None, Some(DenyReason::OtpRequired)),
        (409, 601, "No matching pairing exists.", Some(DenyReason::UnknownUser), Some(DenyReason::UnknownUser)),
        (409, 601, "what", None, None),
        (409, 42, "what", None, None),
        (400, 400, "", None, None),
        (401, 401, "", None, None),
        (401, 705, "", None, None),
        (403, 403, "", None, None),
        (404, 404, "", None, None),
        (500, 705, "", None, None),
        (503, 707, gone, None, None),
    ] {
        let outcomes = outcomes(api_error(http, code, message)).await;
        for (outcome, expected) in outcomes.into_iter().zip([otp, phone]) {
            match expected {
                Some(reason) => assert_eq!(outcome.unwrap(), denied(reason), "{http} {code}"),
                None => {
                    let kind = kind(&outcome.unwrap_err());
                    let server_error = kind == Some(ClientErrorKind::ServerError);
                    assert!(server_error || matches!(kind, Some(ClientErrorKind::Api(_))), "{http} {code}");
                    assert_eq!(server_error, (500..600).contains(&http), "{http} {code}");
                }
            }
        }
    }
    let opted_out = Api::always(api_error(409, 704, ""));
    let open = verifier(&opted_out).insecure_on_opted_out(DenyReason::NotEnrolled);
    assert_eq!(verify(&open, &requesting("alice")).await.unwrap(), denied(DenyReason::NotEnrolled));
    let unknown = Api::always(api_error(409, 705, ""));
    let open = verifier(&unknown).on_unknown_user(DenyReason::NotEnrolled);
    assert_eq!(verify(&open, &with_otp("081804")).await.unwrap(), denied(DenyReason::NotEnrolled));
}

#[tokio::test]
async fn a_reason_code_of_708_requires_an_otp() {
    for body in [
        r#"{"id":"1","pending":true,"granted":false,"reason_code":708}"#,
        r#"{"id":"1","pending":false,"granted":false,"reason_code":"708"}"#,
    ] {
        let api = Api::always(response(200, body));
        let verifier = verifier(&api);
        for _ in 0..2 {
            assert_eq!(verify(&verifier, &requesting("alice")).await.unwrap(), denied(DenyReason::OtpRequired));
        }
        // The verifier does not poll.
        assert_eq!(api.paths(), [INITIATE, INITIATE]);
    }
}

#[tokio::test]
async fn too_many_calls_are_throttled() {
    for (body, stated, seconds) in [("{}", None, 30), (r#"{"error_code":429}"#, Some("7"), 7), ("", Some("soon"), 30)] {
        let mut busy = response(429, body);
        if let Some(stated) = stated {
            busy.headers_mut().insert("retry-after", stated.parse().unwrap());
        }
        let wait = denied(DenyReason::Throttled { retry_after: Duration::from_secs(seconds) });
        for outcome in outcomes(busy.clone()).await {
            assert_eq!(outcome.unwrap(), wait);
        }
        assert_eq!(verify(&verifier(&Api::always(busy)), &polling("alice")).await.unwrap(), wait);
    }
}

/// F4: an invalid response is an error, at each call and while polling.
#[tokio::test]
async fn invalid_responses_are_errors() {
    let invalid = || {
        let redirect = || {
            let mut redirect = response(302, GRANTED);
            redirect.headers_mut().insert("location", "https://elsewhere.test/".parse().unwrap());
            redirect
        };
        vec![
            response(200, ""),
            response(200, "<html>"),
            response(204, ""),
            redirect(),
            response(401, "a gateway"),
            response(500, GRANTED),
            response(200, &GRANTED.as_bytes()[..20]),
            response(200, r#"{"id":"1","pending":false,"granted":"true"}"#),
            response(200, r#"{"id":"1","pending":false,"granted":1}"#),
            response(200, r#"{"id":"1","granted":true}"#),
            response(200, r#"{"id":"1","pending":false,"granted":true,"granted":true}"#),
            api_error(401, 401, "Not a valid OAuth signed request"),
            api_error(500, 500, ""),
        ]
    };
    for response in invalid() {
        for outcome in outcomes(response.clone()).await {
            let error = outcome.unwrap_err();
            assert!(kind(&error).is_some_and(|kind| kind != ClientErrorKind::UnexpectedResponse), "{error:?}");
        }
        assert!(verify(&verifier(&Api::always(response)), &polling("alice")).await.is_err());
    }
    // The response has the id of another request.
    assert!(verify(&verifier(&Api::always(status("2", false, true))), &polling("alice")).await.is_err());
}

/// A request that the API does not know is denied, and does not stay pending until it expires.
#[tokio::test]
async fn an_unknown_request_is_denied() {
    let api = Api::always(api_error(404, 404, "what"));
    assert_eq!(verify(&verifier(&api), &polling("alice")).await.unwrap(), denied(DenyReason::InvalidApproval));
    assert_eq!(api.paths(), [STATUS]);
}

/// After a grant by OTP the verifier cancels the pending push. If the cancellation fails, the grant remains.
#[tokio::test(start_paused = true)]
async fn a_grant_by_otp_cancels_the_push() {
    const CANCEL: &str = "authentication_requests/1/cancel";
    let polling_with = |otp: &str| polling("alice").with_otp(Some(otp.parse().unwrap()));
    let api = Api::script(vec![response(200, GRANTED), response(500, "")]);
    assert_eq!(verify(&verifier(&api), &polling_with("081804")).await.unwrap(), Verdict::Granted(Factor::Totp));
    assert_eq!(api.paths(), [INITIATE, CANCEL]);
    let api = Api::always(response(200, DENIED));
    assert_eq!(verify(&verifier(&api), &polling_with("081804")).await.unwrap(), denied(DenyReason::WrongOtp));
    assert_eq!(api.paths(), [INITIATE]);

    let api = Api::always(response(200, GRANTED));
    let slow = Slow(api.clone(), Duration::from_millis(700));
    let client = ToopherClient::with_transport(super::support::base(), super::support::credentials(), slow);
    let verifier = ToopherVerifier::new(super::support::with_fixed_clock(client));
    let attempt = polling_with("081804");
    let verdict = tokio::time::timeout(Duration::from_secs(2), verify(&verifier, &attempt)).await.unwrap();
    assert_eq!(verdict.unwrap(), Verdict::Granted(Factor::Totp));
}

#[tokio::test]
async fn terminals_are_created_once_and_only_if_configured() {
    let known = Arc::new(AtomicBool::new(false));
    let (learns, created) = (known.clone(), Arc::new(AtomicUsize::new(0)));
    let count = created.clone();
    let api = Api::new(move |seen| {
        if seen.path == "user_terminals/create" {
            assert_eq!((seen.get("user_name"), seen.get("name_extra")), (Some("alice"), Some("a")));
            count.fetch_add(1, Ordering::SeqCst);
            learns.store(true, Ordering::SeqCst);
            return response(200, "{}");
        }
        if known.load(Ordering::SeqCst) { response(200, PENDING) } else { api_error(409, 706, "") }
    });
    let laptop = requesting("alice").with_terminal(Some(Terminal::new("laptop").with_discriminator("a")));
    assert_eq!(verify(&verifier(&api), &laptop).await.unwrap(), denied(DenyReason::OtpRequired));
    assert_eq!(created.load(Ordering::SeqCst), 0);
    assert_eq!(verify(&verifier(&api).create_terminals(), &laptop).await.unwrap(), requested());
    assert_eq!(created.load(Ordering::SeqCst), 1);
    // The verifier creates a terminal once, even if it stays unknown.
    let stubborn = Api::new(|seen| if seen.path == INITIATE { api_error(409, 706, "") } else { response(200, "{}") });
    let verdict = verify(&verifier(&stubborn).create_terminals(), &laptop).await.unwrap();
    assert_eq!(verdict, denied(DenyReason::OtpRequired));
    assert_eq!(stubborn.paths(), [INITIATE, "user_terminals/create", INITIATE]);
}

struct Table;

impl PairingIds for Table {
    type Error = &'static str;

    fn find(&self, user: &UserId) -> impl Future<Output = Result<Option<String>, &'static str>> + Send {
        ready(match user.as_str() {
            "alice" => Ok(Some("p-1".to_owned())),
            "empty" => Ok(Some(String::new())),
            "broken" => Err("no database"),
            _ => Ok(None),
        })
    }
}

#[tokio::test]
async fn users_can_be_identified_by_their_pairing() {
    let api = Api::always(response(200, GRANTED));
    let verifier = verifier(&api).with_pairing_ids(Arc::new(Table));
    assert_eq!(verify(&verifier, &requesting("alice")).await.unwrap(), PUSHED);
    assert_eq!(verify(&verifier, &with_otp("081804")).await.unwrap(), Verdict::Granted(Factor::Totp));
    assert!(api.seen().iter().all(|seen| seen.get("pairing_id") == Some("p-1") && seen.get("user_name").is_none()));
    for user in ["bob", "empty"] {
        let otp = Some("081804".parse().unwrap());
        assert_eq!(verify(&verifier, &attempt(user)).await.unwrap(), denied(DenyReason::NotEnrolled));
        assert_eq!(verify(&verifier, &requesting(user)).await.unwrap(), denied(DenyReason::NotEnrolled));
        assert_eq!(verify(&verifier, &attempt(user).with_otp(otp)).await.unwrap(), denied(DenyReason::NotEnrolled));
    }
    let error = verify(&verifier, &attempt("broken")).await.unwrap_err();
    assert_eq!((error.class(), kind(&error)), (Some(ErrorClass::Users), None));
    // The OTPs of users without a pairing are sent for a pairing that does not exist, so that the API counts them. No
    // response grants, and without an OTP no call is sent.
    let seen = api.seen();
    let ids: Vec<_> = seen[2..].iter().map(|seen| seen.get("pairing_id").unwrap()).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1] && ids.iter().all(|id| id.len() == 36), "{ids:?}");
    let otp = Some("081804".parse().unwrap());
    let bob = attempt("bob").with_otp(otp);
    for (response, expected) in [
        (api_error(409, 601, "No matching pairing exists."), Some(DenyReason::NotEnrolled)),
        (api_error(404, 404, ""), Some(DenyReason::NotEnrolled)),
        (api_error(429, 429, ""), Some(DenyReason::Throttled { retry_after: Duration::from_secs(30) })),
        (api_error(401, 401, ""), None),
        (api_error(503, 503, ""), None),
    ] {
        let api = Api::always(response);
        let verdict = verify(&self::verifier(&api).with_pairing_ids(Arc::new(Table)), &bob).await;
        assert_eq!(verdict.ok(), expected.map(denied));
        assert_eq!(api.seen()[0].get("pairing_id"), Some(ids[0]));
    }
}

/// The client can be any service of calls, also inside tower's layers, which box errors.
#[tokio::test]
async fn layers_around_the_client() {
    let api = Api::script(vec![api_error(409, 705, ""), api_error(409, 705, "")]);
    let client =
        tower::ServiceBuilder::new().concurrency_limit(2).timeout(Duration::from_secs(5)).service(api.client());
    let boxed = tower::util::BoxCloneService::new(client);
    let verifier = ToopherVerifier::new(boxed);
    assert_eq!(verify(&verifier, &requesting("alice")).await.unwrap(), denied(DenyReason::UnknownUser));

    // A service that responds to another call.
    let odd = tower::service_fn(|_: ApiCall| ready(Ok::<_, Infallible>(ApiResponse::Done)));
    let verifier = ToopherVerifier::new(odd);
    assert_eq!(
        kind(&verify(&verifier, &requesting("alice")).await.unwrap_err()),
        Some(ClientErrorKind::UnexpectedResponse)
    );
    assert_eq!(
        kind(&verify(&verifier, &with_otp("081804")).await.unwrap_err()),
        Some(ClientErrorKind::UnexpectedResponse)
    );
}

#[tokio::test]
async fn errors_and_debug_contain_no_secret() {
    let api = Api::always(api_error(400, 400, "081804"));
    let verifier = verifier(&api);
    let mut service = verifier.clone();
    let error = service.ready().await.unwrap().call(with_otp("081804")).await.unwrap_err();
    let shown = format!("{verifier:?} {error:?} {error}");
    assert!(!shown.contains("081804") && !shown.contains(super::support::SECRET), "{shown}");
}
