//! The calling side: one HTTP/2 connection to one address, made when it is first needed and again when it is lost.
//!
//! Guarantees: a call ends within its deadline; an error says whether the call can have been received; a connection that
//! swallows calls without an answer, as a cut network leaves behind, is given up instead of waited for.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::super::transport::{Connections, Dial};
use super::refusal::{REFUSED, Refusal, RefusalKind};
use crate::ports::trace::{TRACEPARENT, TraceContext};

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
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody was reached: the call was not sent.
    #[error("can't connect to {address}")]
    Dial {
        /// Whom.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The connection broke; the call may have been received.
    #[error("the connection to {address} broke")]
    Broken {
        /// To whom.
        address: String,
        /// How.
        #[source]
        source: hyper::Error,
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
    address: Arc<str>,
    dialer: Arc<dyn Dial>,
    connections: Connections,
    open: Arc<Mutex<Option<Open>>>,
    made: Arc<AtomicU64>,
}

/// A connection that was made.
#[derive(Clone, Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    /// Tells connections apart.
    number: u64,
    last_answer: Instant,
}

/// One call.
#[derive(Clone, Debug)]
pub(in super::super) struct Call {
    pub(in super::super) path: &'static str,
    pub(in super::super) headers: HeaderMap,
    pub(in super::super) body: Bytes,
    /// When it is given up.
    pub(in super::super) deadline: Duration,
    /// The largest answer, in bytes.
    pub(in super::super) max_answer: usize,
}

impl Channel {
    /// The way to `address`; nothing is dialled yet.
    pub fn new(address: &str, dialer: Arc<dyn Dial>, connections: Connections) -> Self {
        Self { address: address.into(), dialer, connections, open: Arc::default(), made: Arc::default() }
    }

    /// Where it leads.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a call and reads its whole answer.
    pub(in super::super) async fn call(&self, call: Call) -> Result<Bytes, CallError> {
        let (waited, max_answer) = (call.deadline, call.max_answer);
        let mut used = None;
        let answered = tokio::time::timeout(waited, async {
            let response = self.send(call, &mut used).await?;
            self.read(response, max_answer).await
        });
        let answer = answered.await.unwrap_or_else(|_| Err(self.silent(waited)));
        self.note(used, &answer).await;
        answer
    }

    /// Sends a call whose answer is a stream without end: only its beginning has a deadline.
    pub(in super::super) async fn open_stream(&self, call: Call) -> Result<Incoming, CallError> {
        let (waited, max_answer) = (call.deadline, call.max_answer);
        let mut used = None;
        let response = tokio::time::timeout(waited, self.send(call, &mut used));
        let response = response.await.unwrap_or_else(|_| Err(self.silent(waited)))?;
        if response.status() == StatusCode::OK {
            return Ok(response.into_body());
        }
        Err(self.read(response, max_answer).await.err().unwrap_or_else(|| self.unreadable("it has no status")))
    }

    async fn send(&self, call: Call, used: &mut Option<u64>) -> Result<Response<Incoming>, CallError> {
        let mut request = Request::new(Full::new(call.body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::builder()
            .scheme("http")
            .authority(&*self.address)
            .path_and_query(call.path)
            .build()
            .map_err(|error| self.not_dialled(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        *request.headers_mut() = call.headers;
        if let Some(trace) = TraceContext::current() {
            put(request.headers_mut(), TRACEPARENT, &trace.to_string());
        }
        let mut open = self.connect().await?;
        *used = Some(open.number);
        open.sender.send_request(request).await.map_err(|source| self.broken(source))
    }

    async fn read(&self, response: Response<Incoming>, max_answer: usize) -> Result<Bytes, CallError> {
        let status = response.status();
        let word = response.headers().get(REFUSED).and_then(|word| word.to_str().ok()).and_then(RefusalKind::of);
        let limit = if status == StatusCode::OK { max_answer } else { MAX_REFUSAL };
        let body = Limited::new(response.into_body(), limit).collect().await;
        let body = body.map_err(|error| self.unreadable(&error.to_string()))?.to_bytes();
        match (status, word) {
            (StatusCode::OK, None) => Ok(body),
            (_, Some(kind)) => {
                let refusal = Refusal::new(kind, String::from_utf8_lossy(&body).trim_end());
                Err(CallError::Refused { address: self.address.to_string(), refusal })
            }
            (status, None) => Err(self.unreadable(&format!("it has the status {status}; is this an allocator?"))),
        }
    }

    /// The connection at hand, or a new one. Whoever comes while one is being made waits for it.
    async fn connect(&self) -> Result<Open, CallError> {
        let mut open = self.open.lock().await;
        if let Some(open) = open.as_ref().filter(|open| !open.sender.is_closed()) {
            return Ok(open.clone());
        }
        *open = None;
        let dialled = tokio::time::timeout(DIALLED_WITHIN, self.dialer.dial(&self.address));
        let stream = dialled.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = TokioIo::new(stream.map_err(|source| self.not_dialled(source))?);
        let mut http = Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new()).reset_stream_duration(ANSWERS_IGNORED_FOR);
        let handshake = http.handshake(stream).await;
        let (sender, connection) = handshake.map_err(|source| self.broken(source))?;
        self.connections.spawn(async move {
            // How it ended is told to the calls that were on it.
            let _ = connection.await;
        });
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let made = Open { sender, number, last_answer: Instant::now() };
        *open = Some(made.clone());
        Ok(made)
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

    fn not_dialled(&self, source: io::Error) -> CallError {
        CallError::Dial { address: self.address.to_string(), source }
    }

    fn broken(&self, source: hyper::Error) -> CallError {
        CallError::Broken { address: self.address.to_string(), source }
    }

    fn silent(&self, waited: Duration) -> CallError {
        CallError::Silent { address: self.address.to_string(), waited }
    }

    fn unreadable(&self, problem: &str) -> CallError {
        CallError::Answer { address: self.address.to_string(), problem: problem.to_owned() }
    }
}

/// A header with a value that is known to fit.
pub(in super::super) fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let value = header::HeaderValue::from_str(value).expect("numbers, hex digits and checked secrets fit a header");
    headers.insert(header::HeaderName::from_static(name), value);
}
