//! Adapters of the id source ports.

pub mod raft;
