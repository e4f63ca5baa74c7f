//! Bringing the schema up to date, and looking whether a node can work with it.
//!
//! A schema that is newer than this program is fine as long as it only expands what this program knows: the setting
//! `schema_min_version` says so. Errors are one line each; `is_away` tells a server that can't be reached from one that
//! answers and refuses.

use sqlx::Connection as _;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};

use super::connection::{code, is_doubtful};

/// What a migration did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrateReport {
    /// The database, without its password.
    pub server: String,
    /// The schema version before; `None` if there was no schema.
    pub before: Option<i64>,
    /// The schema version now.
    pub now: i64,
}

/// Why a database can't be used, or not brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The URL is none.
    #[error("the database's URL can't be read")]
    Url(#[source] sqlx::Error),
    /// The server can't be reached, or doesn't take connections now.
    #[error("the database server {server} can't be reached")]
    Away {
        /// Which server.
        server: String,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// The server refuses the user.
    #[error("the database server {server} refuses the user `{user}`: check name and password")]
    Credentials {
        /// Which server.
        server: String,
        /// Which user.
        user: String,
        /// What the server said.
        #[source]
        source: sqlx::Error,
    },
    /// The server has no such database.
    #[error("the database server {server} has no such database: create it first")]
    NoDatabase {
        /// Which server, with the database.
        server: String,
        /// What the server said.
        #[source]
        source: sqlx::Error,
    },
    /// There is no schema yet.
    #[error("the database {server} has no schema yet: run `stint migrate`")]
    Missing {
        /// Which database.
        server: String,
    },
    /// The schema is of an older version.
    #[error("the database {server} has schema {version}, and this program needs {known}: run `stint migrate`")]
    Older {
        /// Which database.
        server: String,
        /// Its schema.
        version: i64,
        /// The newest schema that this program knows.
        known: i64,
    },
    /// The schema is of a newer version that this program can't work with.
    #[error(
        "the database {server} has schema {version}, which needs a newer version of Stint (this one knows {known})"
    )]
    Newer {
        /// Which database.
        server: String,
        /// Its schema.
        version: i64,
        /// The newest schema that this program knows.
        known: i64,
    },
    /// The schema was made by other migrations than this program's, under the same numbers.
    #[error(
        "the database {server} has a schema {version} that no release of Stint made: `stint migrate` a new, empty database"
    )]
    Foreign {
        /// Which database.
        server: String,
        /// The first schema version that differs.
        version: i64,
    },
    /// A statement failed.
    #[error("the database {server} can't be used: {operation} failed")]
    Failed {
        /// Which database.
        server: String,
        /// What was tried.
        operation: &'static str,
        /// What the driver said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl SchemaError {
    /// Whether the server just isn't there, and may come back, rather than answering and refusing.
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}

/// Brings the schema of the database at `url` up to date. Several may do so at once: one does, the others wait for it.
///
/// # Errors
/// [`SchemaError`]; each migration was made as a whole, or not at all.
pub async fn migrate(url: &str) -> Result<MigrateReport, SchemaError> {
    let options: PgConnectOptions = url.parse().map_err(SchemaError::Url)?;
    let options = options.application_name("stint migrate");
    let failed = explain(&options, "connecting");
    let mut connection = PgConnection::connect_with(&options).await.map_err(failed)?;
    let before = applied(&mut connection).await.map_err(explain(&options, "reading the schema's version"))?;
    check_same(&options, &before)?;
    check_newer(&mut connection, &options, &before).await?;
    let mut migrations = migrations();
    // Newer ones that only expand were let through above.
    migrations.set_ignore_missing(true);
    migrations.run(&mut connection).await.map_err(|source| SchemaError::Failed {
        server: shown(&options),
        operation: "a migration",
        source: source.into(),
    })?;
    let now = applied(&mut connection).await.map_err(explain(&options, "reading the schema's version"))?;
    // Closed or not: all is done.
    drop(connection.close().await);
    Ok(MigrateReport { server: shown(&options), before: newest(&before), now: newest(&now).unwrap_or_default() })
}

/// Whether a node can work with the schema.
///
/// # Errors
/// [`SchemaError`], with what to do about it.
pub async fn check_schema(pool: &PgPool) -> Result<(), SchemaError> {
    let options = pool.connect_options();
    let mut connection = pool.acquire().await.map_err(explain(&options, "connecting"))?;
    let applied = applied(&mut connection).await.map_err(explain(&options, "reading the schema's version"))?;
    let Some(version) = newest(&applied) else {
        return Err(SchemaError::Missing { server: shown(&options) });
    };
    check_same(&options, &applied)?;
    if migrations().iter().any(|known| applied.iter().all(|made| made.version != known.version)) {
        return Err(SchemaError::Older { server: shown(&options), version, known: newest_known() });
    }
    check_newer(&mut connection, &options, &applied).await
}

/// Refuses a schema that only looks like this program's.
fn check_same(options: &PgConnectOptions, applied: &[Applied]) -> Result<(), SchemaError> {
    let migrations = migrations();
    let differs = |made: &&Applied| {
        migrations.iter().any(|known| known.version == made.version && *known.checksum != *made.checksum)
    };
    match applied.iter().find(differs) {
        Some(made) => Err(SchemaError::Foreign { server: shown(options), version: made.version }),
        None => Ok(()),
    }
}

/// Refuses a schema that has left this program's behind.
async fn check_newer(
    connection: &mut PgConnection,
    options: &PgConnectOptions,
    applied: &[Applied],
) -> Result<(), SchemaError> {
    let known = newest_known();
    let Some(version) = newest(applied).filter(|version| *version > known) else { return Ok(()) };
    let least: Option<String> = sqlx::query_scalar("SELECT value FROM settings WHERE name = 'schema_min_version'")
        .fetch_optional(connection)
        .await
        .map_err(explain(options, "reading the schema's version"))?;
    match least.and_then(|least| least.parse::<i64>().ok()) {
        Some(least) if least <= known => Ok(()),
        _ => Err(SchemaError::Newer { server: shown(options), version, known }),
    }
}

/// A migration that was made.
#[derive(sqlx::FromRow)]
struct Applied {
    version: i64,
    /// Of its text.
    checksum: Vec<u8>,
}

fn newest(applied: &[Applied]) -> Option<i64> {
    applied.last().map(|made| made.version)
}

/// The migrations that were made, by number; none where there is no schema.
async fn applied(connection: &mut PgConnection) -> Result<Vec<Applied>, sqlx::Error> {
    let query = sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version");
    match query.fetch_all(connection).await {
        // 42P01: there is no such table.
        Err(error) if code(&error) == Some("42P01") => Ok(Vec::new()),
        answer => answer,
    }
}

/// The migrations that this program knows.
fn migrations() -> Migrator {
    sqlx::migrate!("migrations/postgres")
}

fn newest_known() -> i64 {
    migrations().iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// Says in words what an error of the driver means.
fn explain(options: &PgConnectOptions, operation: &'static str) -> impl Fn(sqlx::Error) -> SchemaError {
    let (server, user) = (shown(options), options.get_username().to_owned());
    move |source| {
        let server = server.clone();
        match code(&source) {
            Some("28P01" | "28000") => SchemaError::Credentials { server, user: user.clone(), source },
            Some("3D000") => SchemaError::NoDatabase { server, source },
            // 53300: it has too many clients.
            Some("53300") => SchemaError::Away { server, source },
            _ if is_doubtful(&source) && !matches!(source, sqlx::Error::Tls(_)) => SchemaError::Away { server, source },
            _ => SchemaError::Failed { server, operation, source: source.into() },
        }
    }
}

/// The database as messages name it: `host:port/name`.
fn shown(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(socket) => format!("{}/{database}", socket.display()),
        None => format!("{}:{}/{database}", options.get_host(), options.get_port()),
    }
}
