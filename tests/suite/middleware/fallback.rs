//! Two verifiers of the same users: which of them is called, and that no request is forwarded because one of them is
//! down or does not know the user.
use crate::support::{CODE, Calls, ScriptedVerifier, alice, totp_verifier, user};
use tower::{ServiceExt, service_fn};
use tower_toopher::verify::{ApprovalId, ApprovalMode, FallbackVerifier, PendingApproval};
use tower_toopher::{Attempt, BoxError, DenyReason, Factor, Verdict};

const TOTP: Verdict = Verdict::Granted(Factor::Totp);
const PUSH: Verdict = Verdict::Granted(Factor::Push);

fn denied(reason: DenyReason) -> Verdict {
    Verdict::Denied(reason)
}

/// The verdict of both for their verdicts, where `None` is an error, and the number of calls of each.
async fn verify(
    otps: Option<Verdict>,
    phones: Option<Verdict>,
    otp: bool,
    approval: ApprovalMode,
) -> (Option<Verdict>, [usize; 2]) {
    let scripted =
        |verdict: Option<Verdict>| ScriptedVerifier::new(move |_| verdict.clone().ok_or_else(|| "down".into()));
    let (otps, phones) = (scripted(otps), scripted(phones));
    let verifiers = [otps.clone(), phones.clone()];
    let attempt =
        Attempt::new(alice(), "pay").with_otp(otp.then(|| "081804".parse().unwrap())).with_approval_mode(approval);
    let verdict = FallbackVerifier::new(otps, phones).oneshot(attempt).await;
    (verdict.ok(), verifiers.map(|verifier| verifier.calls()))
}

#[tokio::test]
async fn the_called_verifiers_and_the_verdict() {
    use DenyReason::*;
    let poll = || ApprovalMode::Poll(ApprovalId::new("1").unwrap());
    let pending = || Verdict::from(PendingApproval::new());
    let (yes, no) = (true, false);
    for (otps, phones, otp, approval, verdict, calls) in [
        // The first verifier verifies an OTP.
        (Some(TOTP), Some(PUSH), yes, ApprovalMode::Disallowed, Some(TOTP), [2, 0]),
        (Some(denied(WrongOtp)), Some(PUSH), yes, ApprovalMode::Disallowed, Some(denied(WrongOtp)), [2, 0]),
        (Some(denied(WrongOtp)), Some(PUSH), yes, poll(), Some(denied(WrongOtp)), [2, 0]),
        (None, Some(PUSH), yes, ApprovalMode::Disallowed, None, [1, 0]),
        // A user without a factor there may have one here: codes of the phone, for example.
        (Some(denied(NotEnrolled)), Some(TOTP), yes, ApprovalMode::Disallowed, Some(TOTP), [1, 1]),
        (
            Some(denied(NotEnrolled)),
            Some(denied(WrongOtp)),
            yes,
            ApprovalMode::Disallowed,
            Some(denied(WrongOtp)),
            [1, 1],
        ),
        (Some(denied(UnknownUser)), None, yes, ApprovalMode::Disallowed, None, [1, 1]),
        // Without an OTP the second verifier requests an approval, if that is allowed.
        (Some(denied(OtpRequired)), Some(pending()), no, ApprovalMode::Request, Some(pending()), [0, 1]),
        (Some(denied(OtpRequired)), Some(PUSH), no, ApprovalMode::Request, Some(PUSH), [0, 1]),
        (
            Some(denied(OtpRequired)),
            Some(denied(DeniedByUser)),
            no,
            ApprovalMode::Request,
            Some(denied(DeniedByUser)),
            [0, 1],
        ),
        (Some(denied(OtpRequired)), Some(PUSH), no, ApprovalMode::Disallowed, Some(denied(OtpRequired)), [1, 0]),
        // Only the verifier that requested the approval knows its state.
        (Some(TOTP), Some(denied(DeniedByUser)), no, poll(), Some(denied(DeniedByUser)), [0, 1]),
        (Some(TOTP), None, no, poll(), None, [0, 1]),
        (Some(TOTP), Some(denied(NotEnrolled)), no, poll(), Some(denied(NotEnrolled)), [0, 1]),
        // The second verifier is down, or the user has no phone: an OTP is required.
        (Some(denied(OtpRequired)), None, no, ApprovalMode::Request, Some(denied(OtpRequired)), [1, 1]),
        (
            Some(denied(OtpRequired)),
            Some(denied(NotEnrolled)),
            no,
            ApprovalMode::Request,
            Some(denied(OtpRequired)),
            [1, 1],
        ),
        (
            Some(denied(OtpRequired)),
            Some(denied(UnknownUser)),
            no,
            ApprovalMode::Request,
            Some(denied(OtpRequired)),
            [1, 1],
        ),
        // A user is not enrolled only if both verifiers say so.
        (Some(denied(NotEnrolled)), None, no, ApprovalMode::Request, None, [1, 1]),
        (Some(denied(UnknownUser)), None, no, ApprovalMode::Request, None, [1, 1]),
        (Some(denied(NotEnrolled)), None, no, ApprovalMode::Disallowed, None, [1, 1]),
        (
            Some(denied(NotEnrolled)),
            Some(denied(OtpRequired)),
            no,
            ApprovalMode::Disallowed,
            Some(denied(OtpRequired)),
            [1, 1],
        ),
        (None, None, no, ApprovalMode::Request, None, [1, 1]),
        (None, Some(denied(NotEnrolled)), no, ApprovalMode::Request, None, [1, 1]),
        (Some(TOTP), None, no, ApprovalMode::Request, None, [1, 1]),
        // A user whom one of them knows is known.
        (
            Some(denied(NotEnrolled)),
            Some(denied(UnknownUser)),
            no,
            ApprovalMode::Request,
            Some(denied(NotEnrolled)),
            [1, 1],
        ),
        (
            Some(denied(UnknownUser)),
            Some(denied(NotEnrolled)),
            no,
            ApprovalMode::Request,
            Some(denied(NotEnrolled)),
            [1, 1],
        ),
        (
            Some(denied(UnknownUser)),
            Some(denied(UnknownUser)),
            yes,
            ApprovalMode::Disallowed,
            Some(denied(UnknownUser)),
            [1, 1],
        ),
    ] {
        let case = format!("{otps:?} {phones:?} {otp} {approval:?}");
        assert_eq!(verify(otps, phones, otp, approval).await, (verdict, calls), "{case}");
    }
}

/// A code for the second verifier counts as no attempt at the first one, so a user of a phone is not locked out. An
/// attacker has no guesses at both.
#[tokio::test]
async fn only_the_verifier_of_a_code_counts_it() {
    let (otps, _, _) = totp_verifier();
    let phones = Calls::default();
    let calls = phones.clone();
    let phone_codes = service_fn(move |attempt: Attempt| {
        calls.add();
        let verdict = match attempt.otp() {
            Some(_) => TOTP,
            None => denied(DenyReason::OtpRequired),
        };
        std::future::ready(Ok::<_, BoxError>(verdict))
    });
    let both = FallbackVerifier::new(otps, phone_codes);
    let verify = async |id: &str, otp: &str| {
        let attempt = Attempt::new(user(id), "pay").with_otp(Some(otp.parse().unwrap()));
        both.clone().oneshot(attempt).await.unwrap()
    };
    // Bob has only a phone, and sends more codes than the throttle admits.
    for _ in 0..50 {
        assert_eq!(verify("bob", "000000").await, TOTP);
    }
    assert_eq!(phones.count(), 50);
    // Alice has an authenticator: five guesses there, and none at the second verifier.
    for _ in 0..5 {
        assert_eq!(verify(alice().as_str(), "000000").await, denied(DenyReason::WrongOtp));
    }
    assert!(matches!(verify(alice().as_str(), CODE).await, Verdict::Denied(DenyReason::Throttled { .. })));
    assert_eq!(phones.count(), 50);
}
