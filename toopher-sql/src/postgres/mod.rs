//! Connections to PostgreSQL: their settings, their time limits, and when they are closed.

mod connect_options;
mod listener;
mod migrations;
mod pool;
mod server;
mod session;
mod settings;

pub use self::connect_options::PgDatabase;
pub use self::listener::Listener;
pub(crate) use self::server::{Server, to_its_end};
pub(crate) use self::session::PgSession;
