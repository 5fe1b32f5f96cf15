//! The DAG from raw events to interactions, and the data set cut in time.

use std::time::Duration;

use anyhow::Context;
use reco_core::{Event, RawTable, SessionDataset, Split};
use reco_transform::{
    Dag, Deduplicate, Materialization, MinSupport, Sessionize, accepted_values, between, not_null,
    row_count, unique,
};

/// Views of items in a visit above which it is a machine's.
const MOST_VIEWS: u32 = 200;

/// Raw events to interactions, and a table of key figures by day.
pub(crate) fn dag(raw: impl RawTable<Event>) -> anyhow::Result<Dag> {
    let dag = Dag::builder()
        .source("events", raw)
        .step(Deduplicate::default())
        .sql(
            "clean",
            "select * from deduplicated where kind = 'detail' and item_id is not null",
        )
        .step(Sessionize { gap: Duration::from_secs(30 * 60), ..Sessionize::default() })
        .sql(
            "visits",
            format!(
                "select * from sessions where session_id in \
                 (select session_id from sessions group by session_id having count(*) <= {MOST_VIEWS})"
            ),
        )
        .step(MinSupport { input: "visits".into(), item: 5, session: 2, ..MinSupport::default() })
        .sql(
            "daily",
            "select date_trunc('day', occurred_at) as day, count(*) as events, \
             count(distinct client_id) as clients, \
             sum(case when kind = 'detail' then 1 else 0 end) as views, \
             sum(case when kind = 'add' then 1 else 0 end) as adds, \
             sum(case when kind = 'purchase' then 1 else 0 end) as purchases \
             from deduplicated group by 1 order by 1",
        )
        .expect("deduplicated", unique(["id"]))
        .expect("deduplicated", not_null("client_id"))
        .expect("deduplicated", between("price", 0.0..).warn())
        .expect("interactions", row_count(1..))
        .expect("interactions", not_null("session_id"))
        .expect("interactions", not_null("item_id"))
        .expect("interactions", accepted_values("kind", ["detail"]))
        .expect("daily", unique(["day"]))
        .expect("daily", between("views", 1..).warn())
        .materialize("interactions", Materialization::Delta)
        .materialize("daily", Materialization::Delta)
        .build()?;
    Ok(dag)
}

/// Holds out the last days: as many as asked, else a tenth of them; of a single day its last tenth.
pub(crate) fn split(dataset: &SessionDataset, days: Option<u32>) -> anyhow::Result<Split> {
    const DAY: i64 = 24 * 60 * 60 * 1_000_000;
    let start = |session: usize| dataset.times(session)[0];
    let (first, last) = (
        start(0).div_euclid(DAY),
        start(dataset.n_sessions() - 1).div_euclid(DAY),
    );
    if first == last && days.is_none() {
        let cut = start(dataset.n_sessions() * 9 / 10);
        return Ok(dataset.split_at(reco_core::Timestamp::from_microsecond(cut)?)?);
    }
    let tenth = u32::try_from((last - first + 1 + 5) / 10).context("a span of days")?;
    Ok(dataset.split_last_days(days.unwrap_or_else(|| tenth.max(1)))?)
}
