//! [`BehaviorReport`]: how a model behaves, and whether it may be promoted.

use std::fmt;

use reco_core::{CheckReport, CheckResult, Severity};
use serde::{Deserialize, Serialize};

use super::{CaseConfig, Expectation, Measured};

/// How a model behaves: the outcome of a [`Suite`](super::Suite).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BehaviorReport {
    /// The kind of model.
    pub kind: String,
    /// How many queries it was asked.
    pub n_cases: u64,
    /// How they were drawn.
    pub config: CaseConfig,
    /// One result a test, in the order of the suite.
    pub results: Vec<BehaviorResult>,
}

/// The outcome of one test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BehaviorResult {
    /// The test.
    pub name: String,
    /// What its value means.
    pub description: String,
    /// What was found.
    pub measured: Measured,
    /// What was expected.
    pub expectation: Expectation,
    /// What it means that it was not found.
    pub severity: Severity,
    /// The champion's value.
    pub champion: Option<f64>,
    /// Whether what was found is as expected.
    pub passed: bool,
}

impl BehaviorReport {
    /// Whether nothing failed that keeps the model from being promoted: failed warnings do not.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// The failed tests that keep the model from being promoted.
    pub fn failures(&self) -> impl Iterator<Item = &BehaviorResult> {
        let fails = |result: &&BehaviorResult| !result.passed && result.severity == Severity::Error;
        self.results.iter().filter(fails)
    }

    /// The result of a test, by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&BehaviorResult> {
        self.results.iter().find(|result| result.name == name)
    }

    /// The values as scores of an artifact, `behavior/coverage@20`: what the next candidate is compared with.
    pub fn scores(&self) -> impl Iterator<Item = (String, f64)> {
        let score = |result: &BehaviorResult| {
            Some((Self::score_name(&result.name), result.measured.value?))
        };
        self.results.iter().filter_map(score)
    }

    /// The outcome as checks of a model, which an artifact carries and a registry heeds.
    #[must_use]
    pub fn checks(&self, model: impl Into<String>) -> CheckReport {
        CheckReport::new(
            model,
            self.results.iter().map(BehaviorResult::check).collect(),
        )
    }

    pub(super) fn score_name(test: &str) -> String {
        format!("behavior/{test}")
    }
}

impl fmt::Display for BehaviorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_passed = self.results.iter().filter(|result| result.passed).count();
        write!(
            f,
            "{}: {n_passed} of {} behavioural tests passed",
            self.kind,
            self.results.len()
        )?;
        for result in &self.results {
            let verdict = match (result.passed, result.severity) {
                (true, _) => "passed",
                (false, Severity::Warn) => "warns",
                (false, Severity::Error) => "FAILED",
            };
            let value = result
                .measured
                .value
                .map_or_else(|| "none".to_owned(), |value| format!("{value:.4}"));
            write!(
                f,
                "\n  {verdict:6} {} = {value} ({})",
                result.name, result.expectation
            )?;
        }
        Ok(())
    }
}

impl BehaviorResult {
    pub(super) fn new(
        name: String,
        description: String,
        mut measured: Measured,
        expectation: Expectation,
        severity: Severity,
        champion: Option<f64>,
    ) -> Self {
        // JSON holds no other numbers.
        measured.value = measured.value.filter(|value| value.is_finite());
        measured.parts.retain(|part| part.value.is_finite());
        let passed = expectation.is_met(measured.value, champion);
        Self {
            name,
            description,
            measured,
            expectation,
            severity,
            champion,
            passed,
        }
    }

    fn check(&self) -> CheckResult {
        let n_cases = self.measured.n_cases;
        let mut check = CheckResult::passed(format!("{} {}", self.name, self.expectation), n_cases)
            .with_severity(self.severity)
            .with_samples(self.measured.samples.iter().cloned());
        check.passed = self.passed;
        check.observed = self.measured.value.map(|value| value.to_string());
        check.note = match (self.measured.value, self.champion) {
            (None, _) => Some("no value was found".to_owned()),
            (_, Some(champion)) => Some(format!("the champion has {champion}")),
            _ => None,
        };
        check
    }
}
