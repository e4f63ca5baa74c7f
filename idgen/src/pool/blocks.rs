//! The shared part of the pool: two block slots and a cursor.
//!
//! The cursor is one word, (closed, block number, offset), and every claim is one compare-and-swap on it. Why a swap
//! that succeeds proves that the slot read before it was that of the cursor's block:
//!
//! - Block numbers count up and end before they would wrap, and offsets rise within a block, so the cursor never has
//!   one value twice (no ABA): after a successful swap it stood still since it was loaded.
//! - Block `n` is written into slot `n % 2` only after the cursor was seen at block `n - 1` or later, when nobody can
//!   claim from block `n - 2`, the slot's former owner, any more. A thread that still reads that slot swaps in vain.
//! - The filler publishes `installed` (release) after the slot is written, and a thread reads a slot only after it read
//!   `installed` (acquire) at that block or above, so it sees the slot whole.

use crate::IdRange;
use crate::sync::{AtomicU64, Ordering};

/// The last block number. Numbers don't wrap: with a block each second they last for 68 years.
pub(super) const MAX_SEQ: u32 = (1 << 31) - 2;

const CLOSED: u64 = 1 << 63;

#[derive(Debug)]
pub(super) struct Blocks {
    cursor: Alone<AtomicU64>,
    /// What follows changes once per block, so it stays in every core's cache.
    slots: [Slot; 2],
    /// The last block's number; 0 before the first.
    installed: AtomicU64,
    /// Sub-blocks of blocks below this number are not drawn from any more.
    valid_from: AtomicU64,
    /// How many ids had been claimed when the cursor went to a block that was not installed.
    claimed_before_gap: AtomicU64,
}

/// A cache line pair to itself: the cursor is written often, its neighbours are read at every draw.
#[derive(Debug)]
#[repr(align(128))]
struct Alone<T>(T);

#[derive(Debug)]
struct Slot {
    start: AtomicU64,
    len: AtomicU64,
    claimed_before: AtomicU64,
}

/// A block as its slot tells it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) start: u64,
    pub(super) len: u32,
    /// How many ids had been claimed before this block.
    pub(super) claimed_before: u64,
}

/// Where claims stand: the block and the offset of its first unclaimed id.
///
/// The block need not be installed yet; then there is nothing to claim until it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) closed: bool,
    pub(super) seq: u32,
    pub(super) offset: u32,
}

/// Ids that now belong to the caller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) seq: u32,
    pub(super) range: IdRange,
}

/// The shared part at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    cursor: Cursor,
    current: Option<Block>,
    next: Option<Block>,
    claimed_before_gap: u64,
}

impl Blocks {
    pub(super) fn new() -> Self {
        let slot = || Slot { start: AtomicU64::new(0), len: AtomicU64::new(0), claimed_before: AtomicU64::new(0) };
        let first = Cursor { closed: false, seq: 1, offset: 0 };
        Self {
            cursor: Alone(AtomicU64::new(first.pack())),
            slots: [slot(), slot()],
            installed: AtomicU64::new(0),
            valid_from: AtomicU64::new(1),
            claimed_before_gap: AtomicU64::new(0),
        }
    }

    pub(super) fn cursor(&self) -> Cursor {
        Cursor::unpack(self.cursor.0.load(Ordering::Acquire))
    }

    /// Whether sub-blocks of block `seq` may still be drawn from.
    pub(super) fn is_valid(&self, seq: u32) -> bool {
        u64::from(seq) >= self.valid_from.load(Ordering::Acquire)
    }

    /// Claims the next ids: as many as `size` says for a block's length, or what is left of the block.
    pub(super) fn claim(&self, size: impl Fn(u32) -> u32) -> Option<Claim> {
        let mut word = self.cursor.0.load(Ordering::Acquire);
        loop {
            let (at, block) = self.claimable(Cursor::unpack(word))?;
            // Numbers of a slot that is being rewritten may be nonsense; they are not used unless the swap succeeds.
            let len = size(block.len).min(block.len.saturating_sub(at.offset));
            if len == 0 {
                return None;
            }
            let moved = Cursor { offset: at.offset + len, ..at };
            match self.cursor.0.compare_exchange_weak(word, moved.pack(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    let start = block.start + u64::from(at.offset);
                    let range = IdRange::new(start, start + u64::from(len)).expect("at least one id was claimed");
                    return Some(Claim { seq: at.seq, range });
                }
                Err(current) => word = current,
            }
        }
    }

    /// Where the next id would be claimed: at the cursor, or at the start of the next block if this one is used up.
    fn claimable(&self, cursor: Cursor) -> Option<(Cursor, Block)> {
        if cursor.closed {
            return None;
        }
        let block = self.block(cursor.seq)?;
        if cursor.offset < block.len {
            return Some((cursor, block));
        }
        let next = Cursor { seq: cursor.seq + 1, offset: 0, ..cursor };
        Some((next, self.block(next.seq)?))
    }

    /// The block of this number, if it is installed. The slot may since belong to a later block: see the module.
    fn block(&self, seq: u32) -> Option<Block> {
        if self.installed.load(Ordering::Acquire) < u64::from(seq) {
            return None;
        }
        let slot = &self.slots[seq as usize % 2];
        Some(Block {
            start: slot.start.load(Ordering::Acquire),
            len: u32::try_from(slot.len.load(Ordering::Acquire)).expect("longer blocks are refused"),
            claimed_before: slot.claimed_before.load(Ordering::Acquire),
        })
    }

    /// Writes block `seq` and makes it claimable. Only the filler may call this, after it saw the cursor at `seq - 1`
    /// or later.
    pub(super) fn publish(&self, seq: u32, block: Block) {
        let slot = &self.slots[seq as usize % 2];
        slot.start.store(block.start, Ordering::Release);
        slot.len.store(u64::from(block.len), Ordering::Release);
        slot.claimed_before.store(block.claimed_before, Ordering::Release);
        self.installed.store(u64::from(seq), Ordering::Release);
    }

    /// Tries to take the cursor from `from` to block `seq`, which is not installed yet, and ends all sub-blocks below.
    /// Only the filler may call this.
    pub(super) fn skip_to(&self, from: Cursor, seq: u32, claimed: u64) -> bool {
        // Before the swap: whoever sees the cursor there must see this number too, and nobody else looks at it.
        self.claimed_before_gap.store(claimed, Ordering::Release);
        let to = Cursor { seq, offset: 0, ..from };
        let swap = self.cursor.0.compare_exchange(from.pack(), to.pack(), Ordering::AcqRel, Ordering::Acquire);
        if swap.is_ok() {
            self.valid_from.fetch_max(u64::from(seq), Ordering::AcqRel);
        }
        swap.is_ok()
    }

    pub(super) fn close(&self) {
        self.cursor.0.fetch_or(CLOSED, Ordering::AcqRel);
        self.valid_from.fetch_max(u64::MAX, Ordering::AcqRel);
    }

    pub(super) fn view(&self) -> View {
        loop {
            let cursor = self.cursor();
            let installed = self.installed.load(Ordering::Acquire);
            let view = View {
                cursor,
                current: self.block(cursor.seq),
                next: self.block(cursor.seq + 1),
                claimed_before_gap: self.claimed_before_gap.load(Ordering::Acquire),
            };
            // Unless both stood still, a slot may have been rewritten meanwhile. Both move once per block only.
            if self.cursor().seq == cursor.seq && self.installed.load(Ordering::Acquire) == installed {
                return view;
            }
        }
    }
}

impl Cursor {
    fn pack(self) -> u64 {
        u64::from(self.closed) << 63 | u64::from(self.seq) << 32 | u64::from(self.offset)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the halves of the word are cut out")]
    fn unpack(word: u64) -> Self {
        Self { closed: word & CLOSED != 0, seq: ((word & !CLOSED) >> 32) as u32, offset: word as u32 }
    }
}

impl View {
    pub(super) fn wants_block(&self) -> bool {
        let half_used = |block: Block| block.len.saturating_sub(self.cursor.offset) <= block.len / 2;
        !self.cursor.closed && self.next.is_none() && self.current.is_none_or(half_used)
    }

    pub(super) fn remaining(&self) -> u64 {
        if self.cursor.closed {
            return 0;
        }
        let current = self.current.map_or(0, |block| u64::from(block.len.saturating_sub(self.cursor.offset)));
        current + self.next.map_or(0, |block| u64::from(block.len))
    }

    pub(super) fn claimed(&self) -> u64 {
        self.current.map_or(self.claimed_before_gap, |block| block.claimed_before + u64::from(self.cursor.offset))
    }
}
