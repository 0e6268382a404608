//! From a verified factor to a grant, and back.

use std::time::Duration;

use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, header};

use super::codec::{FactorRecord, aad, action_digest, decode, encode};
use super::config::Grants;
use super::epoch::Epoch;
use super::grant::Grant;
use super::transport::GrantLocation;
use crate::middleware::response::prevent_caching;
use crate::time::{UnixTime, age};
use crate::verify::{Action, SecondFactor, SessionId, UserId};

/// The maximum number of factors in one grant.
const MAX_FACTORS: usize = 8;

/// What a grant will be bound to, and the factors of the grant that came with the request.
#[derive(Clone)]
pub(in crate::middleware) struct GrantContext {
    aad: Vec<u8>,
    earlier: Vec<FactorRecord>,
}

/// The header of a response that carries a grant.
pub(in crate::middleware) struct GrantHeader {
    name: HeaderName,
    value: HeaderValue,
}

impl Grants {
    /// Issues a grant for a factor that was verified for this request (see [`SecondFactor::auth_time`]) or earlier, in
    /// which case the grant keeps that time.
    ///
    /// A handler needs it where the layer's own grant would be bound to a value that is about to change, or where there
    /// is none: at a login that starts a new session, for example. Call it **after the first factor was verified**,
    /// with the id that the session will have. Returns `None` when no grant can be issued, as [the module docs](super)
    /// explain.
    #[must_use]
    pub fn issue(&self, factor: &SecondFactor, session: &SessionId, epoch: impl Into<Epoch>) -> Option<Grant> {
        self.encrypt(aad(factor.user(), session, epoch.into()), Vec::new(), factor)
    }

    /// The most recent factor in the request's grant that is for one of `actions`.
    pub(in crate::middleware) fn find<'a>(
        &self,
        parts: &Parts,
        user: &UserId,
        actions: impl Iterator<Item = &'a Action>,
        max_age: Duration,
        now: UnixTime,
    ) -> Option<SecondFactor> {
        // First, because most requests without a grant end here.
        let text = self.transport().find(parts)?;
        let mut factors = self.decrypt(text, &request_aad(parts, user)?);
        factors.retain(|factor| age(factor.auth_time, now).is_some_and(|age| age <= max_age));
        let matching = |action: &'a Action| {
            let digest = action_digest(action);
            factors.iter().filter(move |factor| factor.action == digest).map(move |factor| (factor, action))
        };
        let (record, action) = actions.flat_map(matching).max_by_key(|(factor, _)| factor.auth_time)?;
        Some(SecondFactor::new(user.clone(), action.clone(), record.factor).with_auth_time(record.auth_time))
    }

    /// Call it before the factor is verified, so that a change of the epoch in between invalidates the grant.
    pub(in crate::middleware) fn context(&self, parts: &Parts, user: &UserId) -> Option<GrantContext> {
        let aad = request_aad(parts, user)?;
        let earlier = self.transport().find(parts).map(|text| self.decrypt(text, &aad)).unwrap_or_default();
        Some(GrantContext { aad, earlier })
    }

    /// Issues a grant for a factor that was verified for this request.
    pub(in crate::middleware) fn issue_for_response(
        &self,
        context: GrantContext,
        factor: &SecondFactor,
        request: &mut Extensions,
    ) -> Option<GrantHeader> {
        let grant = self.encrypt(context.aad, context.earlier, factor)?;
        match &self.transport().location {
            GrantLocation::Cookie(_) => Some(GrantHeader { name: header::SET_COOKIE, value: self.set_cookie(&grant)? }),
            GrantLocation::Header(name) => {
                let mut value = HeaderValue::from_str(grant.as_str()).ok()?;
                value.set_sensitive(true);
                Some(GrantHeader { name: name.clone(), value })
            }
            GrantLocation::Extensions => {
                request.insert(grant);
                None
            }
        }
    }

    fn decrypt(&self, text: &[u8], aad: &[u8]) -> Vec<FactorRecord> {
        self.keys().decrypt_text(aad, text).and_then(|plain| decode(&plain)).unwrap_or_default()
    }

    fn encrypt(&self, aad: Vec<u8>, mut factors: Vec<FactorRecord>, factor: &SecondFactor) -> Option<Grant> {
        let now = self.time_source().now().ok()?;
        let auth_time = factor.auth_time().unwrap_or(now);
        let new = FactorRecord { action: action_digest(factor.action()), auth_time, factor: factor.factor() };
        let lifetime = self.max_age();
        factors.retain(|old| old.action != new.action && age(old.auth_time, now).is_some_and(|age| age <= lifetime));
        factors.sort_by_key(|old| std::cmp::Reverse(old.auth_time));
        factors.truncate(MAX_FACTORS - 1);
        factors.push(new);
        Grant::new(&self.keys().encrypt_text(&aad, &encode(&factors)?).ok()?).ok()
    }
}

/// The associated data of a grant of this request. `None` without a session or an epoch.
fn request_aad(parts: &Parts, user: &UserId) -> Option<Vec<u8>> {
    let session = parts.extensions.get::<SessionId>()?;
    Some(aad(user, session, *parts.extensions.get::<Epoch>()?))
}

impl GrantHeader {
    /// Adds the grant to the response, unless the inner service has set the same cookie or header. In both cases the
    /// response identifies a client, so caches must not store it.
    pub(in crate::middleware) fn insert(self, response: &mut HeaderMap) {
        let Self { name, value } = self;
        let already_set = match name {
            header::SET_COOKIE => {
                let end = value.as_bytes().iter().position(|&b| b == b'=').map_or(0, |equals| equals + 1);
                let cookie = &value.as_bytes()[..end];
                response.get_all(&name).iter().any(|line| line.as_bytes().trim_ascii_start().starts_with(cookie))
            }
            _ => response.contains_key(&name),
        };
        if !already_set {
            response.append(name, value);
        }
        prevent_caching(response);
    }
}
