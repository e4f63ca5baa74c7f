//! Listening and serving: one HTTP server with time and size limits, stopped with a deadline.
//!
//! **A request that comes while the server stops is answered**, or can't connect: everything that waits to be accepted is
//! taken in before the listener is closed, and each connection has a moment to be heard. (But for a handshake that is under
//! way at that very moment: the kernel resets it.)

mod connection;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::connection::Connections;

/// How long nothing is accepted after that failed: most likely there are no files left to open.
const REST: Duration = Duration::from_millis(50);
/// Connections that may wait to be accepted, as far as Linux lets them (`net.core.somaxconn`, 4096 by default). One more would
/// be tried again a second later, and proxies don't wait that long.
const BACKLOG: u16 = 4096;

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
    leaving: Arc<AtomicBool>,
    cut_off: Arc<AtomicBool>,
    stop: watch::Sender<Option<Duration>>,
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
        rustix::net::listen(&listener, BACKLOG.into())?;
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
    ) -> io::Result<(Self, impl Future<Output = ()> + Send + 'static)> {
        let address = listener.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        // What the router holds is closed when the task has ended: nothing of it may be kept here.
        let (leaving, cut_off) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let connections = Arc::new(Connections::new(router, limits, Arc::clone(&leaving)));
        let (stop, stopping) = watch::channel(None);
        let task = serve(listener, connections, stopping, Arc::clone(&cut_off));
        Ok((Self { address, leaving, cut_off, stop }, task))
    }

    /// Where the server listens: port 0 is resolved.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on each answer asks its client to make another connection, elsewhere if it can.
    pub fn begin_stopping(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Stops accepting, lets requests under way finish, and cuts off what is left after `deadline`.
    pub fn stop(&self, deadline: Duration) {
        self.begin_stopping();
        self.stop.send_replace(Some(deadline));
    }

    /// Whether something was cut off.
    pub fn has_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Relaxed)
    }
}

async fn serve(
    listener: tokio::net::TcpListener,
    connections: Arc<Connections>,
    mut stop: watch::Receiver<Option<Duration>>,
    cut_off: Arc<AtomicBool>,
) {
    let (mut tasks, mut failing) = (JoinSet::new(), false);
    let deadline = loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    failing = false;
                    connections.begin(stream, peer, &mut tasks);
                }
                // A client that was gone before it was accepted is no reason to wait.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "connections can't be accepted; trying again");
                    }
                    tokio::time::sleep(REST).await;
                }
            },
            Some(_) = tasks.join_next() => {}
            deadline = wanted(&mut stop) => break deadline,
        }
    };
    accept_what_waits(listener, &connections, &mut tasks);
    connections.closing.cancel();
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(deadline, all).await.is_err() {
        cut_off.store(true, Ordering::Relaxed);
        tracing::warn!(connections = tasks.len(), "requests took too long to finish, and were cut off");
        tasks.shutdown().await;
    }
}

/// Resolves when the server is to stop, with the time it has for that; none if its owner is gone.
async fn wanted(stop: &mut watch::Receiver<Option<Duration>>) -> Duration {
    stop.wait_for(Option::is_some).await.ok().and_then(|stop| *stop).unwrap_or_default()
}

/// Takes in whoever has connected, and closes the listener: the kernel would reset these connections.
fn accept_what_waits(listener: tokio::net::TcpListener, connections: &Arc<Connections>, tasks: &mut JoinSet<()>) {
    // The runtime may not have heard of them yet; the kernel has.
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..BACKLOG {
        match listener.accept() {
            Ok((stream, peer)) => {
                if stream.set_nonblocking(true).is_ok()
                    && let Ok(stream) = TcpStream::from_std(stream)
                {
                    connections.begin(stream, peer, tasks);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => return,
        }
    }
}
