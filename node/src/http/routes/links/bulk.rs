//! `/api/v1/links/bulk`: creating many links with one request, each with an answer of its own.
//!
//! Rows are created while the body arrives, many at a time; the answer follows when all are done. A client that sends
//! everything before it reads anything is served as well, so what is kept of a row until then is some 32 bytes (more
//! for one that failed). Nothing is undone when a row fails.

mod rows;

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;
use sha2::{Digest, Sha256};
use stint_idgen::Key;
use utoipa::ToSchema;

use self::rows::{RowError, Rows, Shape};
use super::count;
use super::wire::CreateLinkRequest;
use crate::domain::alias::Alias;
use crate::domain::link::Link;
use crate::http::error::documented::{AccessProblems, BodyProblems, ServerProblems};
use crate::http::error::{Problem, ProblemBody, ProblemKind};
use crate::http::extract::{Creator, content_type, idempotency_key, object, wrong_content_type};
use crate::http::layers::log;
use crate::http::limits::{retry_after, show_standing};
use crate::http::state::{Api, RequestId};
use crate::ports::link_store::Idempotency;
use crate::ports::trace::TraceContext;
use crate::service::limits::{Excess, Standing};

const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The most rows of one request.
const MAX_ROWS: usize = 100_000;
/// Rows being created at the same time: two of the store's largest batches, so that one is filled while one is written.
const IN_FLIGHT: usize = 1024;
/// Rows taken from a caller's allowance at a time, if so many have arrived.
const ADMITTED_TOGETHER: usize = 256;
/// Rows that are looked up at the same time, to know whether they were done before.
const LOOKED_UP_TOGETHER: usize = 8;
/// Rows encoded at a time.
const ENCODED_TOGETHER: usize = 256;
/// The longest `Idempotency-Key`: each row has its own, which is this one, `#` and the row's index.
const LONGEST_IDEMPOTENCY_KEY: usize = 248;

/// What became of one row.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct BulkResult {
    /// Which row, from 0.
    index: usize,
    /// The status that the row would have been answered with alone: 201, 200 for a reused link, or an error.
    #[schema(example = 201)]
    status: u16,
    /// The link's code, or its alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "4nBv2Kq")]
    code: Option<String>,
    /// What to share.
    #[serde(skip_serializing_if = "Option::is_none")]
    short_url: Option<String>,
    /// Why there is no link.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

/// What is kept of a row until the answer is written.
enum Outcome {
    Done {
        key: Key,
        alias: Option<Alias>,
        created: bool,
    },
    Failed(Box<Problem>),
    /// Refused by the rate limit that [`Bulk::standing`] tells of.
    Limited,
}

/// A row on its way.
enum Row {
    Whole(Vec<u8>),
    Broken(Problem),
    /// There is nothing left of the allowance for it.
    Limited,
}

/// What the rows of one request share.
struct Bulk {
    api: Arc<Api>,
    creator: Creator,
    idempotency_key: Option<String>,
    /// Set once something was away: the rows behind are not tried, since each would wait for it.
    gave_up: AtomicBool,
    /// What was left of the caller's allowance when it was last asked, if it is limited. Once it isn't enough, all rows from
    /// there on are refused, so that a client can send them again.
    standing: Mutex<Option<Standing>>,
}

/// The body as it arrives.
struct Arriving {
    body: BodyDataStream,
    /// How long its next piece may take.
    patience: Duration,
    /// What cuts it into rows; `None` behind the last one.
    rows: Option<Rows>,
    /// Rows that nobody has taken yet. An error is the last.
    ready: VecDeque<Result<Vec<u8>, Problem>>,
}

/// Create many links
///
/// Takes a JSON array, or one JSON object a line (`application/x-ndjson`), of up to 100,000 requests as for one link, and
/// answers alike with one result for each, in order. Rows are created side by side: of two with the same URL or alias any
/// may be the first. The status is 200 even if rows failed: look at each. A body that
/// breaks off has a last result that says so; the rows before it are done. With an `Idempotency-Key` the whole request
/// can be repeated within 24 hours: rows that were done get the same links.
#[utoipa::path(
    post,
    path = "/api/v1/links/bulk",
    tag = "Links",
    params(("Idempotency-Key" = Option<String>, Header,
            description = "1 to 248 printable ASCII characters, new for each new request, such as a UUID")),
    request_body(content((Vec<CreateLinkRequest> = "application/json"), (CreateLinkRequest = "application/x-ndjson"))),
    security((), ("bearer" = []), ("api_key" = [])),
    responses(
        (status = 200, description = "One result for each row",
         content((Vec<BulkResult> = "application/json"), (BulkResult = "application/x-ndjson"))),
        AccessProblems,
        BodyProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn create_links(
    State(api): State<Arc<Api>>,
    creator: Creator,
    request: Request,
) -> Result<Response, Problem> {
    let shape = shape(request.headers())?;
    let request_id = request.extensions().get::<RequestId>().cloned().unwrap_or_default();
    let idempotency_key = idempotency_key(request.headers())?.map(str::to_owned);
    if idempotency_key.as_ref().is_some_and(|key| key.len() > LONGEST_IDEMPOTENCY_KEY) {
        let detail = format!("use an Idempotency-Key of at most {LONGEST_IDEMPOTENCY_KEY} characters here");
        return Err(Problem::new(ProblemKind::InvalidIdempotencyKey, detail));
    }
    let _place = api.bulk_places.try_acquire().map_err(|_| {
        Problem::new(ProblemKind::Overloaded, "enough bulk requests are being worked on; try again shortly")
    })?;
    let arriving = Arriving {
        body: request.into_body().into_data_stream(),
        patience: api.settings.request_timeout,
        rows: Some(Rows::new(shape, api.settings.max_body_size)),
        ready: VecDeque::new(),
    };
    let bulk = Arc::new(Bulk {
        api: Arc::clone(&api),
        creator,
        idempotency_key,
        gave_up: AtomicBool::new(false),
        standing: Mutex::default(),
    });
    let admitting = Arc::clone(&bulk);
    let rows = arriving.into_rows().enumerate().ready_chunks(ADMITTED_TOGETHER);
    let rows = rows.then(move |rows| Arc::clone(&admitting).admit(rows)).flat_map(stream::iter);
    let mut outcomes: Vec<_> = rows.map(|(index, row)| bulk.outcome(index, row)).buffered(IN_FLIGHT).collect().await;
    log_first_failure(&outcomes, &request_id);
    match outcomes.as_mut_slice() {
        // Nothing came of it at all: that is the whole request's mistake.
        [Outcome::Failed(problem)] if is_about_the_body(problem) => Err((**problem).clone()),
        _ => Ok(answer(Arc::clone(&api), shape, request_id, outcomes, bulk.last_standing())),
    }
}

fn shape(headers: &HeaderMap) -> Result<Shape, Problem> {
    match content_type(headers).as_deref() {
        Some("application/json") => Ok(Shape::Array),
        Some("application/x-ndjson" | "application/jsonl" | "application/ndjson") => Ok(Shape::Lines),
        other => Err(wrong_content_type(other, "a JSON array as application/json, or lines as application/x-ndjson")),
    }
}

fn is_about_the_body(problem: &Problem) -> bool {
    matches!(problem.kind(), ProblemKind::MalformedBody | ProblemKind::BodyTooLarge | ProblemKind::BodyTooSlow)
}

impl Arriving {
    fn into_rows(self) -> impl Stream<Item = Result<Vec<u8>, Problem>> {
        let rows = stream::unfold(self, async |mut arriving| Some((arriving.next().await?, arriving)));
        rows.take(MAX_ROWS + 1).enumerate().map(|(index, row)| if index < MAX_ROWS { row } else { Err(too_many()) })
    }

    async fn next(&mut self) -> Option<Result<Vec<u8>, Problem>> {
        while self.ready.is_empty()
            && let Some(mut rows) = self.rows.take()
        {
            match self.read(&mut rows).await {
                Ok(true) => self.rows = Some(rows),
                Ok(false) => self.ready.extend(rows.finish().map_err(refuse).transpose()),
                Err(problem) => self.ready.push_back(Err(problem)),
            }
        }
        self.ready.pop_front()
    }

    /// Takes in the next piece; false at the end.
    async fn read(&mut self, rows: &mut Rows) -> Result<bool, Problem> {
        let piece = tokio::time::timeout(self.patience, self.body.next()).await;
        match piece
            .map_err(|_| Problem::new(ProblemKind::BodyTooSlow, "the rest of the body did not arrive in time"))?
        {
            None => Ok(false),
            Some(Err(_)) => Err(refuse(RowError::CutShort)),
            Some(Ok(bytes)) => {
                rows.push(&bytes, |row| self.ready.push_back(Ok(row))).map_err(refuse)?;
                Ok(true)
            }
        }
    }
}

fn refuse(error: RowError) -> Problem {
    let kind = match error {
        RowError::TooLarge(_) => ProblemKind::BodyTooLarge,
        RowError::NotAnArray | RowError::CutShort => ProblemKind::MalformedBody,
    };
    Problem::new(kind, error.to_string())
}

fn too_many() -> Problem {
    Problem::new(
        ProblemKind::BodyTooLarge,
        format!("send at most {MAX_ROWS} rows; the rows from here on were not read"),
    )
}

impl Bulk {
    /// Takes as many of these rows from the caller's allowance as there are: none once one was refused. Rows that were done
    /// before, under the same `Idempotency-Key`, take nothing.
    async fn admit(self: Arc<Self>, rows: Vec<(usize, Result<Vec<u8>, Problem>)>) -> Vec<(usize, Row)> {
        let known = self.done_before(&rows).await;
        let is_new = |index: &usize| !known.contains(index);
        let new = rows.iter().filter(|(index, row)| row.is_ok() && is_new(index)).count();
        let wanted = u32::try_from(new).unwrap_or(u32::MAX);
        let mut granted = wanted;
        if self.last_standing().is_some_and(|standing| standing.is_short()) {
            granted = 0;
        } else if let Some(standing) = self.creator.take(&self.api, wanted).await {
            granted = standing.taken.granted;
            *self.standing() = Some(standing);
        }
        let mut admit = |index: usize, row| match row {
            Err(problem) => Row::Broken(problem),
            Ok(row) if !is_new(&index) => Row::Whole(row),
            Ok(row) => match granted.checked_sub(1) {
                Some(rest) => {
                    granted = rest;
                    Row::Whole(row)
                }
                None => Row::Limited,
            },
        };
        rows.into_iter().map(|(index, row)| (index, admit(index, row))).collect()
    }

    /// Which of the rows were done before, where it matters.
    async fn done_before(&self, rows: &[(usize, Result<Vec<u8>, Problem>)]) -> HashSet<usize> {
        let Some(key) = self.idempotency_key.as_ref().filter(|_| self.creator.is_limited()) else {
            return HashSet::new();
        };
        let look = |index: usize| async move {
            let seen = self.api.create.has_seen(self.creator.owner, row_key(key, index)).await;
            seen.then_some(index)
        };
        let indices: Vec<_> = rows.iter().map(|(index, _)| *index).collect();
        stream::iter(indices).map(look).buffer_unordered(LOOKED_UP_TOGETHER).filter_map(ready).collect().await
    }

    fn standing(&self) -> MutexGuard<'_, Option<Standing>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_standing(&self) -> Option<Standing> {
        *self.standing()
    }

    async fn outcome(&self, index: usize, row: Row) -> Outcome {
        let created = match row {
            Row::Whole(row) => self.create(index, &row).await,
            Row::Broken(problem) => Err(problem),
            Row::Limited => {
                self.api.link_metrics.refused.increment(1);
                return Outcome::Limited;
            }
        };
        count(&self.api.link_metrics, created.as_ref().map(|(_, created)| *created));
        match created {
            Ok((link, created)) => Outcome::Done { key: link.key, alias: link.alias.clone(), created },
            Err(problem) => {
                if problem.kind() == ProblemKind::Unavailable {
                    self.gave_up.store(true, Ordering::Relaxed);
                }
                Outcome::Failed(Box::new(problem))
            }
        }
    }

    async fn create(&self, index: usize, row: &[u8]) -> Result<(Arc<Link>, bool), Problem> {
        let request: CreateLinkRequest = object(row)?;
        if self.gave_up.load(Ordering::Relaxed) {
            return Err(Problem::new(ProblemKind::Unavailable, "not tried: something was away for the rows before"));
        }
        let idempotency = self.idempotency_key.as_ref().map(|key| Idempotency {
            key: row_key(key, index),
            request_hash: Sha256::digest(request.canonical()).into(),
        });
        super::created(&self.api, request.validate(self.creator.owner, idempotency)?).await
    }
}

/// A line for all rows that failed by the server's fault: they have one cause, or many of the same kind.
fn log_first_failure(outcomes: &[Outcome], RequestId(id): &RequestId) {
    let mut failed = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Failed(problem) => Some(&**problem),
        Outcome::Done { .. } | Outcome::Limited => None,
    });
    if let Some(first) = failed.find(|problem| problem.kind().status().is_server_error()) {
        log(first, id, TraceContext::current().as_ref());
    }
}

/// The `Idempotency-Key` of one row.
fn row_key(key: &str, index: usize) -> String {
    format!("{key}#{index}")
}

/// The results, encoded while they are sent.
fn answer(
    api: Arc<Api>,
    shape: Shape,
    RequestId(id): RequestId,
    outcomes: Vec<Outcome>,
    standing: Option<Standing>,
) -> Response {
    let mut headers = HeaderMap::new();
    if let Some(standing) = &standing {
        show_standing(&mut headers, standing);
    }
    let excess = standing.filter(Standing::is_short).map(|standing| standing.excess());
    if let Some(excess) = &excess {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after(excess)));
        let refused = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Limited));
        refused.for_each(|_| api.clients.count(excess));
    }
    let (media_type, begin, between, end) = match shape {
        Shape::Array => (JSON, "[", ",\n", "]\n"),
        Shape::Lines => (NDJSON, "", "\n", "\n"),
    };
    let end = if outcomes.is_empty() && shape == Shape::Lines { "" } else { end };
    let results = stream::iter(outcomes).enumerate().chunks(ENCODED_TOGETHER).map(move |outcomes| {
        let mut text = String::new();
        for (index, outcome) in outcomes {
            if index > 0 {
                text.push_str(between);
            }
            let result = BulkResult::new(&api, index, outcome, excess, &id);
            text.push_str(&serde_json::to_string(&result).expect("strings and numbers are always valid JSON"));
        }
        text
    });
    let once = |text: &'static str| stream::once(ready(text.to_owned()));
    let body = once(begin).chain(results).chain(once(end)).map(Ok::<_, Infallible>);
    headers.insert(header::CONTENT_TYPE, media_type);
    (headers, Body::from_stream(body)).into_response()
}

impl BulkResult {
    fn new(api: &Api, index: usize, outcome: Outcome, excess: Option<Excess>, request_id: &str) -> Self {
        let failed = |problem: &Problem| {
            let (status, problem) = (problem.kind().status().as_u16(), Some(problem.body(request_id)));
            Self { index, status, code: None, short_url: None, problem }
        };
        match outcome {
            Outcome::Done { key, alias, created } => {
                let code = api.code_of(key, alias.as_ref());
                let status = if created { StatusCode::CREATED } else { StatusCode::OK };
                let short_url = Some(api.short_url(&code));
                Self { index, status: status.as_u16(), code: Some(code), short_url, problem: None }
            }
            Outcome::Failed(problem) => failed(&problem),
            Outcome::Limited => failed(&excess.expect("a row is only refused by a limit that was reached").into()),
        }
    }
}
