//! From a line to a request, and from its answer to an outcome.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lines::{Format, Line, MAX_LINE};
use crate::client::error::{ApiProblem, ClientError};
use crate::client::http::Answer;
use crate::client::record::Record;

/// Fields of an exported link that no create request takes. All others go to the server, which refuses unknown ones:
/// a misspelt field is not lost in silence.
const ONLY_EXPORTED: [&str; 6] = ["short_url", "created_at", "visits", "owner_id", "version", "code"];

/// A request to create a link.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CreateRequest {
    pub(super) json: Vec<u8>,
    /// What is asked to be shortened, for the results.
    pub(super) url: Option<String>,
}

/// Why a line makes no link.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: u16,
    kind: Option<String>,
    detail: String,
    url: Option<String>,
}

/// What became of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) line: u64,
    /// The bytes of the input up to the end of the line.
    pub(super) end: u64,
    pub(super) format: Format,
    pub(super) result: LineResult,
}

/// What became of a line, as the results file has it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum LineResult {
    /// A link, made (201) or found (200).
    Made { line: u64, status: u16, code: String, short_url: String, url: String },
    /// No link. What the client refuses itself has the status and type that the server gives to the like.
    Refused {
        line: u64,
        status: u16,
        #[serde(rename = "type")]
        kind: Option<String>,
        detail: String,
        url: Option<String>,
    },
}

#[derive(Debug, Deserialize)]
struct Link {
    code: String,
    short_url: String,
    url: String,
}

impl Outcome {
    /// The outcome of a refused line.
    pub(super) fn refused(line: &Line, refusal: Refusal) -> Self {
        let Refusal { status, kind, detail, url } = refusal;
        Self::new(line, LineResult::Refused { line: line.number, status, kind, detail, url })
    }

    fn new(line: &Line, result: LineResult) -> Self {
        Self { line: line.number, end: line.end, format: line.format, result }
    }
}

impl Refusal {
    fn own(status: u16, problem: &str, detail: impl Into<String>) -> Self {
        Self { status, kind: Some(format!("/docs/problems/{problem}")), detail: detail.into(), url: None }
    }
}

/// The request that a line stands for.
pub(super) fn read_line(line: &Line, keep_codes: bool) -> Result<CreateRequest, Refusal> {
    let bytes = line.bytes.as_deref().ok_or_else(|| {
        Refusal::own(413, "body-too-large", format!("the line is longer than {} KiB", MAX_LINE >> 10))
    })?;
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Refusal::own(400, "malformed-body", format!("the line is not UTF-8: see byte {}", error.valid_up_to()))
    })?;
    let record = match line.format {
        Format::Text => {
            let mut record = Record::default();
            record.push("url", text);
            record
        }
        Format::Ndjson => read_object(text, keep_codes)?,
    };
    let url = record.get("url").and_then(Value::as_str).map(str::to_owned);
    Ok(CreateRequest { json: serde_json::to_vec(&record).expect("JSON values are JSON"), url })
}

fn read_object(text: &str, keep_codes: bool) -> Result<Record, Refusal> {
    let mut record: Record = serde_json::from_str(text).map_err(|error| {
        // The line that serde counts is always the first.
        let detail = error.to_string().replace(" at line 1 column 0", "").replace(" at line 1 column ", " at column ");
        let (status, problem) = if error.is_data() { (422, "invalid-field") } else { (400, "malformed-body") };
        Refusal::own(status, problem, detail)
    })?;
    let code = record.take("code").filter(|_| keep_codes);
    record.retain(|field, value| !ONLY_EXPORTED.contains(&field) && !value.is_null());
    if let Some(code) = code.filter(|code| !code.is_null() && record.get("alias").is_none()) {
        record.push("alias", code);
    }
    Ok(record)
}

/// What an answer means for its line; an error if it means that going on makes no sense.
pub(super) fn judge(line: &Line, url: Option<String>, answer: Answer) -> Result<Outcome, ClientError> {
    let status = answer.status.as_u16();
    match status {
        200 | 201 => {
            let Link { code, short_url, url } = answer.json()?;
            Ok(Outcome::new(line, LineResult::Made { line: line.number, status, code, short_url, url }))
        }
        // Not about this line: the key, the load, or a server that isn't there. The others would fare no better.
        401 | 403 | 408 | 429 => Err(answer.into_error()),
        400..500 => match answer.problem() {
            Some(ApiProblem { kind, detail, .. }) => {
                Ok(Outcome::refused(line, Refusal { status, kind: Some(kind), detail, url }))
            }
            // A proxy refuses what is too large in its own words.
            None if matches!(status, 413 | 414) => {
                let detail = format!("the server answered {}", answer.status);
                Ok(Outcome::refused(line, Refusal { status, kind: None, detail, url }))
            }
            None => Err(answer.into_error()),
        },
        _ => Err(answer.into_error()),
    }
}

#[cfg(test)]
mod tests;
