//! Authentication requests.

use serde_json::{Value, json};
use toopher_sql::{Record, Row, SqlError};

use super::terminal::TerminalRow;
use super::time::utc;
use crate::api_error::ApiError;
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
    request_pairing_state: Option<String>,
    /// Whether there is no phone that could answer.
    otp_only: bool,
    pub(crate) terminal: TerminalRow,
}

impl Record for RequestRow {
    fn from_row(row: &Row) -> Result<Self, SqlError> {
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
            request_pairing_state: row.get("request_pairing_state")?,
            otp_only: row.get("otp_only")?,
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

/// The reason of a request for which a wrong number was typed on the phone.
pub(crate) const WRONG_NUMBER: &str = "The number was wrong.";

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
    r.pairing_id AS request_pairing_id,
    (SELECT d.state FROM pairings d WHERE d.id = r.pairing_id) AS request_pairing_state,
    NOT EXISTS (SELECT 1 FROM pairings d WHERE d.id = r.pairing_id AND d.device_id IS NOT NULL) AS otp_only,
    a.id AS action_id, a.name AS action_name"
);

/// The reason and its code of a request that no phone can answer. Clients then ask the user for an OTP.
const OTP_REQUIRED: (&str, u16) = ("User requires OTP authentication", 708);

/// The content of a request that a wrong OTP has denied.
pub(crate) struct DeniedRequest {
    pub(crate) id: String,
    pub(crate) terminal: TerminalRow,
    pub(crate) action_id: String,
    pub(crate) action_name: String,
    pub(crate) reason: &'static str,
    pub(crate) automation_allowed: bool,
    pub(crate) challenge_required: bool,
}

impl RequestRow {
    /// A request for a response alone.
    pub(crate) fn denied(denied: DeniedRequest, now: i64) -> Self {
        Self {
            request_id: denied.id,
            request_state: "denied".to_owned(),
            expired: false,
            automated: false,
            totp_valid: false,
            reason: denied.reason.to_owned(),
            automation_allowed: denied.automation_allowed,
            challenge_required: denied.challenge_required,
            number: None,
            request_created: now,
            request_modified: now,
            request_expires: now,
            action_id: denied.action_id,
            action_name: denied.action_name,
            request_pairing_id: None,
            request_pairing_state: None,
            otp_only: false,
            terminal: denied.terminal,
        }
    }

    /// When the request expires, unless it was answered.
    pub(crate) fn expires(&self) -> i64 {
        self.request_expires
    }

    /// Whether an approval has granted the request: a person on the phone, or a rule, and no OTP.
    pub(crate) fn is_approved(&self) -> bool {
        self.request_state == "granted" && !self.totp_valid
    }

    /// The error of a grant that is no longer valid: the user was disabled since, or the pairing has ended.
    pub(crate) fn revocation(&self) -> Option<ApiError> {
        if self.request_state != "granted" {
            None
        } else if !self.terminal.user.user_enabled {
            Some(ApiError::USER_DISABLED)
        } else if self.request_pairing_state.as_deref().is_some_and(|state| state != "enabled") {
            Some(ApiError::DEACTIVATED)
        } else {
            None
        }
    }

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
        let (reason, reason_code) = if pending && self.otp_only { OTP_REQUIRED } else { (self.reason.as_str(), 0) };
        let mut json = json!({
            "id": self.request_id,
            "pending": pending,
            // Never true while pending is true.
            "granted": !pending && self.request_state == "granted",
            "automated": self.automated,
            "cancelled": self.request_state == "cancelled",
            "reason": reason,
            "reason_code": reason_code,
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

    /// The outcome, as a heading and a sentence for the user.
    pub(crate) fn outcome(&self) -> (&'static str, &'static str) {
        match self.request_state.as_str() {
            "granted" => ("Allowed", "You are returned to the site."),
            "cancelled" => ("Cancelled", "The request is no longer on your phone. To try again, start at the site."),
            _ if self.expired => {
                ("No answer in time", "The request is no longer on your phone. To try again, start at the site.")
            }
            _ if self.reason == WRONG_NUMBER => (
                "Wrong number",
                "The number that was typed on the phone is not the one that this page showed. To try again, start at \
                 the site.",
            ),
            _ => (
                "Not allowed",
                "The request was denied on your phone. If you have done that by mistake, start again at the site.",
            ),
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
