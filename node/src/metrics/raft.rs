//! The allocator's group, as one member sees it.

use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Unit};

use super::{Family, Registry};

/// Metrics of one member.
#[derive(Clone, Debug)]
pub struct RaftMetrics {
    /// `stint_raft_is_leader`
    pub is_leader: Gauge,
    /// `stint_raft_has_leader`
    pub has_leader: Gauge,
    /// `stint_raft_term`
    pub term: Gauge,
    /// `stint_raft_last_log_index`
    pub last_log_index: Gauge,
    /// `stint_raft_applied_index`
    pub applied_index: Gauge,
    /// `stint_raft_snapshot_index`
    pub snapshot_index: Gauge,
    /// `stint_raft_voters`
    pub voters: Gauge,
    /// `stint_raft_elections_total`
    pub elections: Counter,
    /// `stint_raft_commit_duration_seconds`
    pub commit_duration: Histogram,
    /// `stint_raft_fsync_duration_seconds`
    pub fsync_duration: Histogram,
    /// `stint_raft_entries_written_total`
    pub entries_written: Counter,
    /// `stint_raft_commands_total`
    pub commands: Counter,
    /// `stint_raft_stamps_refused_total`
    pub stamps_refused: Counter,
    /// `stint_id_audit_violations_total`
    pub audit_violations: Counter,
    /// `stint_id_worker_leases`
    pub worker_leases: Gauge,
    registry: Registry,
    lags: Arc<Family<u64, Gauge>>,
    silences: Arc<Family<u64, Gauge>>,
}

impl RaftMetrics {
    /// Registers the metrics of a member.
    pub fn new(registry: &Registry) -> Self {
        let gauge = |name, unit, help| registry.plain_gauge(name, unit, help);
        let counter = |name, help| {
            registry.describe_counter(name, Unit::Count, help);
            registry.counter(name, &[])
        };
        let histogram = |name, help| {
            registry.describe_histogram(name, Unit::Seconds, help);
            registry.histogram(name, &[])
        };
        registry.describe_gauge(
            "stint_raft_replication_lag_entries",
            Unit::Count,
            "Log entries that a member lacks, as the leader knows it; only the leader has it.",
        );
        registry.describe_gauge(
            "stint_raft_member_silence_seconds",
            Unit::Seconds,
            "Time since a member last answered the leader, infinite if it never did; only the leader has it.",
        );
        Self {
            is_leader: gauge("stint_raft_is_leader", Unit::Count, "1 while this member leads, else 0."),
            has_leader: gauge("stint_raft_has_leader", Unit::Count, "1 while this member knows a leader, else 0."),
            term: gauge("stint_raft_term", Unit::Count, "The Raft term."),
            last_log_index: gauge("stint_raft_last_log_index", Unit::Count, "Index of the last entry in the log."),
            applied_index: gauge("stint_raft_applied_index", Unit::Count, "Index of the last entry applied."),
            snapshot_index: gauge("stint_raft_snapshot_index", Unit::Count, "Index up to which a snapshot was taken."),
            voters: gauge("stint_raft_voters", Unit::Count, "Voting members."),
            elections: counter("stint_raft_elections_total", "Changes of the term that this member has seen."),
            commit_duration: histogram(
                "stint_raft_commit_duration_seconds",
                "Time from proposing an entry of commands on the leader to their replies.",
            ),
            fsync_duration: histogram(
                "stint_raft_fsync_duration_seconds",
                "Time of one write of the log with its fsync; all that waits shares one.",
            ),
            entries_written: counter("stint_raft_entries_written_total", "Log entries written."),
            commands: counter(
                "stint_raft_commands_total",
                "Commands committed through this member as the leader; what waits together shares an entry.",
            ),
            stamps_refused: counter(
                "stint_raft_stamps_refused_total",
                "Stamps kept back because the leader's wall clock had jumped ahead.",
            ),
            audit_violations: counter(
                "stint_id_audit_violations_total",
                "Contradictions that the audit found. Anything but 0 is a defect: ids may have been granted twice.",
            ),
            worker_leases: gauge("stint_id_worker_leases", Unit::Count, "Worker leases that are not over."),
            registry: registry.clone(),
            lags: Arc::default(),
            silences: Arc::default(),
        }
    }

    /// Nothing is known of any other member any more: only a leader knows.
    pub fn forget_members(&self) {
        self.lags.for_each(|lag| lag.set(f64::NAN));
        self.silences.for_each(|silence| silence.set(f64::NAN));
    }

    /// `stint_raft_member_silence_seconds{member}`
    pub fn silence(&self, member: u64) -> Gauge {
        self.silences.get(member, |member| {
            self.registry.gauge("stint_raft_member_silence_seconds", &[("member", &member.to_string())])
        })
    }

    /// `stint_raft_replication_lag_entries{member}`
    pub fn lag(&self, member: u64) -> Gauge {
        self.lags.get(member, |member| {
            self.registry.gauge("stint_raft_replication_lag_entries", &[("member", &member.to_string())])
        })
    }
}
