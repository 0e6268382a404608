//! Asking a person: a request that waits for the phone, or that a rule of the phone answers.

use super::audit::{Audit, Outcome};
use super::error::ApiError;
use super::{REQUEST_LIFETIME, Server, new_id, of_user};
use crate::Factor;
use crate::random::{self, NoRandomness};
use crate::store::query;

/// How many requests of one user wait at once: more is not a person who logs in.
const MAX_WAITING: i64 = 5;
/// How many are made for one user within ten minutes, whatever became of them: a phone that keeps asking wears its
/// owner out.
const MAX_RECENT: i64 = 30;
const RECENT: i64 = 600;

/// What is known of a request before it is made.
pub(super) struct New<'a> {
    pub(super) user: &'a str,
    pub(super) pairing: Option<&'a str>,
    pub(super) terminal: &'a str,
    pub(super) discriminator: &'a str,
    pub(super) action: &'a str,
    pub(super) state: &'static str,
    pub(super) automated: bool,
    pub(super) totp_valid: bool,
    pub(super) reason: &'a str,
    pub(super) automation_allowed: bool,
    pub(super) challenge_required: bool,
    /// What the phone must be told, so that it can be allowed.
    pub(super) number: Option<String>,
}

impl Server {
    /// Makes a request, in one statement that counts those that there are, while no other one of this user is made.
    pub(super) async fn new_request(&self, new: New<'_>) -> Result<String, ApiError> {
        let (id, now) = (new_id(), self.now_i64()?);
        let mut transaction = self.database.begin(&of_user(new.user)).await?;
        let made = query(
            "INSERT INTO requests (id, user_id, pairing_id, terminal_id, action_id, state, automated, totp_valid, reason,
                automation_allowed, challenge_required, expires, created, modified, discriminator, number)
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
        .bind(MAX_WAITING)
        .bind(now.saturating_sub(RECENT))
        .bind(MAX_RECENT)
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        if made == 0 {
            let wait = std::time::Duration::from_secs(REQUEST_LIFETIME);
            return Err(ApiError::too_many(Some(wait)).because("asked_too_often"));
        }
        Ok(id)
    }

    pub(super) async fn action_named(&self, requester: &str, name: &str) -> Result<String, ApiError> {
        // Nearly always it is there, and the row is everybody's: who writes it waits for all others.
        let known = query("SELECT id FROM actions WHERE requester_id = $1 AND name = $2").bind(requester).bind(name);
        if let Some(id) = known.scalar(&self.database).await? {
            return Ok(id);
        }
        let id = query(
            "INSERT INTO actions (id, requester_id, name, created) VALUES ($1, $2, $3, $4)
             ON CONFLICT (requester_id, name) DO UPDATE SET name = excluded.name RETURNING id",
        );
        let id = id.bind(new_id()).bind(requester).bind(name).bind(self.now_i64()?);
        id.scalar(&self.database).await?.ok_or(ApiError::NOT_FOUND)
    }

    /// What a rule of the user's phone answers by itself.
    async fn automation(&self, pairing: &str, terminal: &str, action: &str) -> Result<Option<bool>, ApiError> {
        let rule = query(
            "SELECT m.allow FROM automations m JOIN terminals t ON t.id = m.terminal_id
             WHERE m.pairing_id = $1 AND m.terminal_id = $2 AND m.action_id = $3 AND t.discriminator <> ''
                AND m.terminal_name = t.name",
        );
        Ok(rule.bind(pairing).bind(terminal).bind(action).scalar(&self.database).await?)
    }
}

/// A question to a person's phone.
pub(super) struct Ask<'a> {
    pub(super) requester: &'a str,
    pub(super) user: &'a str,
    pub(super) pairing: &'a str,
    pub(super) device: Option<&'a str>,
    pub(super) terminal_name: &'a str,
    pub(super) discriminator: &'a str,
    pub(super) action: &'a str,
    pub(super) automation_allowed: bool,
    pub(super) challenge_required: bool,
    /// Whether the phone is asked for a number that the site shows.
    pub(super) number_matching: bool,
}

impl Server {
    /// Makes a request that waits for the phone, or is answered by what was automated on it. Returns its id.
    pub(super) async fn ask(&self, ask: &Ask<'_>, audit: &mut Audit) -> Result<String, ApiError> {
        audit.action = Some(ask.action.to_owned());
        audit.terminal = Some(ask.terminal_name.to_owned());
        audit.pairing = Some(ask.pairing.to_owned());
        self.refuse_if_locked(ask.user).await?;
        let (terminal, name) = self.terminal_of(ask.user, ask.terminal_name, ask.discriminator).await?;
        audit.terminal = Some(name);
        let action = self.action_named(ask.requester, ask.action).await?;
        let mut new = New {
            user: ask.user,
            pairing: Some(ask.pairing),
            terminal: &terminal,
            discriminator: ask.discriminator,
            action: &action,
            state: "pending",
            automated: false,
            totp_valid: false,
            reason: "",
            automation_allowed: ask.automation_allowed,
            challenge_required: ask.challenge_required,
            number: None,
        };
        if ask.automation_allowed
            && !ask.challenge_required
            && let Some(allow) = self.automation(ask.pairing, &terminal, &action).await?
        {
            (new.state, new.automated) = (if allow { "granted" } else { "denied" }, true);
            let id = self.new_request(new).await?;
            audit.by = Some("rule");
            audit.approval = Some(id.clone());
            audit.settle(if allow { Outcome::Granted(Factor::Push.name()) } else { Outcome::Denied("refused") });
            return Ok(id);
        }
        new.number = ask.number_matching.then(number).transpose()?;
        let id = self.new_request(new).await?;
        audit.approval = Some(id.clone());
        audit.settle(Outcome::Pending);
        self.notify(ask.device).await;
        Ok(id)
    }
}

/// Two digits that a person can read out: 10 to 99, each as likely as any other.
fn number() -> Result<String, NoRandomness> {
    const NUMBERS: u8 = 90;
    loop {
        let mut byte = [0];
        random::fill(&mut byte)?;
        // Twice all numbers; what is above would make some of them likelier.
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
    fn every_number_of_two_digits_is_dealt_and_no_other() {
        let dealt: HashSet<u8> = (0..20_000).map(|_| number().unwrap().parse().unwrap()).collect();
        assert_eq!(dealt, (10..=99).collect());
    }
}
