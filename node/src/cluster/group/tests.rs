//! A group of one: opening, committing, failing disks, clocks and snapshots.

use std::collections::BTreeSet;
use std::path::Path;

use tokio::task::JoinSet;

use super::super::log_store::testing::put;
use super::super::testing::{CountingEntropy, TestClock, TestDisk, create_links, grant, granted, links};
use super::*;

fn options(clock: &Arc<TestClock>) -> GroupOptions {
    let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(clock);
    GroupOptions::new(clock, Arc::new(CountingEntropy::default()))
}

async fn open_in(dir: &Path) -> Arc<Group> {
    Arc::new(Group::open_alone(dir, 1, options(&TestClock::new())).await.unwrap())
}

async fn open_on(disk: &TestDisk, clock: &Arc<TestClock>, change: impl FnOnce(&mut GroupOptions)) -> Arc<Group> {
    let mut options = options(clock);
    change(&mut options);
    let log = LogStore::open_on(disk.clone(), 1, Arc::clone(&options.clock), &CountingEntropy::default()).unwrap();
    Arc::new(Group::run_alone(log.into(), options).await.unwrap())
}

/// `count` grants asked for at once, each by a holder of its own.
async fn grants(group: &Arc<Group>, holders: std::ops::Range<u128>) -> Vec<(u64, u64)> {
    let mut asking = JoinSet::new();
    for holder in holders {
        let group = Arc::clone(group);
        asking.spawn(async move { granted(group.submit(grant(holder, 1)).await.unwrap()).range });
    }
    asking.join_all().await.into_iter().map(|range| (range.start(), range.end())).collect()
}

#[tokio::test]
async fn an_empty_directory_becomes_a_group_of_one_that_grants() {
    let dir = tempfile::tempdir().unwrap();
    let group = open_in(dir.path()).await;
    group.submit(create_links()).await.unwrap();
    let first = granted(group.submit(grant(1, 1)).await.unwrap());
    let again = granted(group.submit(grant(1, 1)).await.unwrap());
    let second = granted(group.submit(grant(1, 2)).await.unwrap());
    assert_eq!((first.range.start(), first.range.end()), (1, 11));
    assert_eq!(again, first);
    assert_eq!(second.range.start(), 11);

    let status = group.status().await.unwrap();
    assert_eq!(status.cluster_id.len(), 32);
    assert_eq!((status.leader, &status.voters[..]), (Some(1), &[1][..]));
    assert_eq!(status.namespaces[0].floor, 21);
    assert_eq!(group.floor(&links()), Some(21));
    group.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_grants_retries_and_identity_and_begins_a_new_term() {
    let dir = tempfile::tempdir().unwrap();
    let group = open_in(dir.path()).await;
    group.submit(create_links()).await.unwrap();
    let first = granted(group.submit(grant(1, 1)).await.unwrap());
    let before = group.status().await.unwrap();
    group.stop().await;
    assert!(matches!(group.submit(grant(1, 2)).await, Err(CoordinationError::Unavailable { .. })));

    let group = open_in(dir.path()).await;
    assert_eq!(granted(group.submit(grant(1, 1)).await.unwrap()), first);
    let status = group.status().await.unwrap();
    assert_eq!(status.cluster_id, before.cluster_id);
    assert!(status.term > before.term);
    group.stop().await;
}

#[tokio::test]
async fn a_crash_at_any_moment_loses_no_acknowledged_grant_and_repeats_none() {
    let disk = TestDisk::default();
    let clock = TestClock::new();
    let small = |options: &mut GroupOptions| (options.snapshot_every, options.entries_kept) = (20, 5);
    let mut group = open_on(&disk, &clock, small).await;
    group.submit(create_links()).await.unwrap();
    let (mut disk, mut issued) = (disk, BTreeSet::new());
    for round in 0..6 {
        let given = grants(&group, round * 40..(round + 1) * 40).await;
        assert!(given.into_iter().all(|range| issued.insert(range)), "a range was granted twice");
        // The old group lives on, on the disk that the crash left behind.
        disk = disk.after_crash();
        group = open_on(&disk, &clock, small).await;
        let retried = grants(&group, round * 40..(round + 1) * 40).await;
        assert!(retried.into_iter().all(|range| issued.contains(&range)), "a retry got another range");
    }
    let disjoint = issued.iter().zip(issued.iter().skip(1)).all(|(a, b)| a.1 <= b.0);
    assert!(disjoint, "{issued:?}");
    assert_eq!(issued.len(), 240);
    // Snapshots were taken and the log cut, so that the restarts above went through both.
    assert!(group.raft.metrics().borrow_watched().purged.is_some());
    group.stop().await;
}

#[tokio::test]
async fn parallel_commands_share_fsyncs() {
    let dir = tempfile::tempdir().unwrap();
    let group = open_in(dir.path()).await;
    group.submit(create_links()).await.unwrap();
    let before = group.writer_stats();
    let given: BTreeSet<_> = grants(&group, 0..1_000).await.into_iter().collect();
    let after = group.writer_stats();
    assert_eq!(given.len(), 1_000);
    assert!(after.entries - before.entries <= 100, "{} entries", after.entries - before.entries);
    assert!(after.commits - before.commits <= 100, "{} commits", after.commits - before.commits);
    group.stop().await;
}

#[tokio::test]
async fn a_failing_disk_is_unavailable_and_the_member_says_that_it_failed() {
    let disk = TestDisk::default();
    let group = open_on(&disk, &TestClock::new(), |_| {}).await;
    group.submit(create_links()).await.unwrap();
    disk.fail();
    let first = group.submit(grant(1, 1)).await.unwrap_err();
    assert!(matches!(first, CoordinationError::OutcomeUnknown { .. }), "{first:?}");
    let later = group.submit(grant(1, 2)).await.unwrap_err();
    assert!(matches!(later, CoordinationError::Unavailable { .. }), "{later:?}");
    assert!(group.failed().await.contains("no space left"));
    group.stop().await;

    // With space again it goes on where it was, and the retry finds what became of the grant.
    let group = open_on(&disk.after_crash(), &TestClock::new(), |_| {}).await;
    assert_eq!(granted(group.submit(grant(1, 1)).await.unwrap()).range.start(), 1);
    group.stop().await;
}

#[tokio::test]
async fn a_disk_that_hangs_is_an_error_within_the_deadline_then_refused_at_once() {
    let disk = TestDisk::default();
    let short = |options: &mut GroupOptions| options.submit_timeout = Duration::from_millis(1_100);
    let group = open_on(&disk, &TestClock::new(), short).await;
    group.submit(create_links()).await.unwrap();
    disk.hold(true);
    let first = group.submit(grant(1, 1)).await.unwrap_err();
    assert!(matches!(first, CoordinationError::OutcomeUnknown { .. }), "{first:?}");
    let second = tokio::time::timeout(Duration::from_millis(100), group.submit(grant(1, 2))).await.unwrap();
    assert!(matches!(second, Err(CoordinationError::Unavailable { .. })), "{second:?}");
    disk.hold(false);
    // The retry finds what became of the first, whichever it was.
    let retried = loop {
        if let Ok(reply) = group.submit(grant(1, 1)).await {
            break granted(reply);
        }
    };
    assert_eq!(retried.range.start(), 1);
    group.stop().await;
}

#[tokio::test]
async fn a_snapshot_of_a_newer_version_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    open_in(dir.path()).await.stop().await;
    put(&dir.path().join("raft.redb"), "snapshot", &[7, 0, 0]);
    let refused = Group::open_alone(dir.path(), 1, options(&TestClock::new())).await.unwrap_err();
    let OpenError::Snapshot(source) = &refused else { panic!("{refused:?}") };
    assert!(source.to_string().contains("format 7, written by a newer version of stint"), "{source}");
}

#[tokio::test]
async fn of_a_jump_of_the_wall_clock_only_the_drift_is_stamped_until_a_new_term() {
    let disk = TestDisk::default();
    let clock = TestClock::new();
    let group = open_on(&disk, &clock, |_| {}).await;
    group.submit(create_links()).await.unwrap();
    let stamp = |reply| granted(reply).granted_at_ms;
    let before = stamp(group.submit(grant(1, 1)).await.unwrap());
    clock.advance_wall(3_600_000);
    let after = stamp(group.submit(grant(1, 2)).await.unwrap());
    assert!((before..before + 60_000).contains(&after), "{before} was followed by {after}");
    let group = open_on(&disk.after_crash(), &clock, |_| {}).await;
    assert!(stamp(group.submit(grant(1, 3)).await.unwrap()) >= before + 3_600_000);
    group.stop().await;
}

#[tokio::test]
async fn a_second_start_grants_within_a_tenth_of_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let group = open_in(dir.path()).await;
    group.submit(create_links()).await.unwrap();
    grants(&group, 0..500).await;
    group.stop().await;
    let began = tokio::time::Instant::now();
    let group = open_in(dir.path()).await;
    granted(group.submit(grant(1_000, 1)).await.unwrap());
    let took = began.elapsed();
    println!("second start: first commit after {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    group.stop().await;
}
