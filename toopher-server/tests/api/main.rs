//! The API of the server: with the clock and the client of the test, over each database, and as processes.
#![allow(clippy::unwrap_used)]

mod calls;
mod captured;
mod client;
mod inner;
mod numbers;
mod postgres;
mod postgres_processes;
mod process;
mod redis;
mod web;
