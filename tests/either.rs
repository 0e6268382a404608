//! Two verifiers of the same users: who is asked, and that nobody passes because one of them is down or knows nothing.
#![allow(clippy::unwrap_used)]

mod common;

use common::{CODE, Calls, Says, alice, totp_verifier, user};
use tower::{ServiceExt, service_fn};
use tower_toopher::{Approval, ApprovalId, Attempt, BoxError, DenyReason, EitherVerifier, Factor, Pending, Verdict};

const TOTP: Verdict = Verdict::Granted(Factor::Totp);
const PUSH: Verdict = Verdict::Granted(Factor::Push);

fn denied(reason: DenyReason) -> Verdict {
    Verdict::Denied(reason)
}

/// What comes of two answers, of which none is trouble; and who was asked.
async fn ask(
    otps: Option<Verdict>,
    phones: Option<Verdict>,
    otp: bool,
    approval: Approval,
) -> (Option<Verdict>, [usize; 2]) {
    let says = |verdict: Option<Verdict>| Says::new(move |_| verdict.clone().ok_or_else(|| "down".into()));
    let (otps, phones) = (says(otps), says(phones));
    let asked = [otps.clone(), phones.clone()];
    let attempt = Attempt::new(alice(), "pay").with_otp(otp.then(|| "081804".parse().unwrap())).with_approval(approval);
    let verdict = EitherVerifier::new(otps, phones).oneshot(attempt).await;
    (verdict.ok(), asked.map(|verifier| verifier.calls()))
}

#[tokio::test]
async fn who_is_asked_and_what_comes_of_it() {
    use DenyReason::*;
    let asked = || Approval::Asked(ApprovalId::new("1").unwrap());
    let pending = || Verdict::from(Pending::new());
    let (yes, no) = (true, false);
    for (otps, phones, otp, approval, verdict, calls) in [
        // An OTP is the first one's.
        (Some(TOTP), Some(PUSH), yes, Approval::Unwanted, Some(TOTP), [2, 0]),
        (Some(denied(WrongOtp)), Some(PUSH), yes, Approval::Unwanted, Some(denied(WrongOtp)), [2, 0]),
        (Some(denied(WrongOtp)), Some(PUSH), yes, asked(), Some(denied(WrongOtp)), [2, 0]),
        (None, Some(PUSH), yes, Approval::Unwanted, None, [1, 0]),
        // Who has nothing there may have something here: a phone's codes, say.
        (Some(denied(NotEnrolled)), Some(TOTP), yes, Approval::Unwanted, Some(TOTP), [1, 1]),
        (Some(denied(NotEnrolled)), Some(denied(WrongOtp)), yes, Approval::Unwanted, Some(denied(WrongOtp)), [1, 1]),
        (Some(denied(UnknownUser)), None, yes, Approval::Unwanted, None, [1, 1]),
        // Without one the phone is asked, if it is wanted.
        (Some(denied(OtpRequired)), Some(pending()), no, Approval::Wanted, Some(pending()), [0, 1]),
        (Some(denied(OtpRequired)), Some(PUSH), no, Approval::Wanted, Some(PUSH), [0, 1]),
        (Some(denied(OtpRequired)), Some(denied(Refused)), no, Approval::Wanted, Some(denied(Refused)), [0, 1]),
        (Some(denied(OtpRequired)), Some(PUSH), no, Approval::Unwanted, Some(denied(OtpRequired)), [1, 0]),
        // Only who was asked knows the answer.
        (Some(TOTP), Some(denied(Refused)), no, asked(), Some(denied(Refused)), [0, 1]),
        (Some(TOTP), None, no, asked(), None, [0, 1]),
        (Some(TOTP), Some(denied(NotEnrolled)), no, asked(), Some(denied(NotEnrolled)), [0, 1]),
        // Down, or without a phone: an OTP will do.
        (Some(denied(OtpRequired)), None, no, Approval::Wanted, Some(denied(OtpRequired)), [1, 1]),
        (Some(denied(OtpRequired)), Some(denied(NotEnrolled)), no, Approval::Wanted, Some(denied(OtpRequired)), [1, 1]),
        (Some(denied(OtpRequired)), Some(denied(UnknownUser)), no, Approval::Wanted, Some(denied(OtpRequired)), [1, 1]),
        // Nobody passes for having nothing while one of the two does not say so.
        (Some(denied(NotEnrolled)), None, no, Approval::Wanted, None, [1, 1]),
        (Some(denied(UnknownUser)), None, no, Approval::Wanted, None, [1, 1]),
        (Some(denied(NotEnrolled)), None, no, Approval::Unwanted, None, [1, 1]),
        (
            Some(denied(NotEnrolled)),
            Some(denied(OtpRequired)),
            no,
            Approval::Unwanted,
            Some(denied(OtpRequired)),
            [1, 1],
        ),
        (None, None, no, Approval::Wanted, None, [1, 1]),
        (None, Some(denied(NotEnrolled)), no, Approval::Wanted, None, [1, 1]),
        (Some(TOTP), None, no, Approval::Wanted, None, [1, 1]),
        // A user whom one of them knows is known.
        (Some(denied(NotEnrolled)), Some(denied(UnknownUser)), no, Approval::Wanted, Some(denied(NotEnrolled)), [1, 1]),
        (Some(denied(UnknownUser)), Some(denied(NotEnrolled)), no, Approval::Wanted, Some(denied(NotEnrolled)), [1, 1]),
        (
            Some(denied(UnknownUser)),
            Some(denied(UnknownUser)),
            yes,
            Approval::Unwanted,
            Some(denied(UnknownUser)),
            [1, 1],
        ),
    ] {
        let case = format!("{otps:?} {phones:?} {otp} {approval:?}");
        assert_eq!(ask(otps, phones, otp, approval).await, (verdict, calls), "{case}");
    }
}

/// Codes for the phone's side are no guesses at the other one: nobody is locked out there by using a phone, and nobody
/// can be guessed at on both sides at once.
#[tokio::test]
async fn codes_count_where_they_are_looked_at() {
    let (otps, _, _) = totp_verifier();
    let phones = Calls::default();
    let asked = phones.clone();
    let phones_codes = service_fn(move |attempt: Attempt| {
        asked.add();
        let verdict = match attempt.otp() {
            Some(_) => TOTP,
            None => denied(DenyReason::OtpRequired),
        };
        std::future::ready(Ok::<_, BoxError>(verdict))
    });
    let both = EitherVerifier::new(otps, phones_codes);
    let verify = async |id: &str, otp: &str| {
        let attempt = Attempt::new(user(id), "pay").with_otp(Some(otp.parse().unwrap()));
        both.clone().oneshot(attempt).await.unwrap()
    };
    // Bob has only a phone: more codes than the throttle would let pass.
    for _ in 0..50 {
        assert_eq!(verify("bob", "000000").await, TOTP);
    }
    assert_eq!(phones.count(), 50);
    // Alice has an authenticator: five guesses there, and none on the phone's side.
    for _ in 0..5 {
        assert_eq!(verify(alice().as_str(), "000000").await, denied(DenyReason::WrongOtp));
    }
    assert!(matches!(verify(alice().as_str(), CODE).await, Verdict::Denied(DenyReason::Throttled { .. })));
    assert_eq!(phones.count(), 50);
}
