//! The replica: applying, answering and snapshots.

use openraft::EntryPayload;
use stint_idgen::allocator::{Command, Stamped};

use super::super::testing::{create_links, grant, links};
use super::super::types::{Proposal, log_id};
use super::*;

/// Snapshots in memory.
#[derive(Debug, Default)]
struct Kept(Mutex<Option<(SnapshotMeta, Vec<u8>)>>);

impl SnapshotStore for Kept {
    fn load(&self) -> io::Result<Option<(SnapshotMeta, Vec<u8>)>> {
        Ok(self.0.lock().unwrap().clone())
    }

    fn save(&self, meta: &SnapshotMeta, state: Vec<u8>) -> BoxFuture<'static, io::Result<()>> {
        *self.0.lock().unwrap() = Some((meta.clone(), state));
        Box::pin(async { Ok(()) })
    }
}

fn replica() -> StateMachine {
    StateMachine::restore(Arc::new(Kept::default())).unwrap()
}

async fn apply(state: &mut StateMachine, index: u64, command: Command) {
    let payload = EntryPayload::Normal(Proposal(Arc::new(vec![Stamped { at_ms: 1_000 + index, command }])));
    let entry = Entry { log_id: log_id(1, index), payload };
    state.apply(futures_util::stream::iter([Ok((entry, None))])).await.unwrap();
}

#[tokio::test]
async fn a_member_restored_from_a_snapshot_goes_on_like_the_one_it_was_taken_from() {
    let mut first = replica();
    apply(&mut first, 1, create_links()).await;
    apply(&mut first, 2, grant(7, 1)).await;
    let snapshot = first.get_snapshot_builder().await.build_snapshot().await.unwrap();
    let mut second = replica();
    second.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    for state in [&mut first, &mut second] {
        // A retry of what the snapshot holds, and something new.
        apply(state, 3, grant(7, 1)).await;
        apply(state, 4, grant(8, 1)).await;
    }
    let read = |state: &StateMachine| state.read(|replica| (replica.state.clone(), replica.last_applied));
    assert_eq!(read(&first), read(&second));
    assert_eq!(first.read(|replica| replica.state.floor(&links())), Some(21));
}

#[tokio::test]
async fn a_snapshot_of_a_newer_version_is_refused_and_changes_nothing() {
    let mut state = replica();
    apply(&mut state, 1, create_links()).await;
    let before = state.read(|replica| replica.state.clone());
    let snapshot = state.get_snapshot_builder().await.build_snapshot().await.unwrap();
    let mut newer = snapshot.snapshot.clone();
    newer[0] = 200;
    let refused = state.install_snapshot(&snapshot.meta, newer).await.unwrap_err();
    assert!(refused.to_string().contains("200"), "{refused}");
    assert_eq!(state.read(|replica| replica.state.clone()), before);
    assert_eq!(state.get_current_snapshot().await.unwrap().unwrap().snapshot, snapshot.snapshot);
}

#[tokio::test]
async fn applying_takes_time_from_the_entry_alone() {
    let mut state = replica();
    apply(&mut state, 1, create_links()).await;
    assert_eq!(state.read(|replica| replica.state.clock_ms()), 1_001);
    let mut other = replica();
    apply(&mut other, 1, create_links()).await;
    assert_eq!(state.read(|replica| replica.state.encode()), other.read(|replica| replica.state.encode()));
}
