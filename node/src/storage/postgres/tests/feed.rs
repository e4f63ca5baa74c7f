//! The record of changes.

use super::*;
use crate::ports::change_feed::{Change, ChangeFeed as _};
use crate::ports::link_store::{LinkChange, LinkStore as _};

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
