//! One holder of one namespace's grants: how a pool's blocks are asked for, fenced and accounted for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stint_idgen::allocator::{Command, Grant, HolderId, NamespaceName, Refusal, Reply};
use stint_idgen::{BlockUse, IdRange, Lane};
use tokio::time::timeout;

use super::Context;
use crate::ids::supply::{BlockSource, Ended, NoBlock};
use crate::ports::entropy::random_128;

/// How long stopping may take to report what is left. A report that is missed costs nothing but its accounting.
const REPORTED_WITHIN: Duration = Duration::from_secs(1);

/// A new identity at each start, so nothing of an earlier process is taken for its own.
#[derive(Debug)]
pub(super) struct Holder {
    id: HolderId,
    namespace: NamespaceName,
    /// The number of the next request, or of the one that has no answer yet.
    request: u64,
    /// Grants not accounted for yet, oldest first.
    grants: VecDeque<Grant>,
    context: Arc<Context>,
}

impl Holder {
    pub(super) fn new(namespace: NamespaceName, context: Arc<Context>) -> Self {
        let id = HolderId(u128::from_be_bytes(random_128(&*context.entropy)));
        Self { id, namespace, request: 1, grants: VecDeque::new(), context }
    }

    /// Asks for the block of the current request.
    async fn ask(&self, want: u64) -> Result<Grant, NoBlock> {
        let command = Command::Grant {
            namespace: self.namespace.clone(),
            want,
            holder: self.id,
            label: self.context.options.label.clone(),
            request: self.request,
        };
        let allocator = &self.context.allocator;
        let grant = match allocator.submit(command).await? {
            Reply::Granted(grant) => grant,
            Reply::Refused(refusal) => return Err(NoBlock::Ended(Ended::Refused(refusal))),
            reply => unreachable!("a grant is not answered with {reply:?}"),
        };
        if self.namespace == NamespaceName::links() {
            let source = allocator.cluster_id().expect("it is known once a grant was answered");
            let fence = self.context.fence.as_ref().expect("without a fence there is no pool of links");
            if !fence.raise_mark(Lane::Raft, &source, grant.range.end()).await? {
                return Err(NoBlock::Ended(Ended::LaneTaken));
            }
            self.context.metrics.set_lane_used(Lane::Raft, grant.range.end());
        }
        Ok(grant)
    }

    async fn account(&self, grant: &Grant, used_to: u64) {
        let command = Command::Return { holder: self.id, grant: grant.id, used_to };
        match timeout(REPORTED_WITHIN, self.context.allocator.submit(command)).await {
            Ok(Ok(Reply::Returned { .. } | Reply::Refused(Refusal::GrantNotLive(_)))) => {}
            outcome => tracing::debug!(?outcome, "a block was not accounted for"),
        }
    }
}

#[async_trait]
impl BlockSource for Holder {
    /// The same request number is used until an answer is there, so an answer that was lost on its way is found again
    /// instead of becoming a gap.
    async fn take(&mut self, want: u64) -> Result<IdRange, NoBlock> {
        let answer = self.ask(want).await;
        if matches!(answer, Ok(_) | Err(NoBlock::Ended(_))) {
            self.request += 1;
        }
        let grant = answer?;
        let range = grant.range;
        self.grants.push_back(grant);
        Ok(range)
    }

    /// Reports how far blocks were used. It is accounting: nothing depends on whether it arrives, and what is left of a
    /// block is a gap, since nothing returned is ever granted again.
    async fn account_for(&mut self, uses: Vec<BlockUse>) {
        for done in uses {
            let Some(at) = self.grants.iter().position(|grant| grant.range == done.block) else { continue };
            if let Some(grant) = self.grants.remove(at) {
                self.account(&grant, done.used_to).await;
            }
        }
    }
}
