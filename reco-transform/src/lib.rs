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
//! * [`materialize`], [`warehouse`]: where the rows of a table are kept, what is published, what ran.
//! * [`steps`]: sessions, duplicates, support, bots, splits, popularity, pairs, figures: the steps that
//!   every shop needs.
//! * [`dashboard`]: how the shop is doing, as a page.
//! * [`unit_test`]: tests of steps, with rows given and rows expected.
//! * [`dataset`]: a table as the sessions that models are fitted on.
#![cfg_attr(
    feature = "ballista",
    doc = "* [`ballista`]: the same steps, computed by a cluster."
)]
#![cfg_attr(
    feature = "pgwire",
    doc = "* [`pgwire`]: the tables for whatever speaks to PostgreSQL."
)]
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

#[cfg(feature = "ballista")]
pub mod ballista;
pub mod dag;
pub mod dashboard;
pub mod dataset;
mod digest;
mod document;
mod engine;
pub mod error;
mod html;
pub mod incremental;
pub mod materialize;
#[cfg(feature = "pgwire")]
pub mod pgwire;
pub mod quality;
mod raw_scan;
pub mod source;
pub mod sql;
pub mod step;
pub mod steps;
pub mod unit_test;
pub mod warehouse;

pub use datafusion;

pub use dag::{
    Action, ColumnLineage, ColumnOrigins, ColumnRef, Dag, DagBuilder, DagEvent, DagPlan, DagRun,
    Evolution, Lineage, LineageKind, LineageTable, Page, PlannedTable, Selection, TableColumns,
    TableReport, TableStatus, Why,
};
pub use dashboard::{Dashboard, DashboardConfig, ItemNames};
pub use dataset::session_dataset;
pub use document::Place;
pub use error::{Error, Result};
pub use incremental::{
    Every, Incremental, Interval, Ledger, LedgerEntry, NullKeys, Reads, Strategy,
};
pub use materialize::Materialization;
#[cfg(feature = "pgwire")]
pub use pgwire::{PgConfig, PgServer};
pub use quality::{
    Check, CheckedTables, ColumnNearEarlier, ColumnProfile, ColumnRange, ColumnValues, CountRange,
    CustomExpectation, Expectation, ExpectationConfig, Finding, GreatExpectations, IgnoreRowIf,
    ImportedSuite, LeftOut, MatchOn, Metrics, Monotonic, ParseAs, Profile, ProfileConfig,
    QuantileValue, Scalar, Suite, ValueCount, accepted_values, audit_table, between, checks_batch,
    checks_schema, column_count, column_distinct_count, column_distinct_share, column_exists,
    column_max, column_mean, column_median, column_min, column_not_null_share, column_quantile,
    column_stdev, column_sum, column_type, columns_match_ordered, columns_match_set, decreasing,
    distinct_values_contain, distinct_values_equal, distinct_values_in, equal_within_record,
    expect_custom, expect_fn, expect_no_rows, expect_sql, failing_rows, freshness, increasing,
    matches_like, matches_like_list, matches_regex, matches_regex_list, matches_strftime,
    mean_near_earlier, most_common_value, multicolumn_sum, not_matches_like, not_matches_like_list,
    not_matches_regex, not_matches_regex_list, not_null, null, null_share_near_earlier, pair_equal,
    pair_greater, pair_in_set, parseable, profile_schema, quantile_near_earlier, rejected_values,
    relationships, row_count, row_count_equals_table, row_count_near_earlier, unique,
    unique_within_record, value_lengths,
};
pub use source::{IntoSource, Source};
pub use sql::SqlStep;
pub use step::{Step, StepContext, StepExt, WithSchema, step_fn};
pub use steps::{
    BotFilter, BotFilterBy, CoOccurrence, CoOccurrenceMeasure, Deduplicate, Funnel, Granularity,
    Kpi, MinSupport, PopularityByWindow, SessionFeatures, Sessionize, SplitCut, TemporalSplit,
};
pub use unit_test::{RowDifference, Rows, StepTest, TestCase, TestSuite};
pub use warehouse::{
    Catalog, Contents, EnvironmentState, Made, PROD, PublishedTable, Retention, RunCheck,
    RunRecord, RunRetention, RunStatus, RunTable, Vacuumed, Warehouse, WarehouseConfig,
};
