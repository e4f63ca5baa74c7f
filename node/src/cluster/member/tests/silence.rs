//! A network on which a node can fall silent: what is on its way to it or from it neither arrives nor fails.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::super::transport::{Connection, Dial, TcpDialer};

/// The addresses that are silent, for good.
#[derive(Clone, Debug, Default)]
pub(super) struct Silence(Arc<Mutex<BTreeSet<String>>>);

/// Dials over TCP for the node at `own`.
#[derive(Debug)]
pub(super) struct SilenceableDialer {
    pub(super) own: String,
    pub(super) silence: Silence,
}

struct SilenceableStream {
    stream: Connection,
    ends: [String; 2],
    silence: Silence,
}

impl Silence {
    pub(super) fn falls_on(&self, address: &str) {
        self.0.lock().unwrap().insert(address.to_owned());
    }

    fn is_between(&self, ends: &[String; 2]) -> bool {
        let silent = self.0.lock().unwrap();
        ends.iter().any(|end| silent.contains(end))
    }
}

#[async_trait]
impl Dial for SilenceableDialer {
    async fn dial(&self, address: &str) -> io::Result<Connection> {
        let (ends, silence) = ([self.own.clone(), address.to_owned()], self.silence.clone());
        if silence.is_between(&ends) {
            return std::future::pending().await;
        }
        let stream = TcpDialer.dial(address).await?;
        Ok(Box::new(SilenceableStream { stream, ends, silence }))
    }
}

impl SilenceableStream {
    /// The stream, unless it is silent; nobody is woken then, since silence is for good.
    fn heard(&mut self) -> Poll<Pin<&mut Connection>> {
        if self.silence.is_between(&self.ends) { Poll::Pending } else { Poll::Ready(Pin::new(&mut self.stream)) }
    }
}

impl AsyncRead for SilenceableStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Poll::Ready(stream) = self.heard() else { return Poll::Pending };
        stream.poll_read(cx, buf)
    }
}

impl AsyncWrite for SilenceableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Poll::Ready(stream) = self.heard() else { return Poll::Pending };
        stream.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Poll::Ready(stream) = self.heard() else { return Poll::Pending };
        stream.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
