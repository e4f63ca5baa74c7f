//! Connections between nodes: dialled and accepted through traits, so that a simulated network can take TCP's place.

mod tls;

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use tls::{Tls, TlsError, TlsFiles};

/// Both directions of one connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Duplex for T {}

/// One connection.
pub type Connection = Box<dyn Duplex>;

/// Makes connections.
#[async_trait]
pub trait Dial: Debug + Send + Sync + 'static {
    /// A connection to `address`, `host:port`.
    ///
    /// # Errors
    /// Whatever the network says: a name that doesn't resolve, nobody listening.
    async fn dial(&self, address: &str) -> io::Result<Connection>;
}

/// Accepts connections.
#[async_trait]
pub trait Listen: Debug + Send + 'static {
    /// The next connection and where it comes from.
    ///
    /// # Errors
    /// Whatever the network says; the next call may succeed.
    async fn accept(&mut self) -> io::Result<(Connection, SocketAddr)>;
}

/// TCP, with small writes sent at once.
#[derive(Clone, Copy, Debug)]
pub struct TcpDialer;

#[async_trait]
impl Dial for TcpDialer {
    async fn dial(&self, address: &str) -> io::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

#[async_trait]
impl Listen for TcpListener {
    async fn accept(&mut self) -> io::Result<(Connection, SocketAddr)> {
        let (stream, from) = Self::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok((Box::new(stream), from))
    }
}

/// The tasks that serve connections: they come and go with them, and end all together.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Connections {
    /// Serves a connection until it ends, or all of them are to end.
    #[expect(clippy::disallowed_methods, reason = "a connection may end at any time, and is tracked here")]
    pub(super) fn spawn(&self, serving: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        tokio::spawn(self.tracker.track_future(async move {
            tokio::select! {
                () = serving => {}
                () = stop.cancelled() => {}
            }
        }));
    }

    /// Cancelled when no connection is wanted any more.
    pub(super) const fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Cuts all connections and waits until their tasks are gone.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
