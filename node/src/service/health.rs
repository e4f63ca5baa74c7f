//! Whether the node can do its work, and what is missing if it can't.

#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use crate::ports::coordination::Allocator;
use crate::ports::error_chain::Chain;
use crate::ports::link_store::LinkStore;

/// How long the allocators may take to answer; probes don't wait much longer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// One thing the node needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it is.
    pub name: &'static str,
    /// What is wrong with it; `None` when it is well, or not needed for the moment.
    pub problem: Option<String>,
    /// What should be known although the node does its work.
    pub note: Option<String>,
}

/// Ids that were taken ahead of their use.
pub trait IdsAtHand: Send + Sync + Debug + 'static {
    /// Whether draws go on without the allocator.
    ///
    /// # Errors
    /// Why they don't.
    fn readiness(&self) -> Result<(), String>;
}

/// A part of the node that is asked how it is.
#[async_trait]
pub trait Look: Send + Sync + Debug + 'static {
    /// What is wrong with it, or worth knowing; nothing when all is well.
    async fn look(&self) -> Vec<Check>;
}

/// Checks what the node needs.
#[derive(Clone, Debug, Default)]
pub struct Health {
    allocator: Option<Arc<dyn Allocator>>,
    store: Option<Arc<dyn LinkStore>>,
    ids: Option<Arc<dyn IdsAtHand>>,
    looks: Vec<Arc<dyn Look>>,
}

impl Check {
    /// Something that is wrong.
    pub const fn problem(name: &'static str, problem: String) -> Self {
        Self { name, problem: Some(problem), note: None }
    }

    /// Something worth knowing.
    pub const fn note(name: &'static str, note: String) -> Self {
        Self { name, problem: None, note: Some(note) }
    }
}

impl Health {
    /// Checks `allocator`.
    pub fn new(allocator: Arc<dyn Allocator>) -> Self {
        Self { allocator: Some(allocator), ..Self::default() }
    }

    /// Asks parts of the node.
    pub fn of(looks: Vec<Arc<dyn Look>>) -> Self {
        Self { looks, ..Self::default() }
    }

    /// Checks `store` as well.
    #[must_use]
    pub fn with_store(self, store: Arc<dyn LinkStore>) -> Self {
        Self { store: Some(store), ..self }
    }

    /// Does without the allocator for as long as `ids` are at hand.
    #[must_use]
    pub fn with_ids(self, ids: Arc<dyn IdsAtHand>) -> Self {
        Self { ids: Some(ids), ..self }
    }

    /// Every check, done now.
    pub async fn check(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        if let Some(store) = &self.store {
            let problem = store.ping().await.err().map(|error| error.to_string());
            checks.push(Check { name: "database", problem, note: None });
        }
        for look in &self.looks {
            checks.extend(look.look().await);
        }
        let Some(allocator) = &self.allocator else { return checks };
        let (problem, note) = match (problem_of(&**allocator).await, &self.ids) {
            (Some(problem), Some(ids)) => match ids.readiness() {
                Ok(()) => (None, Some(format!("{problem}; going on with the ids at hand"))),
                Err(reason) => (Some(format!("{problem}; {reason}")), None),
            },
            (problem, _) => (problem, None),
        };
        checks.push(Check { name: "allocator", problem, note });
        checks
    }
}

async fn problem_of(allocator: &dyn Allocator) -> Option<String> {
    match timeout(ANSWERED_WITHIN, allocator.status()).await {
        Ok(Ok(status)) if status.leader.is_some() => None,
        Ok(Ok(_)) => Some("the allocator has no leader: no new ids".to_owned()),
        Ok(Err(error)) => Some(Chain(&error).to_string()),
        Err(_) => Some(format!("the allocator gave no answer within {} s", ANSWERED_WITHIN.as_secs())),
    }
}
