//! [`DataFile`]: one Parquet file of a table, as the log knows it.

use deltalake::kernel::{LogicalFileView, Remove};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use object_store::ObjectMeta;
use object_store::path::Path;
use reco_core::TimeWindow;
use serde::Deserialize;

use super::schema::DATE;
use crate::error::{Error, Result};

/// One Parquet file of a table, as the log knows it.
#[derive(Debug, Clone)]
pub(super) struct DataFile {
    /// Where it is, within the table.
    pub(super) path: Path,
    /// Its size in bytes.
    pub(super) n_bytes: u64,
    /// The lowest sequence number that it may hold.
    pub(super) min_seq: i64,
    /// The highest sequence number that it may hold.
    pub(super) max_seq: i64,
    /// The partition.
    pub(super) date: Option<Date>,
    /// What the log calls it.
    name: String,
}

/// How much of a file a window selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Selected {
    /// None of its rows.
    None,
    /// Some of its rows perhaps.
    Some,
    /// All of its rows.
    All,
}

impl DataFile {
    /// The file that a row of the log's file list describes.
    pub(super) fn from_view(view: &LogicalFileView) -> Result<Self> {
        let path = view.object_store_path();
        let odd = |reason: &str| Error::DataFile {
            path: path.to_string(),
            reason: reason.to_owned(),
        };
        if view.deletion_vector_descriptor().is_some() {
            return Err(odd(
                "it has deleted rows, which an append-only table cannot",
            ));
        }
        let n_bytes = u64::try_from(view.size()).map_err(|_| odd("its size is negative"))?;
        let date = match view.partition_values_map().remove(DATE).flatten() {
            Some(text) => Some(
                text.parse()
                    .map_err(|_| odd(&format!("its partition value `{text}` is not a date")))?,
            ),
            None => None,
        };
        // Without statistics it may hold anything: it is then opened first and merged with all.
        let stats = view
            .stats()
            .and_then(|stats| serde_json::from_str::<Stats>(&stats).ok());
        let (min_seq, max_seq) = stats.map_or((i64::MIN, i64::MAX), |stats| {
            (
                stats.min_values.seq.unwrap_or(i64::MIN),
                stats.max_values.seq.unwrap_or(i64::MAX),
            )
        });
        Ok(Self {
            path,
            n_bytes,
            min_seq,
            max_seq,
            date,
            name: view.path().into_owned(),
        })
    }

    /// The file as its store lists it, as far as the log knows.
    pub(super) fn meta(&self) -> ObjectMeta {
        ObjectMeta {
            location: self.path.clone(),
            last_modified: Default::default(),
            size: self.n_bytes,
            e_tag: None,
            version: None,
        }
    }

    /// The entry of the log that takes it out of the table.
    pub(super) fn remove(&self, now: Timestamp, data_change: bool) -> Remove {
        Remove {
            path: self.name.clone(),
            data_change,
            deletion_timestamp: Some(now.as_millisecond()),
            extended_file_metadata: Some(true),
            partition_values: Some(
                [(DATE.to_owned(), self.date.map(|date| date.to_string()))].into(),
            ),
            size: i64::try_from(self.n_bytes).ok(),
            ..Remove::default()
        }
    }

    /// How much of it a window selects, by its date.
    pub(super) fn selected_by(&self, window: TimeWindow) -> Selected {
        if window == TimeWindow::ALL {
            return Selected::All;
        }
        let Some((first, last)) = self.date.and_then(bounds) else {
            return Selected::Some;
        };
        let before = window.start.is_some_and(|start| last < start);
        let after = window.end.is_some_and(|end| end <= first);
        if before || after {
            Selected::None
        } else if window.contains(first) && window.contains(last) {
            Selected::All
        } else {
            Selected::Some
        }
    }
}

// The first and the last microsecond of a date in UTC.
fn bounds(date: Date) -> Option<(Timestamp, Timestamp)> {
    let midnight = |date: Date| TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok();
    let first = midnight(date)?;
    let next = midnight(date.tomorrow().ok()?)?;
    Some((first, next.checked_sub(Span::new().microseconds(1)).ok()?))
}

// The statistics of a file that matter here; the names are Delta's, but for the column's.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    #[serde(default)]
    min_values: Bound,
    #[serde(default)]
    max_values: Bound,
}

#[derive(Debug, Default, Deserialize)]
struct Bound {
    #[serde(rename = "ingest_seq")]
    seq: Option<i64>,
}

#[cfg(test)]
impl DataFile {
    /// A file of one row.
    pub(super) fn for_test(date: &str, name: &str, n_bytes: u64, seq: i64) -> Self {
        Self {
            path: Path::from(name),
            n_bytes,
            min_seq: seq,
            max_seq: seq,
            date: Some(date.parse().unwrap()),
            name: name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::SEQ;
    use super::*;

    fn check(start: Option<&str>, end: Option<&str>, expected: Selected) {
        let file = DataFile::for_test("2024-05-02", "part.parquet", 0, 0);
        let window = TimeWindow {
            start: start.map(|time| time.parse().unwrap()),
            end: end.map(|time| time.parse().unwrap()),
        };
        assert_eq!(file.selected_by(window), expected, "{window:?}");
    }

    #[test]
    fn a_window_selects_none_some_or_all_of_a_day() {
        check(None, None, Selected::All);
        check(
            Some("2024-05-02T00:00Z"),
            Some("2024-05-03T00:00Z"),
            Selected::All,
        );
        check(Some("2024-05-02T00:00:01Z"), None, Selected::Some);
        check(Some("2024-05-02T23:59:59.999999Z"), None, Selected::Some);
        check(Some("2024-05-03T00:00Z"), None, Selected::None);
        check(None, Some("2024-05-02T00:00Z"), Selected::None);
        check(None, Some("2024-05-02T00:00:00.000001Z"), Selected::Some);
        check(None, Some("2024-05-02T23:59:59.999999Z"), Selected::Some);
        check(None, Some("2024-05-03T00:00Z"), Selected::All);
    }

    #[test]
    fn the_statistics_are_found_by_the_column_name() {
        let stats = format!(r#"{{"numRecords":3,"minValues":{{"{SEQ}":7,"id":"a"}}}}"#);
        let stats: Stats = serde_json::from_str(&stats).unwrap();
        assert_eq!(
            (stats.min_values.seq, stats.max_values.seq),
            (Some(7), None)
        );
    }
}
