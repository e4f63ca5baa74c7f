//! What the use cases need from the outside: traits and their errors. No port knows a backend.

pub mod block_store;
pub mod change_feed;
pub mod click_store;
pub mod clock;
pub mod coordination;
pub mod entropy;
pub mod error_chain;
pub mod id_source;
pub mod key_store;
pub mod link_cache;
pub mod link_store;
pub mod rate_limiter;
pub mod shared_cache;
pub mod spawn;
pub mod timeline;
pub mod trace;
