//! [`Funnel`]: how many sessions get how far.

use async_trait::async_trait;
use datafusion::error::Result;
use datafusion::prelude::DataFrame;
use reco_core::EventKind;
use serde::{Deserialize, Serialize};

use super::query::{Granularity, Input, TIME, in_zone};
use crate::step::{Step, StepContext};

/// Counts by hour or day how many sessions get how far on the way to a purchase.
///
/// A session reaches a stage if it has an event of that kind at or after the time at which it reached the
/// stage before: a closed funnel, as web analytics calls it, in which other events may lie between. At or
/// after, since shops send what happens on one page at the same moment. So a purchase without an addition
/// to the cart is no purchase of the funnel `detail`, `add`, `purchase`; leave the stage out to count it.
///
/// Reads `session_id`, `occurred_at` and `kind`, and `tenant_id` if there is one: then there is a row a
/// tenant. Makes
///
/// | column | type | null | meaning |
/// | --- | --- | --- | --- |
/// | `tenant_id` | as read | as read | if the input has it |
/// | `window_start` | Timestamp(µs, UTC) | no | the start of the hour or day in `time_zone` |
/// | `n_sessions` | Int64 | no | sessions that started in the window |
/// | `n_detail` … | Int64 | no | how many of them reached each stage |
/// | `detail_rate` … | Float64 | yes | their share of those that reached the stage before; NULL of none |
/// | `conversion_rate` | Float64 | no | the share of all that reached the last stage |
///
/// A session counts in the window in which it started, with all that came of it. Rows without a session or
/// a time are left out.
///
/// One sort by session and time, windows that look back only, and two aggregations: all of it spills.
///
/// # Examples
///
/// ```
/// use reco_core::EventKind;
/// use reco_transform::{Funnel, Step};
///
/// let search = Funnel {
///     stages: vec![EventKind::Search, EventKind::Click, EventKind::Purchase],
///     output: "search_funnel".into(),
///     ..Default::default()
/// };
/// assert_eq!((search.inputs(), search.name()), (vec!["sessions".to_owned()], "search_funnel"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Funnel {
    /// What leads to what, each kind once. Default `detail`, `add`, `purchase`.
    pub stages: Vec<EventKind>,
    /// How long a window is. Default a day.
    pub granularity: Granularity,
    /// The zone in which hours and days begin: a name of the tz database or an offset. Default `UTC`.
    pub time_zone: String,
    /// The table to read. Default `sessions`.
    pub input: String,
    /// The table to make. Default `funnel`.
    pub output: String,
}

impl Default for Funnel {
    fn default() -> Self {
        Self {
            stages: vec![EventKind::Detail, EventKind::Add, EventKind::Purchase],
            granularity: Granularity::Day,
            time_zone: "UTC".to_owned(),
            input: "sessions".to_owned(),
            output: "funnel".to_owned(),
        }
    }
}

#[async_trait]
impl Step for Funnel {
    fn name(&self) -> &str {
        &self.output
    }

    fn inputs(&self) -> Vec<String> {
        vec![self.input.clone()]
    }

    async fn plan(&self, ctx: &StepContext<'_>) -> Result<DataFrame> {
        let input = Input::open(ctx, &self.output, &self.input)?;
        input.check_zone(&self.time_zone)?;
        self.check(&input)?;
        let (table, tenant) = (&input.table, input.tenant);
        // Each stage looks back at the one before, over the same sort.
        let mut events = format!(
            "select {tenant} session_id, kind, {TIME} as time from {table}
             where session_id is not null and occurred_at is not null"
        );
        let mut before = String::new();
        for stage in &self.stages {
            events = format!(
                "select *, max(case when kind = '{stage}' {before} then 1 end) over (
                   partition by {tenant} session_id order by time
                   range between unbounded preceding and current row) as reached_{stage}
                 from ({events}) as events"
            );
            before = format!("and reached_{stage} = 1");
        }
        let each = |of: &dyn Fn(&EventKind) -> String| -> String {
            let stages = self.stages.iter().map(of);
            stages.collect::<Vec<_>>().join(", ")
        };
        let reached = each(&|stage| format!("max(reached_{stage}) as reached_{stage}"));
        let counts = each(&|stage| format!("count(reached_{stage}) as n_{stage}"));
        let names = each(&|stage| format!("n_{stage}"));
        let mut previous = "n_sessions".to_owned();
        let mut rates = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            let rate = rate(&format!("n_{stage}"), &previous);
            rates.push(format!("{rate} as {stage}_rate"));
            previous = format!("n_{stage}");
        }
        let (rates, conversion) = (rates.join(", "), rate(&previous, "n_sessions"));
        let started_at = in_zone("started_at", "UTC");
        let window = self.granularity.start_of(&started_at, &self.time_zone);
        let query = format!(
            "with sessions as (
               select {tenant} session_id, min(time) as started_at, {reached}
               from ({events}) as events
               group by {tenant} session_id
             ),
             windows as (
               select {tenant} window_start, count(*) as n_sessions, {counts}
               from (select *, {window} as window_start from sessions) as sessions
               group by {tenant} window_start
             )
             select {tenant} window_start, n_sessions, {names}, {rates}, {conversion} as conversion_rate
             from windows"
        );
        ctx.sql(&query).await
    }
}

impl Funnel {
    fn check(&self, input: &Input<'_>) -> Result<()> {
        if self.stages.is_empty() {
            return Err(input.invalid("`stages` names no kind of event"));
        }
        for (position, stage) in self.stages.iter().enumerate() {
            if self.stages[..position].contains(stage) {
                return Err(input.invalid(format!("`stages` names `{stage}` twice")));
            }
        }
        Ok(())
    }
}

/// A share, NULL of none.
fn rate(part: &str, whole: &str) -> String {
    format!("cast({part} as double) / nullif({whole}, 0)")
}

#[cfg(test)]
mod tests {
    use datafusion::assert_batches_sorted_eq;

    use super::super::testing::{Act, acts, run};
    use super::*;

    #[test]
    fn a_stage_counts_after_the_one_before() {
        use EventKind::{Add, Detail, Purchase, Search};
        let (one, two) = ("2024-05-01T23:59:00Z", "2024-05-02T00:01:00Z");
        let input = acts(&[
            // All the way, over midnight, with something between.
            Act::new("all", one, Detail),
            Act::new("all", one, Search),
            Act::new("all", one, Add),
            Act::new("all", two, Purchase),
            // In the wrong order.
            Act::new("backwards", one, Purchase),
            Act::new("backwards", one, Add),
            Act::new("backwards", two, Detail),
            // Without an addition to the cart.
            Act::new("direct", two, Detail),
            Act::new("direct", two, Purchase),
            Act::new("idle", two, Search),
        ]);
        assert_batches_sorted_eq!(
            [
                "+-----------+----------------------+------------+----------+-------+------------+-------------+----------+---------------+-----------------+",
                "| tenant_id | window_start         | n_sessions | n_detail | n_add | n_purchase | detail_rate | add_rate | purchase_rate | conversion_rate |",
                "+-----------+----------------------+------------+----------+-------+------------+-------------+----------+---------------+-----------------+",
                "|           | 2024-05-01T00:00:00Z | 2          | 2        | 1     | 1          | 1.0         | 0.5      | 1.0           | 0.5             |",
                "|           | 2024-05-02T00:00:00Z | 2          | 1        | 0     | 0          | 0.5         | 0.0      |               | 0.0             |",
                "+-----------+----------------------+------------+----------+-------+------------+-------------+----------+---------------+-----------------+",
            ],
            &run(&Funnel::default(), input).unwrap()
        );
    }

    #[test]
    fn stages_that_mean_nothing_are_refused() {
        let check = |stages: Vec<EventKind>, expected: &str| {
            let step = Funnel {
                stages,
                ..Funnel::default()
            };
            let error = run(&step, acts(&[])).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(vec![], "`stages` names no kind of event");
        check(vec![EventKind::Add; 2], "`stages` names `add` twice");
    }
}
