//! The pool under real threads: `Pool::next` draws through thread-locals, which the shuttle model can't.

use std::sync::Barrier;
use std::thread;

use stint_idgen::{IdRange, Pool};

const THREADS: usize = 4;

fn range(start: u64, end: u64) -> IdRange {
    IdRange::new(start, end).expect("the test's ranges are not empty")
}

#[test]
fn threads_drawing_at_once_get_every_id_once() {
    const PER_THREAD: usize = 50_000;
    // Of all sizes, so that sub-blocks are of 1 up to 78 ids and blocks end within them.
    let mut blocks =
        (0_u64..).map(|n| (n * 100_000, n * 100_000 + [7, 20_000, 300, 1][usize::try_from(n).unwrap() % 4]));
    let (pool, mut filler) = Pool::new();
    let mut drawn = thread::scope(|scope| {
        let draw = || {
            let mut ids = Vec::with_capacity(PER_THREAD);
            while ids.len() < PER_THREAD {
                ids.extend(pool.next());
            }
            ids
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(draw)).collect();
        let mut next = blocks.next();
        while !threads.iter().all(thread::ScopedJoinHandle::is_finished) {
            if let Some((start, end)) = next.filter(|_| pool.wants_block()) {
                filler.install(range(start, end)).expect("a pool that wants a block has room");
                next = blocks.next();
            }
            thread::yield_now();
        }
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let count = drawn.len();
    assert_eq!(count, THREADS * PER_THREAD);
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn.len(), count, "an id was drawn twice");
    let uses: Vec<_> = filler.settled().into_iter().chain(filler.unused()).collect();
    let is_used = |id| uses.iter().any(|it| it.block.start() <= id && id < it.used_to);
    assert!(drawn.iter().all(|&id| is_used(id)));
    // All that was claimed was drawn, but for what the threads left in their sub-blocks.
    let stranded = pool.claimed() - u64::try_from(count).unwrap();
    assert!(stranded <= 78 * u64::try_from(THREADS).unwrap(), "{stranded} ids are missing");
}

#[test]
fn one_thread_draws_a_block_in_order_and_to_its_end() {
    let (pool, mut filler) = Pool::new();
    filler.install(range(5, 2_005)).unwrap();
    let drawn: Vec<_> = std::iter::from_fn(|| pool.next()).collect();
    assert_eq!(drawn, (5..2_005).collect::<Vec<_>>());
    assert!(pool.wants_block());
}

#[test]
fn a_sub_block_in_hand_is_dropped_by_a_discard() {
    let (pool, mut filler) = Pool::new();
    filler.install(range(0, 10_000)).unwrap();
    assert_eq!(pool.next(), Some(0));
    filler.discard();
    assert_eq!(pool.next(), None);
    assert!(pool.wants_block());
    filler.install(range(20_000, 30_000)).unwrap();
    assert_eq!(pool.next(), Some(20_000));
    let settled = filler.settled();
    assert_eq!((settled.len(), settled[0].block, settled[0].used_to), (1, range(0, 10_000), 39));
}

#[test]
fn a_closed_pool_gives_nothing_to_any_thread() {
    let (pool, mut filler) = Pool::new();
    filler.install(range(0, 100_000)).unwrap();
    let (drawn, closed) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                assert!(pool.next().is_some());
                drawn.wait();
                closed.wait();
                assert_eq!((pool.next(), pool.take(5)), (None, None));
            });
        }
        drawn.wait();
        pool.close();
        closed.wait();
    });
    let unused = filler.unused();
    assert_eq!((unused.len(), unused[0].used_to), (1, 390 * u64::try_from(THREADS).unwrap()));
    assert_eq!(pool.claimed(), unused[0].used_to);
}
