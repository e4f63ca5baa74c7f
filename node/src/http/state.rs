//! What the handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use stint_idgen::{Key, KeyCodec};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::limits::LimitedClients;
use crate::domain::alias::Alias;
use crate::domain::link::Link;
use crate::metrics::{HttpMetrics, LinkMetrics};
use crate::ports::click_store::ClickSink;
use crate::ports::clock::Clock;
use crate::ports::coordination::Allocator;
use crate::service::create::CreateLinks;
use crate::service::decode_ids::DecodeIds;
use crate::service::health::Health;
use crate::service::issue_ids::IssueIds;
use crate::service::keys::ManageKeys;
use crate::service::links::ManageLinks;
use crate::service::namespaces::ManageNamespaces;
use crate::service::resolve::ResolveLinks;
use crate::service::stats::LinkStats;
use crate::telemetry::traces::Traces;

/// The use cases and settings behind the public port.
#[derive(Debug)]
pub struct Api {
    /// Creating links.
    pub create: CreateLinks,
    /// Managing links.
    pub links: ManageLinks,
    /// Following links.
    pub resolve: Arc<ResolveLinks>,
    /// Takes the clicks in.
    pub clicks: Arc<dyn ClickSink>,
    /// Showing how often links were followed.
    pub stats: LinkStats,
    /// Issuing ids.
    pub ids: IssueIds,
    /// Making, changing and seeing namespaces.
    pub namespaces: ManageNamespaces,
    /// Reading ids.
    pub decode: DecodeIds,
    /// API keys.
    pub keys: ManageKeys,
    /// The allocator, to show its state and audit, and to change its members.
    pub allocator: Arc<dyn Allocator>,
    /// Whether the node is well.
    pub health: Health,
    /// Keys to codes.
    pub codec: Arc<KeyCodec>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where the spans of requests go.
    pub traces: Traces,
    /// Metrics of requests.
    pub http_metrics: HttpMetrics,
    /// Metrics of links.
    pub link_metrics: LinkMetrics,
    /// Who may do how much.
    pub clients: LimitedClients,
    /// Settings.
    pub settings: HttpSettings,
    /// Numbers requests.
    pub request_ids: RequestIds,
    /// Bounds the bodies being read.
    pub body_budget: BodyBudget,
    /// Bounds the bulk requests being worked on, each of which keeps some bytes a row.
    pub bulk_places: Semaphore,
    /// Cancelled when the server stops: answers without an end must end then.
    pub stopping: CancellationToken,
}

/// How many bytes of bodies may be in memory at once, over all requests: what comes on top is refused at once.
#[derive(Debug)]
pub struct BodyBudget(Semaphore);

/// Bytes per permit.
const PERMIT: usize = 1024;
/// Bodies in memory: 256 of the largest that are taken by default, or 64,000 of ordinary ones.
const BUDGET: usize = 64 << 20;

impl Default for BodyBudget {
    fn default() -> Self {
        Self(Semaphore::new(BUDGET / PERMIT))
    }
}

impl BodyBudget {
    /// Room for `bytes`, for as long as the permit is held; `None` when there is none.
    pub fn take(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        let permits = bytes.div_ceil(PERMIT).min(BUDGET / PERMIT);
        self.0.try_acquire_many(u32::try_from(permits).unwrap_or(u32::MAX)).ok()
    }
}

/// Settings of the public port.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// What short URLs begin with, without a final slash.
    pub public_url: String,
    /// The status of a redirect: 301, 302, 307 or 308.
    pub redirect_status: StatusCode,
    /// Whether links may be created without a key.
    pub anonymous_create: bool,
    /// The largest body, in bytes.
    pub max_body_size: usize,
    /// How long a request may take.
    pub request_timeout: Duration,
}

/// The id of a request that its handler must know.
#[derive(Clone, Debug, Default)]
pub struct RequestId(pub String);

/// Bulk requests at the same time: each may keep some 10 MB if all of its rows fail.
pub const BULK_PLACES: usize = 4;

/// Draws request ids: a random start per process, and a counter.
#[derive(Debug)]
pub struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl RequestIds {
    /// Ids of the process with this random number.
    pub const fn new(process: u32) -> Self {
        Self { process, next: AtomicU64::new(1) }
    }

    /// The next id, such as `9f0c21aa-1d`.
    pub fn next(&self) -> String {
        format!("{:08x}-{:x}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl Api {
    /// How a link is called: its alias, or the code of its key.
    pub fn code(&self, link: &Link) -> String {
        self.code_of(link.key, link.alias.as_ref())
    }

    /// How the link with this key and alias is called.
    pub fn code_of(&self, key: Key, alias: Option<&Alias>) -> String {
        match alias {
            Some(alias) => alias.as_str().to_owned(),
            None => self.codec.code(key).as_str().to_owned(),
        }
    }

    /// The short URL of a code.
    pub fn short_url(&self, code: &str) -> String {
        format!("{}/{code}", self.settings.public_url)
    }
}
