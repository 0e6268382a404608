//! Puts the layer and `toopher-server` under load, most of it hostile, and checks that they do not grow: `soak
//! SECONDS`.
//!
//! The layer in front of a small service, `toopher-server` on a SQLite file, and another one with its failure store in
//! Redis run as processes of their own, which are observed from outside.

mod bad_clients;
mod growth;
mod layer_load;
mod layer_process;
mod server_load;
mod stats;

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use growth::Monitor;
use layer_process::{Clock, LayerProcess};
use stats::Stats;
use test_support::process::{Running, requester, scratch};
use test_support::redis::Redis;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tower_toopher::BoxError;

const MIN_DURATION: Duration = Duration::from_secs(20);
const ROWS: u32 = 20;

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [layer_process::SUBCOMMAND, start] => {
            layer_process::serve(Clock::parse(start)?).await.map(|()| ExitCode::SUCCESS)
        }
        [seconds] => {
            let duration = Duration::from_secs(seconds.parse()?);
            // A signal ends the soak, which drops the processes and so ends them too.
            tokio::select! {
                passed = soak(duration) => Ok(if passed? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
                name = shutdown_signal() => Err(format!("stopped by {}", name?).into()),
            }
        }
        _ => Err("usage: soak SECONDS".into()),
    }
}

async fn shutdown_signal() -> io::Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => Ok("SIGINT"),
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = hangup.recv() => Ok("SIGHUP"),
    }
}

/// Returns whether all checks passed.
async fn soak(duration: Duration) -> Result<bool, BoxError> {
    if !std::path::Path::new("/proc/self/status").exists() {
        return Err("this system has no /proc, from which memory and open files are read".into());
    }
    if duration < MIN_DURATION {
        return Err(format!("a soak takes at least {} s: the first quarter is warm-up", MIN_DURATION.as_secs()).into());
    }
    let redis = Redis::start(&[]);
    let layer = LayerProcess::start()?;
    let mut servers = vec![Server::start("server", &[])];
    if let Some(redis) = &redis {
        servers.push(Server::start("server, Redis", &["--failure-store", &redis.url()]));
    }

    let stats = Stats::default();
    let mut monitors = vec![Monitor::new(layer_load::TARGET, layer.id(), 0)];
    let mut load = JoinSet::new();
    for server in &servers {
        monitors.push(Monitor::new(server.name, server.process.process.id(), server_load::CACHES_KIB));
        let credentials = (server.key.as_str(), server.secret.as_str());
        server_load::start(server.name, &server.process.address, credentials, &stats, &mut load).await?;
    }
    layer_load::start(&layer, &stats, &mut load);
    println!("{} s of load from {} tasks", duration.as_secs(), load.len());
    monitor(duration, &mut monitors, &stats, &mut load).await?;
    load.shutdown().await;

    println!();
    stats.print();
    println!();
    // Every check prints its failures.
    let mut passed = true;
    for monitor in &monitors {
        passed &= monitor.check(stats.requests(monitor.name));
        passed &= stats.check(monitor.name);
    }
    for server in &mut servers {
        if !server.process.stop() {
            println!("{}: did not exit successfully after SIGTERM", server.name);
            passed = false;
        }
    }
    println!("{}", if passed { "passed" } else { "FAILED" });
    Ok(passed)
}

/// Takes the samples and prints a row now and then.
async fn monitor(
    duration: Duration,
    monitors: &mut [Monitor],
    stats: &Stats,
    load: &mut JoinSet<()>,
) -> Result<(), BoxError> {
    growth::print_heading(monitors);
    let start = Instant::now();
    for sample in 1..=growth::SAMPLES {
        let next = start + duration * sample / growth::SAMPLES;
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => {}
            // The tasks of the load run until they are aborted.
            Some(ended) = load.join_next() => return Err(format!("a task of the load ended: {ended:?}").into()),
        }
        for monitor in &mut *monitors {
            monitor.sample()?;
        }
        if sample.is_multiple_of(growth::SAMPLES / ROWS) {
            growth::print_row(start.elapsed(), monitors, stats);
        }
    }
    Ok(())
}

/// `toopher-server` with one requester.
struct Server {
    name: &'static str,
    process: Running,
    key: String,
    secret: String,
}

impl Server {
    fn start(name: &'static str, options: &[&str]) -> Self {
        let folder = scratch(&format!("soak {name}"));
        let (key, secret) = requester(&folder);
        Self { name, process: Running::start(&folder, options), key, secret }
    }
}
