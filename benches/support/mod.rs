//! How contenders are compared: they take turns in one process, so that ratios hold when the speed of the machine does
//! not. Allocations are counted, not sampled.
#![allow(dead_code, unreachable_pub, reason = "each bench uses its part")]

pub mod services;

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::{Request, Response};
use tower::Service;

const ROUNDS: usize = 201;
const WARM_UP: usize = 20;
/// How far over its mark a ratio may be and still be noise.
const MARGIN: f64 = 1.10;

/// Whether the figures matter. `cargo test --benches` asks only whether it runs.
pub fn measuring() -> bool {
    std::env::args().any(|arg| arg == "--bench")
}

/// One of those that are compared.
pub struct Contender {
    name: String,
    /// How many runs are in a batch.
    size: usize,
    /// Runs one batch and says how long it took.
    batch: Box<dyn FnMut() -> Duration>,
    allocations: Option<u64>,
    peer: Option<(&'static str, Option<f64>)>,
}

impl Contender {
    /// One that runs once with each of the things that `make` makes, outside the measured time.
    pub fn each<T: 'static, R: 'static>(
        name: impl Into<String>,
        mut make: impl FnMut() -> Vec<T> + 'static,
        mut run: impl FnMut(T) -> R + 'static,
    ) -> Self {
        let mut things = make();
        let size = things.len();
        // The first run may set something up.
        let mut counted = things.pop();
        for thing in things {
            drop(black_box(run(thing)));
        }
        let allocations = allocation_counter::measure(|| drop(counted.take().map(&mut run))).count_total;
        let batch = move || {
            let things = make();
            let mut results = Vec::with_capacity(things.len());
            let start = Instant::now();
            for thing in things {
                results.push(run(thing));
            }
            let took = start.elapsed();
            drop(black_box(results));
            took
        };
        Self { allocations: Some(allocations), ..Self::batch(name, size, batch) }
    }

    /// One that times its batches of `size` runs itself.
    pub fn batch(name: impl Into<String>, size: usize, batch: impl FnMut() -> Duration + 'static) -> Self {
        Self { name: name.into(), size, batch: Box::new(batch), allocations: None, peer: None }
    }

    /// One that is a service, called with each of the requests.
    pub fn service<S, B, R>(
        name: impl Into<String>,
        mut service: S,
        requests: impl FnMut() -> Vec<Request<B>> + 'static,
        status: u16,
    ) -> Self
    where
        S: Service<Request<B>, Response = Response<R>> + 'static,
        B: 'static,
        R: 'static,
        S::Error: std::fmt::Debug,
    {
        let name = name.into();
        let shown = name.clone();
        Self::each(name, requests, move |request| {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(service.poll_ready(&mut cx).is_ready());
            let response = now(service.call(request)).unwrap();
            assert_eq!(response.status(), status, "{shown}");
            response
        })
    }

    /// Names the contender that this one is to be measured by, and the ratio that is wanted.
    pub fn against(self, peer: &'static str, mark: impl Into<Option<f64>>) -> Self {
        Self { peer: Some((peer, mark.into())), ..self }
    }
}

/// What a future that waits for nothing comes to.
pub fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("everything here is ready at once"),
    }
}

/// Has the contenders take turns, and prints the median of each, with the least and the most.
pub fn compare(title: &str, contenders: Vec<Contender>) {
    compare_in(ROUNDS, title, contenders);
}

/// The same in fewer rounds, where a batch takes long.
pub fn compare_in(rounds: usize, title: &str, mut contenders: Vec<Contender>) {
    let (rounds, warm_up) = if measuring() { (rounds, WARM_UP.min(rounds / 4)) } else { (1, 0) };
    for _ in 0..warm_up {
        for contender in &mut contenders {
            (contender.batch)();
        }
    }
    let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..rounds {
        // Another one begins each round, so that none always runs in the wake of the same.
        for i in 0..contenders.len() {
            let i = (i + round) % contenders.len();
            let took = (contenders[i].batch)();
            times[i].push(took.as_nanos() as f64 / contenders[i].size as f64);
        }
    }
    println!("\n## {title}\n");
    println!("{:<44} {:>24} {:>6}  ratio, of what, mark", format!("{rounds} rounds"), "ns", "allocs");
    for (i, contender) in contenders.iter().enumerate() {
        let allocations = contender.allocations.map_or("-".to_owned(), |count| count.to_string());
        let decimals = usize::from(times[i][0] < 100.0);
        print!("{:<44} {:>24} {:>6}", contender.name, spread(&times[i], decimals), allocations);
        if let Some((peer, mark)) = contender.peer {
            let at = contenders.iter().position(|contender| contender.name == peer);
            let at = at.unwrap_or_else(|| panic!("nothing is called {peer}"));
            let ratios: Vec<_> = times[i].iter().zip(&times[at]).map(|(ours, theirs)| ours / theirs).collect();
            print!("  {} of {peer}", spread(&ratios, 2));
            if let Some(mark) = mark {
                print!(", mark {mark:.2}: {}", verdict(median(&ratios), mark));
            }
        }
        println!();
    }
}

/// Whether a figure is at most its mark.
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

pub fn median(values: &[f64]) -> f64 {
    sorted(values)[values.len() / 2]
}

/// The median, and the least and the most.
fn spread(values: &[f64], decimals: usize) -> String {
    let values = sorted(values);
    let (min, median, max) = (values[0], values[values.len() / 2], values[values.len() - 1]);
    format!("{median:.decimals$} ({min:.decimals$}-{max:.decimals$})")
}
