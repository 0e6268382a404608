//! The program of toopher-server: a self-hosted Toopher API.

mod accept;
mod admin;
mod config;
mod connection;
mod connection_limits;
mod connection_log;
mod connection_state;
mod connection_table;
mod connections;
mod database_url;
mod demo;
mod error;
mod failure_store;
mod file_limit;
mod key_file;
mod log;
mod message_command;
mod mount;
mod open;
mod options;
mod output;
mod progress;
mod readiness;
mod secret_file;
mod serve;
mod sign;
mod signals;
mod tls;
mod trusted_proxies;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use toopher_server::SealingKey;
use tracing_subscriber::EnvFilter;

use self::config::Config;
use self::error::Error;
use self::failure_store::FailureStore;
use self::log::Log;
use self::options::{Cli, Command};
use self::output::print;

fn main() -> ExitCode {
    let cli = Cli::parse_args();
    let Ok(mut log) = Log::start(io::stderr()) else { return ExitCode::FAILURE };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(log.clone())
        .with_ansi(io::stderr().is_terminal())
        .init();
    // The default hook writes to standard error, and waits for its reader.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a task panicked")));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = runtime.map_err(Error::from).and_then(|runtime| runtime.block_on(run(cli)));
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The log has no line that fails.
            let _ = writeln!(log, "toopher-server: {}", error_chain(&*error));
            ExitCode::FAILURE
        }
    };
    log.flush();
    code
}

/// The messages of an error and its sources, outermost first.
fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
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
        Command::Phone(command) => admin::phone(&open(&failure_store()?).await?, command).await,
        Command::MigrateFailureStore => {
            let store = failure_store()?;
            let server = open(&store).await?;
            store.check(&server).await?;
            Ok(server.migrate_failure_store().await?)
        }
        Command::Key { out: None } => print(&format!("{}\n", *SealingKey::generate()?.to_hex())),
        Command::Key { out: Some(file) } => key_file::create(&file, &SealingKey::generate()?),
        Command::RepairClock { clock_skew } => {
            let server = open(&failure_store()?).await?;
            admin::repair_clock(&serve::with_clock_skew(server, clock_skew, &config)).await
        }
        Command::Sign(call) => print(&sign::sign_call(&call)?),
    }
}
