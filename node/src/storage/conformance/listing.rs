//! Lists: their order, their pages, and who sees what.

use super::{Store, at, insert, key, new, tags, with_tags};
use crate::domain::access::OwnerId;
use crate::ports::link_store::{LinkChange, ListPosition, ListQuery, NewLink};

/// The keys of a list, read in pages of `limit`.
async fn pages(store: &dyn Store, owner: Option<i64>, tag: Option<&str>, limit: usize) -> Vec<i64> {
    let mut keys = Vec::new();
    let mut after = None;
    loop {
        let query = ListQuery { owner: owner.map(OwnerId), tag: tag.map(str::to_owned), after, limit };
        let page = store.list(query).await.unwrap();
        assert!(page.len() <= limit, "a page of {limit} has {} links", page.len());
        let Some(last) = page.last() else { return keys };
        after = Some(ListPosition { created_at: last.created_at, key: last.key });
        keys.extend(page.iter().map(|link| link.key.get()));
        assert!(keys.len() <= 100, "the list does not end: {keys:?}");
    }
}

#[track_caller]
fn sorted_by<K: Ord>(mut links: Vec<NewLink>, order: impl Fn(&NewLink) -> K) -> Vec<i64> {
    links.sort_by_key(|link| std::cmp::Reverse(order(link)));
    links.iter().map(|link| link.key.get()).collect()
}

/// Links of two owners, with ties in time, in no order, negative keys among them.
fn many() -> Vec<NewLink> {
    let keys = [7, -3, 12, 1, 900, -900, 5, 44, 2, 31, 8, -7];
    // Some within what an index may take together, some far apart, some at both sides of a border.
    let times = [8191, 8191, 8192, 60_000, 1, 60_000, 8191, 60_000, 1, 8192, 20_000, 16_384];
    let entries = keys.into_iter().zip(times).zip(0..);
    entries
        .map(|((number, moment), index)| NewLink {
            created_at: at(moment),
            owner: OwnerId(if index % 4 == 3 { 2 } else { 1 }),
            tags: tags(if index % 3 == 0 { &["a", "b"] } else { &["b"] }),
            ..new(number)
        })
        .collect()
}

pub(in crate::storage) async fn links_are_listed_newest_first_whatever_the_page_size(store: &dyn Store) {
    insert(store, many()).await;
    let mine = many().into_iter().filter(|link| link.owner == OwnerId(1)).collect();
    let expected = sorted_by(mine, |link| (link.created_at, link.key));
    assert_eq!(expected.len(), 9);
    for limit in 1..=expected.len() + 1 {
        assert_eq!(pages(store, Some(1), None, limit).await, expected, "in pages of {limit}");
    }
    assert_eq!(pages(store, Some(1), None, 0).await, [0; 0]);
}

pub(in crate::storage) async fn a_tag_lists_its_links_in_the_same_order(store: &dyn Store) {
    insert(store, many()).await;
    for tag in ["a", "b"] {
        let has_tag = |link: &NewLink| link.owner == OwnerId(1) && link.tags.iter().any(|known| known == tag);
        let tagged: Vec<_> = many().into_iter().filter(has_tag).collect();
        let expected = sorted_by(tagged, |link| (link.created_at, link.key));
        assert!(expected.len() > 2);
        for limit in 1..=expected.len() + 1 {
            assert_eq!(pages(store, Some(1), Some(tag), limit).await, expected, "in pages of {limit}");
        }
    }
    assert_eq!(pages(store, Some(1), Some("c"), 10).await, [0; 0]);
}

pub(in crate::storage) async fn without_an_owner_links_are_listed_by_key(store: &dyn Store) {
    insert(store, many()).await;
    let expected = sorted_by(many(), |link| link.key);
    for limit in 1..=expected.len() + 1 {
        assert_eq!(pages(store, None, None, limit).await, expected, "in pages of {limit}");
    }
}

pub(in crate::storage) async fn new_tags_list_a_link_and_old_ones_do_not(store: &dyn Store) {
    insert(store, [with_tags(1, &["a", "b"]), with_tags(2, &["a"])]).await;
    let change = LinkChange { tags: Some(tags(&["b", "c"])), ..LinkChange::default() };
    store.update(key(1), change).await.unwrap().unwrap();
    let listed = async |tag| pages(store, Some(1), Some(tag), 10).await;
    assert_eq!((listed("a").await, listed("b").await, listed("c").await), (vec![2], vec![1], vec![1]));
}

pub(in crate::storage) async fn tags_that_differ_in_case_are_two(store: &dyn Store) {
    insert(store, [with_tags(1, &["News"]), with_tags(2, &["news"]), with_tags(3, &["News", "news"])]).await;
    assert_eq!(pages(store, Some(1), Some("News"), 10).await, [3, 1]);
    assert_eq!(pages(store, Some(1), Some("news"), 10).await, [3, 2]);
    assert_eq!(pages(store, Some(1), Some("NEWS"), 10).await, [0; 0]);
}

pub(in crate::storage) async fn an_owner_sees_only_its_own_links(store: &dyn Store) {
    let of = |owner, number| NewLink { owner: OwnerId(owner), ..with_tags(number, &["a"]) };
    insert(store, [of(0, 1), of(1, 2), of(2, 3)]).await;
    for (owner, number) in [(0, 1), (1, 2), (2, 3)] {
        assert_eq!(pages(store, Some(owner), None, 10).await, [number]);
        assert_eq!(pages(store, Some(owner), Some("a"), 10).await, [number]);
    }
    assert_eq!(pages(store, Some(3), None, 10).await, [0; 0]);
}
