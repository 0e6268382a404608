//! The API of the server: with the clock and the client of the test, over each database, and as processes.
#![allow(clippy::unwrap_used)]

mod bodies;
mod calls;
mod captured;
mod client;
mod connections;
mod events;
mod files;
mod inner;
mod load;
mod lost_phone;
mod numbers;
mod operator;
mod original_clients;
mod postgres;
mod postgres_processes;
mod process;
mod program;
mod redis;
mod revoked;
mod rows;
mod same_address;
mod signals;
mod unknown;
mod web;
mod wrong_clock;
