//! Phones.

use toopher_sql::{Record, Row, SqlError};

/// A phone, as its token describes it. It may have no row.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The time of the registration.
    pub(crate) created: i64,
}

impl Record for Device {
    fn from_row(row: &Row) -> Result<Self, SqlError> {
        Ok(Self { id: row.get("id")?, name: row.get("name")?, created: row.get("created")? })
    }
}
