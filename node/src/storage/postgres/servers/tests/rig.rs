//! Nodes over real servers, and a register of timelines that can be away.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row as _;
use tokio::time::{Instant, interval};

use super::super::*;
use crate::lifecycle::Tasks;
use crate::metrics::Registry;
use crate::ports::coordination::CoordinationError;
use crate::storage::test_postgres::Postgres;

/// How long anything may take before a test gives up waiting. Nothing waits for it when all is well.
const DEADLINE: Duration = Duration::from_mins(1);

/// Small, so that a test sees it passed.
pub(super) const MAX_LAG: Duration = Duration::from_secs(2);

/// A role that may do no more than the documents say.
const ROLE: &str = "
CREATE ROLE app LOGIN;
CREATE TABLE settings (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE lanes (lane smallint PRIMARY KEY, source text, mark bigint NOT NULL, timeline integer NOT NULL DEFAULT 0);
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app;";

/// A register that all nodes of a test share.
#[derive(Debug, Default)]
pub(super) struct Register {
    pub(super) highest: AtomicU32,
    pub(super) away: AtomicBool,
    pub(super) asked: AtomicUsize,
}

#[async_trait]
impl TimelineRegister for Register {
    async fn raise(&self, timeline: u32) -> Result<u32, CoordinationError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return Err(CoordinationError::Unavailable { source: "nobody is there".into() });
        }
        Ok(self.highest.fetch_max(timeline, Ordering::SeqCst).max(timeline))
    }
}

/// One node's view of the servers.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) servers: Servers,
    pub(super) registry: Registry,
    tasks: Tasks,
}

/// A primary with the role and the tables that a node needs.
pub(super) fn primary() -> Postgres {
    let server = Postgres::start();
    server.execute(ROLE);
    server
}

pub(super) fn url(server: &Postgres) -> String {
    format!("postgres://app@127.0.0.1:{}/postgres", server.port())
}

pub(super) fn name(server: &Postgres) -> String {
    format!("127.0.0.1:{}", server.port())
}

pub(super) fn options(primaries: &[&Postgres], replicas: &[&Postgres]) -> ServerOptions {
    let urls = |servers: &[&Postgres]| servers.iter().map(|server| url(server)).collect();
    ServerOptions {
        primary_urls: urls(primaries),
        replica_urls: urls(replicas),
        pool_size: 2,
        max_replica_lag: MAX_LAG,
    }
}

/// Waits until `condition` holds.
pub(super) async fn eventually(what: impl Fn() -> String, condition: impl AsyncFn() -> bool) {
    let began = Instant::now();
    let mut tick = interval(Duration::from_millis(20));
    while !condition().await {
        tick.tick().await;
        assert!(began.elapsed() < DEADLINE, "not within {DEADLINE:?}: {}", what());
    }
}

impl Node {
    pub(super) fn start(options: &ServerOptions, register: Option<&Arc<Register>>) -> Self {
        let (registry, tasks) = (Registry::new().unwrap(), Tasks::default());
        let register = register.map(|register| Arc::<Register>::clone(register) as Arc<dyn TimelineRegister>);
        let metrics = Arc::new(DatabaseMetrics::new(&registry));
        let servers = Servers::start(options, register, metrics, &tasks).unwrap();
        // What is in the databases is no matter here.
        servers.admit();
        Self { servers, registry, tasks }
    }

    /// Waits until the primary is this server, on this timeline.
    pub(super) async fn has_primary(&self, server: &Postgres, timeline: u32) {
        let wanted = (Some(name(server)), Some(timeline));
        let what = format!("{wanted:?} is the primary");
        self.comes_to(&what, |status| (status.primary.clone(), status.timeline) == wanted).await;
    }

    /// Waits until there is no primary, and the reason holds this text.
    pub(super) async fn has_none(&self, why: &str) {
        let what = format!("there is no primary: {why}");
        self.comes_to(&what, |status| status.problem.as_ref().is_some_and(|problem| problem.contains(why))).await;
        let error = self.servers.primary().unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains(why) && !source.contains('\n'), "{source}");
    }

    /// Waits until this server is read.
    pub(super) async fn reads(&self, server: &Postgres) {
        let what = format!("{} is read", name(server));
        self.comes_to(&what, |status| of(status, server).is_some_and(|replica| replica.out.is_none())).await;
    }

    /// Waits until this server isn't read, for a reason with this text.
    pub(super) async fn leaves_out(&self, server: &Postgres, why: &str) {
        let what = format!("{} is not read: {why}", name(server));
        let holds = |out: &String| out.contains(why);
        self.comes_to(&what, |status| {
            of(status, server).is_some_and(|replica| replica.out.as_ref().is_some_and(holds))
        })
        .await;
    }

    async fn comes_to(&self, what: &str, holds: impl Fn(&ServersStatus) -> bool) {
        let describe = || format!("{what}; it is {:#?}", self.servers.status());
        eventually(describe, async || holds(&self.servers.status())).await;
    }

    /// The ports of the replicas that are read, each once.
    pub(super) async fn read_ports(&self) -> Vec<u16> {
        let mut ports = Vec::new();
        for _ in 0..4 {
            if let Some(pool) = self.servers.replica() {
                let row = sqlx::query("SELECT current_setting('port')::integer").fetch_one(&pool).await.unwrap();
                ports.push(u16::try_from(row.get::<i32, _>(0)).unwrap());
            }
        }
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    pub(super) async fn stop(self) {
        assert!(self.tasks.finish(DEADLINE).await);
    }
}

fn of<'a>(status: &'a ServersStatus, server: &Postgres) -> Option<&'a ReplicaStatus> {
    status.replicas.iter().find(|replica| replica.server == name(server))
}
