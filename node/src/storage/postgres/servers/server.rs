//! One configured server: its address, how to connect to it, and the pools of connections to it.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::Notify;
use url::Url;

use super::look_error::LookError;
use super::probe;
use crate::storage::postgres::connection::{pool_options, set_up};

/// A connection idle for longer is tried before it is used: firewalls and restarts cut idle ones.
const TRIED_AFTER_IDLE: Duration = Duration::from_secs(10);

/// What the driver understands in a URL's query. Others, which libpq knows, are left out here: the driver would log them
/// with their values.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// One configured server.
pub(super) struct Server {
    /// `host:port`, as messages name it.
    pub(super) name: String,
    /// Its number among the replicas, as metrics name it.
    pub(super) number: String,
    /// Whether it may be the primary.
    pub(super) may_be_primary: bool,
    /// Wakes whoever watches it: look now, over a new connection.
    pub(super) wake: Notify,
    options: PgConnectOptions,
}

/// What a connection to the primary must lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lineage {
    /// The cluster's system identifier.
    pub(super) system: i64,
    /// The timeline.
    pub(super) timeline: u32,
}

/// A connection that leads elsewhere.
#[derive(Debug, thiserror::Error)]
#[error("this connection leads to another server than the primary in use")]
struct Elsewhere;

impl std::fmt::Debug for Server {
    /// Without the way to connect, for its password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.name)
            .field("may_be_primary", &self.may_be_primary)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Reads a URL.
    pub(super) fn parse(url: &str, may_be_primary: bool, number: usize) -> Result<Self, LookError> {
        let named = |options: &PgConnectOptions| match options.get_socket() {
            Some(socket) => format!("{}:{}", socket.display(), options.get_port()),
            None if options.get_host().contains(':') => format!("[{}]:{}", options.get_host(), options.get_port()),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let unreadable =
            |reason: String| LookError::refused(&format!("number {number}"), reason, "correct the database's URL");
        let url: Url = url.parse().map_err(|error: url::ParseError| unreadable(error.to_string()))?;
        let options = PgConnectOptions::from_url(&known(&url)).map_err(|error| unreadable(error.to_string()))?;
        // The driver hands brackets on to the resolver, which knows none.
        let host = options.get_host().trim_matches(['[', ']']).to_owned();
        let options = options
            .host(&host)
            // PgBouncer refuses it as a start-up parameter; servers from version 12 on need none.
            .extra_float_digits(None);
        let options =
            if options.get_application_name().is_none() { options.application_name("stint") } else { options };
        let server =
            Self { name: named(&options), number: number.to_string(), may_be_primary, wake: Notify::new(), options };
        server.check_files(&url)?;
        Ok(server)
    }

    /// Whether both are one database of one server.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.name == other.name && self.options.get_database() == other.options.get_database()
    }

    /// A connection of its own, whose statements aren't logged: they come twice a second.
    pub(super) async fn connect(&self) -> sqlx::Result<PgConnection> {
        self.options.clone().disable_statement_logging().connect().await
    }

    /// A pool for reading.
    pub(super) fn reading_pool(&self, size: u32) -> PgPool {
        let pool = Self::pool(size).after_connect(|connection, _| Box::pin(set_up(connection)));
        pool.connect_lazy_with(self.options.clone())
    }

    /// A pool for writing: each connection is let in only if it leads to the primary of this lineage. Names may come to
    /// mean another server between two looks.
    pub(super) fn writing_pool(&self, size: u32, lineage: Lineage) -> PgPool {
        let pool = Self::pool(size).after_connect(move |connection, _| {
            Box::pin(async move {
                check(connection, lineage).await?;
                set_up(connection).await
            })
        });
        pool.connect_lazy_with(self.options.clone())
    }

    fn pool(size: u32) -> PgPoolOptions {
        pool_options(size).before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > TRIED_AFTER_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
    }

    /// A certificate that isn't there looks like a server that is away, later.
    fn check_files(&self, url: &Url) -> Result<(), LookError> {
        for (parameter, file) in url.query_pairs().filter(|(parameter, _)| is_file(parameter)) {
            if let Err(error) = std::fs::File::open(&*file) {
                let reason = format!("{parameter} {file:?} can't be read: {error}");
                return Err(LookError::refused(&self.name, reason, "correct the path in the URL"));
            }
        }
        Ok(())
    }
}

async fn check(connection: &mut PgConnection, lineage: Lineage) -> sqlx::Result<()> {
    let leads_to = probe::lineage(connection).await?;
    if leads_to == Some(lineage) { Ok(()) } else { Err(sqlx::Error::Configuration(Box::new(Elsewhere))) }
}

fn is_file(parameter: &str) -> bool {
    PARAMETERS[2..9].contains(&parameter)
}

/// The URL without parameters that the driver doesn't know.
fn known(url: &Url) -> Url {
    let is_known = |name: &str| PARAMETERS.contains(&name) || name.starts_with("options[");
    let mut known = url.clone();
    let (kept, dropped): (Vec<_>, Vec<_>) = url.query_pairs().partition(|(name, _)| is_known(name));
    for (name, _) in dropped {
        tracing::debug!(parameter = %name, "a parameter of the database's URL has no effect here");
    }
    known.set_query(None);
    if !kept.is_empty() {
        known.query_pairs_mut().extend_pairs(kept);
    }
    known
}
