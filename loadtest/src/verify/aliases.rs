//! Aliases that many ask for: exactly one gets each, and it leads where that one said.

use std::collections::HashMap;

use super::fault::{Fault, Kind};

/// What became of one request for an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bid {
    /// 201, for this URL.
    Won(String),
    /// 409.
    Lost,
    /// No answer that says which.
    Unknown,
}

/// The aliases of one run.
#[derive(Debug)]
pub(crate) struct AliasBook {
    /// How many requests each alias gets.
    bids: u64,
    next: u64,
    open: HashMap<String, Contest>,
}

/// One alias, and those who asked for it.
#[derive(Debug, Default)]
struct Contest {
    answers: u64,
    winners: Vec<String>,
    unknown: u64,
}

/// A contest that is over: who follows `alias` must come to `url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    /// The alias.
    pub(crate) alias: String,
    /// The winner's URL; `None` if it is not known who won.
    pub(crate) url: Option<String>,
}

impl AliasBook {
    /// `bids` requests for each alias.
    pub(crate) fn new(bids: u64) -> Self {
        Self { bids: bids.max(1), next: 0, open: HashMap::new() }
    }

    /// A ticket: the number of the alias to ask for, and that of the request for it.
    pub(crate) fn ticket(&mut self) -> (u64, u64) {
        let ticket = self.next;
        self.next += 1;
        (ticket / self.bids, ticket % self.bids)
    }

    /// Notes an answer; the last one of an alias decides it.
    pub(crate) fn note(&mut self, alias: &str, bid: Bid) -> Result<Option<Decided>, Fault> {
        let contest = self.open.entry(alias.to_owned()).or_default();
        contest.answers += 1;
        match bid {
            Bid::Won(url) => contest.winners.push(url),
            Bid::Lost => {}
            Bid::Unknown => contest.unknown += 1,
        }
        if let [first, .., second] = &contest.winners[..] {
            let detail = format!("{alias} was given to {first} and to {second}");
            return Err(Fault::new(Kind::Duplicate, detail));
        }
        if contest.answers < self.bids {
            return Ok(None);
        }
        let contest = self.open.remove(alias).unwrap_or_default();
        decide(alias, contest).map(Some)
    }

    /// The aliases that not all asked for when the run ended. Nobody asks any more.
    pub(crate) fn rest(&mut self) -> Vec<Result<Decided, Fault>> {
        self.open.drain().map(|(alias, contest)| decide(&alias, contest)).collect()
    }
}

fn decide(alias: &str, contest: Contest) -> Result<Decided, Fault> {
    match contest.winners.into_iter().next() {
        None if contest.unknown == 0 => {
            Err(Fault::new(Kind::Alias, format!("{alias} was given to none of {} who asked", contest.answers)))
        }
        url => Ok(Decided { alias: alias.to_owned(), url }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn won(url: &str) -> Bid {
        Bid::Won(url.to_owned())
    }

    #[test]
    fn the_last_answer_decides() {
        let mut book = AliasBook::new(3);
        assert_eq!([book.ticket(), book.ticket(), book.ticket(), book.ticket()], [(0, 0), (0, 1), (0, 2), (1, 0)]);
        assert_eq!(book.note("a", Bid::Lost), Ok(None));
        assert_eq!(book.note("a", won("http://x/1")), Ok(None));
        let decided = Decided { alias: "a".to_owned(), url: Some("http://x/1".to_owned()) };
        assert_eq!(book.note("a", Bid::Lost), Ok(Some(decided)));
        assert_eq!(book.rest(), []);
    }

    #[test]
    fn two_winners_are_a_duplicate() {
        let mut book = AliasBook::new(3);
        assert_eq!(book.note("a", won("http://x/1")), Ok(None));
        assert_eq!(book.note("a", won("http://x/2")).unwrap_err().kind, Kind::Duplicate);
    }

    #[test]
    fn somebody_must_win_unless_an_answer_was_lost() {
        let mut book = AliasBook::new(2);
        assert_eq!(book.note("a", Bid::Lost), Ok(None));
        assert_eq!(book.note("a", Bid::Lost).unwrap_err().kind, Kind::Alias);
        assert_eq!(book.note("b", Bid::Lost), Ok(None));
        assert_eq!(book.note("b", Bid::Unknown), Ok(Some(Decided { alias: "b".to_owned(), url: None })));
        assert_eq!(book.note("c", Bid::Lost), Ok(None));
        assert_eq!(book.rest().pop().unwrap().unwrap_err().kind, Kind::Alias);
    }
}
