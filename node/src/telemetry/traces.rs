//! Spans of requests, to an OTLP collector over HTTP. Without an endpoint nothing is recorded, and `traceparent` is
//! passed on as it came. What came in `tracestate` is, in any case.
//!
//! A span holds the route, never a code or an URL. Spans that a slow or missing collector doesn't take are dropped.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span};
use tokio::runtime::Handle;

use crate::config::TraceConfig;
use crate::ports::error_chain::Chain;
use crate::ports::trace::TraceContext;

/// How long the collector may take for a batch of spans.
const EXPORTED_WITHIN: Duration = Duration::from_secs(5);

/// The largest answer of a collector, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// Where spans go. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Started>>);

#[derive(Debug)]
struct Started {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// Why traces can't be sent.
#[derive(Debug, thiserror::Error)]
#[error("traces can't be sent (trace.endpoint)")]
pub struct TracesError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// The span of one request.
#[derive(Debug)]
pub struct RequestSpan {
    span: Option<Span>,
    /// What is done for the request belongs to this.
    context: Option<TraceContext>,
}

impl Traces {
    /// Sends the spans of a node to the collector that is configured, if one is. Call it within the runtime.
    ///
    /// # Errors
    /// [`TracesError`] if the endpoint can't be one, or TLS has no roots.
    pub fn start(config: &TraceConfig, role: &'static str) -> Result<Self, TracesError> {
        let Some(endpoint) = &config.endpoint else { return Ok(Self::default()) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new()?)
            .with_endpoint(format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/')))
            .with_timeout(EXPORTED_WITHIN)
            .build()
            .map_err(|error| TracesError(error.into()))?;
        let about = [KeyValue::new("service.version", env!("CARGO_PKG_VERSION")), KeyValue::new("stint.role", role)];
        // Who began a trace decides whether it is kept; of those that begin here, one in so many is.
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(1.0 / f64::from(config.one_in.max(1)))));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(sampler)
            .with_resource(Resource::builder().with_service_name("stint").with_attributes(about).build())
            .build();
        let tracer = provider.tracer("stint");
        Ok(Self(Some(Arc::new(Started { provider, tracer }))))
    }

    /// Begins the span of a request to `route`, as a part of the trace that it came with.
    pub fn begin(&self, method: &'static str, route: &str, parent: Option<TraceContext>) -> RequestSpan {
        let Some(started) = &self.0 else { return RequestSpan { span: None, context: parent } };
        let builder =
            SpanBuilder::from_name(format!("{method} {route}")).with_kind(SpanKind::Server).with_attributes([
                KeyValue::new("http.request.method", method),
                KeyValue::new("http.route", route.to_owned()),
            ]);
        // Without a parent there must be no span around it at all: even an empty one would decide that nothing is kept.
        let around =
            parent.as_ref().map_or_else(Context::new, |parent| Context::new().with_remote_span_context(remote(parent)));
        let span = started.tracer.build_with_context(builder, &around);
        let own = span.span_context();
        let context = TraceContext::new(
            u128::from_be_bytes(own.trace_id().to_bytes()),
            u64::from_be_bytes(own.span_id().to_bytes()),
            own.is_sampled(),
            parent.as_ref(),
        );
        RequestSpan { span: Some(span), context: Some(context) }
    }

    /// Sends what is waiting; what comes later is dropped.
    pub async fn stop(&self) {
        let Some(started) = &self.0 else { return };
        let provider = started.provider.clone();
        // It blocks until the collector has answered, or the time is over.
        let stopped = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(EXPORTED_WITHIN)).await;
        if let Ok(Err(error)) = stopped {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

impl RequestSpan {
    /// What is done for the request belongs to this.
    pub const fn context(&self) -> Option<&TraceContext> {
        self.context.as_ref()
    }

    /// The request was answered with `status`.
    pub fn end(mut self, status: u16) {
        let Some(span) = &mut self.span else { return };
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        if status >= 500 {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

fn remote(parent: &TraceContext) -> SpanContext {
    let flags = if parent.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace_id, span_id) = (parent.trace_id.to_be_bytes(), parent.span_id.to_be_bytes());
    let state = parent.state().and_then(|state| TraceState::from_str(state).ok()).unwrap_or_default();
    SpanContext::new(TraceId::from_bytes(trace_id), SpanId::from_bytes(span_id), flags, true, state)
}

/// The client of the collector. The exporter has a thread of its own, so requests are sent from the runtime.
#[derive(Debug)]
struct Collector {
    client: Client<hyper_rustls::HttpsConnector<hyper_util::client::legacy::connect::HttpConnector>, Full<Bytes>>,
    runtime: Handle,
    failing: AtomicBool,
}

impl Collector {
    fn new() -> Result<Self, TracesError> {
        let https = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(|error| TracesError(error.into()))?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(https),
            runtime: Handle::current(),
            failing: AtomicBool::new(false),
        })
    }

    /// Logs that the collector takes no spans, or takes them again, once each.
    fn note(&self, failure: Option<String>) {
        let was_failing = self.failing.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(error) if !was_failing => {
                tracing::warn!(error, "traces can't be sent and are dropped (trace.endpoint)");
            }
            None if was_failing => tracing::info!("traces are sent again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sending = self.client.request(request.map(Full::new));
        let answered = async move {
            let (head, body) = sending.await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        let sent = self.runtime.spawn(async move { tokio::time::timeout(EXPORTED_WITHIN, answered).await }).await;
        let sent = sent.map_err(HttpError::from).and_then(|sent| sent.map_err(HttpError::from)?);
        self.note(match &sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("the collector answers {}", answer.status())),
            Err(error) => Some(Chain(&**error).to_string()),
        });
        sent
    }
}
