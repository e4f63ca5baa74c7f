//! Section `cluster`: the allocators, and how to reach them.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::Invalid;
use super::secret::Secret;
use super::text;
use super::value::{BadValue, ListenAddress};

/// Shorter secrets are guessed.
const MIN_SECRET: usize = 16;

/// Section `cluster`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// This node's number, from 1.
    pub node_id: u64,
    /// Where this allocator listens.
    #[serde(with = "text::one")]
    pub listen: ListenAddress,
    /// The first members.
    #[serde(with = "text::list")]
    pub peers: Vec<Peer>,
    /// Where a shortener finds the allocators.
    #[serde(with = "text::list")]
    pub allocators: Vec<HostPort>,
    /// Directory of everything that this node keeps.
    pub data_dir: PathBuf,
    /// Shared by all allocators and shorteners.
    #[serde(with = "text::optional")]
    pub secret: Option<Secret>,
    /// The identity that the group must have, 32 hexadecimal digits.
    #[serde(with = "text::optional")]
    pub id: Option<String>,
    /// Mutual TLS.
    pub tls: TlsConfig,
}

/// Section `cluster.tls`: all three files, or none.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// This node's certificate chain.
    #[serde(with = "text::optional")]
    pub cert: Option<String>,
    /// Its private key.
    #[serde(with = "text::optional")]
    pub key: Option<String>,
    /// The authorities of the others.
    #[serde(with = "text::optional")]
    pub ca: Option<String>,
}

/// A host name or address with a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort(String);

/// A member of the group, as `NUMBER=HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its number.
    pub node_id: u64,
    /// Where it listens.
    pub address: HostPort,
}

impl ClusterConfig {
    /// This node among the first members.
    pub fn own_peer(&self) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.node_id == self.node_id)
    }

    pub(super) fn validate(&self, invalid: &mut Vec<Invalid>) {
        if self.node_id == 0 {
            invalid.push(Invalid::new("cluster.node_id", "must be at least 1"));
        }
        if self.data_dir.as_os_str().is_empty() {
            invalid.push(Invalid::new("cluster.data_dir", "must name a directory"));
        }
        for (index, peer) in self.peers.iter().enumerate() {
            if self.peers[..index].iter().any(|earlier| earlier.node_id == peer.node_id) {
                invalid.push(Invalid::new("cluster.peers", format!("names node {} twice", peer.node_id)));
            }
        }
        if let Some(secret) = &self.secret {
            let characters = secret.expose().chars().count();
            if characters < MIN_SECRET {
                let message = format!("must have at least {MIN_SECRET} characters (it has {characters})");
                invalid.push(Invalid::new("cluster.secret", message));
            }
            if !secret.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
                invalid.push(Invalid::new("cluster.secret", "must be visible ASCII without spaces"));
            }
        }
        if let Some(id) = &self.id
            && (id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            invalid.push(Invalid::new("cluster.id", format!("{id:?} is not 32 hexadecimal digits")));
        }
        self.tls.validate(invalid);
    }
}

impl TlsConfig {
    fn validate(&self, invalid: &mut Vec<Invalid>) {
        let files = [("cluster.tls.cert", &self.cert), ("cluster.tls.key", &self.key), ("cluster.tls.ca", &self.ca)];
        if files.iter().all(|(_, file)| file.is_none()) {
            return;
        }
        let missing = files.iter().filter(|(_, file)| file.is_none());
        invalid.extend(missing.map(|(key, _)| Invalid::new(key, "is missing: TLS needs `cert`, `key` and `ca`")));
    }
}

impl HostPort {
    /// `host:port`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is known, without asking a name server, to lead to this machine only.
    pub fn is_loopback(&self) -> bool {
        self.host() == "localhost" || self.ip().is_some_and(|ip| ip.is_loopback())
    }

    /// Whether it is an address to listen on, which nobody can connect to.
    pub fn is_unspecified(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }

    fn host(&self) -> &str {
        let (host, _) = self.0.rsplit_once(':').expect("it was parsed as a host and a port");
        host.trim_start_matches('[').trim_end_matches(']')
    }

    fn ip(&self) -> Option<IpAddr> {
        self.host().parse().ok()
    }
}

impl FromStr for HostPort {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let well_formed = text.rsplit_once(':').is_some_and(|(host, port)| {
            let bracketed = host.starts_with('[') && host.ends_with(']');
            let plain = !host.is_empty() && !host.contains([':', '/', '@', ' ', '[', ']']);
            (bracketed || plain) && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadValue::shape(text, "a host and port such as allocator-1:7101"))
        }
    }
}

impl FromStr for Peer {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let bad = || BadValue::shape(text, "a member such as 1=allocator-1:7101");
        let (node_id, address) = text.split_once('=').ok_or_else(bad)?;
        let node_id = node_id.trim().parse().ok().filter(|id| *id > 0).ok_or_else(bad)?;
        Ok(Self { node_id, address: address.trim().parse().map_err(|_| bad())? })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.node_id, self.address)
    }
}
