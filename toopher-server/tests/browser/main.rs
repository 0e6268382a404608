//! The pages of the server, as browsers load and show them.
#![allow(clippy::unwrap_used)]

mod accessibility;
mod frame_ways;
mod frames;
mod lost_phone;
mod phone;
mod phone_page;
