//! The verifier over the Toopher API: what answers mean, and that one approval is asked for once and passes once.
#![allow(clippy::unwrap_used)]

mod client_common;

use std::convert::Infallible;
use std::future::{Future, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use client_common::{Answer, Api, DENIED, GRANTED, PENDING, Seen, Slow, answer, api_error, attempt, status};
use futures_util::future::join_all;
use tower::{Service, ServiceExt};
use tower_toopher::toopher::{ApiCall, ApiReply, PairingIds, ToopherClient, ToopherError, ToopherVerifier};
use tower_toopher::{Attempt, DenyReason, Factor, Terminal, UserId, Verdict};

const PUSHED: Verdict = Verdict::Granted(Factor::Push);
const INITIATE: &str = "authentication_requests/initiate";
const STATUS: &str = "authentication_requests/1";

fn with_otp(otp: &str) -> Attempt {
    attempt("alice").with_otp(Some(otp.parse().unwrap()))
}

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
    [ask(&verifier(&api), &with_otp("081804")).await, ask(&verifier(&api), &attempt("alice")).await]
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
async fn without_an_otp_the_phone_is_asked_once_and_then_polled() {
    let api = Api::script(vec![answer(200, PENDING), answer(200, PENDING), answer(200, GRANTED), answer(200, PENDING)]);
    let verifier = verifier(&api);
    let alice = attempt("alice");
    assert_eq!(ask(&verifier, &alice).await.unwrap(), waiting());
    assert_eq!(ask(&verifier, &alice).await.unwrap(), waiting());
    assert_eq!(ask(&verifier, &alice).await.unwrap(), PUSHED);
    // The approval is used up: the next request asks anew.
    assert_eq!(ask(&verifier, &alice).await.unwrap(), waiting());
    assert_eq!(api.paths(), [INITIATE, STATUS, STATUS, INITIATE]);
    assert!(api.seen().iter().all(|seen| seen.get("otp").is_none()));
}

#[tokio::test]
async fn a_refusal_on_the_phone_is_told_once() {
    let api = Api::script(vec![answer(200, PENDING), answer(200, DENIED), answer(200, PENDING)]);
    let verifier = verifier(&api);
    for expected in [waiting(), denied(DenyReason::Refused), waiting()] {
        assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), expected);
    }
    assert_eq!(api.paths(), [INITIATE, STATUS, INITIATE]);
}

#[tokio::test]
async fn a_rule_of_the_user_s_answers_at_once() {
    let automated = r#"{"id":"1","pending":false,"granted":true,"automated":true}"#;
    let api = Api::script(vec![answer(200, automated), answer(200, DENIED)]);
    let verifier = verifier(&api);
    assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), PUSHED);
    assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), denied(DenyReason::Refused));
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
    assert_eq!(phone.unwrap(), waiting());
    let api = Api::script(vec![status("1", true, false), status("1", true, true)]);
    let verifier = verifier(&api);
    assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), waiting());
    assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), waiting());
}

#[tokio::test]
async fn what_the_call_says_of_terminal_and_action() {
    let sent = |attempt: Attempt| async move {
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
    let _ = ask(&strict, &terminal(Terminal::new("laptop").with_discriminator("a"))).await.unwrap();
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
    assert_eq!(ask(&open, &attempt("alice")).await.unwrap(), denied(DenyReason::NotEnrolled));
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
            assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), denied(DenyReason::OtpRequired));
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
        // While it is polled the approval is kept.
        let api = Api::script(vec![answer(200, PENDING), busy, answer(200, GRANTED)]);
        let verifier = verifier(&api);
        for expected in [waiting(), wait, PUSHED] {
            assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), expected);
        }
    }
}

/// F4: whatever is no answer is trouble, at either call and while it is polled, and the approval outlives it.
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
        let api = Api::script(vec![answer(200, PENDING), odd_one, answer(200, GRANTED)]);
        let verifier = verifier(&api);
        assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), waiting());
        assert!(ask(&verifier, &attempt("alice")).await.is_err());
        assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), PUSHED);
        assert_eq!(api.paths(), [INITIATE, STATUS, STATUS]);
    }
    // Another request's answer is not ours.
    let api = Api::script(vec![status("1", true, false), status("2", false, true)]);
    let verifier = verifier(&api);
    assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), waiting());
    assert!(ask(&verifier, &attempt("alice")).await.is_err());
}

/// A request that the API has lost is asked anew, and not for two minutes in vain.
#[tokio::test]
async fn a_lost_request_is_started_anew() {
    let api = Api::script(vec![answer(200, PENDING), api_error(404, 404, "what"), answer(200, PENDING)]);
    let verifier = verifier(&api);
    assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), waiting());
    assert!(ask(&verifier, &attempt("alice")).await.is_err());
    assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), waiting());
    assert_eq!(api.paths(), [INITIATE, STATUS, INITIATE]);
}

#[tokio::test(start_paused = true)]
async fn an_approval_that_is_fetched_late_counts_for_nothing() {
    let api = Api::new(|seen: &Seen| if seen.path == INITIATE { answer(200, PENDING) } else { answer(200, GRANTED) });
    let verifier = verifier(&api);
    assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), waiting());
    tokio::time::advance(Duration::from_secs(120)).await;
    assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), waiting());
    assert_eq!(api.paths(), [INITIATE, INITIATE]);
    tokio::time::advance(Duration::from_secs(119)).await;
    assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), PUSHED);

    // Nor does one that runs out while it is fetched.
    let slow = ToopherVerifier::new(client_common::at_now(ToopherClient::with_transport(
        client_common::base(),
        client_common::credentials(),
        Slow(api.clone(), Duration::from_secs(2)),
    )))
    .pending_for(Duration::from_secs(3));
    assert_eq!(ask(&slow, &attempt("alice")).await.unwrap(), waiting());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(ask(&slow, &attempt("alice")).await.unwrap(), waiting());
}

/// F2: the approval of one attempt is no other attempt's.
#[tokio::test]
async fn another_user_action_or_terminal_never_sees_it() {
    let laptop = || Terminal::new("laptop").with_discriminator("a");
    let mine = attempt("alice").with_terminal(Some(laptop()));
    let others = [
        attempt("bob").with_terminal(Some(laptop())),
        Attempt::new(UserId::new("alice").unwrap(), "pay").with_terminal(Some(laptop())),
        attempt("alice"),
        attempt("alice").with_terminal(Some(Terminal::new("laptop"))),
        attempt("alice").with_terminal(Some(Terminal::new("laptop").with_discriminator("b"))),
        attempt("ALICE").with_terminal(Some(laptop())),
    ];
    for other in others {
        let api = Api::new(|seen| if seen.path == INITIATE { answer(200, PENDING) } else { answer(200, GRANTED) });
        let verifier = verifier(&api);
        assert_eq!(ask(&verifier, &mine).await.unwrap(), waiting());
        assert_eq!(ask(&verifier, &other).await.unwrap(), waiting());
        assert_eq!(api.paths(), [INITIATE, INITIATE]);
        assert_eq!(ask(&verifier, &mine).await.unwrap(), PUSHED);
    }
}

fn slow(api: &Api) -> ToopherVerifier<ToopherClient<Slow>> {
    let transport = Slow(api.clone(), Duration::from_millis(100));
    let client = ToopherClient::with_transport(client_common::base(), client_common::credentials(), transport);
    ToopherVerifier::new(client_common::at_now(client))
}

/// F1, in parallel: twenty requests start one push, and one of twenty gets the approval.
#[tokio::test(start_paused = true)]
async fn of_twenty_at_once_one_asks_and_one_passes() {
    let api = Api::new(|seen| if seen.path == INITIATE { answer(200, PENDING) } else { answer(200, GRANTED) });
    let verifier = slow(&api);
    let twenty = || async {
        let alice = attempt("alice");
        join_all((0..20).map(|_| ask(&verifier, &alice))).await.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    };
    assert!(twenty().await.iter().all(|verdict| *verdict == waiting()));
    assert_eq!(api.paths(), [INITIATE]);
    let verdicts = twenty().await;
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == PUSHED).count(), 1);
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == waiting()).count(), 19);
    assert_eq!(api.paths().iter().filter(|path| *path == INITIATE).count(), 1);
}

/// The same on several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_on_threads_one_passes() {
    for _ in 0..20 {
        let api = Api::new(|seen| if seen.path == INITIATE { answer(200, PENDING) } else { answer(200, GRANTED) });
        let verifier = verifier(&api);
        assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), waiting());
        let tasks = (0..20).map(|_| {
            let verifier = verifier.clone();
            tokio::spawn(async move { ask(&verifier, &attempt("alice")).await.unwrap() })
        });
        let verdicts = join_all(tasks).await;
        // Those that come after it ask anew, and may then be granted what they asked for themselves.
        let passed = verdicts.into_iter().filter(|verdict| *verdict.as_ref().unwrap() == PUSHED).count();
        let asked = api.paths().iter().filter(|path| *path == INITIATE).count();
        assert!(passed >= 1 && passed <= asked, "{passed} of {asked}");
    }
}

/// Hanging up while the phone is being asked does not ring it twice, and holds the place for a while only.
#[tokio::test(start_paused = true)]
async fn hanging_up_does_not_ring_again() {
    let api = Api::always(answer(200, PENDING));
    let verifier = slow(&api);
    for _ in 0..5 {
        let hasty = tokio::time::timeout(Duration::from_millis(50), ask(&verifier, &attempt("alice"))).await;
        assert!(hasty.is_err() || hasty.unwrap().unwrap() == waiting());
    }
    assert_eq!(api.paths(), [INITIATE]);
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), waiting());
    assert_eq!(api.paths(), [INITIATE, INITIATE]);
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_bounded() {
    let api = Api::always(answer(200, PENDING));
    let verifier = verifier(&api).capacity(6);
    let doing = |user: &str, action: String| Attempt::new(UserId::new(user).unwrap(), action);
    for at in 0..4 {
        assert_eq!(ask(&verifier, &doing("mallory", at.to_string())).await.unwrap(), waiting());
    }
    // A fifth does not ring.
    let fifth = ask(&verifier, &doing("mallory", "5".into())).await.unwrap();
    assert!(matches!(fifth, Verdict::Denied(DenyReason::Throttled { .. })), "{fifth:?}");
    assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), waiting());
    assert_eq!(ask(&verifier, &attempt("bob")).await.unwrap(), waiting());
    assert!(ask(&verifier, &attempt("carol")).await.unwrap_err().is_full());
    assert_eq!(api.seen().len(), 6);
    tokio::time::advance(Duration::from_secs(120)).await;
    assert_eq!(ask(&verifier, &attempt("carol")).await.unwrap(), waiting());
}

/// Whoever has shown an OTP needs the phone's answer no more.
#[tokio::test]
async fn an_otp_ends_the_wait() {
    let api = Api::new(|seen| {
        let asks = seen.path == INITIATE && seen.get("otp").is_none();
        if asks { answer(200, PENDING) } else { answer(200, GRANTED) }
    });
    let verifier = verifier(&api);
    assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), waiting());
    assert_eq!(ask(&verifier, &with_otp("081804")).await.unwrap(), Verdict::Granted(Factor::Totp));
    assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), waiting());
    assert_eq!(api.paths(), [INITIATE, INITIATE, INITIATE]);
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
    let laptop = attempt("alice").with_terminal(Some(Terminal::new("laptop").with_discriminator("a")));
    assert_eq!(ask(&verifier(&api), &laptop).await.unwrap(), denied(DenyReason::OtpRequired));
    assert_eq!(created.load(Ordering::SeqCst), 0);
    assert_eq!(ask(&verifier(&api).create_terminals(), &laptop).await.unwrap(), waiting());
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
    assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), PUSHED);
    assert_eq!(ask(&verifier, &with_otp("081804")).await.unwrap(), Verdict::Granted(Factor::Totp));
    assert!(api.seen().iter().all(|seen| seen.get("pairing_id") == Some("p-1") && seen.get("user_name").is_none()));
    for nobody in ["bob", "empty"] {
        let otp = Some("081804".parse().unwrap());
        assert_eq!(ask(&verifier, &attempt(nobody)).await.unwrap(), denied(DenyReason::NotEnrolled));
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
    assert_eq!(ask(&verifier, &attempt("alice")).await.unwrap(), denied(DenyReason::UnknownUser));

    // A service that answers another call than it was asked.
    let odd = tower::service_fn(|_: ApiCall| ready(Ok::<_, Infallible>(ApiReply::Done)));
    let verifier = ToopherVerifier::new(odd);
    assert!(ask(&verifier, &attempt("alice")).await.unwrap_err().is_answer());
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
