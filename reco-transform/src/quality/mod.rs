//! What is expected of a table before it is published.
//!
//! A step makes a table, the table is audited, and only if it passes is it published: what depends on
//! it does not run otherwise, and who reads the warehouse keeps seeing the version before. An
//! expectation that [`warn`](Expectation::warn)s is reported and holds nothing up.
//!
//! As in Great Expectations, whose words these are, NULL is a failure of [`not_null`] alone: every other
//! expectation passes over rows where its column, or any of its columns, is NULL.
//!
//! All expectations that look at one row at a time are counted in a single pass over the table,
//! together with the number of rows. [`unique`], [`relationships`] and [`expect_no_rows`] need rows of
//! elsewhere and take a pass each. Rows that fail are looked for only once some are known to: the first
//! few in the order of their columns, so that the same table gives the same report.

mod expectation;

pub(crate) mod audit;
pub(crate) mod json;

pub use expectation::{
    Expectation, accepted_values, between, expect_no_rows, expect_sql, not_null, relationships,
    row_count, unique,
};
