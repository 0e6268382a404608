//! The challenge: what a pending approval is called outside, sealed, and bound to who asked and for what.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::random::{self, NoRandomness};
use crate::seal::{Keys, field};
use crate::store::{AskedPush, Ticket};
use crate::{Action, ApprovalId, Attempt, Challenge, RequestBinding, UserId};

/// The most bytes of an action that a challenge carries.
const MAX_ACTION: usize = 256;
const CONTEXT: &[u8] = b"tower-toopher challenge 1";

/// What a challenge says.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    /// As the store knows it.
    pub(super) push: AskedPush,
    pub(super) until: Duration,
    pub(super) action: Action,
    /// The digest of the request that it was made for.
    request: [u8; 32],
}

/// Who asks, and for what, as digests of a fixed length.
pub(super) struct Binding {
    owner: [u8; 32],
    request: [u8; 32],
}

impl Binding {
    pub(super) fn of(attempt: &Attempt, request: &RequestBinding) -> Self {
        let terminal = attempt.terminal();
        let (name, discriminator) = (terminal.map(|t| t.name()), terminal.and_then(|t| t.discriminator()));
        let mut digest = Sha256::new();
        for part in [Some(attempt.action().as_str()), name, discriminator] {
            field(&mut digest, part.map(str::as_bytes));
        }
        for part in request.parts() {
            field(&mut digest, Some(part));
        }
        Self { owner: owner(attempt.user(), request.session()), request: digest.finalize().into() }
    }

    pub(super) fn owner(&self) -> &[u8; 32] {
        &self.owner
    }

    /// The same for two attempts only if one could be made for the other.
    pub(super) fn about(&self) -> [u8; 32] {
        about(&self.owner, &self.request)
    }
}

fn about(owner: &[u8; 32], request: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(owner).chain_update(request).finalize().into()
}

/// Whose a challenge is: another's does not even open.
pub(super) fn owner(user: &UserId, session: Option<&str>) -> [u8; 32] {
    let mut digest = Sha256::new();
    field(&mut digest, Some(user.as_str().as_bytes()));
    field(&mut digest, session.map(str::as_bytes));
    digest.finalize().into()
}

impl Opened {
    pub(super) fn new(ticket: Ticket, id: ApprovalId, until: Duration, action: &Action, binding: &Binding) -> Self {
        let push = AskedPush::new(ticket, binding.about(), id);
        Self { push, until, action: action.clone(), request: binding.request }
    }

    pub(super) fn is_for(&self, binding: &Binding) -> bool {
        self.request == binding.request
    }
}

impl Keys {
    pub(super) fn seal(&self, opened: &Opened, binding: &Binding) -> Result<Challenge, NoRandomness> {
        let id = opened.push.id.as_str().as_bytes();
        let mut plain = Vec::with_capacity(64 + id.len() + opened.action.as_str().len());
        plain.extend_from_slice(opened.push.ticket.as_bytes());
        plain.extend_from_slice(&millis(opened.until).to_be_bytes());
        plain.extend_from_slice(&opened.request);
        // An id has 256 bytes at the most.
        plain.extend_from_slice(&(id.len() as u16).to_be_bytes());
        plain.extend_from_slice(id);
        // Only the status service needs the action, and only to say it to the verifier.
        let action = opened.action.as_str().as_bytes();
        plain.extend_from_slice(&action[..action.len().min(MAX_ACTION)]);
        Ok(Challenge::new(self.seal_text(&place(&binding.owner), &plain)?.as_bytes()))
    }

    /// What it says, if it was made for this owner with one of the keys. When it is over is not looked at.
    pub(super) fn open(&self, challenge: &Challenge, owner: &[u8; 32]) -> Option<Opened> {
        let plain = self.open_text(&place(owner), challenge.as_str().as_bytes())?;
        let (ticket, rest) = plain.split_first_chunk::<16>()?;
        let (until, rest) = rest.split_first_chunk::<8>()?;
        let (request, rest) = rest.split_first_chunk::<32>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (id, action) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let id = ApprovalId::new(std::str::from_utf8(id).ok()?).ok()?;
        Some(Opened {
            push: AskedPush::new(Ticket::from_bytes(*ticket), about(owner, request), id),
            until: Duration::from_millis(u64::from_be_bytes(*until)),
            action: String::from_utf8_lossy(action).into_owned().into(),
            request: *request,
        })
    }
}

fn place(owner: &[u8; 32]) -> Vec<u8> {
    [CONTEXT, owner].concat()
}

/// Rounded down: it is over a little sooner, and never later.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn new_ticket() -> Result<Ticket, NoRandomness> {
    let mut bytes = [0; 16];
    random::fill(&mut bytes)?;
    Ok(Ticket::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use http::Request;
    use proptest::prelude::*;

    use super::*;
    use crate::Terminal;
    use crate::seal::SealingKey;

    const UNTIL: Duration = Duration::from_secs(1_111_111_229);

    fn keys() -> Keys {
        Keys { seals: SealingKey::generate().unwrap(), opens: None }
    }

    fn request(change: impl FnOnce(http::request::Builder) -> http::request::Builder) -> http::request::Parts {
        let request = Request::post("https://shop.test/pay?to=bob").header("content-type", "text/plain");
        change(request).body(()).unwrap().into_parts().0
    }

    fn bound(parts: &http::request::Parts, session: &str, body: &'static str) -> RequestBinding {
        RequestBinding::new(parts, Some(session.into()), Some(Bytes::from_static(body.as_bytes())))
    }

    fn attempt() -> Attempt {
        let terminal = Terminal::new("laptop").with_discriminator("a");
        Attempt::new(UserId::new("alice").unwrap(), "pay").with_terminal(Some(terminal))
    }

    fn opened(binding: &Binding) -> Opened {
        let id = ApprovalId::new("4f1c7c2e").unwrap();
        Opened::new(Ticket::from_bytes([3; 16]), id, UNTIL, &"pay".into(), binding)
    }

    #[test]
    fn it_opens_for_its_own_request_and_no_other() {
        let keys = keys();
        let same = || Binding::of(&attempt(), &bound(&request(|r| r), "s1", "x=1"));
        let challenge = keys.seal(&opened(&same()), &same()).unwrap();
        let passes = |binding: Binding| keys.open(&challenge, &binding.owner).is_some_and(|open| open.is_for(&binding));
        assert!(passes(same()));
        let open = keys.open(&challenge, &same().owner).unwrap();
        assert_eq!((open.push.id.as_str(), open.until, open.action.as_str()), ("4f1c7c2e", UNTIL, "pay"));
        // Other spellings of one host are one.
        assert!(passes(Binding::of(
            &attempt(),
            &bound(&request(|r| r.uri("https://SHOP.test/pay?to=bob")), "s1", "x=1")
        )));
        assert!(passes(Binding::of(
            &attempt(),
            &bound(&request(|r| r.uri("/pay?to=bob").header("host", "Shop.test")), "s1", "x=1")
        )));

        let by = |attempt: Attempt| Binding::of(&attempt, &bound(&request(|r| r), "s1", "x=1"));
        let with = |parts: http::request::Parts| Binding::of(&attempt(), &bound(&parts, "s1", "x=1"));
        let laptop = |terminal: Terminal| attempt().with_terminal(Some(terminal));
        for (what, other) in [
            ("user", by(Attempt::new(UserId::new("bob").unwrap(), "pay").with_terminal(attempt().terminal().cloned()))),
            (
                "action",
                by(Attempt::new(UserId::new("alice").unwrap(), "log in").with_terminal(attempt().terminal().cloned())),
            ),
            ("terminal", by(attempt().with_terminal(None))),
            ("terminal's name", by(laptop(Terminal::new("desk").with_discriminator("a")))),
            ("discriminator", by(laptop(Terminal::new("laptop").with_discriminator("b")))),
            ("no discriminator", by(laptop(Terminal::new("laptop")))),
            ("session", Binding::of(&attempt(), &bound(&request(|r| r), "s2", "x=1"))),
            ("no session", Binding::of(&attempt(), &RequestBinding::new(&request(|r| r), None, Some("x=1".into())))),
            ("body", Binding::of(&attempt(), &bound(&request(|r| r), "s1", "x=2"))),
            ("method", with(request(|r| r.method("PUT")))),
            ("path", with(request(|r| r.uri("https://shop.test/Pay?to=bob")))),
            ("query", with(request(|r| r.uri("https://shop.test/pay?to=eve")))),
            ("host", with(request(|r| r.uri("https://shop.test:8443/pay?to=bob")))),
            ("a second type", with(request(|r| r.header("content-type", "text/plain")))),
            ("encoding", with(request(|r| r.header("content-encoding", "gzip")))),
        ] {
            assert!(!passes(other), "{what}");
        }
    }

    #[test]
    fn two_keys_open_while_one_is_replaced() {
        let (first, second, third) = (keys(), SealingKey::generate().unwrap(), SealingKey::generate().unwrap());
        let binding = Binding::of(&attempt(), &bound(&request(|r| r), "s1", ""));
        let challenge = first.seal(&opened(&binding), &binding).unwrap();
        let opens = |seals: &SealingKey, opens: Option<&SealingKey>| {
            Keys { seals: seals.clone(), opens: opens.cloned() }.open(&challenge, &binding.owner).is_some()
        };
        assert!(opens(&first.seals, None) && opens(&second, Some(&first.seals)));
        assert!(opens(&first.seals, Some(&second)));
        assert!(!opens(&second, None) && !opens(&third, Some(&second)));
    }

    #[test]
    fn nothing_can_be_altered() {
        let keys = keys();
        let binding = Binding::of(&attempt(), &bound(&request(|r| r), "s1", ""));
        let challenge = keys.seal(&opened(&binding), &binding).unwrap();
        let text = challenge.as_str();
        for at in 0..text.len() {
            let mut altered = text.to_owned().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            assert!(keys.open(&Challenge::new(&altered), &binding.owner).is_none(), "{at}");
            assert!(keys.open(&Challenge::new(&text.as_bytes()[..at]), &binding.owner).is_none(), "{at}");
        }
        assert!(keys.open(&Challenge::new(format!("{text}A").as_bytes()), &binding.owner).is_none());
    }

    #[test]
    fn the_longest_one_fits() {
        let keys = keys();
        let id = ApprovalId::new("\u{e9}".repeat(128)).unwrap();
        let action = Action::from("\u{20ac}".repeat(1000));
        let binding =
            Binding::of(&Attempt::new(UserId::new("a").unwrap(), action.clone()), &bound(&request(|r| r), "", ""));
        let longest = Opened::new(Ticket::from_bytes([0; 16]), id, Duration::MAX, &action, &binding);
        let challenge = keys.seal(&longest, &binding).unwrap();
        assert!(keys.open(&challenge, &binding.owner).is_some(), "{}", challenge.as_str().len());
    }

    proptest! {
        /// However the text is cut into parts, other parts are another binding.
        #[test]
        fn parts_do_not_run_into_each_other(a in ".{0,4}", b in ".{0,4}", c in ".{0,4}", d in ".{0,4}") {
            let binding = |user: &str, session: &str| owner(&UserId::new(format!("u{user}")).unwrap(), Some(session));
            prop_assert_eq!(binding(&a, &b) == binding(&c, &d), (&a, &b) == (&c, &d));
            let request = request(|r| r);
            let digest = |action: &str, body: &str| {
                let whole = RequestBinding::new(&request, Some(Arc::from("")), Some(Bytes::copy_from_slice(body.as_bytes())));
                Binding::of(&Attempt::new(UserId::new("a").unwrap(), action), &whole).about()
            };
            prop_assert_eq!(digest(&a, &b) == digest(&c, &d), (&a, &b) == (&c, &d));
        }
    }
}
