//! [`JsonRows`]: rows of JSON objects, one a line.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::lines::Lines;
use super::rows::{Fields, Row, Rows, non_empty, not_utf8, read_error, too_long};
use crate::error::Result;

/// Rows of JSON objects, one a line, or several where an object nests them.
#[derive(Debug)]
pub(super) struct JsonRows {
    path: PathBuf,
    lines: Lines,
    nested: Option<String>,
    columns: Vec<String>,
}

impl JsonRows {
    /// Opens a file. With `nested`, each object of the array of that name is a record, which has the
    /// members of the object around it too.
    pub(super) fn open(
        path: &Path,
        nested: Option<&str>,
        columns: &[String],
        max_bytes: usize,
    ) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            lines: Lines::open(path, max_bytes).map_err(|error| read_error(path, error))?,
            nested: nested.map(ToOwned::to_owned),
            columns: columns.to_vec(),
        })
    }

    fn records(&self, text: &str) -> Result<Vec<Fields<'static>>, String> {
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        let row: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| format!("no JSON object: {error}"))?;
        let Some(nested) = &self.nested else {
            return Ok(vec![self.fields(&row, &Map::new())]);
        };
        let inner = row
            .get(nested)
            .ok_or_else(|| format!("it has no member `{nested}`"))?
            .as_array()
            .ok_or_else(|| format!("member `{nested}` is no array"))?;
        inner
            .iter()
            .map(|inner| {
                let inner = inner
                    .as_object()
                    .ok_or_else(|| format!("an element of `{nested}` is no object"))?;
                Ok(self.fields(inner, &row))
            })
            .collect()
    }

    fn fields(&self, inner: &Map<String, Value>, outer: &Map<String, Value>) -> Fields<'static> {
        self.columns
            .iter()
            .map(|column| text(inner.get(column).or_else(|| outer.get(column))?))
            .collect()
    }
}

fn text(value: &Value) -> Option<Cow<'static, str>> {
    match value {
        Value::Null => None,
        Value::String(text) => non_empty(text).map(|text| Cow::Owned(text.into_owned())),
        other => Some(Cow::Owned(other.to_string())),
    }
}

impl Rows for JsonRows {
    fn next(&mut self, each: &mut dyn FnMut(Row<'_>)) -> Result<bool> {
        let line = self.lines.next();
        let Some(line) = line.map_err(|error| read_error(&self.path, error))? else {
            return Ok(false);
        };
        let content = if line.n_cut > 0 {
            Err(too_long(line.n_cut))
        } else {
            std::str::from_utf8(line.content())
                .map_err(not_utf8)
                .and_then(|text| self.records(text))
        };
        each(Row {
            position: line.number,
            bytes: Cow::Borrowed(line.content()),
            content,
        });
        Ok(true)
    }

    fn n_read(&self) -> u64 {
        self.lines.n_read()
    }
}
