//! The trace that a request belongs to (W3C Trace Context, version 00), and how it goes along with the work for it.

use std::fmt;
use std::future::Future;

/// The header that carries it.
pub const TRACEPARENT: &str = "traceparent";

/// A position in a trace: what is done next is done for this span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; never 0.
    pub trace_id: u128,
    /// The span; never 0.
    pub span_id: u64,
    /// Whether whoever began it keeps the trace.
    pub sampled: bool,
}

tokio::task_local! {
    static CURRENT: TraceContext;
}

impl TraceContext {
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
        Some(Self { trace_id, span_id, sampled })
    }

    /// The context of the work that is being done, if it is done for a trace.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|context| *context).ok()
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
        assert_eq!(context.scope(async { TraceContext::current() }).await, Some(context));
    }
}
