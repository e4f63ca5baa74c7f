//! A server that answers like Stint, as far as the load test looks, and lies in one way.

mod answers;
mod tls;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub(crate) use self::tls::Authority;

/// In which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// In none.
    Nothing,
    /// Every tenth redirect leads elsewhere.
    Location,
    /// The stored URL isn't the one that was sent.
    StoredUrl,
    /// Every tenth new link has the code of the one before.
    CodeTwice,
    /// A plain URL gets a new code each time.
    NoReuse,
    /// Every tenth id was handed out before.
    IdTwice,
    /// Whoever asks for an alias gets it.
    AliasForAll,
    /// Nobody who asks for an alias gets it.
    AliasForNone,
    /// The winner of an alias is forgotten: it leads to the URL of the last who asked.
    AliasLeadsElsewhere,
    /// A new link is not known at first.
    NotFoundAtFirst,
    /// It counts one link more than it made.
    CountOfLinks,
    /// It doesn't count every redirect.
    CountOfRedirects,
    /// It counts one id more than it gave.
    CountOfIds,
    /// It leaves the last row of a bulk request out.
    BulkRowMissing,
    /// It needs a key, and knows none.
    KnowsNoKey,
    /// It takes its time.
    Slow,
    /// It doesn't know the links that were made through it, only those of others.
    KnowsOnlyOthers,
}

/// What it knows.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) links: HashMap<String, String>,
    pub(crate) codes: HashMap<String, String>,
    /// Through which server each code was made.
    pub(crate) makers: HashMap<String, usize>,
    pub(crate) next_code: u64,
    pub(crate) next_id: u64,
    pub(crate) created: u64,
    pub(crate) reused: u64,
    pub(crate) followed: u64,
    pub(crate) ids: u64,
}

/// What its answers are made from.
#[derive(Clone, Debug)]
pub(crate) struct Mind {
    pub(crate) lie: Lie,
    /// Which of the servers with this memory it is.
    pub(crate) number: usize,
    memory: Arc<Mutex<Memory>>,
}

impl Mind {
    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap()
    }
}

/// The server; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Liar {
    /// Its base URL.
    pub(crate) url: String,
    mind: Mind,
    _tasks: JoinSet<()>,
}

impl Liar {
    /// Over plain HTTP.
    pub(crate) async fn start(lie: Lie) -> Self {
        Self::with(Mind { lie, number: 0, memory: Arc::default() }).await
    }

    /// A server beside this one that lies in the same way and has the same memory.
    pub(crate) async fn beside(&self) -> Self {
        Self::with(Mind { number: self.mind.number + 1, ..self.mind.clone() }).await
    }

    async fn with(mind: Mind) -> Self {
        let (listener, address) = listen().await;
        let router = router(mind.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url: format!("http://{address}"), mind, _tasks: tasks }
    }

    /// Over TLS, with a certificate of this authority.
    pub(crate) async fn start_tls(authority: &Authority) -> Self {
        let (listener, address) = listen().await;
        let mind = Mind { lie: Lie::Nothing, number: 0, memory: Arc::default() };
        let router = router(mind.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(tls::serve(listener, authority.acceptor(), router));
        Self { url: format!("https://{address}"), mind, _tasks: tasks }
    }

    /// What it knows.
    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.mind.memory()
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn router(mind: Mind) -> Router {
    Router::new()
        .route("/health", get(|| async { "{\"status\":\"pass\"}" }))
        .route("/metrics", get(answers::metrics))
        .route("/api/v1/links", post(answers::create))
        .route("/api/v1/links/bulk", post(answers::bulk))
        .route("/api/v1/namespaces", post(answers::namespace))
        .route("/api/v1/ids", post(answers::draw))
        .route("/{code}", get(answers::follow))
        .with_state(mind)
}
