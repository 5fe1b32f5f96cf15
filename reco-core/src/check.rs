//! [`CheckReport`]: the outcome of checks on a table or a model.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The outcome of all checks on one subject: a table before it is published, a model before it is
/// promoted.
///
/// # Examples
///
/// ```
/// use reco_core::{CheckReport, CheckResult, Severity};
///
/// let report = CheckReport::new("interactions", vec![CheckResult::passed("not_null(item_id)", 100)]);
/// assert!(report.passed());
/// assert_eq!(report.to_string(), "interactions: 1 of 1 checks passed");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The table or model that was checked.
    pub subject: String,
    /// One result a check, in the order of declaration.
    pub results: Vec<CheckResult>,
}

impl CheckReport {
    /// The results of the checks on a subject.
    #[must_use]
    pub fn new(subject: impl Into<String>, results: Vec<CheckResult>) -> Self {
        Self {
            subject: subject.into(),
            results,
        }
    }

    /// Whether nothing failed that blocks publication: failed warnings do not.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// The failed checks that block publication.
    pub fn failures(&self) -> impl Iterator<Item = &CheckResult> {
        self.results
            .iter()
            .filter(|result| !result.passed && result.severity == Severity::Error)
    }

    /// The failed checks that do not block publication.
    pub fn warnings(&self) -> impl Iterator<Item = &CheckResult> {
        self.results
            .iter()
            .filter(|result| !result.passed && result.severity == Severity::Warn)
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_passed = self.results.iter().filter(|result| result.passed).count();
        write!(
            f,
            "{}: {n_passed} of {} checks passed",
            self.subject,
            self.results.len()
        )?;
        for result in self.failures().chain(self.warnings()) {
            write!(f, "\n  {result}")?;
        }
        Ok(())
    }
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The check with its arguments: `between(price, 0, 1000)`.
    pub check: String,
    /// What a failure means.
    pub severity: Severity,
    /// Whether the subject is as the check expects.
    pub passed: bool,
    /// How many rows or cases were looked at.
    pub n_checked: u64,
    /// How many of them are not as expected.
    pub n_failed: u64,
    /// The first few that are not as expected, as JSON objects, at most [`Self::MAX_SAMPLES`].
    pub samples: Vec<String>,
    /// The value that was found, as JSON, where the check is on one: `15.5` for a mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// What was found where neither the counts nor the value say it.
    pub note: Option<String>,
}

impl CheckResult {
    /// The most samples that a result holds.
    pub const MAX_SAMPLES: usize = 5;

    /// The result of a check that found nothing wrong in `n_checked` cases.
    #[must_use]
    pub fn passed(check: impl Into<String>, n_checked: u64) -> Self {
        Self {
            check: check.into(),
            severity: Severity::Error,
            passed: true,
            n_checked,
            n_failed: 0,
            samples: Vec::new(),
            observed: None,
            note: None,
        }
    }

    /// The result of a check that found `n_failed` of `n_checked` cases wrong.
    #[must_use]
    pub fn failed(check: impl Into<String>, n_checked: u64, n_failed: u64) -> Self {
        Self {
            passed: false,
            n_failed,
            ..Self::passed(check, n_checked)
        }
    }

    /// The share of what was looked at that is not as expected, from 0 to 1; none of nothing is 0.
    #[must_use]
    pub fn failed_share(&self) -> f64 {
        if self.n_checked == 0 {
            return 0.0;
        }
        self.n_failed as f64 / self.n_checked as f64
    }

    /// The same result with another severity.
    #[must_use]
    pub fn with_severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// The same result with samples; those past [`Self::MAX_SAMPLES`] are left out.
    #[must_use]
    pub fn with_samples(mut self, samples: impl IntoIterator<Item = String>) -> Self {
        self.samples = samples.into_iter().take(Self::MAX_SAMPLES).collect();
        self
    }

    /// The same result with a note.
    #[must_use]
    pub fn with_note(self, note: impl Into<String>) -> Self {
        Self {
            note: Some(note.into()),
            ..self
        }
    }
}

impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match (self.passed, self.severity) {
            (true, _) => "passed",
            (false, Severity::Warn) => "warns",
            (false, Severity::Error) => "failed",
        };
        write!(
            f,
            "{} {verdict}: {} of {} rows",
            self.check, self.n_failed, self.n_checked
        )?;
        if let Some(observed) = &self.observed {
            write!(f, ", observed {observed}")?;
        }
        if let Some(note) = &self.note {
            write!(f, ", {note}")?;
        }
        for sample in &self.samples {
            write!(f, "\n    {sample}")?;
        }
        Ok(())
    }
}

/// What a failed check means for the publication of its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It is published, and the failure reported.
    Warn,
    /// It is not published.
    #[default]
    Error,
}
