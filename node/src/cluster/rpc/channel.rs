//! The calling side: one HTTP/2 connection to one address, made when it is first needed and again when it is lost.
//! Commands and small appends share one call for each path; all others have their own.
//!
//! Guarantees: a call ends within its deadline; an error says whether the call can have been received; a connection that
//! swallows calls without an answer, as a cut network leaves behind, is given up instead of waited for.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};
use tokio::time::Instant;

use super::super::transport::{Connections, Dial};
use super::path;
use super::refusal::{REFUSED, Refusal, RefusalKind};
use super::stream::{CallStream, Frames};
use crate::ports::trace::TraceContext;

/// How long making a connection may take.
const DIALLED_WITHIN: Duration = Duration::from_secs(1);

/// A connection on which calls ran out of time is given up when nothing was answered on it for this long.
const SILENT_FOR: Duration = Duration::from_millis(500);

/// For how long the answer to a call that was given up is still known for one, and ignored. Its clock is the machine's
/// whatever the timer, so it is longer than any simulation runs.
const ANSWERS_IGNORED_FOR: Duration = Duration::from_mins(10);

/// The largest refusal that is read, in bytes.
const MAX_REFUSAL: usize = 4 << 10;

/// Why a call has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody was reached: the call was not sent.
    #[error("can't connect to {address}")]
    Dial {
        /// Whom.
        address: String,
        /// Why not.
        #[source]
        source: Arc<io::Error>,
    },
    /// The connection broke; the call may have been received.
    #[error("the connection to {address} broke")]
    Broken {
        /// To whom.
        address: String,
        /// How.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// No answer came in time; the call may have been received.
    #[error("{address} gave no answer within {} ms", waited.as_millis())]
    Silent {
        /// Who.
        address: String,
        /// How long was waited.
        waited: Duration,
    },
    /// It was answered with a refusal.
    #[error("{address} refuses: {refusal}")]
    Refused {
        /// Who.
        address: String,
        /// The refusal.
        refusal: Refusal,
    },
    /// The answer is none of Stint's, too long, or cut off; the call was received.
    #[error("the answer of {address} can't be read: {problem}")]
    Answer {
        /// Who.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl CallError {
    /// Whether the call can't have had an effect.
    pub const fn is_without_effect(&self) -> bool {
        match self {
            Self::Dial { .. } => true,
            Self::Refused { refusal, .. } => !matches!(refusal.kind, RefusalKind::Unknown),
            Self::Broken { .. } | Self::Silent { .. } | Self::Answer { .. } => false,
        }
    }

    /// The refusal, if it is one.
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal),
            _ => None,
        }
    }
}

/// The way to one address. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Channel {
    address: Address,
    dialer: Arc<dyn Dial>,
    connections: Connections,
    open: Arc<Mutex<Option<Open>>>,
    made: Arc<AtomicU64>,
}

/// Where calls go, and what is said of those that have no answer.
#[derive(Clone, Debug)]
pub(super) struct Address(Arc<str>);

/// Sends requests on a connection.
pub(super) type Connection = SendRequest<Either<Full<Bytes>, Frames>>;

/// A connection that was made.
#[derive(Debug)]
struct Open {
    sender: Connection,
    /// Tells connections apart.
    number: u64,
    last_answer: Instant,
    /// The streams on it, by path.
    streams: BTreeMap<&'static str, Arc<CallStream>>,
}

/// One call.
#[derive(Clone, Debug)]
pub(in super::super) struct Call {
    pub(in super::super) path: &'static str,
    /// Shared, as they are the same for most calls.
    pub(in super::super) headers: Arc<HeaderMap>,
    pub(in super::super) body: Bytes,
    /// When it is given up.
    pub(in super::super) deadline: Duration,
    /// The largest answer, in bytes.
    pub(in super::super) max_answer: usize,
}

impl Channel {
    /// The way to `address`; nothing is dialled yet.
    pub fn new(address: &str, dialer: Arc<dyn Dial>, connections: Connections) -> Self {
        Self { address: Address(address.into()), dialer, connections, open: Arc::default(), made: Arc::default() }
    }

    /// Where it leads.
    pub fn address(&self) -> &str {
        &self.address.0
    }

    /// Sends a call and reads its whole answer.
    pub(in super::super) async fn call(&self, call: Call) -> Result<Bytes, CallError> {
        let (waited, max_answer) = (call.deadline, call.max_answer);
        let mut used = None;
        let answered = tokio::time::timeout(waited, async {
            if path::STREAMED.contains(&call.path) {
                let body = call.body.clone();
                return self.stream(call, &mut used).await?.call(body, waited).await;
            }
            let response = self.send(call, &mut used).await?;
            self.address.read(response, max_answer).await
        });
        let answer = answered.await.unwrap_or_else(|_| Err(self.address.silent(waited)));
        self.note(used, &answer).await;
        answer
    }

    /// Sends a call whose answer is a stream without end: only its beginning has a deadline.
    pub(in super::super) async fn open_stream(&self, call: Call) -> Result<Incoming, CallError> {
        let waited = call.deadline;
        let mut used = None;
        let response = tokio::time::timeout(waited, self.send(call, &mut used));
        self.address.body_of(response.await.unwrap_or_else(|_| Err(self.address.silent(waited)))?).await
    }

    async fn send(&self, call: Call, used: &mut Option<u64>) -> Result<Response<Incoming>, CallError> {
        let mut headers = HeaderMap::clone(&call.headers);
        if let Some(trace) = TraceContext::current() {
            trace.put_into(&mut headers);
        }
        let request = self.address.request(call.path, headers, Either::Left(Full::new(call.body)))?;
        let open = self.connect().await?;
        *used = Some(open.number);
        let mut sender = open.sender.clone();
        drop(open);
        sender.send_request(request).await.map_err(|error| self.address.broken(error))
    }

    /// The stream on which this call can go: the one there is, or a new one.
    async fn stream(&self, call: Call, used: &mut Option<u64>) -> Result<Arc<CallStream>, CallError> {
        let mut open = self.connect().await?;
        *used = Some(open.number);
        if let Some(stream) = open.streams.get(call.path).filter(|stream| stream.takes(&call.headers)) {
            return Ok(Arc::clone(stream));
        }
        let path = call.path;
        let stream = Arc::new(CallStream::open(&self.address, &self.connections, &mut open.sender, call)?);
        open.streams.insert(path, Arc::clone(&stream));
        Ok(stream)
    }

    /// How many calls wait on streams.
    #[cfg(test)]
    pub(super) async fn waiting(&self) -> usize {
        let open = self.open.lock().await;
        open.iter().flat_map(|open| open.streams.values()).map(|stream| stream.waiting()).sum()
    }

    /// The connection at hand, or a new one. Whoever comes while one is being made waits for it.
    async fn connect(&self) -> Result<MappedMutexGuard<'_, Open>, CallError> {
        let open = self.open.lock().await;
        let mut open = match MutexGuard::try_map(open, |open| open.as_mut().filter(|open| !open.sender.is_closed())) {
            Ok(open) => return Ok(open),
            Err(open) => open,
        };
        *open = None;
        let dialled = tokio::time::timeout(DIALLED_WITHIN, self.dialer.dial(&self.address.0));
        let stream = dialled.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = TokioIo::new(stream.map_err(|source| self.address.not_dialled(source))?);
        let mut http = Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new()).reset_stream_duration(ANSWERS_IGNORED_FOR);
        let handshake = http.handshake(stream).await;
        let (sender, connection) = handshake.map_err(|error| self.address.broken(error))?;
        self.connections.spawn(async move {
            // How it ended is told to the calls that were on it.
            let _ = connection.await;
        });
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let made = Open { sender, number, last_answer: Instant::now(), streams: BTreeMap::new() };
        Ok(MutexGuard::map(open, |open| open.insert(made)))
    }

    /// Takes note of how a call on a connection went.
    async fn note(&self, used: Option<u64>, answer: &Result<Bytes, CallError>) {
        let Some(number) = used else { return };
        let mut open = self.open.lock().await;
        let Some(current) = open.as_mut().filter(|open| open.number == number) else { return };
        match answer {
            Err(CallError::Silent { .. }) if current.last_answer.elapsed() < SILENT_FOR => {}
            Err(CallError::Silent { .. } | CallError::Broken { .. }) => *open = None,
            _ => current.last_answer = Instant::now(),
        }
    }
}

impl Address {
    pub(super) fn request<B>(&self, path: &'static str, headers: HeaderMap, body: B) -> Result<Request<B>, CallError> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::builder()
            .scheme("http")
            .authority(&*self.0)
            .path_and_query(path)
            .build()
            .map_err(|error| self.not_dialled(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// The body of an answer that is a stream, unless it is a refusal.
    pub(super) async fn body_of(&self, response: Response<Incoming>) -> Result<Incoming, CallError> {
        if response.status() == StatusCode::OK {
            return Ok(response.into_body());
        }
        Err(self.read(response, MAX_REFUSAL).await.err().unwrap_or_else(|| self.unreadable("it has no status")))
    }

    async fn read(&self, response: Response<Incoming>, max_answer: usize) -> Result<Bytes, CallError> {
        let status = response.status();
        let word = response.headers().get(REFUSED).and_then(|word| word.to_str().ok()).and_then(RefusalKind::of);
        let limit = if status == StatusCode::OK { max_answer } else { MAX_REFUSAL };
        let body = Limited::new(response.into_body(), limit).collect().await;
        let body = body.map_err(|error| self.unreadable(&error.to_string()))?.to_bytes();
        match (status, word) {
            (StatusCode::OK, None) => Ok(body),
            (_, Some(kind)) => Err(self.refused(Refusal::new(kind, String::from_utf8_lossy(&body).trim_end()))),
            (status, None) => Err(self.unreadable(&format!("it has the status {status}; is this an allocator?"))),
        }
    }

    fn not_dialled(&self, source: io::Error) -> CallError {
        CallError::Dial { address: self.0.to_string(), source: Arc::new(source) }
    }

    pub(super) fn broken(&self, error: impl Error + Send + Sync + 'static) -> CallError {
        CallError::Broken { address: self.0.to_string(), source: Arc::new(error) }
    }

    pub(super) fn refused(&self, refusal: Refusal) -> CallError {
        CallError::Refused { address: self.0.to_string(), refusal }
    }

    fn silent(&self, waited: Duration) -> CallError {
        CallError::Silent { address: self.0.to_string(), waited }
    }

    pub(super) fn unreadable(&self, problem: &str) -> CallError {
        CallError::Answer { address: self.0.to_string(), problem: problem.to_owned() }
    }
}

/// A header with a value that is known to fit.
pub(in super::super) fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let value = header::HeaderValue::from_str(value).expect("numbers, hex digits and checked secrets fit a header");
    headers.insert(header::HeaderName::from_static(name), value);
}
