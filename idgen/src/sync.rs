//! The atomics of the pool: the standard ones, or those of shuttle in this crate's unit tests.
//!
//! Shuttle schedules threads by itself and tries many interleavings; its atomics work inside its runner only. Tests of
//! real threads are in `tests/`, which links the library as everybody does.

#[cfg(test)]
pub(crate) use shuttle::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(test))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
