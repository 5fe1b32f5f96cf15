//! [`Rows`]: rows of a table in a test.

use datafusion::arrow::array::RecordBatch;
use reco_core::Record;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Rows of a table in a test.
///
/// As data, they are a list of maps, `{"csv": "id,price\na,9.5\n"}` or `{"sql": "select 'a' as id"}`.
///
/// # Examples
///
/// ```
/// use reco_transform::Rows;
/// use serde_json::json;
///
/// let as_maps = Rows::from(json!([{"id": "a", "price": 9.5}, {"id": "b"}]));
/// let as_text = Rows::csv("id,price\na,9.5\nb,\n");
/// let as_query = Rows::sql("select * from (values ('a', 9.5), ('b', null)) as t (id, price)");
/// let from_data: Rows = serde_json::from_str(r#"{"csv": "id,price\na,9.5\nb,\n"}"#)?;
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Rows(pub(super) Kind);

/// How they are written.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Json(Value),
    Csv(String),
    Sql(String),
    Batch(RecordBatch),
}

impl Rows {
    /// No rows.
    #[must_use]
    pub fn none() -> Self {
        Self::from(Value::Array(Vec::new()))
    }

    /// Rows as CSV: a line with the names of the columns, then one a row. An empty cell is NULL, or as if
    /// it were not there; lists and maps are written as JSON.
    #[must_use]
    pub fn csv(text: impl Into<String>) -> Self {
        Self(Kind::Csv(text.into()))
    }

    /// The rows of one SELECT that reads no table.
    #[must_use]
    pub fn sql(query: impl Into<String>) -> Self {
        Self(Kind::Sql(query.into()))
    }

    /// Records as rows, with all their columns.
    ///
    /// # Errors
    ///
    /// As [`Record::to_batch`].
    pub fn records<R: Record>(records: &[R]) -> reco_core::Result<Self> {
        R::to_batch(records).map(Self::from)
    }
}

/// Maps of column to value, in a list: whether they are is told by the test.
impl From<Value> for Rows {
    fn from(rows: Value) -> Self {
        Self(Kind::Json(rows))
    }
}

impl From<RecordBatch> for Rows {
    fn from(batch: RecordBatch) -> Self {
        Self(Kind::Batch(batch))
    }
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            rows @ Value::Array(_) => Ok(Self::from(rows)),
            Value::Object(fields) => {
                let mut fields = fields.into_iter();
                let (Some((key, Value::String(text))), None) = (fields.next(), fields.next())
                else {
                    return Err(D::Error::custom(
                        "rows are a list of maps, or one text under `csv` or `sql`",
                    ));
                };
                match key.as_str() {
                    "csv" => Ok(Self::csv(text)),
                    "sql" => Ok(Self::sql(text)),
                    other => Err(D::Error::unknown_field(other, &["csv", "sql"])),
                }
            }
            _ => Err(D::Error::custom(
                "rows are a list of maps, or one text under `csv` or `sql`",
            )),
        }
    }
}
