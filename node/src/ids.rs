//! Adapters of the id source ports.

pub mod blocks;
#[cfg(test)]
mod conformance;
pub mod fallback;
mod postgres_blocks;
pub mod raft;
pub mod redis_blocks;
pub mod snowflake;
mod supply;
