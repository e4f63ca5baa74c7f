//! SQLite by itself: the conformance suite, durability settings, reopening, and files that must be refused.

use std::error::Error as _;
use std::path::PathBuf;

use stint_idgen::{Key, Lane};
use tempfile::TempDir;

use super::*;
use crate::domain::access::{ApiKeyHash, OwnerId, Scope, Scopes};
use crate::domain::label::Tags;
use crate::domain::target_url::TargetUrl;
use crate::domain::timestamp::UnixMs;
use crate::ports::key_store::{KeyStore as _, NewKey};
use crate::ports::link_store::{
    CreateOutcome, FenceStore as _, Idempotency, LinkChange, LinkStore as _, ListQuery, NewLink, VisitOutcome,
};
use crate::storage::conformance::{clicks_conform, conforms};

conforms!(crate::storage::sqlite::tests::fresh);
clicks_conform!(crate::storage::sqlite::tests::fresh);

async fn fresh() -> (SqliteStore, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (SqliteStore::open(&file(&dir)).await.unwrap(), dir)
}

fn file(dir: &TempDir) -> PathBuf {
    dir.path().join("links.db")
}

fn key(number: i64) -> Key {
    Key::new(number).unwrap()
}

fn whole(number: i64, target: &str) -> NewLink {
    NewLink {
        key: key(number),
        alias: Some(format!("the-alias-{number}").parse().unwrap()),
        nonce: None,
        owner: OwnerId(1),
        url: target.parse().unwrap(),
        created_at: UnixMs::new(number).unwrap(),
        expires_at: Some(UnixMs::MAX),
        max_visits: Some(10),
        title: Some("A title".parse().unwrap()),
        tags: Tags::parse(&["a"]).unwrap(),
        reuse: false,
        idempotency: Some(Idempotency { key: number.to_string(), request_hash: [1; 32] }),
    }
}

fn plain(number: i64, target: &str) -> NewLink {
    let all = whole(number, target);
    let reuse = true;
    NewLink {
        alias: None,
        expires_at: None,
        max_visits: None,
        title: None,
        tags: Tags::default(),
        idempotency: None,
        reuse,
        ..all
    }
}

async fn run(store: &SqliteStore, statement: &'static str) {
    sqlx::query(statement).execute(&mut *store.writer().await.unwrap()).await.unwrap();
}

async fn pragma<T>(connection: &mut SqliteConnection, statement: &'static str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + Unpin,
{
    sqlx::query_scalar(statement).fetch_one(connection).await.unwrap()
}

#[tokio::test]
async fn a_commit_reaches_the_disk_before_it_is_answered() {
    let (store, _dir) = fresh().await;
    let mut writer = store.writer().await.unwrap();
    assert_eq!(pragma::<String>(&mut writer, "PRAGMA journal_mode").await, "wal");
    assert_eq!(pragma::<i64>(&mut writer, "PRAGMA synchronous").await, 2, "2 is FULL");
}

#[tokio::test]
async fn readers_can_not_write() {
    let (store, _dir) = fresh().await;
    let refused = sqlx::query("DELETE FROM links").execute(&store.readers).await.unwrap_err();
    assert!(refused.to_string().contains("readonly"), "{refused}");
}

#[tokio::test]
async fn everything_survives_reopening() {
    let (store, dir) = fresh().await;
    let outcomes = store.create(vec![whole(1, "https://a.example/"), plain(2, "https://b.example/")]).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, CreateOutcome::Created(_))));
    store.create(vec![plain(3, "https://c.example/")]).await.unwrap();
    assert_eq!(store.count_visits(vec![key(1)]).await.unwrap(), [VisitOutcome::Counted]);
    let tombstone = store.delete(key(3)).await.unwrap();
    let change = LinkChange { title: Some(None), ..LinkChange::default() };
    let changed = store.update(key(1), change).await.unwrap();
    store.claim_code_key("aa11").await.unwrap();
    store.claim_lane(Lane::Raft, "one").await.unwrap();
    assert!(store.raise_mark(Lane::Raft, "one", 77).await.unwrap());
    let scopes = Scopes::only(Scope::Ids);
    let (name, hash) = ("a".parse().unwrap(), ApiKeyHash::of("a"));
    let new = NewKey { owner_name: "ann".parse().unwrap(), name, scopes, hash, created_at: UnixMs::MAX };
    let kept = store.insert_key(new).await.unwrap();
    Arc::new(store).close().await;

    let store = SqliteStore::open(&file(&dir)).await.unwrap();
    assert_eq!(store.find(key(1)).await.unwrap(), changed);
    assert_eq!(store.find(key(3)).await.unwrap(), tombstone);
    assert_eq!(store.find_alias(&"the-alias-1".parse().unwrap()).await.unwrap(), Some(key(1)));
    let again = store.create(vec![whole(1, "https://a.example/"), plain(4, "https://b.example/")]).await.unwrap();
    assert!(matches!(&again[0], CreateOutcome::Replayed { link, created: true } if Some(link) == changed.as_ref()));
    assert!(matches!(&again[1], CreateOutcome::Reused(link) if link.key == key(2)), "{again:?}");
    let tagged = ListQuery { owner: Some(OwnerId(1)), tag: Some("a".to_owned()), after: None, limit: 9 };
    assert_eq!(store.list(tagged).await.unwrap().len(), 1);
    assert_eq!(store.claim_code_key("bb22").await.unwrap(), "aa11");
    assert_eq!(store.claim_lane(Lane::Raft, "two").await.unwrap().mark, 77);
    assert_eq!(store.list_keys(0, 9).await.unwrap(), [kept]);
}

#[tokio::test]
async fn a_link_counts_as_written_once_a_second_connection_reads_it() {
    let (store, dir) = fresh().await;
    store.create(vec![plain(1, "https://a.example/")]).await.unwrap();
    let other = SqliteStore::open(&file(&dir)).await.unwrap();
    assert!(other.find(key(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn deleting_erases_what_the_link_held() {
    let (store, _dir) = fresh().await;
    store.create(vec![whole(1, "https://a.example/"), plain(2, "https://b.example/")]).await.unwrap();
    store.delete(key(1)).await.unwrap().unwrap();
    store.delete(key(2)).await.unwrap().unwrap();
    let mut writer = store.writer().await.unwrap();
    let left = pragma::<i64>(
        &mut writer,
        "SELECT count(*) FROM links WHERE coalesce(url, expires_at, max_visits, visits, title, tags) IS NOT NULL",
    );
    assert_eq!(left.await, 0);
    assert_eq!(pragma::<i64>(&mut writer, "SELECT count(*) FROM link_tags").await, 0);
    assert_eq!(pragma::<i64>(&mut writer, "SELECT count(*) FROM targets").await, 0);
    assert_eq!(pragma::<i64>(&mut writer, "SELECT count(*) FROM aliases").await, 1);
    assert_eq!(pragma::<i64>(&mut writer, "SELECT count(*) FROM links").await, 2);
}

/// Two URLs with the same 128 bits can't be made, so the one's row is given the other's hash.
#[tokio::test]
async fn urls_with_one_hash_are_never_taken_for_each_other() {
    let (store, _dir) = fresh().await;
    let (first, second): (TargetUrl, TargetUrl) =
        ("https://a.example/".parse().unwrap(), "https://b.example/".parse().unwrap());
    store.create(vec![plain(1, first.as_str())]).await.unwrap();
    sqlx::query("UPDATE targets SET url_hash = ?")
        .bind(second.hash().0.as_slice())
        .execute(&mut *store.writer().await.unwrap())
        .await
        .unwrap();
    assert_eq!(store.find_reusable(OwnerId(1), second.hash(), &second).await.unwrap(), None);
    let batch = vec![plain(2, second.as_str()), plain(3, second.as_str())];
    let outcomes = store.create(batch).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, CreateOutcome::Created(_))), "{outcomes:?}");
    store.delete(key(2)).await.unwrap().unwrap();
    let mut writer = store.writer().await.unwrap();
    assert_eq!(pragma::<i64>(&mut writer, "SELECT key FROM targets").await, 1, "the place belongs to the first");
}

#[tokio::test]
async fn a_value_that_can_not_be_read_is_corrupt_and_not_worth_a_retry() {
    let (store, _dir) = fresh().await;
    store.create(vec![whole(1, "https://a.example/")]).await.unwrap();
    run(&store, "UPDATE links SET tags = 'no json'").await;
    let error = store.find(key(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { what: "links.tags" }), "{error:?}");
    assert!(!error.retryable());
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_says_which() {
    let (store, dir) = fresh().await;
    run(
        &store,
        "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
         VALUES (9999, 'from the future', CURRENT_TIMESTAMP, TRUE, x'00', 0)",
    )
    .await;
    Arc::new(store).close().await;
    let error = SqliteStore::open(&file(&dir)).await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { version: 9999, .. }), "{error:?}");
    assert!(error.to_string().contains("links.db") && error.to_string().contains("9999"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_in_one_line_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let text = "not a database, but longer than its header\n".repeat(100);
    std::fs::write(file(&dir), &text).unwrap();
    let error = SqliteStore::open(&file(&dir)).await.unwrap_err();
    assert!(matches!(error, OpenError::Open { .. }), "{error:?}");
    let shown = format!("{error}: {}", error.source().unwrap());
    assert!(shown.contains("links.db") && shown.contains("not a database") && !shown.contains('\n'), "{shown:?}");
    assert_eq!(std::fs::read_to_string(file(&dir)).unwrap(), text);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = SqliteStore::open(&dir.path().join("missing/links.db")).await.unwrap_err();
    assert!(matches!(&error, OpenError::Open { path, .. } if path.ends_with("missing/links.db")), "{error:?}");
}

#[tokio::test]
async fn a_full_disk_fails_the_write_and_not_the_ones_after_it() {
    let (store, _dir) = fresh().await;
    store.create(vec![whole(1, "https://example.com/kept")]).await.unwrap();
    // The limit belongs to the connection, as a full disk belongs to the moment.
    let mut writer = store.writer().await.unwrap();
    sqlx::query("PRAGMA max_page_count = 1").execute(&mut *writer).await.unwrap();
    writer.done();
    drop(writer);
    let large = format!("https://example.com/{}", "x".repeat(8000));
    let many = (2..200).map(|number| plain(number, &format!("{large}{number}"))).collect();
    assert!(matches!(store.create(many).await, Err(StoreError::Unavailable { .. })));
    assert!(store.write_failed.load(Ordering::Acquire));
    assert!(store.find(key(1)).await.unwrap().is_some(), "reading goes on");
    assert!(store.find(key(2)).await.unwrap().is_none(), "nothing is half there");

    store.ping().await.unwrap();
    assert!(!store.write_failed.load(Ordering::Acquire), "a look at its health tries to write again");
    let outcome = store.create(vec![plain(2, "https://example.com/after")]).await.unwrap();
    assert!(matches!(outcome[..], [CreateOutcome::Created(_)]));
}

#[tokio::test]
async fn a_connection_that_a_failed_write_left_in_a_transaction_is_thrown_away() {
    let (store, _dir) = fresh().await;
    let mut writer = store.writer().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *writer).await.unwrap();
    drop(writer);
    let outcome = store.create(vec![whole(1, "https://example.com/")]).await.unwrap();
    assert!(matches!(outcome[..], [CreateOutcome::Created(_)]));
}

#[tokio::test]
async fn a_caller_who_goes_away_in_a_write_leaves_the_store_usable() {
    let (store, _dir) = fresh().await;
    for number in 1..20 {
        let mut write = std::pin::pin!(store.create(vec![whole(number, "https://example.com/")]));
        for _ in 0..number {
            if futures_util::poll!(&mut write).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let outcome = store.create(vec![whole(100, "https://example.com/last")]).await.unwrap();
    assert!(matches!(outcome[..], [CreateOutcome::Created(_)]));
}
