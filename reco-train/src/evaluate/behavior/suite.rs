//! [`Suite`]: the tests of a shop, and what each must find.

use std::collections::BTreeMap;

use reco_core::{Model, Severity};

use super::report::{BehaviorReport, BehaviorResult};
use super::{BehaviorTest, Cases, Expectation, Subject};
use crate::error::{Error, Result};

/// The tests of a shop, and what each must find.
///
/// The module's page has an example.
#[derive(Debug, Default)]
pub struct Suite {
    checks: Vec<(Box<dyn BehaviorTest>, Expectation, Severity)>,
}

impl Suite {
    /// A model that does not do so is not promoted.
    #[must_use]
    pub fn require(self, test: impl BehaviorTest, expectation: Expectation) -> Self {
        self.with(test, expectation, Severity::Error)
    }

    /// A model that does not do so is promoted with a warning.
    #[must_use]
    pub fn warn(self, test: impl BehaviorTest, expectation: Expectation) -> Self {
        self.with(test, expectation, Severity::Warn)
    }

    /// The value is reported, whatever it is.
    #[must_use]
    pub fn report(self, test: impl BehaviorTest) -> Self {
        self.with(test, Expectation::Anything, Severity::Warn)
    }

    fn with(
        mut self,
        test: impl BehaviorTest,
        expectation: Expectation,
        severity: Severity,
    ) -> Self {
        self.checks.push((Box::new(test), expectation, severity));
        self
    }

    /// Puts a model through all tests, one after the other.
    ///
    /// `champion` has the values of the model that serves now: the
    /// [`scores`](reco_core::Manifest::scores) of its manifest, or those of a
    /// [report](BehaviorReport::scores) on the same cases, which is the stricter comparison.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if two tests have one name, [`Error::InvalidAnswer`], and what the model or a
    /// test says. An expectation that is not met is no error: it is in the report.
    pub fn run(
        &self,
        model: &dyn Model,
        cases: &Cases<'_>,
        champion: Option<&BTreeMap<String, f64>>,
    ) -> Result<BehaviorReport> {
        let mut names: Vec<String> = self.checks.iter().map(|(test, ..)| test.name()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::InvalidConfig {
                model: "behavioural tests",
                key: "name",
                reason: format!("`{}` is that of two tests", twice[0]),
            });
        }
        let span = tracing::info_span!(
            "behavior",
            kind = model.kind(),
            n_cases = cases.cases().len()
        );
        let run = || {
            let subject = Subject::new(model, cases)?;
            let result =
                |(test, expectation, severity): &(Box<dyn BehaviorTest>, Expectation, Severity)| {
                    let name = test.name();
                    let measured = test.measure(&subject)?;
                    let champion = champion
                        .and_then(|scores| scores.get(&BehaviorReport::score_name(&name)))
                        .copied();
                    Ok(BehaviorResult::new(
                        name,
                        test.description(),
                        measured,
                        *expectation,
                        *severity,
                        champion,
                    ))
                };
            Ok(BehaviorReport {
                kind: model.kind().to_owned(),
                n_cases: cases.cases().len() as u64,
                config: cases.config(),
                results: self.checks.iter().map(result).collect::<Result<_>>()?,
            })
        };
        span.in_scope(run)
    }
}
