//! The task that keeps one pool filled, and accounts for what is left when the node stops.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stint_idgen::allocator::{Command, Grant, HolderId, NamespaceName, Refusal, Reply};
use stint_idgen::{BlockUse, Demand, Filler, Lane};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Context, Ended, NamespacePool};
use crate::ports::coordination::CoordinationError;
use crate::ports::entropy::random_128;
use crate::ports::error_chain::Chain;
use crate::ports::link_store::StoreError;

/// How often the rate is measured and the gauges are set.
const MEASURED_EVERY: Duration = Duration::from_secs(1);
/// The pause before the first repeat of a failed request; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How soon ids that were refused because none are left are asked for again; each request is an entry of the log.
const REFUSED_FOR: Duration = Duration::from_secs(1);
/// How long stopping may take to report what is left. A report that is missed costs nothing but its accounting.
const REPORTED_WITHIN: Duration = Duration::from_secs(1);

/// One holder of one namespace: a new identity at each start, so nothing of an earlier process is taken for its own.
struct Holder {
    id: HolderId,
    request: u64,
    /// Grants not accounted for yet, oldest first.
    grants: VecDeque<Grant>,
}

/// Why a block didn't come.
#[derive(Debug, thiserror::Error)]
enum RefillError {
    #[error("the allocator gave no answer")]
    Allocator(#[from] CoordinationError),
    #[error("the block could not be recorded in the database")]
    Fence(#[from] StoreError),
    #[error("no more blocks will come")]
    Ended(Ended),
}

/// Keeps the pool filled until the node stops.
pub(super) async fn run(shared: Arc<NamespacePool>, mut filler: Filler, context: Arc<Context>) {
    let stop = context.spawn.stopping();
    let mut holder = Holder {
        id: HolderId(u128::from_be_bytes(random_128(&*context.entropy))),
        request: 0,
        grants: VecDeque::new(),
    };
    let mut demand = Demand::new();
    // Whether the last block that was asked for was refused.
    let mut refused = false;
    loop {
        demand.observe(shared.pool.claimed(), context.clock.monotonic());
        // Before the pool is looked at: whoever asks from here on, in the middle of a refill too, wakes this task again.
        let asked = shared.asked.swap(false, Ordering::AcqRel);
        if shared.pool.wants_block() && shared.arrivals.borrow().ended.is_none() && (asked || !refused) {
            let came = fill(&shared, &mut filler, &mut holder, &demand, &context, &stop).await;
            if !came && !refused {
                tracing::warn!(namespace = %shared.namespace, "a block was refused: no ids are left, or its quota is granted");
            }
            refused = !came;
            account_for(filler.settled(), &mut holder, &context).await;
        }
        context.metrics.set_headroom(&shared.namespace, demand.headroom(shared.pool.remaining()));
        if shared.arrivals.borrow().ended.as_ref().is_some_and(Ended::may_pass) {
            tokio::select! {
                () = stop.cancelled() => break,
                () = shared.reopened.notified() => {}
                () = sleep(REFUSED_FOR) => {}
            }
            shared.arrivals.send_modify(|arrivals| arrivals.ended = None);
            // From here on a block is asked for when somebody wants an id, not once a second for ever.
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = shared.refill.notified() => {}
            () = sleep(MEASURED_EVERY) => {}
        }
    }
    shared.pool.close();
    account_for(filler.settled(), &mut holder, &context).await;
    account_for(filler.unused(), &mut holder, &context).await;
}

/// Gets one block, trying until it is there, is refused, or the node stops; false if it was refused.
async fn fill(
    shared: &NamespacePool,
    filler: &mut Filler,
    holder: &mut Holder,
    demand: &Demand,
    context: &Context,
    stop: &CancellationToken,
) -> bool {
    let options = &context.options;
    let wanted = demand.want(options.headroom, options.min_block, options.max_block);
    let wanted = wanted.max(shared.wanted.swap(0, Ordering::Relaxed)).min(options.max_block);
    let started = context.clock.monotonic();
    holder.request += 1;
    let mut pause = FIRST_PAUSE;
    while !stop.is_cancelled() {
        match block(&shared.namespace, wanted, holder, context).await {
            Ok(grant) => {
                filler.install(grant.range).expect("a block was wanted, and is within the size asked for");
                holder.grants.push_back(grant);
                shared.arrivals.send_modify(|arrivals| arrivals.blocks += 1);
                context.metrics.refill_duration.record(context.clock.monotonic().saturating_sub(started));
                return true;
            }
            Err(RefillError::Ended(ended)) => {
                if !ended.may_pass() {
                    tracing::error!(namespace = %shared.namespace, ?ended, "no more ids will come");
                }
                shared.arrivals.send_modify(|arrivals| arrivals.ended = Some(ended));
                return false;
            }
            Err(error) => {
                tracing::warn!(namespace = %shared.namespace, error = %Chain(&error), "no block of ids yet; trying again");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return true,
            () = sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
    }
    true
}

/// Asks for the block of the holder's current request. The same request number is used until an answer is there, so
/// an answer that was lost on its way is found again instead of becoming a gap.
async fn block(namespace: &NamespaceName, want: u64, holder: &Holder, context: &Context) -> Result<Grant, RefillError> {
    let command = Command::Grant {
        namespace: namespace.clone(),
        want,
        holder: holder.id,
        label: context.options.label.clone(),
        request: holder.request,
    };
    let grant = match context.allocator.submit(command).await? {
        Reply::Granted(grant) => grant,
        Reply::Refused(refusal) => return Err(RefillError::Ended(Ended::Refused(refusal))),
        reply => unreachable!("a grant is not answered with {reply:?}"),
    };
    if *namespace == NamespaceName::links() {
        let source = context.allocator.cluster_id().expect("it is known once a grant was answered");
        let fence = context.fence.as_ref().expect("without a fence there is no pool of links");
        if !fence.raise_mark(Lane::Raft, &source, grant.range.end()).await? {
            return Err(RefillError::Ended(Ended::LaneTaken));
        }
        context.metrics.set_lane_used(Lane::Raft, grant.range.end());
    }
    Ok(grant)
}

/// Reports how far blocks were used. It is accounting: nothing depends on whether it arrives, and what is left of a
/// block is a gap, since nothing returned is ever granted again.
async fn account_for(uses: Vec<BlockUse>, holder: &mut Holder, context: &Context) {
    for done in uses {
        let Some(at) = holder.grants.iter().position(|grant| grant.range == done.block) else { continue };
        if let Some(grant) = holder.grants.remove(at) {
            account(holder.id, &grant, done.used_to, context).await;
        }
    }
}

async fn account(holder: HolderId, grant: &Grant, used_to: u64, context: &Context) {
    let command = Command::Return { holder, grant: grant.id, used_to };
    match timeout(REPORTED_WITHIN, context.allocator.submit(command)).await {
        Ok(Ok(Reply::Returned { .. } | Reply::Refused(Refusal::GrantNotLive(_)))) => {}
        outcome => tracing::debug!(?outcome, "a block was not accounted for"),
    }
}
