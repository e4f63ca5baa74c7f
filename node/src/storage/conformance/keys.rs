//! API keys and their owners.

use super::{Store, at};
use crate::domain::access::{ApiKeyHash, Caller, OwnerId, Scope, Scopes};
use crate::ports::key_store::{KeyRecord, NewKey};

fn new_key(text: &str, owner: &str) -> NewKey {
    NewKey {
        name: format!("the key {text} 🔑").parse().unwrap(),
        owner_name: owner.parse().unwrap(),
        scopes: [Scope::LinksRead, Scope::Ids].into_iter().collect(),
        hash: ApiKeyHash::of(text),
        created_at: at(1),
    }
}

async fn inserted(store: &dyn Store, text: &str, owner: &str) -> KeyRecord {
    store.insert_key(new_key(text, owner)).await.unwrap()
}

pub(in crate::storage) async fn a_key_is_found_by_its_hash(store: &dyn Store) {
    let kept = inserted(store, "one", "ann").await;
    let new = new_key("one", "ann");
    let expected = KeyRecord {
        id: kept.id,
        name: new.name,
        owner: kept.owner,
        owner_name: new.owner_name,
        scopes: new.scopes,
        created_at: new.created_at,
        revoked_at: None,
    };
    assert_eq!(kept, expected);
    assert_eq!(store.list_keys(0, 10).await.unwrap(), [expected]);
    let caller = Caller { owner: kept.owner, scopes: new.scopes };
    assert_eq!(store.find_caller(ApiKeyHash::of("one")).await.unwrap(), Some(caller));
    assert_eq!(store.find_caller(ApiKeyHash::of("two")).await.unwrap(), None);
}

pub(in crate::storage) async fn keys_of_one_owner_name_share_the_owner(store: &dyn Store) {
    let ann = inserted(store, "one", "ann").await.owner;
    let bob = inserted(store, "two", "bob").await.owner;
    assert_eq!(inserted(store, "three", "ann").await.owner, ann);
    assert_ne!(ann, bob);
    assert!(![ann, bob].contains(&OwnerId::ANONYMOUS) && ![ann, bob].contains(&OwnerId::ADMIN));
    assert_eq!(inserted(store, "four", "admin").await.owner, OwnerId::ADMIN);
}

pub(in crate::storage) async fn keys_are_listed_by_number_in_pages(store: &dyn Store) {
    let mut all = Vec::new();
    for (text, owner) in [("one", "bob"), ("two", "ann"), ("three", "bob"), ("four", "cem"), ("five", "ann")] {
        all.push(inserted(store, text, owner).await);
    }
    assert!(all.is_sorted_by_key(|key| key.id));
    for limit in 1..=all.len() + 1 {
        let mut listed: Vec<KeyRecord> = Vec::new();
        loop {
            let after = listed.last().map_or(0, |key| key.id);
            let page = store.list_keys(after, limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            listed.extend(page);
        }
        assert_eq!(listed, all, "in pages of {limit}");
    }
}

pub(in crate::storage) async fn a_revoked_key_is_found_no_more_but_listed(store: &dyn Store) {
    let kept = inserted(store, "one", "ann").await;
    let other = inserted(store, "two", "ann").await;
    let revoked = KeyRecord { revoked_at: Some(at(5)), ..kept.clone() };
    assert_eq!(store.revoke_key(kept.id, at(5)).await.unwrap(), Some(revoked.clone()));
    assert_eq!(store.revoke_key(kept.id, at(9)).await.unwrap(), Some(revoked.clone()), "the first moment stays");
    assert_eq!(store.revoke_key(other.id + 1, at(5)).await.unwrap(), None);
    assert_eq!(store.find_caller(ApiKeyHash::of("one")).await.unwrap(), None);
    let caller = Caller { owner: other.owner, scopes: other.scopes };
    assert_eq!(store.find_caller(ApiKeyHash::of("two")).await.unwrap(), Some(caller));
    assert_eq!(store.list_keys(0, 10).await.unwrap(), [revoked, other]);
    let admin = NewKey { scopes: Scopes::only(Scope::Admin), ..new_key("three", "ann") };
    assert!(store.insert_key(admin).await.unwrap().scopes.allow(Scope::LinksWrite));
}
