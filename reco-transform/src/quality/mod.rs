//! What is expected of a table before it is published.
//!
//! A step makes a table, the table is audited, and only if it passes is it published: what depends on
//! it does not run otherwise, and who reads the warehouse keeps seeing the version before. An
//! expectation that [`warn`](Expectation::warn)s is reported and holds nothing up.
//!
//! As in Great Expectations, whose words these are, NULL is a failure of [`not_null`] alone: every other
//! expectation passes over rows where its column, or any of its columns, is NULL.
//!
//! An expectation is data: a [`Check`] with what goes with any check, [`mostly`](Expectation::mostly),
//! [`when`](Expectation::when) and its severity. It is written in Rust, by a function for each kind, or
//! read from a [`Suite`] in JSON or YAML; the two are the same, and each can be made of the other.
//! [`GreatExpectations`] reads the suites of the tool of that name, [`Profile`] drafts one of a table, and
//! [`CustomExpectation`] is what a host adds that no kind says.
//!
//! **One pass.** What single rows can fail is counted in a single pass over the table, together with the
//! number of rows, minima, means and all else that needs no more than a number for the whole table. Each
//! condition is computed for a batch of rows at a time, and its true bits are counted; what several have
//! in common is computed once. Medians and quantiles are exact, and found digit by digit: the first digits
//! are counted in that pass, and up to three more over their columns find the rest of all of them: none for
//! small whole numbers, one for prices. [`unique`], [`column_distinct_count`] and [`most_common_value`] group
//! the rows by their columns, one pass for each combination of columns. [`increasing`] sorts the rows,
//! [`relationships`] and [`expect_no_rows`] read other tables. What groups and sorts spills to disk.
//!
//! **Samples.** Rows that fail are looked for only once some are known to: the first few in the order of
//! their columns, so that the same table gives the same report. [`failing_rows`] gives all of them.
//!
//! **Earlier runs.** Results are rows of a table, [`checks_batch`], and what was found in earlier runs is
//! what [`null_share_near_earlier`] and the like compare with.

mod arguments;
mod auditor;
mod check;
mod columns;
mod config;
mod custom;
mod defect;
mod expectation;
mod functions;
mod further;
mod great_expectations;
mod guard;
mod history;
mod keys;
mod name;
mod near;
mod near_checks;
mod pass;
mod predicate;
mod profile;
mod quantile;
mod range;
mod regex;
mod row_checks;
mod rows;
mod samples;
mod scalar;
mod subject;
mod table_checks;
mod verdict;

pub(crate) mod audit;
pub(crate) mod json;

pub use arguments::{ColumnNearEarlier, ColumnValues, IgnoreRowIf, MatchOn, Monotonic, ParseAs};
pub use audit::{audit_table, failing_rows};
pub use check::Check;
pub use config::{ExpectationConfig, Suite};
pub use custom::{CheckedTables, CustomExpectation, Finding, Metrics, expect_custom, expect_fn};
pub use expectation::Expectation;
pub use great_expectations::{GreatExpectations, ImportedSuite, LeftOut};
pub use history::{checks_batch, checks_schema};
pub use near_checks::{
    mean_near_earlier, null_share_near_earlier, quantile_near_earlier, row_count_near_earlier,
};
pub use profile::{
    ColumnProfile, Profile, ProfileConfig, QuantileValue, ValueCount, profile_schema,
};
pub use range::{ColumnRange, CountRange};
pub use row_checks::{
    accepted_values, between, decreasing, equal_within_record, expect_sql, increasing,
    matches_like, matches_like_list, matches_regex, matches_regex_list, matches_strftime,
    multicolumn_sum, not_matches_like, not_matches_like_list, not_matches_regex,
    not_matches_regex_list, not_null, null, pair_equal, pair_greater, pair_in_set, parseable,
    rejected_values, relationships, unique, unique_within_record, value_lengths,
};
pub use scalar::Scalar;
pub use table_checks::{
    column_count, column_distinct_count, column_distinct_share, column_exists, column_max,
    column_mean, column_median, column_min, column_not_null_share, column_quantile, column_stdev,
    column_sum, column_type, columns_match_ordered, columns_match_set, distinct_values_contain,
    distinct_values_equal, distinct_values_in, expect_no_rows, freshness, most_common_value,
    row_count, row_count_equals_table,
};
