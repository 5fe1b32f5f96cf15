//! [`MinSupport`]: only items and sessions with enough to learn from.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{Array, AsArray, LargeStringArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, JoinType, cast, ident, lit};
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use crate::step::{Step, StepContext};

/// Keeps the interactions of items and sessions that have enough of them.
///
/// An item with fewer than `item` interactions is removed, then a session with fewer than `session`, and
/// again, until nothing changes: what is left is the largest part of the table in which every item and
/// every session has enough. Repeats count each time. A row without an item, such as a search, is no
/// interaction and is left out; a row with an item and without a session is an error. All columns are
/// kept.
///
/// Rows come sorted by `session_id`, `occurred_at`, `id` and `item_id`, as far as there are such columns:
/// a table that is published in Delta has the same order in every run.
///
/// How often each item occurs in each session is counted when the step is planned, so its input is read
/// twice: once to count, once to filter. A [`View`](crate::Materialization::View) is computed twice, and
/// over a raw table that is being written to, the rows that are filtered may not be those that were
/// counted; so let the input be in memory or in Delta. Memory is bounded by the number of different items
/// and sessions and of pairs of them, up to 40 bytes a pair, and taken from the warehouse's
/// [`memory_limit`](crate::WarehouseConfig::memory_limit); the rows themselves stream and spill.
///
/// # Examples
///
/// ```
/// use reco_transform::{MinSupport, Step};
///
/// let step = MinSupport { item: 10, ..Default::default() };
/// assert_eq!((step.inputs(), step.name()), (vec!["sessions".to_owned()], "interactions"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MinSupport {
    /// The fewest interactions of an item. Default 5, as in the preprocessing of GRU4Rec.
    pub item: u64,
    /// The fewest interactions of a session. Default 2: of one, nothing can be learnt.
    pub session: u64,
    /// The table to read, with the columns `session_id` and `item_id`. Default `sessions`.
    pub input: String,
    /// The table to make. Default `interactions`.
    pub output: String,
}

impl Default for MinSupport {
    fn default() -> Self {
        Self {
            item: 5,
            session: 2,
            input: "sessions".to_owned(),
            output: "interactions".to_owned(),
        }
    }
}

#[async_trait]
impl Step for MinSupport {
    fn name(&self) -> &str {
        &self.output
    }

    fn inputs(&self) -> Vec<String> {
        vec![self.input.clone()]
    }

    async fn plan(&self, ctx: &StepContext<'_>) -> Result<DataFrame> {
        let input = ctx
            .table(&self.input)?
            .filter(ident("item_id").is_not_null())?;
        let pairs = input.clone().aggregate(
            vec![
                text("session_id").alias("__session"),
                text("item_id").alias("__item"),
            ],
            vec![count(lit(1_i64)).alias("__n")],
        )?;
        // The same plan without data: the columns are what a check is after.
        let mut support = Support::default();
        let memory = MemoryConsumer::new(format!("MinSupport[{}]", self.output))
            .register(&ctx.session().runtime_env().memory_pool);
        if !ctx.is_check() {
            let mut batches = pairs.execute_stream().await?;
            while let Some(batch) = batches.try_next().await? {
                support.push(&batch)?;
                memory.try_resize(support.n_bytes())?;
            }
        }
        let (sessions, items) = support.peel(self.session, self.item);
        drop(memory);
        let keep = |frame: DataFrame, column: &str, key: &str, values: LargeStringArray| {
            let schema = Schema::new(vec![Field::new(key, DataType::LargeUtf8, false)]);
            let values = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(values)])?;
            let values = ctx.session().read_batch(values)?;
            // The left side of a join is held in memory: that of the values, not of the rows.
            values.join_on(frame, JoinType::RightSemi, [text(column).eq(ident(key))])
        };
        let kept = keep(input, "session_id", "__session", sessions)?;
        let kept = keep(kept, "item_id", "__item", items)?;
        let order = ["session_id", "occurred_at", "id", "item_id"].into_iter();
        let order = order.filter(|name| kept.schema().has_column_with_unqualified_name(name));
        let order = order.map(|name| ident(name).sort(true, true)).collect();
        kept.sort(order)
    }
}

/// A key as text, whatever its type; of any length in all, since a table may have many.
fn text(column: &str) -> Expr {
    cast(ident(column), DataType::LargeUtf8)
}

/// How often each item occurs in each session.
#[derive(Debug, Default)]
struct Support {
    sessions: Interned,
    items: Interned,
    pairs: Vec<Pair>,
}

#[derive(Debug, Clone, Copy)]
struct Pair {
    session: u32,
    item: u32,
    n: u32,
}

impl Support {
    fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let sessions = batch.column(0).as_string::<i64>();
        let items = batch.column(1).as_string::<i64>();
        let counts = batch.column(2).as_primitive::<Int64Type>();
        if sessions.null_count() > 0 {
            let text = "column `session_id` is NULL where `item_id` is not";
            return Err(DataFusionError::Execution(text.to_owned()));
        }
        for row in 0..batch.num_rows() {
            self.pairs.push(Pair {
                session: self.sessions.intern(sessions.value(row))?,
                item: self.items.intern(items.value(row))?,
                // More than 2³² of a pair support whatever fewer do.
                n: u32::try_from(counts.value(row)).unwrap_or(u32::MAX),
            });
        }
        Ok(())
    }

    /// An upper bound of the bytes that this and its peeling take: a pair here is 12, in a vector that
    /// grows by doubling 24, and as two edges 16.
    fn n_bytes(&self) -> usize {
        self.pairs.len() * 40 + self.sessions.n_bytes() + self.items.n_bytes()
    }

    /// The sessions and the items that are left when those without support are removed until none is.
    ///
    /// The result does not depend on the order of removal, so each node that falls below is removed
    /// once, with its pairs: linear in the number of pairs, however deep the cascade.
    fn peel(self, min_session: u64, min_item: u64) -> (LargeStringArray, LargeStringArray) {
        let (n_sessions, n_items) = (self.sessions.names.len(), self.items.names.len());
        let mut graph = Peeling::new(self.pairs, n_sessions, n_items);
        graph.run(min_session, min_item);
        let (of_sessions, of_items) = graph.support.split_at(n_sessions);
        let sessions = self.sessions.kept(of_sessions, min_session);
        let items = self.items.kept(of_items, min_item);
        (sessions, items)
    }
}

/// Sessions and items as nodes of one graph, sessions first, pairs as its edges.
struct Peeling {
    n_sessions: usize,
    /// What is left of each node's interactions.
    support: Vec<u64>,
    /// The edges of node `v` are `edges[offsets[v]..offsets[v + 1]]`.
    offsets: Vec<usize>,
    /// The number of the item for a session, of the session for an item, and how often they meet.
    edges: Vec<(u32, u32)>,
}

impl Peeling {
    fn new(pairs: Vec<Pair>, n_sessions: usize, n_items: usize) -> Self {
        let n_nodes = n_sessions + n_items;
        let ends = |pair: &Pair| [pair.session as usize, n_sessions + pair.item as usize];
        let mut offsets = vec![0; n_nodes + 1];
        let mut left = vec![0; n_nodes];
        for pair in &pairs {
            for node in ends(pair) {
                offsets[node + 1] += 1;
                left[node] += u64::from(pair.n);
            }
        }
        for node in 0..n_nodes {
            offsets[node + 1] += offsets[node];
        }
        let mut next = offsets.clone();
        let mut edges = vec![(0, 0); 2 * pairs.len()];
        for pair in &pairs {
            let [session, item] = ends(pair);
            for (from, to) in [(session, pair.item), (item, pair.session)] {
                edges[next[from]] = (to, pair.n);
                next[from] += 1;
            }
        }
        // What follows needs the edges only.
        drop(pairs);
        Self {
            n_sessions,
            support: left,
            offsets,
            edges,
        }
    }

    fn run(&mut self, min_session: u64, min_item: u64) {
        let least = |node: usize, n_sessions| {
            if node < n_sessions {
                min_session
            } else {
                min_item
            }
        };
        let n_sessions = self.n_sessions;
        let below = |node: &usize| self.support[*node] < least(*node, n_sessions);
        let mut removed: VecDeque<usize> = (0..self.support.len()).filter(below).collect();
        while let Some(node) = removed.pop_front() {
            for &(other, n) in &self.edges[self.offsets[node]..self.offsets[node + 1]] {
                let other = other as usize + if node < n_sessions { n_sessions } else { 0 };
                let least = least(other, n_sessions);
                let had_enough = self.support[other] >= least;
                self.support[other] = self.support[other].saturating_sub(u64::from(n));
                if had_enough && self.support[other] < least {
                    removed.push_back(other);
                }
            }
        }
    }
}

/// Texts as numbers, in the order of their first occurrence.
#[derive(Debug, Default)]
struct Interned {
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
    /// Of all texts together.
    n_text: usize,
}

impl Interned {
    fn intern(&mut self, name: &str) -> Result<u32> {
        if let Some(&number) = self.numbers.get(name) {
            return Ok(number);
        }
        let number = u32::try_from(self.names.len()).map_err(|_| {
            DataFusionError::Execution("more than 2³² sessions or items".to_owned())
        })?;
        self.n_text += name.len();
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        Ok(number)
    }

    /// An upper bound: a text with its counts, and what is kept of it in an array that grows by doubling;
    /// a pointer in the vector and one with its number in the table, which do so too; the words of its node.
    fn n_bytes(&self) -> usize {
        3 * self.n_text + self.names.len() * (24 + 2 * (16 + 32) + 40)
    }

    /// The names whose support is enough.
    fn kept(&self, support: &[u64], least: u64) -> LargeStringArray {
        let names = self.names.iter().zip(support);
        let kept = names.filter(|&(_, &support)| support >= least);
        LargeStringArray::from_iter_values(kept.map(|(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, StringArray};
    use datafusion::assert_batches_sorted_eq;
    use proptest::prelude::*;

    use super::super::testing::run;
    use super::*;

    fn batch(rows: &[(Option<&str>, Option<&str>, i64)]) -> RecordBatch {
        let sessions: StringArray = rows.iter().map(|row| row.0).collect();
        let items: StringArray = rows.iter().map(|row| row.1).collect();
        let times: Int64Array = rows.iter().map(|row| Some(row.2)).collect();
        RecordBatch::try_from_iter_with_nullable([
            ("session_id", Arc::new(sessions) as _, true),
            ("item_id", Arc::new(items) as _, true),
            ("position", Arc::new(times) as _, false),
        ])
        .unwrap()
    }

    #[test]
    fn removing_an_item_can_remove_a_session_and_so_on() {
        let rows = [
            (Some("s1"), Some("hat"), 1),
            (Some("s1"), Some("hat"), 2),
            (Some("s1"), None, 3),
            // The scarf is rare: without it s2 is too short, and without s2 so is the glove's support.
            (Some("s2"), Some("scarf"), 4),
            (Some("s2"), Some("glove"), 5),
            (Some("s3"), Some("glove"), 6),
            (Some("s3"), Some("hat"), 7),
            (Some("s3"), Some("hat"), 8),
        ];
        let step = MinSupport {
            item: 2,
            session: 2,
            ..MinSupport::default()
        };
        let expected = [
            "+------------+---------+----------+",
            "| session_id | item_id | position |",
            "+------------+---------+----------+",
            "| s1         | hat     | 1        |",
            "| s1         | hat     | 2        |",
            "| s3         | hat     | 7        |",
            "| s3         | hat     | 8        |",
            "+------------+---------+----------+",
        ];
        assert_batches_sorted_eq!(expected, &run(&step, batch(&rows)).unwrap());
    }

    #[test]
    fn an_item_without_a_session_is_an_error() {
        let error = run(&MinSupport::default(), batch(&[(None, Some("hat"), 1)])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Execution error: column `session_id` is NULL where `item_id` is not"
        );
    }

    /// The definition, applied until nothing changes.
    fn reference(mut rows: Vec<(u8, u8)>, min_session: usize, min_item: usize) -> Vec<(u8, u8)> {
        loop {
            let before = rows.len();
            let all = rows.clone();
            rows.retain(|row| all.iter().filter(|other| other.1 == row.1).count() >= min_item);
            let all = rows.clone();
            rows.retain(|row| all.iter().filter(|other| other.0 == row.0).count() >= min_session);
            if rows.len() == before {
                return rows;
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_left_is_what_removing_by_turns_leaves(
            rows in prop::collection::vec((0..12_u8, 0..8_u8), 0..60),
            min_session in 1..5_u8,
            min_item in 1..8_u8,
        ) {
            let mut support = Support::default();
            for (session, item) in &rows {
                let session = support.sessions.intern(&session.to_string()).unwrap();
                let item = support.items.intern(&item.to_string()).unwrap();
                support.pairs.push(Pair { session, item, n: 1 });
            }
            let (sessions, items) = support.peel(min_session.into(), min_item.into());
            let kept = |names: &LargeStringArray, name: u8| names.iter().flatten().any(|n| n == name.to_string());
            let left: Vec<_> = rows
                .iter()
                .copied()
                .filter(|&(session, item)| kept(&sessions, session) && kept(&items, item))
                .collect();
            prop_assert_eq!(left, reference(rows, min_session.into(), min_item.into()));
        }
    }
}
