//! [`CsvRows`]: rows of text with separated fields.

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use csv_core::{Reader, ReaderBuilder};

use super::dialect::Dialect;
use super::lines::{Line, Lines, content};
use super::record::{Fed, Record};
use super::rows::{Content, Fields, Row, Rows, positions, read_error, too_long};
use crate::error::{Error, Result};

// A quoted field that spans more lines is taken for one that was never closed.
const MAX_LINES: usize = 100;

/// Rows of text with separated fields.
///
/// A row ends where its line does, unless a quoted field is open there. If the field is still open at
/// the end of the file, or when the row gets too long, or if text follows the quote that closes it, the
/// quote is taken for dirt: its line alone is unreadable, and reading goes on at the next.
#[derive(Debug)]
pub(super) struct CsvRows {
    path: PathBuf,
    lines: Lines,
    dialect: Dialect,
    reader: Reader,
    record: Record,
    max_bytes: usize,
    n_fields: usize,
    positions: Vec<usize>,
}

impl CsvRows {
    /// Opens a file. The names of its columns are in its first row, unless they are given.
    pub(super) fn open(
        path: &Path,
        dialect: Dialect,
        names: Option<&[String]>,
        columns: &[String],
        max_bytes: usize,
    ) -> Result<Self> {
        let lines = Lines::open(path, max_bytes).map_err(|error| read_error(path, error))?;
        let mut reader = ReaderBuilder::new();
        reader.delimiter(dialect.delimiter);
        match dialect.quote {
            Some(quote) => reader.quote(quote),
            None => reader.quoting(false),
        };
        let mut rows = Self {
            path: path.to_owned(),
            lines,
            dialect,
            reader: reader.build(),
            record: Record::default(),
            max_bytes,
            n_fields: 0,
            positions: Vec::new(),
        };
        let header = match names {
            Some(names) => Some(names.to_vec()),
            None => rows.read_header()?,
        };
        if let Some(header) = header {
            rows.n_fields = header.len();
            rows.positions = positions(path, &header, columns)?;
        }
        Ok(rows)
    }

    // None if the file is empty.
    fn read_header(&mut self) -> Result<Option<Vec<String>>> {
        let Some((_, bytes, content)) = self.read()? else {
            return Ok(None);
        };
        let header = content.and_then(|()| {
            let text = self.record.text(&bytes)?;
            let fields = (0..self.record.len()).map(|at| self.record.field(text, at));
            Ok(fields.map(ToOwned::to_owned).collect())
        });
        header.map(Some).map_err(|reason| Error::InvalidConfig {
            of: "header",
            reason: format!("`{}`: {reason}", self.path.display()),
        })
    }

    // The next row: where it is, its bytes, and whether the record holds its fields.
    #[expect(
        clippy::type_complexity,
        reason = "three parts of one row, taken apart at once by both callers"
    )]
    fn read(&mut self) -> Result<Option<(u64, Bytes, Result<(), String>)>> {
        let Some(first) = self.next_line()? else {
            return Ok(None);
        };
        let position = first.number;
        if first.n_cut > 0 {
            let reason = too_long(first.n_cut);
            return Ok(Some((position, first.raw, Err(reason))));
        }
        self.record.clear();
        let line = first.content();
        // Most rows are a line without a quote, which only has to be split.
        if line.is_empty() || self.record.split(&line, self.dialect) {
            return Ok(Some((position, line, Ok(()))));
        }
        self.reader.reset();
        let mut fed = self.record.feed_line(&mut self.reader, &first.raw);
        let mut more: Vec<Line> = Vec::new();
        let mut n_bytes = first.raw.len();
        while fed == Fed::Open && more.len() < MAX_LINES && n_bytes <= self.max_bytes {
            let Some(line) = self.next_line()? else {
                break;
            };
            n_bytes += line.raw.len();
            let whole = line.n_cut == 0;
            if whole {
                fed = self.record.feed_line(&mut self.reader, &line.raw);
            }
            more.push(line);
            if !whole {
                break;
            }
        }
        let mut raw = first.raw;
        let lines = || std::iter::once(&raw).chain(more.iter().map(|line| &line.raw));
        let read = match fed {
            Fed::Record if self.dialect.is_misquoted(lines().flatten().copied()) => {
                Err("text after the quote that closes a field".to_owned())
            }
            Fed::Record if more.is_empty() => Ok(()),
            Fed::Record => {
                let mut whole = BytesMut::from(raw.as_ref());
                more.drain(..)
                    .for_each(|line| whole.extend_from_slice(&line.raw));
                raw = whole.freeze();
                Ok(())
            }
            Fed::Rest => Err("a carriage return within the line".to_owned()),
            Fed::Open => Err("a quoted field is not closed".to_owned()),
        };
        self.lines.push_back(more.into_iter());
        raw.truncate(content(&raw).len());
        Ok(Some((position, raw, read)))
    }

    fn next_line(&mut self) -> Result<Option<Line>> {
        self.lines
            .next()
            .map_err(|error| read_error(&self.path, error))
    }
}

impl Rows for CsvRows {
    fn next(&mut self, each: &mut dyn FnMut(Row<'_>)) -> Result<bool> {
        let Some((position, bytes, read)) = self.read()? else {
            return Ok(false);
        };
        let content = read.and_then(|()| {
            let text = self.record.text(&bytes)?;
            let (n_found, n_fields) = (self.record.len(), self.n_fields);
            if n_found == 0 {
                return Ok(Content::Nothing);
            }
            if n_found != n_fields {
                return Err(format!("{n_found} fields where {n_fields} are declared"));
            }
            Ok(Content::One(Fields::Parts {
                record: &self.record,
                text,
                positions: &self.positions,
            }))
        });
        each(Row {
            position,
            bytes: &bytes,
            content,
        });
        Ok(true)
    }

    fn n_read(&self) -> u64 {
        self.lines.n_read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Each row as `position:bytes=fields` or `position:bytes!reason`.
    fn check(input: &str, expected: &[&str]) {
        check_quoted(Some(b'"'), input, expected);
    }

    fn check_quoted(quote: Option<u8>, input: &str, expected: &[&str]) {
        let dialect = Dialect {
            delimiter: b';',
            quote,
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), input).unwrap();
        let names = ["a".to_owned(), "b".to_owned()];
        let mut rows = CsvRows::open(file.path(), dialect, Some(&names), &names, 40).unwrap();
        let mut found = Vec::new();
        while rows
            .next(&mut |row| {
                let bytes = String::from_utf8(row.bytes.to_vec()).unwrap();
                let rest = match row.content.as_ref().map(Content::records) {
                    Ok([]) => "=".to_owned(),
                    Ok([fields, ..]) => {
                        let text = |at: usize| fields.get(at).unwrap_or("-");
                        format!("={}|{}", text(0), text(1))
                    }
                    Err(reason) => format!("!{reason}"),
                };
                found.push(format!("{}:{bytes}{rest}", row.position));
            })
            .unwrap()
        {}
        assert_eq!(found, expected);
    }

    #[test]
    fn fields_are_separated_and_unquoted() {
        check("", &[]);
        check("1;2\n3;", &["1:1;2=1|2", "2:3;=3|-"]);
        check("1;2\r\n\r\n3;4", &["1:1;2=1|2", "2:=", "3:3;4=3|4"]);
        check("\"1;\"\"\";2\n", &["1:\"1;\"\"\";2=1;\"|2"]);
        check(
            "5\" pipe;2\n3;4\n",
            &["1:5\" pipe;2=5\" pipe|2", "2:3;4=3|4"],
        );
        check(
            "\"1\r\n1\";2\r\n3;4\n",
            &["1:\"1\r\n1\";2=1\r\n1|2", "3:3;4=3|4"],
        );
    }

    #[test]
    fn quotes_are_as_declared() {
        check_quoted(
            None,
            "1;\"hat\n2;\"shoe\"\n",
            &["1:1;\"hat=1|\"hat", "2:2;\"shoe\"=2|\"shoe\""],
        );
        check_quoted(Some(b'\''), "'1;';\"2\n", &["1:'1;';\"2=1;|\"2"]);
    }

    #[test]
    fn a_stray_quote_does_not_swallow_what_follows() {
        // With as many fields as declared, by accident.
        check(
            "1;\"hat\n2;\"shoe\"\n3;4\n",
            &[
                "1:1;\"hat!text after the quote that closes a field",
                "2:2;\"shoe\"=2|shoe",
                "3:3;4=3|4",
            ],
        );
        check(
            "\"1\"x;2\n3;4\n",
            &[
                "1:\"1\"x;2!text after the quote that closes a field",
                "2:3;4=3|4",
            ],
        );
    }

    #[test]
    fn what_cannot_be_read_costs_one_line() {
        let fields = |n: usize| format!("{n} fields where 2 are declared");
        check("1\n2;3\n", &[&format!("1:1!{}", fields(1)), "2:2;3=2|3"]);
        check("1;2;3", &[&format!("1:1;2;3!{}", fields(3))]);
        check(
            "\"1;2\n3;4\n",
            &["1:\"1;2!a quoted field is not closed", "2:3;4=3|4"],
        );
        check(
            "3;4\n\"1;2",
            &["1:3;4=3|4", "2:\"1;2!a quoted field is not closed"],
        );
        check(
            "1\r2;3\n4;5",
            &["1:1\r2;3!a carriage return within the line", "2:4;5=4|5"],
        );
        let long = "x".repeat(50);
        check(
            &format!("{long}\n1;2"),
            &[
                &format!(
                    "1:{}!the line is too long: its last 11 bytes are left out",
                    &long[..40]
                ),
                "2:1;2=1|2",
            ],
        );
        // The quote is open for longer than a row may be.
        check(
            &format!("\"1;2\n{}\n3;4", "y".repeat(39)),
            &[
                "1:\"1;2!a quoted field is not closed",
                &format!("2:{}!{}", "y".repeat(39), fields(1)),
                "3:3;4=3|4",
            ],
        );
    }
}
