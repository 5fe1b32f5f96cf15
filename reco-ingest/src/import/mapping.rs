//! [`Mapping`]: which column of a source says what of an event.

use std::collections::BTreeMap;

use jiff::Timestamp;
use reco_core::EventKind;
use serde::{Deserialize, Serialize};

use super::time::TimeFormat;

/// Which column of a source says what of an event.
///
/// An empty text is no value. A field that the mapping leaves out is absent from every event.
///
/// # Examples
///
/// ```
/// use reco_ingest::import::Mapping;
///
/// let mapping: Mapping = reco_core::config_from_json(
///     "mapping",
///     r#"{
///         "time": {"column": {"name": "ts", "format": "milliseconds"}},
///         "kind": {"column": {
///             "name": "action",
///             "values": {"view": "detail", "buy": "purchase"},
///             "otherwise": "reject"
///         }},
///         "client": {"column": "visitor"},
///         "item": {"column": "sku"},
///         "currency": {"constant": "EUR"}
///     }"#,
/// )?;
/// assert_eq!(mapping.columns(), ["ts", "action", "visitor", "sku"]);
/// # Ok::<(), reco_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// When it happened.
    pub time: TimeMapping,
    /// What was done.
    pub kind: KindMapping,
    /// Names the event. Left out, the name follows from the file and the row, so that importing the
    /// file again gives the same events the same names: see [`Import::source`](super::Import::source).
    #[serde(default)]
    pub id: Option<Value>,
    /// The shop or property. A row whose column has no value is a dead letter.
    #[serde(default)]
    pub tenant: Option<Value>,
    /// The browser or device. A row whose column has no value is a dead letter: taken for one client,
    /// all that are unknown would be chained into the same sessions.
    #[serde(default)]
    pub client: Option<Value>,
    /// The session, if the source has its own.
    #[serde(default)]
    pub session: Option<Value>,
    /// The item it is about.
    #[serde(default)]
    pub item: Option<Value>,
    /// What was searched for.
    #[serde(default)]
    pub query: Option<Value>,
    /// Price of one unit.
    #[serde(default)]
    pub price: Option<Value>,
    /// Number of units.
    #[serde(default)]
    pub quantity: Option<Value>,
    /// ISO 4217 code.
    #[serde(default)]
    pub currency: Option<Value>,
    /// A column that lists the items that were clicked in what the row shows, as in `['a', 'b']`: each
    /// is a further event, a click.
    #[serde(default)]
    pub clicks: Option<String>,
    /// Rows whose time is before this one are rejected: a line that is cut short may still end in a
    /// number.
    #[serde(default)]
    pub earliest: Option<Timestamp>,
}

/// Where a text comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// The value of the column of this name.
    Column(String),
    /// The same for every row.
    Constant(String),
}

impl Value {
    /// The value of a column.
    #[must_use]
    pub fn column(name: impl Into<String>) -> Self {
        Self::Column(name.into())
    }
}

/// Where the time comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TimeMapping {
    /// A column holds it.
    Column {
        /// The column.
        name: String,
        /// How it writes times.
        format: TimeFormat,
    },
    /// Three columns hold the date, and a fourth perhaps a number of seconds after midnight: the clock,
    /// or where there is none, the order within the session.
    Date {
        /// The column of the year.
        year: String,
        /// The column of the month, from 1.
        month: String,
        /// The column of the day of the month, from 1.
        day: String,
        /// The column of the seconds after midnight.
        seconds: Option<String>,
    },
    /// The source knows an order only: a column holds a number of seconds after a time made up.
    Order {
        /// The time made up.
        base: Timestamp,
        /// The column of the seconds after it.
        seconds: String,
    },
}

/// Where the kind comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum KindMapping {
    /// The same for every row.
    Constant(EventKind),
    /// A column holds the source's word for it.
    Column {
        /// The column.
        name: String,
        /// The kind for each word of the source; an empty one stands for no value.
        values: BTreeMap<String, EventKind>,
        /// What becomes of other words.
        otherwise: Otherwise,
    },
}

/// What becomes of a row whose kind is not one of those listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// It is a dead letter.
    Reject,
    /// It is an event of this kind.
    Kind(EventKind),
}

impl Mapping {
    /// A mapping of a time and a kind, to which the rest is added.
    #[must_use]
    pub const fn new(time: TimeMapping, kind: KindMapping) -> Self {
        Self {
            time,
            kind,
            id: None,
            tenant: None,
            client: None,
            session: None,
            item: None,
            query: None,
            price: None,
            quantity: None,
            currency: None,
            clicks: None,
            earliest: None,
        }
    }

    // Whether a column names something: its values must be as the source wrote them.
    pub(super) fn is_name(&self, column: &str) -> bool {
        let names = [
            &self.id,
            &self.tenant,
            &self.client,
            &self.session,
            &self.item,
        ];
        let named = |value: &Value| matches!(value, Value::Column(name) if name == column);
        names.into_iter().flatten().any(named) || self.clicks.as_deref() == Some(column)
    }

    /// The columns that it names, each once.
    #[must_use]
    pub fn columns(&self) -> Vec<&str> {
        let mut columns: Vec<&str> = Vec::new();
        match &self.time {
            TimeMapping::Column { name, .. } => columns.push(name),
            TimeMapping::Date {
                year,
                month,
                day,
                seconds,
            } => {
                columns.extend([year, month, day].map(String::as_str));
                columns.extend(seconds.as_deref());
            }
            TimeMapping::Order { seconds, .. } => columns.push(seconds),
        }
        if let KindMapping::Column { name, .. } = &self.kind {
            columns.push(name);
        }
        let values = [
            &self.id,
            &self.tenant,
            &self.client,
            &self.session,
            &self.item,
            &self.query,
            &self.price,
            &self.quantity,
            &self.currency,
        ];
        columns.extend(
            values
                .into_iter()
                .flatten()
                .filter_map(|value| match value {
                    Value::Column(name) => Some(name.as_str()),
                    Value::Constant(_) => None,
                }),
        );
        columns.extend(self.clicks.as_deref());
        let mut seen = std::collections::HashSet::new();
        columns.retain(|column| seen.insert(*column));
        columns
    }
}
