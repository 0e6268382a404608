//! Pairings.

use serde_json::{Value, json};
use toopher_sql::{Record, Row, SqlError};

use super::time::utc;
use super::user::User;
use crate::audit::Audit;

/// A pairing, selected by [`PAIRING_COLUMNS`] and `USER_COLUMNS`.
pub(crate) struct PairingRow {
    pairing_id: String,
    pub(crate) device_id: Option<String>,
    pub(crate) pairing_state: String,
    pairing_created: i64,
    pairing_modified: i64,
    pub(crate) user: User,
}

impl Record for PairingRow {
    fn from_row(row: &Row) -> Result<Self, SqlError> {
        Ok(Self {
            pairing_id: row.get("pairing_id")?,
            device_id: row.get("device_id")?,
            pairing_state: row.get("pairing_state")?,
            pairing_created: row.get("pairing_created")?,
            pairing_modified: row.get("pairing_modified")?,
            user: row.read()?,
        })
    }
}

pub(crate) const PAIRING_COLUMNS: &str = "p.id AS pairing_id, p.device_id, p.state AS pairing_state,
    p.created AS pairing_created, p.modified AS pairing_modified";

impl PairingRow {
    pub(crate) fn id(&self) -> &str {
        &self.pairing_id
    }

    /// The audit of a decision about this pairing.
    pub(crate) fn audit(&self) -> Audit {
        let mut audit = Audit::for_pairing().user(self.user.name());
        audit.pairing = Some(self.pairing_id.clone());
        audit
    }

    pub(crate) fn json(&self) -> Value {
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
