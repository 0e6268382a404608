//! Terminals.

use serde_json::{Value, json};
use toopher_sql::{Record, Row, SqlError};

use super::time::utc;
use super::user::User;
use crate::id::new_id;

/// A terminal, selected by [`TERMINAL_COLUMNS`] and `USER_COLUMNS`.
pub(crate) struct TerminalRow {
    terminal_id: String,
    pub(crate) terminal_name: String,
    pub(crate) discriminator: String,
    terminal_created: i64,
    terminal_modified: i64,
    pub(crate) user: User,
}

impl Record for TerminalRow {
    fn from_row(row: &Row) -> Result<Self, SqlError> {
        Ok(Self {
            terminal_id: row.get("terminal_id")?,
            terminal_name: row.get("terminal_name")?,
            discriminator: row.get("discriminator")?,
            terminal_created: row.get("terminal_created")?,
            terminal_modified: row.get("terminal_modified")?,
            user: row.read()?,
        })
    }
}

pub(crate) const TERMINAL_COLUMNS: &str = "t.id AS terminal_id, t.name AS terminal_name, t.discriminator,
    t.created AS terminal_created, t.modified AS terminal_modified";

impl TerminalRow {
    /// A terminal for a response alone.
    pub(crate) fn not_stored(user: User, name: String, discriminator: String, now: i64) -> Self {
        Self {
            terminal_id: new_id(),
            terminal_name: name,
            discriminator,
            terminal_created: now,
            terminal_modified: now,
            user,
        }
    }

    pub(crate) fn user_id(&self) -> &str {
        &self.user.user_id
    }

    pub(crate) fn json(&self) -> Value {
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
