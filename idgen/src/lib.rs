//! Everything that decides uniqueness in Stint, as pure code: keys and codes, lanes, ranges, the pool that hands ids
//! out, and the allocator's state machine.
//!
//! No sockets, files, clocks or randomness: time and identities come in as values, so every rule here is tested
//! without a network.
//!
//! - [`allocator`]: the replicated state machine that grants disjoint ranges, and the leader's stamps
//! - [`base62`]: numbers as text of a fixed width
//! - [`code_key`]: the secret under which keys become codes
//! - [`demand`]: how many ids are needed, from the rate at which they go
//! - [`key`]: primary keys, their codes, and where an alias lives
//! - [`lane`]: the shares of the sources of ids
//! - [`lease`]: a worker lease in its holder's hands
//! - [`pool`]: ids in hand, given out without a lock
//! - [`range`]: half-open ranges of ids
//! - [`snowflake`]: the layout of Snowflake ids
//! - `permutation`: FF1, which hides the order of keys in their codes

pub mod allocator;
pub mod base62;
pub mod code_key;
pub mod demand;
pub mod key;
pub mod lane;
pub mod lease;
pub mod pool;
pub mod range;
pub mod snowflake;

mod permutation;
mod sync;

pub use code_key::{CodeKey, CodeKeyError};
pub use demand::Demand;
pub use key::{AliasPlace, Code, Key, KeyCodec, NotACode, NotAKey};
pub use lane::Lane;
pub use lease::WorkerWindow;
pub use pool::{BlockUse, Filler, InstallError, Pool};
pub use range::IdRange;
