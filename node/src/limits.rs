//! Rate limiters: one that counts in this process, and one that counts in Redis together with all other nodes.
//!
//! Both follow the generic cell rate algorithm (ITU-T I.371). Of each client a single number is kept: when its whole
//! allowance will be back. It moves on by an interval for each that is taken, and up to a period ahead one may be; up to two
//! periods ahead is what is owed. `governor` and its like know no debts, and keep clients without a bound.

mod bucket;
mod local;
mod shared;
#[cfg(test)]
mod tests;

pub use local::LocalLimiter;
pub use shared::SharedLimiter;
