//! Looking at one server, over a connection of its own and with short deadlines: a server that hangs is one that is
//! away.

use std::time::Duration;

use sqlx::{Executor, PgConnection, Row};
use tokio::time::{Instant, timeout};

use super::look_error::LookError;
use super::server::{Lineage, Server};

/// How long connecting, and looking, may take.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
const LOOK_DEADLINE: Duration = Duration::from_secs(2);

/// All that is asked of a server, with what any role may call. The flushed position can't go back, as the written one
/// may in a crash. The name of a WAL file begins with the timeline, which only a primary can tell.
const LOOK: &str = "
SELECT pg_is_in_recovery() AS in_recovery,
       (SELECT system_identifier FROM pg_control_system()) AS system,
       current_setting('transaction_read_only') = 'on' AS read_only,
       CASE WHEN NOT pg_is_in_recovery() THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END AS timeline,
       CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0')::bigint
            ELSE (pg_current_wal_flush_lsn() - '0/0')::bigint END AS position,
       (pg_last_wal_receive_lsn() - '0/0')::bigint AS received,
       (SELECT received_tli FROM pg_stat_wal_receiver) AS following,
       CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END AS paused,
       extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS replay_age";

/// What a look brought.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// When it began.
    pub(super) at: Instant,
    /// The identity that a cluster shares with its replicas.
    pub(super) system: i64,
    /// What the server is.
    pub(super) role: Role,
}

/// What a server is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Role {
    /// It isn't in recovery.
    Primary {
        timeline: u32,
        /// What it has flushed of its log.
        position: u64,
        /// Whether it takes writes.
        writable: bool,
    },
    /// It is in recovery.
    Replica(Progress),
}

/// How far a replica has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Progress {
    /// What it has replayed of the log.
    pub(super) replayed: u64,
    /// What it has received.
    pub(super) received: Option<u64>,
    /// The timeline that it receives, where the role may see it.
    pub(super) following: Option<u32>,
    /// Whether somebody told it not to replay.
    pub(super) paused: bool,
    /// How long ago, by its clock, the last transaction that it has replayed was committed.
    pub(super) replay_age: Option<Duration>,
}

impl Look {
    /// The lineage of a primary.
    pub(super) const fn lineage(&self) -> Option<Lineage> {
        match self.role {
            Role::Primary { timeline, .. } => Some(Lineage { system: self.system, timeline }),
            Role::Replica(_) => None,
        }
    }
}

/// Looks at one server, again and again.
#[derive(Debug)]
pub(super) struct Probe<'a> {
    server: &'a Server,
    connection: Option<PgConnection>,
}

impl<'a> Probe<'a> {
    pub(super) const fn new(server: &'a Server) -> Self {
        Self { server, connection: None }
    }

    /// The next look goes over a new connection: an old session keeps some settings that new ones don't have.
    pub(super) fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Looks.
    pub(super) async fn look(&mut self) -> Result<Look, LookError> {
        let name = &self.server.name;
        // Taken out: a connection that a look was given up on is closed, for its answer may still come.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(self.server).await?,
        };
        match timeout(LOOK_DEADLINE, look(&mut connection)).await {
            Ok(Ok(look)) => {
                self.connection = Some(connection);
                Ok(look)
            }
            Ok(Err(error)) => Err(LookError::of(name, &error)),
            Err(_) => Err(LookError::slow(name, "it connects and doesn't answer within 2 s")),
        }
    }
}

/// Connects, within the deadline.
pub(super) async fn connect(server: &Server) -> Result<PgConnection, LookError> {
    match timeout(CONNECT_DEADLINE, server.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(LookError::of(&server.name, &error)),
        Err(_) => Err(LookError::slow(&server.name, "it doesn't let anybody in within 2 s")),
    }
}

/// The lineage of the primary that a connection leads to; `None` if it leads to none.
pub(super) async fn lineage(connection: &mut PgConnection) -> sqlx::Result<Option<Lineage>> {
    Ok(look(connection).await?.lineage())
}

async fn look(connection: &mut PgConnection) -> sqlx::Result<Look> {
    let at = Instant::now();
    // Not prepared: nothing is left in the session, so that PgBouncer may hand it on in between.
    let row = connection.fetch_one(sqlx::raw_sql(LOOK)).await?;
    let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
    let position = row.try_get::<Option<i64>, _>("position")?.map_or(0, unsigned);
    let role = match row.try_get::<Option<&str>, _>("timeline")? {
        Some(timeline) => Role::Primary {
            timeline: u32::from_str_radix(timeline, 16).map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            position,
            writable: !row.try_get::<bool, _>("read_only")?,
        },
        None => Role::Replica(Progress {
            replayed: position,
            received: row.try_get::<Option<i64>, _>("received")?.map(unsigned),
            following: row.try_get::<Option<i32>, _>("following")?.and_then(|timeline| timeline.try_into().ok()),
            paused: row.try_get("paused")?,
            replay_age: row
                .try_get::<Option<f64>, _>("replay_age")?
                .and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok()),
        }),
    };
    Ok(Look { at, system: row.try_get("system")?, role })
}
