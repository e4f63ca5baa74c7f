//! A model of the pool under shuttle: every interleaving of its atomic operations may be tried, at random and by
//! priorities. `thread_local` knows nothing of shuttle's threads, so each consumer holds its sub-block in the open.

use std::collections::BTreeSet;

use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::thread::{self, JoinHandle};

use super::*;

/// Lengths 1 to 4, with gaps, so that blocks end at every offset of a sub-block and of a batch.
const BLOCKS: [(u64, u64); 4] = [(10, 13), (20, 24), (30, 31), (40, 42)];

fn explore(model: impl Fn() + Clone + Send + Sync + 'static) {
    shuttle::check_random(model.clone(), 1_500);
    shuttle::check_pct(model, 1_500, 3);
}

fn block((start, end): (u64, u64)) -> IdRange {
    IdRange::new(start, end).unwrap()
}

fn ids(blocks: &[(u64, u64)]) -> Vec<u64> {
    blocks.iter().flat_map(|&(start, end)| start..end).collect()
}

/// Draws from sub-blocks of two ids, and takes a batch now and then.
fn consume(pool: &Pool, sub_block: &mut SubBlock, turn: usize) -> Vec<u64> {
    if turn % 3 == 2 {
        pool.take(3).map_or_else(Vec::new, |range| (range.start()..range.end()).collect())
    } else {
        sub_block.draw(&pool.blocks, |_| 2).into_iter().collect()
    }
}

fn spawn_consumer(pool: &Arc<Pool>, turns: usize) -> JoinHandle<Vec<u64>> {
    let pool = Arc::clone(pool);
    thread::spawn(move || {
        let mut sub_block = SubBlock::default();
        let mut got: Vec<u64> = (0..turns).flat_map(|turn| consume(&pool, &mut sub_block, turn)).collect();
        got.extend(sub_block.next..sub_block.end);
        got
    })
}

/// Installs blocks as room comes up, without waiting for ever: what is left over is the caller's.
fn fill<'a>(filler: &mut Filler, blocks: &'a [(u64, u64)]) -> &'a [(u64, u64)] {
    let mut rest = blocks;
    for _ in 0..8 {
        let Some((&first, others)) = rest.split_first() else { break };
        match filler.install(block(first)) {
            Ok(()) => rest = others,
            Err(error) => assert_eq!(error, InstallError::Full),
        }
        thread::yield_now();
    }
    rest
}

#[test]
fn every_id_of_every_block_is_given_out_exactly_once() {
    explore(|| {
        let (pool, mut filler) = Pool::new();
        let consumers = [spawn_consumer(&pool, 4), spawn_consumer(&pool, 4), spawn_consumer(&pool, 3)];
        let mut rest = fill(&mut filler, &BLOCKS);
        let mut got: Vec<u64> = consumers.into_iter().flat_map(|consumer| consumer.join().unwrap()).collect();
        loop {
            rest = fill(&mut filler, rest);
            match pool.take(u64::MAX) {
                Some(range) => got.extend(range.start()..range.end()),
                None => break,
            }
        }
        got.sort_unstable();
        assert_eq!(got, ids(&BLOCKS));
        let settled: Vec<_> = filler.settled().iter().map(|settled| (settled.block, settled.used_to)).collect();
        assert_eq!(settled, BLOCKS.map(|(start, end)| (block((start, end)), end)));
        assert_eq!((filler.unused(), pool.claimed(), pool.remaining()), (Vec::new(), got.len() as u64, 0));
    });
}

#[test]
fn nothing_in_hand_is_given_out_after_a_discard() {
    explore(|| {
        let (pool, mut filler) = Pool::new();
        let discarded = Arc::new(AtomicBool::new(false));
        fill(&mut filler, &BLOCKS[..2]);
        let consumers: Vec<_> = (0..2)
            .map(|_| {
                let (pool, discarded) = (Arc::clone(&pool), Arc::clone(&discarded));
                thread::spawn(move || {
                    let mut sub_block = SubBlock::default();
                    let draw = |turn| {
                        let was_discarded = discarded.load(Ordering::SeqCst);
                        let got = consume(&pool, &mut sub_block, turn);
                        assert!(!was_discarded || got.iter().all(|&id| id >= 30), "{got:?} were discarded");
                        got
                    };
                    (0..4).flat_map(draw).collect::<Vec<_>>()
                })
            })
            .collect();
        filler.discard();
        discarded.store(true, Ordering::SeqCst);
        fill(&mut filler, &BLOCKS[2..]);
        let got: Vec<u64> = consumers.into_iter().flat_map(|consumer| consumer.join().unwrap()).collect();
        assert_eq!(got.iter().collect::<BTreeSet<_>>().len(), got.len(), "{got:?}");
        assert_only_used(&got, filler.settled().into_iter().chain(filler.unused()), &pool);
    });
}

#[test]
fn positions_are_final_after_a_close() {
    explore(|| {
        let (pool, mut filler) = Pool::new();
        fill(&mut filler, &BLOCKS[..2]);
        let consumers = [spawn_consumer(&pool, 3), spawn_consumer(&pool, 3)];
        let closer = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let mut sub_block = SubBlock::default();
                let got = sub_block.draw(&pool.blocks, |_| 2);
                pool.close();
                assert_eq!((sub_block.draw(&pool.blocks, |_| 2), pool.take(1)), (None, None));
                assert!(!pool.wants_block() && pool.remaining() == 0);
                got
            })
        };
        if let Err(error) = filler.install(block(BLOCKS[2])) {
            assert!(matches!(error, InstallError::Full | InstallError::Closed));
        }
        let mut got: Vec<u64> = closer.join().unwrap().into_iter().collect();
        let before: Vec<_> = filler.settled().into_iter().chain(filler.unused()).collect();
        got.extend(consumers.into_iter().flat_map(|consumer| consumer.join().unwrap()));
        assert_only_used(&got, before.into_iter(), &pool);
        assert_eq!(filler.install(block(BLOCKS[3])), Err(InstallError::Closed));
    });
}

#[test]
fn counts_are_exact_at_every_moment() {
    explore(|| {
        let (pool, mut filler) = Pool::new();
        let consumers = [spawn_consumer(&pool, 3), spawn_consumer(&pool, 2)];
        let watcher = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let seen: Vec<_> = (0..4).map(|_| pool.claimed()).collect();
                assert!(seen.is_sorted(), "{seen:?}");
                assert!(pool.remaining() <= 7);
            })
        };
        fill(&mut filler, &BLOCKS[..2]);
        filler.discard();
        fill(&mut filler, &BLOCKS[2..]);
        watcher.join().unwrap();
        let got: Vec<u64> = consumers.into_iter().flat_map(|consumer| consumer.join().unwrap()).collect();
        assert_only_used(&got, filler.settled().into_iter().chain(filler.unused()), &pool);
    });
}

#[test]
fn a_block_is_wanted_when_half_of_the_current_one_is_left_and_none_is_next() {
    shuttle::check_random(
        || {
            let (pool, mut filler) = Pool::new();
            assert!(pool.wants_block() && pool.take(1).is_none());
            filler.install(block((0, 8))).unwrap();
            assert!(!pool.wants_block());
            assert_eq!(pool.take(3), Some(block((0, 3))));
            assert!(!pool.wants_block());
            assert_eq!(pool.take(1), Some(block((3, 4))));
            assert!(pool.wants_block());
            filler.install(block((8, 10))).unwrap();
            assert!(!pool.wants_block());
            assert_eq!((pool.remaining(), pool.claimed()), (6, 4));
            assert_eq!(filler.install(block((10, 12))), Err(InstallError::Full));
            assert_eq!(pool.take(9), Some(block((4, 8))));
            assert_eq!(pool.take(0), None);
            assert_eq!(pool.take(1), Some(block((8, 9))));
            assert_eq!(filler.unused(), [BlockUse { block: block((8, 10)), used_to: 9 }]);
            assert!(pool.wants_block());
        },
        1,
    );
}

#[test]
fn a_block_of_more_than_32_bits_is_refused() {
    shuttle::check_random(
        || {
            let (pool, mut filler) = Pool::new();
            let len = 1 << 32;
            assert_eq!(filler.install(block((0, len))), Err(InstallError::TooLong { len }));
            let longest = block((u64::MAX - len + 1, u64::MAX));
            filler.install(longest).unwrap();
            assert_eq!(pool.take(u64::MAX), Some(longest));
        },
        1,
    );
}

/// Every id given out lies in the used part of its block, and the used parts are as large as the pool's count.
fn assert_only_used(got: &[u64], uses: impl Iterator<Item = BlockUse>, pool: &Pool) {
    let uses: Vec<_> = uses.collect();
    for &id in got {
        assert!(uses.iter().any(|it| it.block.start() <= id && id < it.used_to), "{id} of {uses:?}");
    }
    assert_eq!(uses.iter().map(|it| it.used_to - it.block.start()).sum::<u64>(), pool.claimed());
}
