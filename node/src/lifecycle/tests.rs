//! Tasks that are idle, stuck, or end early.

use super::*;

#[tokio::test]
async fn idle_tasks_finish_when_they_are_asked_to() {
    let tasks = Tasks::default();
    let stop = tasks.stopping();
    tasks.start("idle", async move { stop.cancelled().await });
    assert!(tasks.finish(Duration::from_secs(5)).await);
    assert!(!tasks.failed.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_stuck_task_does_not_outlast_the_deadline() {
    let tasks = Tasks::default();
    tasks.start("stuck", std::future::pending());
    assert!(!tasks.finish(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_task_that_ends_early_or_panics_stops_the_node() {
    for task in [Box::pin(async {}) as BoxTask, Box::pin(async { panic!("on purpose") })] {
        let tasks = Tasks::default();
        tasks.spawn("short", task);
        tokio::time::timeout(Duration::from_secs(5), tasks.failed()).await.unwrap();
    }
}
