//! The way to the allocators, from outside their group and within it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::remote::{RemoteAllocator, RemoteOptions};
use crate::cluster::rpc::ClusterSecret;
use crate::cluster::transport::{Connections, Dial, TcpDialer, Tls, TlsFiles};
use crate::config::ClusterConfig;
use crate::ports::coordination::Allocator;

/// How long a command may take, over all the allocators that are asked, before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A client of the allocators that `cluster` names, with its secret and its certificates. It connects when it is first
/// used: allocators that are away are no error here.
///
/// # Errors
/// One line: certificates that can't be used.
pub fn allocators_client(cluster: &ClusterConfig) -> anyhow::Result<Arc<dyn Allocator>> {
    let options = RemoteOptions {
        addresses: cluster.allocators.iter().map(ToString::to_string).collect(),
        secret: secret(cluster),
        cluster_id: cluster.id.clone(),
        patience: PATIENCE,
    };
    let dialer = dialer(certificates(cluster)?);
    Ok(Arc::new(RemoteAllocator::new(options, &dialer, &Connections::default())))
}

/// The secret that is configured, as calls carry it.
pub(super) fn secret(cluster: &ClusterConfig) -> Option<ClusterSecret> {
    cluster.secret.as_ref().map(|secret| ClusterSecret::of(secret.expose()))
}

/// The certificates that are configured.
pub(super) fn certificates(cluster: &ClusterConfig) -> anyhow::Result<Option<Tls>> {
    let (Some(cert), Some(key), Some(ca)) = (&cluster.tls.cert, &cluster.tls.key, &cluster.tls.ca) else {
        return Ok(None);
    };
    let [certificate, key, authorities] = [cert, key, ca].map(PathBuf::from);
    Ok(Some(Tls::load(&TlsFiles { certificate, key, authorities })?))
}

/// Dials over TCP, and TLS if there are certificates.
pub(super) fn dialer(tls: Option<Tls>) -> Arc<dyn Dial> {
    let tcp = Arc::new(TcpDialer);
    match tls {
        Some(tls) => tls.dialer(tcp),
        None => tcp,
    }
}
