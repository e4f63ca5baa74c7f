//! Streams over a real connection, with a server that answers as a test wants it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response as Answered};
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::{Barrier, Notify};
use tokio::task::JoinSet;

use super::super::super::transport::TcpDialer;
use super::super::channel::Channel;
use super::super::path;
use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

/// How one call is answered.
type Answering = fn(Arc<Server>, Bytes) -> futures_util::future::BoxFuture<'static, Answer>;

struct Server {
    answering: Answering,
    /// Calls that are waited for before any is answered.
    together: Barrier,
    /// Streams that were opened.
    opened: AtomicUsize,
    /// Says that a call is not worked on any more.
    ended: Notify,
    /// Ends the streams that are open.
    cut: Notify,
}

/// A server with this way of answering, the way to it, and what ends both.
async fn served(together: usize, answering: Answering) -> (Arc<Server>, Channel, JoinSet<()>) {
    let (opened, ended, cut) = (AtomicUsize::new(0), Notify::new(), Notify::new());
    let server = Arc::new(Server { answering, together: Barrier::new(together), opened, ended, cut });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new().route(path::SUBMITS, post(open)).with_state(Arc::clone(&server));
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (server, Channel::new(&address, Arc::new(TcpDialer), Connections::default()), serving)
}

async fn open(State(server): State<Arc<Server>>, headers: HeaderMap, body: Body) -> Answered {
    server.opened.fetch_add(1, Ordering::Relaxed);
    if headers.contains_key("refused") {
        return Refusal::new(RefusalKind::Secret, "not with this secret").into_response();
    }
    let asked = Arc::clone(&server);
    let answers = answers(body, 100, move |call| (asked.answering)(Arc::clone(&asked), call));
    let answers = answers.into_data_stream();
    Answered::new(Body::from_stream(answers.take_until(async move { server.cut.notified().await })))
}

/// Says that nobody works on a call any more.
struct Working(Arc<Server>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.ended.notify_one();
    }
}

/// Works on a call until it is given up, which it says.
fn work_for_ever(server: Arc<Server>, _: Bytes) -> futures_util::future::BoxFuture<'static, Answer> {
    Box::pin(async move {
        let _working = Working(server);
        std::future::pending().await
    })
}

async fn eventually_opened(server: &Server) {
    while server.opened.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
}

fn call(text: &str, headers: &[(&'static str, &'static str)]) -> Call {
    let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    let body = Bytes::copy_from_slice(text.as_bytes());
    Call { path: path::SUBMITS, headers: Arc::new(headers), body, deadline: DEADLINE, max_answer: 100 }
}

#[tokio::test]
async fn calls_that_wait_together_share_a_stream_and_each_gets_its_own_answer() {
    let (server, channel, _serving) = served(200, |server, call| {
        Box::pin(async move {
            server.together.wait().await;
            Ok(call)
        })
    })
    .await;
    let mut calls = JoinSet::new();
    for number in 0..200 {
        let channel = channel.clone();
        calls.spawn(async move { (number, channel.call(call(&number.to_string(), &[])).await.unwrap()) });
    }
    for (number, answer) in calls.join_all().await {
        assert_eq!(answer, number.to_string());
    }
    assert_eq!(server.opened.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_call_is_worked_on_for_the_trace_that_it_was_made_for() {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let (_server, channel, _serving) = served(1, |_, _| {
        let said = |trace: TraceContext| format!("{trace} {}", trace.state().unwrap_or("-"));
        Box::pin(async move { Ok(TraceContext::current().map(said).unwrap_or_default().into()) })
    })
    .await;
    let trace = TraceContext::parse(TRACE).unwrap();
    for (trace, said) in [(trace.clone(), "-"), (trace.with_state("rojo=1,congo=2"), "rojo=1,congo=2")] {
        let traced = trace.scope(channel.call(call("", &[]))).await.unwrap();
        assert_eq!(traced, format!("{TRACE} {said}"));
    }
    // The stream was opened for a trace, and yet this call is for none.
    assert_eq!(channel.call(call("", &[])).await.unwrap(), "");
}

#[tokio::test]
async fn a_refusal_comes_back_as_it_was_said_and_the_stream_goes_on() {
    let (server, channel, _serving) = served(1, |_, call| {
        Box::pin(async move {
            if call == "no" { Err(Refusal::new(RefusalKind::Unknown, "perhaps done")) } else { Ok(call) }
        })
    })
    .await;
    let refused = channel.call(call("no", &[])).await.unwrap_err();
    assert_eq!(refused.refusal(), Some(&Refusal::new(RefusalKind::Unknown, "perhaps done")));
    assert!(!refused.is_without_effect());
    assert_eq!(channel.call(call("yes", &[])).await.unwrap(), "yes");
    assert_eq!(server.opened.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn where_the_stream_itself_is_refused_the_call_had_no_effect() {
    let (_server, channel, _serving) = served(1, |_, call| Box::pin(async { Ok(call) })).await;
    let refused = channel.call(call("", &[("refused", "1")])).await.unwrap_err();
    assert_eq!(refused.refusal().unwrap().kind, RefusalKind::Secret);
    assert!(refused.is_without_effect());
    assert_eq!(channel.call(call("yes", &[])).await.unwrap(), "yes");
}

#[tokio::test]
async fn other_headers_are_said_on_a_stream_of_their_own() {
    let (server, channel, _serving) = served(1, |_, call| Box::pin(async { Ok(call) })).await;
    for (headers, opened) in [(&[][..], 1), (&[("stint-cluster", "a")], 2), (&[("stint-cluster", "a")], 2)] {
        channel.call(call("", headers)).await.unwrap();
        assert_eq!(server.opened.load(Ordering::Relaxed), opened);
    }
}

#[tokio::test]
async fn whoever_waits_when_the_stream_ends_may_have_been_heard_and_the_next_call_opens_another() {
    let (server, channel, _serving) = served(1, |server, call| {
        Box::pin(async move {
            if call == "cut" {
                server.cut.notify_one();
                std::future::pending::<()>().await;
            }
            Ok(call)
        })
    })
    .await;
    let waits = channel.clone();
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { waits.call(call("cut", &[])).await });
    let error = waiting.join_next().await.unwrap().unwrap().unwrap_err();
    assert!(!error.is_without_effect(), "{error:?}");
    assert!(matches!(error, CallError::Answer { .. } | CallError::Broken { .. }), "{error:?}");
    assert_eq!(channel.call(call("yes", &[])).await.unwrap(), "yes");
    assert_eq!(server.opened.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_nothing_behind_and_holds_nobody_up() {
    let (server, channel, _serving) = served(1, |_, call| {
        Box::pin(async move {
            if call == "never" {
                std::future::pending::<()>().await;
            }
            Ok(call)
        })
    })
    .await;
    channel.call(call("yes", &[])).await.unwrap();
    let never = Call { deadline: Duration::from_millis(50), ..call("never", &[]) };
    let given_up = channel.call(never).await.unwrap_err();
    assert!(matches!(given_up, CallError::Silent { .. }), "{given_up:?}");
    assert_eq!(channel.call(call("yes", &[])).await.unwrap(), "yes");
    assert_eq!((server.opened.load(Ordering::Relaxed), channel.waiting().await), (1, 0));
}

#[tokio::test]
async fn a_call_that_is_too_large_is_refused_and_the_stream_goes_on() {
    let (server, channel, _serving) = served(1, |_, call| Box::pin(async { Ok(call) })).await;
    let error = channel.call(call(&"x".repeat(101), &[])).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().kind, RefusalKind::Message);
    assert_eq!(channel.call(call("yes", &[])).await.unwrap(), "yes");
    assert_eq!(server.opened.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn calls_that_are_too_many_are_refused_at_once_and_read_on() {
    let (server, channel, _serving) = served(MAX_AT_ONCE + 1, |server, call| {
        Box::pin(async move {
            server.together.wait().await;
            Ok(call)
        })
    })
    .await;
    let mut calls = JoinSet::new();
    for _ in 0..MAX_AT_ONCE + 100 {
        let channel = channel.clone();
        calls.spawn(async move { channel.call(call("", &[])).await });
    }
    for _ in 0..100 {
        let refused = calls.join_next().await.unwrap().unwrap().unwrap_err();
        assert_eq!(refused.refusal().unwrap().kind, RefusalKind::Unavailable);
    }
    server.together.wait().await;
    assert!(calls.join_all().await.iter().all(Result::is_ok));
    assert_eq!(server.opened.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_call_is_worked_on_no_longer_than_its_caller_waits() {
    let (server, channel, _serving) = served(1, work_for_ever).await;
    channel.call(Call { deadline: Duration::from_millis(50), ..call("never", &[]) }).await.unwrap_err();
    tokio::time::timeout(DEADLINE, server.ended.notified()).await.expect("it is given up there as well");
}

#[tokio::test]
async fn a_stream_that_nobody_can_use_again_ends_with_what_is_worked_on() {
    let (server, channel, _serving) = served(1, work_for_ever).await;
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { channel.call(call("never", &[])).await });
    eventually_opened(&server).await;
    waiting.shutdown().await;
    tokio::time::timeout(DEADLINE, server.ended.notified()).await.expect("the server is told");
}
