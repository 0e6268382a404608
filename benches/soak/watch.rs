//! Memory and open files of a process, as the system tells them.
//!
//! The first quarter is the warm-up: stores fill to their bounds, pools and caches open. After that the most memory of
//! the last quarter is held against the most of the second one.

use std::time::Duration;

use crate::Failure;
use crate::tally::Tally;

/// How many are taken, in equal times.
pub const SAMPLES: u32 = 120;
/// By how much memory may grow, in KiB, besides caches with a bound: of the forms of 16 tasks more may be held at one
/// moment than at any before, and the allocator keeps what it had for them.
const MAY_GROW: u64 = 4 * 1024;
/// The same for open files. There are never more connections than tasks that send, and those that they have just left.
const MAY_OPEN: usize = 32;

pub struct Watched {
    pub name: &'static str,
    id: u32,
    may_grow: u64,
    /// In KiB.
    memory: Vec<u64>,
    files: Vec<usize>,
}

impl Watched {
    /// With caches of so many KiB, which may fill at any time.
    pub fn new(name: &'static str, id: u32, caches: u64) -> Self {
        Self { name, id, may_grow: MAY_GROW + caches, memory: Vec::new(), files: Vec::new() }
    }

    /// An error if the process is no more.
    pub fn sample(&mut self) -> Result<(), Failure> {
        let died = |error| format!("{} has ended: {error}", self.name);
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id)).map_err(died)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        // One that has ended, and is not waited for yet, has none.
        let text = line.ok_or_else(|| format!("{} has ended", self.name))?;
        self.memory.push(text.trim().trim_end_matches(" kB").parse()?);
        self.files.push(std::fs::read_dir(format!("/proc/{}/fd", self.id))?.count());
        Ok(())
    }

    pub fn verdict(&self, requests: u64) -> bool {
        let (before, after) = second_and_last(&self.memory);
        let (opened_before, opened) = second_and_last(&self.files);
        // From the middle of one quarter to that of the other is half the time.
        let shows = self.may_grow * 1024 / (requests / 2).max(1);
        println!(
            "{}: at most {:.1} MiB and {opened_before} files in the second quarter, {:.1} MiB and {opened} files in the \
             last; {shows} bytes a request would show",
            self.name,
            mib(before),
            mib(after)
        );
        let (grew, opens) = (after > before + self.may_grow, opened > opened_before + MAY_OPEN);
        if grew {
            println!("{}: memory GREW by more than {} MiB", self.name, mib(self.may_grow));
        }
        if opens {
            println!("{}: open files GREW by more than {MAY_OPEN}", self.name);
        }
        !grew && !opens
    }
}

/// The most of either quarter.
fn second_and_last<T: Ord + Copy>(samples: &[T]) -> (T, T) {
    let quarter = samples.len() / 4;
    let most = |part: &[T]| *part.iter().max().unwrap();
    (most(&samples[quarter..2 * quarter]), most(&samples[samples.len() - quarter..]))
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

pub fn heading(watched: &[Watched]) {
    print!("{:>6} {:>10}", "s", "requests");
    for process in watched {
        print!(" {:>20}", format!("{}: MiB files", process.name));
    }
    println!();
}

pub fn row(elapsed: Duration, watched: &[Watched], tally: &Tally) {
    print!("{:>6} {:>10}", elapsed.as_secs(), tally.all_requests());
    for process in watched {
        print!(" {:>14.1} {:>5}", mib(*process.memory.last().unwrap()), process.files.last().unwrap());
    }
    println!();
}
