//! [`Mapper`]: a mapping applied to rows.

use bytes::Bytes;
use jiff::Timestamp;
use jiff::civil::Date;
use reco_core::{Event, EventKind, Record as _};

use super::mapping::{KindMapping, Mapping, Otherwise, TimeMapping, Value};
use super::rows::{Fields, max_decoded_bytes, too_large};
use super::time::{after, seconds_into};

/// A mapping applied to rows.
#[derive(Debug)]
pub(super) struct Mapper {
    mapping: Mapping,
    columns: Vec<String>,
    max_bytes: usize,
}

impl Mapper {
    pub(super) fn new(mapping: Mapping, max_row_bytes: usize) -> Self {
        let columns = mapping.columns().into_iter().map(ToOwned::to_owned);
        Self {
            columns: columns.collect(),
            mapping,
            max_bytes: max_decoded_bytes(max_row_bytes),
        }
    }

    /// Whether a column names something.
    pub(super) fn is_name(&self, column: &str) -> bool {
        self.mapping.is_name(column)
    }

    /// The columns whose values [`events`](Self::events) takes, in their order.
    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The event of a row and the clicks in it; `id` names the n-th event of the row.
    pub(super) fn events(
        &self,
        fields: &Fields<'_>,
        received_at: Option<Timestamp>,
        id: &mut dyn FnMut() -> String,
        out: &mut Vec<Event>,
    ) -> Result<(), String> {
        let row = Fielded {
            columns: &self.columns,
            fields,
        };
        let mapping = &self.mapping;
        let text = |value: &Option<Value>| row.text(value.as_ref()).map(ToOwned::to_owned);
        let occurred_at = row.time(&mapping.time)?;
        if mapping
            .earliest
            .is_some_and(|earliest| occurred_at < earliest)
        {
            return Err(format!(
                "its time {occurred_at} is before the earliest allowed"
            ));
        }
        let event = Event {
            id: match &mapping.id {
                Some(value) => row.text(Some(value)).ok_or("it has no id")?.to_owned(),
                None => id(),
            },
            received_at: received_at.unwrap_or(occurred_at),
            occurred_at,
            tenant: row.name(mapping.tenant.as_ref())?,
            client: row.name(mapping.client.as_ref())?,
            session: text(&mapping.session),
            kind: row.kind(&mapping.kind)?,
            item: row.text(mapping.item.as_ref()).map(Into::into),
            query: text(&mapping.query),
            price: row.number("price", mapping.price.as_ref(), |price: f64| {
                price.is_finite()
            })?,
            quantity: row.number("quantity", mapping.quantity.as_ref(), |_: i64| true)?,
            currency: text(&mapping.currency),
            payload: Bytes::new(),
        };
        let clicked = mapping.clicks.as_deref().and_then(|clicks| row.get(clicks));
        let first = out.len();
        let event_bytes = event.n_bytes();
        let mut n_bytes = event_bytes;
        out.push(event);
        for item in list(clicked.unwrap_or_default()) {
            n_bytes = n_bytes.saturating_add(event_bytes);
            if n_bytes > self.max_bytes {
                return Err(too_large(self.max_bytes));
            }
            let click = Event {
                id: id(),
                kind: EventKind::Click,
                item: Some(item.into()),
                ..out[first].clone()
            };
            out.push(click);
        }
        Ok(())
    }
}

// A row with the names of its columns.
struct Fielded<'a> {
    columns: &'a [String],
    fields: &'a Fields<'a>,
}

impl<'a> Fielded<'a> {
    fn get(&self, column: &str) -> Option<&'a str> {
        let at = self.columns.iter().position(|name| name == column)?;
        self.fields.get(at)?.as_deref()
    }

    fn text<'b>(&self, value: Option<&'b Value>) -> Option<&'b str>
    where
        'a: 'b,
    {
        match value? {
            Value::Column(name) => self.get(name),
            Value::Constant(text) => Some(text),
        }
    }

    // Empty only where the mapping says nothing.
    fn name(&self, value: Option<&Value>) -> Result<String, String> {
        match value {
            Some(Value::Column(column)) => self.required(column).map(ToOwned::to_owned),
            Some(Value::Constant(text)) => Ok(text.clone()),
            None => Ok(String::new()),
        }
    }

    fn required(&self, column: &str) -> Result<&'a str, String> {
        self.get(column)
            .ok_or_else(|| format!("column `{column}` has no value"))
    }

    fn time(&self, mapping: &TimeMapping) -> Result<Timestamp, String> {
        match mapping {
            TimeMapping::Column { name, format } => {
                let text = self.required(name)?;
                format
                    .parse(text)
                    .map_err(|reason| format!("column `{name}`, time `{text}`: {reason}"))
            }
            TimeMapping::Date {
                year,
                month,
                day,
                seconds,
            } => {
                let date = Date::new(self.part(year)?, self.part(month)?, self.part(day)?)
                    .map_err(|error| format!("columns `{year}`, `{month}`, `{day}`: {error}"))?;
                let seconds = match seconds {
                    Some(seconds) => self.required(seconds)?,
                    None => "0",
                };
                seconds_into(date, seconds)
                    .map_err(|reason| format!("seconds `{seconds}`: {reason}"))
            }
            TimeMapping::Order { base, seconds } => {
                let text = self.required(seconds)?;
                after(*base, text)
                    .map_err(|reason| format!("column `{seconds}`, seconds `{text}`: {reason}"))
            }
        }
    }

    fn part<T: std::str::FromStr>(&self, column: &str) -> Result<T, String> {
        let text = self.required(column)?;
        text.parse()
            .map_err(|_| format!("column `{column}`: `{text}` is no part of a date"))
    }

    fn kind(&self, mapping: &KindMapping) -> Result<EventKind, String> {
        match mapping {
            KindMapping::Constant(kind) => Ok(*kind),
            KindMapping::Column {
                name,
                values,
                otherwise,
            } => {
                let word = self.get(name).unwrap_or_default();
                match (values.get(word), otherwise) {
                    (Some(kind), _) | (None, Otherwise::Kind(kind)) => Ok(*kind),
                    (None, Otherwise::Reject) => Err(format!(
                        "column `{name}`: `{word}` is not one of the kinds of the mapping"
                    )),
                }
            }
        }
    }

    fn number<T: std::str::FromStr + Copy>(
        &self,
        what: &str,
        value: Option<&Value>,
        valid: impl Fn(T) -> bool,
    ) -> Result<Option<T>, String> {
        let Some(text) = self.text(value) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) if valid(number) => Ok(Some(number)),
            _ => Err(format!("{what} `{text}` is no number")),
        }
    }
}

/// The elements of a list that is written as text: `['a', 'b']`, `["a","b"]`, `[1.5, 2]`, `a,b`.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.trim()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .split(',')
        .map(|element| element.trim().trim_matches(['\'', '"']))
        .filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(list(text).collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn lists_are_read_in_any_writing() {
        check("", &[]);
        check("[]", &[]);
        check("['a', 'b']", &["a", "b"]);
        check(r#"["a","b"]"#, &["a", "b"]);
        check("[1.5, -2]", &["1.5", "-2"]);
        check("a,b", &["a", "b"]);
    }
}
