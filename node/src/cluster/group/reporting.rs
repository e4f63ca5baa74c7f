//! What a member tells its metrics, once a second.

use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use tokio::time::interval;

use super::{Group, silence};
use crate::metrics::RaftMetrics;

/// How often the gauges are set.
const REPORTED_EVERY: Duration = Duration::from_secs(1);

impl Group {
    /// Keeps the metrics up to date, without end.
    pub async fn report(&self, metrics: &RaftMetrics) {
        let mut ticks = interval(REPORTED_EVERY);
        let mut term = None;
        loop {
            ticks.tick().await;
            self.report_once(metrics, &mut term);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge does not need the last of 53 bits")]
    fn report_once(&self, metrics: &RaftMetrics, last_term: &mut Option<u64>) {
        let raft = self.raft.metrics().borrow_watched().clone();
        let is_led = self.is_led(&raft);
        let leads = is_led && raft.state == ServerState::Leader;
        metrics.is_leader.set(if leads { 1.0 } else { 0.0 });
        metrics.has_leader.set(if is_led && raft.current_leader.is_some() { 1.0 } else { 0.0 });
        metrics.term.set(raft.current_term as f64);
        let before = last_term.replace(raft.current_term);
        metrics.elections.increment(before.map_or(0, |before| raft.current_term.saturating_sub(before)));
        metrics.last_log_index.set(raft.last_log_index.unwrap_or(0) as f64);
        metrics.snapshot_index.set(raft.snapshot.as_ref().map_or(0, |id| id.index) as f64);
        metrics.voters.set(raft.membership_config.voter_ids().count() as f64);
        let (applied, leases) = self.state.read(|replica| {
            (replica.last_applied.as_ref().map_or(0, |id| id.index), replica.state.worker_totals().live)
        });
        metrics.applied_index.set(applied as f64);
        metrics.worker_leases.set(leases as f64);
        metrics.entries_written.absolute(self.disk.stats().entries);
        metrics.audit_violations.absolute(self.state.audit().violations());
        metrics.stamps_refused.absolute(self.proposer.stamps_refused());
        let last = raft.last_log_index.map_or(0, |index| index + 1);
        metrics.forget_members();
        for &member in raft.heartbeat.iter().flat_map(|heard| heard.keys()).filter(|_| leads) {
            let silence = silence(&raft, member).map_or(f64::INFINITY, |silence| silence.as_secs_f64());
            metrics.silence(member).set(silence);
        }
        for (&member, matched) in raft.replication.iter().flatten().filter(|_| leads) {
            let matched = matched.as_ref().map_or(0, |id| id.index + 1);
            metrics.lag(member).set(last.saturating_sub(matched) as f64);
        }
    }
}
