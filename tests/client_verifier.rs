//! The verifier over the Toopher API: what answers mean.
#![allow(clippy::unwrap_used)]

mod client_common;

use std::convert::Infallible;
use std::future::{Future, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use client_common::{Answer, Api, DENIED, GRANTED, PENDING, Slow, answer, api_error, attempt, status};
use tower::{Service, ServiceExt};
use tower_toopher::toopher::{ApiCall, ApiReply, PairingIds, ToopherClient, ToopherError, ToopherVerifier};
use tower_toopher::{Approval, ApprovalId, Attempt, DenyReason, Factor, Pending, Terminal, UserId, Verdict};

const PUSHED: Verdict = Verdict::Granted(Factor::Push);
const INITIATE: &str = "authentication_requests/initiate";
const STATUS: &str = "authentication_requests/1";

fn with_otp(otp: &str) -> Attempt {
    attempt("alice").with_otp(Some(otp.parse().unwrap()))
}

fn wanted(user: &str) -> Attempt {
    attempt(user).with_approval(Approval::Wanted)
}

fn asked(user: &str) -> Attempt {
    attempt(user).with_approval(Approval::Asked(ApprovalId::new("1").unwrap()))
}

/// The phone was asked just now.
fn begun() -> Verdict {
    Pending::new().with_retry_after(Some(Duration::from_secs(2))).with_id(ApprovalId::new("1").unwrap()).into()
}

/// It has not answered yet.
fn waiting() -> Verdict {
    Verdict::pending(Some(Duration::from_secs(2)))
}

fn denied(reason: DenyReason) -> Verdict {
    Verdict::Denied(reason)
}

fn verifier(api: &Api) -> ToopherVerifier<ToopherClient<Api>> {
    ToopherVerifier::new(api.client())
}

async fn ask<V: Service<Attempt, Response = Verdict> + Clone>(
    verifier: &V,
    attempt: &Attempt,
) -> Result<Verdict, V::Error> {
    verifier.clone().oneshot(attempt.clone()).await
}

/// What comes of one answer, to an attempt with an OTP and to one without.
async fn outcomes(answer: Answer) -> [Result<Verdict, ToopherError>; 2] {
    let api = Api::always(answer);
    [ask(&verifier(&api), &with_otp("081804")).await, ask(&verifier(&api), &wanted("alice")).await]
}

#[tokio::test]
async fn with_an_otp_nobody_is_disturbed() {
    let api = Api::script(vec![answer(200, GRANTED), answer(200, DENIED), answer(200, PENDING), answer(200, GRANTED)]);
    let verifier = verifier(&api);
    assert_eq!(ask(&verifier, &with_otp("081 804")).await.unwrap(), Verdict::Granted(Factor::Totp));
    assert_eq!(ask(&verifier, &with_otp("081804")).await.unwrap(), denied(DenyReason::WrongOtp));
    assert!(ask(&verifier, &with_otp("081804")).await.unwrap_err().is_answer());
    assert_eq!(ask(&verifier, &with_otp("ABCD-EFGH-JKMN-PQRS")).await.unwrap(), Verdict::Granted(Factor::BackupCode));
    let seen = api.seen();
    assert!(seen.iter().all(|seen| seen.path == INITIATE && seen.get("otp").is_some_and(|otp| !otp.is_empty())));
    assert_eq!(seen[0].body, "user_name=alice&action_name=log+in&automation_allowed=false&otp=081804");
}

#[tokio::test]
async fn without_an_otp_the_phone_is_asked_and_then_polled() {
    let api = Api::script(vec![answer(200, PENDING), answer(200, PENDING), answer(200, GRANTED), answer(200, DENIED)]);
    let verifier = verifier(&api);
    assert_eq!(ask(&verifier, &wanted("alice")).await.unwrap(), begun());
    assert_eq!(ask(&verifier, &asked("alice")).await.unwrap(), waiting());
    assert_eq!(ask(&verifier, &asked("alice")).await.unwrap(), PUSHED);
    assert_eq!(ask(&verifier, &asked("alice")).await.unwrap(), denied(DenyReason::Refused));
    assert_eq!(api.paths(), [INITIATE, STATUS, STATUS, STATUS]);
    assert!(api.seen().iter().all(|seen| seen.get("otp").is_none()));
}

/// Somebody must want it: by itself an attempt without an OTP disturbs nobody.
#[tokio::test]
async fn unless_an_approval_is_wanted_nobody_is_disturbed() {
    let api = Api::always(answer(200, GRANTED));
    assert_eq!(ask(&verifier(&api), &attempt("alice")).await.unwrap(), denied(DenyReason::OtpRequired));
    assert!(api.seen().is_empty());
}

#[tokio::test]
async fn the_number_that_the_phone_asks_for() {
    let pending = |number: &str| answer(200, format!(r#"{{"id":"1","pending":true,"granted":false{number}}}"#));
    for (said, number) in [
        (r#","number":"07""#, Some(7)),
        (r#","number":"42""#, Some(42)),
        (r#","number":"7""#, None),
        (r#","number":"123""#, None),
        (r#","number":"+4""#, None),
        ("", None),
    ] {
        let api = Api::always(pending(said));
        let matching = verifier(&api).number_matching();
        for attempt in [wanted("alice"), asked("alice")] {
            let Verdict::Pending(pending) = ask(&matching, &attempt).await.unwrap() else { panic!("{said}") };
            assert_eq!(pending.number(), number, "{said}");
        }
        assert_eq!(api.seen()[0].get("number_matching"), Some("true"));
    }
    // Who does not wish for it sends what the old clients sent.
    let api = Api::always(answer(200, PENDING));
    let _ = ask(&verifier(&api), &wanted("alice")).await.unwrap();
    assert_eq!(api.seen()[0].get("number_matching"), None);
}

#[tokio::test]
async fn a_rule_of_the_user_s_answers_at_once() {
    let automated = r#"{"id":"1","pending":false,"granted":true,"automated":true}"#;
    let api = Api::script(vec![answer(200, automated), answer(200, DENIED)]);
    let verifier = verifier(&api);
    assert_eq!(ask(&verifier, &wanted("alice")).await.unwrap(), PUSHED);
    assert_eq!(ask(&verifier, &wanted("alice")).await.unwrap(), denied(DenyReason::Refused));
    assert_eq!(api.paths(), [INITIATE, INITIATE]);
}

/// A grant that came about in another way, such as by a rule, is no proof that the OTP was right.
#[tokio::test]
async fn a_grant_in_spite_of_the_otp_is_trouble() {
    let grant =
        |valid: &str| answer(200, format!(r#"{{"id":"1","pending":false,"granted":true,"totp_valid":{valid}}}"#));
    for (valid, passes) in [("true", true), ("null", true), ("false", false), ("\"False\"", false), ("0", false)] {
        let [otp, phone] = outcomes(grant(valid)).await;
        assert_eq!(otp.is_ok_and(|verdict| verdict == Verdict::Granted(Factor::Totp)), passes, "{valid}");
        assert_eq!(phone.is_ok_and(|verdict| verdict == PUSHED), valid != "0", "{valid}");
    }
    let api = Api::always(answer(200, GRANTED));
    let laptop = Terminal::new("laptop").with_discriminator("a");
    let _ = ask(&verifier(&api), &with_otp("081804").with_terminal(Some(laptop))).await.unwrap();
    assert_eq!(api.seen()[0].get("automation_allowed"), Some("false"));
}

/// The illegal combination is not a grant, on either way.
#[tokio::test]
async fn pending_and_granted_is_pending() {
    let [otp, phone] = outcomes(status("1", true, true)).await;
    assert!(otp.unwrap_err().is_answer());
    assert_eq!(phone.unwrap(), begun());
    let api = Api::always(status("1", true, true));
    assert_eq!(ask(&verifier(&api), &asked("alice")).await.unwrap(), waiting());
}

#[tokio::test]
async fn what_the_call_says_of_terminal_and_action() {
    let sent = |attempt: Attempt| async move {
        let attempt = attempt.with_approval(Approval::Wanted);
        let api = Api::always(answer(200, DENIED));
        let _ = ask(&verifier(&api), &attempt).await.unwrap();
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

    let api = Api::always(answer(200, DENIED));
    let strict = verifier(&api).without_automation().require_challenge();
    let _ = ask(&strict, &wanted("alice").with_terminal(Some(Terminal::new("laptop").with_discriminator("a"))))
        .await
        .unwrap();
    let seen = api.seen();
    assert_eq!((seen[0].get("automation_allowed"), seen[0].get("challenge_required")), (Some("false"), Some("true")));
}

/// 704 to 708 and 601, closed unless somebody has opened them.
#[tokio::test]
async fn what_the_api_s_errors_mean() {
    let gone = "This pairing has been deactivated.";
    for (http, code, message, otp, phone) in [
        (409, 704, "", Some(DenyReason::UnknownUser), Some(DenyReason::UnknownUser)),
        (409, 705, "", Some(DenyReason::UnknownUser), Some(DenyReason::UnknownUser)),
        (409, 706, "", None, Some(DenyReason::OtpRequired)),
        (409, 707, "", Some(DenyReason::NotEnrolled), Some(DenyReason::NotEnrolled)),
        (409, 601, gone, Some(DenyReason::NotEnrolled), Some(DenyReason::NotEnrolled)),
        (601, 601, gone, Some(DenyReason::NotEnrolled), Some(DenyReason::NotEnrolled)),
        (409, 708, "", None, Some(DenyReason::OtpRequired)),
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
                None => assert!(outcome.unwrap_err().is_api(), "{http} {code}"),
            }
        }
    }
    let opted_out = Api::always(api_error(409, 704, ""));
    let open = verifier(&opted_out).insecure_opted_out_is_not_enrolled();
    assert_eq!(ask(&open, &wanted("alice")).await.unwrap(), denied(DenyReason::NotEnrolled));
    let unknown = Api::always(api_error(409, 705, ""));
    let open = verifier(&unknown).unknown_is_not_enrolled();
    assert_eq!(ask(&open, &with_otp("081804")).await.unwrap(), denied(DenyReason::NotEnrolled));
}

#[tokio::test]
async fn a_reason_code_of_708_wants_an_otp() {
    for body in [
        r#"{"id":"1","pending":true,"granted":false,"reason_code":708}"#,
        r#"{"id":"1","pending":false,"granted":false,"reason_code":"708"}"#,
    ] {
        let api = Api::always(answer(200, body));
        let verifier = verifier(&api);
        for _ in 0..2 {
            assert_eq!(ask(&verifier, &wanted("alice")).await.unwrap(), denied(DenyReason::OtpRequired));
        }
        // Nothing is waited for.
        assert_eq!(api.paths(), [INITIATE, INITIATE]);
    }
}

#[tokio::test]
async fn too_many_calls_are_a_wait() {
    for (body, stated, seconds) in [("{}", None, 30), (r#"{"error_code":429}"#, Some("7"), 7), ("", Some("soon"), 30)] {
        let mut busy = answer(429, body);
        if let Some(stated) = stated {
            busy.headers_mut().insert("retry-after", stated.parse().unwrap());
        }
        let wait = denied(DenyReason::Throttled { retry_after: Duration::from_secs(seconds) });
        for outcome in outcomes(busy.clone()).await {
            assert_eq!(outcome.unwrap(), wait);
        }
        assert_eq!(ask(&verifier(&Api::always(busy)), &asked("alice")).await.unwrap(), wait);
    }
}

/// F4: whatever is no answer is trouble, at either call and while it is polled.
#[tokio::test]
async fn trouble_is_no_verdict() {
    let odd = || {
        let redirect = || {
            let mut redirect = answer(302, GRANTED);
            redirect.headers_mut().insert("location", "https://elsewhere.test/".parse().unwrap());
            redirect
        };
        vec![
            answer(200, ""),
            answer(200, "<html>"),
            answer(204, ""),
            redirect(),
            answer(401, "a gateway"),
            answer(500, GRANTED),
            answer(200, &GRANTED.as_bytes()[..20]),
            answer(200, r#"{"id":"1","pending":false,"granted":"true"}"#),
            answer(200, r#"{"id":"1","pending":false,"granted":1}"#),
            answer(200, r#"{"id":"1","granted":true}"#),
            answer(200, r#"{"id":"1","pending":false,"granted":true,"granted":true}"#),
            api_error(401, 401, "Not a valid OAuth signed request"),
            api_error(500, 500, ""),
        ]
    };
    for odd_one in odd() {
        for outcome in outcomes(odd_one.clone()).await {
            let error = outcome.unwrap_err();
            assert!(error.is_api() && error.client_error().is_some() && !error.is_answer());
        }
        assert!(ask(&verifier(&Api::always(odd_one)), &asked("alice")).await.is_err());
    }
    // Another request's answer is not ours.
    assert!(ask(&verifier(&Api::always(status("2", false, true))), &asked("alice")).await.is_err());
}

/// A request that the API has lost is over: nobody waits for two minutes in vain.
#[tokio::test]
async fn a_lost_request_is_over() {
    let api = Api::always(api_error(404, 404, "what"));
    assert_eq!(ask(&verifier(&api), &asked("alice")).await.unwrap(), denied(DenyReason::UnknownApproval));
    assert_eq!(api.paths(), [STATUS]);
}

/// Whoever has shown an OTP needs the phone's answer no more, and the phone is told so; a phone that cannot be told does
/// not take the OTP's effect away.
#[tokio::test(start_paused = true)]
async fn a_right_otp_takes_the_question_back() {
    const CANCEL: &str = "authentication_requests/1/cancel";
    let asked_with = |otp: &str| asked("alice").with_otp(Some(otp.parse().unwrap()));
    let api = Api::script(vec![answer(200, GRANTED), answer(500, "")]);
    assert_eq!(ask(&verifier(&api), &asked_with("081804")).await.unwrap(), Verdict::Granted(Factor::Totp));
    assert_eq!(api.paths(), [INITIATE, CANCEL]);
    let api = Api::always(answer(200, DENIED));
    assert_eq!(ask(&verifier(&api), &asked_with("081804")).await.unwrap(), denied(DenyReason::WrongOtp));
    assert_eq!(api.paths(), [INITIATE]);

    let api = Api::always(answer(200, GRANTED));
    let slow = Slow(api.clone(), Duration::from_millis(700));
    let client = ToopherClient::with_transport(client_common::base(), client_common::credentials(), slow);
    let verifier = ToopherVerifier::new(client_common::at_now(client));
    let attempt = asked_with("081804");
    let answered = tokio::time::timeout(Duration::from_secs(2), ask(&verifier, &attempt)).await.unwrap();
    assert_eq!(answered.unwrap(), Verdict::Granted(Factor::Totp));
}

#[tokio::test]
async fn terminals_are_created_on_wish_and_once() {
    let known = Arc::new(AtomicBool::new(false));
    let (learns, created) = (known.clone(), Arc::new(AtomicUsize::new(0)));
    let count = created.clone();
    let api = Api::new(move |seen| {
        if seen.path == "user_terminals/create" {
            assert_eq!((seen.get("user_name"), seen.get("name_extra")), (Some("alice"), Some("a")));
            count.fetch_add(1, Ordering::SeqCst);
            learns.store(true, Ordering::SeqCst);
            return answer(200, "{}");
        }
        if known.load(Ordering::SeqCst) { answer(200, PENDING) } else { api_error(409, 706, "") }
    });
    let laptop = wanted("alice").with_terminal(Some(Terminal::new("laptop").with_discriminator("a")));
    assert_eq!(ask(&verifier(&api), &laptop).await.unwrap(), denied(DenyReason::OtpRequired));
    assert_eq!(created.load(Ordering::SeqCst), 0);
    assert_eq!(ask(&verifier(&api).create_terminals(), &laptop).await.unwrap(), begun());
    assert_eq!(created.load(Ordering::SeqCst), 1);
    // One that stays unknown is not created again and again.
    let stubborn = Api::new(|seen| if seen.path == INITIATE { api_error(409, 706, "") } else { answer(200, "{}") });
    let verdict = ask(&verifier(&stubborn).create_terminals(), &laptop).await.unwrap();
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
async fn users_can_be_named_by_their_pairing() {
    let api = Api::always(answer(200, GRANTED));
    let verifier = verifier(&api).by_pairing_id(Arc::new(Table));
    assert_eq!(ask(&verifier, &wanted("alice")).await.unwrap(), PUSHED);
    assert_eq!(ask(&verifier, &with_otp("081804")).await.unwrap(), Verdict::Granted(Factor::Totp));
    assert!(api.seen().iter().all(|seen| seen.get("pairing_id") == Some("p-1") && seen.get("user_name").is_none()));
    for nobody in ["bob", "empty"] {
        let otp = Some("081804".parse().unwrap());
        assert_eq!(ask(&verifier, &attempt(nobody)).await.unwrap(), denied(DenyReason::NotEnrolled));
        assert_eq!(ask(&verifier, &wanted(nobody)).await.unwrap(), denied(DenyReason::NotEnrolled));
        assert_eq!(ask(&verifier, &attempt(nobody).with_otp(otp)).await.unwrap(), denied(DenyReason::NotEnrolled));
    }
    assert!(ask(&verifier, &attempt("broken")).await.unwrap_err().is_pairing_ids());
    assert_eq!(api.seen().len(), 2);
}

/// Any service of calls will do, in tower's layers too, whose errors are boxed.
#[tokio::test]
async fn layers_around_the_client() {
    let api = Api::script(vec![api_error(409, 705, ""), api_error(409, 705, "")]);
    let client =
        tower::ServiceBuilder::new().concurrency_limit(2).timeout(Duration::from_secs(5)).service(api.client());
    let boxed = tower::util::BoxCloneService::new(client);
    let verifier = ToopherVerifier::new(boxed);
    assert_eq!(ask(&verifier, &wanted("alice")).await.unwrap(), denied(DenyReason::UnknownUser));

    // A service that answers another call than it was asked.
    let odd = tower::service_fn(|_: ApiCall| ready(Ok::<_, Infallible>(ApiReply::Done)));
    let verifier = ToopherVerifier::new(odd);
    assert!(ask(&verifier, &wanted("alice")).await.unwrap_err().is_answer());
    assert!(ask(&verifier, &with_otp("081804")).await.unwrap_err().is_answer());
}

#[tokio::test]
async fn nothing_secret_is_printed() {
    let api = Api::always(api_error(400, 400, "081804"));
    let verifier = verifier(&api);
    let mut asking = verifier.clone();
    let error = asking.ready().await.unwrap().call(with_otp("081804")).await.unwrap_err();
    let shown = format!("{verifier:?} {error:?} {error}");
    assert!(!shown.contains("081804") && !shown.contains(client_common::SECRET), "{shown}");
}
