//! The steps that every shop needs.
//!
//! ```text
//! events ─▶ Deduplicate ─▶ deduplicated ┐
//!        or a query     ─▶ clean ───────┴▶ Sessionize ─▶ sessions ─▶ MinSupport ─▶ interactions
//! ```
//!
//! Each reads the columns of an [`Event`](reco_core::Event) by their names and keeps all others. The
//! tables that it reads and makes have the names above and can be set: a DAG may hold a step twice.

mod deduplicate;
mod min_support;
mod sessionize;

pub use deduplicate::Deduplicate;
pub use min_support::MinSupport;
pub use sessionize::Sessionize;

#[cfg(test)]
mod testing {
    //! Runs a step on rows in memory.

    use std::collections::BTreeMap;
    use std::sync::Arc;

    use datafusion::arrow::array::RecordBatch;
    use datafusion::catalog::TableProvider;
    use datafusion::datasource::MemTable;
    use datafusion::prelude::{SessionConfig, SessionContext};
    use reco_core::{Event, EventKind, Record, Timestamp};

    use crate::step::{Step, StepContext};

    pub(super) fn run(
        step: &impl Step,
        input: RecordBatch,
    ) -> datafusion::error::Result<Vec<RecordBatch>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let config = SessionConfig::new().with_target_partitions(2);
            let session = SessionContext::new_with_config(config);
            let table = MemTable::try_new(input.schema(), vec![vec![input]]).unwrap();
            let table: Arc<dyn TableProvider> = Arc::new(table);
            let inputs = BTreeMap::from([(step.inputs()[0].clone(), table)]);
            let ctx = StepContext::new(step.name(), &inputs, session, false);
            step.plan(&ctx).await?.collect().await
        })
    }

    /// An event at a time in microseconds since 1970, received when it happened.
    pub(super) fn event(id: &str, tenant: &str, client: &str, micros: i64) -> Event {
        let time = Timestamp::from_microsecond(micros).unwrap();
        Event {
            id: id.to_owned(),
            received_at: time,
            occurred_at: time,
            tenant: tenant.to_owned(),
            client: client.to_owned(),
            session: None,
            kind: EventKind::Detail,
            item: Some("hat".into()),
            query: None,
            price: None,
            quantity: None,
            currency: None,
            payload: Vec::new().into(),
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
}
