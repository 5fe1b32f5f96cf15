//! [`Auditor`]: a table, and how each expectation on it is evaluated.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::{ScalarValue, TableReference};
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{DataFrame, SessionContext};
use reco_core::{CheckReport, CheckResult};
use serde_json::Value;

use super::audit::Audit;
use super::check::Check;
use super::defect::is_of_rows;
use super::expectation::Expectation;
use super::json;
use super::keys::KeyCounts;
use super::pass::{Pass, Slot, Totals, Wanted};
use super::predicate::row_condition;
use super::quantile::{middle_of, rank_of};
use super::rows::Rows;
use super::samples::sample;
use super::scalar::number;
use super::verdict::{Verdict, check_age, check_occurrences, share_passes};
use crate::error::{Error, Result};

/// A table that expectations are evaluated on.
pub(super) struct Auditor<'a> {
    pub(super) session: &'a SessionContext,
    pub(super) table: &'a str,
    pub(super) frame: DataFrame,
}

/// What was found of a table so far.
pub(super) struct Found {
    totals: Totals,
    pub(super) keys: Vec<(Rows, KeyCounts)>,
}

impl<'a> Auditor<'a> {
    pub(super) async fn new(
        session: &'a SessionContext,
        table: &'a str,
        provider: &Arc<dyn TableProvider>,
    ) -> EngineResult<Self> {
        let name = TableReference::bare(table);
        session.deregister_table(name.clone())?;
        session.register_table(name.clone(), Arc::clone(provider))?;
        Ok(Self {
            session,
            table,
            frame: session.table(name).await?,
        })
    }

    pub(super) async fn over(session: &'a SessionContext, table: &'a str) -> Result<Self> {
        let frame = session.table(TableReference::bare(table)).await;
        Ok(Self {
            session,
            table,
            frame: frame.map_err(|source| Error::Read {
                table: table.to_owned(),
                source,
            })?,
        })
    }

    pub(super) async fn audit(&self, expectations: &[Expectation]) -> Result<Audit> {
        let failed = |expectation: &Expectation, error| {
            Error::of_expectation(expectation.name(), self.table, error)
        };
        let mut pass = Pass::new();
        let mut wanted = Vec::with_capacity(expectations.len());
        for expectation in expectations {
            let config = expectation.config();
            let slots = pass.want(config, self.session, self.frame.schema());
            wanted.push(slots.map_err(|error| failed(expectation, error))?);
        }
        let totals = self.pass(pass, expectations, &wanted).await;
        let totals = totals.map_err(|error| {
            let names: Vec<&str> = expectations.iter().map(Expectation::name).collect();
            Error::of_expectation(&names.join(", "), self.table, error)
        })?;
        let mut found = Found {
            totals,
            keys: Vec::new(),
        };
        let mut results = Vec::with_capacity(expectations.len());
        for (expectation, wanted) in expectations.iter().zip(&wanted) {
            let verdict = self.judge(expectation, wanted, &mut found).await;
            let verdict = verdict.map_err(|error| failed(expectation, error))?;
            let result = self.result(expectation, verdict).await;
            results.push(result.map_err(|error| failed(expectation, error))?);
        }
        Ok(Audit {
            report: CheckReport::new(self.table, results),
            n_rows: Some(found.totals.count(Pass::N_ROWS)),
        })
    }

    /// Counts all that can be counted at once, and finds the quantiles.
    async fn pass(
        &self,
        pass: Pass,
        expectations: &[Expectation],
        wanted: &[Wanted],
    ) -> EngineResult<Totals> {
        let mut totals = pass.compute(self.frame.clone()).await?;
        for (expectation, wanted) in expectations.iter().zip(wanted) {
            if let Wanted::Ranked(slot) = wanted {
                for rank in ranks(expectation.check(), totals.n_ranked(*slot)) {
                    totals.want_rank(*slot, rank);
                }
            }
        }
        totals.find_ranks(&self.frame).await?;
        Ok(totals)
    }

    /// Whether an expectation is met.
    async fn judge(
        &self,
        expectation: &Expectation,
        wanted: &Wanted,
        found: &mut Found,
    ) -> EngineResult<Verdict> {
        let totals = &found.totals;
        let n_rows = totals.count(Pass::N_ROWS);
        let check = expectation.check();
        match wanted {
            Wanted::Rows {
                n_failed,
                n_considered,
            } => Ok(Verdict::of_rows(
                totals.count(*n_considered),
                totals.count(*n_failed),
            )),
            Wanted::Value(slot) => {
                let value = totals.value(*slot);
                match check {
                    Check::ColumnMin(range)
                    | Check::ColumnMax(range)
                    | Check::ColumnMean(range)
                    | Check::ColumnStdev(range)
                    | Check::ColumnSum(range) => Ok(Verdict::new(
                        range.includes(value),
                        n_rows,
                        json::value(value)?,
                    )),
                    Check::MeanNearEarlier(_) => {
                        let observed = json::value(value)?;
                        self.beside_earlier(expectation, number(value), observed, n_rows)
                            .await
                    }
                    check => check_age(check, value, n_rows),
                }
            }
            Wanted::Nulls {
                n_null,
                n_considered,
            } => {
                let (n_null, n) = (totals.count(*n_null), totals.count(*n_considered));
                let share = |part: u64| (n > 0).then(|| part as f64 / n as f64);
                if let Check::ColumnNotNullShare(range) = check {
                    let known = share(n - n_null);
                    let passed = range.includes(&ScalarValue::from(known));
                    return Ok(Verdict::new(passed, n_rows, Value::from(known)));
                }
                let share = share(n_null);
                self.beside_earlier(expectation, share, Value::from(share), n_rows)
                    .await
            }
            Wanted::Ranked(slot) => {
                let value = ranked(check, totals, *slot);
                let observed = Value::from(value);
                let value_of = || ScalarValue::from(value);
                match check {
                    Check::ColumnMedian(range) => {
                        Ok(Verdict::new(range.includes(&value_of()), n_rows, observed))
                    }
                    Check::ColumnQuantile { min, max, .. } => {
                        let passed = value.is_some_and(|value| {
                            min.is_none_or(|min| value >= min) && max.is_none_or(|max| value <= max)
                        });
                        Ok(Verdict::new(passed, n_rows, observed))
                    }
                    _ => {
                        self.beside_earlier(expectation, value, observed, n_rows)
                            .await
                    }
                }
            }
            Wanted::Occurrences { of_each, of_others } => {
                let of_each: Vec<_> = of_each.iter().map(|slot| totals.count(*slot)).collect();
                let of_others = of_others.map_or(0, |slot| totals.count(slot));
                Ok(check_occurrences(check, n_rows, &of_each, of_others))
            }
            Wanted::Considered(slot) => {
                let n_considered = totals.count(*slot);
                self.look_further(expectation, n_rows, n_considered, found)
                    .await
            }
        }
    }

    async fn result(
        &self,
        expectation: &Expectation,
        verdict: Verdict,
    ) -> EngineResult<CheckResult> {
        let config = expectation.config();
        let passed = match verdict.passed {
            Some(passed) => passed,
            None => share_passes(verdict.n_failed, verdict.n_checked, config.mostly),
        };
        let mut result = CheckResult {
            severity: config.severity,
            passed,
            n_failed: verdict.n_failed,
            observed: verdict.observed.map(|value| value.to_string()),
            note: verdict.note,
            ..CheckResult::passed(expectation.name(), verdict.n_checked)
        };
        if !passed
            && verdict.n_failed > 0
            && let Some(failing) = self.failing(expectation).await?
        {
            let shown = self.rows(expectation)?.shown(&config.key);
            result = result.with_samples(sample(failing, &shown).await?);
        }
        Ok(result)
    }

    /// All rows that fail; none for what no row can fail.
    pub(super) async fn failing(
        &self,
        expectation: &Expectation,
    ) -> EngineResult<Option<DataFrame>> {
        let (config, schema) = (expectation.config(), self.frame.schema());
        if let Some(condition) = row_condition(config, self.session, schema)? {
            let fails = condition.fails.into_iter().reduce(Expr::and);
            let fails = fails.expect("there is a condition to fail");
            return self.frame.clone().filter(fails).map(Some);
        }
        match expectation.check() {
            Check::NoRows { query, .. } => self.session.sql(query).await.map(Some),
            check if is_of_rows(check) => {
                let other = match check {
                    Check::Relationships { to_table, .. } => {
                        let name = TableReference::bare(to_table.as_str());
                        Some(self.session.table(name).await?)
                    }
                    _ => None,
                };
                self.rows(expectation)?.failing(check, other)
            }
            _ => Ok(None),
        }
    }

    pub(super) fn rows(&self, expectation: &Expectation) -> EngineResult<Rows> {
        Rows::of(expectation.config(), self.session, &self.frame)
    }

    /// A plan that names all that an expectation needs.
    pub(super) async fn plan(&self, expectation: &Expectation) -> EngineResult<DataFrame> {
        let mut pass = Pass::new();
        let wanted = pass.want(expectation.config(), self.session, self.frame.schema())?;
        let check = expectation.check();
        if check.metric().is_some() {
            self.earlier(expectation).await?;
        }
        let Wanted::Considered(_) = wanted else {
            return pass.plan(self.frame.clone());
        };
        match check {
            Check::RowCountEqualsTable { table } => {
                self.session
                    .table(TableReference::bare(table.as_str()))
                    .await
            }
            Check::RowCountNearEarlier { .. } => self.earlier(expectation).await,
            Check::Custom { .. } => self.metrics(expectation).await,
            Check::ColumnDistinctCount(_)
            | Check::ColumnDistinctShare(_)
            | Check::MostCommonValue { .. } => self.rows(expectation)?.keys(),
            Check::ColumnType { column, .. } => {
                self.frame.schema().field_with_unqualified_name(column)?;
                Ok(self.frame.clone())
            }
            _ => match self.failing(expectation).await? {
                Some(failing) => Ok(failing),
                None => pass.plan(self.frame.clone()),
            },
        }
    }
}

/// The ranks of the values that a check is about.
fn ranks(check: &Check, n_values: u64) -> Vec<u64> {
    match check {
        _ if n_values == 0 => Vec::new(),
        Check::ColumnQuantile { quantile, .. } | Check::QuantileNearEarlier { quantile, .. } => {
            vec![rank_of(*quantile, n_values)]
        }
        _ => middle_of(n_values).to_vec(),
    }
}

/// The value at the rank of a check, or the mean of those in the middle; none if there are no values.
fn ranked(check: &Check, totals: &Totals, slot: Slot) -> Option<f64> {
    let ranks = ranks(check, totals.n_ranked(slot));
    let value = |rank: &u64| totals.ranked(slot, *rank);
    let (first, last) = (value(ranks.first()?)?, value(ranks.last()?)?);
    Some(first.midpoint(last))
}
