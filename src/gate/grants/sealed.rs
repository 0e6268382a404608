//! What is sealed in a grant, and for whom.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Epoch;
use crate::seal::field;
use crate::{Action, Factor, UserId};

const CONTEXT: &[u8] = b"tower-toopher grant 1";
/// The most bytes of a verifier's own name for a factor.
const MAX_NAME: usize = 32;
/// The most such names that one process knows.
const MOST_NAMES: usize = 64;

/// A factor that was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// A digest: actions have any length, and the client keeps this.
    pub(super) action: [u8; 32],
    /// Since 1970, in whole milliseconds.
    pub(super) at: Duration,
    pub(super) factor: Factor,
}

/// Whose a grant is: another's does not even open. An empty name of a session is one that somebody forgot: none.
pub(super) fn place(user: &UserId, session: &str, epoch: Epoch) -> Option<Vec<u8>> {
    if session.is_empty() {
        return None;
    }
    let mut digest = Sha256::new();
    for part in [user.as_str().as_bytes(), session.as_bytes(), &epoch.0] {
        field(&mut digest, Some(part));
    }
    Some([CONTEXT, &digest.finalize()].concat())
}

pub(super) fn digest(action: &Action) -> [u8; 32] {
    Sha256::digest(action.as_str()).into()
}

/// None when there is a factor whose name is too long to be kept.
pub(super) fn write(shown: &[Shown]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(shown.len() * 48);
    for Shown { action, at, factor } in shown {
        plain.extend_from_slice(action);
        // Rounded down: it is older by that, and never younger.
        plain.extend_from_slice(&u64::try_from(at.as_millis()).ok()?.to_be_bytes());
        match factor {
            Factor::Totp => plain.push(0),
            Factor::BackupCode => plain.push(1),
            Factor::Push => plain.push(2),
            Factor::Other(name) => {
                known(name)?;
                plain.push(3);
                plain.push(u8::try_from(name.len()).ok()?);
                plain.extend_from_slice(name.as_bytes());
            }
        }
    }
    Some(plain)
}

/// None for what was not written here, although only our keys seal it: another version may have.
pub(super) fn read(mut plain: &[u8]) -> Option<Vec<Shown>> {
    let mut all = Vec::new();
    while !plain.is_empty() {
        let (action, rest) = plain.split_first_chunk::<32>()?;
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let (factor, rest) = match rest.split_first()? {
            (0, rest) => (Factor::Totp, rest),
            (1, rest) => (Factor::BackupCode, rest),
            (2, rest) => (Factor::Push, rest),
            (3, rest) => {
                let (length, rest) = rest.split_first()?;
                let (name, rest) = rest.split_at_checked(usize::from(*length))?;
                (Factor::Other(known(std::str::from_utf8(name).ok()?)?), rest)
            }
            _ => return None,
        };
        let at = Duration::from_millis(u64::from_be_bytes(*at));
        all.push(Shown { action: *action, at, factor });
        plain = rest;
    }
    Some(all)
}

/// The name of a factor, for as long as the process lives: [`Factor`] can be copied, so it owns none. There are as many
/// as verifiers have thought of, and this keeps it so.
fn known(name: &str) -> Option<&'static str> {
    static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.iter().find(|known| **known == name) {
        return Some(known);
    }
    if name.len() > MAX_NAME || names.len() >= MOST_NAMES {
        return None;
    }
    let known: &'static str = String::from(name).leak();
    names.push(known);
    Some(known)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(action: &str, millis: u64, factor: Factor) -> Shown {
        Shown { action: digest(&action.into()), at: Duration::from_millis(millis), factor }
    }

    #[test]
    fn what_is_written_is_read() {
        let all = [
            shown("log in", 0, Factor::Totp),
            shown("", 1, Factor::BackupCode),
            shown(&"\u{20ac}".repeat(1000), u64::MAX, Factor::Push),
            shown("pay", 2, Factor::Other("")),
            shown("pay", 2, Factor::Other("webauthn")),
        ];
        for count in 0..=all.len() {
            assert_eq!(read(&write(&all[..count]).unwrap()).unwrap(), all[..count]);
        }
        let plain = write(&all).unwrap();
        let whole: Vec<_> = (0..=all.len()).map(|count| write(&all[..count]).unwrap().len()).collect();
        for length in 0..plain.len() {
            assert_eq!(read(&plain[..length]).is_some(), whole.contains(&length), "{length}");
        }
        assert_eq!(write(&[shown("pay", 0, Factor::Other("a name of more than 32 characters"))]), None);
        assert_eq!(write(&[Shown { at: Duration::MAX, ..all[0].clone() }]), None);
    }

    #[test]
    fn the_largest_one_fits() {
        let name: &'static str = "n".repeat(MAX_NAME).leak();
        let all = vec![shown("pay", u64::MAX, Factor::Other(name)); 8];
        // Nonce and tag, in base64.
        assert!((write(&all).unwrap().len() + 24 + 16).div_ceil(3) * 4 <= crate::gate::grants::grant::MAX_GRANT);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(plain in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(shown) = read(&plain) {
                prop_assert_eq!(write(&shown).unwrap(), plain);
            }
        }

        /// However the text is cut into parts, other parts are another place.
        #[test]
        fn parts_do_not_run_into_each_other(
            a in (".{1,4}", ".{1,4}", 0..2_u64),
            b in (".{1,4}", ".{1,4}", 0..2_u64),
        ) {
            let of = |(user, session, epoch): &(String, String, u64)| {
                place(&UserId::new(user.as_str()).unwrap(), session, (*epoch).into())
            };
            prop_assert_eq!(of(&a) == of(&b), a == b);
        }
    }
}
