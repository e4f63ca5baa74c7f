//! The filler: the one writer that brings blocks into the pool and accounts for them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Pool;
use super::blocks::{Block, Cursor, MAX_SEQ};
use crate::IdRange;

/// Brings blocks to one [`Pool`]. There is one per pool, and each call needs it alone.
#[derive(Debug)]
pub struct Filler {
    pool: Arc<Pool>,
    /// The number of the last block installed.
    last: u32,
    /// How many ids will have been claimed when every block installed is used up.
    claimed_at_end: u64,
    /// The blocks whose use is not over, in order.
    blocks: VecDeque<(u32, IdRange)>,
    /// The blocks whose use is over and that were not reported yet.
    settled: Vec<BlockUse>,
}

/// How far a block was used: ids below `used_to` were given to threads, those from there on never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockUse {
    /// The block, as it was installed.
    pub block: IdRange,
    /// One past the last id used; the block's start if none was, its end if all were.
    pub used_to: u64,
}

/// Why a block was not installed. Its ids are still the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    /// A next block is there already.
    #[error("the pool has a next block already")]
    Full,
    /// The block has more than 2^32-1 ids.
    #[error("a block has at most 4294967295 ids, not {len}")]
    TooLong {
        /// How many it has.
        len: u64,
    },
    /// The pool is closed.
    #[error("the pool is closed")]
    Closed,
    /// All block numbers are used up; the process must be restarted.
    #[error("the pool has had as many blocks as it can count")]
    SequenceEnded,
}

impl Filler {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        Self { pool, last: 0, claimed_at_end: 0, blocks: VecDeque::new(), settled: Vec::new() }
    }

    /// Makes a block the pool's next one, or its current one if it has none.
    ///
    /// # Errors
    /// [`InstallError`]: nothing changed.
    pub fn install(&mut self, block: IdRange) -> Result<(), InstallError> {
        let len = u32::try_from(block.len()).map_err(|_| InstallError::TooLong { len: block.len() })?;
        let cursor = self.pool.blocks.cursor();
        if cursor.closed {
            return Err(InstallError::Closed);
        }
        // The new block's slot is in use as long as the cursor is below the last block.
        if cursor.seq < self.last {
            return Err(InstallError::Full);
        }
        if self.last == MAX_SEQ {
            return Err(InstallError::SequenceEnded);
        }
        self.settle(cursor);
        self.last += 1;
        self.blocks.push_back((self.last, block));
        let claimed_before = self.claimed_at_end;
        self.claimed_at_end += block.len();
        self.pool.blocks.publish(self.last, Block { start: block.start(), len, claimed_before });
        Ok(())
    }

    /// Drops every id in hand, in threads' sub-blocks too: none is given out once this has returned, except to a draw
    /// that was under way.
    pub fn discard(&mut self) {
        loop {
            let cursor = self.pool.blocks.cursor();
            if cursor.closed || cursor.seq > self.last {
                return;
            }
            let unclaimed: u64 = self.unused_at(cursor).map(|(_, unused)| unused.block.end() - unused.used_to).sum();
            let claimed = self.claimed_at_end - unclaimed;
            if self.pool.blocks.skip_to(cursor, self.last + 1, claimed) {
                self.claimed_at_end = claimed;
                self.settle(cursor);
                let dropped: Vec<_> = self.unused_at(cursor).map(|(_, unused)| unused).collect();
                self.settled.extend(dropped);
                self.blocks.clear();
                return;
            }
        }
    }

    /// The blocks whose use has ended since the last call: used up or discarded. Each is told once.
    pub fn settled(&mut self) -> Vec<BlockUse> {
        self.settle(self.pool.blocks.cursor());
        std::mem::take(&mut self.settled)
    }

    /// The blocks whose use has not ended, and where it stands. After [`Pool::close`] this is final.
    pub fn unused(&self) -> Vec<BlockUse> {
        self.unused_at(self.pool.blocks.cursor())
            .map(|(_, unused)| unused)
            .filter(|unused| !unused.is_used_up())
            .collect()
    }

    /// The pool that is filled.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    fn unused_at(&self, cursor: Cursor) -> impl Iterator<Item = (u32, BlockUse)> {
        self.blocks.iter().filter(move |(seq, _)| *seq >= cursor.seq).map(move |&(seq, block)| {
            let offset = if seq == cursor.seq { u64::from(cursor.offset) } else { 0 };
            (seq, BlockUse { block, used_to: block.start() + offset })
        })
    }

    /// Moves the blocks that are used up to the settled ones. Blocks below the cursor always are: claims skip nothing,
    /// and a discard takes away the rest by itself.
    fn settle(&mut self, cursor: Cursor) {
        while let Some(&(seq, block)) = self.blocks.front() {
            let is_used_up = seq < cursor.seq || (seq == cursor.seq && u64::from(cursor.offset) == block.len());
            if !is_used_up {
                return;
            }
            self.blocks.pop_front();
            self.settled.push(BlockUse { block, used_to: block.end() });
        }
    }
}

impl BlockUse {
    const fn is_used_up(&self) -> bool {
        self.used_to == self.block.end()
    }
}
