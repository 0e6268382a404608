//! Runs the examples as processes, and checks what they print and serve.
#![allow(clippy::unwrap_used)]

mod axum_login;
mod cache;
mod custom_rejection;
mod errors;
mod forward_auth;
mod frame;
mod full_chain;
mod grants;
mod grpc;
mod headers;
mod login;
mod nginx;
mod quickstart;
mod replicas;
mod resilient_verifier;
mod stop;

/// The lines of an example's header, without the comment marks.
fn header(example: &str) -> Vec<String> {
    let path = format!("{}/../{example}/src/main.rs", env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(path).unwrap();
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned()).collect()
}

/// The nth block of commands in an example's header, counted from zero.
fn commands(example: &str, nth: usize) -> String {
    let lines = header(example);
    let mut blocks = lines.split(|line| line == "```sh").skip(1);
    let block = blocks.nth(nth).unwrap().iter().take_while(|line| *line != "```");
    block.map(|line| format!("{line}\n")).collect()
}
