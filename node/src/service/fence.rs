//! What a node checks before it issues anything: that the database knows this code key and this id source.
//!
//! **Invariant: two sources never issue one key.** A database remembers who issued its keys and how far they got; a
//! source with another identity, or one that has forgotten grants, refuses to start. Guarded by `node/tests/it/fences.rs`.

#[cfg(test)]
mod tests;

use stint_idgen::allocator::{Command, NamespaceName, NamespaceSpec, Refusal, Reply};
use stint_idgen::{CodeKey, Lane};

use crate::ports::block_store::{POSTGRES_SOURCE, REDIS_SOURCE};
use crate::ports::coordination::{Allocator, CoordinationError};
use crate::ports::link_store::{FenceStore, LaneMark, StoreError};

/// How far above the database's mark a repaired allocator goes on: 2^28 keys, more than a database that was restored can
/// have missed in a month at a hundred links a second. A lane has three thousand times as many of 7 characters alone.
const REPAIR_JUMP: u64 = 1 << 28;

/// Why the node must not start.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// The codes of this database were made with another key.
    #[error(
        "the code key has the fingerprint {given}, but this database's codes were made with {stored}; \
         start with the key that was used first (it can't be changed: every code depends on it)"
    )]
    OtherCodeKey {
        /// The fingerprint of the key that was given.
        given: String,
        /// The fingerprint that the database holds.
        stored: String,
    },
    /// The ids of this database were issued by another allocator.
    #[error(
        "this database's keys were issued by the allocator {stored}, but this one is {given}; restore the data of the \
         first one, or let this one go on above the highest key ({mark}) by starting once with --repair-ids; this \
         covers links only: ids of other namespaces may repeat if their allocator's data was lost, so make new namespaces"
    )]
    OtherSource {
        /// The allocator at hand.
        given: String,
        /// The allocator that the database knows.
        stored: String,
        /// One past the highest counter that was issued.
        mark: u64,
    },
    /// The allocator has forgotten grants: its data is older than the database.
    #[error(
        "the allocator has granted ids up to {floor} only, but this database has keys up to {mark}: its data was \
         restored from an older copy; let it go on above the highest key by starting once with --repair-ids; this \
         covers links only: ids of other namespaces may repeat if their allocator's data was lost, so make new namespaces"
    )]
    Forgotten {
        /// How far the allocator has granted.
        floor: u64,
        /// One past the highest counter that was issued.
        mark: u64,
    },
    /// The database has forgotten everything: it is another one, or new.
    #[error(
        "the database has no record of the keys this allocator issued (up to {floor}): stint.db was lost or replaced; \
         restore it, or start once with --repair-ids to go on with an empty database, above those keys"
    )]
    LostDatabase {
        /// How far the allocator has granted.
        floor: u64,
    },
    /// The lane's blocks are counted by something else.
    #[error(
        "the database's lane {lane} belongs to the id source {stored:?} (up to {mark}), not to {given:?}: this database \
         was used by another version or product; use an id source whose lane is free (ids.source), or another database"
    )]
    OtherBlockSource {
        /// The lane's number.
        lane: u8,
        /// The source at hand.
        given: String,
        /// The source that the database knows.
        stored: String,
        /// One past the highest counter that was issued.
        mark: u64,
    },
    /// The Snowflake keys of this database were made under the worker leases of another group of allocators.
    #[error(
        "this database's Snowflake keys were made under worker ids leased by the allocator {stored}, but this one is \
         {given}: two groups lease the same worker ids at the same time; restore the data of the first one, or stop every \
         node that uses it, wait an hour (the longest lease), and start once with --repair-ids"
    )]
    OtherWorkers {
        /// The allocator at hand.
        given: String,
        /// The allocator that the database knows.
        stored: String,
    },
    /// The allocator doesn't do as it is asked.
    #[error("the allocator refused")]
    Refused(#[source] Refusal),
    /// The allocator can't be asked.
    #[error("the allocator gave no answer")]
    Allocator(#[from] CoordinationError),
    /// The database can't be asked.
    #[error("the database's fences can't be read")]
    Store(#[from] StoreError),
}

/// Makes `key` the database's code key, or checks that it is.
///
/// # Errors
/// [`FenceError::OtherCodeKey`], naming both fingerprints.
pub async fn check_code_key(fence: &dyn FenceStore, key: &CodeKey) -> Result<(), FenceError> {
    same_code_key(key, fence.claim_code_key(&key.fingerprint()).await?)
}

/// Checks that `key` is the one whose fingerprint the database holds.
///
/// # Errors
/// [`FenceError::OtherCodeKey`], naming both fingerprints.
pub fn same_code_key(key: &CodeKey, stored: String) -> Result<(), FenceError> {
    let given = key.fingerprint();
    if stored == given { Ok(()) } else { Err(FenceError::OtherCodeKey { given, stored }) }
}

/// Makes the namespace of links and checks that the database and the allocator agree on what was issued in the Raft
/// lane. With `repair`, makes them agree: the allocator goes on far above the database's mark, an empty database at the
/// allocator's floor.
///
/// # Errors
/// [`FenceError`], naming the repair.
///
/// # Panics
/// Never: what answered a command is known.
pub async fn check_raft_lane(
    allocator: &dyn Allocator,
    fence: &dyn FenceStore,
    links: NamespaceSpec,
    repair: bool,
) -> Result<(), FenceError> {
    submit(allocator, Command::CreateNamespace { name: NamespaceName::links(), spec: links }).await?;
    // Other nodes go on drawing meanwhile. A mark is raised after its block was granted, so what is read of the mark
    // first can't be above a floor that is read next; and the floor is read through the log, for a follower may be behind.
    let mark_before = fence.find_lane(Lane::Raft).await?.map_or(0, |lane| lane.mark);
    let raised =
        submit(allocator, Command::RaiseFloor { namespace: NamespaceName::links(), floor: links.start }).await?;
    let Reply::Floor(floor) = raised else { unreachable!("a floor is not answered with {raised:?}") };
    let cluster_id = allocator.cluster_id().expect("it is known once a command was answered");
    let given = &*cluster_id;
    // A database claims the lane before its allocator first grants in it: a mark of 0 below a floor is a start that was
    // killed between the grant and the mark, but no mark at all is another database. It isn't claimed when it is
    // refused, so that the next start refuses it as well.
    if floor > links.start && fence.find_lane(Lane::Raft).await?.is_none() {
        if !repair {
            return Err(FenceError::LostDatabase { floor });
        }
        fence.claim_lane(Lane::Raft, given).await?;
        fence.raise_mark(Lane::Raft, given, floor).await?;
        tracing::warn!(floor, "the database is new: it goes on above the keys that the allocator issued");
    }
    let known = fence.claim_lane(Lane::Raft, given).await?;
    let mark = known.mark;
    if known.source == given && floor >= mark_before {
        return Ok(());
    }
    if !repair {
        let given = given.to_owned();
        return Err(if known.source == given {
            FenceError::Forgotten { floor, mark }
        } else {
            FenceError::OtherSource { given, stored: known.source, mark }
        });
    }
    // A mark is raised before any id below it is served, so going on at the mark repeats nothing; but the database may
    // have been restored as well, and know nothing of the keys issued since its copy was made.
    let floor = mark.saturating_add(REPAIR_JUMP).min(Lane::CAPACITY);
    submit(allocator, Command::RaiseFloor { namespace: NamespaceName::links(), floor }).await?;
    fence.replace_lane_source(Lane::Raft, given).await?;
    tracing::warn!(
        mark,
        floor,
        old = known.source,
        new = given,
        "the id source was repaired: it goes on far above the database's mark"
    );
    Ok(())
}

/// Makes the source of blocks ([`REDIS_SOURCE`], [`POSTGRES_SOURCE`]) its lane's source, or checks that it is. Whether its
/// count is right needs no check: each block is fenced by itself.
///
/// # Errors
/// [`FenceError::OtherBlockSource`], naming both.
///
/// # Panics
/// If the lane is not one of blocks.
pub async fn claim_block_lane(fence: &dyn FenceStore, lane: Lane) -> Result<(), FenceError> {
    let given = match lane {
        Lane::Redis => REDIS_SOURCE,
        Lane::Postgres => POSTGRES_SOURCE,
        Lane::Raft | Lane::Reserved => panic!("{lane:?} is no lane of blocks"),
    };
    let LaneMark { source: stored, mark } = fence.claim_lane(lane, given).await?;
    if stored == given {
        return Ok(());
    }
    Err(FenceError::OtherBlockSource { lane: lane.number(), given: given.to_owned(), stored, mark })
}

/// Makes the group of allocators the one whose worker ids this database's Snowflake keys are made under, or checks that
/// it is. Those keys are negative and lie in no lane: the reserved lane's row holds the group's identity, its mark stays
/// 0. With `repair`, puts this group in the place of the one before.
///
/// # Errors
/// [`FenceError::OtherWorkers`], naming the repair; [`FenceError::Allocator`] if no allocator answers.
pub async fn check_workers(allocator: &dyn Allocator, fence: &dyn FenceStore, repair: bool) -> Result<(), FenceError> {
    let given = match allocator.cluster_id() {
        Some(known) => known.to_string(),
        None => allocator.status().await?.cluster_id,
    };
    let stored = fence.claim_lane(Lane::Reserved, &given).await?.source;
    if stored == given {
        return Ok(());
    }
    if !repair {
        return Err(FenceError::OtherWorkers { given, stored });
    }
    fence.replace_lane_source(Lane::Reserved, &given).await?;
    tracing::warn!(
        old = stored,
        new = given,
        "Snowflake keys are made under another allocator's worker ids from now on"
    );
    Ok(())
}

async fn submit(allocator: &dyn Allocator, command: Command) -> Result<Reply, FenceError> {
    match allocator.submit(command).await? {
        Reply::Refused(refusal) => Err(FenceError::Refused(refusal)),
        reply => Ok(reply),
    }
}
