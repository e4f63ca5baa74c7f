//! The allocators as one process of a holder asks them, where somebody writes down which worker ids it is leased.

use std::sync::Arc;

use async_trait::async_trait;
use stint::ports::coordination::{Allocator, AuditStream, ClusterStatus, CoordinationError, MemberChange, MemberError};
use stint_idgen::allocator::{Command, IdOrigin, NamespaceName, Reply};

use crate::history::{Event, History};

/// Passes everything on.
#[derive(Debug)]
pub(super) struct Witness {
    pub(super) allocator: Arc<dyn Allocator>,
    pub(super) process: u64,
    pub(super) history: History,
}

#[async_trait]
impl Allocator for Witness {
    fn cluster_id(&self) -> Option<Arc<str>> {
        self.allocator.cluster_id()
    }

    async fn submit(&self, command: Command) -> Result<Reply, CoordinationError> {
        let reply = self.allocator.submit(command).await?;
        if let Reply::WorkerLeased(lease) | Reply::WorkerRenewed(lease) = &reply {
            self.history.record(&Event::Leased { process: Some(self.process), lease: *lease });
        }
        Ok(reply)
    }

    async fn status(&self) -> Result<ClusterStatus, CoordinationError> {
        self.allocator.status().await
    }

    async fn find_origin(&self, namespace: &NamespaceName, id: u64) -> Result<Option<IdOrigin>, CoordinationError> {
        self.allocator.find_origin(namespace, id).await
    }

    async fn audit(&self, after: Option<u64>, follow: bool) -> Result<AuditStream, CoordinationError> {
        self.allocator.audit(after, follow).await
    }

    async fn change_members(&self, change: MemberChange) -> Result<(), MemberError> {
        self.allocator.change_members(change).await
    }
}
