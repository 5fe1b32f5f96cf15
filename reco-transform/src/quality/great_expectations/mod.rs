//! [`GreatExpectations`]: suites of Great Expectations, read as they are.
//!
//! Both formats of its JSON are read, told apart by their keys: that of the versions 0.x
//! (`expectation_suite_name`, `expectation_type`) and that of 1.x (`name`, `type`, `severity`).
//! Each expectation becomes one of ours that gives the same verdict, or several where it holds several
//! limits, as `expect_column_quantile_values_to_be_between` does. What cannot be translated is an error
//! that lists it all, or, where the host asks for what fits, a list beside the rest. Nothing is left out
//! unseen.
//!
//! What has no part in the verdict is read and not kept: `meta`, `notes`, `id` and the like, `batch_id`,
//! `catch_exceptions`, `include_config`, and of `result_format` all but
//! `unexpected_index_column_names`, which becomes [`key`](Expectation::key).
//!
//! # Where the verdict may differ
//!
//! Great Expectations gives other verdicts on other engines. Ours are, as a rule, those of its SQL
//! engines:
//!
//! * Quantiles are values of the column (`percentile_disc`); on pandas they are the nearest rank.
//! * A condition of rows that is neither true nor false of a row, for its NULLs, does not take it in. One in
//!   the language of pandas does what pandas does: there, a missing value is unequal to any other.
//! * `LIKE` tells upper from lower case, unlike that of SQLite.
//! * With `ignore_row_if` `never`, a NULL equals nothing, as in SQL.
//!
//! And these are ours:
//!
//! * A range in which no value is, such as above 20 and up to 20, is refused.
//! * A share of no values is none, and in no range; there it is 0.
//! * Regular expressions are those of Rust's `regex`, without look-around and backreferences.
//! * The families of types are wider: `INTEGER` is any integer. See [`Check::ColumnType`].
//! * Rows have no order of their own: [`row_order`](GreatExpectations::row_order) says it.

mod arguments;
mod condition;
mod kinds;
mod of_rows;
mod of_tables;
mod pandas;
mod suite;
mod types;

use std::collections::BTreeMap;
use std::fmt;

use reco_core::{BoxError, Severity, did_you_mean, nearest};
use serde_json::{Map, Value};

use self::arguments::{Arguments, Reason};
use self::suite::{Entry, Outline};
use super::config::{ExpectationConfig, Suite};
use super::expectation::Expectation;
use crate::error::{Error, Result};

#[cfg(doc)]
use super::check::Check;

/// How suites of Great Expectations are read.
///
/// # Examples
///
/// ```
/// use reco_transform::{Dag, GreatExpectations};
///
/// let suite = r#"{
///     "expectation_suite_name": "browsing",
///     "data_asset_type": "Dataset",
///     "expectations": [
///         {"expectation_type": "expect_column_values_to_not_be_null", "kwargs": {"column": "sku"}},
///         {"expectation_type": "expect_column_values_to_be_between",
///          "kwargs": {"column": "price", "min_value": 0, "strict_min": true, "mostly": 0.95}}
///     ],
///     "meta": {"great_expectations_version": "0.13.19"}
/// }"#;
/// let suite = GreatExpectations::new().read(suite)?;
/// assert_eq!(suite.expectations[1].name(), "between(price, above 0, ..) mostly 0.95");
///
/// let dag = Dag::builder()
///     .sql("browsing", "select 'hat' as sku, 9.5 as price")
///     .expect_all("browsing", suite.expectations)
///     .build()?;
/// # Ok::<(), reco_transform::Error>(())
/// ```
///
/// An expectation that a project wrote itself is refused by its name, until the host says what it is:
///
/// ```
/// use reco_transform::{GreatExpectations, expect_no_rows};
///
/// let suite = r#"{"name": "browsing", "expectations": [
///     {"type": "expect_average_session_length_to_be_between",
///      "kwargs": {"column": "session_id", "min_value": 2, "max_value": 10}}
/// ]}"#;
/// let error = GreatExpectations::new().read(suite).unwrap_err();
/// assert!(error.to_string().contains("expect_average_session_length_to_be_between"));
///
/// let reader = GreatExpectations::new().custom(
///     "expect_average_session_length_to_be_between",
///     |kwargs| {
///         let limits = (kwargs["min_value"].as_f64(), kwargs["max_value"].as_f64());
///         let (Some(min), Some(max)) = limits else { return Err("it has no limits".into()) };
///         Ok(expect_no_rows(
///             "average session length",
///             format!(
///                 "select avg(n) from (select count(*) as n from browsing group by session_id)
///                  having avg(n) not between {min} and {max}"
///             ),
///         ))
///     },
/// );
/// assert_eq!(reader.read(suite)?.expectations.len(), 1);
/// # Ok::<(), reco_transform::Error>(())
/// ```
#[derive(Default)]
pub struct GreatExpectations {
    table: Option<String>,
    row_order: Vec<String>,
    parameters: Map<String, Value>,
    custom: BTreeMap<String, Custom>,
}

type Custom = Box<dyn Fn(&Map<String, Value>) -> Result<Expectation, BoxError> + Send + Sync>;

/// A suite of Great Expectations, translated.
#[derive(Debug, Clone)]
pub struct ImportedSuite {
    /// What it is called.
    pub name: String,
    /// What it expects, in its order.
    pub expectations: Vec<Expectation>,
    /// What could not be translated; nothing unless it was read with
    /// [`read_what_fits`](GreatExpectations::read_what_fits).
    pub left_out: Vec<LeftOut>,
}

/// An expectation of Great Expectations that could not be translated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Which of the suite it is, from 0.
    pub position: usize,
    /// Its type.
    pub kind: String,
    /// Why it could not be.
    pub reason: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            position,
            kind,
            reason,
        } = self;
        write!(f, "expectation {position}, `{kind}`: {reason}")
    }
}

impl GreatExpectations {
    /// Reads what a suite says by itself.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says what the table is called that the suite is about, for `{batch}` in the query of an
    /// `unexpected_rows_expectation`.
    #[must_use]
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = Some(table.into());
        self
    }

    /// Says by which columns rows are in order, for `expect_column_values_to_be_increasing` and
    /// `…_decreasing`.
    #[must_use]
    pub fn row_order(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.row_order = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets an evaluation parameter, called suite parameter from 1.0 on. It goes before the value that the
    /// suite has for it.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.parameters.insert(name.into(), value.into());
        self
    }

    /// Says what an expectation is that is not one of Great Expectations' own, or takes the place of one
    /// that is.
    ///
    /// The closure gets its `kwargs`, `mostly` and `row_condition` among them, with parameters resolved.
    #[must_use]
    pub fn custom<F>(mut self, kind: impl Into<String>, translate: F) -> Self
    where
        F: Fn(&Map<String, Value>) -> Result<Expectation, BoxError> + Send + Sync + 'static,
    {
        self.custom.insert(kind.into(), Box::new(translate));
        self
    }

    /// Reads a suite, all of it.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSuite`] if it is no suite, and [`Error::Untranslated`] with all that cannot be
    /// translated.
    pub fn read(&self, json: &str) -> Result<ImportedSuite> {
        let suite = self.read_what_fits(json)?;
        if suite.left_out.is_empty() {
            return Ok(suite);
        }
        Err(Error::Untranslated {
            suite: suite.name,
            left_out: suite.left_out,
        })
    }

    /// Reads what can be translated of a suite, and lists the rest.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSuite`] if it is no suite.
    pub fn read_what_fits(&self, json: &str) -> Result<ImportedSuite> {
        let outline = Outline::read(json)?;
        let mut parameters = outline.parameters;
        parameters.extend(self.parameters.clone());
        let mut expectations = Vec::new();
        let mut left_out = Vec::new();
        for (position, entry) in outline.entries.into_iter().enumerate() {
            let kind = entry.kind.clone();
            match self.translate(entry, &parameters) {
                Ok(translated) => expectations.extend(translated),
                Err(reason) => left_out.push(LeftOut {
                    position,
                    kind,
                    reason,
                }),
            }
        }
        Ok(ImportedSuite {
            name: outline.name,
            expectations,
            left_out,
        })
    }

    fn translate(
        &self,
        entry: Entry,
        parameters: &Map<String, Value>,
    ) -> Result<Vec<Expectation>, Reason> {
        let severity = entry.severity;
        let kwargs = suite::resolve(entry.kwargs, parameters)?;
        if entry.has_windows {
            return Err(
                "its limits move with earlier runs; see `null_share_near_earlier` and \
                the like"
                    .to_owned(),
            );
        }
        if let Some(custom) = self.custom.get(&entry.kind) {
            let expectation = custom(&kwargs).map_err(|error| error.to_string())?;
            return Ok(vec![match severity {
                Severity::Warn => expectation.warn(),
                Severity::Error => expectation,
            }]);
        }
        let Some(kind) = kinds::find(&entry.kind) else {
            let hint = did_you_mean(nearest(&entry.kind, kinds::names()).as_deref());
            return Err(format!(
                "Great Expectations has none of this name{hint}; say what it is with \
                 `GreatExpectations::custom`"
            ));
        };
        let mut arguments = Arguments::new(kwargs);
        let common = arguments.common()?;
        let checks = kind?(&mut arguments, self, entry.description.as_deref())?;
        arguments.finish()?;
        let configs = checks.into_iter().map(|translated| {
            let when = condition::both(translated.when, common.when.clone());
            let config = ExpectationConfig {
                check: translated.check,
                mostly: common.mostly,
                when,
                severity,
                key: common.key.clone(),
            };
            match config.defect() {
                Some(defect) => Err(defect.to_owned()),
                None => Ok(Expectation::from(config)),
            }
        });
        configs.collect()
    }
}

impl fmt::Debug for GreatExpectations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GreatExpectations")
            .field("table", &self.table)
            .field("row_order", &self.row_order)
            .field("parameters", &self.parameters)
            .field("custom", &self.custom.keys())
            .finish()
    }
}

/// The suite as data of ours, without the code of its custom expectations.
impl From<ImportedSuite> for Suite {
    fn from(imported: ImportedSuite) -> Self {
        Self {
            name: imported.name,
            expectations: imported.expectations.into_iter().map(Into::into).collect(),
        }
    }
}
