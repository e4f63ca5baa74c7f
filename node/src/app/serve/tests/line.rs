//! An allocator at the end of a line that can be cut, and a few words of HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use stint_idgen::allocator::{Command, IdOrigin, NamespaceName, Reply};
use tempfile::TempDir;

use crate::cluster::group::{Group, GroupOptions};
use crate::ports::clock::SystemClock;
use crate::ports::coordination::{Allocator, AuditStream, ClusterStatus, CoordinationError, MemberChange, MemberError};
use crate::ports::entropy::OsEntropy;

/// A group of one, as another machine sees it.
#[derive(Debug)]
pub(super) struct Line {
    group: Group,
    is_cut: AtomicBool,
    _dir: TempDir,
}

impl Line {
    pub(super) async fn open() -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = GroupOptions::new(Arc::new(SystemClock), Arc::new(OsEntropy));
        let group = Group::open_alone(&dir.path().join("raft"), 1, options).await.unwrap();
        Arc::new(Self { group, is_cut: AtomicBool::new(false), _dir: dir })
    }

    pub(super) fn cut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
    }

    pub(super) async fn close(&self) {
        self.group.stop().await;
    }

    fn through(&self) -> Result<&Group, CoordinationError> {
        if self.is_cut.load(Ordering::Relaxed) {
            Err(CoordinationError::Unavailable { source: "cut off".into() })
        } else {
            Ok(&self.group)
        }
    }
}

#[async_trait]
impl Allocator for Line {
    fn cluster_id(&self) -> Option<Arc<str>> {
        self.group.cluster_id()
    }

    async fn submit(&self, command: Command) -> Result<Reply, CoordinationError> {
        self.through()?.submit(command).await
    }

    async fn status(&self) -> Result<ClusterStatus, CoordinationError> {
        self.through()?.status().await
    }

    async fn find_origin(&self, namespace: &NamespaceName, id: u64) -> Result<Option<IdOrigin>, CoordinationError> {
        self.through()?.find_origin(namespace, id).await
    }

    async fn audit(&self, after: Option<u64>, follow: bool) -> Result<AuditStream, CoordinationError> {
        self.through()?.audit(after, follow).await
    }

    async fn change_members(&self, change: MemberChange) -> Result<(), MemberError> {
        self.through()?.change_members(change).await
    }
}

/// Sends one request; answers its status and body.
pub(super) async fn ask(
    server: SocketAddr,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: Option<Value>,
) -> (u16, String) {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut request = Request::builder().method(method).uri(format!("http://{server}{path}"));
    if let Some(key) = key {
        request = request.header("x-api-key", key);
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let response = client.request(request.body(Full::from(body)).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}
