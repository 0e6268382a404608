//! Redis in trouble: what was asked for may be done all the same.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tower_toopher::store::Store;
use tower_toopher::test_util::block_on;

use super::redis::Redis;
use super::resp::{Do, Fake, arguments, real, sound};
use super::user;

/// All that a server says when it does not do what it was asked for.
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

/// The ways in which one verb goes wrong.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// Redis does nothing, and says so.
    Error(&'static str),
    /// Redis does nothing, and says nothing.
    Hang,
    /// The connection is cut before Redis has read the question.
    CutBefore,
    /// Redis does it, and the connection is cut within the answer.
    CutAfter(usize),
    /// Redis does it, and what comes is something else.
    Junk(&'static str),
    /// Redis does it, and says nothing.
    Silence,
}

impl Trouble {
    /// Whether Redis does what it is asked for.
    pub fn done(&self) -> bool {
        matches!(self, Self::CutAfter(_) | Self::Junk(_) | Self::Silence)
    }

    pub fn meet(&self, redis: &Redis, command: &[String]) -> Do {
        match self {
            Self::Error(said) => Do::Say(format!("-{said}\r\n").into_bytes()),
            Self::Hang => Do::Hang,
            Self::CutBefore => Do::SayAndCut(vec![]),
            Self::CutAfter(bytes) => {
                let answer = real(redis, command);
                // Whole, it would be an answer.
                Do::SayAndCut(answer[..(*bytes).min(answer.len() - 1)].to_vec())
            }
            Self::Junk(said) => {
                real(redis, command);
                Do::SayAndCut(said.as_bytes().to_vec())
            }
            Self::Silence => {
                real(redis, command);
                Do::Hang
            }
        }
    }
}

/// Which verb a command is, if it is one.
pub fn verb(command: &[String]) -> Option<&str> {
    command[0].starts_with("EVAL").then(|| &*arguments(command)[0])
}

/// A way to a Redis on which some verbs meet with trouble, for as long as it lasts.
pub struct Broken {
    pub fake: Fake,
    lasts: Arc<AtomicBool>,
    met: Arc<AtomicUsize>,
}

impl Broken {
    pub fn way(redis: &Arc<Redis>, troubles: &[(&'static str, Trouble)]) -> Self {
        // That the script is not known is no trouble of a verb, and nothing is done then.
        block_on(redis.store().clear_failures(&user("nobody"))).unwrap();
        let (lasts, met) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (redis, troubles, lasting, meeting) = (redis.clone(), troubles.to_vec(), lasts.clone(), met.clone());
        let fake = Fake::new(sound(move |command| {
            let trouble = troubles.iter().find(|(broken, _)| verb(command) == Some(broken));
            match trouble.filter(|_| lasting.load(Ordering::SeqCst)) {
                Some((_, trouble)) => {
                    meeting.fetch_add(1, Ordering::SeqCst);
                    trouble.meet(&redis, command)
                }
                None => Do::Say(real(&redis, command)),
            }
        }));
        Self { fake, lasts, met }
    }

    pub fn is_mended(&self) {
        self.lasts.store(false, Ordering::SeqCst);
    }

    pub fn breaks_again(&self) {
        self.lasts.store(true, Ordering::SeqCst);
    }

    /// How often it was met.
    pub fn met(&self) -> usize {
        self.met.load(Ordering::SeqCst)
    }
}

/// All of them, sixteen at a time, since each connection that is made anew waits for its time.
pub fn side_by_side<T: Sync>(cases: &[T], each: impl Fn(usize, &T) + Sync) {
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
