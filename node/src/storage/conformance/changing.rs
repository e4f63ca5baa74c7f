//! Changing and deleting: versions, reuse, and the tombstone that keeps a name for ever.

use super::{Store, alias, at, create, found, insert, key, limited, made, new, reusable, tags, url, with_alias};
use crate::domain::access::OwnerId;
use crate::domain::link::{Link, LinkContent, VisitLimit};
use crate::ports::link_store::{CreateOutcome, LinkChange, ListQuery, NewLink, VisitOutcome};

/// A change, and what it does to what a link holds.
type Edit = (LinkChange, fn(&mut LinkContent));

async fn change(store: &dyn Store, number: i64, change: LinkChange) -> Link {
    let answered = store.update(key(number), change).await.unwrap().expect("the link is live");
    assert_eq!(found(store, number).await, answered);
    answered
}

fn target(text: &str) -> LinkChange {
    LinkChange { url: Some(url(text)), ..LinkChange::default() }
}

fn limit(max: Option<i64>) -> LinkChange {
    LinkChange { max_visits: Some(max), ..LinkChange::default() }
}

fn title(text: Option<&str>) -> LinkChange {
    LinkChange { title: Some(text.map(|text| text.parse().unwrap())), ..LinkChange::default() }
}

fn expiry(offset_ms: Option<i64>) -> LinkChange {
    LinkChange { expires_at: Some(offset_ms.map(at)), ..LinkChange::default() }
}

pub(in crate::storage) async fn each_field_can_be_changed_alone(store: &dyn Store) {
    let whole = NewLink {
        alias: Some(alias("a-name-of-its-own")),
        expires_at: Some(at(1_000)),
        max_visits: Some(3),
        title: Some("Summer".parse().unwrap()),
        tags: tags(&["a", "b"]),
        ..new(1)
    };
    insert(store, [whole.clone(), new(2)]).await;
    let mut expected = made(&whole);
    let mut content = expected.content.clone().unwrap();
    let changes: [Edit; 9] = [
        (target("ftp://b.example/"), |content| content.url = url("ftp://b.example/")),
        (expiry(Some(2_000)), |content| content.expires_at = Some(at(2_000))),
        (expiry(None), |content| content.expires_at = None),
        (limit(Some(9)), |content| content.limit = Some(VisitLimit { max: 9, visits: 0 })),
        (limit(None), |content| content.limit = None),
        (title(Some("Winter")), |content| content.title = Some("Winter".parse().unwrap())),
        (title(None), |content| content.title = None),
        (LinkChange { tags: Some(tags(&["b", "c"])), ..LinkChange::default() }, |content| {
            content.tags = tags(&["b", "c"]);
        }),
        (LinkChange { tags: Some(tags(&[])), ..LinkChange::default() }, |content| content.tags = tags(&[])),
    ];
    for (asked, apply) in changes {
        apply(&mut content);
        expected.version += 1;
        expected.content = Some(content.clone());
        assert_eq!(change(store, 1, asked).await, expected);
    }
    assert_eq!(found(store, 2).await, made(&new(2)));
}

pub(in crate::storage) async fn several_fields_change_in_one_version(store: &dyn Store) {
    insert(store, [new(1)]).await;
    let all = LinkChange {
        url: Some(url("https://b.example/")),
        expires_at: Some(Some(at(5))),
        max_visits: Some(Some(2)),
        title: Some(Some("Winter".parse().unwrap())),
        tags: Some(tags(&["c"])),
    };
    let content = LinkContent {
        url: url("https://b.example/"),
        expires_at: Some(at(5)),
        limit: Some(VisitLimit { max: 2, visits: 0 }),
        title: Some("Winter".parse().unwrap()),
        tags: tags(&["c"]),
    };
    assert_eq!(change(store, 1, all).await, Link { version: 2, content: Some(content), ..made(&new(1)) });
    assert_eq!(change(store, 1, LinkChange::default()).await.version, 3);
}

pub(in crate::storage) async fn what_is_not_live_can_not_be_changed(store: &dyn Store) {
    insert(store, [new(1)]).await;
    let tombstone = store.delete(key(1)).await.unwrap();
    for number in [1, 2] {
        assert_eq!(store.update(key(number), title(Some("New"))).await.unwrap(), None);
        assert_eq!(store.delete(key(number)).await.unwrap(), None);
    }
    assert_eq!(store.find(key(1)).await.unwrap(), tombstone);
    assert_eq!(store.find(key(2)).await.unwrap(), None);
}

pub(in crate::storage) async fn a_new_limit_keeps_the_visits_and_a_limit_taken_away_forgets_them(store: &dyn Store) {
    insert(store, [limited(1, 5)]).await;
    assert_eq!(store.count_visits(vec![key(1); 2]).await.unwrap(), [VisitOutcome::Counted; 2]);
    let limit_of = |link: Link| link.content.unwrap().limit;
    assert_eq!(limit_of(change(store, 1, limit(Some(8))).await), Some(VisitLimit { max: 8, visits: 2 }));
    assert_eq!(limit_of(change(store, 1, title(Some("New"))).await), Some(VisitLimit { max: 8, visits: 2 }));
    assert_eq!(limit_of(change(store, 1, limit(None)).await), None);
    assert_eq!(limit_of(change(store, 1, limit(Some(8))).await), Some(VisitLimit { max: 8, visits: 0 }));
}

async fn reused(store: &dyn Store, target: &str) -> Option<i64> {
    let target = url(target);
    let link = store.find_reusable(OwnerId(1), target.hash(), &target).await.unwrap();
    link.map(|link| link.key.get())
}

pub(in crate::storage) async fn an_edit_of_url_expiry_or_limit_ends_reuse(store: &dyn Store) {
    let edits = [target("https://elsewhere.example/"), expiry(Some(9_000)), limit(Some(9))];
    for (number, edit) in (0..).zip(edits) {
        let (old, successor, place) = (10 * number + 1, 10 * number + 2, format!("https://{number}.example/"));
        insert(store, [reusable(old, &place)]).await;
        change(store, old, edit).await;
        assert_eq!(reused(store, &place).await, None);
        insert(store, [reusable(successor, &place)]).await;
        assert_eq!(reused(store, &place).await, Some(successor));
    }
    assert_eq!(reused(store, "https://elsewhere.example/").await, None, "an edited link is not plain any more");
}

pub(in crate::storage) async fn an_edit_of_title_or_tags_keeps_reuse(store: &dyn Store) {
    let place = "https://a.example/";
    insert(store, [reusable(1, place)]).await;
    let relabel = LinkChange { tags: Some(tags(&["a"])), ..LinkChange::default() };
    for edit in [title(Some("New")), relabel, target(place), expiry(None), limit(None)] {
        let now = change(store, 1, edit).await;
        assert_eq!(create(store, reusable(2, place)).await, CreateOutcome::Reused(now));
    }
}

pub(in crate::storage) async fn a_link_out_of_reuse_does_not_take_its_successor_along(store: &dyn Store) {
    let place = "https://a.example/";
    insert(store, [reusable(1, place)]).await;
    change(store, 1, limit(Some(9))).await;
    insert(store, [reusable(2, place)]).await;
    change(store, 1, limit(Some(10))).await;
    store.delete(key(1)).await.unwrap().unwrap();
    assert_eq!(reused(store, place).await, Some(2));
}

pub(in crate::storage) async fn deleting_leaves_a_tombstone(store: &dyn Store) {
    let whole = NewLink {
        alias: Some(alias("a-name-of-its-own")),
        title: Some("Summer".parse().unwrap()),
        tags: tags(&["a"]),
        ..limited(1, 3)
    };
    insert(store, [whole.clone()]).await;
    let tombstone = Link { version: 2, content: None, ..made(&whole) };
    assert_eq!(store.delete(key(1)).await.unwrap(), Some(tombstone.clone()));
    assert_eq!(found(store, 1).await, tombstone);
}

pub(in crate::storage) async fn a_tombstone_keeps_its_key_and_alias_taken(store: &dyn Store) {
    insert(store, [with_alias(1, "a-name-of-its-own")]).await;
    store.delete(key(1)).await.unwrap().unwrap();
    assert_eq!(create(store, new(1)).await, CreateOutcome::KeyTaken);
    assert_eq!(create(store, with_alias(2, "a-name-of-its-own")).await, CreateOutcome::AliasTaken);
    assert_eq!(store.find_alias(&alias("a-name-of-its-own")).await.unwrap(), Some(key(1)));
}

pub(in crate::storage) async fn a_deleted_link_is_neither_listed_nor_reused(store: &dyn Store) {
    let place = "https://a.example/";
    insert(store, [NewLink { tags: tags(&["a"]), ..reusable(1, place) }]).await;
    store.delete(key(1)).await.unwrap().unwrap();
    for (owner, tag) in [(Some(OwnerId(1)), None), (Some(OwnerId(1)), Some("a".to_owned())), (None, None)] {
        let query = ListQuery { owner, tag, after: None, limit: 10 };
        assert_eq!(store.list(query).await.unwrap(), []);
    }
    assert_eq!(reused(store, place).await, None);
    insert(store, [reusable(2, place)]).await;
}
