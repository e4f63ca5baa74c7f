//! Rate limiters: one that counts in this process, and one that counts in Redis together with all other nodes.

mod local;
mod shared;
#[cfg(test)]
mod tests;

pub use local::LocalLimiter;
pub use shared::SharedLimiter;
