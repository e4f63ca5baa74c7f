//! The simulated network under the real RPC: HTTP/2 over turmoil's TCP.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use stint::cluster::transport::{Connection, Dial, Listen};
use turmoil::net::{TcpListener, TcpStream};

/// The port that every allocator listens on.
pub(crate) const PORT: u16 = 7101;

/// Dials hosts by name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SimDialer;

/// Accepts what comes in on [`PORT`].
pub(crate) struct SimListener(TcpListener);

#[async_trait]
impl Dial for SimDialer {
    async fn dial(&self, address: &str) -> io::Result<Connection> {
        Ok(Box::new(TcpStream::connect(address).await?))
    }
}

impl SimListener {
    pub(crate) async fn bind() -> io::Result<Self> {
        TcpListener::bind(("0.0.0.0", PORT)).await.map(Self)
    }
}

impl std::fmt::Debug for SimListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimListener")
    }
}

#[async_trait]
impl Listen for SimListener {
    async fn accept(&mut self) -> io::Result<(Connection, SocketAddr)> {
        let (stream, from) = self.0.accept().await?;
        Ok((Box::new(stream), from))
    }
}

/// How an allocator's address is written.
pub(crate) fn address(host: &str) -> String {
    format!("{host}:{PORT}")
}
