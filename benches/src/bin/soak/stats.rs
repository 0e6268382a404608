//! Counts of requests and of their outcomes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// The outcome that a request must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Granted,
    /// A person decides, and some decisions are grants.
    SometimesGranted,
    /// The request cannot be granted, or its response is not read.
    Any,
    NeverGranted,
}

/// Stands for the status of a request without a response.
pub(crate) const NO_RESPONSE: u16 = 0;
/// One in this many requests that must be granted may fail: on a busy machine a code may expire before it arrives.
const TOLERATED_FAILURE: u64 = 100;

#[derive(Clone, Default)]
pub(crate) struct Stats(Arc<Mutex<BTreeMap<Key, Counts>>>);

/// The name of the target and the name of the case.
type Key = (&'static str, &'static str);

struct Counts {
    expected: Expected,
    granted: u64,
    by_status: BTreeMap<u16, u64>,
}

impl Stats {
    pub(crate) fn record(
        &self,
        target: &'static str,
        case: &'static str,
        expected: Expected,
        status: u16,
        granted: bool,
    ) {
        let mut stats = self.0.lock().unwrap();
        let new = || Counts { expected, granted: 0, by_status: BTreeMap::new() };
        let counts = stats.entry((target, case)).or_insert_with(new);
        counts.granted += u64::from(granted);
        *counts.by_status.entry(status).or_default() += 1;
    }

    /// Returns the number of requests to a target.
    pub(crate) fn requests(&self, target: &str) -> u64 {
        self.0.lock().unwrap().iter().filter(|((at, _), _)| *at == target).map(|(_, counts)| counts.requests()).sum()
    }

    pub(crate) fn all_requests(&self) -> u64 {
        self.0.lock().unwrap().values().map(Counts::requests).sum()
    }

    pub(crate) fn print(&self) {
        println!("{:<14} {:<28} {:>9} {:>9}  by status (0: no response)", "", "", "sent", "granted");
        for ((target, case), counts) in self.0.lock().unwrap().iter() {
            let statuses: Vec<_> =
                counts.by_status.iter().map(|(status, count)| format!("{status}: {count}")).collect();
            let statuses = statuses.join(", ");
            println!("{target:<14} {case:<28} {:>9} {:>9}  {statuses}", counts.requests(), counts.granted);
        }
    }

    /// Returns whether every case of a target had the expected outcome, and prints the cases that had not.
    pub(crate) fn check(&self, target: &str) -> bool {
        let (mut passed, mut any_granted) = (true, false);
        for ((_, case), counts) in self.0.lock().unwrap().iter().filter(|((at, _), _)| *at == target) {
            any_granted |= counts.expected == Expected::Granted && counts.granted > 0;
            let (granted, requests) = (counts.granted, counts.requests());
            let failed = match counts.expected {
                Expected::NeverGranted => granted > 0,
                Expected::SometimesGranted => granted == 0,
                Expected::Any => false,
                Expected::Granted => (requests - granted) * TOLERATED_FAILURE > requests,
            };
            if failed {
                println!("{target}: {case}: {granted} of {requests} granted, expected: {:?}", counts.expected);
                passed = false;
            }
        }
        if !any_granted {
            println!("{target}: no request was granted");
        }
        passed && any_granted
    }
}

impl Counts {
    fn requests(&self) -> u64 {
        self.by_status.values().sum()
    }
}
