//! Rate limits: what is limited, how much of it one client may do, and who counts as one client.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use super::access::ApiKeyHash;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Creating links with an API key.
    Create,
    /// Creating links without one.
    Anonymous,
    /// Asking for what isn't there: unknown codes and unknown API keys.
    Guess,
    /// Following links.
    Follow,
}

/// An allowance: so many at once, and as many again in every period, bit by bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In which time.
    pub period: Duration,
}

/// Whoever has one allowance: the holder of an API key, or everybody at one network address. Of IPv6 that is a /64, the least
/// that a provider gives anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// The first 64 bits of the key's hash.
    Key(u64),
    /// An IPv4 address.
    V4(u32),
    /// The first half of an IPv6 address.
    V6(u64),
}

impl Policy {
    /// Every policy.
    pub const ALL: [Self; 4] = [Self::Create, Self::Anonymous, Self::Guess, Self::Follow];

    /// Its name in settings, headers and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Anonymous => "anonymous",
            Self::Guess => "guess",
            Self::Follow => "follow",
        }
    }
}

impl Rate {
    /// How long one of the allowance takes to come back. Never zero.
    pub fn interval(self) -> Duration {
        (self.period / self.count.get()).max(Duration::from_nanos(1))
    }
}

impl Client {
    /// The holder of an API key.
    pub fn of_key(hash: &ApiKeyHash) -> Self {
        Self::Key(u64::from_be_bytes(std::array::from_fn(|at| hash.0[at])))
    }

    /// Everybody at `address`.
    pub fn at(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6(u64::from_be_bytes(std::array::from_fn(|at| address.octets()[at]))),
        }
    }
}

/// A name that no other client has.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(hash) => write!(f, "k{hash:016x}"),
            Self::V4(address) => write!(f, "4{address:08x}"),
            Self::V6(network) => write!(f, "6{network:016x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn at(address: &str) -> Client {
        Client::at(address.parse().unwrap())
    }

    #[test]
    fn a_home_is_one_client_whichever_of_its_addresses_it_uses() {
        assert_eq!(at("2001:db8:1:2::1"), at("2001:db8:1:2:ffff::9"));
        assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
        assert_eq!(at("192.0.2.1"), at("::ffff:192.0.2.1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
    }

    #[test]
    fn no_two_clients_have_one_name() {
        let key = Client::of_key(&ApiKeyHash::of("a key"));
        let clients = [key, Client::V4(1), Client::V6(1), Client::Key(1), at("::1"), at("0.0.0.0")];
        let names: HashSet<_> = clients.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), clients.len(), "{names:?}");
    }

    #[test]
    fn an_allowance_comes_back_bit_by_bit() {
        let rate = |count, period| Rate { count: NonZeroU32::new(count).unwrap(), period };
        assert_eq!(rate(60, Duration::from_mins(1)).interval(), Duration::from_secs(1));
        assert_eq!(rate(u32::MAX, Duration::from_secs(1)).interval(), Duration::from_nanos(1));
    }
}
