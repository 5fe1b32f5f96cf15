//! The steps that every shop needs.
//!
//! ```text
//! events ─▶ Deduplicate ─▶ deduplicated ┐
//!        or a query     ─▶ clean ───────┴▶ Sessionize ─▶ sessions ─▶ MinSupport ─▶ interactions
//! ```
//!
//! Each reads the columns of an [`Event`](reco_core::Event) by their names and keeps all others. The
//! tables that it reads and makes have the names above and can be set: a DAG may hold a step twice.
//!
//! Of `sessions` and `interactions`, others make
//!
//! | step | table | what for |
//! | --- | --- | --- |
//! | [`BotFilter`] | `without_bots` | only what people did |
//! | [`TemporalSplit`] | `split` | sessions for training, validation and test |
//! | [`CoOccurrence`] | `co_occurrence` | items that are met together |
//! | [`PopularityByWindow`] | `popularity` | items by hour, day or the last week |
//! | [`SessionFeatures`] | `session_features` | what each session was like |
//! | [`Funnel`] | `funnel` | how many sessions get how far |
//! | [`Kpi`] | `kpi` | visitors, orders and revenue by hour or day |
//!
//! All of them are plans that never hold a table in memory: aggregations, sorts and windows that look back
//! spill to disk.

mod bot_filter;
mod co_occurrence;
mod deduplicate;
mod funnel;
mod kpi;
mod min_support;
mod popularity_by_window;
mod query;
mod session_features;
mod sessionize;
mod temporal_split;

pub use bot_filter::{BotFilter, BotFilterBy};
pub use co_occurrence::{CoOccurrence, CoOccurrenceMeasure};
pub use deduplicate::Deduplicate;
pub use funnel::Funnel;
pub use kpi::Kpi;
pub use min_support::MinSupport;
pub use popularity_by_window::PopularityByWindow;
pub use query::Granularity;
pub use session_features::SessionFeatures;
pub use sessionize::Sessionize;
pub use temporal_split::{SplitCut, TemporalSplit};

#[cfg(test)]
mod out_of_core;
#[cfg(test)]
mod testing {
    //! Runs a step on rows in memory.

    use std::collections::BTreeMap;
    use std::sync::Arc;

    use datafusion::arrow::array::RecordBatch;
    use datafusion::catalog::TableProvider;
    use datafusion::datasource::MemTable;
    use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
    use reco_core::{Event, EventKind, Record, Timestamp};

    use crate::step::{Step, StepContext};

    pub(super) fn run(
        step: &impl Step,
        input: RecordBatch,
    ) -> datafusion::error::Result<Vec<RecordBatch>> {
        let config = SessionConfig::new().with_target_partitions(2);
        let session = SessionContext::new_with_config(config);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async { plan(step, vec![input], session).await?.collect().await })
    }

    /// What a step plans on rows in memory, at least one batch of them.
    pub(super) async fn plan(
        step: &dyn Step,
        input: Vec<RecordBatch>,
        session: SessionContext,
    ) -> datafusion::error::Result<DataFrame> {
        let table = MemTable::try_new(input[0].schema(), vec![input]).unwrap();
        let table: Arc<dyn TableProvider> = Arc::new(table);
        let input = step.inputs().remove(0);
        session.register_table(input.as_str(), Arc::clone(&table))?;
        let inputs = BTreeMap::from([(input, table)]);
        let ctx = StepContext::new(step.name(), &inputs, session, false);
        step.plan(&ctx).await
    }

    /// An event at a time in microseconds since 1970, received when it happened.
    pub(super) fn event(id: &str, tenant: &str, client: &str, micros: i64) -> Event {
        let time = Timestamp::from_microsecond(micros).unwrap();
        Event {
            tenant: tenant.to_owned(),
            item: Some("hat".into()),
            ..Event::new(id, EventKind::Detail, client, time)
        }
    }

    /// The events that a step makes of events, in the order of their ids.
    pub(super) fn events(step: &impl Step, input: &[Event]) -> Vec<Event> {
        let batches = run(step, Event::to_batch(input).unwrap()).unwrap();
        let mut events: Vec<Event> = batches
            .iter()
            .flat_map(|batch| Event::from_batch(batch).unwrap())
            .collect();
        events.sort_by(|a, b| a.id.cmp(&b.id));
        events
    }

    /// What a client did, in a session of the same name, in few words.
    #[derive(Debug, Clone)]
    pub(super) struct Act<'a> {
        tenant: &'a str,
        client: &'a str,
        session: Option<&'a str>,
        micros: i64,
        kind: EventKind,
        item: Option<&'a str>,
        price: Option<f64>,
        quantity: Option<i64>,
        currency: &'a str,
    }

    impl<'a> Act<'a> {
        pub(super) fn new(client: &'a str, time: &str, kind: EventKind) -> Self {
            Self {
                tenant: "",
                client,
                session: Some(client),
                micros: time.parse::<Timestamp>().unwrap().as_microsecond(),
                kind,
                item: None,
                price: None,
                quantity: None,
                currency: "EUR",
            }
        }

        pub(super) fn of(self, item: &'a str) -> Self {
            let item = Some(item);
            Self { item, ..self }
        }

        pub(super) fn at(self, price: f64, quantity: Option<i64>) -> Self {
            let price = Some(price);
            Self {
                price,
                quantity,
                ..self
            }
        }

        pub(super) fn paid_in(self, currency: &'a str) -> Self {
            Self { currency, ..self }
        }

        pub(super) fn later(self, seconds: i64) -> Self {
            let micros = self.micros + seconds * 1_000_000;
            Self { micros, ..self }
        }

        pub(super) fn in_session(self, session: &'a str) -> Self {
            let session = Some(session);
            Self { session, ..self }
        }

        pub(super) fn in_no_session(self) -> Self {
            Self {
                session: None,
                ..self
            }
        }

        pub(super) fn in_shop(self, tenant: &'a str) -> Self {
            Self { tenant, ..self }
        }
    }

    /// Events in the order of what was done.
    pub(super) fn acts(acts: &[Act<'_>]) -> RecordBatch {
        let event = |(id, act): (usize, &Act<'_>)| Event {
            session: act.session.map(ToOwned::to_owned),
            kind: act.kind,
            item: act.item.map(Into::into),
            price: act.price,
            quantity: act.quantity,
            currency: Some(act.currency.to_owned()),
            ..event(&id.to_string(), act.tenant, act.client, act.micros)
        };
        let events: Vec<Event> = acts.iter().enumerate().map(event).collect();
        Event::to_batch(&events).unwrap()
    }
}
