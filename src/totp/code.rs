use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

use data_encoding::BASE64URL_NOPAD;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::algorithm::{Algorithm, Digits};
use super::hmac::{HmacKey, hmac};
use super::secret::Secret;
use super::window::Window;
use crate::time::UnixTime;
use crate::verify::Otp;

/// Computes codes from a secret and the time (RFC 6238), with an algorithm, a number of digits and a period.
///
/// The defaults (SHA-1, six digits, 30 seconds) are those that every authenticator app computes. Several apps ignore
/// other parameters in a QR code, so change the defaults only for authenticators that support it. SHA-1 is no weakness
/// here, because HMAC does not need collision resistance.
///
/// ```
/// use tower_toopher::time::UnixTime;
/// use tower_toopher::totp::{Digits, Secret, Totp};
///
/// let secret = Secret::from_bytes(*b"12345678901234567890")?;
/// let totp = Totp::new(secret).digits(Digits::Eight);
/// assert_eq!(totp.code_at(UnixTime::from_secs(1_111_111_109)).as_str(), "07081804");
/// # Ok::<(), tower_toopher::totp::SecretError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Totp {
    secret: Secret,
    hmac: HmacKey,
    algorithm: Algorithm,
    digits: Digits,
    period: NonZeroU32,
    /// Computed when a first code is recorded as used.
    id: OnceLock<Arc<str>>,
}

impl Totp {
    /// Computes codes of six digits with SHA-1 and a period of 30 seconds.
    pub fn new(secret: Secret) -> Self {
        const THIRTY: NonZeroU32 = NonZeroU32::MIN.saturating_add(29);
        let algorithm = Algorithm::default();
        let hmac = HmacKey::new(algorithm, secret.as_bytes());
        Self { secret, hmac, algorithm, digits: Digits::default(), period: THIRTY, id: OnceLock::new() }
    }

    /// Sets the algorithm. Default: SHA-1.
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        if algorithm != self.algorithm {
            self.hmac = HmacKey::new(algorithm, self.secret.as_bytes());
            self.algorithm = algorithm;
            self.id = OnceLock::new();
        }
        self
    }

    /// Sets the number of digits. Default: six.
    pub fn digits(mut self, digits: Digits) -> Self {
        self.digits = digits;
        self
    }

    /// Sets the length of a time step in seconds. Default: 30.
    ///
    /// A code is valid once, as long as its step is in the window. A longer period gives more time to a person who
    /// reads the code over the user's shoulder.
    pub fn period(mut self, seconds: NonZeroU32) -> Self {
        self.period = seconds;
        self.id = OnceLock::new();
        self
    }

    /// The code that the authenticator displays at `time`.
    #[must_use]
    pub fn code_at(&self, time: UnixTime) -> Otp {
        let mut truncated = 0;
        self.hmac.for_each([(self.step_at(time), ())], |_, (), of_step| truncated = of_step);
        Otp::from_digits(self.last_digits(truncated), self.digits.get())
    }

    /// The secret.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The algorithm, the digits, and the period in seconds, for storing them with the secret.
    #[must_use]
    pub fn parameters(&self) -> (Algorithm, Digits, NonZeroU32) {
        (self.algorithm, self.digits, self.period)
    }

    /// Whether both compute the same codes: their algorithms and periods are equal, and their secrets are the same key
    /// for HMAC (RFC 2104), which appends zeros to a short key and hashes a long one. The number of digits is not
    /// compared, because the shorter codes are the ends of the longer ones.
    #[must_use]
    pub fn has_same_codes(&self, other: &Self) -> bool {
        self.id().as_bytes().ct_eq(other.id().as_bytes()).into()
    }

    /// Identifies the secret and the period in the store of used steps, by an HMAC with the secret, so that secrets
    /// which compute the same codes have one id. A secret of 128 random bits cannot be found from it.
    pub(super) fn id(&self) -> &Arc<str> {
        self.id.get_or_init(|| {
            let text = [&b"tower-toopher used steps\0"[..], &self.period.get().to_be_bytes()].concat();
            BASE64URL_NOPAD.encode(&hmac(self.algorithm, self.secret.as_bytes(), &text)).into()
        })
    }

    pub(super) fn step_at(&self, time: UnixTime) -> u64 {
        time.as_secs() / u64::from(self.period.get())
    }

    /// The step of the window whose code is `otp`. It computes and compares every step, whichever matches. If two steps
    /// have the same code, it returns the later one, so that recording it as used applies to both.
    pub(super) fn matching_step(&self, otp: &Otp, now: UnixTime, window: Window) -> Option<u64> {
        let current = self.step_at(now);
        let steps = (-i64::from(window.past)..=i64::from(window.future)).map(|offset| {
            // A step before the first or after the last one is compared too, and never matches.
            let step = current.checked_add_signed(offset);
            (step.unwrap_or(current), Choice::from(u8::from(step.is_some())))
        });
        // Numbers compare in one step each. The length is compared too, because zeros may lead.
        let (given, length) = otp.number();
        let right_length = length.ct_eq(&self.digits.get());
        let (mut found, mut matching) = (Choice::from(0), 0_u64);
        self.hmac.for_each(steps, |step, exists, truncated| {
            let hit = self.last_digits(truncated).ct_eq(&given) & right_length & exists;
            matching.conditional_assign(&step, hit);
            found |= hit;
        });
        bool::from(found).then_some(matching)
    }

    /// The digits of the code.
    fn last_digits(&self, truncated: u32) -> u32 {
        truncated % 10_u32.pow(u32::from(self.digits.get()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn totp(key: &[u8]) -> Totp {
        Totp::new(Secret::from_bytes(key).unwrap())
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_secs(seconds)
    }

    const RFC_SECRET: &[u8] = b"12345678901234567890";
    const K32: &[u8] = b"12345678901234567890123456789012";
    const K64: &[u8] = b"1234567890123456789012345678901234567890123456789012345678901234";

    /// RFC 6238 appendix B, with the seeds of its erratum.
    #[test]
    fn rfc_6238_vectors() {
        for (seconds, sha1, sha256, sha512) in [
            (59, "94287082", "46119246", "90693936"),
            (1_111_111_109, "07081804", "68084774", "25091201"),
            (1_111_111_111, "14050471", "67062674", "99943326"),
            (1_234_567_890, "89005924", "91819424", "93441116"),
            (2_000_000_000, "69279037", "90698825", "38618901"),
            (20_000_000_000, "65353130", "77737706", "47863826"),
        ] {
            for (algorithm, key, code) in [
                (Algorithm::Sha1, RFC_SECRET, sha1),
                (Algorithm::Sha256, K32, sha256),
                (Algorithm::Sha512, K64, sha512),
            ] {
                let totp = totp(key).algorithm(algorithm).digits(Digits::Eight);
                assert_eq!(totp.code_at(at(seconds)).as_str(), code, "{algorithm:?} at {seconds}");
            }
        }
    }

    /// RFC 4226 appendix D: the steps are its counters.
    #[test]
    fn rfc_4226_vectors() {
        let codes =
            ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
        for (step, code) in (0..).zip(codes) {
            assert_eq!(totp(RFC_SECRET).code_at(at(step * 30)).as_str(), code);
        }
    }

    #[test]
    fn other_lengths_short_seeds_and_leading_zeros() {
        assert_eq!(totp(RFC_SECRET).digits(Digits::Seven).code_at(at(59)).as_str(), "4287082");
        assert_eq!(
            totp(RFC_SECRET).digits(Digits::Eight).algorithm(Algorithm::Sha256).code_at(at(59)).as_str(),
            "32247374"
        );
        assert_eq!(
            totp(RFC_SECRET).digits(Digits::Eight).algorithm(Algorithm::Sha512).code_at(at(59)).as_str(),
            "69342147"
        );
        for (seconds, code) in [(1320, "000152"), (6_795_000, "000007"), (10_484_850, "000000")] {
            assert_eq!(totp(RFC_SECRET).code_at(at(seconds)).as_str(), code);
        }
    }

    #[test]
    fn the_last_steps() {
        let period = NonZeroU32::MIN;
        assert_eq!(totp(RFC_SECRET).period(period).code_at(at(u64::MAX)).as_str(), "094451");
        assert_eq!(totp(RFC_SECRET).period(period).code_at(at(1 << 63)).as_str(), "959616");
    }

    #[test]
    fn no_step_lies_before_the_first_or_after_the_last() {
        let match_at = |code: &str, seconds| {
            totp(RFC_SECRET).matching_step(&code.parse().unwrap(), at(seconds), Window::ONE_AROUND)
        };
        for seconds in [0, 29] {
            assert_eq!(match_at("094451", seconds), None);
            assert_eq!(match_at("755224", seconds), Some(0));
            assert_eq!(match_at("287082", seconds), Some(1));
            assert_eq!(match_at("359152", seconds), None);
        }
        let last = totp(RFC_SECRET).period(NonZeroU32::MIN);
        let match_last = |code: Otp| last.matching_step(&code, at(u64::MAX), Window::ONE_AROUND);
        assert_eq!(match_last("094451".parse().unwrap()), Some(u64::MAX));
        assert_eq!(match_last(last.code_at(at(0))), None);
    }

    #[test]
    fn windows_are_asymmetric() {
        let code: Otp = "081804".parse().unwrap(); // step 37037036, which ends before 1111111110
        let accepted = |window| {
            [-60_i64, -30, 0, 30, 60].map(|shift| {
                totp(RFC_SECRET)
                    .matching_step(&code, at(1_111_111_109_u64.wrapping_add_signed(shift)), window)
                    .is_some()
            })
        };
        assert_eq!(accepted(Window::CURRENT), [false, false, true, false, false]);
        assert_eq!(accepted(Window::ONE_BEHIND), [false, false, true, true, false]);
        assert_eq!(accepted(Window::ONE_AROUND), [false, true, true, true, false]);
        assert_eq!(accepted(Window::new(0, 2).unwrap()), [true, true, true, false, false]);
        assert!(Window::new(11, 0).is_err() && Window::new(0, 255).is_err());
    }

    #[test]
    fn of_two_steps_with_one_code_the_later_matches() {
        let totp = totp(RFC_SECRET);
        let window = Window::new(10, 10).unwrap();
        // With six digits two of 21 steps share a code about once in 4,800 windows.
        let shared = (0..200_000_u64).find_map(|step| {
            let code = totp.code_at(at(step * 30));
            (step + 1..=step + 10).rev().find(|&later| totp.code_at(at(later * 30)) == code).map(|later| (code, later))
        });
        let (code, later) = shared.unwrap();
        assert_eq!(totp.matching_step(&code, at(later * 30), window), Some(later));
    }

    #[test]
    fn a_code_of_another_length_is_wrong() {
        let eight: Otp = "07081804".parse().unwrap();
        assert_eq!(totp(RFC_SECRET).matching_step(&eight, at(1_111_111_109), Window::CURRENT), None);
        let six: Otp = "081804".parse().unwrap();
        assert_eq!(
            totp(RFC_SECRET).digits(Digits::Eight).matching_step(&six, at(1_111_111_109), Window::CURRENT),
            None
        );
        assert_eq!(
            totp(RFC_SECRET).matching_step(&"181804".parse().unwrap(), at(1_111_111_109), Window::CURRENT),
            None
        );
        assert_eq!(
            totp(RFC_SECRET).matching_step(&"081805".parse().unwrap(), at(1_111_111_109), Window::CURRENT),
            None
        );
    }

    proptest! {
        #[test]
        fn a_step_matches_exactly_within_the_window(
            seconds in prop_oneof![0_u64..100, any::<u32>().prop_map(u64::from), any::<u64>()],
            period in 1_u32..1000, past in 0_u8..=10, future in 0_u8..=10, shift in -12_i64..=12,
        ) {
            let totp = totp(K64).digits(Digits::Eight).period(NonZeroU32::new(period).unwrap());
            let current = seconds / u64::from(period);
            prop_assume!(current.checked_add_signed(shift).is_some_and(|s| s.checked_mul(u64::from(period)).is_some()));
            let step = current.wrapping_add_signed(shift);
            let code = totp.code_at(at(step * u64::from(period)));
            let inside = -i64::from(past) <= shift && shift <= i64::from(future);
            let matched = totp.matching_step(&code, at(seconds), Window::new(past, future).unwrap());
            prop_assert_eq!(matched == Some(step), inside);
        }
    }
}
