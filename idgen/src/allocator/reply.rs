//! What the allocator answers.

use serde::{Deserialize, Serialize};

use super::wire::{self, DecodeError};
use super::{HolderId, NamespaceName, NamespaceSpec};
use crate::IdRange;
use crate::snowflake::WorkerId;

/// The version of replies between nodes. Of version 1 those that name a spec are too short to be read, and so corrupt.
const REPLY_VERSION: u8 = 2;

/// The number of a grant: unique within the allocator, counting up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GrantId(pub u64);

/// The number of a worker lease: unique within the allocator, counting up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeaseId(pub u64);

/// A range that now belongs to a holder, for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its number.
    pub id: GrantId,
    /// Where it was taken from.
    pub namespace: NamespaceName,
    /// The counters; with a stride of 1 they are the ids ([`NamespaceSpec::id`]).
    pub range: IdRange,
    /// Who holds it.
    pub holder: HolderId,
    /// When it was granted: the stamped time, Unix milliseconds.
    pub granted_at_ms: u64,
}

/// A worker id that a holder may use for ids with timestamps in `[not_before_ms, lease_until_ms)`, and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerLease {
    /// The worker id.
    pub worker: WorkerId,
    /// The lease's number; renewing and releasing name it.
    pub lease: LeaseId,
    /// Who holds it.
    pub holder: HolderId,
    /// When this was decided: the stamped time, Unix milliseconds.
    pub stamped_at_ms: u64,
    /// The first Unix millisecond of the window: no earlier than the end of the worker id's last window.
    pub not_before_ms: u64,
    /// One past the window's last Unix millisecond.
    pub lease_until_ms: u64,
}

/// How a namespace's ids were spent. `granted = live + used + returned + lost` at every moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceTotals {
    /// Ids granted.
    pub granted: u64,
    /// Ids in grants that are neither returned nor lost yet.
    pub live: u64,
    /// Ids reported as used.
    pub used: u64,
    /// Ids reported as not used.
    pub returned: u64,
    /// Ids of grants whose holder vanished without a report.
    pub lost: u64,
}

/// The answer to one command. Its variants are numbered in snapshots and between nodes: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The namespace exists, and has this spec now.
    Namespace {
        /// Its spec.
        spec: NamespaceSpec,
        /// Whether this command made it (false: it was there).
        created: bool,
    },
    /// The range that was granted; a retry is answered with the same grant.
    Granted(Grant),
    /// The return was accounted for.
    Returned {
        /// Ids that went unused.
        unused: u64,
    },
    /// The namespace's floor (the next counter that may be granted) after the command.
    Floor(u64),
    /// The highest timeline seen, after the command.
    Timeline(u64),
    /// Nothing was changed, and why.
    Refused(Refusal),
    /// The worker lease that was granted; a retry is answered with the same.
    WorkerLeased(WorkerLease),
    /// The worker lease as it stands after a renewal.
    WorkerRenewed(WorkerLease),
    /// The worker lease is over.
    WorkerReleased,
    /// The member's number is that data directory's, now or since before.
    MemberAdmitted,
}

/// Why a command was refused. A refusal takes no ids; it may be remembered as the answer to a request number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// No namespace has the name.
    #[error("there is no namespace `{0}`")]
    UnknownNamespace(NamespaceName),
    /// The namespace exists with another spec.
    #[error("the namespace `{name}` exists already, with other settings")]
    NamespaceDiffers {
        /// Its name.
        name: NamespaceName,
        /// What it was made with.
        spec: NamespaceSpec,
    },
    /// The spec can't be served (no id in its span, no block size, an offset outside the stride).
    #[error("a namespace needs a start below its limit, a block size of 1 or more, and an offset below its stride")]
    BadSpec,
    /// No more namespaces may be made.
    #[error("the limit of {0} namespaces is reached")]
    TooManyNamespaces(u32),
    /// A grant of no ids was asked for.
    #[error("a grant must be of 1 id or more")]
    NothingWanted,
    /// Every id of the namespace is granted.
    #[error("the namespace `{0}` has no ids left")]
    Exhausted(NamespaceName),
    /// The request number is below the holder's last: its answer is forgotten.
    #[error("the request is older than the holder's last, {last}")]
    StaleRequest {
        /// The holder's last request number.
        last: u64,
    },
    /// The last request with this number asked for something else.
    #[error("request {0} was made before, for something else")]
    RequestReused(u64),
    /// The grant is not live: returned, lost, or never made.
    #[error("the grant {} is not live", .0.0)]
    GrantNotLive(GrantId),
    /// The grant belongs to another holder.
    #[error("the grant belongs to another holder")]
    ForeignGrant,
    /// The position reported as used lies outside the grant.
    #[error("the position {used_to} lies outside the grant")]
    OutsideGrant {
        /// What was reported.
        used_to: u64,
    },
    /// A floor past the namespace's limit was asked for.
    #[error("the floor {floor} lies past the namespace's limit")]
    FloorPastLimit {
        /// What was asked for.
        floor: u64,
    },
    /// A worker lease of that length is not given.
    #[error("a worker lease lasts {shortest_ms} to {longest_ms} ms")]
    BadLeaseDuration {
        /// The shortest.
        shortest_ms: u64,
        /// The longest.
        longest_ms: u64,
    },
    /// Every worker id is leased, or its last window ends too far in the future.
    #[error("no worker id is free before {free_at_ms} (Unix ms)")]
    NoWorkerFree {
        /// When the first may be free, Unix milliseconds, if it is not renewed.
        free_at_ms: u64,
    },
    /// The lease is over, released, of another holder, or never was.
    #[error("the worker lease {} is not live", .0.0)]
    LeaseNotLive(LeaseId),
    /// The namespace has ids left, but its quota is granted.
    #[error("the quota of {quota} ids of the namespace `{namespace}` is granted")]
    QuotaReached {
        /// Which namespace.
        namespace: NamespaceName,
        /// Its quota.
        quota: u64,
    },
    /// The member number belongs to another data directory, for ever.
    #[error("the member number {node_id} was given to another data directory before; choose a new one")]
    MemberNumberUsed {
        /// The number.
        node_id: u64,
    },
    /// No more member numbers may be given.
    #[error("the limit of {0} member numbers is reached")]
    TooManyMembers(u32),
}

impl Reply {
    /// The bytes of a reply: a version byte, then postcard.
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(REPLY_VERSION, self)
    }

    /// The reply in `bytes`.
    ///
    /// # Errors
    /// [`DecodeError::Newer`] if a newer version wrote them, else [`DecodeError::Corrupt`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        wire::decode(REPLY_VERSION, bytes)
    }
}
