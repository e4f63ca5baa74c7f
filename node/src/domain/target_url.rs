//! Where a link leads: checked, and kept as the bytes given.

mod parts;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use url::Url;

use self::parts::Parts;

/// The longest target, in bytes, as given and as stored.
pub const MAX_TARGET_LENGTH: usize = 8192;

/// A target URL: `http`, `https` or `ftp`, with a host, at most 8,192 printable ASCII bytes.
///
/// It is stored and returned as given. Only a non-ASCII host becomes punycode and other non-ASCII characters are
/// percent-encoded, since neither could stand in a `Location` header; nothing else is normalised.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TargetUrl(String);

/// The first 128 bits of the SHA-256 of a target, by which links of it are found. The targets themselves are compared as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UrlHash(pub [u8; 16]);

/// Why a text can't be a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetUrlError {
    /// Nothing was given.
    #[error("give the URL that the link should lead to")]
    Empty,
    /// Longer than [`MAX_TARGET_LENGTH`].
    #[error("the URL has {length} bytes; at most {MAX_TARGET_LENGTH} are kept")]
    TooLong {
        /// Its length in bytes, after encoding.
        length: usize,
    },
    /// White space or a control character (a line break would split the response's header).
    #[error("the URL holds white space or a control character at byte {at}; percent-encode it (a space is %20)")]
    Unprintable {
        /// Where.
        at: usize,
    },
    /// No scheme, or one that isn't followed.
    #[error("the URL must begin with http://, https:// or ftp://")]
    Scheme,
    /// Nothing between `://` and the path.
    #[error("the URL has no host; write it as https://host/path")]
    NoHost,
    /// A host that can't be.
    #[error("the host can't be used: {0}")]
    BadHost(url::ParseError),
    /// A character that no host has.
    #[error("the host holds the character `{0}`, which no host can have")]
    BadHostCharacter(char),
    /// A port that can't be.
    #[error("the port must be a number up to 65535, not `{0}`")]
    BadPort(String),
}

impl TargetUrl {
    /// A target read back from where it was stored, where it was validated.
    pub const fn from_stored(url: String) -> Self {
        Self(url)
    }

    /// The URL: printable ASCII.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hash that finds links of the same target.
    pub fn hash(&self) -> UrlHash {
        let digest: [u8; 32] = Sha256::digest(self.0.as_bytes()).into();
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        UrlHash(short)
    }

    /// Host in lower case and port (the scheme's own if none is named), to tell whether it leads back to Stint.
    ///
    /// Where a browser reads a host in its own way (`0x7f.1` is `127.0.0.1`), that is taken.
    pub fn authority(&self) -> Option<(String, u16)> {
        if let Ok(parsed) = Url::parse(&self.0) {
            return Some((plain(parsed.host_str()?), parsed.port_or_known_default()?));
        }
        let parts = Parts::split(&self.0)?;
        Some((plain(parts.host), parts.port?.parse().ok()?))
    }

    /// The path, as browsers read it; `/` where there is none.
    pub fn path(&self) -> String {
        Url::parse(&self.0).map_or_else(|_| "/".to_owned(), |url| url.path().to_owned())
    }

    /// The host as people read it: punycode decoded, where it decodes.
    pub fn readable_host(&self) -> Option<String> {
        let (readable, outcome) = idna::domain_to_unicode(Parts::split(&self.0)?.host);
        outcome.is_ok().then_some(readable)
    }
}

fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

impl FromStr for TargetUrl {
    type Err = TargetUrlError;

    fn from_str(text: &str) -> Result<Self, TargetUrlError> {
        if text.is_empty() {
            return Err(TargetUrlError::Empty);
        }
        check_length(text)?;
        if let Some((at, _)) = text.char_indices().find(|(_, c)| c.is_control() || c.is_whitespace()) {
            return Err(TargetUrlError::Unprintable { at });
        }
        let parts = Parts::split(text).ok_or(TargetUrlError::Scheme)?;
        parts.check()?;
        let stored = if text.is_ascii() { text.to_owned() } else { parts.to_ascii()? };
        check_length(&stored)?;
        Ok(Self(stored))
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

const fn check_length(text: &str) -> Result<(), TargetUrlError> {
    if text.len() > MAX_TARGET_LENGTH { Err(TargetUrlError::TooLong { length: text.len() }) } else { Ok(()) }
}
