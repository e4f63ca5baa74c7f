//! Where links are kept.

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use stint_idgen::{Key, Lane};

use crate::domain::access::OwnerId;
use crate::domain::alias::Alias;
use crate::domain::label::{Tags, Title};
use crate::domain::link::{Link, LinkContent, VisitLimit};
use crate::domain::target_url::{TargetUrl, UrlHash};
use crate::domain::timestamp::UnixMs;

/// Why a store gave no answer. Clonable, since one failed batch fails everybody in it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The store can't be reached, is full or is overloaded. What was to be written was not acknowledged, and mostly not
    /// written; of a commit that failed it isn't known.
    #[error("the link store is not available: {operation}")]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// What the driver said.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// What the store holds makes no sense.
    #[error("the link store holds a value that can't be read: {what}")]
    Corrupt {
        /// Which value.
        what: &'static str,
    },
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub const fn retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Corrupt { .. } => false,
        }
    }
}

/// A link to be created.
#[derive(Clone, Debug)]
pub struct NewLink {
    /// Its key: drawn, or the alias's own.
    pub key: Key,
    /// The alias, where it isn't a key itself.
    pub alias: Option<Alias>,
    /// Drawn for each link whose name was asked for (an alias, also one that is a key): a create whose commit is in doubt
    /// knows its own link by it. Links with a generated code need none, since their key was issued once.
    pub nonce: Option<i32>,
    /// Whose it is.
    pub owner: OwnerId,
    /// Where it leads.
    pub url: TargetUrl,
    /// When it is created.
    pub created_at: UnixMs,
    /// When it stops leading there.
    pub expires_at: Option<UnixMs>,
    /// How often it may be followed.
    pub max_visits: Option<i64>,
    /// Its title.
    pub title: Option<Title>,
    /// Its tags.
    pub tags: Tags,
    /// Whether the owner's existing link of the same target is as good (only for plain links).
    pub reuse: bool,
    /// What makes a repeat of this request recognisable.
    pub idempotency: Option<Idempotency>,
}

/// An `Idempotency-Key`, with a hash of the request that it came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The key: 1 to 255 printable ASCII characters, unique within its owner for 24 hours.
    pub key: String,
    /// SHA-256 of the request's meaning.
    pub request_hash: [u8; 32],
}

/// What became of one link of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// It exists now.
    Created(Link),
    /// The owner's link of the same target was there already.
    Reused(Link),
    /// The request was made before, with this result.
    Replayed {
        /// The link as it is now.
        link: Link,
        /// Whether it was created then (or reused).
        created: bool,
    },
    /// The same idempotency key came with another request before.
    IdempotencyMismatch,
    /// The key is taken: by a custom alias (a generated key) or by another link (an alias that is a key).
    KeyTaken,
    /// The alias is taken.
    AliasTaken,
}

/// A request that was made before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replay {
    /// The same one, with this result.
    Same {
        /// The link as it is now.
        link: Link,
        /// Whether it was created then (or reused).
        created: bool,
    },
    /// Another one came with the key.
    Mismatch,
}

/// A change of some fields: the outer `None` leaves the field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkChange {
    /// A new target.
    pub url: Option<TargetUrl>,
    /// A new expiry, or none any more.
    pub expires_at: Option<Option<UnixMs>>,
    /// A new limit, or none any more. Visits counted so far stay counted while a limit stays.
    pub max_visits: Option<Option<i64>>,
    /// A new title, or none any more.
    pub title: Option<Option<Title>>,
    /// New tags, instead of all old ones.
    pub tags: Option<Tags>,
}

impl LinkChange {
    /// Applies the change to what a link holds.
    pub fn apply(self, content: &mut LinkContent) {
        if let Some(url) = self.url {
            content.url = url;
        }
        if let Some(expires_at) = self.expires_at {
            content.expires_at = expires_at;
        }
        if let Some(max_visits) = self.max_visits {
            let visits = content.limit.map_or(0, |limit| limit.visits);
            content.limit = max_visits.map(|max| VisitLimit { max, visits });
        }
        if let Some(title) = self.title {
            content.title = title;
        }
        if let Some(tags) = self.tags {
            content.tags = tags;
        }
    }
}

/// What became of counting one visit of a limited link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VisitOutcome {
    /// It was counted: the visitor may go on.
    Counted,
    /// No visit is left.
    UsedUp,
    /// The link has no limit any more, or is gone: look again.
    NotLimited,
}

/// Where a list goes on: after this link, in the order newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListPosition {
    /// When the last link seen was created.
    pub created_at: UnixMs,
    /// Its key.
    pub key: Key,
}

/// One page of a list of live links, newest first.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Whose links; everybody's if `None`, then in the order of their keys.
    pub owner: Option<OwnerId>,
    /// Only links with this tag; needs an owner.
    pub tag: Option<String>,
    /// Only links after this one.
    pub after: Option<ListPosition>,
    /// At most so many.
    pub limit: usize,
}

/// Keeps links. Every method that changes something answers only after the change is durable.
#[async_trait]
pub trait LinkStore: Send + Sync + std::fmt::Debug + 'static {
    /// Creates links in one transaction; answers one outcome for each, in order.
    ///
    /// Entries that conflict with each other are resolved in order: the first wins.
    async fn create(&self, links: Vec<NewLink>) -> Result<Vec<CreateOutcome>, StoreError>;

    /// What the request with this idempotency key came to, if it was made before.
    async fn find_replay(&self, owner: OwnerId, request: &Idempotency) -> Result<Option<Replay>, StoreError>;

    /// The link with a key, tombstones included, as the last acknowledged change left it.
    async fn find(&self, key: Key) -> Result<Option<Link>, StoreError>;

    /// The same from a copy that may lag behind: it may be missing there, or be an older version. `None` says nothing.
    async fn find_copy(&self, key: Key) -> Result<Option<Link>, StoreError> {
        self.find(key).await
    }

    /// The key of an alias that isn't a key itself.
    async fn find_alias(&self, alias: &Alias) -> Result<Option<Key>, StoreError>;

    /// The owner's live, plain link of a target.
    async fn find_reusable(&self, owner: OwnerId, hash: UrlHash, url: &TargetUrl) -> Result<Option<Link>, StoreError>;

    /// A page of an owner's live links.
    async fn list(&self, query: ListQuery) -> Result<Vec<Link>, StoreError>;

    /// Changes a live link; `None` when there is none (any more).
    async fn update(&self, key: Key, change: LinkChange) -> Result<Option<Link>, StoreError>;

    /// Erases a live link and leaves its tombstone; `None` when there is none (any more).
    async fn delete(&self, key: Key) -> Result<Option<Link>, StoreError>;

    /// Counts visits of limited links in one transaction; answers one outcome for each, in order.
    async fn count_visits(&self, keys: Vec<Key>) -> Result<Vec<VisitOutcome>, StoreError>;

    /// Forgets idempotency keys older than a moment, some at a time; answers how many. 0 means that none are left.
    async fn forget_idempotency_before(&self, moment: UnixMs) -> Result<u64, StoreError>;

    /// Whether the store answers at all.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// The identity of a lane's id source and how far it has got: the database's own memory of what was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneMark {
    /// Identity of the source (a cluster id).
    pub source: String,
    /// One past the highest counter ever drawn.
    pub mark: u64,
}

/// Keeps what makes two sources, or two code keys, impossible to mix.
#[async_trait]
pub trait FenceStore: Send + Sync + std::fmt::Debug + 'static {
    /// Makes `fingerprint` the database's code key unless it has one; answers the one it has.
    async fn claim_code_key(&self, fingerprint: &str) -> Result<String, StoreError>;

    /// The lane's source and mark, if anybody has claimed it.
    async fn find_lane(&self, lane: Lane) -> Result<Option<LaneMark>, StoreError>;

    /// Makes `source` the lane's source unless it has one; answers the one it has and its mark.
    async fn claim_lane(&self, lane: Lane, source: &str) -> Result<LaneMark, StoreError>;

    /// Puts `source` in the place of the lane's source, keeping the mark: the documented repair.
    async fn replace_lane_source(&self, lane: Lane, source: &str) -> Result<(), StoreError>;

    /// Raises the lane's mark, before any id below it is served; false when the lane has another source.
    async fn raise_mark(&self, lane: Lane, source: &str, mark: u64) -> Result<bool, StoreError>;
}
