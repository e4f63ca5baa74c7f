//! A target cut into its parts, each still as given.
//!
//! It is cut here, and not by a URL parser, because what a parser would refuse or repair must be kept: real lists hold
//! hosts such as `192.168.0.257`, and they belong to whoever wrote them.

use std::net::Ipv6Addr;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::{Host, ParseError};

use super::TargetUrlError;

/// Only what isn't ASCII is encoded (the percent-encoding crate always does that); controls were refused before.
const NON_ASCII: &AsciiSet = CONTROLS;
/// ASCII characters that no host has. (Controls and white space were refused before.)
const NOT_IN_HOSTS: &str = "<>[]^|\"`{}";

/// `scheme` `userinfo` `host` `:port` `tail`; joined they are the text again.
pub(super) struct Parts<'a> {
    /// With its `://`.
    scheme: &'a str,
    /// With its `@`; empty if there is none.
    userinfo: &'a str,
    /// With brackets around an IPv6 address.
    pub(super) host: &'a str,
    /// Without its colon.
    pub(super) port: Option<&'a str>,
    /// Path, query and fragment.
    tail: &'a str,
}

impl<'a> Parts<'a> {
    /// The parts of a text that begins with a scheme Stint follows.
    pub(super) fn split(text: &'a str) -> Option<Self> {
        let (name, _) = text.split_once("://")?;
        if !["http", "https", "ftp"].iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return None;
        }
        let (scheme, rest) = text.split_at(name.len() + "://".len());
        // Browsers take a backslash for a slash.
        let (authority, tail) = rest.split_at(rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len()));
        let (userinfo, host_and_port) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        // The colons of an IPv6 address stand in brackets.
        let addressed = host_and_port.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match host_and_port[addressed..].rfind(':').map(|at| addressed + at) {
            Some(colon) => (&host_and_port[..colon], Some(&host_and_port[colon + 1..])),
            None => (host_and_port, None),
        };
        Some(Self { scheme, userinfo, host, port, tail })
    }

    /// Refuses an authority that leads nowhere.
    pub(super) fn check(&self) -> Result<(), TargetUrlError> {
        if self.host.is_empty() {
            return Err(TargetUrlError::NoHost);
        }
        if let Some(port) = self.port.filter(|port| !port.is_empty() && port.parse::<u16>().is_err()) {
            return Err(TargetUrlError::BadPort(port.to_owned()));
        }
        if let Some(address) = self.host.strip_prefix('[') {
            let address = address.strip_suffix(']').and_then(|address| address.parse::<Ipv6Addr>().ok());
            return address.map(drop).ok_or(TargetUrlError::BadHost(ParseError::InvalidIpv6Address));
        }
        match self.host.chars().find(|c| NOT_IN_HOSTS.contains(*c)) {
            Some(c) => Err(TargetUrlError::BadHostCharacter(c)),
            None => Ok(()),
        }
    }

    /// The text with its host in punycode if it isn't ASCII, and each other non-ASCII byte as `%XX`.
    pub(super) fn to_ascii(&self) -> Result<String, TargetUrlError> {
        let host = if self.host.is_ascii() {
            self.host.to_owned()
        } else {
            Host::parse(self.host).map_err(TargetUrlError::BadHost)?.to_string()
        };
        let port = self.port.map_or_else(String::new, |port| format!(":{port}"));
        let [userinfo, tail] = [self.userinfo, self.tail].map(|part| utf8_percent_encode(part, NON_ASCII));
        Ok(format!("{}{userinfo}{host}{port}{tail}", self.scheme))
    }
}
