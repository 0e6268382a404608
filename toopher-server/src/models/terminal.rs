//! Terminals.

use serde_json::{Value, json};
use sqlx::FromRow;

use super::time::utc;
use super::user::User;

/// A terminal, selected by [`TERMINAL_COLUMNS`] and `USER_COLUMNS`.
#[derive(FromRow)]
pub(crate) struct TerminalRow {
    terminal_id: String,
    pub(crate) terminal_name: String,
    pub(crate) discriminator: String,
    terminal_created: i64,
    terminal_modified: i64,
    #[sqlx(flatten)]
    pub(crate) user: User,
}

pub(crate) const TERMINAL_COLUMNS: &str = "t.id AS terminal_id, t.name AS terminal_name, t.discriminator,
    t.created AS terminal_created, t.modified AS terminal_modified";

impl TerminalRow {
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
