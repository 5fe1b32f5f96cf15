//! Imports of well-known public data sets.

use std::collections::BTreeMap;

use reco_core::{EventKind, Timestamp};

use super::mapping::{KindMapping, Mapping, Otherwise, TimeMapping, Value};
use super::time::TimeFormat;
use super::{Format, Import};

// The last line of published extracts is often cut short, and `15` is a time as well. Nothing in this
// set is older than 2017-11-01, in seconds since 1970.
const TAOBAO_EARLIEST: i64 = 1_509_494_400;

impl Import {
    /// The clickstream of an online shop for maternity clothing in 2008, UCI data set 553: `;` separated,
    /// with a header.
    ///
    /// The source has days and the order of clicks within a session, so an event's time is midnight
    /// plus its order in seconds.
    #[must_use]
    pub fn eshop() -> Self {
        let time = TimeMapping::Date {
            year: "year".to_owned(),
            month: "month".to_owned(),
            day: "day".to_owned(),
            seconds: Some("order".to_owned()),
        };
        let session = || Some(Value::column("session ID"));
        Self::new(
            unquoted(';', None),
            Mapping {
                client: session(),
                session: session(),
                item: Some(Value::column("page 2 (clothing model)")),
                price: Some(Value::column("price")),
                ..Mapping::new(time, KindMapping::Constant(EventKind::Detail))
            },
        )
    }

    /// The behaviour data of multi-category, cosmetics and electronics shops that REES46 published: `,`
    /// separated, with a header.
    #[must_use]
    pub fn rees46() -> Self {
        let time = column("event_time", strptime("%Y-%m-%d %H:%M:%S UTC"));
        let kind = kinds(
            "event_type",
            [
                ("view", EventKind::Detail),
                ("cart", EventKind::Add),
                ("remove_from_cart", EventKind::Remove),
                ("purchase", EventKind::Purchase),
            ],
        );
        Self::new(
            Format::csv(','),
            Mapping {
                client: Some(Value::column("user_id")),
                session: Some(Value::column("user_session")),
                item: Some(Value::column("product_id")),
                price: Some(Value::column("price")),
                ..Mapping::new(time, kind)
            },
        )
    }

    /// Alibaba's `UserBehavior` data of Taobao: `,` separated, without a header and without sessions.
    ///
    /// A favourite is a [`Custom`](EventKind::Custom) event.
    #[must_use]
    pub fn taobao() -> Self {
        let kind = kinds(
            "behavior",
            [
                ("pv", EventKind::Detail),
                ("cart", EventKind::Add),
                ("fav", EventKind::Custom),
                ("buy", EventKind::Purchase),
            ],
        );
        let columns = ["user", "item", "category", "behavior", "time"];
        Self::new(
            unquoted(',', Some(columns.map(ToOwned::to_owned).to_vec())),
            Mapping {
                client: Some(Value::column("user")),
                item: Some(Value::column("item")),
                earliest: Timestamp::from_second(TAOBAO_EARLIEST).ok(),
                ..Mapping::new(column("time", TimeFormat::Seconds), kind)
            },
        )
    }

    /// The OTTO recommender systems data: JSON Lines, a session a line, whose events are nested.
    ///
    /// The first event of a session has the line as its payload, the others have none.
    #[must_use]
    pub fn otto() -> Self {
        let kind = kinds(
            "type",
            [
                ("clicks", EventKind::Click),
                ("carts", EventKind::Add),
                ("orders", EventKind::Purchase),
            ],
        );
        let session = || Some(Value::column("session"));
        let format = Format::JsonLines {
            nested: Some("events".to_owned()),
        };
        let mapping = Mapping {
            client: session(),
            session: session(),
            item: Some(Value::column("aid")),
            ..Mapping::new(column("ts", TimeFormat::Milliseconds), kind)
        };
        Self {
            // Sessions of many hundred events are one line.
            max_row_bytes: 16 << 20,
            ..Self::new(format, mapping)
        }
    }

    /// Tab separated `SessionId`, `ItemId`, `Time` in seconds with a header and without quotes, as GRU4Rec
    /// and session-rec read.
    #[must_use]
    pub fn tsv() -> Self {
        let session = || Some(Value::column("SessionId"));
        Self::new(
            unquoted('\t', None),
            Mapping {
                client: session(),
                session: session(),
                item: Some(Value::column("ItemId")),
                ..Mapping::new(
                    column("Time", TimeFormat::Seconds),
                    KindMapping::Constant(EventKind::Detail),
                )
            },
        )
    }

    /// The file `browsing_train` of the Coveo data challenge (SIGIR eCom 2021).
    ///
    /// A row without a product action is a page view.
    #[must_use]
    pub fn coveo_browsing() -> Self {
        let kind = kinds(
            "product_action",
            [
                ("", EventKind::Pageview),
                ("detail", EventKind::Detail),
                ("add", EventKind::Add),
                ("remove", EventKind::Remove),
                ("purchase", EventKind::Purchase),
            ],
        );
        let session = || Some(Value::column("session_id_hash"));
        Self::new(
            Format::csv(','),
            Mapping {
                client: session(),
                session: session(),
                item: Some(Value::column("product_sku_hash")),
                ..Mapping::new(
                    column("server_timestamp_epoch_ms", TimeFormat::Milliseconds),
                    kind,
                )
            },
        )
    }

    /// The file `search_train` of the Coveo data challenge (SIGIR eCom 2021).
    ///
    /// A row is a search, whose query is the vector as written, followed by a click for each clicked
    /// item.
    #[must_use]
    pub fn coveo_search() -> Self {
        let session = || Some(Value::column("session_id_hash"));
        Self::new(
            Format::csv(','),
            Mapping {
                client: session(),
                session: session(),
                query: Some(Value::column("query_vector")),
                clicks: Some("clicked_skus_hash".to_owned()),
                ..Mapping::new(
                    column("server_timestamp_epoch_ms", TimeFormat::Milliseconds),
                    KindMapping::Constant(EventKind::Search),
                )
            },
        )
    }
}

fn unquoted(delimiter: char, columns: Option<Vec<String>>) -> Format {
    Format::Csv {
        delimiter,
        quote: None,
        columns,
    }
}

fn column(name: &str, format: TimeFormat) -> TimeMapping {
    TimeMapping::Column {
        name: name.to_owned(),
        format,
    }
}

fn strptime(pattern: &str) -> TimeFormat {
    TimeFormat::Strptime(pattern.to_owned())
}

fn kinds<const N: usize>(name: &str, values: [(&str, EventKind); N]) -> KindMapping {
    KindMapping::Column {
        name: name.to_owned(),
        values: values
            .into_iter()
            .map(|(word, kind)| (word.to_owned(), kind))
            .collect::<BTreeMap<_, _>>(),
        otherwise: Otherwise::Reject,
    }
}
