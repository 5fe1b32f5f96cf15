//! [`Record`]: the fields of one row of text.

use csv_core::{ReadRecordResult, Reader};
use memchr::memchr3_iter;

use super::dialect::Dialect;
use super::rows::not_utf8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fed {
    /// The row is complete.
    Record,
    /// A quoted field is open.
    Open,
    /// The row ended within the input.
    Rest,
}

/// The fields of one row.
///
/// A row without a quote is only split: its fields are parts of the row. Otherwise they are unquoted
/// into a text of their own, one after the other.
#[derive(Debug, Default)]
pub(super) struct Record {
    text: Vec<u8>,
    n_text: usize,
    /// Where each field ends, in the row or in the text.
    ends: Vec<usize>,
    n_ends: usize,
    is_split: bool,
}

impl Record {
    pub(super) fn clear(&mut self) {
        self.n_text = 0;
        self.n_ends = 0;
        self.is_split = false;
    }

    /// How many fields it has.
    pub(super) const fn len(&self) -> usize {
        self.n_ends
    }

    /// Takes a row that has no quote and no line end in it; false if it has, and is to be fed.
    pub(super) fn split(&mut self, row: &[u8], dialect: Dialect) -> bool {
        let Dialect { delimiter, quote } = dialect;
        self.ends.clear();
        for at in memchr3_iter(delimiter, b'\r', quote.unwrap_or(b'\r'), row) {
            if row[at] != delimiter {
                return false;
            }
            self.ends.push(at);
        }
        self.ends.push(row.len());
        self.n_ends = self.ends.len();
        self.is_split = true;
        true
    }

    /// Takes one more line of a row.
    pub(super) fn feed_line(&mut self, reader: &mut Reader, raw: &[u8]) -> Fed {
        let fed = self.feed(reader, raw);
        if fed == Fed::Open && !raw.ends_with(b"\n") {
            // The last line of the file need not have an end.
            return self.feed(reader, b"\n");
        }
        fed
    }

    fn feed(&mut self, reader: &mut Reader, mut input: &[u8]) -> Fed {
        loop {
            let (result, n_in, n_text, n_ends) = reader.read_record(
                input,
                &mut self.text[self.n_text..],
                &mut self.ends[self.n_ends..],
            );
            input = &input[n_in..];
            self.n_text += n_text;
            self.n_ends += n_ends;
            match result {
                ReadRecordResult::InputEmpty => return Fed::Open,
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2 + 64, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2 + 8, 0),
                ReadRecordResult::Record | ReadRecordResult::End => {
                    return if input.is_empty() || input == b"\n" {
                        Fed::Record
                    } else {
                        Fed::Rest
                    };
                }
            }
        }
    }

    /// The text that the fields are parts of, given the row; an error if one of them is no text.
    pub(super) fn text<'a>(&'a self, row: &'a [u8]) -> Result<&'a str, String> {
        let row = std::str::from_utf8(row).map_err(not_utf8)?;
        if self.is_split {
            // Between characters: the delimiter is one.
            return Ok(row);
        }
        let text = std::str::from_utf8(&self.text[..self.n_text]).map_err(not_utf8)?;
        let mut ends = self.ends[..self.n_ends].iter();
        if ends.all(|end| text.is_char_boundary(*end)) {
            Ok(text)
        } else {
            Err("a field ends within a character".to_owned())
        }
    }

    /// A field of that text.
    pub(super) fn field<'a>(&self, text: &'a str, at: usize) -> &'a str {
        let before = at.checked_sub(1).map(|before| self.ends[before]);
        let start = before.map_or(0, |end| end + usize::from(self.is_split));
        &text[start..self.ends[at]]
    }
}
