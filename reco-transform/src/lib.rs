#![cfg_attr(doctest, doc = include_str!("../README.md"))]
//! Raw events to interactions: a DAG of SQL and Rust steps on [DataFusion](datafusion).
//!
//! ```text
//! RawTable ─source─▶ Dag of Steps ─audit─▶ Warehouse (Delta, memory) ─▶ SessionDataset
//! ```
//!
//! * [`step`], [`sql`]: what makes one table of others, in Rust or SQL.
//! * [`source`]: where rows come from.
//! * [`dag`]: steps put together, checked before anything is read, run in parallel, drawn.
//! * [`quality`]: what is expected of a table before it is published.
//! * [`materialize`], [`warehouse`]: where the rows of a table are kept.
//! * [`steps`]: sessions, duplicates, support, bots, splits, popularity, pairs, figures: the steps that
//!   every shop needs.
//! * [`unit_test`]: tests of steps, with rows given and rows expected.
//! * [`dataset`]: a table as the sessions that models are fitted on.
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use reco_core::{Interaction, Record};
//! use reco_transform::{Dag, Source, Warehouse, not_null};
//!
//! let clicks = [("monday", "hat"), ("monday", "scarf"), ("tuesday", "hat")].map(|(session, item)| {
//!     Interaction {
//!         session: session.into(),
//!         item: item.into(),
//!         occurred_at: reco_core::Timestamp::UNIX_EPOCH,
//!     }
//! });
//! let clicks = Source::batches(Interaction::schema(), vec![Interaction::to_batch(&clicks)?])?;
//!
//! let dag = Dag::builder()
//!     .source("clicks", clicks)
//!     .sql("interactions", "select * from clicks where item_id <> 'scarf'")
//!     .expect("interactions", not_null("item_id"))
//!     .build()?;
//! let run = dag.run(&Warehouse::in_memory()).await?;
//! assert_eq!(run.dataset("interactions").await?.n_sessions(), 2);
//! # Ok(())
//! # }
//! ```

pub mod dag;
pub mod dataset;
pub mod error;
pub mod materialize;
pub mod quality;
pub mod source;
pub mod sql;
pub mod step;
pub mod steps;
pub mod unit_test;
pub mod warehouse;

pub use datafusion;

pub use dag::{
    ColumnLineage, ColumnOrigins, ColumnRef, Dag, DagBuilder, DagEvent, DagRun, Lineage,
    LineageKind, LineageTable, Page, Selection, TableColumns, TableReport, TableStatus,
};
pub use dataset::session_dataset;
pub use error::{Error, Result};
pub use materialize::Materialization;
pub use quality::{
    Check, ColumnRange, ColumnValues, CountRange, Expectation, ExpectationConfig, IgnoreRowIf,
    MatchOn, Monotonic, ParseAs, Scalar, Suite, accepted_values, audit_table, between,
    checks_batch, checks_schema, column_count, column_distinct_count, column_distinct_share,
    column_exists, column_max, column_mean, column_median, column_min, column_quantile,
    column_stdev, column_sum, column_type, columns_match_ordered, columns_match_set, decreasing,
    distinct_values_contain, distinct_values_equal, distinct_values_in, expect_no_rows, expect_sql,
    failing_rows, freshness, increasing, matches_like, matches_like_list, matches_regex,
    matches_regex_list, matches_strftime, most_common_value, multicolumn_sum, not_matches_like,
    not_matches_like_list, not_matches_regex, not_matches_regex_list, not_null, null, pair_equal,
    pair_greater, pair_in_set, parseable, rejected_values, relationships, row_count,
    row_count_equals_table, row_count_near_earlier, unique, unique_within_record, value_lengths,
};
pub use source::{IntoSource, Source};
pub use sql::SqlStep;
pub use step::{Step, StepContext, StepExt, WithSchema, step_fn};
pub use steps::{
    BotFilter, BotFilterBy, CoOccurrence, CoOccurrenceMeasure, Deduplicate, Funnel, Granularity,
    Kpi, MinSupport, PopularityByWindow, SessionFeatures, Sessionize, SplitCut, TemporalSplit,
};
pub use unit_test::{RowDifference, Rows, StepTest, TestCase, TestSuite};
pub use warehouse::{Warehouse, WarehouseConfig};
