//! Targets: what is kept as given, what is encoded, what is refused.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<String, TargetUrlError> {
    text.parse::<TargetUrl>().map(|url| url.0)
}

#[test]
fn an_ascii_url_is_kept_byte_for_byte() {
    for text in [
        "https://example.com",
        "https://EXAMPLE.com/",
        "HTTP://example.com:80/a/../b?x=%7e#f",
        "ftp://user:p%40ss@files.example.org/pub",
        "https://example.com/a|b`c{d}\"<>\\^",
        "http://[::1]:8080/x",
        "http://192.168.0.1",
        "https://xn--bcher-kva.example/",
        "http://192.168.0.257",
        "http://999999999999/",
        "https://xn--a/",
        "https://under_score.example:/",
    ] {
        assert_eq!(parse(text).as_deref(), Ok(text));
    }
}

#[test]
fn only_a_non_ascii_host_becomes_punycode_and_only_other_non_ascii_is_percent_encoded() {
    assert_eq!(
        parse("https://Bücher.example:443/Grüße/%20a?q=ä&r=%C3#é").unwrap(),
        "https://xn--bcher-kva.example:443/Gr%C3%BC%C3%9Fe/%20a?q=%C3%A4&r=%C3#%C3%A9"
    );
    assert_eq!(parse("http://jörg@EXAMPLE.com/").unwrap(), "http://j%C3%B6rg@EXAMPLE.com/");
}

#[test]
fn a_punycode_host_is_shown_readable() {
    let url: TargetUrl = "https://bücher.example/".parse().unwrap();
    assert_eq!(url.readable_host().as_deref(), Some("bücher.example"));
}

#[test]
fn other_schemes_are_refused() {
    for text in
        ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "example.com", "//example.com", "mailto:a@b"]
    {
        assert_eq!(parse(text), Err(TargetUrlError::Scheme), "{text}");
    }
}

#[test]
fn a_url_without_a_host_is_refused() {
    for text in ["http://", "https:///path", "http://?q", "http://:80/", "https://#x", "http://user@/x"] {
        assert_eq!(parse(text), Err(TargetUrlError::NoHost), "{text}");
    }
}

#[test]
fn hosts_and_ports_that_can_not_be_are_refused() {
    for text in ["https://[::1/", "https://[::1]x/", "https://[fe80::zz]/", "https://a<b>.example/", "https://a^b/"] {
        let refused = parse(text);
        assert!(matches!(refused, Err(TargetUrlError::BadHost(_) | TargetUrlError::BadHostCharacter(_))), "{text}");
    }
    for text in ["https://a.example:99999/", "https://a.example:x/", "https://a.example:-1"] {
        assert!(matches!(parse(text), Err(TargetUrlError::BadPort(_))), "{text}");
    }
}

#[test]
fn a_host_that_browsers_read_in_their_own_way_is_seen_as_they_see_it() {
    for text in ["http://0x7f.1:8080/", "http://2130706433:8080/", "http://127.1:8080"] {
        let url: TargetUrl = text.parse().unwrap();
        assert_eq!(url.authority(), Some(("127.0.0.1".to_owned(), 8080)), "{text}");
        assert_eq!(url.as_str(), text);
    }
}

#[test]
fn control_characters_and_white_space_are_refused() {
    for text in [
        "https://a.example/\r\nSet-Cookie: x",
        "https://a.example/\0",
        "https://a.example/a b",
        " https://a.example",
        "https://a.example/\u{a0}",
        "https://a.example/\u{85}",
    ] {
        assert!(matches!(parse(text), Err(TargetUrlError::Unprintable { .. })), "{text:?}");
    }
}

#[test]
fn length_is_checked_before_and_after_encoding() {
    let fits = format!("https://a.example/{}", "x".repeat(MAX_TARGET_LENGTH - 18));
    assert_eq!(parse(&fits).unwrap().len(), MAX_TARGET_LENGTH);
    assert_eq!(parse(&format!("{fits}x")), Err(TargetUrlError::TooLong { length: MAX_TARGET_LENGTH + 1 }));
    let grows = format!("https://a.example/{}", "ä".repeat(4000));
    assert_eq!(parse(&grows), Err(TargetUrlError::TooLong { length: 18 + 4000 * 6 }));
}

#[test]
fn the_same_url_has_the_same_authority_however_it_is_written() {
    for text in ["http://Example.com/x", "http://example.com:80", "http://example.com./"] {
        let url: TargetUrl = text.parse().unwrap();
        assert_eq!(url.authority(), Some(("example.com".to_owned(), 80)), "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_accepted_is_printable_ascii_and_parses_again_to_itself(text in "(http|https|ftp)://\\PC{1,40}") {
        if let Ok(stored) = parse(&text) {
            prop_assert!(stored.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{stored:?}");
            prop_assert_eq!(parse(&stored), Ok(stored.clone()));
            if text.is_ascii() {
                prop_assert_eq!(stored, text);
            }
        }
    }
}
