//! The pool: ids in hand, given out without a lock and without waiting.
//!
//! A current and a next block are shared by all threads; each thread draws from a sub-block of its own and touches the
//! shared cursor only when that is used up. One [`Filler`] brings the blocks.
//!
//! **Invariant: no id is given out twice, and none of a block is skipped** except by a discard, a close, or a thread
//! that draws no more. Ids are not in order across threads.

mod blocks;
mod filler;

use std::cell::Cell;
use std::sync::Arc;

use thread_local::ThreadLocal;

use crate::IdRange;
use blocks::Blocks;

pub use filler::{BlockUse, Filler, InstallError};

/// A sub-block is this part of its block, so that threads that draw little strand little.
const SUB_BLOCKS_PER_BLOCK: u32 = 256;

/// Above this a larger sub-block saves nothing: the shared cursor is touched once in a thousand draws.
const MAX_SUB_BLOCK: u32 = 1_024;

/// The ids in hand. Share it by reference or in an `Arc`.
#[derive(Debug)]
pub struct Pool {
    blocks: Blocks,
    /// A thread that ends leaves its sub-block to the next thread that gets its slot.
    sub_blocks: ThreadLocal<Cell<SubBlock>>,
}

/// A piece of a block that belongs to one thread.
#[derive(Clone, Copy, Debug, Default)]
struct SubBlock {
    /// The block it was claimed from; 0 for none.
    seq: u32,
    next: u64,
    end: u64,
}

impl Pool {
    /// An empty pool, and the one filler that brings it blocks.
    pub fn new() -> (Arc<Self>, Filler) {
        let pool = Arc::new(Self { blocks: Blocks::new(), sub_blocks: ThreadLocal::new() });
        (Arc::clone(&pool), Filler::new(pool))
    }

    /// The next id for this thread; `None` if there is none in hand, or after [`Pool::close`].
    pub fn next(&self) -> Option<u64> {
        let cell = self.sub_blocks.get_or(Cell::default);
        let mut sub_block = cell.get();
        let id = sub_block.draw(&self.blocks, sub_block_len);
        cell.set(sub_block);
        id
    }

    /// 1 to `count` consecutive ids, for batches: as many as the current block still has. `None` if there is none in
    /// hand, if `count` is 0, or after [`Pool::close`].
    pub fn take(&self, count: u64) -> Option<IdRange> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.blocks.claim(|_| count).map(|claim| claim.range)
    }

    /// Whether it is time to bring a block: there is no next one, and at most half of the current one remains.
    pub fn wants_block(&self) -> bool {
        self.blocks.view().wants_block()
    }

    /// How many ids no thread has claimed yet.
    pub fn remaining(&self) -> u64 {
        self.blocks.view().remaining()
    }

    /// How many ids threads have claimed since the pool was made; what was discarded unclaimed does not count.
    pub fn claimed(&self) -> u64 {
        self.blocks.view().claimed()
    }

    /// Ends the pool for good: what threads still hold of their sub-blocks is not given out any more.
    ///
    /// A draw under way in another thread may still answer, with an id that counts as used.
    pub fn close(&self) {
        self.blocks.close();
    }
}

impl SubBlock {
    /// The next id; a new piece of `size(block's length)` is claimed when this one is used up or no longer valid.
    fn draw(&mut self, blocks: &Blocks, size: impl Fn(u32) -> u32) -> Option<u64> {
        if self.next == self.end || !blocks.is_valid(self.seq) {
            let claim = blocks.claim(size)?;
            *self = Self { seq: claim.seq, next: claim.range.start(), end: claim.range.end() };
        }
        let id = self.next;
        self.next += 1;
        Some(id)
    }
}

fn sub_block_len(block_len: u32) -> u32 {
    (block_len / SUB_BLOCKS_PER_BLOCK).clamp(1, MAX_SUB_BLOCK)
}

#[cfg(test)]
mod tests;
