//! [`JsonRows`]: rows of JSON objects, one a line.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::lines::{Line, Lines, content};
use super::rows::{
    Content, Fields, Row, Rows, max_decoded_bytes, non_empty, not_utf8, read_error, too_large,
    too_long,
};
use crate::error::Result;

/// Rows of JSON objects, one a line, or several where an object nests them.
#[derive(Debug)]
pub(super) struct JsonRows {
    path: PathBuf,
    lines: Lines,
    nested: Option<String>,
    columns: Vec<Column>,
    /// How many values a row may have, so that they take no more memory than its records may.
    max_values: usize,
}

/// A member that is asked for.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// Whether it names something, so that a number in it must not be rounded.
    pub(super) is_name: bool,
}

// The text of a member; none if it has no value, an error if it cannot be had.
type Text<'a> = Result<Option<Cow<'a, str>>, String>;

impl JsonRows {
    /// Opens a file. With `nested`, each object of the array of that name is a record, which has the
    /// members of the object around it too.
    pub(super) fn open(
        path: &Path,
        nested: Option<&str>,
        columns: Vec<Column>,
        max_bytes: usize,
    ) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            lines: Lines::open(path, max_bytes).map_err(|error| read_error(path, error))?,
            nested: nested.map(ToOwned::to_owned),
            columns,
            max_values: max_decoded_bytes(max_bytes) / size_of::<Option<Cow<'_, str>>>(),
        })
    }

    // None if the line is empty.
    fn object(line: &Line) -> Result<Option<Map<String, Value>>, String> {
        if line.n_cut > 0 {
            return Err(too_long(line.n_cut));
        }
        let text = std::str::from_utf8(content(&line.raw)).map_err(not_utf8)?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        let object = serde_json::from_str(text);
        object
            .map(Some)
            .map_err(|error| format!("no JSON object: {error}"))
    }

    // The nested records share the texts of the object around them, which may be long.
    fn records<'a>(
        &self,
        row: &'a Map<String, Value>,
        outer: &'a [Text<'a>],
    ) -> Result<Content<'a>, String> {
        let Some(nested) = &self.nested else {
            let texts = outer.iter().map(share).collect::<Result<_, _>>()?;
            return Ok(Content::One(Fields::Texts(texts)));
        };
        let inner = row
            .get(nested)
            .ok_or_else(|| format!("it has no member `{nested}`"))?
            .as_array()
            .ok_or_else(|| format!("member `{nested}` is no array"))?;
        if inner.len().saturating_mul(self.columns.len()) > self.max_values {
            let n_bytes = self.max_values * size_of::<Option<Cow<'_, str>>>();
            return Err(too_large(n_bytes));
        }
        let records = inner.iter().map(|inner| {
            let inner = inner
                .as_object()
                .ok_or_else(|| format!("an element of `{nested}` is no object"))?;
            let columns = self.columns.iter().zip(outer);
            let texts = columns.map(|(column, outer)| match inner.get(&column.name) {
                Some(value) => text(column, value),
                None => share(outer),
            });
            Ok(Fields::Texts(texts.collect::<Result<_, String>>()?))
        });
        Ok(Content::Several(records.collect::<Result<_, String>>()?))
    }
}

fn share<'a>(text: &'a Text<'_>) -> Text<'a> {
    match text {
        Ok(text) => Ok(text.as_deref().map(Cow::Borrowed)),
        Err(reason) => Err(reason.clone()),
    }
}

fn text<'a>(column: &Column, value: &'a Value) -> Text<'a> {
    if column.is_name && !is_exact(value) {
        let name = &column.name;
        return Err(format!(
            "member `{name}` names something, and is a number that cannot be kept as it is written"
        ));
    }
    Ok(match value {
        Value::Null => None,
        Value::String(text) => non_empty(text),
        other => Some(Cow::Owned(other.to_string())),
    })
}

// Numbers that are not whole, or need more than 64 bits, were rounded when they were read.
fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_f64(),
        Value::Array(elements) => elements.iter().all(is_exact),
        Value::Object(members) => members.values().all(is_exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

impl Rows for JsonRows {
    fn next(&mut self, each: &mut dyn FnMut(Row<'_>)) -> Result<bool> {
        let line = self.lines.next();
        let Some(line) = line.map_err(|error| read_error(&self.path, error))? else {
            return Ok(false);
        };
        let row = Self::object(&line);
        let outer: Vec<Text<'_>>;
        let content = match &row {
            Ok(Some(row)) => {
                let texts = self
                    .columns
                    .iter()
                    .map(|column| match row.get(&column.name) {
                        Some(value) => text(column, value),
                        None => Ok(None),
                    });
                outer = texts.collect();
                self.records(row, &outer)
            }
            Ok(None) => Ok(Content::Nothing),
            Err(reason) => Err(reason.clone()),
        };
        each(Row {
            position: line.number,
            bytes: &line.content(),
            content,
        });
        Ok(true)
    }

    fn n_read(&self) -> u64 {
        self.lines.n_read()
    }
}
