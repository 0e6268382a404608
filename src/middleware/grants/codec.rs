//! The content of a grant, and what it is bound to.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::epoch::Epoch;
use crate::crypto::update_length_prefixed;
use crate::time::UnixTime;
use crate::verify::{Action, Factor, FactorName, SessionId, UserId};

const CONTEXT: &[u8] = b"tower-toopher grant 1";

/// A verified factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FactorRecord {
    /// A digest, because actions have any length and the client keeps the grant.
    pub(super) action: [u8; 32],
    /// In whole milliseconds.
    pub(super) auth_time: UnixTime,
    pub(super) factor: Factor,
}

/// The associated data of a grant. A grant of another user, session or epoch does not decrypt.
pub(super) fn aad(user: &UserId, session: &SessionId, epoch: Epoch) -> Vec<u8> {
    let mut digest = Sha256::new();
    for part in [user.as_str().as_bytes(), session.as_str().as_bytes(), &epoch.0] {
        update_length_prefixed(&mut digest, Some(part));
    }
    [CONTEXT, &digest.finalize()].concat()
}

pub(super) fn action_digest(action: &Action) -> [u8; 32] {
    Sha256::digest(action.as_str()).into()
}

/// Serializes factors. `None` if a time does not fit.
pub(super) fn encode(factors: &[FactorRecord]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(factors.len() * 48);
    for FactorRecord { action, auth_time, factor } in factors {
        plain.extend_from_slice(action);
        // Rounded down, so that the factor is older by that, and never younger.
        plain.extend_from_slice(&u64::try_from(auth_time.since_epoch().as_millis()).ok()?.to_be_bytes());
        match factor {
            Factor::Totp => plain.push(0),
            Factor::RecoveryCode => plain.push(1),
            Factor::Push => plain.push(2),
            Factor::Other(name) => {
                plain.push(3);
                plain.push(u8::try_from(name.as_str().len()).ok()?);
                plain.extend_from_slice(name.as_str().as_bytes());
            }
        }
    }
    Some(plain)
}

/// Deserializes factors. `None` for data that `encode` of this version did not write.
pub(super) fn decode(mut plain: &[u8]) -> Option<Vec<FactorRecord>> {
    let mut factors = Vec::new();
    while !plain.is_empty() {
        let (action, rest) = plain.split_first_chunk::<32>()?;
        let (millis, rest) = rest.split_first_chunk::<8>()?;
        let (factor, rest) = match rest.split_first()? {
            (0, rest) => (Factor::Totp, rest),
            (1, rest) => (Factor::RecoveryCode, rest),
            (2, rest) => (Factor::Push, rest),
            (3, rest) => {
                let (length, rest) = rest.split_first()?;
                let (name, rest) = rest.split_at_checked(usize::from(*length))?;
                (Factor::Other(FactorName::new(std::str::from_utf8(name).ok()?).ok()?), rest)
            }
            _ => return None,
        };
        let auth_time = UnixTime::from_duration(Duration::from_millis(u64::from_be_bytes(*millis)));
        factors.push(FactorRecord { action: *action, auth_time, factor });
        plain = rest;
    }
    Some(factors)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(action: &str, millis: u64, factor: Factor) -> FactorRecord {
        FactorRecord { action: action_digest(&action.into()), auth_time: UnixTime::from_millis(millis), factor }
    }

    #[test]
    fn encoded_factors_decode() {
        let all = [
            record("log in", 0, Factor::Totp),
            record("", 1, Factor::RecoveryCode),
            record(&"\u{20ac}".repeat(1000), u64::MAX, Factor::Push),
            record("pay", 2, Factor::other("n").unwrap()),
            record("pay", 2, Factor::other("webauthn").unwrap()),
        ];
        for count in 0..=all.len() {
            assert_eq!(decode(&encode(&all[..count]).unwrap()).unwrap(), all[..count]);
        }
        let plain = encode(&all).unwrap();
        let whole: Vec<_> = (0..=all.len()).map(|count| encode(&all[..count]).unwrap().len()).collect();
        for length in 0..plain.len() {
            assert_eq!(decode(&plain[..length]).is_some(), whole.contains(&length), "{length}");
        }
        assert_eq!(
            encode(&[FactorRecord { auth_time: UnixTime::from_duration(Duration::MAX), ..all[0].clone() }]),
            None
        );
        // A name without characters is not a name.
        assert_eq!(decode(&[&[0; 40][..], &[3, 0]].concat()), None);
    }

    #[test]
    fn the_largest_grant_fits() {
        let factor = Factor::other(&"n".repeat(32)).unwrap();
        let all = vec![record("pay", u64::MAX, factor); 8];
        // With nonce and tag, in base64.
        assert!((encode(&all).unwrap().len() + 24 + 16).div_ceil(3) * 4 <= crate::middleware::grants::grant::MAX_GRANT);
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_not(plain in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(factors) = decode(&plain) {
                prop_assert_eq!(encode(&factors).unwrap(), plain);
            }
        }

        /// However the text is divided into parts, other parts give other associated data.
        #[test]
        fn parts_do_not_run_into_each_other(
            a in (".{1,4}", ".{1,4}", 0..2_u64),
            b in (".{1,4}", ".{1,4}", 0..2_u64),
        ) {
            let aad = |(user, session, epoch): &(String, String, u64)| {
                let session = SessionId::new(session.as_str()).unwrap();
                aad(&UserId::new(user.as_str()).unwrap(), &session, (*epoch).into())
            };
            prop_assert_eq!(aad(&a) == aad(&b), a == b);
        }
    }
}
