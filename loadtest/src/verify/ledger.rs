//! Every code that was given, and for which URL: a code names one link, and a plain URL has one code.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash, Hasher};

use super::fault::{Fault, Kind};

/// How a link came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// 201: it is new.
    New,
    /// 200: it was there.
    Reused,
}

/// What a create request asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Nothing but a URL: the owner's link to the same URL, if there is one.
    Plain,
    /// A link of its own: an alias, or `"reuse": false`. It must never be handed out for another request.
    Own,
}

/// Codes and URLs of one run.
///
/// URLs are kept as 128 bits of hash, so that a run of hours fits into memory.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    codes: HashMap<Box<str>, Given>,
    plain: HashMap<u128, Box<str>>,
}

#[derive(Debug)]
struct Given {
    url: u128,
    wish: Wish,
    /// Whether an answer said that it is new: that can happen once.
    seen_new: bool,
}

impl Ledger {
    /// Notes the answer to a request for a link to `url`.
    pub(crate) fn note(&mut self, code: &str, url: &str, wish: Wish, outcome: Outcome) -> Result<(), Fault> {
        let hash = fingerprint(url);
        let is_new = outcome == Outcome::New;
        match self.codes.entry(code.into()) {
            Entry::Vacant(place) => {
                place.insert(Given { url: hash, wish, seen_new: is_new });
            }
            Entry::Occupied(place) => check_again(code, url, place.into_mut(), hash, wish, is_new)?,
        }
        if wish == Wish::Own {
            return Ok(());
        }
        match self.plain.entry(hash) {
            Entry::Vacant(place) => {
                place.insert(code.into());
                Ok(())
            }
            Entry::Occupied(first) if **first.get() == *code => Ok(()),
            Entry::Occupied(first) => {
                let first = first.get();
                Err(Fault::new(Kind::Reuse, format!("{url} has the code {first}, and now {code} too")))
            }
        }
    }
}

/// A code comes again: that is right only for the same plain URL, and only once as new.
fn check_again(code: &str, url: &str, given: &mut Given, hash: u128, wish: Wish, is_new: bool) -> Result<(), Fault> {
    if given.url != hash {
        return Err(Fault::new(Kind::Duplicate, format!("the code {code} was given for another URL before {url}")));
    }
    if is_new && given.seen_new {
        return Err(Fault::new(Kind::Duplicate, format!("the code {code} was given as new twice, for {url}")));
    }
    if given.wish != wish {
        return Err(Fault::new(Kind::Reuse, format!("the code {code} belongs to a request that shares no link")));
    }
    given.seen_new |= is_new;
    Ok(())
}

fn fingerprint(url: &str) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, url).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(result: Result<(), Fault>) -> Option<Kind> {
        result.err().map(|fault| fault.kind)
    }

    #[test]
    fn a_code_for_two_urls_is_a_duplicate() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.note("a", "http://x/1", Wish::Plain, Outcome::New), Ok(()));
        assert_eq!(kind(ledger.note("a", "http://x/2", Wish::Plain, Outcome::New)), Some(Kind::Duplicate));
        assert_eq!(kind(ledger.note("a", "http://x/3", Wish::Own, Outcome::New)), Some(Kind::Duplicate));
        assert_eq!(kind(ledger.note("a", "http://x/4", Wish::Plain, Outcome::Reused)), Some(Kind::Duplicate));
    }

    #[test]
    fn a_code_is_new_once() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.note("a", "http://x/1", Wish::Plain, Outcome::New), Ok(()));
        assert_eq!(ledger.note("a", "http://x/1", Wish::Plain, Outcome::Reused), Ok(()));
        assert_eq!(kind(ledger.note("a", "http://x/1", Wish::Plain, Outcome::New)), Some(Kind::Duplicate));
    }

    #[test]
    fn answers_may_overtake_each_other() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.note("a", "http://x/1", Wish::Plain, Outcome::Reused), Ok(()));
        assert_eq!(ledger.note("a", "http://x/1", Wish::Plain, Outcome::New), Ok(()));
        assert_eq!(kind(ledger.note("a", "http://x/1", Wish::Plain, Outcome::New)), Some(Kind::Duplicate));
    }

    #[test]
    fn a_plain_url_has_one_code() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.note("a", "http://x/1", Wish::Plain, Outcome::New), Ok(()));
        assert_eq!(ledger.note("own", "http://x/1", Wish::Own, Outcome::New), Ok(()));
        assert_eq!(kind(ledger.note("b", "http://x/1", Wish::Plain, Outcome::New)), Some(Kind::Reuse));
    }

    #[test]
    fn a_link_of_its_own_is_not_handed_out() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.note("own", "http://x/1", Wish::Own, Outcome::New), Ok(()));
        assert_eq!(kind(ledger.note("own", "http://x/1", Wish::Plain, Outcome::Reused)), Some(Kind::Reuse));
    }
}
