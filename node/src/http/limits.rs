//! Rate limits on the wire: which client a request comes from, and what it is told.
//!
//! `RateLimit` and `RateLimit-Policy` are those of draft-ietf-httpapi-ratelimit-headers; `t` is the time until there is one more.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::domain::rate::{Client, Policy, Rate};
use crate::metrics::LimitMetrics;
use crate::service::limits::{Excess, RateLimits, Standing};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The limits, and what tells clients apart.
#[derive(Debug)]
pub struct LimitedClients {
    /// The limits.
    pub limits: RateLimits,
    trusted_proxies: Vec<IpNet>,
    metrics: LimitMetrics,
    /// Whether a proxy was seen that isn't trusted: an operator is told once.
    has_warned: AtomicBool,
}

/// Whoever sends a request, by its address; nobody if no limit asks for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender(pub(super) Client);

impl LimitedClients {
    /// These limits. What `trusted_proxies` say of the clients behind them is believed.
    pub const fn new(limits: RateLimits, trusted_proxies: Vec<IpNet>, metrics: LimitMetrics) -> Self {
        Self { limits, trusted_proxies, metrics, has_warned: AtomicBool::new(false) }
    }

    /// Counts a refusal.
    pub(super) fn count(&self, excess: &Excess) {
        match excess.policy {
            Policy::Create => &self.metrics.create,
            Policy::Anonymous => &self.metrics.anonymous,
            Policy::Guess => &self.metrics.guess,
            Policy::Follow => &self.metrics.follow,
        }
        .increment(1);
    }

    /// Who sent the request, if any limit asks for it.
    pub(super) fn sender(&self, request: &Request) -> Option<Sender> {
        if !self.limits.look_at_addresses() {
            return None;
        }
        let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
        Some(Sender(Client::at(self.address(peer.ip(), request.headers()))))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    /// The nearest address that isn't a trusted proxy's: whatever stands before it in the header, anybody may have written.
    fn address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut nearest = peer.to_canonical();
        if !self.trusts(nearest) && headers.contains_key(FORWARDED_FOR) {
            self.warn_of(nearest);
        }
        let values = headers.get_all(FORWARDED_FOR).iter().rev();
        let mut hops = values.flat_map(|value| value.as_bytes().rsplit(|&byte| byte == b','));
        while self.trusts(nearest)
            && let Some(address) = hops.next().and_then(hop_address)
        {
            nearest = address.to_canonical();
        }
        nearest
    }

    fn warn_of(&self, proxy: IpAddr) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %proxy,
                "requests come with X-Forwarded-For from an address that is not in http.trusted_proxies: if it is a proxy of \
                 yours, add it, for all clients behind it share one rate limit"
            );
        }
    }
}

/// An address as proxies write it, some with a port.
fn hop_address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim();
    let bare = hop.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// Says what is left.
pub(super) fn show_standing(headers: &mut HeaderMap, standing: &Standing) {
    show(headers, standing.policy, standing.rate, standing.taken.left, retry_after(&standing.excess()));
}

/// Says that nothing is left.
pub(super) fn show_excess(headers: &mut HeaderMap, excess: &Excess) {
    show(headers, excess.policy, excess.rate, 0, retry_after(excess));
}

/// When to come back, in seconds.
pub(super) fn retry_after(excess: &Excess) -> u64 {
    whole_seconds(excess.wait).max(1)
}

fn show(headers: &mut HeaderMap, policy: Policy, rate: Rate, left: u32, until_more: u64) {
    let name = policy.name();
    let limit = format!("\"{name}\";r={left};t={until_more}");
    let whole = format!("\"{name}\";q={};w={}", rate.count, whole_seconds(rate.period));
    for (header, text) in [(RATE_LIMIT, limit), (RATE_LIMIT_POLICY, whole)] {
        headers.insert(header, HeaderValue::try_from(text).expect("names and numbers are visible ASCII"));
    }
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::Registry;
    use crate::ports::clock::ManualClock;
    use crate::ports::rate_limiter::Taken;

    fn clients(trusted: &[&str]) -> LimitedClients {
        let limits = RateLimits::new(Vec::new(), Arc::new(ManualClock::default()));
        let metrics = LimitMetrics::new(&Registry::new().unwrap());
        LimitedClients::new(limits, trusted.iter().map(|network| network.parse().unwrap()).collect(), metrics)
    }

    fn address(clients: &LimitedClients, peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        clients.address(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn a_client_is_whom_the_last_trusted_proxy_saw() {
        let clients = clients(&["10.0.0.0/8", "fd00::/8"]);
        let expect = |peer, forwarded: &[&str], client| assert_eq!(address(&clients, peer, forwarded), client);
        expect("10.0.0.1", &["192.0.2.7"], "192.0.2.7");
        // What the client wrote itself stands before what the proxy saw.
        expect("10.0.0.1", &["203.0.113.9, 192.0.2.7"], "192.0.2.7");
        expect("10.0.0.1", &["203.0.113.9", "192.0.2.7, 10.1.1.1"], "192.0.2.7");
        expect("::ffff:10.0.0.1", &["192.0.2.7:4711"], "192.0.2.7");
        expect("fd00::1", &["[2001:db8::1]:80"], "2001:db8::1");
        expect("fd00::1", &["2001:db8::1"], "2001:db8::1");
        expect("10.0.0.1", &["10.2.2.2, 10.1.1.1"], "10.2.2.2");
        expect("10.0.0.1", &[], "10.0.0.1");
    }

    #[test]
    fn nobody_else_can_choose_an_address() {
        let none = clients(&[]);
        assert_eq!(address(&none, "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert!(none.has_warned.load(Ordering::Relaxed), "an operator is told");
        let some = clients(&["10.0.0.0/8"]);
        assert_eq!(address(&some, "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(
            address(&some, "10.0.0.1", &["203.0.113.9, unknown"]),
            "10.0.0.1",
            "no guess behind what can't be read"
        );
        assert_eq!(address(&some, "10.0.0.1", &["\u{e9}, 203.0.113.9"]), "203.0.113.9", "which hides nobody");
    }

    #[test]
    fn seconds_are_rounded_up_so_that_nobody_comes_too_early() {
        let excess = |ms| Excess {
            policy: Policy::Create,
            rate: Rate { count: 60.try_into().unwrap(), period: Duration::from_mins(1) },
            wait: Duration::from_millis(ms),
        };
        assert_eq!([0, 1, 1000, 1001].map(|ms| retry_after(&excess(ms))), [1, 1, 1, 2]);
        let mut headers = HeaderMap::new();
        show_excess(&mut headers, &excess(1500));
        assert_eq!(headers[RATE_LIMIT], "\"create\";r=0;t=2");
        assert_eq!(headers[RATE_LIMIT_POLICY], "\"create\";q=60;w=60");
        let Excess { policy, rate, .. } = excess(0);
        let taken = Taken { granted: 1, left: 57, next: Duration::from_millis(400) };
        show_standing(&mut headers, &Standing { policy, rate, wanted: 1, taken });
        assert_eq!(headers[RATE_LIMIT], "\"create\";r=57;t=1");
    }
}
