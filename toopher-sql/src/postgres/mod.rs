//! Connections to PostgreSQL: their settings, their time limits, and when they are closed.

mod connect_options;
mod server;
mod session;
mod transaction;

pub use self::connect_options::PgDatabase;
pub(crate) use self::server::Server;
pub(crate) use self::transaction::PgTransaction;
