//! The Postgres store on a real server: the conformance suite, and what only Postgres has to do.

mod feed;
mod fencing;
mod pages;
mod schema;

use super::*;
use crate::domain::access::OwnerId;
use crate::domain::label::Tags;
use crate::domain::timestamp::UnixMs;
use crate::ports::link_store::NewLink;
use crate::storage::conformance::conforms;
use crate::storage::test_postgres::{migrated_database, shared};

conforms!(crate::storage::postgres::tests::fresh);

/// A store over a database of its own.
pub(super) async fn fresh() -> (PgStore, ()) {
    (open(&database()), ())
}

pub(super) fn open(url: &str) -> PgStore {
    PgStore::new(Arc::new(Servers::single(url, 5).unwrap()))
}

/// A store with one connection, which can end all others.
pub(super) fn open_single(url: &str) -> PgStore {
    PgStore::new(Arc::new(Servers::single(url, 1).unwrap()))
}

/// A new database of which every statement is logged.
pub(super) fn logging_database() -> String {
    let url = database();
    let name = url.rsplit('/').next().unwrap();
    shared().execute(&format!("ALTER DATABASE {name} SET log_statement = 'all'"));
    url
}

/// How many prepared statements were executed in such a database so far.
pub(super) fn executed(url: &str) -> usize {
    let start = format!("{} LOG:  execute ", url.rsplit('/').next().unwrap());
    shared().log().lines().filter(|line| line.starts_with(&start)).count()
}

/// The URL of a new database with the schema.
pub(super) fn database() -> String {
    migrated_database(|url| {
        let url = url.to_owned();
        // A runtime can't wait within a runtime, and this is called once.
        let migrated = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(migrate(&url))
        });
        migrated.join().unwrap().unwrap();
    })
}

pub(super) fn key(number: i64) -> Key {
    Key::new(number).unwrap()
}

/// A link that may be reused, created at a moment of its own.
pub(super) fn plain(number: i64, target: &str) -> NewLink {
    NewLink {
        key: key(number),
        alias: None,
        nonce: None,
        owner: OwnerId(1),
        url: target.parse().unwrap(),
        created_at: UnixMs::new(number.abs()).unwrap(),
        expires_at: None,
        max_visits: None,
        title: None,
        tags: Tags::default(),
        reuse: true,
        idempotency: None,
    }
}

pub(super) fn named(number: i64, alias: &str) -> NewLink {
    NewLink {
        alias: Some(alias.parse().unwrap()),
        nonce: Some(7),
        reuse: false,
        ..plain(number, "https://example.com/")
    }
}

/// Does one statement.
pub(super) async fn run(store: &PgStore, statement: &'static str) {
    sqlx::query(statement).execute(&store.servers.primary().unwrap().pool).await.unwrap();
}

/// One number that the database answers.
pub(super) async fn number(store: &PgStore, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(&store.servers.primary().unwrap().pool).await.unwrap()
}

/// Waits until a statement in the store's database waits for another one's lock.
pub(super) async fn until_one_waits(store: &PgStore) {
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let started = Instant::now();
    while number(store, waiting).await == 0 {
        assert!(started.elapsed() < Duration::from_secs(30), "nobody waits for a lock");
    }
}
