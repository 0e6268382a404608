//! Users.

use serde_json::{Value, json};
use toopher_sql::{Record, Row, SqlError};

use super::time::utc;

/// A user, selected by [`USER_COLUMNS`].
pub(crate) struct User {
    pub(crate) user_id: String,
    user_name: String,
    pub(crate) user_enabled: bool,
    user_created: i64,
    user_modified: i64,
    recovery_codes_left: i64,
}

impl Record for User {
    fn from_row(row: &Row) -> Result<Self, SqlError> {
        Ok(Self {
            user_id: row.get("user_id")?,
            user_name: row.get("user_name")?,
            user_enabled: row.get("user_enabled")?,
            user_created: row.get("user_created")?,
            user_modified: row.get("user_modified")?,
            recovery_codes_left: row.get("recovery_codes_left")?,
        })
    }
}

pub(crate) const USER_COLUMNS: &str = "u.id AS user_id, u.name AS user_name, u.enabled AS user_enabled,
    u.created AS user_created, u.modified AS user_modified,
    (SELECT count(*) FROM recovery_codes b WHERE b.user_id = u.id) AS recovery_codes_left";

impl User {
    pub(crate) fn name(&self) -> &str {
        &self.user_name
    }

    pub(crate) fn recovery_codes_left(&self) -> i64 {
        self.recovery_codes_left
    }

    pub(crate) fn has_recovery_codes(&self) -> bool {
        self.recovery_codes_left > 0
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "id": self.user_id,
            "name": self.user_name,
            "toopher_authentication_enabled": self.user_enabled,
            "disable_toopher_auth": !self.user_enabled,
            "number_of_pregenerated_otps_remaining": self.recovery_codes_left,
            "created": utc(self.user_created),
            "modified": utc(self.user_modified),
        })
    }
}
