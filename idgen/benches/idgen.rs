//! What an id and a code cost: `cargo bench -p stint-idgen`.
//!
//! Plain timing, the median and the spread of several rounds: enough to see a factor, and nothing to install.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use stint_idgen::{CodeKey, IdRange, Key, KeyCodec, Lane, Pool};

const ROUNDS: usize = 11;
const DRAWS: u64 = 2_000_000;
const CODES: u64 = 50_000;

fn main() {
    for threads in [1, 2] {
        measure(&format!("pool.next, {threads} thread(s)"), DRAWS, || {
            let pool = full_pool(DRAWS * 2 * threads);
            on_threads(threads, || pool.next())
        });
        measure(&format!("fetch_add, {threads} thread(s)"), DRAWS, || {
            let counter = AtomicU64::new(0);
            on_threads(threads, || Some(counter.fetch_add(1, Ordering::Relaxed)))
        });
    }
    let codec = KeyCodec::new(&CodeKey::from_bytes(*b"a key for bench!"));
    let keys: Vec<_> = (0..CODES).filter_map(|counter| Lane::Raft.key(counter)).collect();
    let texts: Vec<_> = keys.iter().map(|&key| codec.code(key)).collect();
    let snowflakes: Vec<_> = (1..=CODES).filter_map(|id| Key::from_snowflake(id << 32)).collect();
    measure("code of a generated key", CODES, || each(&keys, |&key| codec.code(key)));
    measure("key of a generated code", CODES, || each(&texts, |text| codec.key(text.as_str())));
    measure("code of a snowflake key", CODES, || each(&snowflakes, |&key| codec.code(key)));
}

fn full_pool(ids: u64) -> std::sync::Arc<Pool> {
    let (pool, mut filler) = Pool::new();
    filler.install(IdRange::new(0, ids).expect("the benchmark draws ids")).expect("a new pool has room");
    pool
}

/// Nanoseconds for one pass over `inputs`.
fn each<T, R>(inputs: &[T], work: impl Fn(&T) -> R) -> f64 {
    timed(|| {
        for input in inputs {
            black_box(work(black_box(input)));
        }
    })
}

/// Nanoseconds until each of the threads has drawn its share.
fn on_threads(threads: u64, draw: impl Fn() -> Option<u64> + Sync) -> f64 {
    let start = Barrier::new(usize::try_from(threads).expect("a few threads") + 1);
    let work = || {
        start.wait();
        for _ in 0..DRAWS {
            black_box(draw().expect("the pool holds enough"));
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        start.wait();
        timed(|| workers.into_iter().for_each(|worker| worker.join().expect("workers do not panic")))
    })
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock itself")]
fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e9
}

#[expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "a benchmark prints its numbers")]
fn measure(name: &str, operations: u64, round: impl Fn() -> f64) {
    let mut per_operation: Vec<f64> = (0..ROUNDS).map(|_| round() / operations as f64).collect();
    per_operation.sort_unstable_by(f64::total_cmp);
    let (low, median, high) = (per_operation[0], per_operation[ROUNDS / 2], per_operation[ROUNDS - 1]);
    println!("{name:<28} {median:>9.1} ns   ({low:.1} to {high:.1}, {ROUNDS} rounds)");
}
