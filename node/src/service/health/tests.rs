//! What a node calls a problem, and what a note.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use stint_idgen::allocator::{Command, IdOrigin, NamespaceName, Reply};

use super::*;
use crate::ports::coordination::{AuditStream, ClusterStatus, CoordinationError, MemberChange, MemberError};

/// An allocator that answers nothing but its status, if that.
#[derive(Debug)]
enum Asked {
    Leading,
    Leaderless,
    Away,
    Silent,
}

fn away<T>() -> Result<T, CoordinationError> {
    Err(CoordinationError::Unavailable { source: "connection refused".into() })
}

#[async_trait]
impl Allocator for Asked {
    fn cluster_id(&self) -> Option<Arc<str>> {
        None
    }

    async fn submit(&self, _command: Command) -> Result<Reply, CoordinationError> {
        away()
    }

    async fn status(&self) -> Result<ClusterStatus, CoordinationError> {
        let leader = match self {
            Self::Leading => Some(1),
            Self::Leaderless => None,
            Self::Away => return away(),
            Self::Silent => std::future::pending().await,
        };
        Ok(ClusterStatus { leader, ..ClusterStatus::default() })
    }

    async fn find_origin(&self, _namespace: &NamespaceName, _id: u64) -> Result<Option<IdOrigin>, CoordinationError> {
        away()
    }

    async fn audit(&self, _after: Option<u64>, _follow: bool) -> Result<AuditStream, CoordinationError> {
        away()
    }

    async fn change_members(&self, _change: MemberChange) -> Result<(), MemberError> {
        Err(MemberError::Refused(String::new()))
    }
}

#[derive(Debug, Default)]
struct Stock {
    is_filled: AtomicBool,
}

impl IdsAtHand for Stock {
    fn readiness(&self) -> Result<(), String> {
        if self.is_filled.load(Ordering::Relaxed) { Ok(()) } else { Err("no ids".to_owned()) }
    }
}

/// What is wrong with the allocator, and what is only noted.
async fn checked(health: &Health) -> (Option<String>, Option<String>) {
    let checks = health.check().await;
    let [Check { name: "allocator", problem, note }] = &checks[..] else { panic!("{checks:?}") };
    (problem.clone(), note.clone())
}

const AWAY: &str = "the allocator is not available: connection refused";

#[tokio::test(start_paused = true)]
async fn an_allocator_that_does_not_lead_or_answer_is_a_problem() {
    let problem = async |asked| checked(&Health::new(Arc::new(asked))).await;
    assert_eq!(problem(Asked::Leading).await, (None, None));
    assert_eq!(problem(Asked::Leaderless).await.0.unwrap(), "the allocator has no leader: no new ids");
    assert_eq!(problem(Asked::Away).await.0.unwrap(), AWAY);
    assert_eq!(problem(Asked::Silent).await.0.unwrap(), "the allocator gave no answer within 2 s");
}

#[tokio::test(start_paused = true)]
async fn a_node_with_ids_at_hand_does_without_the_allocator() {
    let stock = Arc::new(Stock::default());
    let health = Health::new(Arc::new(Asked::Away)).with_ids(Arc::clone(&stock) as _);
    assert_eq!(checked(&health).await, (Some(format!("{AWAY}; no ids")), None));
    stock.is_filled.store(true, Ordering::Relaxed);
    assert_eq!(checked(&health).await, (None, Some(format!("{AWAY}; going on with the ids at hand"))));
    let health = Health::new(Arc::new(Asked::Leading)).with_ids(Arc::new(Stock::default()));
    assert_eq!(checked(&health).await, (None, None), "it may ask for ids at any time");
}
