//! The holders: four real nodes that serve ids, and a client of each that draws without a pause.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::ledger::{Failure, Ledger, Range};
use crate::pace::{hold, until};
use crate::process::Process;

/// How many holders there are.
pub(crate) const HOLDERS: usize = 4;
/// The host of the first holder.
pub(crate) const FIRST_HOST: u8 = 21;
/// The namespace that they draw from.
pub(crate) const NAMESPACE: &str = "orders";
/// Its first id.
pub(crate) const FIRST_ID: u64 = 1;
/// One past its last id, as the API makes namespaces.
pub(crate) const LIMIT: u64 = 1 << 63;

/// How many ids a holder takes at once: half of them are at hand at any time.
pub(crate) const BLOCK: u64 = 8_000_000;
/// How many ids one request draws.
const IDS_PER_DRAW: u64 = 20_000;
/// The most that one request may draw: how the headroom is used up fast.
const LARGEST_DRAW: u64 = 100_000;
/// The pause between two draws of one client: 200,000 ids a second for each holder.
const PAUSE: Duration = Duration::from_millis(100);
/// The pause where the headroom is to be used up.
const SHORT_PAUSE: Duration = Duration::from_millis(1);
/// Longer than a node keeps anybody waiting.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);
const STARTED_WITHIN: Duration = Duration::from_secs(20);
const KEY: &str = "0123456789abcdef0123456789abcdef";

type Http = Client<HttpConnector, Full<Bytes>>;

/// The holders and their clients.
#[derive(Debug)]
pub(crate) struct Load {
    holders: Vec<Holder>,
    http: Http,
    hurry: Arc<AtomicBool>,
    drawing: JoinSet<()>,
}

#[derive(Debug)]
struct Holder {
    process: Process,
    url: String,
    admin: String,
    drawn: Arc<AtomicU64>,
}

#[derive(Deserialize)]
struct Drawn {
    ranges: Vec<DrawnRange>,
}

#[derive(Deserialize)]
struct DrawnRange {
    start: u64,
    end: u64,
}

impl Load {
    /// Starts the holders and begins to draw.
    pub(crate) async fn start(cluster: &Cluster, logs: &Path, ledger: &Ledger) -> anyhow::Result<Self> {
        let http = Client::builder(TokioExecutor::new()).build_http();
        let holders = (0..HOLDERS).map(|at| Holder::start(cluster, at, logs)).collect::<Result<_, _>>()?;
        let mut load = Self { holders, http, hurry: Arc::default(), drawing: JoinSet::new() };
        load.make_namespace().await?;
        for (at, holder) in load.holders.iter().enumerate() {
            let client = Drawer {
                holder: at,
                url: holder.url.clone(),
                http: load.http.clone(),
                drawn: Arc::clone(&holder.drawn),
                hurry: Arc::clone(&load.hurry),
                ledger: ledger.clone(),
            };
            load.drawing.spawn(client.run());
        }
        Ok(load)
    }

    async fn make_namespace(&self) -> anyhow::Result<()> {
        let url = format!("{}/namespaces", self.holders[0].url);
        until("a holder makes the namespace", STARTED_WITHIN, async || {
            let body = format!(r#"{{"name":"{NAMESPACE}","start":{FIRST_ID}}}"#);
            matches!(post(&self.http, &url, body).await, Ok((StatusCode::CREATED, _, _)))
        })
        .await
        .map(drop)
    }

    /// Draws as fast as it goes, or at the usual pace.
    pub(crate) fn hurry(&self, hurry: bool) {
        self.hurry.store(hurry, Ordering::Relaxed);
    }

    /// How many ids each holder has given out.
    pub(crate) fn drawn(&self) -> Vec<u64> {
        self.holders.iter().map(|holder| holder.drawn.load(Ordering::Relaxed)).collect()
    }

    /// How many draws had to wait, over all holders.
    pub(crate) async fn stalls(&self) -> anyhow::Result<u64> {
        let mut stalls = 0;
        for holder in &self.holders {
            let request = self.http.get(format!("{}/metrics", holder.admin).parse()?);
            let answer = tokio::time::timeout(ANSWERED_WITHIN, request).await??;
            let text = String::from_utf8(answer.into_body().collect().await?.to_bytes().into())?;
            let line = text.lines().find_map(|line| line.strip_prefix("stint_id_stalls_total "));
            stalls += line.context("a holder counts no stalls")?.parse::<u64>()?;
        }
        Ok(stalls)
    }

    /// Stops drawing, then the holders, which report what they have left.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        self.drawing.shutdown().await;
        for holder in self.holders.drain(..) {
            holder.process.terminate().await?;
        }
        Ok(())
    }
}

impl Holder {
    fn start(cluster: &Cluster, at: usize, logs: &Path) -> anyhow::Result<Self> {
        let host = FIRST_HOST + u8::try_from(at)?;
        let address = cluster.network.address(host);
        let (listen, admin, allocators) = (format!("{address}:8080"), format!("{address}:9464"), cluster.addresses());
        let arguments = [
            "serve",
            "--ids-only",
            "--listen",
            &listen,
            "--admin-listen",
            &admin,
            "--allocators",
            &allocators,
            "--ids",
            "raft",
        ];
        let settings = [
            ("STINT_ADMIN_KEY", KEY.to_owned()),
            ("STINT_IDS__HEADROOM", "40s".to_owned()),
            ("STINT_IDS__MIN_BLOCK", BLOCK.to_string()),
            ("STINT_HTTP__DRAIN_DELAY", "0s".to_owned()),
        ];
        let mut environment: Vec<_> = settings.map(|(name, value)| (name.to_owned(), value)).into();
        environment.push(Cluster::secret());
        let log: PathBuf = logs.join(format!("holder-{}.log", at + 1));
        let process =
            Process::start(&format!("holder {}", at + 1), &cluster.words(host, &arguments), &environment, &log)?;
        Ok(Self {
            process,
            url: format!("http://{listen}/api/v1"),
            admin: format!("http://{admin}"),
            drawn: Arc::default(),
        })
    }
}

/// The client of one holder.
struct Drawer {
    holder: usize,
    url: String,
    http: Http,
    drawn: Arc<AtomicU64>,
    hurry: Arc<AtomicBool>,
    ledger: Ledger,
}

impl Drawer {
    async fn run(self) {
        loop {
            let hurried = self.hurry.load(Ordering::Relaxed);
            match self.draw(if hurried { LARGEST_DRAW } else { IDS_PER_DRAW }).await {
                Ok(ids) => drop(self.drawn.fetch_add(ids, Ordering::Relaxed)),
                Err((is_polite, said)) => {
                    let drawn_before = self.drawn.load(Ordering::Relaxed);
                    self.ledger.fail(Failure { holder: self.holder, drawn_before, is_polite, said });
                }
            }
            hold(if hurried { SHORT_PAUSE } else { PAUSE }).await;
        }
    }

    /// Draws; else says whether the refusal was in order, and how it went.
    async fn draw(&self, count: u64) -> Result<u64, (bool, String)> {
        let body = format!(r#"{{"namespace":"{NAMESPACE}","count":{count},"as":"ranges"}}"#);
        let answer = post(&self.http, &format!("{}/ids", self.url), body).await;
        let (status, asks_to_wait, body) = answer.map_err(|error| (false, format!("{error:#}")))?;
        let said = || String::from_utf8_lossy(&body).into_owned();
        if status != StatusCode::OK {
            return Err((status == StatusCode::SERVICE_UNAVAILABLE && asks_to_wait, said()));
        }
        let drawn: Drawn = serde_json::from_slice(&body).map_err(|error| (false, error.to_string()))?;
        let ranges: Vec<_> = drawn.ranges.iter().map(|range| Range { start: range.start, end: range.end }).collect();
        self.ledger.add(NAMESPACE, &ranges);
        let ids = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum::<u64>();
        if ids == count { Ok(ids) } else { Err((false, format!("{ids} ids instead of {count}: {}", said()))) }
    }
}

/// Posts JSON; answers the status, whether there is a `Retry-After`, and the body.
async fn post(http: &Http, url: &str, body: String) -> anyhow::Result<(StatusCode, bool, Bytes)> {
    let request = Request::post(url)
        .header(header::AUTHORIZATION, format!("Bearer {KEY}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(body))?;
    let answered = tokio::time::timeout(ANSWERED_WITHIN, async {
        let answer: Response<_> = http.request(request).await?;
        let (status, asks_to_wait) = (answer.status(), answer.headers().contains_key(header::RETRY_AFTER));
        anyhow::Ok((status, asks_to_wait, answer.into_body().collect().await?.to_bytes()))
    });
    answered.await.context("no answer")?
}
