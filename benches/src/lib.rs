//! Compares the time and the allocations of several contenders.
//!
//! The contenders take turns in one process, so a change in the speed of the machine affects all of them, and the ratio
//! of two contenders is stable. Allocations are counted exactly. For that, linking this library installs the counting
//! global allocator of `allocation-counter`; the programs `instructions`, `load` and `soak` do not link it.

pub mod services;

use std::fmt::Debug;
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::{Request, Response};
use tower::Service;

const ROUNDS: usize = 201;
const WARM_UP_ROUNDS: usize = 20;
/// A ratio that exceeds its mark by less than this factor counts as noise.
const MARGIN: f64 = 1.10;

/// Returns whether this process measures. `cargo bench` passes `--bench`; `cargo test --benches` does not, and then
/// each contender runs once.
#[must_use]
pub fn is_measuring() -> bool {
    std::env::args().any(|arg| arg == "--bench")
}

/// One of the implementations that are compared.
pub struct Contender {
    name: String,
    /// The number of runs in a batch.
    batch_size: usize,
    /// Runs one batch and returns the measured time.
    run_batch: Box<dyn FnMut() -> Duration>,
    /// The number of allocations of one run, where it is counted.
    allocations: Option<u64>,
    baseline: Option<Baseline>,
}

struct Baseline {
    name: &'static str,
    mark: Option<f64>,
}

impl Contender {
    /// Runs `run` once for each input of a batch. `make_inputs` makes a batch outside the measured time.
    pub fn new<T: 'static, R: 'static>(
        name: impl Into<String>,
        mut make_inputs: impl FnMut() -> Vec<T> + 'static,
        mut run: impl FnMut(T) -> R + 'static,
    ) -> Self {
        let mut inputs = make_inputs();
        let batch_size = inputs.len();
        // The first runs may initialize something, so allocations are counted in the last one.
        let mut last = inputs.pop();
        for input in inputs {
            drop(black_box(run(input)));
        }
        let allocations = allocation_counter::measure(|| drop(last.take().map(&mut run))).count_total;
        let run_batch = move || {
            let inputs = make_inputs();
            let mut results = Vec::with_capacity(inputs.len());
            let start = Instant::now();
            for input in inputs {
                results.push(run(input));
            }
            let elapsed = start.elapsed();
            drop(black_box(results));
            elapsed
        };
        Self { allocations: Some(allocations), ..Self::timed(name, batch_size, run_batch) }
    }

    /// Runs batches of `batch_size` runs with `run_batch`, which measures the time.
    pub fn timed(name: impl Into<String>, batch_size: usize, run_batch: impl FnMut() -> Duration + 'static) -> Self {
        Self { name: name.into(), batch_size, run_batch: Box::new(run_batch), allocations: None, baseline: None }
    }

    /// Calls `service` with each request of a batch and checks the status of each response.
    pub fn service<S, B, R>(
        name: impl Into<String>,
        mut service: S,
        make_requests: impl FnMut() -> Vec<Request<B>> + 'static,
        expected_status: u16,
    ) -> Self
    where
        S: Service<Request<B>, Response = Response<R>> + 'static,
        B: 'static,
        R: 'static,
        S::Error: Debug,
    {
        let name = name.into();
        let displayed = name.clone();
        Self::new(name, make_requests, move |request| {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(service.poll_ready(&mut cx).is_ready());
            let response = poll_once(service.call(request)).expect("the service responds");
            assert_eq!(response.status(), expected_status, "{displayed}");
            response
        })
    }

    /// Prints the ratio to the contender called `baseline`, and whether it meets `mark`. Default: no ratio is printed.
    #[must_use]
    pub fn relative_to(self, baseline: &'static str, mark: impl Into<Option<f64>>) -> Self {
        Self { baseline: Some(Baseline { name: baseline, mark: mark.into() }), ..self }
    }
}

/// Returns the output of a future that completes at its first poll.
///
/// # Panics
///
/// If the future is pending.
pub fn poll_once<F: Future>(future: F) -> F::Output {
    let output = match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    };
    output.expect("the future completes at its first poll")
}

/// Measures the contenders in 201 rounds and prints a table: the median, the minimum and the maximum of each.
pub fn compare(title: &str, contenders: Vec<Contender>) {
    compare_in_rounds(ROUNDS, title, contenders);
}

/// Does the same as [`compare`] in `rounds` rounds.
///
/// # Panics
///
/// If no contender has the name of a baseline.
pub fn compare_in_rounds(rounds: usize, title: &str, mut contenders: Vec<Contender>) {
    let (rounds, warm_up) = if is_measuring() { (rounds, WARM_UP_ROUNDS.min(rounds / 4)) } else { (1, 0) };
    for _ in 0..warm_up {
        for contender in &mut contenders {
            (contender.run_batch)();
        }
    }
    let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..rounds {
        // Each round starts with another contender, so no contender always runs after the same one.
        for i in 0..contenders.len() {
            let i = (i + round) % contenders.len();
            let elapsed = (contenders[i].run_batch)();
            times[i].push(elapsed.as_nanos() as f64 / contenders[i].batch_size as f64);
        }
    }
    println!("\n## {title}\n");
    println!("{:<44} {:>24} {:>6}  ratio, of what, mark", format!("{rounds} rounds"), "ns", "allocs");
    for (i, contender) in contenders.iter().enumerate() {
        let allocations = contender.allocations.map_or("-".to_owned(), |count| count.to_string());
        let decimals = usize::from(times[i][0] < 100.0);
        print!("{:<44} {:>24} {:>6}", contender.name, spread(&times[i], decimals), allocations);
        if let Some(Baseline { name, mark }) = &contender.baseline {
            let at = contenders.iter().position(|contender| contender.name == *name);
            let at = at.expect("a contender has the name of the baseline");
            let ratios: Vec<_> = times[i].iter().zip(&times[at]).map(|(time, baseline)| time / baseline).collect();
            print!("  {} of {name}", spread(&ratios, 2));
            if let Some(mark) = *mark {
                print!(", mark {mark:.2}: {}", verdict(median(&ratios), mark));
            }
        }
        println!();
    }
}

/// Returns whether a figure is at most its mark.
#[must_use]
pub fn verdict(figure: f64, mark: f64) -> &'static str {
    if figure <= mark {
        "met"
    } else if figure <= mark * MARGIN {
        "met within 10 %"
    } else {
        "missed"
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

fn median(values: &[f64]) -> f64 {
    sorted(values)[values.len() / 2]
}

/// Formats the median, and the minimum and the maximum.
fn spread(values: &[f64], decimals: usize) -> String {
    let values = sorted(values);
    let (min, median, max) = (values[0], values[values.len() / 2], values[values.len() - 1]);
    format!("{median:.decimals$} ({min:.decimals$}-{max:.decimals$})")
}
