//! Connections: HTTP/1.1 with keep-alive, plain or TLS.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Builder, Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// How long opening a connection may take.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Shorter than the idle timeouts of servers and proxies, so that a request seldom meets a connection being closed.
const IDLE: Duration = Duration::from_secs(10);

/// A pool of connections.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

impl Transport {
    /// Connections without TLS.
    pub(super) fn plain() -> Self {
        Self::Plain(pool().build(connector()))
    }

    /// Connections with TLS. rustls works with `ring`, the only provider that is compiled in.
    pub(super) fn tls() -> io::Result<Self> {
        let mut http = connector();
        http.enforce_http(false);
        let https = HttpsConnectorBuilder::new().with_native_roots()?.https_only().enable_http1().wrap_connector(http);
        Ok(Self::Tls(pool().build(https)))
    }

    pub(super) fn request(&self, request: Request<Full<Bytes>>) -> ResponseFuture {
        match self {
            Self::Plain(client) => client.request(request),
            Self::Tls(client) => client.request(request),
        }
    }
}

fn pool() -> Builder {
    let mut pool = Client::builder(TokioExecutor::new());
    pool.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE);
    pool
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_DEADLINE));
    connector.set_nodelay(true);
    connector
}
