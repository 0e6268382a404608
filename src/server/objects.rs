//! The JSON objects of the API, with every key that some client reads without asking whether it is there.

use serde_json::{Value, json};
use sqlx::FromRow;

/// A user, read by [`USER_COLUMNS`].
#[derive(FromRow)]
pub(super) struct User {
    pub(super) user_id: String,
    user_name: String,
    pub(super) user_enabled: bool,
    user_created: String,
    user_modified: String,
    backup_codes_left: i64,
}

pub(super) const USER_COLUMNS: &str = "u.id AS user_id, u.name AS user_name, u.enabled AS user_enabled,
    datetime(u.created, 'unixepoch') AS user_created, datetime(u.modified, 'unixepoch') AS user_modified,
    (SELECT count(*) FROM backup_codes b WHERE b.user_id = u.id) AS backup_codes_left";

impl User {
    pub(super) fn name(&self) -> &str {
        &self.user_name
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "id": self.user_id,
            "name": self.user_name,
            "toopher_authentication_enabled": self.user_enabled,
            "disable_toopher_auth": !self.user_enabled,
            "number_of_pregenerated_otps_remaining": self.backup_codes_left,
            "created": self.user_created,
            "modified": self.user_modified,
        })
    }
}

/// A pairing, read by [`PAIRING_COLUMNS`] and [`USER_COLUMNS`].
#[derive(FromRow)]
pub(super) struct PairingRow {
    pairing_id: String,
    pub(super) device_id: Option<String>,
    pub(super) pairing_state: String,
    pairing_created: String,
    pairing_modified: String,
    pairing_created_seconds: i64,
    #[sqlx(flatten)]
    pub(super) user: User,
}

pub(super) const PAIRING_COLUMNS: &str = "p.id AS pairing_id, p.device_id, p.state AS pairing_state,
    datetime(p.created, 'unixepoch') AS pairing_created, datetime(p.modified, 'unixepoch') AS pairing_modified,
    p.created AS pairing_created_seconds";

impl PairingRow {
    pub(super) fn id(&self) -> &str {
        &self.pairing_id
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "id": self.pairing_id,
            "pending": self.pairing_state == "pending",
            "enabled": self.pairing_state == "enabled",
            "deactivated": self.pairing_state == "deactivated",
            "reason": "",
            "reason_code": 0,
            "totp_length": 6,
            "created": self.pairing_created,
            "modified": self.pairing_modified,
            "created_seconds_since_epoch": self.pairing_created_seconds,
            "user": self.user.json(),
        })
    }
}

/// A terminal, read by [`TERMINAL_COLUMNS`] and [`USER_COLUMNS`].
#[derive(FromRow)]
pub(super) struct TerminalRow {
    terminal_id: String,
    terminal_name: String,
    discriminator: String,
    terminal_created: String,
    terminal_modified: String,
    #[sqlx(flatten)]
    user: User,
}

pub(super) const TERMINAL_COLUMNS: &str = "t.id AS terminal_id, t.name AS terminal_name, t.discriminator,
    datetime(t.created, 'unixepoch') AS terminal_created, datetime(t.modified, 'unixepoch') AS terminal_modified";

impl TerminalRow {
    pub(super) fn user_id(&self) -> &str {
        &self.user.user_id
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "id": self.terminal_id,
            "name": self.terminal_name,
            "name_extra": self.discriminator,
            "requester_specified_id": self.discriminator,
            "created": self.terminal_created,
            "modified": self.terminal_modified,
            "user": self.user.json(),
        })
    }
}

/// An authentication request, read by [`REQUEST_COLUMNS`], [`TERMINAL_COLUMNS`] and [`USER_COLUMNS`].
#[derive(FromRow)]
pub(super) struct RequestRow {
    pub(super) request_id: String,
    /// As it is at the time of asking: one that has waited too long is denied.
    pub(super) request_state: String,
    expired: bool,
    automated: bool,
    totp_valid: bool,
    reason: String,
    automation_allowed: bool,
    challenge_required: bool,
    number: Option<String>,
    request_created: String,
    request_modified: String,
    request_created_seconds: i64,
    request_expires: i64,
    action_id: String,
    action_name: String,
    pub(super) request_pairing_id: Option<String>,
    #[sqlx(flatten)]
    pub(super) terminal: TerminalRow,
}

/// Takes the time as `?1`.
pub(super) const REQUEST_COLUMNS: &str = "r.id AS request_id,
    CASE WHEN r.state = 'pending' AND r.expires <= ?1 THEN 'denied' ELSE r.state END AS request_state,
    CASE WHEN r.state = 'pending' AND r.expires <= ?1 THEN 'The request was not answered in time.' ELSE r.reason END
        AS reason,
    r.state = 'pending' AND r.expires <= ?1 AS expired, r.automated, r.totp_valid, r.automation_allowed, r.challenge_required,
    r.number,
    datetime(r.created, 'unixepoch') AS request_created, datetime(r.modified, 'unixepoch') AS request_modified,
    r.created AS request_created_seconds, r.expires AS request_expires, r.pairing_id AS request_pairing_id,
    a.id AS action_id, a.name AS action_name";

impl RequestRow {
    /// What the site shows and the phone asks for, while it waits. For the requester alone.
    pub(super) fn number(&self) -> Option<&str> {
        self.number.as_deref().filter(|_| self.request_state == "pending")
    }

    pub(super) fn json(&self) -> Value {
        let pending = self.request_state == "pending";
        let mut json = json!({
            "id": self.request_id,
            "pending": pending,
            // Never while it is pending.
            "granted": !pending && self.request_state == "granted",
            "automated": self.automated,
            "cancelled": self.request_state == "cancelled",
            "reason": self.reason,
            "reason_code": 0,
            "totp_valid": self.totp_valid,
            "automation_allowed": self.automation_allowed,
            "challenge_required": self.challenge_required,
            "created": self.request_created,
            "modified": self.request_modified,
            "created_seconds_since_epoch": self.request_created_seconds,
            "terminal": self.terminal.json(),
            "user": self.terminal.user.json(),
            "action": { "id": self.action_id, "name": self.action_name },
        });
        if let Some(number) = self.number() {
            json["number"] = number.into();
        }
        json
    }

    /// What became of it, for the person who asked.
    pub(super) fn outcome(&self) -> &'static str {
        match self.request_state.as_str() {
            "granted" => "Allowed",
            "cancelled" => "Cancelled",
            _ if self.expired => "Nobody answered in time",
            _ => "Not allowed",
        }
    }

    /// What the phone shows, which is never the number: its owner has to have it from the site.
    pub(super) fn for_phone(&self, requester: &str) -> Value {
        json!({
            "id": self.request_id,
            "pending": self.request_state == "pending",
            "requester": requester,
            "user": self.terminal.user.user_name,
            "terminal": self.terminal.terminal_name,
            "action": self.action_name,
            "automation_allowed": self.automation_allowed && !self.terminal.discriminator.is_empty(),
            "challenge_required": self.challenge_required,
            "number_required": self.number.is_some(),
            "created": self.request_created_seconds,
            "expires": self.request_expires,
        })
    }
}
