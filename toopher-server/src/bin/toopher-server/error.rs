//! The error of all commands.

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
