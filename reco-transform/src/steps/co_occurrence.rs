//! [`CoOccurrence`]: which items are met in the same sessions.

use async_trait::async_trait;
use datafusion::error::Result;
use datafusion::prelude::DataFrame;
use serde::{Deserialize, Serialize};

use super::query::{Input, TIME};
use crate::step::{Step, StepContext};

/// Counts in how many sessions two items are met together, and how strongly that ties them.
///
/// The table behind "others also looked at": for each item the `top_n` others by `measure`. With `n` the
/// number of sessions that hold both, `a` and `b` those that hold one and the other, and `N` all:
///
/// | measure | value | where it comes from |
/// | --- | --- | --- |
/// | `cosine` | `n / sqrt(a * b)` | items as vectors of sessions: Sarwar et al., *Item-based collaborative filtering*, WWW 2001 |
/// | `jaccard` | `n / (a + b - n)` | Jaccard 1901 |
/// | `lift` | `n * N / (a * b)` | *interest* in Brin et al., *Dynamic itemset counting*, SIGMOD 1997: 1 if they have nothing to do with each other |
///
/// Reads `session_id`, `item_id` and `occurred_at`, and `tenant_id` if there is one: then items of
/// different tenants never meet. Makes
///
/// | column | type | null | meaning |
/// | --- | --- | --- | --- |
/// | `tenant_id` | as read | as read | if the input has it |
/// | `item_id` | as read | no | an item |
/// | `other_item_id` | as read | no | another; each pair is there both ways, as far as `top_n` goes |
/// | `n_sessions` | Int64 | no | sessions that hold both |
/// | `n_item`, `n_other` | Int64 | no | sessions that hold one, and the other |
/// | `cosine`, `jaccard`, `lift` | Float64 | no | as above |
/// | `rank` | Int64 | no | 1 for the other that is tied the most; ties go to the smaller `other_item_id` |
///
/// An item counts once a session, however often it was met; rows without an item or a session are left
/// out. Of a session with more than `max_items` different items only those are looked at that were met
/// last, ties going to the smaller id: all numbers are about what is left, so that no measure leaves its
/// range.
///
/// Pairs of a session are made by a window that looks back within it and no join, so memory is bounded by
/// `max_items` and the size of a batch; pairs are counted and sorted on disk if there are many. The input is
/// read twice.
///
/// # Examples
///
/// ```
/// use reco_transform::{CoOccurrence, CoOccurrenceMeasure, Step};
///
/// let step = CoOccurrence { measure: CoOccurrenceMeasure::Lift, top_n: 20, ..Default::default() };
/// assert_eq!((step.inputs(), step.name()), (vec!["interactions".to_owned()], "co_occurrence"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoOccurrence {
    /// What `rank` goes by. Default cosine.
    pub measure: CoOccurrenceMeasure,
    /// How many others are kept of each item. Default 100.
    pub top_n: u64,
    /// The most different items of a session that are looked at, at least 2. Default 50: a session makes
    /// pairs with the square of it.
    pub max_items: u64,
    /// The fewest sessions that a pair is kept for. Default 2: what happened once is chance.
    pub min_sessions: u64,
    /// The table to read. Default `interactions`.
    pub input: String,
    /// The table to make. Default `co_occurrence`.
    pub output: String,
}

/// How strongly two items are tied; see [`CoOccurrence`] for the formulas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CoOccurrenceMeasure {
    /// How often they are met together. Favours what is popular anyway.
    Count,
    /// The cosine of the angle between the items as vectors of sessions.
    #[default]
    Cosine,
    /// The share of the sessions with either that hold both.
    Jaccard,
    /// How much more often they are met together than if it were by chance. Favours what is rare.
    Lift,
}

impl CoOccurrenceMeasure {
    const fn column(self) -> &'static str {
        match self {
            Self::Count => "n_sessions",
            Self::Cosine => "cosine",
            Self::Jaccard => "jaccard",
            Self::Lift => "lift",
        }
    }
}

impl Default for CoOccurrence {
    fn default() -> Self {
        Self {
            measure: CoOccurrenceMeasure::default(),
            top_n: 100,
            max_items: 50,
            min_sessions: 2,
            input: "interactions".to_owned(),
            output: "co_occurrence".to_owned(),
        }
    }
}

#[async_trait]
impl Step for CoOccurrence {
    fn name(&self) -> &str {
        &self.output
    }

    fn inputs(&self) -> Vec<String> {
        vec![self.input.clone()]
    }

    async fn plan(&self, ctx: &StepContext<'_>) -> Result<DataFrame> {
        let input = Input::open(ctx, &self.output, &self.input)?;
        let Self {
            top_n,
            max_items,
            min_sessions,
            ..
        } = self;
        if *max_items < 2 {
            let reason = format!("`max_items` is {max_items}, and a pair takes 2");
            return Err(input.invalid(reason));
        }
        let (table, tenant, measure) = (&input.table, input.tenant, self.measure.column());
        // Without a tenant there is a single row of totals.
        let (totals, same_tenant) = if tenant.is_empty() {
            ("select count(*) as n_total from baskets", "true")
        } else {
            (
                "select tenant_id as of_tenant, count(*) as n_total from baskets group by tenant_id",
                "of_tenant is not distinct from tenant_id",
            )
        };
        // A pair of an item with itself counts the sessions of the item; sorted first among the pairs of
        // that item, it tells the others of it.
        let query = format!(
            "with items as (
               select {tenant} session_id, item_id, max({TIME}) as last_at from {table}
               where session_id is not null and item_id is not null
               group by {tenant} session_id, item_id
             ),
             recent as (
               select *, row_number() over (
                 partition by {tenant} session_id order by last_at desc nulls last, item_id) as recency
               from items
             ),
             growing as (
               select {tenant} item_id, array_agg(item_id) over (
                 partition by {tenant} session_id order by item_id
                 rows between unbounded preceding and current row) as others
               from recent
               where recency <= {max_items}
             ),
             pairs as (
               select {tenant} item_id, other_item_id, count(*) as n_sessions
               from (select {tenant} item_id, unnest(others) as other_item_id from growing) as pairs
               group by {tenant} item_id, other_item_id
             ),
             directed as (
               select {tenant} case when forward then item_id else other_item_id end as item_id,
                 case when forward then other_item_id else item_id end as other_item_id, n_sessions
               from (values (true), (false)) as ways (forward) cross join pairs
               where forward or item_id <> other_item_id
             ),
             with_item as (
               select *, first_value(n_sessions) over (
                 partition by {tenant} item_id order by item_id <> other_item_id
                 rows between unbounded preceding and current row) as n_item
               from directed
             ),
             with_other as (
               select *, first_value(n_sessions) over (
                 partition by {tenant} other_item_id order by item_id <> other_item_id
                 rows between unbounded preceding and current row) as n_other
               from with_item
             ),
             baskets as (
               select {tenant} session_id from {table}
               where session_id is not null and item_id is not null
               group by {tenant} session_id
             ),
             measured as (
               select {tenant} item_id, other_item_id, n_sessions, n_item, n_other,
                 n_sessions / sqrt(cast(n_item as double) * cast(n_other as double)) as cosine,
                 cast(n_sessions as double) / (n_item + n_other - n_sessions) as jaccard,
                 cast(n_sessions as double) * n_total / (cast(n_item as double) * n_other) as lift
               from ({totals}) as totals
               join with_other on {same_tenant}
               where item_id <> other_item_id and n_sessions >= {min_sessions}
             ),
             ranked as (
               select *, cast(row_number() over (
                 partition by {tenant} item_id order by {measure} desc, other_item_id) as bigint) as rank
               from measured
             )
             select * from ranked where rank <= {top_n}"
        );
        ctx.sql(&query).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::datatypes::Int64Type;
    use datafusion::assert_batches_sorted_eq;
    use proptest::prelude::*;
    use reco_core::EventKind;

    use super::super::testing::{Act, acts, run};
    use super::*;

    fn met<'a>(session: &'a str, items: &[&'a str]) -> Vec<Act<'a>> {
        let met = |item| Act::new(session, "2024-05-01T00:00:00Z", EventKind::Detail).of(item);
        items.iter().copied().map(met).collect()
    }

    #[test]
    fn items_of_the_same_sessions_are_tied() {
        let input = [
            met("s1", &["hat", "scarf", "hat"]),
            met("s2", &["scarf", "hat", "glove"]),
            met("s3", &["hat"]),
            met("s4", &["glove"]),
        ];
        let step = CoOccurrence {
            min_sessions: 1,
            ..CoOccurrence::default()
        };
        // cosine(hat, scarf) = 2 / sqrt(3 · 2), jaccard = 2 / (3 + 2 - 2), lift = 2 · 4 / (3 · 2).
        assert_batches_sorted_eq!(
            [
                "+-----------+---------+---------------+------------+--------+---------+--------------------+--------------------+--------------------+------+",
                "| tenant_id | item_id | other_item_id | n_sessions | n_item | n_other | cosine             | jaccard            | lift               | rank |",
                "+-----------+---------+---------------+------------+--------+---------+--------------------+--------------------+--------------------+------+",
                "|           | glove   | hat           | 1          | 2      | 3       | 0.4082482904638631 | 0.25               | 0.6666666666666666 | 2    |",
                "|           | glove   | scarf         | 1          | 2      | 2       | 0.5                | 0.3333333333333333 | 1.0                | 1    |",
                "|           | hat     | glove         | 1          | 3      | 2       | 0.4082482904638631 | 0.25               | 0.6666666666666666 | 2    |",
                "|           | hat     | scarf         | 2          | 3      | 2       | 0.8164965809277261 | 0.6666666666666666 | 1.3333333333333333 | 1    |",
                "|           | scarf   | glove         | 1          | 2      | 2       | 0.5                | 0.3333333333333333 | 1.0                | 2    |",
                "|           | scarf   | hat           | 2          | 2      | 3       | 0.8164965809277261 | 0.6666666666666666 | 1.3333333333333333 | 1    |",
                "+-----------+---------+---------------+------------+--------+---------+--------------------+--------------------+--------------------+------+",
            ],
            &run(&step, acts(&input.concat())).unwrap()
        );
    }

    /// The pairs that are kept and the sessions of each.
    fn pairs(step: &CoOccurrence, input: &[Act<'_>]) -> BTreeMap<(String, String), i64> {
        let made = run(step, acts(input)).unwrap();
        let rows = made.iter().flat_map(|batch| {
            let column = |name| batch.column_by_name(name).unwrap();
            let n_sessions = column("n_sessions").as_primitive::<Int64Type>();
            let text = |name, row| column(name).as_string::<i32>().value(row).to_owned();
            let row = move |row| {
                let pair = (text("item_id", row), text("other_item_id", row));
                (pair, n_sessions.value(row))
            };
            (0..batch.num_rows()).map(row).collect::<Vec<_>>()
        });
        rows.collect()
    }

    #[test]
    fn of_a_long_session_the_last_items_count() {
        let at = |minute: i64, item| {
            let act = Act::new("s", "2024-05-01T00:00:00Z", EventKind::Detail).of(item);
            act.later(minute * 60)
        };
        let step = CoOccurrence {
            max_items: 2,
            min_sessions: 1,
            ..CoOccurrence::default()
        };
        // The hat comes back last.
        let input = [at(0, "hat"), at(1, "scarf"), at(2, "glove"), at(3, "hat")];
        let kept: Vec<_> = pairs(&step, &input).into_keys().collect();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(kept, [pair("glove", "hat"), pair("hat", "glove")]);
    }

    #[test]
    fn a_pair_takes_two() {
        let step = CoOccurrence {
            max_items: 1,
            ..CoOccurrence::default()
        };
        let error = run(&step, acts(&[])).unwrap_err().to_string();
        assert!(
            error.contains("`max_items` is 1, and a pair takes 2"),
            "{error}"
        );
    }

    const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn pairs_are_those_of_two_loops(rows in prop::collection::vec((0..6_usize, 0..6_usize), 1..40)) {
            let mut sessions: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
            let mut input = Vec::new();
            for &(session, item) in &rows {
                sessions.entry(session).or_default().insert(NAMES[item]);
                input.extend(met(NAMES[session], &[NAMES[item]]));
            }
            let mut expected = BTreeMap::new();
            for items in sessions.values() {
                for a in items {
                    for b in items.iter().filter(|b| *b != a) {
                        *expected.entry(((*a).to_owned(), (*b).to_owned())).or_insert(0) += 1;
                    }
                }
            }
            let step = CoOccurrence { min_sessions: 1, ..CoOccurrence::default() };
            prop_assert_eq!(pairs(&step, &input), expected);
        }
    }
}
