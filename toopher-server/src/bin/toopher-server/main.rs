//! The program of toopher-server: a self-hosted Toopher API.

mod admin;
mod config;
mod database_url;
mod demo;
mod error;
mod failure_store;
mod message_command;
mod open;
mod options;
mod output;
mod secret_file;
mod serve;
mod sign;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use toopher_server::SealingKey;
use tracing_subscriber::EnvFilter;

use self::config::Config;
use self::error::Error;
use self::failure_store::FailureStore;
use self::options::{Cli, Command};
use self::output::print;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("toopher-server: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                text.push_str(&format!(": {error}"));
                cause = error.source();
            }
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Error> {
    let config = Config::read(cli.common.config.as_deref())?;
    let failure_store = || FailureStore::new(&cli.common.failure_store, &config);
    // Administration needs no public URL.
    let open = async |store: &FailureStore| open::open(&cli.common, &config, store, "http://localhost").await;
    match cli.command {
        Command::Serve(options) => serve::serve(&cli.common, options, &config).await,
        Command::Requester(command) => admin::requester(&open(&failure_store()?).await?, command).await,
        Command::User(command) => admin::user(&open(&failure_store()?).await?, command).await,
        Command::MigrateFailureStore => {
            let store = failure_store()?;
            let server = open(&store).await?;
            store.check(&server).await?;
            Ok(server.migrate_failure_store().await?)
        }
        Command::Key => print(&format!("{}\n", *SealingKey::generate()?.to_hex())),
        Command::Sign(call) => print(&sign::sign_call(&call)?),
    }
}
