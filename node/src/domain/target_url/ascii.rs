//! A target with non-ASCII characters, rewritten in ASCII with everything else left as it was.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::Url;

/// Only what isn't ASCII is encoded (the percent-encoding crate always does that); controls were refused before.
const NON_ASCII: &AsciiSet = CONTROLS;

/// `text` with its host as `parsed` has it (punycode) if it isn't ASCII, and each other non-ASCII byte as `%XX`.
///
/// `after_scheme` is where the authority begins.
pub(super) fn encode(text: &str, after_scheme: usize, parsed: &Url) -> String {
    let (scheme, rest) = text.split_at(after_scheme);
    let authority_end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_end);
    let (userinfo, host_and_port) = match authority.rfind('@') {
        Some(at) => authority.split_at(at + 1),
        None => ("", authority),
    };
    let host_end = match host_and_port.rfind(':') {
        Some(colon) if !host_and_port.ends_with(']') => colon,
        _ => host_and_port.len(),
    };
    let (host, port) = host_and_port.split_at(host_end);
    let host = if host.is_ascii() { host } else { parsed.host_str().unwrap_or(host) };
    format!(
        "{scheme}{}{host}{port}{}",
        utf8_percent_encode(userinfo, NON_ASCII),
        utf8_percent_encode(tail, NON_ASCII)
    )
}
