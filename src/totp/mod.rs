//! The verifier in the process: time-based one-time passwords (RFC 6238), enrollment, and recovery codes.
//!
//! An OTP is granted only if all of this is true, in this order:
//!
//! 1. The user has a confirmed [`Pairing`] in the application's user table ([`Pairings`]). An attempt of a user without
//!    one is counted and computed like any other, and denied.
//! 2. The user may try: the attempt is counted as a failure *before* it is verified, in one atomic operation of the
//!    [`Store`](crate::store::Store). While the user is locked out or must wait, a right code is denied, and not
//!    recorded as used.
//! 3. The code is that of a step in the [`Window`]. All steps are computed and compared, in constant time.
//! 4. Neither that step nor a later one was used before, again in one atomic operation, which also deletes the failures
//!    and, in a store with approvals, the approvals. After a newer code was used, an older one is denied, which is
//!    stricter than RFC 6238 section 5.2.
//!
//! ```
//! use tower::{Service, ServiceExt};
//! use tower_toopher::time::UnixTime;
//! use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
//! use tower_toopher::{Attempt, DenyReason, Factor, Otp, TotpVerifier, UserId, Verdict};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let alice = UserId::new("alice")?;
//! let users = MemoryPairings::new();
//! users.insert(alice.clone(), Pairing::confirmed(Totp::new(Secret::from_bytes(*b"12345678901234567890")?)));
//! let mut verifier = TotpVerifier::new(users)?.clock(|| UnixTime::from_secs(1_111_111_109));
//!
//! let attempt = Attempt::new(alice, "log in").with_otp("081 804".parse::<Otp>()?);
//! assert_eq!(verifier.ready().await?.call(attempt.clone()).await?, Verdict::Granted(Factor::Totp));
//! assert_eq!(verifier.ready().await?.call(attempt).await?, Verdict::Denied(DenyReason::ReplayedOtp));
//! # Ok(())
//! # }
//! ```

mod algorithm;
mod attempts;
mod code;
mod config;
mod enrollment;
mod error;
mod hmac;
mod memory_pairings;
mod midstates;
mod pairing;
mod recovery;
mod recovery_check;
mod secret;
pub(crate) mod verifier;
mod window;

pub use self::algorithm::{Algorithm, Digits};
pub use self::code::Totp;
pub use self::enrollment::{Enrollment, EnrollmentError};
pub use self::error::{TotpError, TotpErrorKind};
pub use self::memory_pairings::MemoryPairings;
pub use self::pairing::{Confirmation, Lookup, Pairing, Pairings};
pub use self::recovery::{RecoveryCode, RecoveryCodeDigest};
pub use self::secret::{Secret, SecretError};
pub use self::window::Window;
