//! Adapters of the cache ports.

pub mod disabled;
pub mod memory;
pub mod redis;
