//! The use cases, over ports: no HTTP, no SQL, no Raft.

pub mod batch;
pub mod changes;
pub mod create;
pub mod decode_ids;
pub mod fence;
pub mod health;
pub mod issue_ids;
pub mod keys;
pub mod limits;
pub mod links;
pub mod namespaces;
pub mod own_host;
pub mod resolve;
mod single_flight;
pub mod stats;
pub mod tiers;
