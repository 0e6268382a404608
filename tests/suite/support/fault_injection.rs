//! Faults of Redis and of the connection to it. Redis may execute an operation without an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::servers::RedisStores;
use tower_toopher::store::{Records, Store};
use tower_toopher::test_util::block_on;

use super::user;
use test_support::redis::Redis;
use test_support::resp::{Do, Fake, arguments, real, sound};

/// The errors of a server that does not execute a command.
pub const ERRORS: [&str; 21] = [
    "ERR something",
    "CROSSSLOT Keys in request don't hash to the same slot",
    "NOSCRIPT No matching script.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "READONLY You can't write against a read only replica.",
    "LOADING Redis is loading the dataset in memory",
    "MOVED 3999 127.0.0.1:6381",
    "ASK 3999 127.0.0.1:6381",
    "TRYAGAIN Multiple keys",
    "CLUSTERDOWN The cluster is down",
    "MASTERDOWN Link with MASTER is down",
    "BUSY Redis is busy",
    "MISCONF Errors writing to the AOF file",
    "NOREPLICAS Not enough good replicas",
    "WRONGTYPE Operation against a key",
    "NOAUTH Authentication required.",
    "NOPERM no",
    "EXECABORT no",
    "UNKILLABLE no",
    "OK",
    "fresh",
];

/// The ways in which one operation fails.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Redis does nothing, and returns an error.
    Error(&'static str),
    /// Redis does nothing, and returns nothing.
    Hang,
    /// The connection is cut before Redis has read the command.
    CutBefore,
    /// Redis executes the command, and the connection is cut within the answer.
    CutAfter(usize),
    /// Redis executes the command, and another answer arrives.
    Junk(&'static str),
    /// Redis executes the command, and returns nothing.
    Silence,
}

impl Fault {
    /// Whether Redis executes the command.
    pub fn done(&self) -> bool {
        matches!(self, Self::CutAfter(_) | Self::Junk(_) | Self::Silence)
    }

    pub fn meet(&self, redis: &Redis, command: &[String]) -> Do {
        match self {
            Self::Error(text) => Do::Reply(format!("-{text}\r\n").into_bytes()),
            Self::Hang => Do::Hang,
            Self::CutBefore => Do::ReplyAndCut(vec![]),
            Self::CutAfter(bytes) => {
                let answer = real(redis, command);
                // The complete bytes would be an answer.
                Do::ReplyAndCut(answer[..(*bytes).min(answer.len() - 1)].to_vec())
            }
            Self::Junk(text) => {
                real(redis, command);
                Do::ReplyAndCut(text.as_bytes().to_vec())
            }
            Self::Silence => {
                real(redis, command);
                Do::Hang
            }
        }
    }
}

/// The operation of a command, if it has one.
pub fn operation(command: &[String]) -> Option<&str> {
    command[0].starts_with("EVAL").then(|| &*arguments(command)[0])
}

/// A proxy before Redis at which some operations meet a fault until it is repaired.
pub struct Broken {
    pub fake: Fake,
    lasts: Arc<AtomicBool>,
    met: Arc<AtomicUsize>,
}

impl Broken {
    pub fn way(redis: &Arc<Redis>, faults: &[(&'static str, Fault)]) -> Self {
        // Loads the script, because the error for an unknown script is no fault of an operation.
        block_on(redis.store().clear(&user("unknown"), Records::Failures)).unwrap();
        let (lasts, met) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (redis, faults, lasting, meeting) = (redis.clone(), faults.to_vec(), lasts.clone(), met.clone());
        let fake = Fake::new(sound(move |command| {
            let fault = faults.iter().find(|(broken, _)| operation(command) == Some(broken));
            match fault.filter(|_| lasting.load(Ordering::SeqCst)) {
                Some((_, fault)) => {
                    meeting.fetch_add(1, Ordering::SeqCst);
                    fault.meet(&redis, command)
                }
                None => Do::Reply(real(&redis, command)),
            }
        }));
        Self { fake, lasts, met }
    }

    pub fn repair(&self) {
        self.lasts.store(false, Ordering::SeqCst);
    }

    pub fn break_again(&self) {
        self.lasts.store(true, Ordering::SeqCst);
    }

    /// The number of operations that met a fault.
    pub fn met(&self) -> usize {
        self.met.load(Ordering::SeqCst)
    }
}

/// Runs all cases, sixteen at a time, because a store waits before it connects again.
pub fn run_in_parallel<T: Sync>(cases: &[T], each: impl Fn(usize, &T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    let Some(case) = cases.get(at) else { return };
                    each(at, case);
                }
            });
        }
    });
}
