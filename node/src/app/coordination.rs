//! The way to the allocators from outside their group.

use std::sync::Arc;

use crate::config::ClusterConfig;
use crate::ports::clock::Clock;
use crate::ports::coordination::Allocator;
use crate::ports::entropy::Entropy;

/// A client of the allocators that `cluster` names, with its secret and its certificates. It connects when it is first
/// used: allocators that are away are no error here.
///
/// # Errors
/// One line: certificates that can't be used.
pub fn allocators_client(
    cluster: &ClusterConfig,
    _clock: Arc<dyn Clock>,
    _entropy: Arc<dyn Entropy>,
) -> anyhow::Result<Arc<dyn Allocator>> {
    let allocators: Vec<_> = cluster.allocators.iter().map(ToString::to_string).collect();
    anyhow::bail!("this version can't ask allocators over the network yet ({})", allocators.join(", "))
}
