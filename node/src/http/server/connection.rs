//! Connections: bounded in number, so that memory and file descriptors are; each with time limits, served until it ends, or
//! until the server stops and it owes no answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::ServerLimits;

/// How long after the stop a connection may still begin a request: one that its client has sent a moment ago is on the way, or
/// not read yet. hyper would close an idle connection at once, and the client of a proxy that doesn't repeat what it sent would
/// see an error. Whoever is answered by then is asked to close.
const LAST_REQUEST_WITHIN: Duration = Duration::from_millis(500);

/// What all connections of a server have in common.
#[derive(Debug)]
pub(super) struct Connections {
    router: Router,
    http: http1::Builder,
    permits: Arc<Semaphore>,
    write_timeout: Duration,
    /// From now on each answer asks its client to use another connection.
    leaving: Arc<AtomicBool>,
    /// From now on connections end with the answer that they owe.
    pub(super) closing: CancellationToken,
}

impl Connections {
    pub(super) fn new(router: Router, limits: ServerLimits, leaving: Arc<AtomicBool>) -> Self {
        // HTTP/1.1 only: a proxy speaks HTTP/2 to clients, and idle HTTP/2 connections would have no time limit here.
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(limits.max_header_size)
            .keep_alive(true);
        Self {
            router,
            http,
            permits: Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS))),
            write_timeout: limits.header_timeout,
            leaving,
            closing: CancellationToken::new(),
        }
    }

    /// Serves a connection as one of `tasks`; closes it at once if it is one too many.
    pub(super) fn begin(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, tasks: &mut JoinSet<()>) {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            tracing::debug!("a connection was refused: http.max_connections are open");
            return;
        };
        let connections = Arc::clone(self);
        tasks.spawn(async move {
            connections.serve(stream, peer).await;
            drop(permit);
        });
    }

    /// Whatever goes wrong ends the connection: its client went away, was too slow, or speaks something else.
    async fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        // Answers are small: none should wait for the acknowledgement of the one before.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        // Reads are limited by the server: headers by a timer of their own, bodies with their request.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.write_timeout));
        let service = service_fn(|request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            self.answer(request)
        });
        let connection = self.http.serve_connection(TokioIo::new(Box::pin(stream)), service);
        tokio::pin!(connection);
        // What has arrived is read before the time is looked at.
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = self.closing.cancelled() => {}
        }
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = tokio::time::sleep(LAST_REQUEST_WITHIN) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }

    async fn answer(&self, request: Request<Body>) -> Result<axum::response::Response, Infallible> {
        let mut response = self.router.clone().oneshot(request).await?;
        if self.leaving.load(Ordering::Relaxed) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}
