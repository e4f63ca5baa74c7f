//! Listening and serving: one HTTP server with time and size limits, stopped with a deadline.

mod limit;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use hyper_util::rt::TokioTimer;

use self::limit::LimitAcceptor;

/// Limits on what a client may make the server wait for or hold.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// How long a client may take to send its headers, to take in a piece of an answer, and to stay idle.
    pub header_timeout: Duration,
    /// The largest request line and headers together, in bytes.
    pub max_header_size: usize,
    /// Open connections; one more is closed at once.
    pub max_connections: usize,
}

/// A server that is listening.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    handle: Handle<SocketAddr>,
}

/// An address that can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}")]
pub struct ListenError {
    /// Which address.
    pub address: SocketAddr,
    /// What the operating system said.
    #[source]
    pub source: io::Error,
}

/// Takes an address, so that a port in use is known before anything else is started.
///
/// # Errors
/// [`ListenError`], naming the address.
pub fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|source| ListenError { address, source })
}

impl Server {
    /// A server for `router` on `listener`, and the task that must be spawned for it.
    ///
    /// # Errors
    /// When the listener can't be used by the runtime.
    pub fn new(
        listener: TcpListener,
        router: Router,
        limits: ServerLimits,
    ) -> io::Result<(Self, impl Future<Output = io::Result<()>> + Send + 'static)> {
        let address = listener.local_addr()?;
        let handle = Handle::new();
        // HTTP/1.1 only: a proxy speaks HTTP/2 to clients, and idle HTTP/2 connections would have no time limit here.
        let mut server = axum_server::from_tcp(listener)?
            .handle(handle.clone())
            .acceptor(LimitAcceptor::new(limits.max_connections, limits.header_timeout))
            .http1_only();
        server
            .http_builder()
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(limits.max_header_size)
            .keep_alive(true);
        Ok((Self { address, handle }, server.serve(router.into_make_service_with_connect_info::<SocketAddr>())))
    }

    /// Where the server listens: port 0 is resolved.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets requests under way finish, and cuts off what is left after `deadline`.
    pub fn stop(&self, deadline: Duration) {
        self.handle.graceful_shutdown(Some(deadline));
    }
}
