//! The allocator: a deterministic state machine that grants disjoint id ranges.
//!
//! `apply(state, command, stamped time) -> reply` is the only way in which a range is ever taken.

mod command;
mod name;
mod reply;
mod stamp;
mod state;
mod wire;

pub use command::{Command, HolderId, NamespaceSpec, Stamped};
pub use name::{NamespaceName, NamespaceNameError};
pub use reply::{Grant, GrantId, NamespaceTotals, Refusal, Reply};
pub use stamp::{MAX_DRIFT, Stamper};
pub use state::{HOLDER_TTL, MAX_HOLDERS, MAX_LIVE_GRANTS, MAX_NAMESPACES, NamespaceStatus, State};
pub use wire::DecodeError;
