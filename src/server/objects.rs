//! The JSON objects of the API, with every key that some client reads without asking whether it is there.

use serde_json::{Value, json};
use sqlx::FromRow;

use super::audit::Audit;

/// A user, read by [`USER_COLUMNS`].
#[derive(FromRow)]
pub(super) struct User {
    pub(super) user_id: String,
    user_name: String,
    pub(super) user_enabled: bool,
    user_created: i64,
    user_modified: i64,
    backup_codes_left: i64,
}

pub(super) const USER_COLUMNS: &str = "u.id AS user_id, u.name AS user_name, u.enabled AS user_enabled,
    u.created AS user_created, u.modified AS user_modified,
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
            "created": utc(self.user_created),
            "modified": utc(self.user_modified),
        })
    }
}

/// A pairing, read by [`PAIRING_COLUMNS`] and [`USER_COLUMNS`].
#[derive(FromRow)]
pub(super) struct PairingRow {
    pairing_id: String,
    pub(super) device_id: Option<String>,
    pub(super) pairing_state: String,
    pairing_created: i64,
    pairing_modified: i64,
    #[sqlx(flatten)]
    pub(super) user: User,
}

pub(super) const PAIRING_COLUMNS: &str = "p.id AS pairing_id, p.device_id, p.state AS pairing_state,
    p.created AS pairing_created, p.modified AS pairing_modified";

impl PairingRow {
    pub(super) fn id(&self) -> &str {
        &self.pairing_id
    }

    /// Begins the audit of something that is decided about it.
    pub(super) fn audit(&self) -> Audit {
        let mut audit = Audit::of_pairing().user(self.user.name());
        audit.pairing = Some(self.pairing_id.clone());
        audit
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
            "created": utc(self.pairing_created),
            "modified": utc(self.pairing_modified),
            "created_seconds_since_epoch": self.pairing_created,
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
    terminal_created: i64,
    terminal_modified: i64,
    #[sqlx(flatten)]
    user: User,
}

pub(super) const TERMINAL_COLUMNS: &str = "t.id AS terminal_id, t.name AS terminal_name, t.discriminator,
    t.created AS terminal_created, t.modified AS terminal_modified";

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
            "created": utc(self.terminal_created),
            "modified": utc(self.terminal_modified),
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
    request_created: i64,
    request_modified: i64,
    request_expires: i64,
    action_id: String,
    action_name: String,
    pub(super) request_pairing_id: Option<String>,
    #[sqlx(flatten)]
    pub(super) terminal: TerminalRow,
}

macro_rules! unanswered {
    () => {
        "The request was not answered in time."
    };
}

/// The reason of a request that has waited too long, and that the [sweep](super::Server::sweep) has denied since.
pub(super) const UNANSWERED: &str = unanswered!();

/// Takes the time as `$1`.
pub(super) const REQUEST_COLUMNS: &str = concat!(
    "r.id AS request_id,
    CASE WHEN r.state = 'pending' AND r.expires <= $1 THEN 'denied' ELSE r.state END AS request_state,
    CASE WHEN r.state = 'pending' AND r.expires <= $1 THEN '",
    unanswered!(),
    "' ELSE r.reason END AS reason,
    (r.state = 'pending' AND r.expires <= $1) OR (r.state = 'denied' AND r.reason = '",
    unanswered!(),
    "') AS expired, r.automated, r.totp_valid, r.automation_allowed, r.challenge_required,
    r.number,
    r.created AS request_created, r.modified AS request_modified, r.expires AS request_expires, r.pairing_id AS request_pairing_id,
    a.id AS action_id, a.name AS action_name"
);

impl RequestRow {
    /// Says whom and what a decision is about.
    pub(super) fn note(&self, audit: &mut Audit) {
        audit.approval = Some(self.request_id.clone());
        audit.pairing.clone_from(&self.request_pairing_id);
        audit.user = Some(self.terminal.user.user_name.clone());
        audit.action = Some(self.action_name.clone());
        audit.terminal = Some(self.terminal.terminal_name.clone());
    }

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
            "created": utc(self.request_created),
            "modified": utc(self.request_modified),
            "created_seconds_since_epoch": self.request_created,
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
            "created": self.request_created,
            "expires": self.request_expires,
        })
    }
}

/// A time as clients of every generation read it: `2026-11-25 09:14:00`, in UTC.
pub(super) fn utc(seconds: i64) -> String {
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years from March on, so that the leap day is the last one: Hinnant's `civil_from_days`.
    let since = day + 719_468;
    let era = since.div_euclid(146_097);
    let of_era = since.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{date:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn times_are_dates() {
        // As `date -u -d @…` prints them.
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (-1, "1969-12-31 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (951_868_799, "2000-02-29 23:59:59"),
            (951_868_800, "2000-03-01 00:00:00"),
            (1_111_111_109, "2005-03-18 01:58:29"),
            (1_709_251_199, "2024-02-29 23:59:59"),
            (1_735_689_599, "2024-12-31 23:59:59"),
            (2_147_483_648, "2038-01-19 03:14:08"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (20_000_000_000, "2603-10-11 11:33:20"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }
}
