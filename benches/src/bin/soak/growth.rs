//! Growth of a process: its memory and its open files, read from `/proc`.
//!
//! The first quarter of the run is the warm-up: stores fill to their bounds, pools and caches open. After it, the
//! maximum of the last quarter is compared with the maximum of the second one.

use std::fs;
use std::time::Duration;

use crate::stats::Stats;
use tower_toopher::BoxError;

/// The number of samples of a run, at equal intervals.
pub(crate) const SAMPLES: u32 = 120;
/// The memory by which a process may grow, besides bounded caches: the forms of 16 tasks may coincide in the last
/// quarter and not before, and the allocator keeps their memory.
const ALLOWED_MEMORY_KIB: u64 = 4 * 1024;
/// The number of files by which a process may grow: the open connections vary, up to the number of tasks that send.
const ALLOWED_FILES: usize = 32;

/// The samples of one process.
pub(crate) struct Monitor {
    pub(crate) name: &'static str,
    id: u32,
    allowed_memory_kib: u64,
    memory_kib: Vec<u64>,
    files: Vec<usize>,
}

impl Monitor {
    /// Observes a process whose caches may take `caches_kib` at any time.
    pub(crate) fn new(name: &'static str, id: u32, caches_kib: u64) -> Self {
        let allowed_memory_kib = ALLOWED_MEMORY_KIB + caches_kib;
        Self { name, id, allowed_memory_kib, memory_kib: Vec::new(), files: Vec::new() }
    }

    /// Returns an error if the process has ended.
    pub(crate) fn sample(&mut self) -> Result<(), BoxError> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id))
            .map_err(|error| format!("{} has ended: {error}", self.name))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        // A process that has ended and was not reaped has no such line.
        let memory = line.ok_or_else(|| format!("{} has ended", self.name))?;
        self.memory_kib.push(memory.trim().trim_end_matches(" kB").parse()?);
        self.files.push(fs::read_dir(format!("/proc/{}/fd", self.id))?.count());
        Ok(())
    }

    /// Returns whether the process stayed within the allowed growth, and prints the maxima.
    pub(crate) fn check(&self, requests: u64) -> bool {
        let (memory_before, memory) = quarter_maxima(&self.memory_kib);
        let (files_before, files) = quarter_maxima(&self.files);
        // Half of the requests lie between the middle of the second quarter and the middle of the last one.
        let detectable = self.allowed_memory_kib * 1024 / (requests / 2).max(1);
        println!(
            "{}: at most {:.1} MiB and {files_before} files in the second quarter, {:.1} MiB and {files} files in the \
             last; a leak of {detectable} bytes per request is detected",
            self.name,
            mib(memory_before),
            mib(memory)
        );
        let memory_grew = memory > memory_before + self.allowed_memory_kib;
        let files_grew = files > files_before + ALLOWED_FILES;
        if memory_grew {
            println!("{}: memory GREW by more than {} MiB", self.name, mib(self.allowed_memory_kib));
        }
        if files_grew {
            println!("{}: open files GREW by more than {ALLOWED_FILES}", self.name);
        }
        !memory_grew && !files_grew
    }
}

/// Returns the maxima of the second and of the last quarter.
fn quarter_maxima<T: Ord + Copy>(samples: &[T]) -> (T, T) {
    let quarter = samples.len() / 4;
    let max = |part: &[T]| *part.iter().max().unwrap();
    (max(&samples[quarter..2 * quarter]), max(&samples[samples.len() - quarter..]))
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

pub(crate) fn print_heading(monitors: &[Monitor]) {
    print!("{:>6} {:>10}", "s", "requests");
    for monitor in monitors {
        print!(" {:>20}", format!("{}: MiB files", monitor.name));
    }
    println!();
}

pub(crate) fn print_row(elapsed: Duration, monitors: &[Monitor], stats: &Stats) {
    print!("{:>6} {:>10}", elapsed.as_secs(), stats.all_requests());
    for monitor in monitors {
        print!(" {:>14.1} {:>5}", mib(*monitor.memory_kib.last().unwrap()), monitor.files.last().unwrap());
    }
    println!();
}
