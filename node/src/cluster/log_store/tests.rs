//! The log: openraft's conformance suite, durability, torn writes and damaged files.

use std::sync::Arc;
use std::time::Duration;

use openraft::storage::{RaftLogStorageExt, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use openraft::{EntryPayload, RaftSnapshotBuilder, StorageError};
use stint_idgen::allocator::Stamped;

use super::super::state_machine::StateMachine;
use super::super::testing::{CountingEntropy, TestClock, TestDisk, create_links};
use super::super::types::{Proposal, log_id};
use super::*;

fn open_in(dir: &Path) -> Result<OpenLog, StoreError> {
    LogStore::open(dir, 1, TestClock::new(), &CountingEntropy::default())
}

fn open_on(disk: &TestDisk) -> OpenLog {
    LogStore::open_on(disk.clone(), 1, TestClock::new(), &CountingEntropy::default()).unwrap()
}

fn entry(term: u64, index: u64) -> Entry {
    let stamped = Stamped { at_ms: index, command: create_links() };
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(Proposal(Arc::new(vec![stamped]))) }
}

async fn indexes(store: &mut LogStore) -> Vec<u64> {
    let entries = store.get_log_reader().await.try_get_log_entries(..).await.unwrap();
    entries.iter().map(|entry| entry.log_id.index).collect()
}

/// An error and everything beneath it, as the command line shows it.
fn line(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, OpenLog> for Builder {
    async fn build(&self) -> Result<(OpenLog, LogStore, StateMachine), StorageError<TypeConfig>> {
        let open = open_on(&TestDisk::default());
        let store = open.store.clone();
        let state = StateMachine::restore(Arc::new(store.clone())).unwrap();
        Ok((open, store, state))
    }
}

// The suite sleeps for seconds on tokio's clock, which skips over idle time here.
#[tokio::test(start_paused = true)]
async fn the_store_passes_the_conformance_suite_of_openraft() {
    Suite::test_all(Builder).await.unwrap();
}

#[tokio::test]
async fn what_was_written_is_there_after_a_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let open = open_in(dir.path()).unwrap();
    let identity = open.identity.clone();
    let mut store = open.store.clone();
    store.save_vote(&Vote::new_committed(3, 1)).await.unwrap();
    store.blocking_append((1..=20).map(|index| entry(3, index))).await.unwrap();
    store.save_committed(Some(log_id(3, 12))).await.unwrap();
    store.truncate_after(Some(log_id(3, 15))).await.unwrap();
    store.purge(log_id(3, 10)).await.unwrap();
    open.disk.close().await;

    let open = open_in(dir.path()).unwrap();
    let mut store = open.store.clone();
    assert_eq!(open.identity, identity);
    assert_eq!(store.get_log_reader().await.read_vote().await.unwrap(), Some(Vote::new_committed(3, 1)));
    assert_eq!(store.read_committed().await.unwrap(), Some(log_id(3, 12)));
    assert_eq!(indexes(&mut store).await, [11, 12, 13, 14, 15]);
    let state = store.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(3, 10)), Some(log_id(3, 15))));
    open.disk.close().await;
}

#[tokio::test]
async fn a_snapshot_and_its_state_are_there_after_a_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let open = open_in(dir.path()).unwrap();
    let mut state = StateMachine::restore(Arc::new(open.store.clone())).unwrap();
    let entries = futures_util::stream::iter((1..=3).map(|index| Ok((entry(1, index), None))));
    state.apply(entries).await.unwrap();
    let snapshot = state.get_snapshot_builder().await.build_snapshot().await.unwrap();
    let before = state.read(|replica| replica.state.clone());
    open.disk.close().await;

    let open = open_in(dir.path()).unwrap();
    let mut state = StateMachine::restore(Arc::new(open.store.clone())).unwrap();
    assert_eq!(state.read(|replica| replica.state.clone()), before);
    assert_eq!(state.applied_state().await.unwrap().0, Some(log_id(1, 3)));
    assert_eq!(state.get_current_snapshot().await.unwrap().unwrap().meta, snapshot.meta);
    open.disk.close().await;
}

#[tokio::test]
async fn an_append_is_told_only_after_it_would_survive_a_crash() {
    let disk = TestDisk::default();
    let open = open_on(&disk);
    let mut store = open.store.clone();
    disk.hold(true);
    let (told, flushed) = TypeConfig::oneshot();
    store.append([entry(1, 0)], IoFlushed::signal(told)).await.unwrap();
    // Readable at once, though it is not on disk.
    assert_eq!(indexes(&mut store).await, [0]);
    let early = tokio::time::timeout(Duration::from_millis(50), flushed);
    assert!(early.await.is_err(), "the callback fired before the disk was synced");
    disk.hold(false);

    for index in 1..20 {
        let (told, flushed) = TypeConfig::oneshot();
        store.append([entry(1, index)], IoFlushed::signal(told)).await.unwrap();
        flushed.await.unwrap().unwrap();
        let crashed = open_on(&disk.after_crash());
        assert_eq!(indexes(&mut crashed.store.clone()).await.last(), Some(&index));
        crashed.disk.close().await;
    }
    open.disk.close().await;
}

#[tokio::test]
async fn a_crash_that_tears_a_transaction_apart_loses_nothing_that_was_told() {
    let disk = TestDisk::default();
    let open = open_on(&disk);
    let mut store = open.store.clone();
    store.blocking_append((0..10).map(|index| entry(1, index))).await.unwrap();
    disk.hold(true);
    store.append((10..60).map(|index| entry(1, index)), IoFlushed::noop()).await.unwrap();
    let torn = async {
        while disk.torn_writes() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), torn)
        .await
        .expect("a transaction of several writes waits for its sync");
    for survivors in (0..256).chain([u64::MAX, u64::MAX << 1, u64::MAX << 32]) {
        let crashed = open_on(&disk.after_torn_crash(survivors));
        let found = indexes(&mut crashed.store.clone()).await.len();
        assert!(found == 10 || found == 60, "{found} entries with survivors {survivors:b}");
        crashed.disk.close().await;
    }
    disk.hold(false);
    open.disk.close().await;
}

#[tokio::test]
async fn a_vote_is_told_only_after_it_would_survive_a_crash() {
    let disk = TestDisk::default();
    let open = open_on(&disk);
    for term in 1..20 {
        let vote = Vote::new(term, 1);
        open.store.clone().save_vote(&vote).await.unwrap();
        let crashed = open_on(&disk.after_crash());
        assert_eq!(crashed.store.clone().get_log_reader().await.read_vote().await.unwrap(), Some(vote));
        crashed.disk.close().await;
    }
    open.disk.close().await;
}

#[tokio::test]
async fn appends_that_wait_together_share_one_sync() {
    let disk = TestDisk::default();
    let open = open_on(&disk);
    let mut store = open.store.clone();
    let before = (disk.syncs(), store.shared.health.stats().commits);
    disk.hold(true);
    let mut waiting = Vec::new();
    for index in 0..100 {
        let (told, flushed) = TypeConfig::oneshot();
        store.append([entry(1, index)], IoFlushed::signal(told)).await.unwrap();
        waiting.push(flushed);
    }
    disk.hold(false);
    for flushed in waiting {
        flushed.await.unwrap().unwrap();
    }
    let stats = store.shared.health.stats();
    assert_eq!(stats.entries, 100);
    // The first is on its way alone; what came meanwhile goes together.
    assert!(stats.commits - before.1 <= 2, "{} commits", stats.commits - before.1);
    assert!(disk.syncs() - before.0 <= 4, "{} syncs", disk.syncs() - before.0);
    open.disk.close().await;
}

#[tokio::test]
async fn after_a_failed_write_every_write_fails_and_says_why() {
    let disk = TestDisk::default();
    let open = open_on(&disk);
    let mut store = open.store.clone();
    disk.fail();
    let failed = store.save_vote(&Vote::new(1, 1)).await.unwrap_err();
    assert!(failed.to_string().contains("no space left"), "{failed}");
    let later = store.save_vote(&Vote::new(2, 1)).await.unwrap_err();
    assert!(later.to_string().contains("no space left"), "{later}");
    assert!(store.append([entry(1, 0)], IoFlushed::noop()).await.is_err());
    assert!(store.shared.health.failure().is_some());
    open.disk.close().await;
}

#[tokio::test]
async fn a_second_opener_is_refused_in_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let open = open_in(dir.path()).unwrap();
    let refused = open_in(dir.path()).unwrap_err();
    let expected = format!("the data directory {} is in use by another process", dir.path().display());
    assert_eq!(line(&refused), expected);
    open.disk.close().await;
    open_in(dir.path()).unwrap().disk.close().await;
}

#[tokio::test]
async fn a_directory_of_another_node_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    open_in(dir.path()).unwrap().disk.close().await;
    let refused = LogStore::open(dir.path(), 2, TestClock::new(), &CountingEntropy::default()).unwrap_err();
    assert!(matches!(refused, StoreError::OtherNode { found: 1, asked: 2, .. }), "{refused:?}");
}

#[tokio::test]
async fn the_directory_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/b");
    open_in(&dir).unwrap().disk.close().await;
    assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_newer_layout_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    open_in(dir.path()).unwrap().disk.close().await;
    let path = dir.path().join("raft.redb");
    disk::testing::put(&path, "layout", &[9]);
    let refused = open_in(dir.path()).unwrap_err();
    assert!(matches!(refused, StoreError::Newer { found: 9, .. }), "{refused:?}");
    assert!(refused.to_string().contains("written by a newer version of stint"), "{refused}");

    disk::testing::put(&path, "layout", &[1]);
    disk::testing::put(&path, "vote", &[7, 1, 1, 1]);
    let refused = open_in(dir.path()).unwrap_err();
    assert!(matches!(refused, StoreError::Newer { found: 7, .. }), "{refused:?}");
}

#[tokio::test]
async fn a_damaged_file_is_refused_in_words_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let open = open_in(dir.path()).unwrap();
    open.store.clone().blocking_append((0..200).map(|index| entry(1, index))).await.unwrap();
    open.disk.close().await;
    let path = dir.path().join("raft.redb");
    let whole = std::fs::read(&path).unwrap();

    let mut damaged: Vec<(String, Vec<u8>)> = [0, 1, 100, 4_096, whole.len() / 2, whole.len() - 4_096]
        .into_iter()
        .map(|length| (format!("cut to {length} bytes"), whole[..length].to_vec()))
        .collect();
    damaged.push(("noise".to_owned(), vec![0xa5; whole.len()]));
    let mut flipped = whole.clone();
    let entries = flipped.windows(5).enumerate().filter(|(_, word)| word == b"links").map(|(at, _)| at);
    entries.collect::<Vec<_>>().into_iter().for_each(|at| flipped[at] ^= 1);
    damaged.push(("a bit flipped in the entries".to_owned(), flipped));
    for (how, bytes) in damaged {
        std::fs::write(&path, &bytes).unwrap();
        let refused = open_in(dir.path()).expect_err(&how);
        assert!(matches!(refused, StoreError::Damaged { .. }), "{how}: {refused:?}");
        assert!(line(&refused).starts_with(&format!("the log in {} is damaged", dir.path().display())), "{how}");
    }
    std::fs::write(&path, &whole).unwrap();
    open_in(dir.path()).unwrap().disk.close().await;
}
