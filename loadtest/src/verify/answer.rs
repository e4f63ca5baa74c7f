//! What each answer must say, given what was asked.

use std::ops::Range;

use serde::Deserialize;
use stint_idgen::base62;

use super::fault::{Fault, Kind};
use super::ledger::Outcome;
use crate::wire::{BulkForm, IdForm, Reply};

/// A link as the server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its code or alias.
    pub(crate) code: String,
    /// Its target: what a redirect must carry, byte for byte.
    pub(crate) url: String,
}

/// One row of the answer to a bulk request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its code.
    pub(crate) code: String,
    /// New, or there before.
    pub(crate) outcome: Outcome,
}

#[derive(Deserialize)]
struct CreateAnswer {
    code: String,
    short_url: String,
    url: String,
}

#[derive(Deserialize)]
struct RowAnswer {
    index: usize,
    status: u16,
    code: Option<String>,
    problem: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct IdAnswer {
    #[serde(default)]
    ids: Vec<serde_json::Value>,
    #[serde(default)]
    ranges: Vec<RangeAnswer>,
}

#[derive(Deserialize)]
struct RangeAnswer {
    start: u64,
    end: u64,
}

/// The answer to a request for a link to `url`, under `alias` if one was asked for.
pub(crate) fn created(url: &str, alias: Option<&str>, reply: &Reply) -> Result<(Link, Outcome), Fault> {
    let outcome = match reply.status {
        201 => Outcome::New,
        200 => Outcome::Reused,
        _ => return Err(reply.wrong_status("201 or 200")),
    };
    let answer: CreateAnswer = parse(&reply.body)?;
    stored_as_sent(url, &answer.url)?;
    if reply.location.as_deref() != Some(answer.short_url.as_bytes()) {
        return Err(Fault::new(Kind::Malformed, format!("Location isn't the short URL {}", answer.short_url)));
    }
    match alias {
        Some(alias) if answer.code != alias || outcome == Outcome::Reused => {
            Err(Fault::new(Kind::Alias, format!("{alias} was asked for, {} ({}) is given", answer.code, reply.status)))
        }
        _ => Ok((Link { code: answer.code, url: answer.url }, outcome)),
    }
}

/// The server keeps the bytes it is given; only what can't stand in a header is encoded.
fn stored_as_sent(sent: &str, stored: &str) -> Result<(), Fault> {
    if sent.is_ascii() && stored != sent {
        return Err(Fault::new(Kind::WrongUrl, format!("{sent} was stored as {stored}")));
    }
    if !stored.is_ascii() {
        return Err(Fault::new(Kind::WrongUrl, format!("{sent} was stored as {stored}, which no header can carry")));
    }
    Ok(())
}

/// The answer to following a link.
pub(crate) fn redirected(link: &Link, status: u16, reply: &Reply) -> Result<(), Fault> {
    if reply.status != status {
        return Err(reply.wrong_status(&format!("{status} to {}", link.url)));
    }
    let location = reply.location.as_deref().unwrap_or_default();
    if location != link.url.as_bytes() {
        let location = String::from_utf8_lossy(location);
        return Err(Fault::new(Kind::WrongUrl, format!("it leads to `{location}`, not to `{}`", link.url)));
    }
    Ok(())
}

/// The answer to a bulk request of `count` rows, none of which can be refused.
pub(crate) fn bulk(count: usize, form: BulkForm, reply: &Reply) -> Result<Vec<Row>, Fault> {
    if reply.status != 200 {
        return Err(reply.wrong_status("200"));
    }
    let rows: Vec<RowAnswer> = match form {
        BulkForm::Json => parse(&reply.body)?,
        BulkForm::Ndjson => {
            let lines = reply.body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
            lines.map(parse).collect::<Result<_, _>>()?
        }
    };
    if rows.len() != count {
        return Err(Fault::new(Kind::Malformed, format!("{count} rows were sent, {} came back", rows.len())));
    }
    rows.into_iter().enumerate().map(|(at, answer)| row(at, answer)).collect()
}

fn row(at: usize, answer: RowAnswer) -> Result<Row, Fault> {
    let outcome = match answer.status {
        201 => Outcome::New,
        200 => Outcome::Reused,
        status => {
            let problem = answer.problem.unwrap_or_default();
            return Err(Fault::new(Kind::Status(status), format!("row {at} must be 201 or 200 ({problem})")));
        }
    };
    match answer.code {
        Some(code) if answer.index == at => Ok(Row { code, outcome }),
        _ => Err(Fault::new(Kind::Malformed, format!("row {at} has the index {} or no code", answer.index))),
    }
}

/// The ids of a draw, as ascending ranges: exactly `count` of them.
pub(crate) fn drawn(count: u64, form: IdForm, reply: &Reply) -> Result<Vec<Range<u64>>, Fault> {
    if reply.status != 200 {
        return Err(reply.wrong_status("200"));
    }
    let answer: IdAnswer = parse(&reply.body)?;
    let ranges = if form == IdForm::Ranges {
        answer.ranges.into_iter().map(|range| range.start..range.end).collect()
    } else {
        let ids: Option<Vec<u64>> = answer.ids.iter().map(|id| id_of(id, form)).collect();
        let ids = ids.ok_or_else(|| Fault::new(Kind::Malformed, format!("not all ids are of the form {form:?}")))?;
        runs(&ids)
    };
    let received: u64 = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
    if received != count {
        return Err(Fault::new(Kind::Malformed, format!("{count} ids were asked for, {received} came")));
    }
    if ranges.windows(2).any(|pair| pair[1].start < pair[0].end) {
        return Err(Fault::new(Kind::Malformed, "the ids don't rise"));
    }
    Ok(ranges)
}

fn id_of(id: &serde_json::Value, form: IdForm) -> Option<u64> {
    match form {
        IdForm::Number => id.as_u64(),
        IdForm::Text => id.as_str()?.parse().ok(),
        IdForm::Base62 => base62::decode(id.as_str()?.as_bytes()),
        IdForm::Ranges => None,
    }
}

/// Neighbours as ranges, in the order they came.
fn runs(ids: &[u64]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for &id in ids {
        match runs.last_mut() {
            Some(last) if last.end == id => last.end = id.saturating_add(1),
            _ => runs.push(id..id.saturating_add(1)),
        }
    }
    runs
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|error| {
        let beginning: String = String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(80).collect();
        Fault::new(Kind::Malformed, format!("{error} in `{beginning}`"))
    })
}

#[cfg(test)]
mod tests;
