//! [`SessionFeatures`]: what a session was like, in a row.

use async_trait::async_trait;
use datafusion::error::Result;
use datafusion::prelude::DataFrame;
use reco_core::EventKind;
use serde::{Deserialize, Serialize};

use super::query::{AMOUNT, Input, TIME, in_zone};
use crate::step::{Step, StepContext};

/// Makes one row a session: how long it was, what was done in it, whether something was bought.
///
/// Reads `session_id`, `client_id`, `occurred_at`, `kind`, `item_id`, `price`, `quantity` and `currency`,
/// as [`Sessionize`](super::Sessionize) leaves them, and `tenant_id` if there is one: then a session is one
/// of its tenant, and the same id with another is another session. Makes
///
/// | column | type | null | meaning |
/// | --- | --- | --- | --- |
/// | `tenant_id` | as read | as read | if the input has it |
/// | `session_id` | as read | no | the session |
/// | `client_id` | as read | yes | its client; of several, the first in the order of their ids |
/// | `started_at`, `ended_at` | Timestamp(µs, UTC) | yes | the first and the last event |
/// | `duration_s` | Float64 | yes | seconds between the two |
/// | `n_events` | Int64 | no | events |
/// | `n_items` | Int64 | no | different items |
/// | `n_pageview` … `n_custom` | Int64 | no | events of each [`EventKind`] |
/// | `mean_dwell_s` | Float64 | yes | mean seconds from an event to the next; NULL if there is none |
/// | `start_hour` | Int32 | yes | hour of the start, 0 to 23, in `time_zone` |
/// | `start_weekday` | Int32 | yes | day of the start, 1 for Monday to 7, as in ISO 8601, in `time_zone` |
/// | `has_purchase` | Boolean | no | whether something was bought |
/// | `currency` | as read | yes | of what was bought; NULL if unknown, or if there are several |
/// | `revenue` | Float64 | yes | price times quantity of what was bought |
///
/// Rows without a session are in none and left out; an event without a time counts and dwells nowhere.
/// The last event of a session dwells nowhere either: nobody saw the shopper leave. A quantity that is
/// NULL is one. Revenue is 0 where nothing was bought, and NULL where no price is known or several
/// currencies meet, which do not add up; amounts are added in millionths, exactly, so that the order of
/// rows does not matter.
///
/// Two aggregations, which spill: one for each item of a session, one for each session.
///
/// # Examples
///
/// ```
/// use reco_transform::{SessionFeatures, Step};
///
/// let step = SessionFeatures { time_zone: "Europe/Rome".into(), ..Default::default() };
/// assert_eq!((step.inputs(), step.name()), (vec!["sessions".to_owned()], "session_features"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionFeatures {
    /// The zone of `start_hour` and `start_weekday`: a name of the tz database or an offset. Default `UTC`.
    pub time_zone: String,
    /// The table to read. Default `sessions`.
    pub input: String,
    /// The table to make. Default `session_features`.
    pub output: String,
}

impl Default for SessionFeatures {
    fn default() -> Self {
        Self {
            time_zone: "UTC".to_owned(),
            input: "sessions".to_owned(),
            output: "session_features".to_owned(),
        }
    }
}

#[async_trait]
impl Step for SessionFeatures {
    fn name(&self) -> &str {
        &self.output
    }

    fn inputs(&self) -> Vec<String> {
        vec![self.input.clone()]
    }

    async fn plan(&self, ctx: &StepContext<'_>) -> Result<DataFrame> {
        let input = Input::open(ctx, &self.output, &self.input)?;
        input.check_zone(&self.time_zone)?;
        let (table, tenant) = (&input.table, input.tenant);
        let each_kind = |of: &dyn Fn(EventKind) -> String| EventKind::ALL.map(of).join(", ");
        let counts =
            each_kind(&|kind| format!("count(*) filter (where kind = '{kind}') as n_{kind}"));
        let sums = each_kind(&|kind| format!("sum(n_{kind}) as n_{kind}"));
        let names = each_kind(&|kind| format!("n_{kind}"));
        let (started_at, ended_at) = (in_zone("first_at", "UTC"), in_zone("last_at", "UTC"));
        let local = in_zone("first_at", &self.time_zone);
        let query = format!(
            "with items as (
               select {tenant} session_id, item_id, min(client_id) as client_id,
                 min({TIME}) as first_at, max({TIME}) as last_at, count(*) as n_events, {counts},
                 min(case when kind = 'purchase' then currency end) as first_currency,
                 max(case when kind = 'purchase' then currency end) as last_currency,
                 sum({AMOUNT}) as amount
               from {table}
               where session_id is not null
               group by {tenant} session_id, item_id
             ),
             sessions as (
               select {tenant} session_id, min(client_id) as client_id,
                 min(first_at) as first_at, max(last_at) as last_at, sum(n_events) as n_events,
                 count(item_id) as n_items, {sums},
                 min(first_currency) as first_currency, max(last_currency) as last_currency,
                 sum(amount) as amount
               from items
               group by {tenant} session_id
             )
             select {tenant} session_id, client_id, {started_at} as started_at, {ended_at} as ended_at,
               (last_at - first_at) / 1e6 as duration_s, n_events, n_items, {names},
               case when n_events > 1 then (last_at - first_at) / 1e6 / (n_events - 1) end as mean_dwell_s,
               date_part('hour', {local}) as start_hour,
               date_part('isodow', {local}) as start_weekday,
               n_purchase > 0 as has_purchase,
               case when first_currency = last_currency then first_currency end as currency,
               case when n_purchase = 0 then 0.0
                    when first_currency <> last_currency then null
                    else cast(amount as double) end as revenue
             from sessions"
        );
        ctx.sql(&query).await
    }
}

#[cfg(test)]
mod tests {
    use datafusion::assert_batches_sorted_eq;

    use super::super::testing::{Act, acts, run};
    use super::*;

    #[test]
    fn a_session_is_told_in_a_row() {
        let input = acts(&[
            Act::new("ann", "2024-05-05T22:30:00Z", EventKind::Search),
            Act::new("ann", "2024-05-05T22:30:10Z", EventKind::Detail).of("hat"),
            Act::new("ann", "2024-05-05T22:30:30Z", EventKind::Detail).of("hat"),
            Act::new("ann", "2024-05-05T22:31:00Z", EventKind::Purchase)
                .of("hat")
                .at(9.99, Some(3)),
            Act::new("ann", "2024-05-05T22:31:00Z", EventKind::Purchase)
                .of("scarf")
                .at(0.1, None),
            Act::new("bob", "2024-05-05T10:00:00Z", EventKind::Pageview),
        ]);
        let step = SessionFeatures {
            time_zone: "Europe/Rome".to_owned(),
            ..SessionFeatures::default()
        };
        let made = run(&step, input).unwrap();
        let columns = |names: &[&str]| -> Vec<_> {
            let project = |batch: &datafusion::arrow::array::RecordBatch| {
                let schema = batch.schema();
                let places: Vec<_> = names.iter().map(|n| schema.index_of(n).unwrap()).collect();
                batch.project(&places).unwrap()
            };
            made.iter().map(project).collect()
        };
        assert_batches_sorted_eq!(
            [
                "+-----------+------------+----------+---------+----------+----------+------------+",
                "| client_id | duration_s | n_events | n_items | n_search | n_detail | n_purchase |",
                "+-----------+------------+----------+---------+----------+----------+------------+",
                "| ann       | 60.0       | 5        | 2       | 1        | 2        | 2          |",
                "| bob       | 0.0        | 1        | 0       | 0        | 0        | 0          |",
                "+-----------+------------+----------+---------+----------+----------+------------+",
            ],
            &columns(&[
                "client_id",
                "duration_s",
                "n_events",
                "n_items",
                "n_search",
                "n_detail",
                "n_purchase"
            ])
        );
        // It is past midnight in Rome, so Monday, when Ann starts.
        assert_batches_sorted_eq!(
            [
                "+----------------------+--------------+------------+---------------+--------------+----------+---------+",
                "| started_at           | mean_dwell_s | start_hour | start_weekday | has_purchase | currency | revenue |",
                "+----------------------+--------------+------------+---------------+--------------+----------+---------+",
                "| 2024-05-05T10:00:00Z |              | 12         | 7             | false        |          | 0.0     |",
                "| 2024-05-05T22:30:00Z | 15.0         | 0          | 1             | true         | EUR      | 30.07   |",
                "+----------------------+--------------+------------+---------------+--------------+----------+---------+",
            ],
            &columns(&[
                "started_at",
                "mean_dwell_s",
                "start_hour",
                "start_weekday",
                "has_purchase",
                "currency",
                "revenue"
            ])
        );
    }

    #[test]
    fn what_does_not_add_up_is_null() {
        let at = "2024-05-05T10:00:00Z";
        let bought = |session: &'static str| Act::new(session, at, EventKind::Purchase).of("hat");
        let input = acts(&[
            bought("two_currencies").at(1.0, None),
            bought("two_currencies").at(1.0, None).paid_in("USD"),
            bought("no_price"),
            bought("not_a_number").at(f64::NAN, None),
        ]);
        let made = run(&SessionFeatures::default(), input).unwrap();
        for batch in made {
            assert_eq!(
                batch.column_by_name("revenue").unwrap().null_count(),
                batch.num_rows()
            );
        }
    }

    #[test]
    fn a_zone_that_is_none_is_refused() {
        let step = SessionFeatures {
            time_zone: "Europe/Rom".to_owned(),
            ..SessionFeatures::default()
        };
        let error = run(&step, acts(&[])).unwrap_err().to_string();
        assert!(error.contains("`time_zone` is `Europe/Rom`"), "{error}");
    }
}
