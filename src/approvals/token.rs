//! The content of an approval token: which approval it is for, encrypted and bound to a user, a session and a request.

use sha2::{Digest, Sha256};

use super::error::ApprovalError;
use crate::crypto::{KeyRing, NoRandomness, random, update_length_prefixed};
use crate::store::{ApprovalKey, ApprovalRef};
use crate::time::UnixTime;
use crate::verify::{Action, ApprovalId, ApprovalToken, Attempt, RequestBinding, SessionId, UserId};

/// The maximum number of bytes of an action in a token.
const MAX_ACTION: usize = 256;
const CONTEXT: &[u8] = b"tower-toopher approval token 1";

/// The content of a token.
#[derive(Clone, Debug)]
pub(super) struct TokenClaims {
    pub(super) approval: ApprovalRef,
    /// When the approval expires.
    pub(super) until: UnixTime,
    pub(super) action: Action,
    /// The hash of the request that the token was issued for.
    request_hash: [u8; 32],
}

/// What an approval is bound to, as hashes.
pub(super) struct BindingDigest {
    owner_hash: [u8; 32],
    request_hash: [u8; 32],
}

impl BindingDigest {
    /// `None` if the attempt has no request that an approval can be bound to.
    pub(super) fn from_attempt(attempt: &Attempt) -> Option<Self> {
        let request = attempt.request().filter(|request| request.is_whole())?;
        Some(Self::new(attempt, request))
    }

    fn new(attempt: &Attempt, request: &RequestBinding) -> Self {
        let terminal = attempt.terminal();
        let (name, discriminator) = (terminal.map(|t| t.name()), terminal.and_then(|t| t.discriminator()));
        let mut digest = Sha256::new();
        for part in [Some(attempt.action().as_str()), name, discriminator] {
            update_length_prefixed(&mut digest, part.map(str::as_bytes));
        }
        for part in request.parts() {
            update_length_prefixed(&mut digest, Some(part));
        }
        Self { owner_hash: owner_hash(attempt.user(), request.session()), request_hash: digest.finalize().into() }
    }

    pub(super) fn owner_hash(&self) -> &[u8; 32] {
        &self.owner_hash
    }

    /// The hash of all of it. It is equal for two attempts only if they are equal in everything an approval is bound
    /// to.
    pub(super) fn binding_hash(&self) -> [u8; 32] {
        binding_hash(&self.owner_hash, &self.request_hash)
    }
}

fn binding_hash(owner_hash: &[u8; 32], request_hash: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(owner_hash).chain_update(request_hash).finalize().into()
}

/// The hash of user and session. A token of another user or session does not decrypt.
pub(super) fn owner_hash(user: &UserId, session: Option<&SessionId>) -> [u8; 32] {
    let mut digest = Sha256::new();
    update_length_prefixed(&mut digest, Some(user.as_str().as_bytes()));
    update_length_prefixed(&mut digest, session.map(|session| session.as_str().as_bytes()));
    digest.finalize().into()
}

impl TokenClaims {
    pub(super) fn new(
        key: ApprovalKey,
        id: ApprovalId,
        until: UnixTime,
        action: &Action,
        binding: &BindingDigest,
    ) -> Self {
        let approval = ApprovalRef::new(key, binding.binding_hash(), id);
        Self { approval, until, action: action.clone(), request_hash: binding.request_hash }
    }

    /// Whether the token was issued for this request.
    pub(super) fn is_for(&self, binding: &BindingDigest) -> bool {
        self.request_hash == binding.request_hash
    }
}

pub(super) fn encrypt(
    keys: &KeyRing,
    claims: &TokenClaims,
    binding: &BindingDigest,
) -> Result<ApprovalToken, ApprovalError> {
    let id = claims.approval.id().as_str().as_bytes();
    let mut plain = Vec::with_capacity(64 + id.len() + claims.action.as_str().len());
    plain.extend_from_slice(claims.approval.key().as_bytes());
    plain.extend_from_slice(&millis(claims.until).to_be_bytes());
    plain.extend_from_slice(&claims.request_hash);
    // An id has at most 256 bytes.
    plain.extend_from_slice(&(id.len() as u16).to_be_bytes());
    plain.extend_from_slice(id);
    // Only the status service needs the action, for its attempt.
    let action = claims.action.as_str().as_bytes();
    plain.extend_from_slice(&action[..action.len().min(MAX_ACTION)]);
    let text = keys.encrypt_text(&aad(&binding.owner_hash), &plain).map_err(ApprovalError::token)?;
    ApprovalToken::new(&text).map_err(ApprovalError::token)
}

/// Decrypts a token that was issued for this owner with one of the keys. It does not check whether the approval
/// expired.
pub(super) fn decrypt(keys: &KeyRing, token: &ApprovalToken, owner_hash: &[u8; 32]) -> Option<TokenClaims> {
    let plain = keys.decrypt_text(&aad(owner_hash), token.as_str().as_bytes())?;
    let (key, rest) = plain.split_first_chunk::<16>()?;
    let (until, rest) = rest.split_first_chunk::<8>()?;
    let (request_hash, rest) = rest.split_first_chunk::<32>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (id, action) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let id = ApprovalId::new(std::str::from_utf8(id).ok()?).ok()?;
    Some(TokenClaims {
        approval: ApprovalRef::new(ApprovalKey::from_bytes(*key), binding_hash(owner_hash, request_hash), id),
        until: UnixTime::from_millis(u64::from_be_bytes(*until)),
        action: String::from_utf8_lossy(action).into_owned().into(),
        request_hash: *request_hash,
    })
}

fn aad(owner_hash: &[u8; 32]) -> Vec<u8> {
    [CONTEXT, owner_hash].concat()
}

/// Rounded down: a token may expire a little early, and never late.
fn millis(time: UnixTime) -> u64 {
    u64::try_from(time.since_epoch().as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn new_key() -> Result<ApprovalKey, NoRandomness> {
    let mut bytes = [0; 16];
    random::fill(&mut bytes)?;
    Ok(ApprovalKey::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::Request;
    use http::request::Parts;
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::SealingKey;
    use crate::verify::Terminal;

    const UNTIL: UnixTime = UnixTime::from_secs(1_111_111_229);

    fn keys() -> KeyRing {
        KeyRing::new("test", &SealingKey::generate().unwrap())
    }

    fn session(id: &str) -> SessionId {
        SessionId::new(id).unwrap()
    }

    fn request(change: impl FnOnce(http::request::Builder) -> http::request::Builder) -> Parts {
        let request = Request::post("https://shop.test/pay?to=bob").header("content-type", "text/plain");
        change(request).body(()).unwrap().into_parts().0
    }

    fn bound(parts: &Parts, id: &str, body: &'static str) -> RequestBinding {
        RequestBinding::new(parts, session(id), Some(Bytes::from_static(body.as_bytes())))
    }

    fn attempt() -> Attempt {
        let terminal = Terminal::new("laptop").with_discriminator("a");
        Attempt::new(UserId::new("alice").unwrap(), "pay").with_terminal(terminal)
    }

    fn claims(binding: &BindingDigest) -> TokenClaims {
        let id = ApprovalId::new("4f1c7c2e").unwrap();
        TokenClaims::new(ApprovalKey::from_bytes([3; 16]), id, UNTIL, &"pay".into(), binding)
    }

    #[test]
    fn a_token_is_valid_for_its_own_request_and_no_other() {
        let keys = keys();
        let same = || BindingDigest::new(&attempt(), &bound(&request(|r| r), "s1", "x=1"));
        let token = encrypt(&keys, &claims(&same()), &same()).unwrap();
        let is_valid = |binding: BindingDigest| {
            decrypt(&keys, &token, &binding.owner_hash).is_some_and(|claims| claims.is_for(&binding))
        };
        assert!(is_valid(same()));
        let decrypted = decrypt(&keys, &token, &same().owner_hash).unwrap();
        let (id, action) = (decrypted.approval.id().as_str(), decrypted.action.as_str());
        assert_eq!((id, decrypted.until, action), ("4f1c7c2e", UNTIL, "pay"));
        let with = |parts: Parts| BindingDigest::new(&attempt(), &bound(&parts, "s1", "x=1"));
        // Other ways to write the same host.
        assert!(is_valid(with(request(|r| r.uri("https://SHOP.test/pay?to=bob")))));
        assert!(is_valid(with(request(|r| r.uri("/pay?to=bob").header("host", "Shop.test")))));

        let by = |attempt: Attempt| BindingDigest::new(&attempt, &bound(&request(|r| r), "s1", "x=1"));
        let terminal = |terminal: Terminal| attempt().with_terminal(terminal);
        let subject = |user: &str, action: &str| {
            Attempt::new(UserId::new(user).unwrap(), action).with_terminal(attempt().terminal().cloned())
        };
        let without_session = RequestBinding::new(&request(|r| r), None, Some("x=1".into()));
        for (what, other) in [
            ("user", by(subject("bob", "pay"))),
            ("action", by(subject("alice", "log in"))),
            ("terminal", by(attempt().with_terminal(None))),
            ("terminal's name", by(terminal(Terminal::new("desk").with_discriminator("a")))),
            ("discriminator", by(terminal(Terminal::new("laptop").with_discriminator("b")))),
            ("no discriminator", by(terminal(Terminal::new("laptop")))),
            ("session", BindingDigest::new(&attempt(), &bound(&request(|r| r), "s2", "x=1"))),
            ("no session", BindingDigest::new(&attempt(), &without_session)),
            ("body", BindingDigest::new(&attempt(), &bound(&request(|r| r), "s1", "x=2"))),
            ("method", with(request(|r| r.method("PUT")))),
            ("path", with(request(|r| r.uri("https://shop.test/Pay?to=bob")))),
            ("query", with(request(|r| r.uri("https://shop.test/pay?to=eve")))),
            ("host", with(request(|r| r.uri("https://shop.test:8443/pay?to=bob")))),
            ("a second type", with(request(|r| r.header("content-type", "text/plain")))),
            ("encoding", with(request(|r| r.header("content-encoding", "gzip")))),
        ] {
            assert!(!is_valid(other), "{what}");
        }
    }

    #[test]
    fn two_keys_decrypt_while_one_is_replaced() {
        let [first, second, third] = [(); 3].map(|()| SealingKey::generate().unwrap());
        let binding = BindingDigest::new(&attempt(), &bound(&request(|r| r), "s1", ""));
        let token = encrypt(&KeyRing::new("test", &first), &claims(&binding), &binding).unwrap();
        let decrypts = |current: &SealingKey, previous: Option<&SealingKey>| {
            let mut keys = KeyRing::new("test", current);
            previous.into_iter().for_each(|key| keys.set_previous(key));
            decrypt(&keys, &token, &binding.owner_hash).is_some()
        };
        assert!(decrypts(&first, None) && decrypts(&second, Some(&first)));
        assert!(decrypts(&first, Some(&second)));
        assert!(!decrypts(&second, None) && !decrypts(&third, Some(&second)));
    }

    #[test]
    fn an_altered_token_is_invalid() {
        let keys = keys();
        let binding = BindingDigest::new(&attempt(), &bound(&request(|r| r), "s1", ""));
        let token = encrypt(&keys, &claims(&binding), &binding).unwrap();
        let text = token.as_str();
        let is_valid = |text: &[u8]| decrypt(&keys, &ApprovalToken::from_client(text), &binding.owner_hash).is_some();
        assert!(is_valid(text.as_bytes()));
        for at in 0..text.len() {
            let mut altered = text.to_owned().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            assert!(!is_valid(&altered), "{at}");
            assert!(!is_valid(&text.as_bytes()[..at]), "{at}");
        }
        assert!(!is_valid(format!("{text}A").as_bytes()));
    }

    #[test]
    fn the_longest_token_is_valid() {
        let keys = keys();
        let id = ApprovalId::new("\u{e9}".repeat(128)).unwrap();
        let action = Action::from("\u{20ac}".repeat(1000));
        let attempt = Attempt::new(UserId::new("a").unwrap(), action.clone());
        let binding = BindingDigest::new(&attempt, &bound(&request(|r| r), "s", ""));
        let end_of_time = UnixTime::from_duration(Duration::MAX);
        let longest = TokenClaims::new(ApprovalKey::from_bytes([0; 16]), id, end_of_time, &action, &binding);
        let token = encrypt(&keys, &longest, &binding).unwrap();
        assert!(decrypt(&keys, &token, &binding.owner_hash).is_some(), "{}", token.as_str().len());
    }

    proptest! {
        /// However the text is divided into parts, other parts have another hash.
        #[test]
        fn parts_are_not_joined(a in ".{0,4}", b in ".{0,4}", c in ".{0,4}", d in ".{0,4}") {
            let owner = |user: &str, id: &str| {
                owner_hash(&UserId::new(format!("u{user}")).unwrap(), Some(&session(&format!("s{id}"))))
            };
            prop_assert_eq!(owner(&a, &b) == owner(&c, &d), (&a, &b) == (&c, &d));
            let request = request(|r| r);
            let digest = |action: &str, body: &str| {
                let body = Bytes::copy_from_slice(body.as_bytes());
                let whole = RequestBinding::new(&request, session("s"), Some(body));
                BindingDigest::new(&Attempt::new(UserId::new("a").unwrap(), action), &whole).binding_hash()
            };
            prop_assert_eq!(digest(&a, &b) == digest(&c, &d), (&a, &b) == (&c, &d));
        }
    }
}
