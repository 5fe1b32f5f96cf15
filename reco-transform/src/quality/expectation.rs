//! [`Expectation`]: a check, and what it means if it fails.

use std::fmt;
use std::sync::Arc;

use reco_core::{Severity, Timestamp};

use super::check::Check;
use super::config::ExpectationConfig;
use super::custom::CustomExpectation;
use crate::error::Result;
use crate::sql::tables_of;

/// What is expected of a table, and what it means if it is otherwise.
///
/// Made by a function for each kind of [`Check`], or of the data of a suite. Written with its arguments
/// as in reports: `between(price, 0..=1000)`.
///
/// # Examples
///
/// ```
/// use reco_transform::not_null;
///
/// let priced = not_null("price").mostly(0.99).when("kind = 'purchase'").warn();
/// assert_eq!(priced.name(), "not_null(price) mostly 0.99 when kind = 'purchase'");
/// ```
#[derive(Debug, Clone)]
pub struct Expectation {
    name: String,
    config: ExpectationConfig,
    /// What was wrong with the arguments that data cannot hold.
    defect: Option<&'static str>,
    /// What computes and judges it, if that is code of the host.
    custom: Option<Arc<dyn CustomExpectation>>,
}

impl Expectation {
    pub(crate) fn new(check: Check) -> Self {
        Self::from(ExpectationConfig::new(check))
    }

    pub(super) fn of_custom(custom: impl CustomExpectation) -> Self {
        let name = custom.name();
        Self::new(Check::Custom { name }).implemented_by(custom)
    }

    /// The same expectation, which reports a failure and holds nothing up.
    #[must_use]
    pub fn warn(mut self) -> Self {
        self.config.severity = Severity::Warn;
        self
    }

    /// The same expectation, which is met if at least this share of the rows pass, from 0 to 1.
    ///
    /// The share is of the rows that are looked at: those with NULL that are passed over do not count.
    /// Only for what single rows can fail.
    #[must_use]
    pub fn mostly(mut self, share: f64) -> Self {
        self.config.mostly = share;
        self.renamed()
    }

    /// The same expectation of the rows that meet a condition in SQL; no others are looked at.
    #[must_use]
    pub fn when(mut self, condition: impl Into<String>) -> Self {
        self.config.when = Some(condition.into());
        self.renamed()
    }

    /// The same expectation, whose samples show these columns, which tell rows apart, and those that it
    /// is about, instead of whole rows.
    #[must_use]
    pub fn key(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.config.key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// The same expectation, which takes ages at this time unless it says another; for
    /// [`freshness`](super::freshness) that a suite leaves open.
    #[must_use]
    pub fn as_of(mut self, now: Timestamp) -> Self {
        if let Check::Freshness { as_of, .. } = &mut self.config.check {
            as_of.get_or_insert(now);
        }
        self.renamed()
    }

    /// The same expectation, one of the host's own, with the code that evaluates it; for a
    /// [`Check::Custom`] that a suite names.
    ///
    /// It keeps the name that the suite gives it. For any other kind of check, it is refused.
    ///
    /// # Examples
    ///
    /// ```
    /// use reco_transform::datafusion::functions_aggregate::expr_fn::sum;
    /// use reco_transform::datafusion::prelude::ident;
    /// use reco_transform::{Check, CustomExpectation, Expectation, Finding, Suite};
    /// # use reco_transform::{CheckedTables, Metrics, datafusion::{error::Result, prelude::DataFrame}};
    ///
    /// # #[derive(Debug)]
    /// # struct Balanced;
    /// # impl CustomExpectation for Balanced {
    /// #     fn name(&self) -> String { "balanced".into() }
    /// #     fn inputs(&self) -> Vec<String> { Vec::new() }
    /// #     fn metrics(&self, tables: &CheckedTables) -> Result<DataFrame> {
    /// #         tables.table().aggregate(Vec::new(), vec![sum(ident("amount")).alias("sum")])
    /// #     }
    /// #     fn judge(&self, metrics: &Metrics) -> Result<Finding> {
    /// #         Ok(Finding::new(metrics.number("sum")? == Some(0.0)))
    /// #     }
    /// # }
    /// let suite = Suite::from_yaml("expectations: [{type: custom, name: balanced, severity: warn}]")?;
    /// let expectations = suite.expectations.into_iter().map(Expectation::from);
    /// let expectations = expectations.map(|expectation| match &expectation.config().check {
    ///     Check::Custom { name } if name == "balanced" => expectation.implemented_by(Balanced),
    ///     _ => expectation,
    /// });
    /// # assert_eq!(expectations.count(), 1);
    /// # Ok::<(), reco_transform::Error>(())
    /// ```
    #[must_use]
    pub fn implemented_by(mut self, custom: impl CustomExpectation) -> Self {
        if !matches!(self.check(), Check::Custom { .. }) {
            self.defect = Some("it is of a kind of ours, and needs no implementation");
        }
        self.custom = Some(Arc::new(custom));
        self
    }

    /// The expectation with its arguments.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The expectation as data.
    #[must_use]
    pub const fn config(&self) -> &ExpectationConfig {
        &self.config
    }

    pub(crate) const fn check(&self) -> &Check {
        &self.config.check
    }

    /// Why it could not fail, or not as meant, if it is put together wrongly.
    pub(crate) fn defect(&self) -> Option<&'static str> {
        let lacks_code = matches!(self.check(), Check::Custom { .. }) && self.custom.is_none();
        let lacks_code = lacks_code.then_some("nothing implements it (`implemented_by`)");
        self.defect.or(lacks_code).or_else(|| self.config.defect())
    }

    pub(super) const fn implementation(&self) -> Option<&Arc<dyn CustomExpectation>> {
        self.custom.as_ref()
    }

    pub(crate) fn with_defect(self, defect: Option<&'static str>) -> Self {
        Self { defect, ..self }
    }

    fn renamed(self) -> Self {
        Self {
            name: self.config.to_string(),
            ..self
        }
    }

    /// The tables that it reads besides its own.
    pub(crate) fn inputs(&self, table: &str) -> Result<Vec<String>> {
        let mut inputs = match self.check() {
            Check::Relationships { to_table, .. } => vec![to_table.clone()],
            Check::RowCountEqualsTable { table } => vec![table.clone()],
            Check::NullShareNearEarlier(near) | Check::MeanNearEarlier(near) => {
                vec![near.history.clone()]
            }
            Check::RowCountNearEarlier { history, .. }
            | Check::QuantileNearEarlier { history, .. } => vec![history.clone()],
            Check::NoRows { query, .. } => tables_of(&self.name, query)?,
            Check::Custom { .. } => {
                let custom = self.custom.as_ref();
                custom.map(|custom| custom.inputs()).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        inputs.retain(|input| input != table);
        Ok(inputs)
    }
}

impl From<ExpectationConfig> for Expectation {
    fn from(config: ExpectationConfig) -> Self {
        Self {
            name: config.to_string(),
            config,
            defect: None,
            custom: None,
        }
    }
}

impl From<Expectation> for ExpectationConfig {
    fn from(expectation: Expectation) -> Self {
        expectation.config
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
