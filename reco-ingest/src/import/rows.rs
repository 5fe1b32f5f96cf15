//! [`Rows`]: a file as rows of the columns that a mapping names, whatever its format.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use bytes::Bytes;
use parquet::errors::ParquetError;
use reco_core::nearest;

use super::record::Record;
use crate::error::{Error, Result};

/// The values of the columns that were asked for, in their order; none where the row has none or an
/// empty text.
#[derive(Debug)]
pub(super) enum Fields<'a> {
    /// Each a text.
    Texts(Vec<Option<Cow<'a, str>>>),
    /// Parts of one text, which are taken out when they are asked for.
    Parts {
        /// The fields of the row.
        record: &'a Record,
        /// What they are parts of.
        text: &'a str,
        /// Where the columns are among them.
        positions: &'a [usize],
    },
}

impl Fields<'_> {
    pub(super) fn get(&self, at: usize) -> Option<&str> {
        match self {
            Self::Texts(texts) => texts.get(at)?.as_deref(),
            Self::Parts {
                record,
                text,
                positions,
            } => {
                let field = record.field(text, *positions.get(at)?);
                (!field.is_empty()).then_some(field)
            }
        }
    }
}

/// The records that a row is.
#[derive(Debug)]
pub(super) enum Content<'a> {
    /// The row says nothing.
    Nothing,
    One(Fields<'a>),
    Several(Vec<Fields<'a>>),
}

impl<'a> Content<'a> {
    pub(super) fn records(&self) -> &[Fields<'a>] {
        match self {
            Self::Nothing => &[],
            Self::One(fields) => std::slice::from_ref(fields),
            Self::Several(records) => records,
        }
    }
}

/// A row of a file.
#[derive(Debug)]
pub(super) struct Row<'a> {
    /// Its line or row in the file, from 1.
    pub(super) position: u64,
    /// Its bytes, which may be a part of a larger block.
    pub(super) bytes: &'a Bytes,
    /// What it says, or why it cannot be read.
    pub(super) content: Result<Content<'a>, String>,
}

/// A file as rows.
pub(super) trait Rows {
    /// Hands the next row to `each`; false at the end.
    fn next(&mut self, each: &mut dyn FnMut(Row<'_>)) -> Result<bool>;

    /// How many bytes of the file were read, as it is stored.
    fn n_read(&self) -> u64;
}

/// Where the columns are in a header.
pub(super) fn positions<S: AsRef<str>>(
    path: &Path,
    header: &[S],
    columns: &[String],
) -> Result<Vec<usize>> {
    columns
        .iter()
        .map(|column| {
            header
                .iter()
                .position(|name| name.as_ref() == column)
                .ok_or_else(|| Error::UnknownColumn {
                    path: path.display().to_string(),
                    column: column.clone(),
                    nearest: nearest(column, header),
                })
        })
        .collect()
}

/// An empty text as no value.
pub(super) fn non_empty(text: &str) -> Option<Cow<'_, str>> {
    (!text.is_empty()).then_some(Cow::Borrowed(text))
}

/// Why a row that is longer than allowed cannot be read.
pub(super) fn too_long(n_cut: u64) -> String {
    format!("the line is too long: its last {n_cut} bytes are left out")
}

/// Why bytes are no text.
pub(super) fn not_utf8(error: std::str::Utf8Error) -> String {
    format!("not UTF-8 from byte {} on", error.valid_up_to() + 1)
}

pub(super) fn read_error(path: &Path, source: io::Error) -> Error {
    Error::Read {
        path: path.display().to_string(),
        source,
    }
}

/// The most bytes that the records of one row may take: a row that repeats its outer values in every
/// nested record, or in every click, would grow with the square of its length.
pub(super) fn max_decoded_bytes(max_row_bytes: usize) -> usize {
    max_row_bytes.saturating_mul(4).max(64 << 20)
}

/// Why a row that grows beyond that is not read.
pub(super) fn too_large(max_decoded_bytes: usize) -> String {
    format!("its records take more than {max_decoded_bytes} bytes")
}

pub(super) fn parquet_error(path: &Path, source: ParquetError) -> Error {
    Error::Parquet {
        path: path.display().to_string(),
        source,
    }
}
