//! Adapters of the id source ports.

pub mod raft;
pub mod snowflake;
