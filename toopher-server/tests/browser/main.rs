//! The pages of the server, as browsers load and show them.
#![allow(clippy::unwrap_used)]

mod frames;
mod phone;
mod phone_page;
