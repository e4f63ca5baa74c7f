//! Which seeds are run, on how many threads, and what is said of one that fails.

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::world::{self, Outcome};

/// Seeds that are independent of each other are run at the same time, on so many threads.
const THREADS: usize = 2;

/// The number in a variable of the environment.
#[expect(clippy::disallowed_methods, reason = "whoever runs the simulation chooses the seeds")]
pub(crate) fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text:?}")))
}

/// Runs each seed, until one fails; answers how many there were.
pub(crate) fn run_all(seeds: impl IntoIterator<Item = u64>, judge: impl Fn(u64) -> Result<(), String> + Sync) {
    let seeds: Vec<u64> = seeds.into_iter().collect();
    let (next, failure) = (AtomicU64::new(0), Mutex::new(None));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Ok(at) = usize::try_from(next.fetch_add(1, Ordering::Relaxed))
                    && let Some(&seed) = seeds.get(at)
                    && failure.lock().is_ok_and(|failure| failure.is_none())
                {
                    let judged = catch_unwind(AssertUnwindSafe(|| judge(seed)));
                    let judged = judged.unwrap_or_else(|_| Err("a host or an invariant panicked".to_owned()));
                    if let Err(why) = judged {
                        failure.lock().expect("nobody panics with it").get_or_insert((seed, why));
                    }
                }
            });
        }
    });
    if let Some((seed, why)) = failure.into_inner().expect("nobody panics with it") {
        panic!("seed {seed}: {why}\nreplay it: STINT_SIM_SEED={seed} cargo test -p stint --test sim every_seed");
    }
}

/// Runs a seed; the error tells the invariant that it broke.
pub(crate) fn hold(seed: u64) -> Result<Outcome, String> {
    let outcome = world::run(seed);
    match &outcome.violation {
        None => Ok(outcome),
        Some(violation) => {
            let mut text = violation.to_string();
            let _ = write!(text, "trace: {:?}", outcome.trace);
            Err(text)
        }
    }
}
