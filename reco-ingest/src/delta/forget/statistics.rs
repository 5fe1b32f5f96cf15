//! What a log tells about the values in a file.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use bytes::Bytes;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::super::schema::SEQ;
use crate::error::{Error, Result};

/// Whether the statistics of a file tell values of another column than the sequence number.
pub(super) fn names_values(stats: &str) -> bool {
    let Ok(stats) = serde_json::from_str::<Value>(stats) else {
        return true;
    };
    ["minValues", "maxValues"].iter().any(|of| {
        let columns = stats.get(of).and_then(Value::as_object);
        columns.is_some_and(|columns| columns.keys().any(|column| column != SEQ))
    })
}

/// Whether a checkpoint tells values of files that are not in the table.
pub(super) fn values_in_checkpoint(
    path: &str,
    checkpoint: Bytes,
    live: &HashSet<Path>,
) -> Result<bool> {
    let failed = |source| Error::Parquet {
        path: path.to_owned(),
        source,
    };
    let batches = ParquetRecordBatchReaderBuilder::try_new(checkpoint)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(failed)?;
    for batch in batches {
        let batch = batch.map_err(|source| Error::Arrow {
            path: path.to_owned(),
            source,
        })?;
        let Some(adds) = batch
            .column_by_name("add")
            .and_then(|add| add.as_struct_opt())
        else {
            continue;
        };
        let paths = texts(path, adds, "path")?;
        let stats = texts(path, adds, "stats")?;
        let parsed = adds.column_by_name("stats_parsed");
        for row in (0..adds.len()).filter(|&row| adds.is_valid(row)) {
            let name = text_at(paths.as_ref(), row).unwrap_or_default();
            let tells = text_at(stats.as_ref(), row).is_some_and(names_values)
                || parsed.is_some_and(|parsed| tells_values(parsed, row));
            if tells && !live.contains(&Path::from(name)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

// A column of text, whatever its layout.
fn texts(path: &str, of: &StructArray, name: &str) -> Result<Option<StringArray>> {
    let Some(column) = of.column_by_name(name) else {
        return Ok(None);
    };
    let column = cast(column, &DataType::Utf8).map_err(|source| Error::Arrow {
        path: path.to_owned(),
        source,
    })?;
    Ok(Some(column.as_string::<i32>().clone()))
}

fn text_at(column: Option<&StringArray>, row: usize) -> Option<&str> {
    column
        .filter(|column| column.is_valid(row))
        .map(|column| column.value(row))
}

// Whether the statistics that are columns of their own tell values at a row.
fn tells_values(parsed: &ArrayRef, row: usize) -> bool {
    let Some(parsed) = parsed.as_struct_opt() else {
        return false;
    };
    ["minValues", "maxValues"].iter().any(|of| {
        let bounds = parsed
            .column_by_name(of)
            .and_then(|bounds| bounds.as_struct_opt());
        bounds.is_some_and(|bounds| {
            let columns = bounds.column_names().into_iter().zip(bounds.columns());
            columns
                .into_iter()
                .any(|(name, column)| name != SEQ && column.is_valid(row))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stats: &str, expected: bool) {
        assert_eq!(names_values(stats), expected, "{stats}");
    }

    #[test]
    fn ours_tell_the_sequence_number_alone() {
        check(
            r#"{"numRecords":1,"minValues":{"ingest_seq":7},"maxValues":{"ingest_seq":7},"nullCount":{"ingest_seq":0}}"#,
            false,
        );
        check(r#"{"numRecords":1,"nullCount":{"client_id":0}}"#, false);
        check(r#"{"numRecords":1,"minValues":{"client_id":"v-7"}}"#, true);
        check(r#"{"maxValues":{"ingest_seq":7,"client_id":"v-7"}}"#, true);
        check("{", true);
    }
}
