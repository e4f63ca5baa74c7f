//! What every request passes through: its id, its time limit, its metrics, and the body of its problem.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::{PROBLEM_JSON, Problem, ProblemKind};
use super::limits::Sender;
use super::pages;
use super::state::{Api, RequestId};
use crate::metrics;
use crate::ports::error_chain::Chain;
use crate::ports::trace::TraceContext;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest request id taken over from a client or proxy.
const MAX_REQUEST_ID: usize = 64;
/// The route of following a link.
const FOLLOW: &str = "/{code}";
/// The route of creating a link.
const LINKS: &str = "/api/v1/links";
/// The routes of changing the cluster's members.
const MEMBERS: &str = "/api/v1/cluster/members";
const MEMBER_CHANGE_TIMEOUT: Duration = Duration::from_mins(2);

/// The route of creating many links.
const BULK: &str = "/api/v1/links/bulk";
/// How long many links may take; what the body takes to arrive, piece by piece, is bounded by itself.
const BULK_TIMEOUT: Duration = Duration::from_mins(10);

/// Redirects for each that is timed, by the last digits of the clock: a sample costs memory until it is folded.
const REDIRECTS_PER_SAMPLE: u32 = 64;

/// Wraps all routes.
pub(super) async fn around(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let started = api.clock.monotonic();
    let method = method_label(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("", MatchedPath::as_str);
    let wants_html = route == FOLLOW && pages::wants_html(request.headers());
    let id = given_id(request.headers()).unwrap_or_else(|| api.request_ids.next());
    if route == BULK {
        request.extensions_mut().insert(RequestId(id.clone()));
    }
    let sender = api.clients.sender(&request);
    if let Some(sender) = sender {
        request.extensions_mut().insert(sender);
    }
    let limit = time_limit(&api, route);
    let span = api.traces.begin(method.0, route, TraceContext::of_headers(request.headers()));
    let answered = tokio::time::timeout(limit, next.run(request));
    let answered = match span.context() {
        Some(trace) => trace.clone().scope(answered).await,
        None => answered.await,
    };
    let mut response = answered.unwrap_or_else(|_| {
        count_given_up(&api, route, method);
        timed_out(limit).into_response()
    });
    if let Some(Sender(sender)) = sender
        && response.extensions().get::<Problem>().is_some_and(Problem::is_guess)
        && let Err(excess) = api.clients.limits.note_guess(sender).await
    {
        response = Problem::from(excess).into_response();
    }
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        if let Some(excess) = problem.excess() {
            api.clients.count(excess);
        }
        log(&problem, &id, span.context());
        write_body(&mut response, &problem, &id, wants_html);
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    api.http_metrics.count(route, method, response.status().as_u16());
    if route != FOLLOW || started.subsec_nanos().is_multiple_of(REDIRECTS_PER_SAMPLE) {
        api.http_metrics.time(route, api.clock.monotonic().saturating_sub(started));
    }
    span.end(response.status().as_u16());
    response
}

/// How long until the answer begins. A new member of the cluster must catch up first, however much that is.
fn time_limit(api: &Api, route: &str) -> Duration {
    let limit = api.settings.request_timeout;
    match route {
        BULK => limit.max(BULK_TIMEOUT),
        route if route.starts_with(MEMBERS) => limit.max(MEMBER_CHANGE_TIMEOUT),
        _ => limit,
    }
}

/// What is given up here never comes to the place where it would be counted as failed.
fn count_given_up(api: &Api, route: &str, method: metrics::Method) {
    match route {
        FOLLOW => api.link_metrics.failed.increment(1),
        LINKS if method.0 == "POST" => api.link_metrics.create_failed.increment(1),
        _ => {}
    }
}

fn timed_out(after: Duration) -> Problem {
    Problem::new(ProblemKind::TimedOut, format!("the request was given up after {after:?}; try again"))
}

fn method_label(method: &Method) -> metrics::Method {
    metrics::Method(match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    })
}

/// The id that a client or proxy gave the request, if it is fit to stand in logs.
fn given_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(&REQUEST_ID)?.to_str().ok()?;
    let fit = (1..=MAX_REQUEST_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    fit.then(|| id.to_owned())
}

/// Server errors are logged once, here; of those of a bulk request's rows the first.
pub(super) fn log(problem: &Problem, id: &str, trace: Option<&TraceContext>) {
    // An overload is counted in the metrics; a line for each refusal would be a load of its own.
    if problem.kind().status().is_server_error() && problem.kind() != ProblemKind::Overloaded {
        let kind = problem.kind().slug();
        let error = problem.source().map(|source| tracing::field::display(Chain(source)));
        let trace_id = trace.map(|trace| format!("{:032x}", trace.trace_id));
        tracing::error!(request_id = id, trace_id, problem = kind, error, "{}", problem.detail());
    }
}

fn write_body(response: &mut Response, problem: &Problem, id: &str, wants_html: bool) {
    let (content_type, body) = if wants_html {
        (pages::HTML, pages::problem(problem, id).into())
    } else {
        (PROBLEM_JSON, Json(problem.body(id)).into_response().into_body())
    };
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response.headers_mut().remove(header::CONTENT_LENGTH);
    if wants_html {
        pages::protect(response.headers_mut());
    }
    *response.body_mut() = body;
}
