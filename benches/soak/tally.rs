//! What was sent, and what came of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Whether what was sent may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    Pass,
    /// It is for a person to say, and some have said yes.
    PassSometimes,
    /// There is nothing in it that could pass, or nobody waits for the answer.
    Either,
    NeverPass,
}

/// The status of what has no answer.
pub const NONE: u16 = 0;
/// One in so many that should pass need not: the machine may have been busy for as long as a code is good.
const UNLUCKY: u64 = 100;

#[derive(Clone, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<(&'static str, &'static str), Line>>>);

struct Line {
    may: May,
    passed: u64,
    statuses: BTreeMap<u16, u64>,
}

impl Tally {
    pub fn note(&self, place: &'static str, kind: &'static str, may: May, status: u16, passed: bool) {
        let mut lines = self.0.lock().unwrap();
        let line = lines.entry((place, kind)).or_insert_with(|| Line { may, passed: 0, statuses: BTreeMap::new() });
        line.passed += u64::from(passed);
        *line.statuses.entry(status).or_default() += 1;
    }

    pub fn requests(&self, place: &str) -> u64 {
        self.0.lock().unwrap().iter().filter(|((at, _), _)| *at == place).map(|(_, line)| line.requests()).sum()
    }

    pub fn all_requests(&self) -> u64 {
        self.0.lock().unwrap().values().map(Line::requests).sum()
    }

    pub fn print(&self) {
        println!("{:<14} {:<28} {:>9} {:>9}  by status (0: no answer)", "", "", "sent", "passed");
        for ((place, kind), line) in self.0.lock().unwrap().iter() {
            let statuses: Vec<_> = line.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
            let statuses = statuses.join(", ");
            println!("{place:<14} {kind:<28} {:>9} {:>9}  {statuses}", line.requests(), line.passed);
        }
    }

    /// Says what passed and must not, and what must pass and did not.
    pub fn verdict(&self, place: &str) -> bool {
        let (mut good, mut somebody) = (true, false);
        for ((_, kind), line) in self.0.lock().unwrap().iter().filter(|((at, _), _)| *at == place) {
            somebody |= line.may == May::Pass && line.passed > 0;
            let (passed, requests) = (line.passed, line.requests());
            let wrong = match line.may {
                May::NeverPass => passed > 0,
                May::PassSometimes => passed == 0,
                May::Either => false,
                May::Pass => (requests - passed) * UNLUCKY > requests,
            };
            if wrong {
                println!("{place}: {kind}: {passed} of {requests} passed, but: {:?}", line.may);
                good = false;
            }
        }
        if !somebody {
            println!("{place}: nobody passed");
        }
        good && somebody
    }
}

impl Line {
    fn requests(&self) -> u64 {
        self.statuses.values().sum()
    }
}
