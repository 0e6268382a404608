//! Authentication requests.

use serde_json::{Value, json};
use toopher_sql::{Error, Record, Row};

use super::terminal::TerminalRow;
use super::time::utc;
use crate::audit::Audit;

/// An authentication request, selected by [`REQUEST_COLUMNS`], `TERMINAL_COLUMNS` and `USER_COLUMNS`.
pub(crate) struct RequestRow {
    pub(crate) request_id: String,
    /// The state at the time of the query: an expired request is denied.
    pub(crate) request_state: String,
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
    pub(crate) request_pairing_id: Option<String>,
    pub(crate) terminal: TerminalRow,
}

impl Record for RequestRow {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            request_id: row.get("request_id")?,
            request_state: row.get("request_state")?,
            expired: row.get("expired")?,
            automated: row.get("automated")?,
            totp_valid: row.get("totp_valid")?,
            reason: row.get("reason")?,
            automation_allowed: row.get("automation_allowed")?,
            challenge_required: row.get("challenge_required")?,
            number: row.get("number")?,
            request_created: row.get("request_created")?,
            request_modified: row.get("request_modified")?,
            request_expires: row.get("request_expires")?,
            action_id: row.get("action_id")?,
            action_name: row.get("action_name")?,
            request_pairing_id: row.get("request_pairing_id")?,
            terminal: row.read()?,
        })
    }
}

macro_rules! unanswered {
    () => {
        "The request was not answered in time."
    };
}

/// The reason of an expired request that [`Server::cleanup`](crate::Server::cleanup) has denied.
pub(crate) const UNANSWERED: &str = unanswered!();

/// `$1` is the current time.
pub(crate) const REQUEST_COLUMNS: &str = concat!(
    "r.id AS request_id,
    CASE WHEN r.state = 'pending' AND r.expires <= $1 THEN 'denied' ELSE r.state END AS request_state,
    CASE WHEN r.state = 'pending' AND r.expires <= $1 THEN '",
    unanswered!(),
    "' ELSE r.reason END AS reason,
    (r.state = 'pending' AND r.expires <= $1) OR (r.state = 'denied' AND r.reason = '",
    unanswered!(),
    "') AS expired, r.automated, r.totp_valid, r.automation_allowed, r.challenge_required,
    r.number,
    r.created AS request_created, r.modified AS request_modified, r.expires AS request_expires,
    r.pairing_id AS request_pairing_id, a.id AS action_id, a.name AS action_name"
);

impl RequestRow {
    /// Adds the user, action, terminal and ids to the audit of a decision.
    pub(crate) fn describe(&self, audit: &mut Audit) {
        audit.approval = Some(self.request_id.clone());
        audit.pairing.clone_from(&self.request_pairing_id);
        audit.user = Some(self.terminal.user.name().to_owned());
        audit.action = Some(self.action_name.clone());
        audit.terminal = Some(self.terminal.terminal_name.clone());
    }

    /// The number that the site shows and the user types on the phone, while the request is pending. Only the requester
    /// sees it.
    pub(crate) fn number(&self) -> Option<&str> {
        self.number.as_deref().filter(|_| self.request_state == "pending")
    }

    pub(crate) fn json(&self) -> Value {
        let pending = self.request_state == "pending";
        let mut json = json!({
            "id": self.request_id,
            "pending": pending,
            // Never true while pending is true.
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

    /// The outcome, as a heading for the user.
    pub(crate) fn outcome(&self) -> &'static str {
        match self.request_state.as_str() {
            "granted" => "Allowed",
            "cancelled" => "Cancelled",
            _ if self.expired => "No answer in time",
            _ => "Not allowed",
        }
    }

    /// The request as the phone sees it, without the number: the user has to read it at the site.
    pub(crate) fn for_phone(&self, requester: &str) -> Value {
        json!({
            "id": self.request_id,
            "pending": self.request_state == "pending",
            "requester": requester,
            "user": self.terminal.user.name(),
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
