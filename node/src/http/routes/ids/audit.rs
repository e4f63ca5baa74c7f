//! `GET /api/v1/ids/audit`: every change of ownership, as it was committed.
//!
//! The records are sent as the client takes them in; nothing is collected.

mod wire;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use stint_idgen::allocator::{AuditEvent, AuditRecord, NamespaceName, NamespaceSpec};
use utoipa::IntoParams;

pub(in crate::http) use self::wire::AuditLine;
use crate::domain::access::Scope;
use crate::http::error::documented::{AccessProblems, ServerProblems};
use crate::http::error::{Problem, ProblemBody};
use crate::http::extract::{Authenticated, Query};
use crate::http::state::Api;
use crate::ports::coordination::{Allocator, AuditStream, CoordinationError};
use crate::ports::error_chain::Chain;

const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
const NEVER_KEPT: HeaderValue = HeaderValue::from_static("no-store");

/// Which records to send.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct AuditParams {
    /// Only records behind this index: the `index` of the last one that was read.
    after: Option<u64>,
    /// Whether to go on with what is to come, without end.
    #[serde(default)]
    #[param(default = false)]
    follow: bool,
}

/// What the specs of namespaces are, to tell counters as ids.
struct Specs(HashMap<NamespaceName, NamespaceSpec>);

impl Specs {
    /// The record as a line. A namespace made since is known from its own record.
    fn line(&mut self, record: AuditRecord) -> String {
        if let AuditEvent::Namespace { name, spec } = &record.event {
            self.0.insert(name.clone(), *spec);
        }
        AuditLine::new(record, |name| self.0.get(name)).to_line()
    }
}

/// Read the audit
///
/// One JSON object a line: each grant, return, raised floor, worker lease and setting of a namespace, in the order of
/// the log. What is no longer at hand is left out at the beginning. An answer that breaks off is gone on with by `after`.
#[utoipa::path(
    get,
    path = "/api/v1/ids/audit",
    tag = "Ids",
    params(AuditParams),
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 200, description = "The records, one a line", body = AuditLine, content_type = "application/x-ndjson"),
        (status = 400, description = "`invalid-query`", body = ProblemBody, content_type = "application/problem+json"),
        AccessProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn read_audit(
    State(api): State<Arc<Api>>,
    authenticated: Authenticated,
    Query(params): Query<AuditParams>,
) -> Result<Response, Problem> {
    authenticated.allowed(Scope::Admin)?;
    Ok(open(&*api.allocator, &params, api.stopping.clone().cancelled_owned()).await?)
}

/// The answer, which is written while it is sent. Following ends when the server stops; what is finite is sent whole.
async fn open(
    allocator: &dyn Allocator,
    params: &AuditParams,
    stopping: impl Future<Output = ()> + Send + 'static,
) -> Result<Response, CoordinationError> {
    // The specs first: each namespace made later has a record that is still to come.
    let namespaces = allocator.status().await?.namespaces;
    let specs = Specs(namespaces.into_iter().map(|namespace| (namespace.name, namespace.spec)).collect());
    let records = allocator.audit(params.after, params.follow).await?;
    let body = if params.follow {
        Body::from_stream(lines(records, specs).take_until(stopping))
    } else {
        Body::from_stream(lines(records, specs))
    };
    Ok(([(header::CONTENT_TYPE, NDJSON), (header::CACHE_CONTROL, NEVER_KEPT)], body).into_response())
}

/// A record that can't be had breaks the answer off, so that nobody takes it for whole.
fn lines(records: AuditStream, mut specs: Specs) -> impl Stream<Item = Result<String, CoordinationError>> {
    records.map(move |record| match record {
        Ok(record) => Ok(specs.line(record)),
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "the audit breaks off");
            Err(error)
        }
    })
}
