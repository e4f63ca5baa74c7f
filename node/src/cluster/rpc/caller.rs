//! Who calls, and what a call carries besides its message: the secret, the cluster, the sender and the target.

use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::super::types::NodeId;
use super::channel::put;

pub(in super::super) const SECRET: &str = "stint-secret";
pub(in super::super) const CLUSTER: &str = "stint-cluster";
pub(in super::super) const SENDER: &str = "stint-sender";
pub(in super::super) const TARGET: &str = "stint-target";
pub(in super::super) const FORWARDED: &str = "stint-forwarded";

/// The secret that all nodes of a cluster share. What travels is a digest, so that it fits a header whatever it is made
/// of; whoever reads the network can call with that, which is what TLS is for.
#[derive(Clone)]
pub struct ClusterSecret(Arc<str>);

/// A data directory: a member's number and the random identity of what lies in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incarnation {
    /// The member's number.
    pub node_id: NodeId,
    /// 32 hex digits.
    pub incarnation: String,
}

/// What a node says of itself in each call.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The cluster's secret, if it has one.
    pub secret: Option<ClusterSecret>,
    /// The cluster it belongs to, once it knows.
    pub cluster_id: Option<Arc<str>>,
    /// Which member it is; a holder is none.
    pub member: Option<Incarnation>,
}

impl ClusterSecret {
    /// The secret of this text.
    pub fn of(text: &str) -> Self {
        let digest = Sha256::new().chain_update(b"stint cluster secret\0").chain_update(text).finalize();
        let (high, low) = digest.split_at(16);
        let [high, low] = [high, low].map(|half| half.try_into().map_or(0, u128::from_be_bytes));
        Self(format!("{high:032x}{low:032x}").into())
    }

    /// Whether a call came with this secret. Takes the same time whatever it came with.
    pub(in super::super) fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret")
    }
}

impl Incarnation {
    /// `NUMBER-HEX`, as it travels.
    pub(in super::super) fn text(&self) -> String {
        format!("{}-{}", self.node_id, self.incarnation)
    }

    /// What travelled as `text`.
    pub(in super::super) fn parse(text: &str) -> Option<Self> {
        let (node_id, incarnation) = text.split_once('-')?;
        let node_id = node_id.parse().ok()?;
        is_identity(incarnation).then(|| Self { node_id, incarnation: incarnation.to_owned() })
    }
}

impl Caller {
    /// The headers of a call to `target`, or to whoever answers.
    pub(in super::super) fn headers(&self, target: Option<&Incarnation>) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(5);
        if let Some(secret) = &self.secret {
            put(&mut headers, SECRET, &secret.0);
            // Not to be printed, wherever the headers are.
            headers.get_mut(SECRET).expect("it was put there").set_sensitive(true);
        }
        if let Some(cluster) = self.cluster_id.as_deref().filter(|id| is_identity(id)) {
            put(&mut headers, CLUSTER, cluster);
        }
        if let Some(member) = &self.member {
            put(&mut headers, SENDER, &member.text());
        }
        if let Some(target) = target.filter(|target| is_identity(&target.incarnation)) {
            put(&mut headers, TARGET, &target.text());
        }
        headers
    }
}

/// Whether the text is a random identity as Stint writes them: 32 hex digits.
pub(in super::super) fn is_identity(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
