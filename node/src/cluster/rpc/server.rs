//! The serving side: accepts connections, shakes hands, speaks HTTP/2.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
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
    handshakes: Arc<Handshakes>,
}

/// The last handshake that failed: from whom, and why.
#[derive(Debug, Default)]
struct Handshakes(Mutex<Option<(IpAddr, String)>>);

impl RpcServer {
    /// Serves `member`, over TLS if there are certificates. Connections end with `connections`.
    pub fn new(member: Arc<AllocatorMember>, tls: Option<Tls>, connections: Connections) -> Self {
        Self { router: super::router(member), tls, connections, handshakes: Arc::default() }
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
                    let handshakes = Arc::clone(&self.handshakes);
                    self.connections.spawn(async move {
                        match shake_hands(connection, tls).await {
                            Ok(connection) => serve(connection, from, router).await,
                            Err(error) => handshakes.note(from.ip(), &*error),
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

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn shake_hands(connection: Connection, tls: Option<Tls>) -> Result<Connection, Failure> {
    match tls {
        Some(tls) => Ok(timeout(HANDSHAKE_WITHIN, tls.accept(connection)).await??),
        None => Ok(connection),
    }
}

async fn serve(connection: Connection, from: SocketAddr, router: Router) {
    let mut http = Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(ASKED_AFTER)
        .keep_alive_timeout(HANDSHAKE_WITHIN);
    if let Err(error) = http.serve_connection(TokioIo::new(connection), TowerToHyperService::new(router)).await {
        tracing::debug!(%error, %from, "a connection ended");
    }
}

impl Handshakes {
    /// Logs a failure, unless it is that of before: a node with a wrong certificate tries again and again.
    fn note(&self, from: IpAddr, error: &(dyn std::error::Error + 'static)) {
        let failure = (from, error.to_string());
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() != Some(&failure) {
            tracing::warn!(%from, error = failure.1, "a TLS handshake failed");
            *last = Some(failure);
        }
    }
}
