//! The self-hosted Toopher API as a program.

mod admin;
mod database;
mod demo;
mod guard;
mod options;
mod serve;
mod sign;

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Parser;
use tower_toopher::server::{SealingKey, Server};
use tracing_subscriber::EnvFilter;

use self::admin::{requester, user};
use self::database::Place;
use self::guard::Guard;
use self::options::{Cli, Command, Common, Config};
use self::serve::serve;
use self::sign::sign_call;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(Cli::parse()).await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("toopher-server: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                text.push_str(&format!(": {error}"));
                cause = error.source();
            }
            eprintln!("{text}");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let config = match &cli.common.config {
        None => Config::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?
        }
    };
    let administered = async |guard: &Guard| open(&cli.common, &config, guard, "http://localhost").await;
    let guard = || Guard::new(&cli.common.guard, &config);
    match cli.command {
        Command::Serve(options) => serve(&cli.common, options, &config).await,
        Command::Requester(command) => requester(&administered(&guard()?).await?, command).await,
        Command::User(command) => user(&administered(&guard()?).await?, command).await,
        Command::MoveGuard => {
            let guard = guard()?;
            let server = administered(&guard).await?;
            guard.check(&server).await?;
            Ok(server.move_guard().await?)
        }
        Command::Key => say(&format!("{}\n", *SealingKey::generate()?.to_hex())),
        Command::Sign(call) => say(&sign_call(&call)?),
    }
}

/// To the standard output, whose reader may be gone.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

async fn open(common: &Common, config: &Config, guard: &Guard, public_url: &str) -> Result<Server, Failure> {
    let key_file = common.key_file.as_ref().or(config.key_file.as_ref());
    let key_file = key_file.map_or_else(|| "toopher.key".into(), PathBuf::clone);
    let place = place(common, config)?;
    let (key, source) = match std::env::var("TOOPHER_SERVER_KEY") {
        Ok(key) => (key, "TOOPHER_SERVER_KEY".to_owned()),
        Err(_) => (read_key(&key_file)?, key_file.display().to_string()),
    };
    let key = SealingKey::parse(&key).map_err(|error| format!("{source}: {error}"))?;
    let connections = common.database_connections.or(config.database_connections);
    guard.of(place.open(connections, key, public_url).await?)
}

fn place(common: &Common, config: &Config) -> Result<Place, Failure> {
    let text = common.database.as_ref().or(config.database.as_ref());
    Place::new(text.map_or_else(|| "toopher.sqlite".into(), String::clone))
}

fn read_key(file: &Path) -> Result<String, Failure> {
    read_secret(file)
        .map_err(|error| format!("{}: {error} (make one: toopher-server key > {0})", file.display()).into())
}

/// Reads a file that nobody else should be able to read.
fn read_secret(file: &Path) -> std::io::Result<String> {
    #[cfg(unix)]
    if std::fs::metadata(file)
        .is_ok_and(|file| std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o77 != 0)
    {
        tracing::warn!(file = %file.display(), "others can read the secret in this file: chmod 600 it");
    }
    std::fs::read_to_string(file)
}
