//! The register of timelines over a real group of one.

use std::sync::Arc;

use super::super::group::{Group, GroupOptions};
use super::super::testing::{CountingEntropy, TestClock};
use super::*;

#[tokio::test]
async fn the_register_answers_the_highest_timeline_and_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let open =
        || Group::open_alone(dir.path(), 1, GroupOptions::new(TestClock::new(), Arc::new(CountingEntropy::default())));
    let group: Arc<dyn Allocator> = Arc::new(open().await.unwrap());
    let register: Arc<dyn TimelineRegister> = Arc::new(group);
    let mut answers = Vec::new();
    for timeline in [3, 1, 4] {
        answers.push(register.raise(timeline).await.unwrap());
    }
    assert_eq!(answers, [3, 3, 4]);
}
