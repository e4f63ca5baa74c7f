//! Creating: what is kept, and how conflicts within a batch and with older links are resolved.

use super::{Store, alias, at, create, found, insert, key, made, new, reusable, tags, url, with_alias};
use crate::domain::access::OwnerId;
use crate::domain::link::Link;
use crate::ports::link_store::{CreateOutcome, LinkChange, NewLink};

pub(in crate::storage) async fn a_created_link_is_found_as_it_was_given(store: &dyn Store) {
    let whole = NewLink {
        alias: Some(alias("a-name-of-its-own")),
        expires_at: Some(at(1_000)),
        max_visits: Some(3),
        title: Some("Summer".parse().unwrap()),
        tags: tags(&["b", "a"]),
        ..new(7)
    };
    assert_eq!(create(store, whole.clone()).await, CreateOutcome::Created(made(&whole)));
    assert_eq!(found(store, 7).await, made(&whole));
    assert_eq!(store.find_alias(&whole.alias.unwrap()).await.unwrap(), Some(key(7)));
    assert_eq!(store.find(key(8)).await.unwrap(), None);
    assert_eq!(store.find_alias(&alias("another-name")).await.unwrap(), None);
    store.ping().await.unwrap();
}

pub(in crate::storage) async fn an_empty_batch_does_nothing(store: &dyn Store) {
    assert_eq!(store.create(Vec::new()).await.unwrap(), []);
    assert_eq!(store.count_visits(Vec::new()).await.unwrap(), []);
}

pub(in crate::storage) async fn of_equal_urls_the_first_is_created_and_the_others_reuse_it(store: &dyn Store) {
    let first = reusable(1, "https://a.example/");
    let batch = vec![first.clone(), reusable(2, "https://a.example/"), reusable(3, "https://b.example/")];
    let expected = [
        CreateOutcome::Created(made(&first)),
        CreateOutcome::Reused(made(&first)),
        CreateOutcome::Created(made(&reusable(3, "https://b.example/"))),
    ];
    assert_eq!(store.create(batch).await.unwrap(), expected);
    assert_eq!(create(store, reusable(4, "https://a.example/")).await, CreateOutcome::Reused(made(&first)));
    for unused in [2, 4] {
        assert_eq!(store.find(key(unused)).await.unwrap(), None);
    }
    let target = url("https://a.example/");
    assert_eq!(store.find_reusable(OwnerId(1), target.hash(), &target).await.unwrap(), Some(made(&first)));
}

pub(in crate::storage) async fn only_the_same_owner_and_url_are_reused(store: &dyn Store) {
    let target = "https://a.example/";
    insert(store, [reusable(1, target), NewLink { owner: OwnerId(2), ..reusable(2, target) }]).await;
    insert(store, [reusable(3, "https://a.example"), reusable(4, "https://A.example/")]).await;
    insert(store, [NewLink { reuse: false, ..reusable(5, target) }]).await;
    let CreateOutcome::Reused(link) = create(store, reusable(6, target)).await else { panic!("it is there") };
    assert_eq!(link.key, key(1));
    let target = url(target);
    let of = async |owner| store.find_reusable(OwnerId(owner), target.hash(), &target).await.unwrap();
    assert_eq!(of(2).await.map(|link| link.key), Some(key(2)));
    assert_eq!(of(3).await, None);
    let other = url("https://c.example/");
    assert_eq!(store.find_reusable(OwnerId(1), target.hash(), &other).await.unwrap(), None, "the URL is compared too");
}

pub(in crate::storage) async fn a_reused_link_comes_back_as_it_is_now(store: &dyn Store) {
    insert(store, [reusable(1, "https://a.example/")]).await;
    let change = LinkChange { title: Some(Some("New".parse().unwrap())), ..LinkChange::default() };
    let now = store.update(key(1), change).await.unwrap().unwrap();
    assert_eq!(now.version, 2);
    assert_eq!(create(store, reusable(2, "https://a.example/")).await, CreateOutcome::Reused(now));
}

pub(in crate::storage) async fn of_equal_aliases_the_first_wins(store: &dyn Store) {
    let outcomes =
        store.create(vec![with_alias(1, "our-summer-sale"), with_alias(2, "our-summer-sale")]).await.unwrap();
    assert_eq!(outcomes, [CreateOutcome::Created(made(&with_alias(1, "our-summer-sale"))), CreateOutcome::AliasTaken]);
    assert_eq!(create(store, with_alias(3, "our-summer-sale")).await, CreateOutcome::AliasTaken);
    assert_eq!(store.find_alias(&alias("our-summer-sale")).await.unwrap(), Some(key(1)));
}

pub(in crate::storage) async fn of_equal_keys_the_first_wins(store: &dyn Store) {
    let other = NewLink { url: url("https://other.example/"), ..new(1) };
    let outcomes = store.create(vec![new(1), other.clone()]).await.unwrap();
    assert_eq!(outcomes, [CreateOutcome::Created(made(&new(1))), CreateOutcome::KeyTaken]);
    assert_eq!(create(store, other).await, CreateOutcome::KeyTaken);
    assert_eq!(found(store, 1).await, made(&new(1)));
}

pub(in crate::storage) async fn an_entry_that_fails_takes_neither_key_nor_alias(store: &dyn Store) {
    insert(store, [with_alias(1, "taken-already")]).await;
    let batch =
        vec![with_alias(2, "taken-already"), with_alias(1, "free-until-now"), new(2), with_alias(3, "free-until-now")];
    let expected = [
        CreateOutcome::AliasTaken,
        CreateOutcome::KeyTaken,
        CreateOutcome::Created(made(&new(2))),
        CreateOutcome::Created(made(&with_alias(3, "free-until-now"))),
    ];
    assert_eq!(store.create(batch).await.unwrap(), expected);
    assert_eq!(found(store, 2).await, made(&new(2)));
    assert_eq!(store.find_alias(&alias("free-until-now")).await.unwrap(), Some(key(3)));
}

pub(in crate::storage) async fn a_failing_entry_harms_no_other(store: &dyn Store) {
    insert(store, [new(10), with_alias(11, "taken-already")]).await;
    let batch = vec![new(1), new(10), with_alias(2, "taken-already"), new(3), new(3), with_alias(4, "my-own-name")];
    let outcomes = store.create(batch).await.unwrap();
    let created = |new: &NewLink| CreateOutcome::Created(made(new));
    let expected = [
        created(&new(1)),
        CreateOutcome::KeyTaken,
        CreateOutcome::AliasTaken,
        created(&new(3)),
        CreateOutcome::KeyTaken,
        created(&with_alias(4, "my-own-name")),
    ];
    assert_eq!(outcomes, expected);
    for number in [1, 3, 4] {
        assert_eq!(found(store, number).await.version, 1);
    }
}

pub(in crate::storage) async fn a_large_batch_is_created_whole(store: &dyn Store) {
    let batch: Vec<NewLink> = (1..=512)
        .map(|number| NewLink {
            alias: Some(alias(&format!("the-link-{number}"))),
            tags: tags(&["all", &format!("t{}", number % 7)]),
            ..new(number)
        })
        .collect();
    let expected: Vec<Link> = batch.iter().map(made).collect();
    let outcomes = store.create(batch).await.unwrap();
    assert_eq!(outcomes, expected.iter().cloned().map(CreateOutcome::Created).collect::<Vec<_>>());
    for link in expected.iter().step_by(37) {
        assert_eq!(store.find(link.key).await.unwrap().as_ref(), Some(link));
        assert_eq!(store.find_alias(link.alias.as_ref().unwrap()).await.unwrap(), Some(link.key));
    }
}

pub(in crate::storage) async fn aliases_that_differ_in_case_are_two(store: &dyn Store) {
    insert(store, [with_alias(1, "our-summer-sale"), with_alias(2, "Our-Summer-Sale")]).await;
    assert_eq!(store.find_alias(&alias("Our-Summer-Sale")).await.unwrap(), Some(key(2)));
    assert_eq!(store.find_alias(&alias("OUR-SUMMER-SALE")).await.unwrap(), None);
}
