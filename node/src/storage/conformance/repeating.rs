//! Repeats: an `Idempotency-Key` finds the first answer again.

use super::{Store, at, create, insert, key, made, new, repeatable, reusable, with_alias};
use crate::domain::access::OwnerId;
use crate::domain::link::Link;
use crate::ports::link_store::{CreateOutcome, LinkChange, NewLink};

fn replayed(link: Link) -> CreateOutcome {
    CreateOutcome::Replayed { link, created: true }
}

pub(in crate::storage) async fn a_repeat_in_one_batch_is_answered_with_the_first_link(store: &dyn Store) {
    let first = repeatable(new(1), "again", 1);
    let outcomes = store.create(vec![first.clone(), repeatable(new(2), "again", 1)]).await.unwrap();
    assert_eq!(outcomes, [CreateOutcome::Created(made(&first)), replayed(made(&first))]);
    assert_eq!(store.find(key(2)).await.unwrap(), None);
}

pub(in crate::storage) async fn a_repeat_in_a_later_batch_is_answered_with_the_link_as_it_is_now(store: &dyn Store) {
    insert(store, [repeatable(with_alias(1, "my-own-name"), "again", 1)]).await;
    let repeat = repeatable(with_alias(2, "my-own-name"), "again", 1);
    let change = LinkChange { title: Some(Some("New".parse().unwrap())), ..LinkChange::default() };
    let now = store.update(key(1), change).await.unwrap().unwrap();
    assert_eq!(create(store, repeat.clone()).await, replayed(now));
    let tombstone = store.delete(key(1)).await.unwrap().unwrap();
    assert_eq!(create(store, repeat).await, replayed(tombstone));
}

pub(in crate::storage) async fn a_repeat_of_a_reuse_says_that_nothing_was_created(store: &dyn Store) {
    let first = reusable(1, "https://a.example/");
    insert(store, [first.clone()]).await;
    let reuse = |number| repeatable(reusable(number, "https://a.example/"), "again", 1);
    assert_eq!(create(store, reuse(2)).await, CreateOutcome::Reused(made(&first)));
    let repeated = CreateOutcome::Replayed { link: made(&first), created: false };
    assert_eq!(create(store, reuse(3)).await, repeated);
}

pub(in crate::storage) async fn an_idempotency_key_with_another_request_is_a_mismatch(store: &dyn Store) {
    let first = repeatable(new(1), "again", 1);
    let outcomes = store.create(vec![first.clone(), repeatable(new(2), "again", 2)]).await.unwrap();
    assert_eq!(outcomes, [CreateOutcome::Created(made(&first)), CreateOutcome::IdempotencyMismatch]);
    assert_eq!(create(store, repeatable(new(3), "again", 3)).await, CreateOutcome::IdempotencyMismatch);
    assert_eq!(create(store, repeatable(new(4), "again", 1)).await, replayed(made(&first)));
    for unused in [2, 3, 4] {
        assert_eq!(store.find(key(unused)).await.unwrap(), None);
    }
}

pub(in crate::storage) async fn idempotency_keys_belong_to_their_owner(store: &dyn Store) {
    let of = |owner, number| NewLink { owner: OwnerId(owner), ..repeatable(new(number), "again", 1) };
    insert(store, [of(1, 1), of(2, 2), repeatable(new(3), "Again", 1), repeatable(new(4), "1", 1)]).await;
}

pub(in crate::storage) async fn a_request_that_failed_may_be_repeated_with_another_key(store: &dyn Store) {
    insert(store, [new(1)]).await;
    let first = repeatable(new(1), "again", 1);
    let second = repeatable(new(2), "again", 1);
    assert_eq!(create(store, first.clone()).await, CreateOutcome::KeyTaken);
    let outcomes = store.create(vec![first, second.clone()]).await.unwrap();
    assert_eq!(outcomes, [CreateOutcome::KeyTaken, CreateOutcome::Created(made(&second))]);
}

pub(in crate::storage) async fn idempotency_keys_are_forgotten_before_a_moment(store: &dyn Store) {
    let made_at =
        |number, moment| NewLink { created_at: at(moment), ..repeatable(new(number), &moment.to_string(), 1) };
    insert(store, [made_at(1, 10), made_at(2, 20), made_at(3, 30)]).await;
    assert_eq!(store.forget_idempotency_before(at(20)).await.unwrap(), 1);
    assert_eq!(create(store, made_at(5, 20)).await, replayed(made(&made_at(2, 20))));
    insert(store, [made_at(4, 10)]).await;
    assert_eq!(store.forget_idempotency_before(at(31)).await.unwrap(), 3);
    assert_eq!(store.forget_idempotency_before(at(31)).await.unwrap(), 0);
}
