//! [`PopularityByWindow`]: how often each item was met, window of time by window of time.

use std::time::Duration;

use async_trait::async_trait;
use datafusion::error::Result;
use datafusion::prelude::DataFrame;
use reco_core::EventKind;
use serde::{Deserialize, Serialize};

use super::query::{Input, TIME, in_zone};
use crate::step::{Step, StepContext};

/// Counts how often each item was met in windows of time, one after the other or overlapping.
///
/// Without `every`, windows are tumbling: each begins where the one before ends. With `every`, one begins
/// each time it has passed, and so they overlap: the last 7 days, day by day. Rows are counted in panes as
/// long as `every` once, and windows are sums of panes (Li et al., *No Pane, No Gain*, SIGMOD Record 2005).
/// Windows hold their start and not their end, and start at multiples of `every` since 1970-01-01 in UTC.
///
/// Reads `item_id` and `occurred_at`, `kind` if `kinds` are set, and `tenant_id` if there is one: then
/// items are counted and ranked a tenant. Makes
///
/// | column | type | null | meaning |
/// | --- | --- | --- | --- |
/// | `tenant_id` | as read | as read | if the input has it |
/// | `window_start`, `window_end` | Timestamp(µs, UTC) | no | the window |
/// | `item_id` | as read | no | the item |
/// | `n_interactions` | Int64 | no | how often it was met, repeats counted |
/// | `rank` | Int64 | no | 1 for the most popular of the window; ties go to the smaller `item_id` |
///
/// Items that were not met in a window have no row there, and rows without an item or a time are left out.
/// The last window is the one that ends with the pane of the last row, of any tenant: it may not be over,
/// and none ends later. The first may begin before the first row.
///
/// The input is read twice: once for its last time only. What is counted is aggregated and sorted, and
/// spills.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use reco_transform::{PopularityByWindow, Step};
///
/// const DAY: Duration = Duration::from_secs(24 * 60 * 60);
///
/// let last_week = PopularityByWindow {
///     window: 7 * DAY,
///     every: Some(DAY),
///     top_n: Some(1_000),
///     ..Default::default()
/// };
/// assert_eq!(last_week.name(), "popularity");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PopularityByWindow {
    /// How long a window is. Default a day.
    pub window: Duration,
    /// How long after a window the next one starts, a whole part of `window`. Default none: as long as it.
    pub every: Option<Duration>,
    /// The kinds of events that count. Default none, which is all rows: a table of interactions has no
    /// kinds.
    pub kinds: Vec<EventKind>,
    /// How many items of a window are kept, the most popular. Default none, which is all.
    pub top_n: Option<u64>,
    /// The table to read. Default `interactions`.
    pub input: String,
    /// The table to make. Default `popularity`.
    pub output: String,
}

impl Default for PopularityByWindow {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(24 * 60 * 60),
            every: None,
            kinds: Vec::new(),
            top_n: None,
            input: "interactions".to_owned(),
            output: "popularity".to_owned(),
        }
    }
}

#[async_trait]
impl Step for PopularityByWindow {
    fn name(&self) -> &str {
        &self.output
    }

    fn inputs(&self) -> Vec<String> {
        vec![self.input.clone()]
    }

    async fn plan(&self, ctx: &StepContext<'_>) -> Result<DataFrame> {
        let input = Input::open(ctx, &self.output, &self.input)?;
        let window = input.micros("window", self.window)?;
        let every = input.micros("every", self.every.unwrap_or(self.window))?;
        if window % every != 0 {
            let (window, every) = (self.window, self.every.unwrap_or_default());
            return Err(input.invalid(format!(
                "`window` is {window:?}, which is no multiple of `every`, {every:?}"
            )));
        }
        let n_panes = window / every;
        let (table, tenant) = (&input.table, input.tenant);
        let counts = if self.kinds.is_empty() {
            String::new()
        } else {
            let kinds: Vec<_> = self.kinds.iter().map(|kind| format!("'{kind}'")).collect();
            format!("and kind in ({})", kinds.join(", "))
        };
        let top_n = match self.top_n {
            Some(top_n) => format!("where rank <= {top_n}"),
            None => String::new(),
        };
        let start_of = |time: &str| format!("{time} - (({time} % {every}) + {every}) % {every}");
        let (pane, last_pane) = (start_of("time"), start_of("max(time)"));
        let (starts, ends) = (
            in_zone("window_start", "UTC"),
            in_zone(&format!("window_start + {window}"), "UTC"),
        );
        // The small tables come first: the left side of a join is held in memory.
        let query = format!(
            "with met as (
               select {tenant} item_id, {TIME} as time from {table}
               where item_id is not null and occurred_at is not null {counts}
             ),
             panes as (
               select {tenant} pane, item_id, count(*) as n
               from (select *, {pane} as pane from met) as met
               group by {tenant} pane, item_id
             ),
             last_pane as (select {last_pane} as last_pane from met),
             shifts as (select unnest(range(0, {n_panes})) as shift),
             windows as (
               select {tenant} pane - shift * {every} as window_start, item_id, n, last_pane
               from shifts cross join last_pane cross join panes
             ),
             counts as (
               select {tenant} window_start, item_id, sum(n) as n_interactions
               from windows
               where window_start + {window} <= last_pane + {every}
               group by {tenant} window_start, item_id
             ),
             ranked as (
               select *, cast(row_number() over (
                 partition by {tenant} window_start order by n_interactions desc, item_id) as bigint) as rank
               from counts
             )
             select {tenant} {starts} as window_start, {ends} as window_end, item_id, n_interactions, rank
             from ranked
             {top_n}"
        );
        ctx.sql(&query).await
    }
}

#[cfg(test)]
mod tests {
    use datafusion::assert_batches_sorted_eq;

    use super::super::testing::{Act, acts, run};
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn met() -> [Act<'static>; 6] {
        let met = |time, item| Act::new("ann", time, EventKind::Detail).of(item);
        [
            met("2024-05-01T00:00:00Z", "hat"),
            met("2024-05-01T23:59:59.999999Z", "hat"),
            met("2024-05-01T12:00:00Z", "scarf"),
            met("2024-05-02T00:00:00Z", "scarf"),
            met("2024-05-03T08:00:00Z", "glove"),
            Act::new("ann", "2024-05-09T08:00:00Z", EventKind::Search),
        ]
    }

    #[test]
    fn tumbling_windows_follow_one_another() {
        assert_batches_sorted_eq!(
            [
                "+-----------+----------------------+----------------------+---------+----------------+------+",
                "| tenant_id | window_start         | window_end           | item_id | n_interactions | rank |",
                "+-----------+----------------------+----------------------+---------+----------------+------+",
                "|           | 2024-05-01T00:00:00Z | 2024-05-02T00:00:00Z | hat     | 2              | 1    |",
                "|           | 2024-05-01T00:00:00Z | 2024-05-02T00:00:00Z | scarf   | 1              | 2    |",
                "|           | 2024-05-02T00:00:00Z | 2024-05-03T00:00:00Z | scarf   | 1              | 1    |",
                "|           | 2024-05-03T00:00:00Z | 2024-05-04T00:00:00Z | glove   | 1              | 1    |",
                "+-----------+----------------------+----------------------+---------+----------------+------+",
            ],
            &run(&PopularityByWindow::default(), acts(&met())).unwrap()
        );
    }

    #[test]
    fn trailing_windows_overlap_and_ties_go_to_the_smaller_id() {
        let step = PopularityByWindow {
            window: 2 * DAY,
            every: Some(DAY),
            kinds: vec![EventKind::Detail],
            top_n: Some(1),
            ..PopularityByWindow::default()
        };
        assert_batches_sorted_eq!(
            [
                "+-----------+----------------------+----------------------+---------+----------------+------+",
                "| tenant_id | window_start         | window_end           | item_id | n_interactions | rank |",
                "+-----------+----------------------+----------------------+---------+----------------+------+",
                "|           | 2024-04-30T00:00:00Z | 2024-05-02T00:00:00Z | hat     | 2              | 1    |",
                "|           | 2024-05-01T00:00:00Z | 2024-05-03T00:00:00Z | hat     | 2              | 1    |",
                "|           | 2024-05-02T00:00:00Z | 2024-05-04T00:00:00Z | glove   | 1              | 1    |",
                "+-----------+----------------------+----------------------+---------+----------------+------+",
            ],
            &run(&step, acts(&met())).unwrap()
        );
    }

    #[test]
    fn windows_that_mean_nothing_are_refused() {
        let check = |window, every, expected: &str| {
            let step = PopularityByWindow {
                window,
                every,
                ..PopularityByWindow::default()
            };
            let error = run(&step, acts(&[])).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(Duration::ZERO, None, "`window` is 0ns");
        check(DAY, Some(Duration::ZERO), "`every` is 0ns");
        check(
            DAY,
            Some(7 * DAY),
            "`window` is 86400s, which is no multiple of `every`, 604800s",
        );
    }
}
