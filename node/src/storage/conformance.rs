//! What every store must do, whatever its backend: one suite, run over each.
//!
//! A backend runs it with `conforms!(path::to::fresh)`, where `fresh` is an async function that answers an empty store
//! and whatever must live as long as it.

pub(super) mod changing;
pub(super) mod clicks;
pub(super) mod counting;
pub(super) mod creating;
pub(super) mod extremes;
pub(super) mod fences;
pub(super) mod keys;
pub(super) mod listing;
pub(super) mod repeating;

use stint_idgen::Key;

use crate::domain::access::OwnerId;
use crate::domain::alias::Alias;
use crate::domain::label::Tags;
use crate::domain::link::{Link, LinkContent, VisitLimit};
use crate::domain::target_url::TargetUrl;
use crate::domain::timestamp::UnixMs;
use crate::ports::key_store::KeyStore;
use crate::ports::link_store::{CreateOutcome, FenceStore, Idempotency, LinkStore, NewLink};

/// 2026-01-01T00:00:00Z in Unix milliseconds.
const START: i64 = 1_767_225_600_000;

/// Everything that a database keeps for Stint.
pub(super) trait Store: LinkStore + FenceStore + KeyStore {}

impl<S: LinkStore + FenceStore + KeyStore> Store for S {}

/// Makes a test of each case, over the stores that `$fresh` opens.
macro_rules! conforms {
    ($fresh:path) => {
        $crate::storage::conformance::conforms! { $fresh, creating:
            a_created_link_is_found_as_it_was_given
            an_empty_batch_does_nothing
            of_equal_urls_the_first_is_created_and_the_others_reuse_it
            only_the_same_owner_and_url_are_reused
            a_reused_link_comes_back_as_it_is_now
            of_equal_aliases_the_first_wins
            of_equal_keys_the_first_wins
            an_entry_that_fails_takes_neither_key_nor_alias
            a_failing_entry_harms_no_other
            a_large_batch_is_created_whole
            aliases_that_differ_in_case_are_two
        }
        $crate::storage::conformance::conforms! { $fresh, repeating:
            a_repeat_in_one_batch_is_answered_with_the_first_link
            a_repeat_in_a_later_batch_is_answered_with_the_link_as_it_is_now
            a_repeat_of_a_reuse_says_that_nothing_was_created
            an_idempotency_key_with_another_request_is_a_mismatch
            idempotency_keys_belong_to_their_owner
            a_request_that_failed_may_be_repeated_with_another_key
            idempotency_keys_are_forgotten_before_a_moment
        }
        $crate::storage::conformance::conforms! { $fresh, changing:
            each_field_can_be_changed_alone
            several_fields_change_in_one_version
            what_is_not_live_can_not_be_changed
            a_new_limit_keeps_the_visits_and_a_limit_taken_away_forgets_them
            an_edit_of_url_expiry_or_limit_ends_reuse
            an_edit_of_title_or_tags_keeps_reuse
            a_link_out_of_reuse_does_not_take_its_successor_along
            deleting_leaves_a_tombstone
            a_tombstone_keeps_its_key_and_alias_taken
            a_deleted_link_is_neither_listed_nor_reused
        }
        $crate::storage::conformance::conforms! { $fresh, counting:
            a_visit_is_counted_until_none_is_left
            concurrent_visits_are_counted_exactly
            what_has_no_limit_is_not_counted
            a_raised_limit_lets_visitors_in_again
        }
        $crate::storage::conformance::conforms! { $fresh, listing:
            links_are_listed_newest_first_whatever_the_page_size
            a_tag_lists_its_links_in_the_same_order
            without_an_owner_links_are_listed_by_key
            new_tags_list_a_link_and_old_ones_do_not
            tags_that_differ_in_case_are_two
            an_owner_sees_only_its_own_links
        }
        $crate::storage::conformance::conforms! { $fresh, extremes:
            the_outermost_keys_are_kept
            the_outermost_moments_are_kept
            the_longest_url_is_kept_and_reused
            titles_and_tags_keep_every_character
            the_largest_limit_is_kept
            aliases_that_look_like_numbers_are_kept
        }
        $crate::storage::conformance::conforms! { $fresh, fences:
            the_first_code_key_wins
            a_lane_is_found_once_it_was_claimed
            the_first_source_of_a_lane_wins
            a_mark_only_rises
            only_its_source_raises_a_mark
            another_source_takes_a_lane_over_with_its_mark
        }
        $crate::storage::conformance::conforms! { $fresh, keys:
            a_key_is_found_by_its_hash
            keys_of_one_owner_name_share_the_owner
            keys_are_listed_by_number_in_pages
            a_revoked_key_is_found_no_more_but_listed
        }
    };
    ($fresh:path, $group:ident: $($case:ident)*) => {
        mod $group {
            $(
                #[tokio::test]
                async fn $case() {
                    let (store, _kept) = $fresh().await;
                    $crate::storage::conformance::$group::$case(&store).await;
                }
            )*
        }
    };
}
pub(super) use conforms;

/// The same for whatever counts clicks: a part of its own, since Postgres has a store of its own for it.
macro_rules! clicks_conform {
    ($fresh:path) => {
        $crate::storage::conformance::conforms! { $fresh, clicks:
            clicks_are_counted_by_link_and_day
            a_chunk_counts_once_however_often_it_comes
            numbers_of_different_processes_have_nothing_in_common
            a_chunk_added_many_times_at_once_counts_once
            many_chunks_are_one_transaction
            the_outermost_keys_and_days_are_counted
            old_numbers_are_forgotten_and_new_ones_kept
            a_number_is_kept_as_long_as_a_later_one_beside_it
        }
    };
}
pub(super) use clicks_conform;

fn key(number: i64) -> Key {
    Key::new(number).unwrap()
}

fn at(offset_ms: i64) -> UnixMs {
    UnixMs::new(START + offset_ms).unwrap()
}

fn url(text: &str) -> TargetUrl {
    text.parse().unwrap()
}

fn alias(text: &str) -> Alias {
    text.parse().unwrap()
}

fn tags(texts: &[&str]) -> Tags {
    Tags::parse(texts).unwrap()
}

/// A link without anything special; no two numbers have anything in common but the owner.
fn new(number: i64) -> NewLink {
    NewLink {
        key: key(number),
        alias: None,
        nonce: None,
        owner: OwnerId(1),
        url: url(&format!("https://example.com/{number}")),
        created_at: at(number),
        expires_at: None,
        max_visits: None,
        title: None,
        tags: Tags::default(),
        reuse: false,
        idempotency: None,
    }
}

/// A link that may be reused.
fn reusable(number: i64, target: &str) -> NewLink {
    NewLink { url: url(target), reuse: true, ..new(number) }
}

fn with_alias(number: i64, text: &str) -> NewLink {
    NewLink { alias: Some(alias(text)), nonce: Some(7), ..new(number) }
}

fn with_tags(number: i64, texts: &[&str]) -> NewLink {
    NewLink { tags: tags(texts), ..new(number) }
}

fn limited(number: i64, max: i64) -> NewLink {
    NewLink { max_visits: Some(max), ..new(number) }
}

fn repeatable(new: NewLink, idempotency_key: &str, hash: u8) -> NewLink {
    NewLink { idempotency: Some(Idempotency { key: idempotency_key.to_owned(), request_hash: [hash; 32] }), ..new }
}

/// The link that a new one becomes.
fn made(new: &NewLink) -> Link {
    let content = LinkContent {
        url: new.url.clone(),
        expires_at: new.expires_at,
        limit: new.max_visits.map(|max| VisitLimit { max, visits: 0 }),
        title: new.title.clone(),
        tags: new.tags.clone(),
    };
    Link {
        key: new.key,
        alias: new.alias.clone(),
        owner: new.owner,
        version: 1,
        created_at: new.created_at,
        content: Some(content),
    }
}

/// Creates links that must all be new, each in a batch of its own.
async fn insert(store: &dyn Store, links: impl IntoIterator<Item = NewLink>) {
    for new in links {
        let expected = made(&new);
        assert_eq!(create(store, new).await, CreateOutcome::Created(expected));
    }
}

async fn create(store: &dyn Store, new: NewLink) -> CreateOutcome {
    let mut outcomes = store.create(vec![new]).await.unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

async fn found(store: &dyn Store, number: i64) -> Link {
    store.find(key(number)).await.unwrap().expect("the link is there")
}
