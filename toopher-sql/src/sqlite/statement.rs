//! Statements on a connection.

use std::sync::Arc;

use rusqlite::types::{FromSql, ToSqlOutput, Value as Stored, ValueRef};
use rusqlite::{CachedStatement, Connection, ToSql};

use crate::error::SqlError;
use crate::value::{Value, ValueKind};

/// A row that a statement returned.
pub(crate) struct SqliteRow {
    names: Arc<[String]>,
    values: Vec<Stored>,
}

/// Executes the statement, and returns the number of affected rows.
pub(crate) fn execute(connection: &Connection, text: &str, values: &[Value]) -> Result<u64, SqlError> {
    let mut statement = prepare(connection, text, values)?;
    let changed = statement.raw_execute()?;
    Ok(u64::try_from(changed).unwrap_or(u64::MAX))
}

/// Executes the statement to its end, and returns all rows.
pub(crate) fn rows(connection: &Connection, text: &str, values: &[Value]) -> Result<Vec<SqliteRow>, SqlError> {
    let mut statement = prepare(connection, text, values)?;
    let names: Arc<[String]> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut found = Vec::new();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let values = (0..names.len()).map(|index| row.get(index)).collect::<Result<_, _>>()?;
        found.push(SqliteRow { names: Arc::clone(&names), values });
    }
    Ok(found)
}

fn prepare<'a>(connection: &'a Connection, text: &str, values: &[Value]) -> Result<CachedStatement<'a>, SqlError> {
    let mut statement = connection.prepare_cached(text)?;
    // To SQLite, `$1` is a name, whose index is the order of the first uses.
    for index in 1..=statement.parameter_count() {
        let number = statement.parameter_name(index).and_then(|name| name.strip_prefix('$')?.parse::<usize>().ok());
        let value = number.and_then(|number| values.get(number.checked_sub(1)?));
        statement.raw_bind_parameter(index, value.ok_or_else(|| SqlError::sqlite("a parameter has no value"))?)?;
    }
    Ok(statement)
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match &self.0 {
            ValueKind::Integer(value) => value.map(ValueRef::Integer),
            ValueKind::Bool(value) => value.map(|value| ValueRef::Integer(value.into())),
            ValueKind::Text(value) | ValueKind::OpaqueText(value) => value.as_deref().map(ValueRef::from),
            ValueKind::Bytes(value) => value.as_deref().map(ValueRef::Blob),
        };
        Ok(ToSqlOutput::Borrowed(value.unwrap_or(ValueRef::Null)))
    }
}

impl SqliteRow {
    pub(crate) fn get<T: FromSql>(&self, column: &str) -> Result<T, SqlError> {
        let index = self.names.iter().position(|name| name == column);
        self.at(index.ok_or_else(|| SqlError::sqlite(format!("there is no column {column}")))?)
    }

    pub(crate) fn at<T: FromSql>(&self, index: usize) -> Result<T, SqlError> {
        let value = self.values.get(index).ok_or_else(|| SqlError::sqlite(format!("there is no column {index}")))?;
        T::column_result(value.into()).map_err(SqlError::sqlite)
    }
}
