//! SQLite and PostgreSQL behind one query type, with the tables that the SQL stores of `tower-toopher` and
//! `toopher-server` share. Other packages should use the stores of `tower-toopher`.
//!
//! A statement has one text for both databases, in the SQL that both support: `$1` for parameters, `ON CONFLICT`,
//! `RETURNING`, `TRUE`. The migrations of each database create the tables when it is opened.
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), toopher_sql::SqlError> {
//! use toopher_sql::{Database, OpaqueText, query};
//!
//! let database = Database::in_memory().await?;
//! let rows = database.transaction("steps of alice".into(), |connection| Box::pin(async {
//!     query("INSERT INTO used_steps (user_name, device, step, keep_until) VALUES ($1, $2, $3, 0)")
//!         .bind(OpaqueText("alice"))
//!         .bind(OpaqueText("a phone"))
//!         .bind(3)
//!         .execute(connection)
//!         .await
//! }));
//! assert_eq!(rows.await?, 1);
//! let step: Option<i64> = query("SELECT step FROM used_steps").scalar(&database).await?;
//! assert_eq!(step, Some(3));
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "sqlite"))]
//! # fn main() {}
//! ```

// Without a database there is nothing to compile.
#![cfg(any(feature = "postgres", feature = "sqlite"))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod connection;
mod database;
mod error;
#[cfg(feature = "postgres")]
mod lock;
#[cfg(feature = "postgres")]
mod postgres;
mod query;
mod row;
#[cfg(feature = "sqlite")]
mod sqlite;
mod value;

pub use self::connection::{Connection, Operation};
pub use self::database::Database;
pub use self::error::SqlError;
#[cfg(feature = "postgres")]
pub use self::postgres::{Listener, PgDatabase};
pub use self::query::{Executor, Query, query};
pub use self::row::{Column, Record, Row};
pub use self::value::{OpaqueText, Value};
