//! Visits of limited links: counted exactly, each at most once.

use futures_util::future::join_all;

use super::{Store, found, insert, key, limited, new};
use crate::domain::link::VisitLimit;
use crate::ports::link_store::{LinkChange, VisitOutcome};

async fn limit_of(store: &dyn Store, number: i64) -> Option<VisitLimit> {
    found(store, number).await.content.unwrap().limit
}

pub(in crate::storage) async fn a_visit_is_counted_until_none_is_left(store: &dyn Store) {
    use VisitOutcome::{Counted, NotLimited, UsedUp};
    insert(store, [limited(1, 2), limited(2, 1), new(3)]).await;
    let keys = [1, 2, 1, 3, 1, 2, 4].map(key).to_vec();
    let outcomes = store.count_visits(keys).await.unwrap();
    assert_eq!(outcomes, [Counted, Counted, Counted, NotLimited, UsedUp, UsedUp, NotLimited]);
    assert_eq!(store.count_visits(vec![key(1)]).await.unwrap(), [UsedUp]);
    assert_eq!(limit_of(store, 1).await, Some(VisitLimit { max: 2, visits: 2 }));
    assert_eq!(found(store, 1).await.version, 1, "a visit is no change of the link");
}

pub(in crate::storage) async fn concurrent_visits_are_counted_exactly(store: &dyn Store) {
    insert(store, [limited(1, 50), limited(2, 1_000)]).await;
    let outcomes = join_all((0..20).map(|_| store.count_visits([1, 2, 1, 1, 2, 1].map(key).to_vec()))).await;
    let outcomes: Vec<VisitOutcome> = outcomes.into_iter().flat_map(Result::unwrap).collect();
    let counted = outcomes.iter().filter(|outcome| **outcome == VisitOutcome::Counted).count();
    assert_eq!(counted, 50 + 40);
    assert_eq!(limit_of(store, 1).await, Some(VisitLimit { max: 50, visits: 50 }));
    assert_eq!(limit_of(store, 2).await, Some(VisitLimit { max: 1_000, visits: 40 }));
}

pub(in crate::storage) async fn what_has_no_limit_is_not_counted(store: &dyn Store) {
    insert(store, [new(1), limited(2, 5), limited(3, 5)]).await;
    store.delete(key(2)).await.unwrap().unwrap();
    let unlimited = LinkChange { max_visits: Some(None), ..LinkChange::default() };
    store.update(key(3), unlimited).await.unwrap().unwrap();
    let outcomes = store.count_visits([1, 2, 3, 4].map(key).to_vec()).await.unwrap();
    assert_eq!(outcomes, [VisitOutcome::NotLimited; 4]);
    assert_eq!(limit_of(store, 3).await, None);
}

pub(in crate::storage) async fn a_raised_limit_lets_visitors_in_again(store: &dyn Store) {
    use VisitOutcome::{Counted, UsedUp};
    insert(store, [limited(1, 1)]).await;
    assert_eq!(store.count_visits(vec![key(1); 2]).await.unwrap(), [Counted, UsedUp]);
    let raised = LinkChange { max_visits: Some(Some(2)), ..LinkChange::default() };
    store.update(key(1), raised).await.unwrap().unwrap();
    assert_eq!(store.count_visits(vec![key(1); 2]).await.unwrap(), [Counted, UsedUp]);
    let lowered = LinkChange { max_visits: Some(Some(1)), ..LinkChange::default() };
    store.update(key(1), lowered).await.unwrap().unwrap();
    assert_eq!(store.count_visits(vec![key(1)]).await.unwrap(), [UsedUp]);
}
