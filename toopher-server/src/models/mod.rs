//! The rows of the database as JSON objects of the API, with every key that a client reads unconditionally.

mod device;
mod pairing;
mod request;
mod terminal;
mod time;
mod user;

pub(crate) use self::device::Device;
pub(crate) use self::pairing::{PAIRING_COLUMNS, PairingRow};
pub(crate) use self::request::{DeniedRequest, REQUEST_COLUMNS, RequestRow, UNANSWERED, WRONG_NUMBER};
pub(crate) use self::terminal::{TERMINAL_COLUMNS, TerminalRow};
pub(crate) use self::time::utc;
pub(crate) use self::user::{USER_COLUMNS, User};
