//! What `benches/soak.sh` runs: `soak for SECONDS`.
//!
//! A gate in a process of its own, `toopher-server` on a file, and the same with its guard in Redis are put under load
//! of all kinds, most of it hostile, and are watched from outside.
#![allow(missing_docs, missing_debug_implementations, unreachable_pub, clippy::unwrap_used)]

#[path = "../../tests/common/mod.rs"]
mod common;

mod at_gate;
mod at_server;
mod gate;
mod rude;
mod tally;
mod watch;

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use common::process::{Running, requester, scratch};
use common::redis::Redis;
use tally::Tally;
use tokio::signal::unix::{SignalKind, signal};
use watch::Watched;

const SHORTEST: Duration = Duration::from_secs(20);

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["gate", begun] => gate::serve(gate::Clock::parse(begun)?).await.map(|()| ExitCode::SUCCESS),
        ["for", seconds] => {
            let duration = Duration::from_secs(seconds.parse()?);
            // Whoever stops it has the processes ended too, since they are dropped with this.
            tokio::select! {
                good = soak(duration) => Ok(if good? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
                stopped = told_to_stop() => Err(stopped?.into()),
            }
        }
        _ => {
            println!("benches/soak.sh runs this");
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn told_to_stop() -> std::io::Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => Ok("interrupted"),
        _ = terminate.recv() => Ok("told to stop"),
        _ = hangup.recv() => Ok("nobody reads this any more"),
    }
}

async fn soak(duration: Duration) -> Result<bool, Failure> {
    if !std::path::Path::new("/proc/self/status").exists() {
        return Err("memory is read from /proc, which is not here".into());
    }
    if duration < SHORTEST {
        return Err(format!("{} s at the least: what is shorter is all warm-up", SHORTEST.as_secs()).into());
    }
    let redis = Redis::start(&[]);
    let gate = gate::Process::start()?;
    let mut places = vec![("server", Vec::new())];
    if let Some(redis) = &redis {
        places.push(("server, Redis", vec!["--guard".to_owned(), redis.url()]));
    }
    let mut servers = Vec::new();
    for (name, guard) in &places {
        let folder = scratch(&format!("soak {name}"));
        let (key, secret) = requester(&folder);
        let guard: Vec<_> = guard.iter().map(String::as_str).collect();
        servers.push((*name, Running::start(&folder, &guard), key, secret));
    }

    let tally = Tally::default();
    let mut watched = vec![Watched::new("gate", gate.id(), 0)];
    let mut load = tokio::task::JoinSet::new();
    for (name, server, key, secret) in &servers {
        watched.push(Watched::new(name, server.process.id(), at_server::CACHES));
        at_server::load(name, &server.address, (key, secret), &tally, &mut load).await?;
    }
    at_gate::load(&gate, &tally, &mut load);
    println!("{} s of load, from {} tasks", duration.as_secs(), load.len());
    watch::heading(&watched);
    let begun = Instant::now();
    for sample in 1..=watch::SAMPLES {
        let next = begun + duration * sample / watch::SAMPLES;
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => {}
            // None ends by itself.
            Some(ended) = load.join_next() => return Err(format!("the load ended: {ended:?}").into()),
        }
        for process in &mut watched {
            process.sample()?;
        }
        if sample.is_multiple_of(watch::SAMPLES / 20) {
            watch::row(begun.elapsed(), &watched, &tally);
        }
    }
    load.shutdown().await;
    println!();
    tally.print();
    println!();
    // All are said, not only the first.
    let mut good = true;
    for process in &watched {
        good &= process.verdict(tally.requests(process.name));
        good &= tally.verdict(process.name);
    }
    for (name, server, ..) in &mut servers {
        if !server.stop() {
            println!("{name}: did not end well when it was told to");
            good = false;
        }
    }
    println!("{}", if good { "good" } else { "NOT GOOD" });
    Ok(good)
}
