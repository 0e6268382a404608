//! From a factor that was shown to a grant, and back.

use std::time::{Duration, UNIX_EPOCH};

use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, header};

use super::carrier::Place;
use super::sealed::{Shown, digest, place, read, write};
use super::{Epoch, Grant, Grants};
use crate::gate::freshness::{age, since_1970};
use crate::{Action, SecondFactor, UserId};

/// The most factors in one grant.
const MOST: usize = 8;

/// What a grant will be bound to, and the factors of the one that the request came with.
#[derive(Clone)]
pub(in crate::gate) struct Issuing {
    place: Vec<u8>,
    earlier: Vec<Shown>,
}

/// A grant on its way into the head of a response.
pub(in crate::gate) struct Issued {
    name: HeaderName,
    value: HeaderValue,
}

impl Grants {
    /// Makes a grant by hand, of a factor that was shown: for this request (see [`SecondFactor::shown_at`]) or earlier,
    /// which makes it no younger.
    ///
    /// A handler needs it where the gate's own grant would be bound to what is about to change, or where there is none:
    /// at a log-in that begins a new session, or whose form names the user. Call it **after the first factor was shown,
    /// too**, and with the name that the session will have. None when no grant can be made, as [the module docs](super)
    /// say.
    #[must_use]
    pub fn issue(&self, factor: &SecondFactor, session: &str, epoch: impl Into<Epoch>) -> Option<Grant> {
        self.seal(place(factor.user(), session, epoch.into())?, Vec::new(), factor)
    }

    /// The youngest factor that the request's grant speaks for and that is for one of `actions`.
    pub(in crate::gate) fn find<'a>(
        &self,
        parts: &Parts,
        user: &UserId,
        actions: impl Iterator<Item = &'a Action>,
        max_age: Duration,
        now: Duration,
    ) -> Option<SecondFactor> {
        // Before anything is bound or hashed: most requests without a grant end here.
        let text = self.0.carrier.find(parts)?;
        let mut shown = self.open(text, &self.place(parts, user)?);
        shown.retain(|shown| age(shown.at, now).is_some_and(|age| age <= max_age));
        let of = |action: &'a Action| {
            let digest = digest(action);
            shown.iter().filter(move |shown| shown.action == digest).map(move |shown| (shown, action))
        };
        let (shown, action) = actions.flat_map(of).max_by_key(|(shown, _)| shown.at)?;
        let at = UNIX_EPOCH.checked_add(shown.at)?;
        Some(SecondFactor::new(user.clone(), action.clone(), shown.factor).with_shown_at(at))
    }

    /// Called before the factor is looked at, so that a change of epoch in between ends the grant.
    pub(in crate::gate) fn issuing(&self, parts: &Parts, user: &UserId) -> Option<Issuing> {
        let place = self.place(parts, user)?;
        let earlier = self.0.carrier.find(parts).map(|text| self.open(text, &place)).unwrap_or_default();
        Some(Issuing { place, earlier })
    }

    /// Makes a grant of a factor that was shown for this request.
    pub(in crate::gate) fn issue_here(
        &self,
        issuing: Issuing,
        factor: &SecondFactor,
        request: &mut Extensions,
    ) -> Option<Issued> {
        let grant = self.seal(issuing.place, issuing.earlier, factor)?;
        match &self.0.carrier.place {
            Place::Cookie(_) => Some(Issued { name: header::SET_COOKIE, value: self.set_cookie(&grant)? }),
            Place::Header(name) => {
                let mut value = HeaderValue::from_str(grant.as_str()).ok()?;
                value.set_sensitive(true);
                Some(Issued { name: name.clone(), value })
            }
            Place::Extensions => {
                request.insert(grant);
                None
            }
        }
    }

    fn place(&self, parts: &Parts, user: &UserId) -> Option<Vec<u8>> {
        let session = (self.0.session)(parts)?;
        place(user, &session, (self.0.epoch)(parts, user)?)
    }

    fn open(&self, text: &[u8], place: &[u8]) -> Vec<Shown> {
        self.0.keys.open_text(place, text).and_then(|plain| read(&plain)).unwrap_or_default()
    }

    fn seal(&self, place: Vec<u8>, mut shown: Vec<Shown>, factor: &SecondFactor) -> Option<Grant> {
        let now = since_1970(self.now())?;
        let at = factor.shown_at().map_or(Some(now), since_1970)?;
        let new = Shown { action: digest(factor.action()), at, factor: factor.factor() };
        shown.retain(|old| old.action != new.action && age(old.at, now).is_some_and(|age| age <= self.0.lifetime));
        shown.sort_by_key(|old| std::cmp::Reverse(old.at));
        shown.truncate(MOST - 1);
        shown.push(new);
        Some(Grant::new(&self.0.keys.seal_text(&place, &write(&shown)?).ok()?))
    }
}

impl Issued {
    /// Gives it to the client, unless the response sets the same by itself. No cache is to store that.
    pub(in crate::gate) fn write(self, response: &mut HeaderMap) {
        let Self { name, value } = self;
        let set_by_itself = match name {
            header::SET_COOKIE => {
                let end = value.as_bytes().iter().position(|&b| b == b'=').map_or(0, |equals| equals + 1);
                let cookie = &value.as_bytes()[..end];
                response.get_all(&name).iter().any(|line| line.as_bytes().trim_ascii_start().starts_with(cookie))
            }
            _ => response.contains_key(&name),
        };
        if !set_by_itself {
            response.append(name, value);
            response.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
    }
}
