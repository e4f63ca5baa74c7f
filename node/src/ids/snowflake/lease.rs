//! The task that keeps a worker lease, and gives it back when the node stops.

use std::sync::Arc;
use std::time::Duration;

use stint_idgen::WorkerWindow;
use stint_idgen::allocator::{Command, HolderId, Refusal, Reply, WorkerLease};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::maker::Maker;
use super::{Hand, Obstacle, Shared};
use crate::ports::coordination::CoordinationError;
use crate::ports::entropy::random_128;
use crate::ports::error_chain::Chain;
use crate::ports::id_source::NoSnowflake;

/// How often the lease is looked at. Timers stand still while the machine sleeps, leases don't.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// The pause before the first repeat of a failed request; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long one request may take before its outcome counts as unknown. The shortest lease has room for one retry.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
/// How long stopping may take to release the worker id. Without it the id is free again when the lease is over.
const RELEASED_WITHIN: Duration = Duration::from_secs(1);

/// A holder of worker leases: a new identity at each start, so nothing of an earlier process is taken for its own.
struct Holder {
    id: HolderId,
    request: u64,
}

/// Growing pauses between attempts.
struct Pauses(Duration);

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("the allocator gave no answer")]
    Allocator(#[from] CoordinationError),
    #[error("the allocator gave no answer within {ANSWERED_WITHIN:?}")]
    Late,
}

/// Keeps a lease until the node stops.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut holder = Holder { id: HolderId(u128::from_be_bytes(random_128(&*shared.entropy))), request: 0 };
    tokio::select! {
        () = stop.cancelled() => {}
        () = keep(&shared, &mut holder) => {}
    }
    let window = shared.window();
    // Before the release: from here on no id is made.
    shared.drop_lease(Obstacle::Unavailable(NoSnowflake::Stopping));
    if let Some(window) = window {
        release(&shared, holder.id, &window).await;
    }
}

/// Never ends by itself; may be dropped at any await, what is at hand is in `shared`.
async fn keep(shared: &Shared, holder: &mut Holder) {
    loop {
        let window = lease(shared, holder).await;
        tracing::info!(worker = %window.worker(), lease = window.lease().0, "a worker id is leased");
        shared.set_hand(Hand::Held(Maker::new(window, &*shared.generators)));
        hold(shared, holder.id).await;
        tracing::warn!(worker = %window.worker(), lease = window.lease().0, "the worker lease is over; asking for another");
        shared.drop_lease(Obstacle::Unavailable(NoSnowflake::LeaseOver));
    }
}

/// Gets a lease, trying until there is one.
///
/// The same request number is used until an answer is there: one that was lost on its way is found again instead of
/// blocking a worker id that nobody uses. A refusal is an answer, too, and the next attempt has the next number.
async fn lease(shared: &Shared, holder: &mut Holder) -> WorkerWindow {
    let mut pauses = Pauses(FIRST_PAUSE);
    loop {
        holder.request += 1;
        let sent_at = shared.clock.monotonic();
        let command = Command::LeaseWorker {
            holder: holder.id,
            label: shared.options.label.clone(),
            request: holder.request,
            duration_ms: shared.duration_ms(),
        };
        let refusal = match answer(shared, &command, &mut pauses).await {
            Reply::WorkerLeased(granted) => {
                let window = WorkerWindow::new(&granted, sent_at);
                if window.may_issue(shared.clock.monotonic()) {
                    return window;
                }
                pauses.pause().await;
                continue;
            }
            Reply::Refused(refusal) => refusal,
            reply => unreachable!("a request for a worker id is not answered with {reply:?}"),
        };
        tracing::error!(%refusal, "there is no worker id for this node; trying again");
        shared.set_hand(Hand::Empty(match refusal {
            Refusal::NoWorkerFree { free_at_ms } => Obstacle::Unavailable(NoSnowflake::NoWorkerFree { free_at_ms }),
            refusal => Obstacle::Refused(refusal),
        }));
        pauses.pause().await;
    }
}

/// Sends `command` until it is answered.
async fn answer(shared: &Shared, command: &Command, pauses: &mut Pauses) -> Reply {
    loop {
        match request(shared, command).await {
            Ok(reply) => return reply,
            Err(error) => tracing::warn!(error = %Chain(&error), "no worker id yet; trying again"),
        }
        pauses.pause().await;
    }
}

async fn request(shared: &Shared, command: &Command) -> Result<Reply, RequestError> {
    let answer = timeout(ANSWERED_WITHIN, shared.allocator.submit(command.clone())).await;
    Ok(answer.map_err(|_| RequestError::Late)??)
}

/// Renews the lease at hand until it is over or lost.
async fn hold(shared: &Shared, holder: HolderId) {
    let mut pauses = Pauses(FIRST_PAUSE);
    while let Some(window) = shared.window() {
        let now = shared.clock.monotonic();
        shared.metrics.set_lease_remaining(window.stop_at().saturating_sub(now));
        if !window.may_issue(now) {
            return;
        }
        let mut pause = window.renew_at().saturating_sub(now).min(LOOKED_AT_EVERY);
        if window.renewal_due(now) {
            match renew(shared, holder, &window, now).await {
                Ok(true) => pauses = Pauses(FIRST_PAUSE),
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "the worker lease is not renewed yet; trying again");
                    pause = pauses.next();
                }
            }
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = shared.wake.notified() => {}
        }
    }
}

/// Asks once; false if the lease is lost.
async fn renew(
    shared: &Shared,
    holder: HolderId,
    window: &WorkerWindow,
    sent_at: Duration,
) -> Result<bool, RequestError> {
    let (worker, lease) = (window.worker(), window.lease());
    let duration_ms = shared.duration_ms();
    match request(shared, &Command::RenewWorker { holder, worker, lease, duration_ms }).await? {
        Reply::WorkerRenewed(renewed) => {
            shared.renew(&renewed, sent_at);
            Ok(true)
        }
        Reply::Refused(refusal) => {
            tracing::error!(%worker, %refusal, "the worker lease was not renewed");
            Ok(false)
        }
        reply => unreachable!("a renewal is not answered with {reply:?}"),
    }
}

async fn release(shared: &Shared, holder: HolderId, window: &WorkerWindow) {
    let command = Command::ReleaseWorker { holder, worker: window.worker(), lease: window.lease() };
    match timeout(RELEASED_WITHIN, shared.allocator.submit(command)).await {
        Ok(Ok(Reply::WorkerReleased | Reply::Refused(Refusal::LeaseNotLive(_)))) => {}
        outcome => tracing::debug!(?outcome, "the worker id was not released; it is free when its lease is over"),
    }
}

impl Pauses {
    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        pause
    }

    async fn pause(&mut self) {
        sleep(self.next()).await;
    }
}

impl Shared {
    fn duration_ms(&self) -> u64 {
        u64::try_from(self.options.lease.as_millis()).unwrap_or(u64::MAX)
    }

    /// The window of the lease at hand.
    fn window(&self) -> Option<WorkerWindow> {
        match &*self.hand() {
            Hand::Held(maker) => Some(*maker.window()),
            Hand::Empty(_) => None,
        }
    }

    fn renew(&self, renewed: &WorkerLease, sent_at: Duration) {
        if let Hand::Held(maker) = &mut *self.hand() {
            maker.renew(renewed, sent_at);
        }
        self.changes.send_replace(());
    }

    fn drop_lease(&self, why: Obstacle) {
        self.set_hand(Hand::Empty(why));
        self.metrics.set_lease_remaining(Duration::ZERO);
    }
}
