//! Everything that decides uniqueness in Stint, as pure code: keys and codes, lanes, ranges, the pool that hands ids
//! out, and the allocator's state machine.
//!
//! No sockets, files, clocks or randomness: time and identities come in as values, so every rule here is tested
//! without a network.

pub mod allocator;
pub mod range;

pub use range::IdRange;
