//! Which seeds are run, and what is said of one that fails.
//!
//! Each seed is run by a process of its own: tokio numbers its tasks process by process, and drops those of a crashed
//! host in an order that follows from their numbers.

use std::fmt::Write;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::world;

/// The test that runs one seed, if [`SEED`] is set.
const TEST: &str = "every_seed_keeps_every_invariant";
const SEED: &str = "STINT_SIM_SEED";
const SEEDS: &str = "STINT_SIM_SEEDS";
const TRACE: &str = "STINT_SIM_TRACE";

/// Seeds at the same time.
const AT_ONCE: usize = 2;

/// The seed that this process is to run, if it is to run one.
pub(crate) fn this_one() -> Option<u64> {
    number(SEED)
}

/// How many seeds are to be run, if somebody has said so.
pub(crate) fn wanted() -> Option<u64> {
    number(SEEDS)
}

fn number(name: &str) -> Option<u64> {
    variable(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text:?}")))
}

#[expect(clippy::disallowed_methods, reason = "whoever runs the simulation chooses the seeds")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Runs a seed in this process; answers what is said of it.
pub(crate) fn run_here(seed: u64) -> String {
    let outcome = world::run(seed, variable(TRACE).as_deref());
    let (events, hash) = outcome.trace;
    let seconds = outcome.elapsed.as_secs_f64();
    match outcome.violation {
        None => format!("seed {seed}: {events} events in {seconds:.1} s, trace {hash:016x}"),
        Some(violation) => panic!("seed {seed}: {violation}{}", replay(seed)),
    }
}

/// Runs a seed in a process of its own; answers what that said, or why it failed.
pub(crate) fn run_apart(seed: u64) -> Result<String, String> {
    let program = std::env::current_exe().expect("a test knows where it lies");
    let mut command = Command::new(program);
    command.args([TEST, "--exact", "--nocapture"]).env(SEED, seed.to_string()).env_remove(TRACE);
    let output = command.output().expect("a test can be started again");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let line = said.lines().find(|line| line.starts_with("seed ")).map(str::to_owned);
    line.filter(|_| output.status.success()).ok_or_else(|| {
        let mut why = errors.into_owned();
        if !why.contains("replay it:") {
            // openraft ends a leader whose follower has forgotten what it had acknowledged, for one.
            let _ = write!(why, "seed {seed}: invariant no_panic is broken: a program panicked.{}", replay(seed));
        }
        why
    })
}

/// Judges each seed, some at a time, until one fails.
pub(crate) fn all(seeds: impl IntoIterator<Item = u64>, judge: impl Fn(u64) -> Result<(), String> + Sync) {
    let seeds: Vec<u64> = seeds.into_iter().collect();
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = judge(seed) {
                        next.store(seeds.len(), Ordering::Relaxed);
                        failure.lock().expect("nobody panics with it").get_or_insert(why);
                    }
                }
            });
        }
    });
    if let Some(why) = failure.into_inner().expect("nobody panics with it") {
        panic!("{why}");
    }
}

fn replay(seed: u64) -> String {
    format!("\nreplay it: {SEED}={seed} cargo test -p stint --test sim {TEST} -- --exact --nocapture\n")
}
