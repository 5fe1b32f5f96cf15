//! The results of checks as rows of a table.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use reco_core::{CheckResult, Severity, Timestamp, timestamp_type};

use crate::dag::TableReport;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("run_at", timestamp_type(), false),
        Field::new("run_id", DataType::Utf8, false),
        Field::new("subject", DataType::Utf8, false),
        Field::new("n_rows", DataType::Int64, true),
        Field::new("check", DataType::Utf8, false),
        Field::new("severity", DataType::Utf8, false),
        Field::new("passed", DataType::Boolean, false),
        Field::new("n_checked", DataType::Int64, false),
        Field::new("n_failed", DataType::Int64, false),
        Field::new("observed", DataType::Utf8, true),
        Field::new("note", DataType::Utf8, true),
        Field::new("samples", DataType::Utf8, false),
    ]))
});

/// The columns of the table that [`checks_batch`] makes rows of.
///
/// | column | type | null | meaning |
/// | --- | --- | --- | --- |
/// | `run_at` | Timestamp(µs, UTC) | no | when the run was |
/// | `run_id` | Utf8 | no | which run it was |
/// | `subject` | Utf8 | no | the table that was checked |
/// | `n_rows` | Int64 | yes | how many rows the table has; NULL if it was not published |
/// | `check` | Utf8 | no | the check with its arguments |
/// | `severity` | Utf8 | no | `error` or `warn` |
/// | `passed` | Boolean | no | whether it is met |
/// | `n_checked` | Int64 | no | how many rows were looked at |
/// | `n_failed` | Int64 | no | how many of them failed |
/// | `observed` | Utf8 | yes | the value that was found, as JSON |
/// | `note` | Utf8 | yes | what else was found |
/// | `samples` | Utf8 | no | rows that failed, as an array of JSON |
#[must_use]
pub fn checks_schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// The results of a run as rows, one for each check, in the order of the reports.
///
/// Kept in a table, they are the history that
/// [`row_count_near_earlier`](super::row_count_near_earlier) looks at, and that trends are drawn of.
///
/// # Errors
///
/// A count or a time that the columns cannot hold.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_core::Timestamp;
/// use reco_transform::{Dag, Warehouse, checks_batch, not_null};
///
/// let dag = Dag::builder().sql("one", "select 1 as n").expect("one", not_null("n")).build()?;
/// let run = dag.run(&Warehouse::in_memory()).await?;
/// let checks = checks_batch(Timestamp::UNIX_EPOCH, "run-1", run.reports())?;
/// assert_eq!(checks.num_rows(), 1);
/// # Ok(())
/// # }
/// ```
pub fn checks_batch<'a>(
    run_at: Timestamp,
    run_id: &str,
    reports: impl IntoIterator<Item = &'a TableReport>,
) -> Result<RecordBatch, ArrowError> {
    let results: Vec<(&TableReport, &CheckResult)> = reports
        .into_iter()
        .flat_map(|report| {
            report
                .checks
                .results
                .iter()
                .map(move |result| (report, result))
        })
        .collect();
    let n = results.len();
    let count = |count: u64| {
        i64::try_from(count).map_err(|_| ArrowError::CastError(format!("{count} is above i64")))
    };
    let counts = |of: fn(&TableReport, &CheckResult) -> Option<u64>| {
        let counts = results.iter().map(|(report, result)| of(report, result));
        let counts = counts.map(|n| n.map(count).transpose());
        counts.collect::<Result<Int64Array, _>>()
    };
    let texts = |of: fn(&TableReport, &CheckResult) -> Option<String>| {
        let texts = results.iter().map(|(report, result)| of(report, result));
        Arc::new(texts.collect::<StringArray>())
    };
    let run_at = TimestampMicrosecondArray::from_value(run_at.as_microsecond(), n);
    let passed = results.iter().map(|(_, result)| Some(result.passed));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(run_at.with_timezone("UTC")),
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
            run_id, n,
        ))),
        texts(|report, _| Some(report.table.clone())),
        Arc::new(counts(|report, _| report.n_rows)?),
        texts(|_, result| Some(result.check.clone())),
        texts(|_, result| {
            let severity = match result.severity {
                Severity::Warn => "warn",
                Severity::Error => "error",
            };
            Some(severity.to_owned())
        }),
        Arc::new(passed.collect::<BooleanArray>()),
        Arc::new(counts(|_, result| Some(result.n_checked))?),
        Arc::new(counts(|_, result| Some(result.n_failed))?),
        texts(|_, result| result.observed.clone()),
        texts(|_, result| result.note.clone()),
        // Samples are JSON already.
        texts(|_, result| Some(format!("[{}]", result.samples.join(",")))),
    ];
    RecordBatch::try_new(checks_schema(), columns)
}
