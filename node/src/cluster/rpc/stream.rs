//! Many calls in one that doesn't end: each is a frame of its body, and each answer a frame of the answer's.
//!
//! HTTP/2 takes several times as long for the headers, the stream and the tasks of a call as the allocator takes for a
//! grant, so commands and small appends go this way. Guarantees: a call that waits when the stream ends hears how it ended;
//! a call that is given up leaves the queue, or is worked on no longer than its caller waited; calls that are too many are
//! refused, never left unread, which would hold up all others on the connection.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Either};
use hyper::body::{Frame, Incoming};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::codec::{seal, unseal};
use super::super::transport::Connections;
use super::Answer;
use super::channel::{Address, Call, CallError, Connection};
use super::frames::{frame, frames};
use super::refusal::{Refusal, RefusalKind};
use crate::ports::trace::TraceContext;

/// Calls of one stream that are worked on at the same time; more are refused.
const MAX_AT_ONCE: usize = 1_024;
/// Bytes of a frame besides the call's body or its answer's: a number and a trace, or the sentence of a refusal.
const MAX_AROUND: usize = 4 << 10;

const ANSWERED: &str = "whoever takes the sender out sends an answer";

/// A call in a stream.
#[derive(Serialize, Deserialize)]
pub(in super::super) struct CallFrame {
    number: u64,
    /// How long its caller waits, in milliseconds.
    within_ms: u64,
    /// What it is done for: a `traceparent`, and after a space the `tracestate` if there is one.
    trace: Option<String>,
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
}

/// Its answer.
#[derive(Serialize, Deserialize)]
pub(in super::super) struct AnswerFrame {
    number: u64,
    answer: Result<ByteBuf, RefusalFrame>,
}

#[derive(Serialize, Deserialize)]
struct RefusalFrame {
    kind: String,
    message: String,
}

/// The calling end.
#[derive(Debug)]
pub(super) struct CallStream {
    /// What it was opened with: it is said for every call on it.
    headers: Arc<HeaderMap>,
    frames: mpsc::Sender<Bytes>,
    waiting: Arc<Mutex<Waiting>>,
    _reading: DropGuard,
}

/// The calls that wait for their answers.
#[derive(Debug, Default)]
struct Waiting {
    /// The number given last.
    number: u64,
    /// In order, so that they hear of the end in the same order each time, which simulation relies on.
    answers: BTreeMap<u64, oneshot::Sender<Result<Bytes, CallError>>>,
    /// How the stream ended.
    ended: Option<CallError>,
}

/// A call's place among those that wait: left however the call ends.
struct Place<'a> {
    waiting: &'a Mutex<Waiting>,
    number: u64,
}

/// Tells all that wait how the stream ended, however it did.
struct Ending {
    waiting: Arc<Mutex<Waiting>>,
    error: CallError,
}

/// The body in which the calls are.
#[derive(Debug)]
pub(super) struct Frames(mpsc::Receiver<Bytes>);

impl CallStream {
    /// Opens a stream with what `call` says of itself on `connection`; its answers are read by one of `tasks`.
    pub(super) fn open(
        address: &Address,
        tasks: &Connections,
        connection: &mut Connection,
        call: Call,
    ) -> Result<Self, CallError> {
        // Whoever gives up while the connection takes no more leaves nothing in a queue.
        let (frames, body) = mpsc::channel(1);
        let (waiting, stop) = (Arc::default(), CancellationToken::new());
        let request = address.request(call.path, HeaderMap::clone(&call.headers), Either::Right(Frames(body)))?;
        let response = connection.send_request(request);
        let error = address.unreadable("this node closed the connection");
        let ending = Ending { waiting: Arc::clone(&waiting), error };
        let (address, stopped) = (address.clone(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                error = read(&address, response, call.max_answer, &ending.waiting) => ending.because(error),
                () = stopped.cancelled() => {}
            }
        });
        Ok(Self { headers: call.headers, frames, waiting, _reading: stop.drop_guard() })
    }

    /// Whether a call with these headers can go along.
    pub(super) fn takes(&self, headers: &Arc<HeaderMap>) -> bool {
        lock(&self.waiting).ended.is_none() && (Arc::ptr_eq(&self.headers, headers) || self.headers == *headers)
    }

    /// How many calls wait for an answer.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        lock(&self.waiting).answers.len()
    }

    /// Sends a call's body and waits for its answer.
    pub(super) async fn call(&self, body: Bytes, within: Duration) -> Result<Bytes, CallError> {
        let (sender, mut answer) = oneshot::channel();
        let number = lock(&self.waiting).enter(sender)?;
        let _place = Place { waiting: &self.waiting, number };
        let trace = TraceContext::current().map(|trace| written(&trace));
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let call = frame(&seal(&CallFrame { number, within_ms, trace, body: body.into() }));
        tokio::select! {
            // Where the stream has ended, that is the answer.
            biased;
            answer = &mut answer => return answer.expect(ANSWERED),
            _ = self.frames.send(call) => {}
        }
        answer.await.expect(ANSWERED)
    }
}

/// Reads answers until there can be no more; with the reason.
async fn read(
    address: &Address,
    response: impl Future<Output = hyper::Result<Response<Incoming>>>,
    max_answer: usize,
    waiting: &Mutex<Waiting>,
) -> CallError {
    let body = match response.await {
        Ok(response) => address.body_of(response).await,
        Err(error) => Err(address.broken(error)),
    };
    let mut answers = match body {
        Ok(body) => pin!(frames(body.into_data_stream(), max_answer + MAX_AROUND)),
        Err(error) => return error,
    };
    loop {
        let AnswerFrame { number, answer } = match answers.next().await {
            Some(Ok(frame)) => match unseal(&frame) {
                Ok(answer) => answer,
                Err(error) => return address.unreadable(&error.to_string()),
            },
            Some(Err(error)) => return address.broken(error),
            None => return address.unreadable("the stream of answers ended"),
        };
        // Who has given up meanwhile needs no answer.
        if let Some(waits) = lock(waiting).answers.remove(&number) {
            let _ = waits.send(match answer {
                Ok(answer) => Ok(answer.into_vec().into()),
                Err(RefusalFrame { kind, message }) => Err(match RefusalKind::of(&kind) {
                    Some(kind) => address.refused(Refusal::new(kind, message)),
                    None => address.unreadable(&format!("it refuses with an unknown word, {kind:?}")),
                }),
            });
        }
    }
}

impl Waiting {
    fn enter(&mut self, answer: oneshot::Sender<Result<Bytes, CallError>>) -> Result<u64, CallError> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        self.number += 1;
        self.answers.insert(self.number, answer);
        Ok(self.number)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(self.waiting).answers.remove(&self.number);
    }
}

impl Ending {
    fn because(mut self, error: CallError) {
        self.error = error;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut waiting = lock(&self.waiting);
        waiting.ended = Some(self.error.clone());
        for answer in mem::take(&mut waiting.answers).into_values() {
            let _ = answer.send(Err(self.error.clone()));
        }
    }
}

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(|frame| Ok(Frame::data(frame))))
    }
}

/// The answering end: what `answer` says to each call in `body`, in the order in which the answers are ready.
pub(super) fn answers<F>(body: Body, max_call: usize, answer: impl Fn(Bytes) -> F + Send + 'static) -> Body
where
    F: Future<Output = Answer> + Send + 'static,
{
    let calls = frames(body.into_data_stream(), max_call + MAX_AROUND);
    let places = Arc::new(Semaphore::new(MAX_AT_ONCE));
    let answers = calls.map(move |call| {
        let CallFrame { number, within_ms, trace, body } = unseal(&call?)?;
        let answering = if body.len() > max_call {
            let message = format!("the message has {} bytes: {max_call} at most", body.len());
            Err(Refusal::new(RefusalKind::Message, message))
        } else if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            Ok((place, answer(body.into())))
        } else {
            Err(Refusal::new(RefusalKind::Unavailable, format!("{MAX_AT_ONCE} calls of one caller wait already")))
        };
        Ok(async move {
            let answer = match answering {
                Ok((_place, answering)) => {
                    let answering = async {
                        match trace.as_deref().and_then(read_trace) {
                            Some(trace) => trace.scope(answering).await,
                            None => answering.await,
                        }
                    };
                    // Nobody waits any longer: what it answers is not heard.
                    let late = |_| Err(Refusal::new(RefusalKind::Unknown, format!("not done within {within_ms} ms")));
                    timeout(Duration::from_millis(within_ms), answering).await.unwrap_or_else(late)
                }
                Err(refusal) => Err(refusal),
            };
            let refused = |Refusal { kind, message }| RefusalFrame { kind: kind.word().to_owned(), message };
            let answer = answer.map(ByteBuf::from).map_err(refused);
            Ok::<_, io::Error>(frame(&seal(&AnswerFrame { number, answer })))
        })
    });
    // Refusals are ready at once.
    Body::from_stream(answers.try_buffer_unordered(2 * MAX_AT_ONCE))
}

fn written(trace: &TraceContext) -> String {
    trace.state().map_or_else(|| trace.to_string(), |state| format!("{trace} {state}"))
}

fn read_trace(written: &str) -> Option<TraceContext> {
    let (parent, state) = written.split_once(' ').unwrap_or((written, ""));
    Some(TraceContext::parse(parent)?.with_state(state))
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    // Nothing that holds the lock can panic half way.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
