//! The allocator: a deterministic state machine that grants disjoint id ranges.
//!
//! `apply(state, command, stamped time) -> reply` is the only way in which a range is ever taken.

mod command;
mod reply;
mod state;

pub use command::{Command, HolderId, NamespaceName, NamespaceSpec, Stamped};
pub use reply::{Grant, GrantId, NamespaceTotals, Refusal, Reply};
pub use state::{DecodeError, State};
