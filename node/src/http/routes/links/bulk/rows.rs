//! The rows of a bulk request, cut out of its body as it arrives: a JSON array, or one JSON value a line (NDJSON).
//!
//! Nothing is held but the row that is being read. What a row says is left to whoever reads it as JSON.

/// How rows are separated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `[{…}, {…}]`
    Array,
    /// `{…}\n{…}\n`
    Lines,
}

/// Why no more rows can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RowError {
    /// A row is larger than rows may be.
    #[error("a row is larger than {0} bytes")]
    TooLarge(usize),
    /// The array isn't one.
    #[error("the body is not a JSON array of objects, such as [{{\"url\": \"https://example.com/\"}}]")]
    NotAnArray,
    /// The body ended in the middle.
    #[error("the body ended before it was complete")]
    CutShort,
}

/// Cuts rows.
#[derive(Debug)]
pub(super) struct Rows {
    shape: Shape,
    largest: usize,
    row: Vec<u8>,
    place: Place,
}

/// Where in the body the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the array's bracket.
    Start,
    /// Where a row may begin; after a comma one must.
    Between { must: bool },
    /// In a row, `depth` brackets deep.
    Inside { depth: u32, text: Text },
    /// After a row of an array.
    After,
    /// After the array's end.
    End,
}

/// Whether brackets count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    No,
    Yes,
    Escaped,
}

impl Rows {
    /// Rows of this shape, each of at most `largest` bytes.
    pub(super) const fn new(shape: Shape, largest: usize) -> Self {
        let place = match shape {
            Shape::Array => Place::Start,
            Shape::Lines => Place::Between { must: false },
        };
        Self { shape, largest, row: Vec::new(), place }
    }

    /// Takes in what came of the body, and gives each row that is complete to `whole`.
    pub(super) fn push(&mut self, bytes: &[u8], mut whole: impl FnMut(Vec<u8>)) -> Result<(), RowError> {
        for &byte in bytes {
            if match self.shape {
                Shape::Lines => self.step_in_lines(byte)?,
                Shape::Array => self.step_in_array(byte)?,
            } {
                whole(std::mem::take(&mut self.row));
            }
        }
        Ok(())
    }

    /// The body has ended: the last line may have no end.
    pub(super) fn finish(self) -> Result<Option<Vec<u8>>, RowError> {
        match (self.shape, self.place) {
            (Shape::Lines, _) => Ok(Some(self.row).filter(|row| !is_blank(row))),
            (Shape::Array, Place::End) => Ok(None),
            (Shape::Array, Place::Start) => Err(RowError::NotAnArray),
            (Shape::Array, _) => Err(RowError::CutShort),
        }
    }

    fn step_in_lines(&mut self, byte: u8) -> Result<bool, RowError> {
        if byte != b'\n' {
            return self.keep(byte).map(|()| false);
        }
        if is_blank(&self.row) {
            self.row.clear();
            return Ok(false);
        }
        Ok(true)
    }

    /// Takes one byte; true when it ends a row.
    fn step_in_array(&mut self, byte: u8) -> Result<bool, RowError> {
        if let Place::Inside { depth, text } = self.place {
            self.keep(byte)?;
            let (depth, text) = inside(byte, depth, text);
            self.place = if depth == 0 { Place::After } else { Place::Inside { depth, text } };
            return Ok(depth == 0);
        }
        if byte.is_ascii_whitespace() {
            return Ok(false);
        }
        self.place = match (self.place, byte) {
            (Place::Start, b'[') => Place::Between { must: false },
            (Place::Between { .. }, b'{') => {
                self.keep(byte)?;
                Place::Inside { depth: 1, text: Text::No }
            }
            (Place::After, b',') => Place::Between { must: true },
            (Place::After | Place::Between { must: false }, b']') => Place::End,
            _ => return Err(RowError::NotAnArray),
        };
        Ok(false)
    }

    fn keep(&mut self, byte: u8) -> Result<(), RowError> {
        if self.row.len() == self.largest {
            return Err(RowError::TooLarge(self.largest));
        }
        self.row.push(byte);
        Ok(())
    }
}

/// How deep the place behind `byte` is.
const fn inside(byte: u8, depth: u32, text: Text) -> (u32, Text) {
    match (text, byte) {
        (Text::Escaped, _) | (Text::No, b'"') => (depth, Text::Yes),
        (Text::Yes, b'\\') => (depth, Text::Escaped),
        (Text::Yes, b'"') => (depth, Text::No),
        (Text::No, b'{' | b'[') => (depth + 1, Text::No),
        (Text::No, b'}' | b']') => (depth - 1, Text::No),
        (text, _) => (depth, text),
    }
}

fn is_blank(row: &[u8]) -> bool {
    row.iter().all(u8::is_ascii_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(shape: Shape, body: &str, pieces: usize) -> Result<Vec<String>, RowError> {
        let mut found = Vec::new();
        let mut rows = Rows::new(shape, 100);
        for piece in body.as_bytes().chunks(pieces) {
            rows.push(piece, |row| found.push(String::from_utf8(row).unwrap()))?;
        }
        found.extend(rows.finish()?.map(|row| String::from_utf8(row).unwrap()));
        Ok(found)
    }

    #[test]
    fn rows_are_cut_wherever_the_body_is() {
        let array = r#" [ {"a":"}]\"{"} , {"b":[{"c":1}]},{}] "#;
        let lines = "{\"a\":1}\n\r\n \n{\"b\":2}\r\n{\"c\":3}";
        for pieces in 1..=array.len() {
            let expected = [r#"{"a":"}]\"{"}"#, r#"{"b":[{"c":1}]}"#, "{}"];
            assert_eq!(rows(Shape::Array, array, pieces).unwrap(), expected);
            assert_eq!(rows(Shape::Lines, lines, pieces).unwrap(), ["{\"a\":1}", "{\"b\":2}\r", "{\"c\":3}"]);
        }
        assert_eq!(rows(Shape::Array, "[]", 1).unwrap(), [""; 0]);
        assert_eq!(rows(Shape::Lines, "\n\n", 1).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_array_of_objects_is_refused() {
        for body in ["", " ", "{}", "[1]", "[{},]", "[,{}]", "[{}{}]", "[{}]]", "[{}] x", "x"] {
            assert_eq!(rows(Shape::Array, body, 1), Err(RowError::NotAnArray), "{body}");
        }
        for body in ["[", "[{", "[{}", "[{},", "[{\"a"] {
            assert_eq!(rows(Shape::Array, body, 1), Err(RowError::CutShort), "{body}");
        }
    }

    #[test]
    fn a_row_past_the_limit_is_refused_before_it_is_whole() {
        let long = "x".repeat(101);
        assert_eq!(rows(Shape::Lines, &long, 7), Err(RowError::TooLarge(100)));
        assert_eq!(rows(Shape::Array, &format!("[{{{long}"), 7), Err(RowError::TooLarge(100)));
        assert_eq!(rows(Shape::Lines, &"x".repeat(100), 7).unwrap().len(), 1);
    }
}
