//! The verifier in the process: time-based one-time passwords (RFC 6238), enrolment, backup codes.
//!
//! An OTP passes only if all of these hold, in this order:
//!
//! 1. The user has a confirmed [`Pairing`] in the application's user table ([`Pairings`]). One who has none is
//!    counted and computed for like any other, and refused.
//! 2. The user may try: the attempt is counted as a failure *before* it is looked at, in one atomic verb of the
//!    [`Store`](crate::store::Store). A right code is refused while the user is locked, and is not spent by that.
//! 3. The code is that of a step in the [`Window`]. All steps are computed and compared, in constant time.
//! 4. Neither that step nor a later one has been spent, again in one atomic verb, which also forgets the failures, and
//!    the pushes in a store that keeps them. A
//!    code is refused after a newer one was used: stricter than RFC 6238 section 5.2, and what others came to.
//!
//! ```
//! use std::time::{Duration, UNIX_EPOCH};
//!
//! use tower::{Service, ServiceExt};
//! use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp, TotpVerifier};
//! use tower_toopher::{Attempt, DenyReason, Factor, UserId, Verdict};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let alice = UserId::new("alice")?;
//! let users = MemoryPairings::new();
//! users.insert(alice.clone(), Pairing::confirmed(Totp::new(Secret::from_bytes(*b"12345678901234567890")?)));
//! let mut verifier =
//!     TotpVerifier::new(users)?.clock(|| UNIX_EPOCH + Duration::from_secs(1_111_111_109));
//!
//! let attempt = Attempt::new(alice, "log in").with_otp(Some("081 804".parse()?));
//! assert_eq!(verifier.ready().await?.call(attempt.clone()).await?, Verdict::Granted(Factor::Totp));
//! assert_eq!(verifier.ready().await?.call(attempt).await?, Verdict::Denied(DenyReason::ReplayedOtp));
//! # Ok(())
//! # }
//! ```

mod backup;
mod code;
mod enrolment;
mod keyed;
mod pairing;
mod secret;
mod verifier;
mod window;

pub use self::backup::{BackupCode, BackupCodeDigest};
pub use self::code::{Algorithm, Digits, Totp};
pub use self::enrolment::{Enrolment, EnrolmentError};
pub use self::pairing::{Lookup, MemoryPairings, Pairing, Pairings};
pub use self::secret::{Secret, SecretError};
pub use self::verifier::{Confirmation, TotpError, TotpVerifier};
pub use self::window::{InvalidWindow, Window};
pub use crate::random::NoRandomness;
