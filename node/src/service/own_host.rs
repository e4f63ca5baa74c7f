//! What is Stint's own: a link there would lead in a circle.

use std::net::{IpAddr, SocketAddr};

use crate::domain::target_url::TargetUrl;

/// Ports on which a named host usually answers with what it answers on any other.
const WEB_PORTS: [u16; 2] = [80, 443];

/// Where this service is reached: by its public URL, and by its listener's address.
#[derive(Clone, Debug)]
pub struct OwnHost {
    host: String,
    port: u16,
    path: String,
    listener: SocketAddr,
}

impl OwnHost {
    /// The service behind `public_url` that listens at `listener`; `None` if the URL names no host.
    pub fn new(public_url: &TargetUrl, listener: SocketAddr) -> Option<Self> {
        let (host, port) = public_url.authority()?;
        let path = public_url.path().trim_end_matches('/').to_owned();
        Some(Self { host, port, path, listener })
    }

    /// The host of a target that leads back here.
    pub fn led_to_by(&self, target: &TargetUrl) -> Option<String> {
        let (host, port) = target.authority()?;
        let own = self.is_public(target, &host, port) || self.is_listener(&host, port);
        own.then_some(host)
    }

    fn is_public(&self, target: &TargetUrl, host: &str, port: u16) -> bool {
        let path = target.path();
        let below = path.strip_prefix(self.path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let named = address(host).is_none() && WEB_PORTS.contains(&port);
        host == self.host && (port == self.port || named) && below
    }

    fn is_listener(&self, host: &str, port: u16) -> bool {
        let here = match address(host) {
            Some(address) => address == self.listener.ip() || (address.is_loopback() && self.is_on_loopback()),
            None => host == "localhost" && self.is_on_loopback(),
        };
        here && port == self.listener.port()
    }

    const fn is_on_loopback(&self) -> bool {
        self.listener.ip().is_loopback() || self.listener.ip().is_unspecified()
    }
}

/// The address that a host is, if it is one; an IPv4 address in IPv6 clothes is that IPv4 address.
fn address(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(public_url: &str, listener: &str) -> OwnHost {
        OwnHost::new(&public_url.parse().unwrap(), listener.parse().unwrap()).unwrap()
    }

    fn leads_back(own: &OwnHost, target: &str) -> bool {
        own.led_to_by(&target.parse().unwrap()).is_some()
    }

    #[test]
    fn the_public_host_is_own_on_its_port_and_on_the_web_s() {
        let own = own("https://sho.rt", "10.0.0.1:8080");
        for target in
            ["https://sho.rt/x", "http://sho.rt", "https://SHO.rt:443/", "https://sho.rt./", "http://10.0.0.1:8080/x"]
        {
            assert!(leads_back(&own, target), "{target}");
        }
        for target in ["https://sho.rt:8443/", "https://other.rt/", "http://10.0.0.1/", "http://127.0.0.1:8080/"] {
            assert!(!leads_back(&own, target), "{target}");
        }
    }

    #[test]
    fn a_public_url_with_a_path_owns_nothing_beside_it() {
        let own = own("https://example.com/s", "10.0.0.1:8080");
        assert!(leads_back(&own, "https://example.com/s/abc"));
        assert!(!leads_back(&own, "https://example.com/shop"));
        assert!(!leads_back(&own, "https://example.com/"));
    }

    #[test]
    fn a_listener_on_loopback_is_own_under_all_its_names() {
        let own = own("http://127.0.0.1:8080", "127.0.0.1:8080");
        for host in ["127.0.0.1", "localhost", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433"] {
            assert!(leads_back(&own, &format!("http://{host}:8080/x")), "{host}");
        }
        assert!(!leads_back(&own, "http://127.0.0.1/x"), "another port is another service");
    }
}
