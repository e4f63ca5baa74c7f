//! The serving side: accepts connections, shakes hands, speaks HTTP/2.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http2::Builder;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::time::{sleep, timeout};

use super::super::member::AllocatorMember;
use super::super::transport::{Connection, Connections, Listen, Tls};

/// How long a TLS handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// Calls at the same time on one connection.
const MAX_STREAMS: u32 = 4_096;
/// A connection on which nothing is heard for this long is asked whether it lives, and cut if it doesn't answer.
const ASKED_AFTER: Duration = Duration::from_secs(20);
/// The pause after an accept that failed: usually there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves a member's calls.
#[derive(Debug)]
pub struct RpcServer {
    router: Router,
    tls: Option<Tls>,
    connections: Connections,
}

impl RpcServer {
    /// Serves `member`, over TLS if there are certificates. Connections end with `connections`.
    pub fn new(member: Arc<AllocatorMember>, tls: Option<Tls>, connections: Connections) -> Self {
        Self { router: super::router(member), tls, connections }
    }

    /// Accepts connections until they are to end.
    pub async fn run(self, mut listener: impl Listen) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.connections.stopping().cancelled() => return,
            };
            match accepted {
                Ok((connection, from)) => {
                    let (tls, router) = (self.tls.clone(), self.router.clone());
                    self.connections.spawn(async move {
                        if let Err(error) = serve(connection, tls, router).await {
                            tracing::debug!(%error, %from, "a connection ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn serve(
    connection: Connection,
    tls: Option<Tls>,
    router: Router,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let connection = match tls {
        Some(tls) => timeout(HANDSHAKE_WITHIN, tls.accept(connection)).await??,
        None => connection,
    };
    let mut http = Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(ASKED_AFTER)
        .keep_alive_timeout(HANDSHAKE_WITHIN);
    Ok(http.serve_connection(TokioIo::new(connection), TowerToHyperService::new(router)).await?)
}
