//! Lines of an input that say something, with their numbers and ends.

use std::io;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

use crate::cli::ImportFormat;

/// The longest line: several times the longest request that a server takes.
pub(super) const MAX_LINE: usize = 128 << 10;
/// Marks a file as UTF-8; it belongs to no line.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The shape of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// A URL; `#` begins a comment.
    Text,
    /// A JSON object.
    Ndjson,
}

/// A line, without its ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number in the input, from 1.
    pub(super) number: u64,
    /// The bytes of the input up to the end of this line.
    pub(super) end: u64,
    pub(super) format: Format,
    /// `None` if it is longer than [`MAX_LINE`].
    pub(super) bytes: Option<Vec<u8>>,
}

/// Reads lines; blank ones and comments are left out.
#[derive(Debug)]
pub(super) struct LineReader<R> {
    input: R,
    format: Option<Format>,
    number: u64,
    offset: u64,
}

impl Format {
    /// What the first line that is not blank shows.
    pub(super) fn detect(line: &[u8]) -> Self {
        if line.trim_ascii_start().starts_with(b"{") { Self::Ndjson } else { Self::Text }
    }

    /// The format that was asked for; `None` to detect it.
    pub(super) fn asked(format: ImportFormat) -> Option<Self> {
        match format {
            ImportFormat::Auto => None,
            ImportFormat::Text => Some(Self::Text),
            ImportFormat::Ndjson => Some(Self::Ndjson),
        }
    }
}

impl<R: AsyncBufRead + Unpin> LineReader<R> {
    /// Reads from an `input` of which `number` lines, `offset` bytes, are read already.
    pub(super) fn new(input: R, format: Option<Format>, number: u64, offset: u64) -> Self {
        Self { input, format, number, offset }
    }

    /// The next line that says something.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        while let Some(bytes) = self.next_bytes().await? {
            self.number += 1;
            let text = bytes.as_deref();
            if text.is_some_and(|text| text.trim_ascii().is_empty()) {
                continue;
            }
            let format = *self.format.get_or_insert_with(|| Format::detect(text.unwrap_or_default()));
            if format == Format::Text && text.is_some_and(|text| text.starts_with(b"#")) {
                continue;
            }
            return Ok(Some(Line { number: self.number, end: self.offset, format, bytes }));
        }
        Ok(None)
    }

    /// The next line without its ending; the inner `None` for one that is too long, of which no more is kept.
    async fn next_bytes(&mut self) -> io::Result<Option<Option<Vec<u8>>>> {
        let at_beginning = self.offset == 0;
        let mut line = Vec::new();
        let mut length = 0;
        loop {
            let available = self.input.fill_buf().await?;
            if available.is_empty() && length == 0 {
                return Ok(None);
            }
            let newline = available.iter().position(|byte| *byte == b'\n');
            let taken = newline.map_or(available.len(), |place| place + 1);
            let room = (MAX_LINE + 2).saturating_sub(line.len()); // Room for the ending.
            line.extend_from_slice(&available[..taken.min(room)]);
            let at_end = newline.is_some() || available.is_empty();
            self.input.consume(taken);
            length += taken;
            if at_end {
                break;
            }
        }
        self.offset += length as u64;
        let ended = line.len() == length;
        let mut text = line.strip_suffix(b"\n").map_or(&*line, |text| text.strip_suffix(b"\r").unwrap_or(text));
        if at_beginning {
            text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        }
        Ok(Some((ended && text.len() <= MAX_LINE).then(|| text.to_vec())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(input: &[u8], format: Option<Format>) -> Vec<(u64, u64, Option<String>)> {
        // A tiny buffer, so that lines and their endings come in pieces.
        let input = tokio::io::BufReader::with_capacity(3, input);
        let mut reader = LineReader::new(input, format, 0, 0);
        let mut lines = Vec::new();
        while let Some(line) = reader.next().await.unwrap() {
            lines.push((line.number, line.end, line.bytes.map(|bytes| String::from_utf8(bytes).unwrap())));
        }
        lines
    }

    fn line(number: u64, end: u64, text: &str) -> (u64, u64, Option<String>) {
        (number, end, Some(text.to_owned()))
    }

    #[tokio::test]
    async fn only_the_ending_is_stripped_and_empty_lines_and_comments_are_skipped() {
        let input = b"http://a/\r\n\n# note\n  \t\n http://b/ \r\r\nhttp://c/#x\nlast\r";
        let expected =
            [line(1, 11, "http://a/"), line(5, 37, " http://b/ \r"), line(6, 49, "http://c/#x"), line(7, 54, "last\r")];
        assert_eq!(read(input, None).await, expected);
    }

    #[tokio::test]
    async fn a_comment_in_ndjson_is_a_line() {
        assert_eq!(read(b"{}\n#\n", None).await, [line(1, 3, "{}"), line(2, 5, "#")]);
    }

    #[tokio::test]
    async fn a_byte_order_mark_belongs_to_no_line() {
        assert_eq!(read(b"\xEF\xBB\xBF{}\n", None).await, [line(1, 6, "{}")]);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_counted_but_not_kept() {
        let mut input = vec![b'a'; MAX_LINE];
        input.extend_from_slice(b"\r\n");
        input.extend(vec![b'b'; MAX_LINE + 1]);
        input.extend_from_slice(b"\nc\n");
        let lines = read(&input, None).await;
        assert_eq!(lines[0].2.as_ref().map(String::len), Some(MAX_LINE));
        assert_eq!((lines[1].0, &lines[1].2), (2, &None));
        assert_eq!(lines[2], line(3, input.len() as u64, "c"));
    }

    #[test]
    fn the_first_character_decides_the_format() {
        assert_eq!(Format::detect(b" \t{\"url\":1}"), Format::Ndjson);
        for text in [&b"http://a/{"[..], b"# {", b"[1]", b""] {
            assert_eq!(Format::detect(text), Format::Text);
        }
    }

    #[tokio::test]
    async fn reading_goes_on_with_the_format_and_numbers_of_before() {
        let mut reader = LineReader::new(&b"{not json\n"[..], Some(Format::Text), 7, 100);
        let expected = Line { number: 8, end: 110, format: Format::Text, bytes: Some(b"{not json".to_vec()) };
        assert_eq!(reader.next().await.unwrap(), Some(expected));
    }
}
