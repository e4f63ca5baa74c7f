//! Commits in doubt: a proxy that swallows an answer, and backends killed at any moment.

use std::sync::{Arc, Mutex};

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;

/// Stands between a store and its server. Once told to, it passes a message with certain bytes on, and cuts the
/// connection when the answer comes, instead of passing that on.
#[derive(Debug)]
struct Proxy {
    url: String,
    swallow: Arc<Mutex<Option<Vec<u8>>>>,
    _connections: JoinSet<()>,
}

impl Proxy {
    async fn before(url: &str) -> Self {
        let server: PgConnectOptions = url.parse().unwrap();
        let server = format!("{}:{}", server.get_host(), server.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = url.replace(&server, &listener.local_addr().unwrap().to_string());
        let swallow = Arc::new(Mutex::new(None));
        let wanted = Arc::clone(&swallow);
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                open.spawn(pass_on(client, server, Arc::clone(&wanted)));
            }
        });
        Self { url, swallow, _connections: connections }
    }

    fn swallow_the_answer_to(&self, bytes: &str) {
        *self.swallow.lock().unwrap() = Some(bytes.as_bytes().to_owned());
    }
}

async fn pass_on(mut client: TcpStream, mut server: TcpStream, swallow: Arc<Mutex<Option<Vec<u8>>>>) {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut swallowing = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(read @ 1..) = read else { return };
                let mut wanted = swallow.lock().unwrap().take();
                if wanted.as_ref().is_some_and(|bytes| asked[..read].windows(bytes.len()).any(|part| part == bytes)) {
                    (swallowing, wanted) = (true, None);
                }
                if wanted.is_some() {
                    *swallow.lock().unwrap() = wanted;
                }
                server.write_all(&asked[..read]).await.unwrap();
            }
            read = server.read(&mut answered) => {
                let Ok(read @ 1..) = read else { return };
                if swallowing || client.write_all(&answered[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// A batch of every kind of link.
fn all_kinds(first: i64) -> Vec<NewLink> {
    let request = |number: i64| Some(Idempotency { key: number.to_string(), request_hash: [1; 32] });
    vec![
        plain(first, &format!("https://doubt.example/{first}")),
        named(first + 1, &format!("an-alias-in-doubt-{first}")),
        NewLink { nonce: Some(9), reuse: false, ..plain(first + 2, "https://doubt.example/key") },
        NewLink { idempotency: request(first), ..named(first + 3, &format!("a-request-in-doubt-{first}")) },
        NewLink { idempotency: request(first + 1), ..plain(first + 4, &format!("https://doubt.example/once/{first}")) },
    ]
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_known_again() {
    let proxy = Proxy::before(&database()).await;
    let store = open(&proxy.url);
    // So that the statement is prepared: what is swallowed is an execution.
    assert!(store.create(all_kinds(1)).await.unwrap().iter().all(is_created));
    for first in [11, 21] {
        proxy.swallow_the_answer_to("an-alias-in-doubt");
        let batch = all_kinds(first);
        let expected: Vec<_> = batch.iter().map(|new| CreateOutcome::Created(created(new))).collect();
        assert_eq!(store.create(batch).await.unwrap(), expected);
        assert!(proxy.swallow.lock().unwrap().is_none(), "the answer was swallowed");
    }
    assert_eq!(number(&store, "SELECT count(*) FROM links").await, 15);
    assert_eq!(number(&store, "SELECT count(*) FROM changes").await, 9);
}

#[tokio::test]
async fn in_doubt_the_links_of_others_are_not_taken_for_own_ones() {
    let proxy = Proxy::before(&database()).await;
    let store = open(&proxy.url);
    let theirs = vec![
        named(1, "an-alias-in-doubt"),
        NewLink { nonce: Some(9), reuse: false, ..plain(2, "https://doubt.example/key") },
        plain(3, "https://doubt.example/"),
    ];
    assert!(store.create(theirs.clone()).await.unwrap().iter().all(is_created));
    let ours = vec![
        NewLink { key: key(11), nonce: Some(8), ..theirs[0].clone() },
        NewLink { nonce: Some(8), ..theirs[1].clone() },
        NewLink { key: key(13), ..theirs[2].clone() },
    ];
    proxy.swallow_the_answer_to("an-alias-in-doubt");
    let outcomes = store.create(ours).await.unwrap();
    let reused = CreateOutcome::Reused(created(&theirs[2]));
    assert_eq!(outcomes, [CreateOutcome::AliasTaken, CreateOutcome::KeyTaken, reused]);
    assert!(proxy.swallow.lock().unwrap().is_none(), "the answer was swallowed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_exists_though_backends_are_killed_in_mid_batch() {
    const BATCHES: i64 = 40;
    let url = database();
    let (store, killer) = (open(&url), open_single(&url));
    let (begun, mut next) = tokio::sync::watch::channel(0);
    let writing = async {
        let mut acknowledged = 0;
        for batch in 0..BATCHES {
            begun.send_replace(batch);
            // One kill is survived. That its outcomes are never foreign ones is what a creator relies on.
            for outcome in store.create(all_kinds(1 + 10 * batch)).await.unwrap() {
                assert!(is_created(&outcome), "nobody else wants these names: {outcome:?}");
                acknowledged += 1;
            }
        }
        acknowledged
    };
    let killing = async {
        loop {
            next.changed().await.unwrap();
            let working = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                           WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'";
            while number(&killer, working).await == 0 && !next.has_changed().unwrap() {}
        }
    };
    let acknowledged =
        tokio::select! { acknowledged = writing => acknowledged, () = killing => unreachable!("it runs on") };
    assert_eq!(acknowledged, 5 * BATCHES);
    assert_eq!(number(&killer, "SELECT count(*) FROM links").await, acknowledged);
    assert_eq!(orphans(&killer).await, 0);
}
