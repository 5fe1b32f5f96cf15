//! [`Kpi`]: the figures of the shop, by hour or day.

use async_trait::async_trait;
use datafusion::error::Result;
use datafusion::prelude::DataFrame;
use serde::{Deserialize, Serialize};

use super::query::{AMOUNT, Granularity, Input, TIME, quoted};
use crate::step::{Step, StepContext};

/// Makes one row an hour or a day: visitors, visits, orders, revenue.
///
/// Reads `session_id`, `client_id`, `occurred_at`, `kind`, `price`, `quantity` and `currency`, and
/// `tenant_id` if there is one: then there is a row a tenant. Makes
///
/// | column | type | null | meaning |
/// | --- | --- | --- | --- |
/// | `tenant_id` | as read | as read | if the input has it |
/// | `window_start` | Timestamp(µs, UTC) | no | the start of the hour or day in `time_zone` |
/// | `n_sessions` | Int64 | no | different sessions with an event in the window |
/// | `n_users` | Int64 | no | different clients with an event in the window |
/// | `n_events` | Int64 | no | events |
/// | `n_orders` | Int64 | no | different orders |
/// | `n_units` | Int64 | no | units bought |
/// | `conversion_rate` | Float64 | yes | the share of the sessions that bought something in the window |
/// | `currency` | as read | yes | of what was bought; NULL if unknown, or if there are several |
/// | `revenue` | Float64 | yes | price times quantity of what was bought |
/// | `aov` | Float64 | yes | average order value: revenue by order; NULL without orders |
///
/// Shops send a purchase for each item, so an order is all that a client bought at the same moment, unless
/// `order_id` names a column that tells orders apart. An event counts in the window in which it happened,
/// and so a session over midnight counts on both days: sessions and users of the hours of a day do not add
/// up to those of the day, events, units and revenue do. Windows without events have no row, and rows
/// without a time are in none. For NULL and several currencies see
/// [`SessionFeatures`](super::SessionFeatures): the rules are the same.
///
/// One pass and two aggregations, which spill: for each different session, client and order of a window,
/// then for each window.
///
/// # Examples
///
/// ```
/// use reco_transform::{Granularity, Kpi, Step};
///
/// let hourly = Kpi {
///     granularity: Granularity::Hour,
///     output: "kpi_hourly".into(),
///     ..Default::default()
/// };
/// assert_eq!((hourly.inputs(), hourly.name()), (vec!["sessions".to_owned()], "kpi_hourly"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kpi {
    /// How long a window is. Default a day.
    pub granularity: Granularity,
    /// The zone in which hours and days begin: a name of the tz database or an offset. Default `UTC`.
    pub time_zone: String,
    /// The column that tells orders apart. Default none.
    pub order_id: Option<String>,
    /// The table to read. Default `sessions`.
    pub input: String,
    /// The table to make. Default `kpi`.
    pub output: String,
}

impl Default for Kpi {
    fn default() -> Self {
        Self {
            granularity: Granularity::Day,
            time_zone: "UTC".to_owned(),
            order_id: None,
            input: "sessions".to_owned(),
            output: "kpi".to_owned(),
        }
    }
}

#[async_trait]
impl Step for Kpi {
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
        let window = self.granularity.start_of("occurred_at", &self.time_zone);
        let order = match &self.order_id {
            Some(column) => format!("cast({} as varchar)", quoted(column)),
            None => format!("client_id || '@' || cast({TIME} as varchar)"),
        };
        // Each row is counted for its session, its client and its order: what is different in each is
        // what a group is made for, so that no set of them is held in memory.
        let query = format!(
            "with events as (
               select {tenant} {window} as window_start, session_id, client_id, kind = 'purchase' as bought,
                 case when kind = 'purchase' then {order} end as order_id,
                 case when kind = 'purchase' then currency end as currency,
                 case when kind = 'purchase' then coalesce(quantity, 1) else 0 end as n_units,
                 {AMOUNT} as amount
               from {table}
               where occurred_at is not null
             ),
             keyed as (
               select {tenant} window_start, what, bought, currency, n_units, amount,
                 case what when 0 then session_id when 1 then client_id else order_id end as key
               from (values (0), (1), (2)) as kinds (what) cross join events
             ),
             groups as (
               select {tenant} window_start, what, key, count(*) as n_events, bool_or(bought) as bought,
                 min(currency) as first_currency, max(currency) as last_currency,
                 sum(n_units) as n_units, sum(amount) as amount
               from keyed
               group by {tenant} window_start, what, key
             ),
             windows as (
               select {tenant} window_start,
                 count(key) filter (where what = 0) as n_sessions,
                 count(key) filter (where what = 1) as n_users,
                 count(key) filter (where what = 2) as n_orders,
                 count(key) filter (where what = 0 and bought) as n_converted,
                 sum(n_events) filter (where what = 0) as n_events,
                 sum(n_units) filter (where what = 0) as n_units,
                 min(first_currency) as first_currency, max(last_currency) as last_currency,
                 bool_or(bought) as bought,
                 cast(sum(amount) filter (where what = 0) as double) as amount
               from groups
               group by {tenant} window_start
             ),
             valued as (
               select *, case when not bought then 0.0
                              when first_currency <> last_currency then null
                              else amount end as revenue
               from windows
             )
             select {tenant} window_start, n_sessions, n_users, n_events, n_orders, n_units,
               cast(n_converted as double) / nullif(n_sessions, 0) as conversion_rate,
               case when first_currency = last_currency then first_currency end as currency,
               revenue, revenue / nullif(n_orders, 0) as aov
             from valued"
        );
        ctx.sql(&query).await
    }
}

#[cfg(test)]
mod tests {
    use datafusion::assert_batches_sorted_eq;
    use reco_core::EventKind;

    use super::super::testing::{Act, acts, run};
    use super::*;

    fn night() -> [Act<'static>; 7] {
        let bought = |client, time| Act::new(client, time, EventKind::Purchase);
        [
            Act::new("ann", "2024-05-01T22:50:00Z", EventKind::Detail).of("hat"),
            // Two items and one order, after midnight.
            bought("ann", "2024-05-02T00:10:00Z")
                .of("hat")
                .at(10.0, Some(2)),
            bought("ann", "2024-05-02T00:10:00Z")
                .of("scarf")
                .at(5.5, None),
            bought("ann", "2024-05-02T00:20:00Z")
                .of("scarf")
                .at(5.5, None),
            Act::new("bob", "2024-05-02T00:30:00Z", EventKind::Pageview),
            Act::new("bob", "2024-05-02T09:30:00Z", EventKind::Pageview).in_session("bob2"),
            bought("cy", "2024-05-02T23:30:00Z")
                .of("hat")
                .at(1.0, None)
                .paid_in("USD"),
        ]
    }

    #[test]
    fn a_day_is_told_in_a_row() {
        let night = acts(&night()[..6]);
        assert_batches_sorted_eq!(
            [
                "+-----------+----------------------+------------+---------+----------+----------+---------+--------------------+----------+---------+------+",
                "| tenant_id | window_start         | n_sessions | n_users | n_events | n_orders | n_units | conversion_rate    | currency | revenue | aov  |",
                "+-----------+----------------------+------------+---------+----------+----------+---------+--------------------+----------+---------+------+",
                "|           | 2024-05-01T00:00:00Z | 1          | 1       | 1        | 0        | 0       | 0.0                |          | 0.0     |      |",
                "|           | 2024-05-02T00:00:00Z | 3          | 2       | 5        | 2        | 4       | 0.3333333333333333 | EUR      | 31.0    | 15.5 |",
                "+-----------+----------------------+------------+---------+----------+----------+---------+--------------------+----------+---------+------+",
            ],
            &run(&Kpi::default(), night).unwrap()
        );
    }

    #[test]
    fn days_are_those_of_the_zone_and_currencies_do_not_mix() {
        let step = Kpi {
            time_zone: "Europe/Rome".to_owned(),
            ..Kpi::default()
        };
        assert_batches_sorted_eq!(
            [
                "+-----------+----------------------+------------+---------+----------+----------+---------+--------------------+----------+---------+------+",
                "| tenant_id | window_start         | n_sessions | n_users | n_events | n_orders | n_units | conversion_rate    | currency | revenue | aov  |",
                "+-----------+----------------------+------------+---------+----------+----------+---------+--------------------+----------+---------+------+",
                "|           | 2024-05-01T22:00:00Z | 3          | 2       | 6        | 2        | 4       | 0.3333333333333333 | EUR      | 31.0    | 15.5 |",
                "|           | 2024-05-02T22:00:00Z | 1          | 1       | 1        | 1        | 1       | 1.0                | USD      | 1.0     | 1.0  |",
                "+-----------+----------------------+------------+---------+----------+----------+---------+--------------------+----------+---------+------+",
            ],
            &run(&step, acts(&night())).unwrap()
        );
        let utc = run(&Kpi::default(), acts(&night())).unwrap();
        let n_unknown: usize = utc
            .iter()
            .map(|b| b.column_by_name("revenue").unwrap().null_count())
            .sum();
        assert_eq!(n_unknown, 1);
    }

    #[test]
    fn a_column_tells_orders_apart() {
        let step = Kpi {
            order_id: Some("session_id".to_owned()),
            granularity: Granularity::Hour,
            ..Kpi::default()
        };
        let made = run(&step, acts(&night()[1..4])).unwrap();
        let orders = made.iter().map(|batch| {
            let orders = batch.column_by_name("n_orders").unwrap();
            datafusion::arrow::compute::sum(
                datafusion::arrow::array::cast::AsArray::as_primitive::<
                    datafusion::arrow::datatypes::Int64Type,
                >(orders),
            )
        });
        assert_eq!(orders.flatten().sum::<i64>(), 1);
    }
}
