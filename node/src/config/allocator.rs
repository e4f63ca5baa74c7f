//! What `stint allocator` refuses, and what it warns of.

use super::cluster::ClusterConfig;
use super::error::ConfigError;
use super::load::Loaded;

/// What is said where no secret is set, and none is needed.
pub(super) const NO_SECRET: &str =
    "is not set: every program on this machine may speak to the allocators (STINT_CLUSTER_SECRET)";

impl Loaded {
    /// Checks that a member can run with this configuration; with `bootstrap`, that it can help to make the group.
    ///
    /// # Errors
    /// Every problem in one line, naming the key and its source.
    pub fn check_allocator(&self, bootstrap: bool) -> Result<(), ConfigError> {
        let cluster = &self.config.cluster;
        let mut problems = Vec::new();
        if bootstrap && cluster.peers.is_empty() {
            let example = "--peers 1=allocator-1:7101,2=allocator-2:7101,3=allocator-3:7101";
            problems.push(self.problem(
                "cluster.peers",
                format_args!("is missing: --bootstrap needs every first member, as in {example}"),
            ));
        }
        problems.extend(self.peer_problems());
        if cluster.secret.is_none() && !is_on_one_machine(cluster) {
            problems.push(self.problem(
                "cluster.secret",
                "is missing: other machines can reach this allocator; set the same STINT_CLUSTER_SECRET on all \
                 allocators and shorteners",
            ));
        }
        ConfigError::check(problems)
    }

    pub(super) fn allocator_warnings(&self) -> Vec<String> {
        let cluster = &self.config.cluster;
        let mut warnings = Vec::new();
        let voters = cluster.peers.len();
        if voters > 0 && voters.is_multiple_of(2) {
            warnings.push(self.problem(
                "cluster.peers",
                format_args!("an even number of voters ({voters}) tolerates no more failures than one fewer"),
            ));
        }
        if let Some(own) = cluster.own_peer()
            && cluster.listen.is_loopback()
            && !own.address.is_loopback()
        {
            warnings.push(self.problem(
                "cluster.listen",
                format_args!(
                    "only this machine can connect to {}, but the others are told {}",
                    cluster.listen, own.address
                ),
            ));
        }
        if cluster.secret.is_none() {
            warnings.push(self.problem("cluster.secret", NO_SECRET));
        }
        warnings
    }

    fn peer_problems(&self) -> Vec<String> {
        let cluster = &self.config.cluster;
        let mut problems = Vec::new();
        for (index, peer) in cluster.peers.iter().enumerate() {
            if peer.address.is_unspecified() {
                let message = format!("nobody can connect to {}: give an address that the others reach", peer.address);
                problems.push(self.problem("cluster.peers", message));
            }
            if let Some(earlier) = cluster.peers[..index].iter().find(|earlier| earlier.address == peer.address) {
                let message =
                    format!("nodes {} and {} have the same address, {}", earlier.node_id, peer.node_id, peer.address);
                problems.push(self.problem("cluster.peers", message));
            }
        }
        if !cluster.peers.is_empty() && cluster.own_peer().is_none() {
            let known: Vec<_> = cluster.peers.iter().map(|peer| peer.node_id.to_string()).collect();
            let message = format!(
                "does not name this node, {} (`cluster.node_id`, --node-id): it names {}",
                cluster.node_id,
                known.join(", ")
            );
            problems.push(self.problem("cluster.peers", message));
        }
        problems
    }
}

/// Whether nobody on another machine has a part in the group.
fn is_on_one_machine(cluster: &ClusterConfig) -> bool {
    cluster.listen.is_loopback() && cluster.peers.iter().all(|peer| peer.address.is_loopback())
}
