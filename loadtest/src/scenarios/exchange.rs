//! One request of a user: sent and timed by goose, its answer checked, its failure told.

use std::time::Duration;

use goose::goose::{GooseMethod, GooseRequest, GooseUser, TransactionError};
use reqwest::RequestBuilder;

use crate::run::Run;
use crate::verify::counts::Count;
use crate::verify::fault::{Fault, Kind};
use crate::wire::Reply;

/// How long a user waits after a request without an answer: a server that is away need not be asked ten thousand
/// times a second.
const PAUSE: Duration = Duration::from_millis(100);

/// A request, and how it is told of.
pub(super) struct Call<'a> {
    /// Its name in reports.
    pub(super) name: &'static str,
    pub(super) method: GooseMethod,
    pub(super) request: RequestBuilder,
    /// The status that goose takes for success, where it isn't 2xx.
    pub(super) status: Option<u16>,
    /// What the servers may have counted if no answer says so.
    pub(super) doubt: &'a [(Count, u64)],
}

impl<'a> Call<'a> {
    /// A POST that must be answered with 2xx.
    pub(super) const fn post(name: &'static str, request: RequestBuilder, doubt: &'a [(Count, u64)]) -> Self {
        Self { name, method: GooseMethod::Post, request, status: None, doubt }
    }
}

/// Sends a request and checks its answer; the error is for goose, everybody else has been told.
pub(super) async fn exchange<T>(
    run: &Run,
    user: &mut GooseUser,
    call: Call<'_>,
    check: impl FnOnce(&Reply) -> Result<T, Fault>,
) -> Result<T, Box<TransactionError>> {
    let builder = GooseRequest::builder().method(call.method).path(call.name).name(call.name);
    let mut builder = builder.set_request_builder(call.request);
    if let Some(status) = call.status {
        builder = builder.expect_status_code(status);
    }
    let goose = user.request(builder.build()).await?;
    let mut metric = goose.request;
    let took = goose.response.is_ok().then(|| Duration::from_micros(metric.response_time_micros()));
    run.note_request(took);
    let reply = Reply::read(goose.response).await;
    let fault = match reply.and_then(|reply| check(&reply)) {
        Ok(checked) => {
            user.set_success(&mut metric)?;
            return Ok(checked);
        }
        Err(fault) => fault,
    };
    let what = format!("{} {}", metric.raw.method_label(), metric.raw.url);
    run.note_failure(&what, &fault, call.doubt);
    if fault.kind == Kind::NoAnswer {
        tokio::time::sleep(PAUSE).await;
    }
    // The kind only: goose counts its failures by their text.
    user.set_failure(&fault.kind.to_string(), &mut metric, None, None)?;
    Err(Box::new(TransactionError::RequestFailed { raw_request: Box::new(metric) }))
}
