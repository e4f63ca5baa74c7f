//! The ports of a node: bound before anything else, served, and stopped in order.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::Surroundings;
use crate::admin::{self, Admin};
use crate::config::Config;
use crate::http::server::{Server, ServerLimits, bind};
use crate::lifecycle::{Readiness, Tasks, raise_open_files};
use crate::metrics::{AdminMetrics, Registry};
use crate::ports::spawn::Spawn;
use crate::service::health::Health;

/// What servers have beyond the deadline, to say that they have cut something off.
const SLACK: Duration = Duration::from_millis(250);

/// Everything that others connect to.
#[derive(Debug)]
pub(super) struct Frontend {
    readiness: Readiness,
    servers: Tasks,
    open: Vec<Server>,
    limits: ServerLimits,
    drain_delay: Duration,
    deadline: Duration,
}

/// Takes the address of the admin port.
pub(super) fn bind_admin(config: &Config) -> anyhow::Result<TcpListener> {
    bind(config.admin.listen.get()).context("the admin port (admin.listen)")
}

/// Takes the address of the public port.
pub(super) fn bind_public(config: &Config) -> anyhow::Result<TcpListener> {
    bind(config.http.listen.get()).context("the public port (http.listen)")
}

impl Frontend {
    /// No port is served yet.
    pub(super) fn new(config: &Config) -> Self {
        make_room_for(config.http.max_connections);
        let limits = ServerLimits {
            header_timeout: config.http.header_timeout.get(),
            max_header_size: config.http.max_header_size.as_usize(),
            max_connections: config.http.max_connections,
        };
        let drain_delay = config.http.drain_delay.get();
        Self {
            readiness: Readiness::default(),
            servers: Tasks::default(),
            open: Vec::new(),
            limits,
            drain_delay,
            deadline: config.http.shutdown_deadline.get().saturating_sub(drain_delay),
        }
    }

    /// Serves `router`; answers where.
    pub(super) fn serve(
        &mut self,
        name: &'static str,
        listener: TcpListener,
        router: axum::Router,
    ) -> anyhow::Result<SocketAddr> {
        let (server, task) = Server::new(listener, router, self.limits).context(name)?;
        self.servers.start(name, task);
        let address = server.address();
        self.open.push(server);
        Ok(address)
    }

    /// Serves metrics, probes and the log level; answers where.
    pub(super) fn serve_admin(
        &mut self,
        listener: TcpListener,
        registry: &Registry,
        health: Health,
        around: &Surroundings,
    ) -> anyhow::Result<SocketAddr> {
        let admin = Admin {
            registry: registry.clone(),
            metrics: AdminMetrics::new(registry),
            health,
            readiness: self.readiness.clone(),
            log_level: around.log_level.clone(),
        };
        self.serve("admin port", listener, admin::router(admin))
    }

    /// How long what is left may take once no port is open any more.
    pub(super) const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Cancelled when the servers stop.
    pub(super) fn stopping(&self) -> CancellationToken {
        self.servers.stopping()
    }

    /// Resolves when a server, or one of the node's other tasks, ended although nobody asked it to.
    pub(super) async fn failed(&self, background: &Tasks) {
        tokio::select! {
            () = self.servers.failed() => {}
            () = background.failed() => {}
        }
    }

    /// From now on `/readyz` says no, and answers ask their clients to connect elsewhere.
    pub(super) fn begin_stopping(&self) {
        self.readiness.begin_stopping();
        self.open.iter().for_each(Server::begin_stopping);
    }

    /// Not ready, a pause in which proxies notice, then no new connections, and an end to those that are open. False if
    /// something had to be cut off.
    pub(super) async fn stop(&self) -> bool {
        self.begin_stopping();
        tokio::time::sleep(self.drain_delay).await;
        // Before the servers end, so that their end is no surprise.
        self.servers.stopping().cancel();
        for server in &self.open {
            server.stop(self.deadline);
        }
        let finished = self.servers.finish(self.deadline + SLACK).await;
        finished && !self.open.iter().any(Server::has_cut_off)
    }
}

/// Each connection is an open file; so are the stores' files and what a backup opens meanwhile.
fn make_room_for(max_connections: usize) {
    const OTHERS: usize = 100;
    let files = raise_open_files();
    if files < max_connections.saturating_add(OTHERS) {
        tracing::warn!(
            files,
            max_connections,
            "this process may open fewer files than http.max_connections needs: raise the limit (ulimit -n) or lower it"
        );
    }
}
