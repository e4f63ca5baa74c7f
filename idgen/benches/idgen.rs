//! What an id, a code and a grant cost: `cargo bench -p stint-idgen`.
//!
//! Plain timing, the median and the spread of several rounds: enough to see a factor, and nothing to install.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use stint_idgen::allocator::{
    Command, GrantId, HolderId, MAX_ENDED_GRANTS, MAX_HOLDERS, NamespaceName, NamespaceSpec, Reply, Stamped, State,
};
use stint_idgen::{CodeKey, IdRange, Key, KeyCodec, Lane, Pool};

const ROUNDS: usize = 11;
const DRAWS: u64 = 2_000_000;
const CODES: u64 = 50_000;
const GRANTS: u64 = 20_000;
/// Enough that no namespace is at its own bound before all are at theirs.
const NAMESPACES: u64 = 20;

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
    measure_allocator();
}

/// The allocator when it remembers as much as it may: each grant makes it forget a holder, and lose and forget a grant.
fn measure_allocator() {
    let mut full = State::default();
    for number in 0..NAMESPACES {
        let spec = NamespaceSpec::contiguous(1 << 40, u64::MAX, 1_000);
        apply(&mut full, 0, Command::CreateNamespace { name: namespace(number), spec });
    }
    let live = MAX_HOLDERS as u64;
    let ended = MAX_ENDED_GRANTS as u64;
    for number in 1..=ended + live {
        let reply = apply(&mut full, number, grant(number));
        if number <= ended
            && let Reply::Granted(grant) = reply
        {
            let used_to = grant.range.end() - 1;
            apply(&mut full, number, Command::Return { holder: grant.holder, grant: grant.id, used_to });
        }
    }
    assert_eq!((full.holders(), full.live_grants(), full.ended_grants()), (MAX_HOLDERS, MAX_HOLDERS, MAX_ENDED_GRANTS));
    let last = full.last_grant();
    measure("grant at the bounds", GRANTS, || {
        let mut state = full.clone();
        timed(|| (1..=GRANTS).for_each(|more| drop(black_box(apply(&mut state, last.0 + more, grant(last.0 + more))))))
    });
    measure("origin of an id at the bounds", GRANTS, || {
        timed(|| {
            for back in 0..GRANTS {
                let GrantId(number) = last;
                let id = (1 << 40) + (number - 9 * back) / NAMESPACES * 1_000;
                black_box(full.find_origin(&namespace(back), id));
            }
        })
    });
    let bytes = full.encode();
    measure("snapshot, per byte", bytes.len() as u64, || timed(|| drop(black_box(full.encode()))));
    measure("snapshot read, per byte", bytes.len() as u64, || timed(|| drop(black_box(State::decode(&bytes)))));
    report("snapshot's size", bytes.len());
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its numbers")]
fn report(name: &str, bytes: usize) {
    println!("{name:<28} {bytes:>9} bytes");
}

fn namespace(number: u64) -> NamespaceName {
    format!("namespace-{}", number % NAMESPACES).parse().expect("it is valid")
}

/// The requests of as many holders as there may be, each twice, and from then on of new ones. Their numbers are spread
/// like random ones.
fn grant(number: u64) -> Command {
    let most = MAX_HOLDERS as u64;
    let holder = if number <= 2 * most { number % most } else { number };
    let holder = HolderId(u128::from(holder).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835));
    let label = "allocator-host-1".to_owned();
    Command::Grant { namespace: namespace(number), want: 1_000, holder, label, request: number }
}

fn apply(state: &mut State, number: u64, command: Command) -> Reply {
    state.apply(&Stamped { at_ms: 1_800_000_000_000 + number, command })
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
