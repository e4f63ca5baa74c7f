//! The queue of commands: who shares an entry, and what those learn who give up.

use std::collections::BTreeSet;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::super::log_store::LogStore;
use super::super::super::testing::{CountingEntropy, TestClock, TestDisk, create_links, grant, granted, links};
use super::super::Group;
use super::*;
use crate::ports::coordination::{Allocator, CoordinationError};

async fn group_on(disk: &TestDisk, submit_timeout: Duration) -> Arc<Group> {
    let clock: Arc<dyn Clock> = TestClock::new();
    let mut options = GroupOptions::new(Arc::clone(&clock), Arc::new(CountingEntropy::default()));
    options.submit_timeout = submit_timeout;
    let log = LogStore::open_on(disk.clone(), 1, clock, &CountingEntropy::default()).unwrap();
    let group = Arc::new(Group::run_alone(log.into(), options).await.unwrap());
    group.submit(create_links()).await.unwrap();
    group
}

/// Asks for a grant for `holder`; done once the command is in the queue, or in an entry.
fn ask(asking: &mut JoinSet<Result<Reply, CoordinationError>>, group: &Arc<Group>, holder: u128) {
    let group = Arc::clone(group);
    asking.spawn(async move { group.submit(grant(holder, 1)).await });
}

/// Waits until an entry is under way and `waiting` commands wait for the next.
async fn queued(group: &Group, waiting: usize) {
    let there = async {
        loop {
            {
                let queue = group.proposer.queue();
                if (queue.flying, queue.waiting.len()) == (true, waiting) {
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), there).await.expect("the queue fills");
}

/// A group whose disk is held while an entry is under way, that of holder 1.
async fn busy(disk: &TestDisk, timeout: Duration) -> (Arc<Group>, JoinSet<Result<Reply, CoordinationError>>) {
    let (group, mut asking) = (group_on(disk, timeout).await, JoinSet::new());
    disk.hold(true);
    ask(&mut asking, &group, 1);
    queued(&group, 0).await;
    (group, asking)
}

#[tokio::test]
async fn commands_that_wait_go_into_one_entry_and_each_gets_its_own_reply() {
    let disk = TestDisk::default();
    let (group, mut asking) = busy(&disk, Duration::from_secs(30)).await;
    (2..=101).for_each(|holder| ask(&mut asking, &group, holder));
    queued(&group, 100).await;
    let before = group.state().read(|replica| replica.last_applied.unwrap().index);
    disk.hold(false);
    let given: BTreeSet<_> =
        asking.join_all().await.into_iter().map(|reply| granted(reply.unwrap()).range.start()).collect();
    assert_eq!(given, (0..101).map(|place| 1 + place * 10).collect());
    let after = group.state().read(|replica| replica.last_applied.unwrap().index);
    assert_eq!(after - before, 2, "one entry was under way, and the next took all that waited");
    let commands = group.audit(Some(before * MAX_COMMANDS as u64 + 1_023), false).await.unwrap();
    let indexes: Vec<_> = futures_util::TryStreamExt::try_collect::<Vec<_>>(commands).await.unwrap();
    assert!(indexes.is_sorted_by(|a, b| a.index < b.index), "each command has a place of its own in the audit");
    assert_eq!(indexes.len(), 101);
    group.stop().await;
}

#[tokio::test]
async fn who_gives_up_in_the_queue_was_never_proposed_and_is_told_so() {
    let disk = TestDisk::default();
    let (group, mut asking) = busy(&disk, Duration::from_secs(30)).await;
    // No time at all: it gives up as soon as it is in the queue.
    let second = group.attempt(grant(2, 1), Instant::now()).await.unwrap_err();
    assert!(matches!(second, Attempt::Refused(ProposalError::Deadline(_))), "{second:?}");
    disk.hold(false);
    asking.join_next().await.unwrap().unwrap().unwrap();
    let third = granted(group.submit(grant(3, 1)).await.unwrap());
    assert_eq!(third.range.start(), 11, "holder 1 was granted its range, holder 2 was not");
    assert_eq!(group.floor(&links()), Some(21));
    group.stop().await;
}

#[tokio::test]
async fn an_entry_that_takes_too_long_is_answered_unknown_and_holds_nobody_up() {
    let disk = TestDisk::default();
    let (group, mut asking) = busy(&disk, Duration::from_secs(1)).await;
    let first = asking.join_next().await.unwrap().unwrap().unwrap_err();
    assert!(matches!(first, CoordinationError::OutcomeUnknown { .. }), "{first:?}");
    disk.hold(false);
    let second = loop {
        if let Ok(reply) = group.submit(grant(2, 1)).await {
            break granted(reply);
        }
    };
    assert_eq!(second.range.start(), 11, "holder 1 was granted its range in the end");
    group.stop().await;
}

#[tokio::test]
async fn an_entry_takes_no_more_bytes_than_one_command_of_the_largest_size() {
    let (answer, _kept) = oneshot::channel();
    let mut queue = Queue::default();
    queue.waiting.push_back(Waiting { ticket: 0, command: create_links(), bytes: MAX_BYTES, answer });
    for ticket in 1..=3_000 {
        let bytes = if ticket < 100 { MAX_BYTES / 10 } else { 1 };
        let (answer, _) = oneshot::channel();
        queue.waiting.push_back(Waiting { ticket, command: create_links(), bytes, answer });
    }
    let sizes: Vec<_> = std::iter::from_fn(|| queue.take()).map(|taken| taken.len()).collect();
    assert_eq!(sizes[..3], [1, 10, 10]);
    assert!(sizes[3..].iter().all(|&size| size <= MAX_COMMANDS), "{sizes:?}");
    assert_eq!((sizes.iter().sum::<usize>(), queue.flying), (3_001, false));
}
