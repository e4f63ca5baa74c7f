//! The record of changes, and reading from the primary.

use futures_util::future::join_all;

use super::*;
use crate::domain::alias::Alias;
use crate::ports::change_feed::{Change, ChangeFeed as _};
use crate::ports::link_store::{LinkChange, LinkStore as _, VisitOutcome};

fn change(seq: i64, of: i64, version: i64) -> Change {
    Change { seq, key: key(of), version }
}

#[tokio::test]
async fn names_and_changes_are_recorded_and_plain_creates_are_not() {
    let (store, ()) = fresh().await;
    let key_alias = NewLink { nonce: Some(1), reuse: false, ..plain(3, "https://example.com/3") };
    store.create(vec![plain(1, "https://example.com/1"), named(2, "a-name-of-its-own"), key_alias]).await.unwrap();
    store.update(key(1), LinkChange::default()).await.unwrap().unwrap();
    store.delete(key(1)).await.unwrap().unwrap();
    assert_eq!(store.update(key(1), LinkChange::default()).await.unwrap(), None);
    store.create(vec![plain(4, "https://example.com/1")]).await.unwrap();
    let all = [change(1, 2, 1), change(2, 3, 1), change(3, 1, 2), change(4, 1, 3)];
    let page = store.read(0, &[], 10).await.unwrap();
    assert_eq!((page.timeline, &page.changes[..]), (1, &all[..]));
    assert_eq!(store.read(2, &[], 10).await.unwrap().changes, all[2..]);
    assert_eq!(store.read(3, &[1, 2, 9], 10).await.unwrap().changes, [all[0], all[1], all[3]]);
    assert_eq!(store.read(2, &[3, 4], 10).await.unwrap().changes, all[2..], "none comes twice");
    assert_eq!(store.read(3, &[1, 2], 2).await.unwrap().changes, all[..2]);
    assert_eq!(store.read(4, &[], 10).await.unwrap().changes, []);
}

#[tokio::test]
async fn changes_are_forgotten_after_an_hour() {
    let (store, ()) = fresh().await;
    store.create((1..=4).map(|number| named(number, &format!("the-alias-{number}"))).collect()).await.unwrap();
    run(&store, "UPDATE changes SET at = now() - interval '61 minutes' WHERE seq IN (1, 3)").await;
    run(&store, "UPDATE changes SET at = now() - interval '59 minutes' WHERE seq = 2").await;
    assert_eq!(store.forget_old_changes().await.unwrap(), 2);
    assert_eq!(store.forget_old_changes().await.unwrap(), 0);
    let left: Vec<i64> = store.read(0, &[], 10).await.unwrap().changes.into_iter().map(|change| change.seq).collect();
    assert_eq!(left, [2, 4]);
}

#[tokio::test]
async fn a_value_that_can_not_be_read_is_corrupt_and_not_worth_a_retry() {
    let (store, ()) = fresh().await;
    store.create(vec![plain(1, "https://example.com/")]).await.unwrap();
    run(&store, "UPDATE links SET created_at = -5").await;
    let error = store.find(key(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { what: "a moment in Unix milliseconds" }), "{error:?}");
    assert!(!error.retryable());
}

#[tokio::test]
async fn misses_of_many_callers_go_in_few_statements() {
    let url = logging_database();
    let store = open(&url);
    store.create((1..=50).map(|number| named(number, &format!("the-alias-{number}"))).collect()).await.unwrap();
    let before = executed(&url);
    let found = join_all((1..=200).map(|number| store.find(key(number)))).await;
    for (number, found) in (1..).zip(found) {
        assert_eq!(found.unwrap().map(|link| link.key), (number <= 50).then(|| key(number)));
    }
    // The first alone, then all who came meanwhile; on a busy machine not all come at once.
    assert!(executed(&url) - before <= 4, "{} statements", executed(&url) - before);
    let aliases: Vec<Alias> = (1..=200).map(|number| format!("the-alias-{number}").parse().unwrap()).collect();
    let found = join_all(aliases.iter().map(|alias| store.find_alias(alias))).await;
    for (number, found) in (1..).zip(found) {
        assert_eq!(found.unwrap(), (number <= 50).then(|| key(number)));
    }
    assert!(executed(&url) - before <= 8, "{} statements", executed(&url) - before);
}

#[tokio::test]
async fn a_visit_that_was_counted_meanwhile_is_not_given_twice() {
    let url = database();
    let (store, other) = (open(&url), open(&url));
    store.create(vec![NewLink { max_visits: Some(1), reuse: false, ..plain(1, "https://a.example/") }]).await.unwrap();
    let mut transaction = other.servers.primary().unwrap().pool.begin().await.unwrap();
    sqlx::query("UPDATE links SET visits = visits + 1").execute(&mut *transaction).await.unwrap();
    let committing = async {
        until_one_waits(&other).await;
        transaction.commit().await.unwrap();
    };
    let (outcomes, ()) = tokio::join!(store.count_visits(vec![key(1)]), committing);
    assert_eq!(outcomes.unwrap(), [VisitOutcome::UsedUp]);
    assert_eq!(number(&store, "SELECT visits FROM links").await, 1);
}

#[tokio::test]
async fn a_pooler_that_mixes_up_statements_is_named() {
    let (store, ()) = fresh().await;
    let pool = &store.servers.primary().unwrap().pool;
    let error = sqlx::raw_sql("EXECUTE prepared_elsewhere").execute(pool).await.map(drop).unwrap_err();
    let StoreError::Unavailable { source, .. } = failed("find a link")(error) else { panic!("it may work later") };
    assert!(source.to_string().contains("PgBouncer"), "{source}");
}
