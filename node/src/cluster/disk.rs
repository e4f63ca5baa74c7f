//! What a member keeps besides its log: who it is, to which cluster it belongs, and how its disk does.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metrics::Histogram;
use sha2::{Digest, Sha256};

use super::types::{Member, NodeId};

/// Who a data directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The member it was made for.
    pub node_id: NodeId,
    /// The random identity of this data directory, 32 hex digits.
    pub incarnation: String,
    /// The cluster it belongs to; none while it is empty.
    pub cluster: Option<Cluster>,
}

/// A cluster, as a member remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its identity, 32 hex digits.
    pub id: Arc<str>,
    /// The members it began with, if this one is among them; none on a member that was added later.
    pub founders: Option<BTreeMap<NodeId, Member>>,
}

/// How a log is being written, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Transactions, each with one fsync.
    pub commits: u64,
    /// Log entries written.
    pub entries: u64,
    /// Time spent in transactions.
    pub busy: Duration,
}

/// The disk under a member, as its keeper sees it.
#[async_trait]
pub trait MemberDisk: Debug + Send + Sync + 'static {
    /// Why nothing can be written any more, if so.
    fn failure(&self) -> Option<String>;

    /// How long the disk has kept the running write waiting.
    fn waiting(&self) -> Duration;

    /// Logs that the disk has not answered for `waited`, once for each write that it keeps waiting.
    fn report_stall(&self, waited: Duration);

    /// The counters.
    fn stats(&self) -> WriterStats;

    /// Measures each write from now on.
    fn measure(&self, writes: Histogram);

    /// Remembers to which cluster the data belongs; done once it is on disk.
    ///
    /// # Errors
    /// When it can't be written.
    async fn join_cluster(&self, cluster: Cluster) -> io::Result<()>;

    /// Writes what was handed over, and releases the disk.
    async fn close(&self);
}

impl Cluster {
    /// The cluster that begins with these members. Its identity follows from theirs, so that each of them finds the
    /// same one without a word, and no other set of data directories ever has it.
    pub fn founded_by(founders: BTreeMap<NodeId, Member>) -> Self {
        let mut digest = Sha256::new_with_prefix(b"stint cluster\0");
        for (node_id, member) in &founders {
            digest.update(node_id.to_be_bytes());
            digest.update(member.incarnation.as_bytes());
        }
        let id: String = digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { id: id.into(), founders: Some(founders) }
    }
}
