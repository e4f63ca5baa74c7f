//! The trace that a request belongs to (W3C Trace Context, version 00), and how it goes along with the work for it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that carries it.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header that carries what tracing systems added to it.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The most entries of a `tracestate`, as the standard has it.
const MAX_ENTRIES: usize = 32;
/// As many bytes of a `tracestate` as the standard wants passed on. Of more, long entries are left out first, then the last.
const MAX_STATE: usize = 512;
/// What the standard calls a long entry, in bytes.
const LONG_ENTRY: usize = 128;

/// A position in a trace: what is done next is done for this span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; never 0.
    pub trace_id: u128,
    /// The span; never 0.
    pub span_id: u64,
    /// Whether whoever began it keeps the trace.
    pub sampled: bool,
    /// It goes along, and says nothing here.
    state: Option<Arc<str>>,
}

tokio::task_local! {
    static CURRENT: TraceContext;
}

impl TraceContext {
    /// A position in the trace that came in with `before`, or in a new one.
    pub fn new(trace_id: u128, span_id: u64, sampled: bool, before: Option<&Self>) -> Self {
        Self { trace_id, span_id, sampled, state: before.and_then(|before| before.state.clone()) }
    }

    /// The context in a `traceparent`; `None` if it isn't one, which says no more than that there is none.
    ///
    /// Versions to come may have more fields, and begin with the same ones.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('-');
        let mut hex = |length: usize| fields.next().filter(|field| is_hex(field, length));
        let (version, trace_id, span_id, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        if version == "ff" || (version == "00" && fields.next().is_some()) {
            return None;
        }
        let trace_id = u128::from_str_radix(trace_id, 16).ok().filter(|id| *id != 0)?;
        let span_id = u64::from_str_radix(span_id, 16).ok().filter(|id| *id != 0)?;
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        Some(Self::new(trace_id, span_id, sampled, None))
    }

    /// The context in these headers, if there is one. A `tracestate` that isn't one is left out.
    pub fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let context = Self::parse(headers.get(TRACEPARENT)?.to_str().ok()?)?;
        let states: Option<Vec<_>> = headers.get_all(TRACESTATE).iter().map(|state| state.to_str().ok()).collect();
        Some(context.with_state(&states.unwrap_or_default().join(",")))
    }

    /// The same position with this `tracestate`, or without one if it isn't one.
    #[must_use]
    pub fn with_state(self, state: &str) -> Self {
        let mut entries: Vec<_> = state.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
        if entries.len() > MAX_ENTRIES || !entries.iter().all(|entry| is_entry(entry)) {
            entries.clear();
        }
        let length = |entries: &[&str]| entries.iter().map(|entry| entry.len() + 1).sum::<usize>().saturating_sub(1);
        if length(&entries) > MAX_STATE {
            entries.retain(|entry| entry.len() <= LONG_ENTRY);
        }
        while length(&entries) > MAX_STATE {
            entries.pop();
        }
        Self { state: (!entries.is_empty()).then(|| entries.join(",").into()), ..self }
    }

    /// What tracing systems added, in the form of a `tracestate`.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// Puts the context into these headers.
    ///
    /// # Panics
    /// Never: both values are made of visible ASCII.
    pub fn put_into(&self, headers: &mut HeaderMap) {
        let value = |text: &str| HeaderValue::from_str(text).expect("digits and checked entries fit a header");
        headers.insert(TRACEPARENT, value(&self.to_string()));
        if let Some(state) = &self.state {
            headers.insert(TRACESTATE, value(state));
        }
    }

    /// The context of the work that is being done, if it is done for a trace.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// Does `work` for this context.
    pub fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, work)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

/// `key=value` of a `tracestate`.
fn is_entry(entry: &str) -> bool {
    let is_key = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
    let is_value = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'=';
    entry.split_once('=').is_some_and(|(key, value)| {
        key.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
            && key.len() <= 256
            && (1..=256).contains(&value.len())
            && key.bytes().all(is_key)
            && value.bytes().all(is_value)
    })
}

/// Lower case only, as the standard has it.
fn is_hex(field: &str, length: usize) -> bool {
    field.len() == length && field.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_comes_back_as_it_was_sent() {
        let context = TraceContext::parse(SAMPLED).unwrap();
        assert_eq!((context.span_id, context.sampled), (0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(context.to_string(), SAMPLED);
    }

    #[test]
    fn what_is_no_context_is_none() {
        let zeros = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let (upper, longer, invalid) =
            (SAMPLED.to_uppercase(), format!("{SAMPLED}-00"), SAMPLED.replacen("00", "ff", 1));
        for text in ["", "00", &SAMPLED[..54], &zeros, &upper, &longer, &invalid, "00-x-y-01"] {
            assert_eq!(TraceContext::parse(text), None, "{text:?}");
        }
        let newer = format!("{}-more", SAMPLED.replacen("00", "01", 1));
        assert!(TraceContext::parse(&newer).is_some(), "a newer version begins like this one");
    }

    #[tokio::test]
    async fn work_knows_the_context_that_it_is_done_for() {
        let context = TraceContext::parse(SAMPLED).unwrap();
        assert_eq!(TraceContext::current(), None);
        assert_eq!(context.clone().scope(async { TraceContext::current() }).await, Some(context));
    }

    /// The `tracestate` that goes on where these came in.
    fn passed_on(states: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static(SAMPLED));
        for state in states {
            headers.append(TRACESTATE, state.parse().unwrap());
        }
        let mut sent = HeaderMap::new();
        TraceContext::of_headers(&headers).expect("there is a traceparent").put_into(&mut sent);
        assert_eq!(sent[TRACEPARENT], SAMPLED);
        sent.get(TRACESTATE).map(|state| state.to_str().unwrap().to_owned())
    }

    #[test]
    fn what_tracing_systems_added_goes_on_in_its_order() {
        assert_eq!(passed_on(&[]), None);
        assert_eq!(passed_on(&["rojo=00f067aa0ba902b7"]).as_deref(), Some("rojo=00f067aa0ba902b7"));
        assert_eq!(passed_on(&["b@a=1 2 , ,", "a/b=t61rcWkgMzE"]).as_deref(), Some("b@a=1 2,a/b=t61rcWkgMzE"));
        let long =
            |entries: usize| (0..entries).map(|n| format!("k{n:03}={}", "v".repeat(27))).collect::<Vec<_>>().join(",");
        assert_eq!(passed_on(&[&long(15)]), Some(long(15)));
        assert_eq!(
            passed_on(&[&long(20)]),
            Some(long(15)),
            "512 bytes of whole entries: 33 each, the last without a comma"
        );
    }

    #[test]
    fn long_entries_are_the_first_to_be_left_out() {
        let long = format!("long={}", "v".repeat(256));
        let short = "rojo=1";
        assert_eq!(passed_on(&[&long, short]), Some(format!("{long},{short}")), "there is room for both");
        assert_eq!(passed_on(&[&long, short, &long.replace("long", "more")]).as_deref(), Some(short));
    }

    #[test]
    fn a_state_that_is_none_is_left_out_and_the_trace_goes_on() {
        let many = (0..33).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        for state in ["", "novalue", "=v", "k=", "K=v", "k=a=b", "_k=v", "@=v", "k=\u{e9}", &many] {
            assert_eq!(passed_on(&[state]), None, "{state:?}");
        }
    }
}
