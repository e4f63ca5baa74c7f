//! What can be asked of the allocator.

mod v1;

use serde::{Deserialize, Serialize};

use super::wire::{self, DecodeError};
use super::{GrantId, LeaseId, NamespaceName, NamespaceSpec};
use crate::snowflake::WorkerId;

pub(super) use v1::NamespaceSpecV1;

/// The version of log entries. It rises with each new command or field, and whenever a constant that decides what
/// `apply` does is changed: replicas of two versions must never read one entry differently.
const ENTRY_VERSION: u8 = 2;

/// The version of commands between nodes; no older one was ever sent. It rises with each new command or field.
const COMMAND_VERSION: u8 = 1;

/// A process that holds ranges: a random 128-bit number drawn at each process start.
///
/// A restarted process is another holder, so nothing it held before can be mistaken for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HolderId(pub u128);

/// One command to the state machine. Its variants are numbered in the log: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes a namespace. Asking again with the spec it has, or was made with, is answered as done.
    CreateNamespace {
        /// Its name.
        name: NamespaceName,
        /// What it is made with.
        spec: NamespaceSpec,
    },
    /// Takes a range out of a namespace, at most `want` ids. Idempotent by (holder, request).
    Grant {
        /// Where from.
        namespace: NamespaceName,
        /// How many ids are wanted, from 1; the grant may be smaller, never empty.
        want: u64,
        /// Who asks.
        holder: HolderId,
        /// What people call the holder (a host name); a label, without meaning for uniqueness.
        label: String,
        /// The holder's request number: it counts up over all its grants, from 1, and a retry repeats it.
        request: u64,
    },
    /// Accounts for a grant that is done with: ids from `used_to` on were not used. They are never granted again.
    Return {
        /// Whose grant.
        holder: HolderId,
        /// Which grant.
        grant: GrantId,
        /// One past the last id that was used; the grant's start if none was.
        used_to: u64,
    },
    /// Raises the lowest counter that a namespace may still grant. Floors only rise.
    RaiseFloor {
        /// Which namespace.
        namespace: NamespaceName,
        /// The new floor.
        floor: u64,
    },
    /// Raises the highest Postgres timeline seen (a max register).
    RaiseTimeline {
        /// A timeline that was seen.
        timeline: u64,
    },
    /// Takes a worker id for Snowflake ids. Idempotent by (holder, request). A holder has one lease: asking again under
    /// another number gives up the one before.
    LeaseWorker {
        /// Who asks.
        holder: HolderId,
        /// What people call the holder; a label.
        label: String,
        /// The holder's request number: it counts up over its requests for workers, apart from those for grants, from
        /// 1, and a retry repeats it.
        request: u64,
        /// How long the lease is to last.
        duration_ms: u64,
    },
    /// Prolongs a lease that is not over yet. Repeating it does no harm.
    RenewWorker {
        /// Whose lease.
        holder: HolderId,
        /// Of which worker id.
        worker: WorkerId,
        /// Which lease.
        lease: LeaseId,
        /// How long it is to last from now; an end that is later already stays.
        duration_ms: u64,
    },
    /// Frees a worker id early. Its window stays spent: the next lease begins after it.
    ReleaseWorker {
        /// Whose lease.
        holder: HolderId,
        /// Of which worker id.
        worker: WorkerId,
        /// Which lease.
        lease: LeaseId,
    },
    /// Sets what of a namespace may change. What is granted already stays.
    UpdateNamespace {
        /// Which namespace.
        name: NamespaceName,
        /// How many ids may be granted in total, those granted already included; `None` for as many as there are.
        quota: Option<u64>,
        /// The largest block one grant may have, in ids.
        max_block: u64,
    },
    /// Gives a member number to a data directory, for ever. Repeating it does no harm.
    AdmitMember {
        /// The member's number.
        node_id: u64,
        /// The data directory's random number.
        incarnation: u128,
    },
}

/// A command with the leader's time stamp: one entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped {
    /// Milliseconds since the Unix epoch by the leader's stamp; applying nodes read no clock.
    pub at_ms: u64,
    /// What to apply.
    pub command: Command,
}

impl Command {
    /// The bytes of a command, for one node to send to another: a version byte, then postcard.
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(COMMAND_VERSION, self)
    }

    /// The command in `bytes`.
    ///
    /// # Errors
    /// [`DecodeError::Newer`] if a newer version wrote them, else [`DecodeError::Corrupt`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        wire::decode(COMMAND_VERSION, bytes)
    }
}

impl Stamped {
    /// The bytes of a log entry: a version byte, then postcard.
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(ENTRY_VERSION, self)
    }

    /// The entry in `bytes`.
    ///
    /// # Errors
    /// [`DecodeError::Newer`] if a newer version wrote them, else [`DecodeError::Corrupt`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (version, body) = wire::version(ENTRY_VERSION, bytes)?;
        if version == v1::VERSION {
            return wire::decode_body(body).map(|old: v1::StampedV1| old.into());
        }
        wire::decode_body(body)
    }
}
