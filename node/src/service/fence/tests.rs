//! Claims of lanes, over a real database.

use std::sync::Arc;

use async_trait::async_trait;
use stint_idgen::allocator::IdOrigin;
use tempfile::TempDir;

use super::*;
use crate::ports::coordination::{AuditStream, ClusterStatus, MemberChange, MemberError};
use crate::storage::sqlite::SqliteStore;

/// A group of allocators that is asked for nothing but who it is.
#[derive(Debug)]
struct Group(&'static str);

#[async_trait]
impl Allocator for Group {
    /// None has answered yet.
    fn cluster_id(&self) -> Option<Arc<str>> {
        None
    }

    async fn status(&self) -> Result<ClusterStatus, CoordinationError> {
        if self.0.is_empty() {
            return Err(CoordinationError::Unavailable { source: "away".into() });
        }
        Ok(ClusterStatus { cluster_id: self.0.to_owned(), ..ClusterStatus::default() })
    }

    async fn submit(&self, _: Command) -> Result<Reply, CoordinationError> {
        unreachable!("nothing is asked for")
    }

    async fn find_origin(&self, _: &NamespaceName, _: u64) -> Result<Option<IdOrigin>, CoordinationError> {
        unreachable!("nothing is looked for")
    }

    async fn audit(&self, _: Option<u64>, _: bool) -> Result<AuditStream, CoordinationError> {
        unreachable!("nothing is read")
    }

    async fn change_members(&self, _: MemberChange) -> Result<(), MemberError> {
        unreachable!("nothing is changed")
    }
}

async fn database() -> (SqliteStore, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (SqliteStore::open(&dir.path().join("links.db")).await.unwrap(), dir)
}

#[tokio::test]
async fn a_lane_of_blocks_belongs_to_its_source_and_is_refused_to_it_otherwise() {
    let (store, _dir) = database().await;
    for _ in 0..2 {
        claim_block_lane(&store, Lane::Redis).await.unwrap();
        claim_block_lane(&store, Lane::Postgres).await.unwrap();
    }
    assert_eq!(store.find_lane(Lane::Redis).await.unwrap().unwrap().source, "redis");
    assert_eq!(store.find_lane(Lane::Postgres).await.unwrap().unwrap().source, "postgres");
    store.replace_lane_source(Lane::Redis, "valkey").await.unwrap();
    let refused = claim_block_lane(&store, Lane::Redis).await.unwrap_err();
    let line = refused.to_string();
    assert!(matches!(refused, FenceError::OtherBlockSource { lane: 1, .. }), "{refused:?}");
    assert!(["lane 1", "\"valkey\"", "\"redis\"", "ids.source"].iter().all(|word| line.contains(word)), "{line}");
    assert!(!line.contains('\n'));
}

#[tokio::test]
async fn snowflake_keys_of_one_database_come_from_one_group_of_allocators() {
    let (store, _dir) = database().await;
    for _ in 0..2 {
        check_workers(&Group("one"), &store, false).await.unwrap();
    }
    let refused = check_workers(&Group("two"), &store, false).await.unwrap_err();
    let line = refused.to_string();
    assert!(matches!(refused, FenceError::OtherWorkers { .. }), "{refused:?}");
    assert!(["allocator one", "two", "--repair-ids", "an hour"].iter().all(|word| line.contains(word)), "{line}");
    check_workers(&Group("two"), &store, true).await.unwrap();
    check_workers(&Group("two"), &store, false).await.unwrap();
    assert!(check_workers(&Group("one"), &store, false).await.is_err(), "the first one is the other one now");
}

#[tokio::test]
async fn a_group_that_is_away_claims_nothing() {
    let (store, _dir) = database().await;
    let away = check_workers(&Group(""), &store, false).await.unwrap_err();
    assert!(matches!(away, FenceError::Allocator(_)), "{away:?}");
    assert_eq!(store.find_lane(Lane::Reserved).await.unwrap(), None);
}
