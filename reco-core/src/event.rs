//! [`Event`]: one thing that a shopper did, as the shop sent it.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, Float64Builder, Int64Builder, RecordBatch,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{
    DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType,
};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, nearest};
use crate::record::{Record, project, text_at, timestamp_at, timestamp_type};
use crate::vocabulary::ItemId;

/// One thing that a shopper did, as the shop sent it.
///
/// Nothing is corrected on the way in: what the source did not say is `None`, and the bytes that it
/// sent are kept in `payload`. Times are read and written in whole microseconds.
///
/// | column | type | null | meaning |
/// | --- | --- | --- | --- |
/// | `id` | Utf8 | no | names the event; a second one with the same id is a duplicate |
/// | `received_at` | Timestamp(µs, UTC) | no | when the collector took it; the raw table's partition |
/// | `occurred_at` | Timestamp(µs, UTC) | no | when it happened, by the source's clock |
/// | `tenant_id` | Utf8 | no | the shop or property, empty for a single one |
/// | `client_id` | Utf8 | no | the browser or device, a pseudonym |
/// | `session_id` | Utf8 | yes | the session, if the source has its own |
/// | `kind` | Utf8 | no | one of [`EventKind`] |
/// | `item_id` | Utf8 | yes | the item it is about |
/// | `query` | Utf8 | yes | what was searched for |
/// | `price` | Float64 | yes | price of one unit, in `currency` |
/// | `quantity` | Int64 | yes | number of units |
/// | `currency` | Utf8 | yes | ISO 4217 code, as sent |
/// | `payload` | Binary | no | the bytes as the source sent them; empty if there were none |
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Names the event; a second one with the same id is a duplicate.
    pub id: String,
    /// When the collector took it.
    pub received_at: Timestamp,
    /// When it happened, by the source's clock, which may be wrong.
    pub occurred_at: Timestamp,
    /// The shop or property; empty for a single one.
    pub tenant: String,
    /// The browser or device, a pseudonym.
    pub client: String,
    /// The session, if the source has its own.
    pub session: Option<String>,
    /// What was done.
    pub kind: EventKind,
    /// The item it is about.
    pub item: Option<ItemId>,
    /// What was searched for.
    pub query: Option<String>,
    /// Price of one unit, in `currency`.
    pub price: Option<f64>,
    /// Number of units.
    pub quantity: Option<i64>,
    /// ISO 4217 code, as sent.
    pub currency: Option<String>,
    /// The bytes as the source sent them.
    pub payload: Bytes,
}

impl Event {
    /// An event of which only this is known, and which was received when it happened.
    ///
    /// # Examples
    ///
    /// ```
    /// use reco_core::{Event, EventKind};
    ///
    /// let view = Event {
    ///     item: Some("hat".into()),
    ///     ..Event::new("e1", EventKind::Detail, "ann", "2024-05-01T12:00Z".parse()?)
    /// };
    /// assert_eq!((view.occurred_at, view.price), (view.received_at, None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(
        id: impl Into<String>,
        kind: EventKind,
        client: impl Into<String>,
        time: Timestamp,
    ) -> Self {
        Self {
            id: id.into(),
            received_at: time,
            occurred_at: time,
            tenant: String::new(),
            client: client.into(),
            session: None,
            kind,
            item: None,
            query: None,
            price: None,
            quantity: None,
            currency: None,
            payload: Bytes::new(),
        }
    }
}

/// What a shopper did.
///
/// Written in tables and on the wire in lower case, as [`as_str`](Self::as_str) says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A page was opened that is no item's.
    Pageview,
    /// An item's page was opened.
    Detail,
    /// An item was clicked in a list.
    Click,
    /// An item was put into the cart.
    Add,
    /// An item was taken out of the cart.
    Remove,
    /// An item was bought.
    Purchase,
    /// A search was made.
    Search,
    /// Anything else; the payload says what.
    Custom,
}

impl EventKind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 8] = [
        Self::Pageview,
        Self::Detail,
        Self::Click,
        Self::Add,
        Self::Remove,
        Self::Purchase,
        Self::Search,
        Self::Custom,
    ];

    /// The kind as it stands in tables and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pageview => "pageview",
            Self::Detail => "detail",
            Self::Click => "click",
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Purchase => "purchase",
            Self::Search => "search",
            Self::Custom => "custom",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no [`EventKind`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown event kind `{text}`{}", crate::error::did_you_mean(nearest(text, EventKind::ALL.map(EventKind::as_str)).as_deref()))]
pub struct UnknownEventKind {
    text: String,
}

impl FromStr for EventKind {
    type Err = UnknownEventKind;

    fn from_str(text: &str) -> Result<Self, UnknownEventKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownEventKind {
                text: text.to_owned(),
            })
    }
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("received_at", timestamp_type(), false),
        Field::new("occurred_at", timestamp_type(), false),
        Field::new("tenant_id", DataType::Utf8, false),
        Field::new("client_id", DataType::Utf8, false),
        Field::new("session_id", DataType::Utf8, true),
        Field::new("kind", DataType::Utf8, false),
        Field::new("item_id", DataType::Utf8, true),
        Field::new("query", DataType::Utf8, true),
        Field::new("price", DataType::Float64, true),
        Field::new("quantity", DataType::Int64, true),
        Field::new("currency", DataType::Utf8, true),
        Field::new("payload", DataType::Binary, false),
    ]))
});

impl Record for Event {
    const NAME: &'static str = "event";
    const TIMESTAMP: &'static str = "received_at";

    fn schema() -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn to_batch(records: &[Self]) -> Result<RecordBatch> {
        // Each column is as long as it will be from the start: none is copied while it grows.
        let text = |of: &dyn Fn(&Self) -> Option<&str>| -> ArrayRef {
            let n_bytes = records.iter().filter_map(of).map(str::len).sum();
            let mut builder = StringBuilder::with_capacity(records.len(), n_bytes);
            records
                .iter()
                .for_each(|event| builder.append_option(of(event)));
            Arc::new(builder.finish())
        };
        let time = |of: &dyn Fn(&Self) -> Timestamp| -> ArrayRef {
            let mut builder =
                TimestampMicrosecondBuilder::with_capacity(records.len()).with_timezone("UTC");
            records
                .iter()
                .for_each(|event| builder.append_value(of(event).as_microsecond()));
            Arc::new(builder.finish())
        };
        let mut price = Float64Builder::with_capacity(records.len());
        let mut quantity = Int64Builder::with_capacity(records.len());
        let n_bytes = records.iter().map(|event| event.payload.len()).sum();
        let mut payload = BinaryBuilder::with_capacity(records.len(), n_bytes);
        for event in records {
            price.append_option(event.price);
            quantity.append_option(event.quantity);
            payload.append_value(&event.payload);
        }
        RecordBatch::try_new(
            Self::schema(),
            vec![
                text(&|e| Some(&e.id)),
                time(&|e| e.received_at),
                time(&|e| e.occurred_at),
                text(&|e| Some(&e.tenant)),
                text(&|e| Some(&e.client)),
                text(&|e| e.session.as_deref()),
                text(&|e| Some(e.kind.as_str())),
                text(&|e| e.item.as_ref().map(ItemId::as_str)),
                text(&|e| e.query.as_deref()),
                Arc::new(price.finish()),
                Arc::new(quantity.finish()),
                text(&|e| e.currency.as_deref()),
                Arc::new(payload.finish()),
            ],
        )
        .map_err(|source| Error::Arrow {
            table: Self::NAME.to_owned(),
            source,
        })
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>> {
        let batch = project::<Self>(batch)?;
        let [
            id,
            received_at,
            occurred_at,
            tenant,
            client,
            session,
            kind,
            item,
            query,
            price,
            quantity,
            currency,
            payload,
        ] = batch.columns()
        else {
            unreachable!("`project` returns the columns of the schema")
        };
        let received_at = received_at.as_primitive::<TimestampMicrosecondType>();
        let occurred_at = occurred_at.as_primitive::<TimestampMicrosecondType>();
        let price = price.as_primitive::<Float64Type>();
        let quantity = quantity.as_primitive::<Int64Type>();
        let payload = payload.as_binary::<i32>();
        let owned = |column: &ArrayRef, row| text_at(column, row).map(ToOwned::to_owned);
        (0..batch.num_rows())
            .map(|row| {
                let kind = kind.as_string::<i32>().value(row);
                Ok(Self {
                    id: owned(id, row).unwrap_or_default(),
                    received_at: timestamp_at(Self::NAME, "received_at", received_at, row)?,
                    occurred_at: timestamp_at(Self::NAME, "occurred_at", occurred_at, row)?,
                    tenant: owned(tenant, row).unwrap_or_default(),
                    client: owned(client, row).unwrap_or_default(),
                    session: owned(session, row),
                    kind: kind
                        .parse()
                        .map_err(|error: UnknownEventKind| Error::InvalidValue {
                            table: Self::NAME.to_owned(),
                            column: "kind".to_owned(),
                            row,
                            reason: error.to_string(),
                        })?,
                    item: text_at(item, row).map(ItemId::from),
                    query: owned(query, row),
                    price: price.is_valid(row).then(|| price.value(row)),
                    quantity: quantity.is_valid(row).then(|| quantity.value(row)),
                    currency: owned(currency, row),
                    payload: Bytes::copy_from_slice(payload.value(row)),
                })
            })
            .collect()
    }

    fn timestamp(&self) -> Timestamp {
        self.received_at
    }

    fn n_bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        size_of::<Self>()
            + self.id.len()
            + self.tenant.len()
            + self.client.len()
            + text(&self.session)
            + text(&self.query)
            + text(&self.currency)
            + self.item.as_ref().map_or(0, |item| item.as_str().len())
            + self.payload.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn events()(
            texts in prop::array::uniform3(".{0,12}"),
            options in prop::array::uniform4(prop::option::of(".{0,12}")),
            times in prop::array::uniform2(-2_000_000_000_000_000_i64..4_000_000_000_000_000),
            kind in 0..EventKind::ALL.len(),
            price in prop::option::of(-1e12..1e12),
            quantity in any::<Option<i64>>(),
            payload in prop::collection::vec(any::<u8>(), 0..40),
        ) -> Event {
            let [id, tenant, client] = texts;
            let [session, item, query, currency] = options;
            let [received_at, occurred_at] = times.map(|t| Timestamp::from_microsecond(t).unwrap());
            Event {
                id, received_at, occurred_at, tenant, client, session,
                kind: EventKind::ALL[kind], item: item.map(ItemId::from), query, price, quantity,
                currency, payload: payload.into(),
            }
        }
    }

    proptest! {
        #[test]
        fn a_batch_gives_back_what_went_in(events in prop::collection::vec(events(), 0..20)) {
            let batch = Event::to_batch(&events).unwrap();
            prop_assert_eq!(Event::from_batch(&batch).unwrap(), events);
        }
    }

    #[test]
    fn a_missing_column_is_named_with_the_nearest() {
        let batch = Event::to_batch(&[]).unwrap();
        let schema = batch.schema();
        let fields = schema.fields().iter().map(|field| {
            let name = if field.name() == "item_id" {
                "itemid"
            } else {
                field.name()
            };
            field.as_ref().clone().with_name(name)
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let renamed = RecordBatch::try_new(schema, batch.columns().to_vec()).unwrap();
        let error = Event::from_batch(&renamed).unwrap_err();
        assert_eq!(
            error.to_string(),
            "table `event` has no column `item_id`; did you mean `itemid`?"
        );
    }

    #[test]
    fn a_misspelt_kind_is_named_with_the_nearest() {
        let error = "purchas".parse::<EventKind>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown event kind `purchas`; did you mean `purchase`?"
        );
    }
}
