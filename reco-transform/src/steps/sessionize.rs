//! [`Sessionize`]: visits out of events.

use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::expr_fn::replace;
use datafusion::functions_aggregate::min_max::max_udaf;
use datafusion::functions_window::expr_fn::lag;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, Operator, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition, binary_expr, cast, ident, lit, when,
};
use datafusion::prelude::DataFrame;
use reco_core::timestamp_type;
use serde::{Deserialize, Serialize};

use crate::dataset::not_a_time;
use crate::error::Error;
use crate::step::{Step, StepContext};

const TIME: &str = "__time";
const START: &str = "__start";

/// Gives each event the session that it belongs to, in the column `session_id`.
///
/// A session is the events of one `client_id` of one `tenant_id`, ordered by `occurred_at`, with at most
/// `gap` between one and the next: a gap of exactly `gap` stays in the session. Days do not matter, nor
/// does the order in which events arrived. Events at the same time are in the same session.
///
/// The id is `tenant:client:start`, the start being the time of the first event in microseconds since
/// 1970; in the tenant, `%` and `:` are written `%25` and `%3A`, so that no two sessions share one. It
/// stays the same from run to run unless an event arrives late that begins the session earlier or joins
/// two. A row whose tenant, client or time is NULL gets none, which makes a data set of it fail.
///
/// If the input has a `session_id`, as raw events do, it is replaced; a shop that trusts its own leaves
/// this step out. All other columns are kept.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use reco_transform::{Sessionize, Step};
///
/// let step = Sessionize { gap: Duration::from_secs(10 * 60), ..Default::default() };
/// assert_eq!((step.inputs(), step.name()), (vec!["clean".to_owned()], "sessions"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sessionize {
    /// The longest time between two events of a session. Default 30 minutes, as in web analytics and in
    /// the SIGIR eCom 2021 data set.
    pub gap: Duration,
    /// The table to read, with the columns `tenant_id`, `client_id` and `occurred_at`, a timestamp of any
    /// unit. Default `clean`.
    pub input: String,
    /// The table to make. Default `sessions`.
    pub output: String,
}

impl Default for Sessionize {
    fn default() -> Self {
        Self {
            gap: Duration::from_secs(30 * 60),
            input: "clean".to_owned(),
            output: "sessions".to_owned(),
        }
    }
}

#[async_trait]
impl Step for Sessionize {
    fn name(&self) -> &str {
        &self.output
    }

    fn inputs(&self) -> Vec<String> {
        vec![self.input.clone()]
    }

    async fn plan(&self, ctx: &StepContext<'_>) -> Result<DataFrame> {
        let gap = i64::try_from(self.gap.as_micros())
            .map_err(|_| DataFusionError::Plan("the gap is longer than time itself".to_owned()))?;
        let input = ctx.table(&self.input)?;
        if let Some(found) = not_a_time(input.schema().as_arrow()) {
            let error = Error::WrongType {
                step: self.output.clone(),
                column: "occurred_at".to_owned(),
                expected: "a timestamp",
                found: found.to_string(),
            };
            return Err(error.into_datafusion());
        }
        let names = input
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone());
        let mut columns: Vec<Expr> = names
            .filter(|name| name != "session_id")
            .map(ident)
            .collect();
        columns.push(session_id().alias("session_id"));

        // Whatever its unit, the time counts in microseconds from here on.
        let time = cast(
            cast(ident("occurred_at"), timestamp_type()),
            DataType::Int64,
        );
        let of_client = || vec![ident("tenant_id"), ident("client_id")];
        let in_time = || vec![ident(TIME).sort(true, true)];
        let previous = lag(ident(TIME), Some(1), None)
            .partition_by(of_client())
            .order_by(in_time())
            .build()?;
        let goes_on = (ident(TIME) - previous).lt_eq(lit(gap));
        // Times ascend, so the latest start so far is the start of the session that goes on. Of events at
        // the same time the first is the one that may start it, so rows will do, and they are fast.
        let starts = when(goes_on, lit(ScalarValue::Int64(None))).otherwise(ident(TIME))?;
        let latest = WindowFunctionDefinition::AggregateUDF(max_udaf());
        let start = Expr::from(WindowFunction::new(latest, vec![ident(START)]))
            .partition_by(of_client())
            .order_by(in_time())
            .window_frame(WindowFrame::new_bounds(
                WindowFrameUnits::Rows,
                WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
                WindowFrameBound::CurrentRow,
            ))
            .build()?;
        input
            .with_column(TIME, time)?
            .with_column(START, starts)?
            .with_column(START, start)?
            .select(columns)
    }
}

/// `tenant:client:start`, NULL if any of them is.
fn session_id() -> Expr {
    let join = |left, right| binary_expr(left, Operator::StringConcat, right);
    let tenant = replace(ident("tenant_id"), lit("%"), lit("%25"));
    let tenant = replace(tenant, lit(":"), lit("%3A"));
    let client = join(join(tenant, lit(":")), ident("client_id"));
    join(join(client, lit(":")), cast(ident(START), DataType::Utf8))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use reco_core::Event;

    use super::super::testing::{event, events};
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn sessions(input: &[Event]) -> Vec<String> {
        let sessions = events(&Sessionize::default(), input);
        sessions
            .into_iter()
            .map(|event| event.session.unwrap())
            .collect()
    }

    #[test]
    fn a_gap_of_exactly_the_limit_stays_in_the_session() {
        let check = |second: i64, expected: [&str; 2]| {
            let input = [event("1", "", "ann", 0), event("2", "", "ann", second)];
            assert_eq!(sessions(&input), expected);
        };
        check(30 * MINUTE, [":ann:0", ":ann:0"]);
        check(30 * MINUTE + 1, [":ann:0", ":ann:1800000001"]);
    }

    #[test]
    fn a_session_goes_on_over_midnight() {
        let at = |time: &str| {
            time.parse::<reco_core::Timestamp>()
                .unwrap()
                .as_microsecond()
        };
        let input = [
            event("1", "", "ann", at("2024-05-01T23:59:00Z")),
            event("2", "", "ann", at("2024-05-02T00:01:00Z")),
        ];
        assert_eq!(sessions(&input), [":ann:1714607940000000"; 2]);
    }

    #[test]
    fn tenants_and_clients_do_not_mix() {
        let input = [
            event("1", "a", "b:c", 0),
            event("2", "a:b", "c", 0),
            event("3", "a%3Ab", "c", 0),
        ];
        assert_eq!(sessions(&input), ["a:b:c:0", "a%3Ab:c:0", "a%253Ab:c:0"]);
    }

    #[test]
    fn an_event_that_arrives_late_joins_what_it_belongs_between() {
        let mut late = event("3", "", "ann", 20 * MINUTE);
        late.received_at = reco_core::Timestamp::MAX;
        let input = [
            event("1", "", "ann", 0),
            event("2", "", "ann", 40 * MINUTE),
            late,
        ];
        assert_eq!(sessions(&input[..2]), [":ann:0", ":ann:2400000000"]);
        assert_eq!(sessions(&input), [":ann:0"; 3]);
    }

    /// One event after the other, by hand.
    fn reference(input: &[Event], gap: i64) -> Vec<String> {
        let mut sorted: Vec<&Event> = input.iter().collect();
        sorted.sort_by_key(|event| (&event.tenant, &event.client, event.occurred_at));
        let mut sessions = BTreeMap::new();
        let mut open: Option<(&Event, i64, i64)> = None;
        for event in sorted {
            let time = event.occurred_at.as_microsecond();
            let start = match open {
                Some((of, start, last))
                    if (&of.tenant, &of.client) == (&event.tenant, &event.client)
                        && time - last <= gap =>
                {
                    start
                }
                _ => time,
            };
            open = Some((event, start, time));
            sessions.insert(
                &event.id,
                format!("{}:{}:{start}", event.tenant, event.client),
            );
        }
        sessions.into_values().collect()
    }

    prop_compose! {
        fn visits()(visits in prop::collection::vec((0..2_usize, 0..3_usize, 0..40_i64), 1..40)) -> Vec<Event> {
            let visit = |(id, (tenant, client, tens)): (usize, (usize, usize, i64))| {
                let (tenant, client) = (["", "shop"][tenant], ["ann", "bob", "cy"][client]);
                event(&format!("{id:03}"), tenant, client, tens * 10 * MINUTE)
            };
            visits.into_iter().enumerate().map(visit).collect()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn every_event_is_in_the_one_session_that_the_definition_gives(input in visits()) {
            prop_assert_eq!(sessions(&input), reference(&input, 30 * MINUTE));
        }

        #[test]
        fn the_order_of_arrival_does_not_matter(input in visits(), seed in any::<u64>()) {
            let mut shuffled = input.clone();
            shuffled.sort_by_key(|event| event.id.bytes().fold(seed, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            }));
            let step = Sessionize::default();
            prop_assert_eq!(events(&step, &shuffled), events(&step, &input));
        }
    }
}
