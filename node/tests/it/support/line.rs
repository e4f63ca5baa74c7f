//! A TCP line to a server that a test can cut, mend and slow down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A line from a port of its own to a server's.
pub(crate) struct Line {
    address: SocketAddr,
    /// Raised by each cut; odd while it is cut.
    cuts: Arc<watch::Sender<u64>>,
    delay_ms: Arc<AtomicU64>,
    /// Ends with the line.
    _carrying: JoinSet<()>,
}

impl Line {
    /// A line to the server on this port of loopback.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it listens");
        let (cuts, delay_ms) = (Arc::new(watch::Sender::new(0)), Arc::new(AtomicU64::new(0)));
        let (noting, slowing) = (Arc::clone(&cuts), Arc::clone(&delay_ms));
        let mut carrying = JoinSet::new();
        carrying.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let cut = noting.subscribe();
                if *cut.borrow() % 2 == 1 {
                    continue;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let (near, far) = (near.into_split(), far.into_split());
                connections.spawn(carry(near.0, far.1, cut.clone(), Arc::clone(&slowing)));
                connections.spawn(carry(far.0, near.1, cut, Arc::default()));
            }
        });
        Self { address, cuts, delay_ms, _carrying: carrying }
    }

    /// The near end.
    pub(crate) const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Breaks every connection, and each new one.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts |= 1);
    }

    /// Lets connections be made again.
    pub(crate) fn mend(&self) {
        self.cuts.send_modify(|cuts| *cuts = (*cuts + 1) & !1);
    }

    /// Holds back everything that is sent to the server, as a slow one would.
    pub(crate) fn slow_down(&self, delay: Duration) {
        self.delay_ms.store(u64::try_from(delay.as_millis()).expect("it is short"), Ordering::Relaxed);
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: watch::Receiver<u64>, delay: Arc<AtomicU64>) {
    let began = *cut.borrow();
    let mut bytes = vec![0; 64 << 10];
    loop {
        let read = tokio::select! {
            read = from.read(&mut bytes) => read.unwrap_or(0),
            _ = cut.wait_for(|cuts| *cuts != began) => return,
        };
        if read == 0 {
            return;
        }
        let delay = Duration::from_millis(delay.load(Ordering::Relaxed));
        if !delay.is_zero() {
            tokio::time::sleep_until(Instant::now() + delay).await;
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
