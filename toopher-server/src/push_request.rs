//! Requests that the user answers on the phone, or that a rule of the phone answers.

use std::time::Duration;

use toopher_sql::query;
use tower_toopher::Factor;

use crate::api_error::ApiError;
use crate::audit::{Audit, Outcome};
use crate::id::new_id;
use crate::state::Server;

/// How long a request can be answered, in seconds.
const REQUEST_LIFETIME: u64 = 120;
/// The maximum number of pending requests of one user. A person who logs in needs no more.
const MAX_PENDING: i64 = 5;
/// The maximum number of requests for one user within ten minutes, whatever their outcome: users approve requests they
/// did not cause if there are enough of them (push fatigue).
const MAX_RECENT: i64 = 30;
const RECENT: i64 = 600;

/// The columns of a new request.
pub(crate) struct NewRequest<'a> {
    pub(crate) user: &'a str,
    pub(crate) pairing: Option<&'a str>,
    pub(crate) terminal: &'a str,
    pub(crate) discriminator: &'a str,
    pub(crate) action: &'a str,
    pub(crate) state: &'static str,
    pub(crate) automated: bool,
    pub(crate) totp_valid: bool,
    pub(crate) reason: &'a str,
    pub(crate) automation_allowed: bool,
    pub(crate) challenge_required: bool,
    /// The number that the user must type on the phone to allow the request.
    pub(crate) number: Option<String>,
}

impl Server {
    /// Inserts a request in one statement that also enforces the limits. Insertions for the same user are serialized.
    pub(crate) async fn insert_request(&self, new: NewRequest<'_>) -> Result<String, ApiError> {
        let (id, now) = (new_id(), self.now_i64()?);
        let mut transaction = self.begin_for_user(new.user).await?;
        let made = query(
            "INSERT INTO requests (id, user_id, pairing_id, terminal_id, action_id, state, automated, totp_valid,
                reason, automation_allowed, challenge_required, expires, created, modified, discriminator, number)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, $14, $15
             WHERE $6 <> 'pending' OR (
                (SELECT count(*) FROM requests WHERE user_id = $2 AND state = 'pending' AND expires > $13) < $16
                AND (SELECT count(*) FROM requests WHERE user_id = $2 AND created > $17) < $18)",
        )
        .bind(&id)
        .bind(new.user)
        .bind(new.pairing)
        .bind(new.terminal)
        .bind(new.action)
        .bind(new.state)
        .bind(new.automated)
        .bind(new.totp_valid)
        .bind(new.reason)
        .bind(new.automation_allowed)
        .bind(new.challenge_required)
        .bind(now.saturating_add(REQUEST_LIFETIME.cast_signed()))
        .bind(now)
        .bind(new.discriminator)
        .bind(new.number)
        .bind(MAX_PENDING)
        .bind(now.saturating_sub(RECENT))
        .bind(MAX_RECENT)
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        if made == 0 {
            return Err(too_many_requests());
        }
        Ok(id)
    }

    /// Rejects a pending request over the limits, which [`insert_request`](Self::insert_request) enforces.
    async fn reject_if_too_many(&self, user: &str) -> Result<(), ApiError> {
        let now = self.now_i64()?;
        let within = query(
            "SELECT 1 AS within WHERE
                (SELECT count(*) FROM requests WHERE user_id = $1 AND state = 'pending' AND expires > $2) < $3
                AND (SELECT count(*) FROM requests WHERE user_id = $1 AND created > $4) < $5",
        );
        let within = within.bind(user).bind(now).bind(MAX_PENDING).bind(now.saturating_sub(RECENT)).bind(MAX_RECENT);
        if within.row(&self.database).await?.is_some() { Ok(()) } else { Err(too_many_requests()) }
    }

    /// The id of the requester's action with this name, if there is one.
    pub(crate) async fn find_action(&self, requester: &str, name: &str) -> Result<Option<String>, ApiError> {
        let known = query("SELECT id FROM actions WHERE requester_id = $1 AND name = $2").bind(requester).bind(name);
        Ok(known.scalar(&self.database).await?)
    }

    /// The id of the requester's action with this name, which is created if there is none.
    pub(crate) async fn action_named(&self, requester: &str, name: &str) -> Result<String, ApiError> {
        // The action nearly always exists. All requests share the row, so a write would block the others.
        if let Some(id) = self.find_action(requester, name).await? {
            return Ok(id);
        }
        let id = query(
            "INSERT INTO actions (id, requester_id, name, created) VALUES ($1, $2, $3, $4)
             ON CONFLICT (requester_id, name) DO UPDATE SET name = excluded.name RETURNING id",
        );
        let id = id.bind(new_id()).bind(requester).bind(name).bind(self.now_i64()?);
        id.scalar(&self.database).await?.ok_or(ApiError::NOT_FOUND)
    }

    /// The answer of a rule of the user's phone, if there is one for this terminal and action.
    async fn automation(&self, pairing: &str, terminal: &str, action: &str) -> Result<Option<bool>, ApiError> {
        let rule = query(
            "SELECT m.allow FROM automations m JOIN terminals t ON t.id = m.terminal_id
             WHERE m.pairing_id = $1 AND m.terminal_id = $2 AND m.action_id = $3 AND t.discriminator <> ''
                AND m.terminal_name = t.name",
        );
        Ok(rule.bind(pairing).bind(terminal).bind(action).scalar(&self.database).await?)
    }
}

/// A request for the user's approval on the phone.
pub(crate) struct PushRequest<'a> {
    pub(crate) requester: &'a str,
    pub(crate) user: &'a str,
    /// `None` for a user without one, who can answer with a recovery code.
    pub(crate) pairing: Option<&'a str>,
    pub(crate) device: Option<&'a str>,
    pub(crate) terminal_name: &'a str,
    pub(crate) discriminator: &'a str,
    pub(crate) action: &'a str,
    pub(crate) automation_allowed: bool,
    pub(crate) challenge_required: bool,
    /// Whether the user must type a number on the phone that the site shows.
    pub(crate) number_matching: bool,
}

impl Server {
    /// Creates a request that is pending, or that a rule of the phone has answered. Returns its id.
    pub(crate) async fn request_approval(&self, push: &PushRequest<'_>, audit: &mut Audit) -> Result<String, ApiError> {
        audit.action = Some(push.action.to_owned());
        audit.terminal = Some(push.terminal_name.to_owned());
        audit.pairing = push.pairing.map(str::to_owned);
        self.reject_if_locked(push.user).await?;
        let known_terminal = self.find_terminal(push.user, push.terminal_name, push.discriminator).await?;
        if known_terminal.is_none() || self.find_action(push.requester, push.action).await?.is_none() {
            // No rule answers the request. A request over the limits must not store a terminal or an action.
            self.reject_if_too_many(push.user).await?;
        }
        let (terminal, name) = self.terminal_of(push.user, push.terminal_name, push.discriminator).await?;
        audit.terminal = Some(name);
        let action = self.action_named(push.requester, push.action).await?;
        // Several names in Latin-1 become the same text with a replacement character. A rule for one would apply to
        // all.
        let is_exact = !push.action.contains(char::REPLACEMENT_CHARACTER);
        let mut new = NewRequest {
            user: push.user,
            pairing: push.pairing,
            terminal: &terminal,
            discriminator: push.discriminator,
            action: &action,
            state: "pending",
            automated: false,
            totp_valid: false,
            reason: "",
            automation_allowed: push.automation_allowed && is_exact,
            challenge_required: push.challenge_required,
            number: None,
        };
        if new.automation_allowed
            && !push.challenge_required
            && let Some(pairing) = push.pairing
            && let Some(allow) = self.automation(pairing, &terminal, &action).await?
        {
            (new.state, new.automated) = (if allow { "granted" } else { "denied" }, true);
            let id = self.insert_request(new).await?;
            audit.by = Some("rule");
            audit.approval = Some(id.clone());
            audit.settle(if allow { Outcome::Granted(Factor::Push.name()) } else { Outcome::Denied("denied_by_user") });
            return Ok(id);
        }
        new.number = push.number_matching.then(number).transpose()?;
        let id = self.insert_request(new).await?;
        audit.approval = Some(id.clone());
        audit.settle(Outcome::Pending);
        self.notify(push.device).await;
        Ok(id)
    }
}

fn too_many_requests() -> ApiError {
    ApiError::too_many(Some(Duration::from_secs(REQUEST_LIFETIME))).with_reason("too_many_requests")
}

/// A random number of two digits: 10 to 99, uniformly distributed.
fn number() -> Result<String, getrandom::Error> {
    const NUMBERS: u8 = 90;
    loop {
        let mut byte = [0];
        getrandom::fill(&mut byte)?;
        // A multiple of the count of numbers. Larger values would make some numbers more likely.
        if byte[0] < 2 * NUMBERS {
            return Ok((10 + byte[0] % NUMBERS).to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn all_numbers_of_two_digits_are_generated() {
        let generated: HashSet<u8> = (0..20_000).map(|_| number().unwrap().parse().unwrap()).collect();
        assert_eq!(generated, (10..=99).collect());
    }
}
