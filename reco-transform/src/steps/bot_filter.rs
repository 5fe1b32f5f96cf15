//! [`BotFilter`]: only what people did.

use std::time::Duration;

use async_trait::async_trait;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, JoinType, ident};
use datafusion::prelude::DataFrame;
use serde::{Deserialize, Serialize};

use super::query::{Input, TIME};
use crate::step::{Step, StepContext};

/// Leaves out sessions, or clients, that behave as no person does.
///
/// One is left out with all its rows if any of these holds:
///
/// * **Too fast**: more than `max_events` events within any `per`. The window slides, as in the *maximum
///   sustained click rate* of Stassopoulou and Dikaiakos, *Web robot detection*, Computer Networks 2009, so
///   that a burst cannot hide on both sides of a full minute.
/// * **Too many items**: more than `max_items` different ones.
/// * **Too regular**: the times between its events vary less than a person's do: of at least `min_gaps`
///   times, the standard deviation is less than `min_variation` of the mean (the *coefficient of
///   variation*: 0 for a timer, 1 for events that come by chance). Events at the same moment are one.
///
/// The thresholds are set by what people do: the defaults leave out none, or one of ten thousand, of the
/// 38,341 visits with products in a public sample of the Google Merchandise Store (August to October 2016;
/// Google Analytics leaves out known bots itself). Look at a shop's own
/// [`SessionFeatures`](super::SessionFeatures) before lowering them. A rule that is NULL or `None` is off;
/// all three off are refused.
///
/// Reads `occurred_at`, the column of `by`, `item_id` if `max_items` is on, and `tenant_id` if there is
/// one: the same id with another tenant is another. Keeps all columns, and rows whose session or client is
/// NULL: nothing is known of them.
///
/// Each rule reads the input once, and the rows once more are read to leave out the bots. Aggregations, and
/// windows that look back only, spill; the bots themselves are held in memory, as far as the engine knows
/// that they are few.
///
/// # Examples
///
/// ```
/// use reco_transform::{BotFilter, BotFilterBy, Step};
///
/// let step = BotFilter {
///     by: BotFilterBy::Client,
///     max_items: None,
///     ..Default::default()
/// };
/// assert_eq!((step.inputs(), step.name()), (vec!["sessions".to_owned()], "without_bots"));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BotFilter {
    /// Whose behaviour is looked at. Default that of a session.
    pub by: BotFilterBy,
    /// The most events within any `per`. Default 100 in a minute: one of ten thousand visits of the sample
    /// has more.
    pub max_events: Option<u64>,
    /// How long `max_events` may take; two events exactly `per` apart are within it. Default 60 seconds.
    pub per: Duration,
    /// The most different items. Default 200: no visit of the sample has more than 116.
    pub max_items: Option<u64>,
    /// The least that times between events vary. Default 0.1: of the visits of the sample with enough of
    /// them, the least is 0.57.
    pub min_variation: Option<f64>,
    /// The fewest times between events to judge by, at least 2. Default 10.
    pub min_gaps: u64,
    /// The table to read. Default `sessions`.
    pub input: String,
    /// The table to make. Default `without_bots`.
    pub output: String,
}

/// Whose behaviour a [`BotFilter`] looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BotFilterBy {
    /// That of a session, by `session_id`: a client may have others that are fine.
    #[default]
    Session,
    /// That of a client, by `client_id`, over all its sessions.
    Client,
}

impl Default for BotFilter {
    fn default() -> Self {
        Self {
            by: BotFilterBy::Session,
            max_events: Some(100),
            per: Duration::from_secs(60),
            max_items: Some(200),
            min_variation: Some(0.1),
            min_gaps: 10,
            input: "sessions".to_owned(),
            output: "without_bots".to_owned(),
        }
    }
}

#[async_trait]
impl Step for BotFilter {
    fn name(&self) -> &str {
        &self.output
    }

    fn inputs(&self) -> Vec<String> {
        vec![self.input.clone()]
    }

    async fn plan(&self, ctx: &StepContext<'_>) -> Result<DataFrame> {
        let input = Input::open(ctx, &self.output, &self.input)?;
        let column = match self.by {
            BotFilterBy::Session => "session_id",
            BotFilterBy::Client => "client_id",
        };
        let rules = self.rules(&input, column)?;
        if rules.is_empty() {
            let reason =
                "without `max_events`, `max_items` and `min_variation` it leaves out nothing";
            return Err(input.invalid(reason));
        }
        let (tenant, of_tenant) = match input.tenant {
            "" => ("", ""),
            _ => ("tenant_id as __tenant, ", "__tenant, "),
        };
        let bots = format!(
            "select {of_tenant} __bot from (
               select {tenant} {column} as __bot from ({}) as bots) as bots
             group by {of_tenant} __bot",
            rules.join(" union all ")
        );
        let bots = ctx.sql(&bots).await?;
        let mut same: Vec<Expr> = vec![ident("__bot").eq(ident(column))];
        if !of_tenant.is_empty() {
            same.push(ident("__tenant").eq(ident("tenant_id")));
        }
        // The left side of a join is held in memory: that of the bots, not of the rows.
        bots.join_on(input.into_frame(), JoinType::RightAnti, same)
    }
}

impl BotFilter {
    /// For each rule that is on, a query that finds those who break it.
    fn rules(&self, input: &Input<'_>, column: &str) -> Result<Vec<String>> {
        let (table, key) = (&input.table, format!("{} {column}", input.tenant));
        let mut rules = Vec::new();
        if let Some(max_events) = self.max_events {
            let per = input.micros("per", self.per)?;
            rules.push(format!(
                "select {key} from (
                   select {key}, count(*) over (
                     partition by {key} order by time
                     range between {per} preceding and current row) as n_events
                   from (select {key}, {TIME} as time from {table}
                         where {column} is not null and occurred_at is not null) as events
                 ) as bursts
                 where n_events > {max_events}"
            ));
        }
        if let Some(max_items) = self.max_items {
            rules.push(format!(
                "select {key} from (
                   select {key}, item_id from {table}
                   where {column} is not null and item_id is not null
                   group by {key}, item_id
                 ) as items
                 group by {key}
                 having count(*) > {max_items}"
            ));
        }
        if let Some(min_variation) = self.min_variation {
            if !(min_variation.is_finite() && min_variation > 0.0) {
                let reason = format!("`min_variation` is {min_variation}, which is not above 0");
                return Err(input.invalid(reason));
            }
            let min_gaps = self.min_gaps;
            if min_gaps < 2 {
                let reason = format!("`min_gaps` is {min_gaps}, and to vary takes 2");
                return Err(input.invalid(reason));
            }
            // n Σg² < (1 + v²) (Σg)² is std / mean < v. The sums are exact, so that the order of rows does
            // not matter.
            let limit = 1.0 + min_variation * min_variation;
            rules.push(format!(
                "select {key} from (
                   select {key}, cast(time - lag(time) over (partition by {key} order by time)
                                 as decimal(19, 0)) as gap
                   from (select {key}, {TIME} as time from {table}
                         where {column} is not null and occurred_at is not null
                         group by {key}, {TIME}) as moments
                 ) as gaps
                 group by {key}
                 having count(gap) >= {min_gaps}
                   and count(gap) * cast(sum(gap * gap) as double)
                     < {limit:?} * cast(sum(gap) as double) * cast(sum(gap) as double)"
            ));
        }
        Ok(rules)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use datafusion::arrow::array::AsArray;
    use reco_core::EventKind;

    use super::super::testing::{Act, acts, run};
    use super::*;

    /// The sessions that are kept.
    fn kept(step: &BotFilter, input: &[Act<'_>]) -> Vec<String> {
        let made = run(step, acts(input)).unwrap();
        let sessions = made.iter().flat_map(|batch| {
            let sessions = batch
                .column_by_name("session_id")
                .unwrap()
                .as_string::<i32>();
            sessions
                .iter()
                .map(|s| s.unwrap_or("none").to_owned())
                .collect::<Vec<_>>()
        });
        sessions.collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn at(session: &'static str, seconds: i64) -> Act<'static> {
        let act = Act::new(session, "2024-05-01T00:00:00Z", EventKind::Detail);
        act.of("hat").later(seconds)
    }

    const OFF: BotFilter = BotFilter {
        by: BotFilterBy::Session,
        max_events: None,
        per: Duration::from_secs(60),
        max_items: None,
        min_variation: None,
        min_gaps: 3,
        input: String::new(),
        output: String::new(),
    };

    fn on(change: impl Fn(&mut BotFilter)) -> BotFilter {
        let mut step = OFF;
        (step.input, step.output) = ("sessions".to_owned(), "without_bots".to_owned());
        change(&mut step);
        step
    }

    #[test]
    fn a_burst_is_found_over_a_full_minute() {
        let step = on(|step| step.max_events = Some(2));
        let input = [
            at("burst", 50),
            at("burst", 70),
            at("burst", 110),
            at("burst", 9_000),
            at("slow", 0),
            at("slow", 30),
            at("slow", 61),
        ];
        // 50 and 110 are exactly a minute apart.
        assert_eq!(kept(&step, &input), ["slow"]);
    }

    #[test]
    fn who_looks_at_everything_is_left_out() {
        let step = on(|step| step.max_items = Some(2));
        let input = [
            at("crawler", 0),
            at("crawler", 1).of("scarf"),
            at("crawler", 2).of("glove"),
            at("fan", 0),
            at("fan", 1),
            at("fan", 2).of("scarf"),
        ];
        assert_eq!(kept(&step, &input), ["fan"]);
    }

    #[test]
    fn a_timer_is_left_out() {
        let step = on(|step| step.min_variation = Some(0.1));
        let input = [
            // Gaps of 10, 10 and 11 seconds, with two events at once.
            at("timer", 0),
            at("timer", 10),
            at("timer", 10),
            at("timer", 20),
            at("timer", 31),
            // Of 10, 10 and 20.
            at("person", 0),
            at("person", 10),
            at("person", 20),
            at("person", 40),
            // Too few to judge by.
            at("short", 0),
            at("short", 10),
            at("short", 20),
        ];
        assert_eq!(kept(&step, &input), ["person", "short"]);
    }

    #[test]
    fn a_client_is_left_out_with_all_its_sessions() {
        let step = on(|step| {
            step.by = BotFilterBy::Client;
            step.max_items = Some(1);
        });
        let input = [
            at("ann", 0),
            at("ann", 1).of("scarf").in_session("ann2"),
            at("bob", 0),
            at("bob", 0).in_shop("other").of("scarf"),
        ];
        // Bob is another client in the other shop.
        assert_eq!(kept(&step, &input), ["bob"]);
    }

    #[test]
    fn what_is_in_no_session_is_kept() {
        let step = on(|step| step.max_events = Some(1));
        let input = [at("ann", 0).in_no_session(), at("ann", 1).in_no_session()];
        assert_eq!(kept(&step, &input), ["none"]);
    }

    #[test]
    fn rules_that_mean_nothing_are_refused() {
        let check = |step: BotFilter, expected: &str| {
            let error = run(&step, acts(&[])).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(on(|_| ()), "it leaves out nothing");
        check(
            on(|step| step.min_variation = Some(-1.0)),
            "`min_variation` is -1, which is not above 0",
        );
        check(
            on(|step| (step.min_variation, step.min_gaps) = (Some(0.1), 1)),
            "`min_gaps` is 1, and to vary takes 2",
        );
        check(
            on(|step| (step.max_events, step.per) = (Some(1), Duration::ZERO)),
            "`per` is 0ns",
        );
    }
}
