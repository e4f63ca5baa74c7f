//! A bound on open connections: one over it is closed at once, so that memory and file descriptors stay bounded. One
//! whose client takes nothing in is given up.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tower::Service;

/// A connection with a time limit on each write. (Reads are limited by the server: headers by a timer of their own,
/// bodies with their request.)
type Stream = Pin<Box<TimeoutStream<TcpStream>>>;

/// Accepts connections while there are permits.
#[derive(Clone, Debug)]
pub(super) struct LimitAcceptor {
    permits: Arc<Semaphore>,
    write_timeout: Duration,
}

/// A connection's service, with its permit for as long as the connection lasts.
#[derive(Clone, Debug)]
pub(super) struct Held<S> {
    service: S,
    _permit: Arc<OwnedSemaphorePermit>,
}

impl LimitAcceptor {
    pub(super) fn new(max_connections: usize, write_timeout: Duration) -> Self {
        Self { permits: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))), write_timeout }
    }
}

impl<S> Accept<TcpStream, S> for LimitAcceptor {
    type Stream = Stream;
    type Service = Held<S>;
    type Future = Ready<io::Result<(Stream, Held<S>)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            tracing::debug!("a connection was refused: http.max_connections are open");
            return ready(Err(io::Error::other("too many connections")));
        };
        // Answers are small: none should wait for the acknowledgement of the one before.
        ready(stream.set_nodelay(true).map(|()| {
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(self.write_timeout));
            (Box::pin(stream), Held { service, _permit: Arc::new(permit) })
        }))
    }
}

impl<S: Service<R>, R> Service<R> for Held<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.service.call(request)
    }
}
