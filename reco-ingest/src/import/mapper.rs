//! [`Mapper`]: a mapping applied to rows.

use bytes::Bytes;
use jiff::Timestamp;
use jiff::civil::Date;
use reco_core::{Event, EventKind, Record as _};

use super::mapping::{KindMapping, Mapping, Otherwise, TimeMapping, Value};
use super::records::Records;
use super::rows::{Fields, max_decoded_bytes, too_large};
use super::time::{after, seconds_into};

/// A mapping applied to rows.
#[derive(Debug)]
pub(super) struct Mapper {
    mapping: Mapping,
    columns: Vec<String>,
    places: Places,
    max_bytes: usize,
}

/// Where the fields of an event are in a row, so that no column is looked up by its name.
#[derive(Debug)]
struct Places {
    id: Option<Text>,
    tenant: Option<Text>,
    client: Option<Text>,
    session: Option<Text>,
    item: Option<Text>,
    query: Option<Text>,
    price: Option<Text>,
    quantity: Option<Text>,
    currency: Option<Text>,
    clicks: Option<usize>,
    kind: Option<usize>,
    /// Those of the parts of the time, in the order of its mapping.
    time: Vec<usize>,
}

/// A [`Value`] whose column is known by its place.
#[derive(Debug)]
enum Text {
    Column(usize),
    Constant(String),
}

impl Places {
    fn new(mapping: &Mapping, columns: &[String]) -> Self {
        // The columns are those that the mapping names.
        let at = |name: &String| columns.iter().position(|column| column == name);
        let text = |value: &Option<Value>| match value.as_ref()? {
            Value::Column(name) => at(name).map(Text::Column),
            Value::Constant(text) => Some(Text::Constant(text.clone())),
        };
        let time = match &mapping.time {
            TimeMapping::Column { name, .. } => vec![name],
            TimeMapping::Date {
                year,
                month,
                day,
                seconds,
            } => [year, month, day].into_iter().chain(seconds).collect(),
            TimeMapping::Order { seconds, .. } => vec![seconds],
        };
        Self {
            id: text(&mapping.id),
            tenant: text(&mapping.tenant),
            client: text(&mapping.client),
            session: text(&mapping.session),
            item: text(&mapping.item),
            query: text(&mapping.query),
            price: text(&mapping.price),
            quantity: text(&mapping.quantity),
            currency: text(&mapping.currency),
            clicks: mapping.clicks.as_ref().and_then(at),
            kind: match &mapping.kind {
                KindMapping::Column { name, .. } => at(name),
                KindMapping::Constant(_) => None,
            },
            time: time.into_iter().filter_map(at).collect(),
        }
    }
}

impl Mapper {
    pub(super) fn new(mapping: Mapping, max_row_bytes: usize) -> Self {
        let columns = mapping.columns().into_iter().map(ToOwned::to_owned);
        let columns: Vec<String> = columns.collect();
        Self {
            places: Places::new(&mapping, &columns),
            columns,
            mapping,
            max_bytes: max_decoded_bytes(max_row_bytes),
        }
    }

    /// Whether a column names something.
    pub(super) fn is_name(&self, column: &str) -> bool {
        self.mapping.is_name(column)
    }

    /// Whether some events get ids that are made.
    pub(super) const fn makes_ids(&self) -> bool {
        self.places.id.is_none() || self.places.clicks.is_some()
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
        out: &mut Records<Event>,
    ) -> Result<(), String> {
        let row = Fielded {
            columns: &self.columns,
            fields,
        };
        let (mapping, places) = (&self.mapping, &self.places);
        let occurred_at = row.time(&mapping.time, &places.time)?;
        if mapping
            .earliest
            .is_some_and(|earliest| occurred_at < earliest)
        {
            return Err(format!(
                "its time {occurred_at} is before the earliest allowed"
            ));
        }
        let option =
            |text: &mut Option<String>, value: &Option<Text>| match row.text(value.as_ref()) {
                Some(value) => set(text.get_or_insert_default(), value),
                None => *text = None,
            };
        let first = out.len();
        let event = out.next(blank);
        match &places.id {
            Some(value) => {
                let value = row.text(Some(value)).ok_or("it has no id")?;
                set(&mut event.id, value);
            }
            None => event.id = id(),
        }
        event.received_at = received_at.unwrap_or(occurred_at);
        event.occurred_at = occurred_at;
        set(&mut event.tenant, row.name(places.tenant.as_ref())?);
        set(&mut event.client, row.name(places.client.as_ref())?);
        option(&mut event.session, &places.session);
        event.kind = row.kind(&mapping.kind, places.kind)?;
        event.item = row.text(places.item.as_ref()).map(Into::into);
        option(&mut event.query, &places.query);
        event.price = row.number("price", places.price.as_ref(), |price: f64| {
            price.is_finite()
        })?;
        event.quantity = row.number("quantity", places.quantity.as_ref(), |_: i64| true)?;
        option(&mut event.currency, &places.currency);
        event.payload = Bytes::new();
        let clicked = places.clicks.and_then(|clicks| row.get(clicks));
        let event_bytes = event.n_bytes();
        let mut n_bytes = event_bytes;
        out.add();
        for item in list(clicked.unwrap_or_default()) {
            n_bytes = n_bytes.saturating_add(event_bytes);
            if n_bytes > self.max_bytes {
                return Err(too_large(self.max_bytes));
            }
            let click = Event {
                id: id(),
                kind: EventKind::Click,
                item: Some(item.into()),
                ..out.as_slice()[first].clone()
            };
            out.push(click);
        }
        Ok(())
    }
}

// An event to write over.
fn blank() -> Event {
    Event::new("", EventKind::Custom, "", Timestamp::UNIX_EPOCH)
}

// In the memory that the text has.
fn set(text: &mut String, value: &str) {
    text.clear();
    text.push_str(value);
}

// A row with the names of its columns.
struct Fielded<'a> {
    columns: &'a [String],
    fields: &'a Fields<'a>,
}

impl<'a> Fielded<'a> {
    fn get(&self, at: usize) -> Option<&'a str> {
        self.fields.get(at)
    }

    fn column(&self, at: usize) -> &'a str {
        &self.columns[at]
    }

    fn text<'b>(&self, value: Option<&'b Text>) -> Option<&'b str>
    where
        'a: 'b,
    {
        match value? {
            Text::Column(at) => self.get(*at),
            Text::Constant(text) => Some(text),
        }
    }

    // Empty only where the mapping says nothing.
    fn name<'b>(&self, value: Option<&'b Text>) -> Result<&'b str, String>
    where
        'a: 'b,
    {
        match value {
            Some(Text::Column(at)) => self.required(*at),
            Some(Text::Constant(text)) => Ok(text),
            None => Ok(""),
        }
    }

    fn required(&self, at: usize) -> Result<&'a str, String> {
        self.get(at)
            .ok_or_else(|| format!("column `{}` has no value", self.column(at)))
    }

    fn time(&self, mapping: &TimeMapping, at: &[usize]) -> Result<Timestamp, String> {
        match mapping {
            TimeMapping::Column { name, format } => {
                let text = self.required(at[0])?;
                format
                    .parse(text)
                    .map_err(|reason| format!("column `{name}`, time `{text}`: {reason}"))
            }
            TimeMapping::Date {
                year, month, day, ..
            } => {
                let date = Date::new(self.part(at[0])?, self.part(at[1])?, self.part(at[2])?)
                    .map_err(|error| format!("columns `{year}`, `{month}`, `{day}`: {error}"))?;
                let seconds = match at.get(3) {
                    Some(seconds) => self.required(*seconds)?,
                    None => "0",
                };
                seconds_into(date, seconds)
                    .map_err(|reason| format!("seconds `{seconds}`: {reason}"))
            }
            TimeMapping::Order { base, seconds } => {
                let text = self.required(at[0])?;
                after(*base, text)
                    .map_err(|reason| format!("column `{seconds}`, seconds `{text}`: {reason}"))
            }
        }
    }

    fn part<T: std::str::FromStr>(&self, at: usize) -> Result<T, String> {
        let text = self.required(at)?;
        text.parse().map_err(|_| {
            format!(
                "column `{}`: `{text}` is no part of a date",
                self.column(at)
            )
        })
    }

    fn kind(&self, mapping: &KindMapping, at: Option<usize>) -> Result<EventKind, String> {
        match mapping {
            KindMapping::Constant(kind) => Ok(*kind),
            KindMapping::Column {
                name,
                values,
                otherwise,
            } => {
                let word = at.and_then(|at| self.get(at)).unwrap_or_default();
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
        value: Option<&Text>,
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
