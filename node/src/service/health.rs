//! Whether the node can do its work, and what is missing if it can't.

use std::sync::Arc;

use crate::ports::coordination::Allocator;
use crate::ports::error_chain::Chain;
use crate::ports::link_store::LinkStore;

/// One thing the node needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it is.
    pub name: &'static str,
    /// What is wrong with it; `None` when it is well.
    pub problem: Option<String>,
}

/// Checks what the node needs.
#[derive(Clone, Debug)]
pub struct Health {
    store: Arc<dyn LinkStore>,
    allocator: Arc<dyn Allocator>,
}

impl Health {
    /// Checks `store` and `allocator`.
    pub const fn new(store: Arc<dyn LinkStore>, allocator: Arc<dyn Allocator>) -> Self {
        Self { store, allocator }
    }

    /// Every check, done now.
    pub async fn check(&self) -> Vec<Check> {
        let store = self.store.ping().await.err().map(|error| error.to_string());
        let allocator = match self.allocator.status().await {
            Ok(status) if status.leader.is_some() => None,
            Ok(_) => Some("the allocator has no leader: no new ids".to_owned()),
            Err(error) => Some(Chain(&error).to_string()),
        };
        vec![Check { name: "database", problem: store }, Check { name: "allocator", problem: allocator }]
    }
}
