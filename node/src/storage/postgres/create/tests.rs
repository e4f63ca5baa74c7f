//! Creating in a real Postgres: conflicts, races, connections that break, and what a batch costs.

mod doubt;

use futures_util::future::join_all;

use super::*;
use crate::domain::label::Tags;
use crate::ports::link_store::{Idempotency, LinkStore as _};
use crate::storage::postgres::tests::{
    database, executed, fresh, key, logging_database, named, number, open, open_single, plain, run, until_one_waits,
};

fn is_created(outcome: &CreateOutcome) -> bool {
    matches!(outcome, CreateOutcome::Created(_))
}

/// Ends all other connections to the database.
const KILL_OTHERS: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                           WHERE datname = current_database() AND pid <> pg_backend_pid()";

/// Names that lead to no link.
async fn orphans(store: &PgStore) -> i64 {
    let query = "SELECT count(*) FROM (SELECT key FROM targets UNION ALL SELECT key FROM aliases
                                       UNION ALL SELECT link_key FROM idempotency UNION ALL SELECT key FROM link_tags) AS names
                 WHERE key NOT IN (SELECT key FROM links)";
    number(store, query).await
}

#[tokio::test]
async fn a_batch_of_512_without_conflicts_is_one_statement() {
    let url = logging_database();
    let store = open(&url);
    let whole = |number: i64| NewLink {
        alias: (number % 2 == 0).then(|| format!("the-alias-{number}").parse().unwrap()),
        tags: Tags::parse(&["a", "b"]).unwrap(),
        idempotency: Some(Idempotency { key: number.to_string(), request_hash: [1; 32] }),
        ..plain(number, &format!("https://example.com/{number}"))
    };
    let batches: [Vec<NewLink>; 2] = [
        (1..=512).map(whole).collect(),
        (1001..=1512).map(|number| plain(number, &format!("https://example.com/{number}"))).collect(),
    ];
    for batch in batches {
        let before = executed(&url);
        assert!(store.create(batch).await.unwrap().iter().all(is_created));
        assert_eq!(executed(&url) - before, 1);
    }
    assert_eq!(orphans(&store).await, 0);
    assert_eq!(number(&store, "SELECT count(*) FROM link_tags").await, 2 * 512);
    assert_eq!(number(&store, "SELECT count(*) FROM idempotency").await, 512);
    assert_eq!(number(&store, "SELECT count(*) FROM changes").await, 256);
}

/// Both plain links and named ones: those take another statement each.
#[tokio::test]
async fn a_generated_key_that_an_alias_has_is_taken_and_leaves_no_name_behind() {
    let (store, ()) = fresh().await;
    let custom = NewLink { nonce: Some(1), reuse: false, ..plain(5, "https://custom.example/") };
    assert!(store.create(vec![custom]).await.unwrap().iter().all(is_created));
    let batch = |taken: NewLink| vec![plain(taken.key.get() + 100, "https://free.example/"), taken];
    let plain_batch = batch(plain(5, "https://a.example/"));
    let named_batch = batch(named(5, "a-name-of-its-own"));
    for batch in [plain_batch, named_batch] {
        let outcomes = store.create(batch).await.unwrap();
        assert!(matches!(
            outcomes[..],
            [CreateOutcome::Created(_) | CreateOutcome::Reused(_), CreateOutcome::KeyTaken]
        ));
        assert_eq!(orphans(&store).await, 0);
        let foreign = "SELECT count(*) FROM targets JOIN links USING (key) WHERE url = 'https://custom.example/'";
        assert_eq!(number(&store, foreign).await, 0);
    }
    let again = store.create(vec![plain(6, "https://a.example/"), named(7, "a-name-of-its-own")]).await.unwrap();
    assert!(again.iter().all(is_created), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_that_create_the_same_at_once_make_one_link_of_each() {
    const ROUNDS: i64 = 15;
    const EACH: i64 = 40;
    let url = database();
    let stores: Vec<PgStore> = (0..4).map(|_| open(&url)).collect();
    for round in 0..ROUNDS {
        let batch = |store: i64| {
            let mut batch: Vec<NewLink> = (0..EACH)
                .flat_map(|index| {
                    let drawn = 1 + 2 * (index + EACH * (store + 4 * round));
                    [
                        plain(drawn, &format!("https://example.com/{round}/{index}")),
                        named(drawn + 1, &format!("the-alias-{round}-{index}")),
                    ]
                })
                .collect();
            // Everybody in an order of its own.
            let middle = batch.len() / 4 * usize::try_from(store).unwrap();
            batch.rotate_left(middle);
            if store % 2 == 1 {
                batch.reverse();
            }
            batch
        };
        let batches = (0..).zip(&stores).map(|(number, store)| {
            let batch = batch(number);
            async move { (batch.clone(), store.create(batch).await.unwrap()) }
        });
        let mut made: HashMap<String, Vec<CreateOutcome>> = HashMap::new();
        for (batch, outcomes) in join_all(batches).await {
            for (new, outcome) in batch.into_iter().zip(outcomes) {
                let name = new.alias.map_or(new.url.as_str().to_owned(), |alias| alias.as_str().to_owned());
                made.entry(name).or_default().push(outcome);
            }
        }
        for (name, outcomes) in made {
            let winner = outcomes.iter().find_map(|outcome| match outcome {
                CreateOutcome::Created(link) => Some(link.clone()),
                _ => None,
            });
            let winner = winner.unwrap_or_else(|| panic!("nobody made {name}: {outcomes:?}"));
            let beaten = if winner.alias.is_some() { CreateOutcome::AliasTaken } else { CreateOutcome::Reused(winner) };
            assert_eq!(outcomes.iter().filter(|outcome| **outcome == beaten).count(), 3, "{name}: {outcomes:?}");
        }
    }
    assert_eq!(number(&stores[0], "SELECT count(*) FROM links").await, 2 * EACH * ROUNDS);
    assert_eq!(orphans(&stores[0]).await, 0);
}

#[tokio::test]
async fn an_idempotency_key_that_another_node_takes_meanwhile_is_replayed() {
    let (store, ()) = fresh().await;
    let request = |number| NewLink {
        idempotency: Some(Idempotency { key: "again".to_owned(), request_hash: [1; 32] }),
        reuse: false,
        ..plain(number, "https://example.com/")
    };
    let batches = (1..=8)
        .map(|number| store.create(vec![request(number), plain(100 + number, &format!("https://{number}.example/"))]));
    let outcomes = join_all(batches).await.into_iter().map(|outcomes| outcomes.unwrap().remove(0));
    let (made, repeated): (Vec<_>, Vec<_>) = outcomes.partition(is_created);
    let [CreateOutcome::Created(link)] = &made[..] else { panic!("{made:?}") };
    assert_eq!(repeated, vec![CreateOutcome::Replayed { link: link.clone(), created: true }; 7]);
    assert_eq!(orphans(&store).await, 0);
}

#[tokio::test]
async fn what_comes_between_reading_and_inserting_is_read_again() {
    let url = database();
    let (store, other) = (open(&url), open(&url));
    let (theirs, ours) = (plain(1, "https://a.example/"), plain(2, "https://a.example/"));
    let mut transaction = other.servers.primary().unwrap().pool.begin().await.unwrap();
    insert::run(&mut transaction, vec![Row::of(&theirs)]).await.unwrap();
    let pool = &store.servers.primary().unwrap().pool;
    let entries = [&ours];
    let creating = exact::create(pool, &entries, false);
    let committing = async {
        until_one_waits(&other).await;
        transaction.commit().await.unwrap();
    };
    let (created_meanwhile, ()) = tokio::join!(creating, committing);
    let error = created_meanwhile.unwrap_err();
    assert!(Batch::of(Vec::new()).may_go_on_after(&error), "{error:?}");
    let outcomes = exact::create(pool, &entries, false).await.unwrap();
    assert_eq!(outcomes, [CreateOutcome::Reused(created(&theirs))]);
}

/// One hash for two: as if the first link had been made for another URL, or by another owner.
#[tokio::test]
async fn what_has_the_same_hash_by_chance_is_never_reused() {
    for other in ["UPDATE links SET url = 'https://other.example/'", "UPDATE links SET owner_id = 2"] {
        let (store, ()) = fresh().await;
        store.create(vec![plain(1, "https://a.example/")]).await.unwrap();
        run(&store, other).await;
        let target = plain(2, "https://a.example/").url;
        assert_eq!(store.find_reusable(OwnerId(1), target.hash(), &target).await.unwrap(), None);
        let batch = vec![plain(2, "https://a.example/"), plain(3, "https://a.example/")];
        let outcomes = store.create(batch).await.unwrap();
        assert!(outcomes.iter().all(is_created), "{outcomes:?}");
        assert_eq!(number(&store, "SELECT key FROM targets").await, 1, "the place belongs to the first");
    }
}

#[tokio::test]
async fn a_dead_connection_is_no_reason_to_fail() {
    let url = database();
    let (store, killer) = (open(&url), open_single(&url));
    for round in 0..5 {
        number(&killer, KILL_OTHERS).await;
        let first = 1 + 10 * round;
        assert!(store.create(vec![named(first, &format!("the-alias-{round}"))]).await.unwrap().iter().all(is_created));
        number(&killer, KILL_OTHERS).await;
        assert!(store.find(key(first)).await.unwrap().is_some());
        number(&killer, KILL_OTHERS).await;
        assert!(store.delete(key(first)).await.unwrap().is_some());
    }
}
