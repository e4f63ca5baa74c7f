//! The outermost values: whatever the domain lets in comes back as it was.

use stint_idgen::Key;

use super::{Store, alias, create, found, insert, key, limited, made, new, reusable, tags, url, with_alias};
use crate::domain::access::OwnerId;
use crate::domain::link::VisitLimit;
use crate::domain::target_url::MAX_TARGET_LENGTH;
use crate::domain::timestamp::UnixMs;
use crate::ports::link_store::{CreateOutcome, LinkChange, ListQuery, NewLink, VisitOutcome};

pub(in crate::storage) async fn the_outermost_keys_are_kept(store: &dyn Store) {
    // 2^53 + 1 is the first number that a floating-point detour would change.
    let keys = [Key::MAX, key((1 << 53) + 1), key(1), key(-1), key(-(1 << 53) - 1), Key::MIN];
    let whole = |(number, key): (usize, Key)| NewLink {
        key,
        alias: Some(alias(&format!("name-of-key-{number}"))),
        tags: tags(&["a"]),
        ..reusable(1, &format!("https://{number}.example/"))
    };
    let links: Vec<NewLink> = keys.into_iter().enumerate().map(whole).collect();
    insert(store, links.clone()).await;
    for link in &links {
        assert_eq!(store.find(link.key).await.unwrap(), Some(made(link)));
        assert_eq!(store.find_alias(link.alias.as_ref().unwrap()).await.unwrap(), Some(link.key));
        assert_eq!(create(store, link.clone()).await, CreateOutcome::Reused(made(link)));
        assert_eq!(create(store, NewLink { alias: None, reuse: false, ..link.clone() }).await, CreateOutcome::KeyTaken);
        assert_eq!(store.update(link.key, LinkChange::default()).await.unwrap().unwrap().version, 2);
    }
    for owner in [None, Some(OwnerId(1))] {
        let query = ListQuery { owner, tag: None, after: None, limit: 10 };
        let listed: Vec<Key> = store.list(query).await.unwrap().into_iter().map(|link| link.key).collect();
        assert_eq!(listed, keys);
    }
}

pub(in crate::storage) async fn the_outermost_moments_are_kept(store: &dyn Store) {
    let moments = [UnixMs::MAX, UnixMs::new(0).unwrap()];
    for (number, moment) in (1..).zip(moments) {
        let link = NewLink { created_at: moment, expires_at: Some(moment), tags: tags(&["a"]), ..new(number) };
        insert(store, [link.clone()]).await;
        assert_eq!(found(store, number).await, made(&link));
    }
    for tag in [None, Some("a".to_owned())] {
        let query = ListQuery { owner: Some(OwnerId(1)), tag, after: None, limit: 10 };
        let listed: Vec<UnixMs> = store.list(query).await.unwrap().into_iter().map(|link| link.created_at).collect();
        assert_eq!(listed, moments);
    }
}

pub(in crate::storage) async fn the_longest_url_is_kept_and_reused(store: &dyn Store) {
    let start = "https://a.example/?q=%F0%9F%8F%96&";
    let longest = format!("{start}{}", "x".repeat(MAX_TARGET_LENGTH - start.len()));
    let nearly = format!("{}y", &longest[..MAX_TARGET_LENGTH - 1]);
    let first = reusable(1, &longest);
    insert(store, [first.clone(), reusable(2, &nearly)]).await;
    assert_eq!(found(store, 1).await.content.unwrap().url, url(&longest));
    assert_eq!(create(store, reusable(3, &longest)).await, CreateOutcome::Reused(made(&first)));
}

pub(in crate::storage) async fn titles_and_tags_keep_every_character(store: &dyn Store) {
    let texts = [
        "été 🏖️ 中文 עברית",
        "\"quotes\" and \\backslashes\\",
        "1",
        "null",
        "[\"a\"]",
        "👩‍👩‍👧‍👦",
        "e\u{301} is not \u{e9}",
        "  spaces\u{a0}kept ",
        "'; DROP TABLE links; --",
        "%_*?",
        "\u{2028}\u{feff}x",
    ];
    for (number, text) in (1..).zip(texts) {
        let link = NewLink { title: Some(text.parse().unwrap()), tags: tags(&[text, "all"]), ..new(number) };
        insert(store, [link.clone()]).await;
        assert_eq!(found(store, number).await, made(&link));
        let query = ListQuery { owner: Some(OwnerId(1)), tag: Some(text.to_owned()), after: None, limit: 10 };
        assert_eq!(store.list(query).await.unwrap(), [made(&link)]);
        let change = LinkChange { title: Some(None), tags: Some(tags(&[text])), ..LinkChange::default() };
        assert_eq!(store.update(key(number), change).await.unwrap().unwrap().content.unwrap().tags, tags(&[text]));
    }
}

pub(in crate::storage) async fn the_largest_limit_is_kept(store: &dyn Store) {
    insert(store, [limited(1, i64::MAX)]).await;
    assert_eq!(store.count_visits(vec![key(1)]).await.unwrap(), [VisitOutcome::Counted]);
    let limit = found(store, 1).await.content.unwrap().limit;
    assert_eq!(limit, Some(VisitLimit { max: i64::MAX, visits: 1 }));
}

pub(in crate::storage) async fn aliases_that_look_like_numbers_are_kept(store: &dyn Store) {
    let texts = ["123456789012", "0123456789012", "9223372036854775808", "1e400000000000", "-", "-1"];
    insert(store, (1..).zip(texts).map(|(number, text)| with_alias(number, text))).await;
    for (number, text) in (1..).zip(texts) {
        assert_eq!(store.find_alias(&alias(text)).await.unwrap(), Some(key(number)));
        assert_eq!(create(store, with_alias(100, text)).await, CreateOutcome::AliasTaken);
    }
}
