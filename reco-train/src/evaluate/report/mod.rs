//! [`Report`]: models side by side, as data and as a page to look at.

mod behavior;
pub(crate) mod html;
mod page;
mod plot;

use serde::{Deserialize, Serialize};

use super::behavior::BehaviorReport;
use super::{Bootstrap, Difference, Estimate, Protocol, Ranks, Slices, Slicing};
use crate::error::{Error, Result};

/// Models side by side on one test set: their scores with intervals, in slices, their differences, how they
/// behave.
///
/// It is plain data: [`to_json`](Self::to_json) for a program or a diff of two runs, [`to_html`](Self::to_html)
/// for a reader. The same models make the same bytes.
///
/// # Examples
///
/// ```
/// # use std::ops::ControlFlow;
/// # use reco_core::{SessionDataset, SessionEncoding};
/// # use reco_train::{PopularityTrainer, Trainer};
/// use reco_train::evaluate::{Bootstrap, ModelReport, Mrr, Protocol, Recall, Report, Slicing};
///
/// # let mut builder = SessionDataset::builder(SessionEncoding::default());
/// # for (session, item, day) in [("a", "hat", 1), ("a", "scarf", 1), ("b", "hat", 1), ("c", "scarf", 2), ("c", "hat", 2)] {
/// #     builder.push(session, item, format!("2024-05-0{day}T10:00Z").parse()?)?;
/// # }
/// # let split = builder.build()?.split_last_days(1)?;
/// # let model = PopularityTrainer.fit(&split.train, &mut |_| ControlFlow::Continue(()))?;
/// let ranks = Protocol::default().rank(&model, &split.test, &[Mrr::at(20), Recall::at(20)])?;
/// let slicings = [Slicing::by_query_length(&[1, 2, 3, 6]), Slicing::by_popularity(split.train.vocabulary())];
///
/// let mut report = Report::new("Next item, May 2024");
/// report.models.push(ModelReport::new("bestsellers", &ranks, &slicings, Some(&Bootstrap::default()))?);
/// assert_eq!(Report::from_json(&report.to_json())?, report);
/// assert!(report.to_html().starts_with("<!doctype html>"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of the report's format; this build writes and reads [`Report::FORMAT`].
    pub format_version: u32,
    /// What it is about.
    pub title: String,
    /// The models, in the order in which they are shown.
    pub models: Vec<ModelReport>,
    /// Pairs of them.
    pub comparisons: Vec<Comparison>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelReport {
    /// What it is called.
    pub name: String,
    /// The kind of model.
    pub kind: String,
    /// How it was asked.
    pub protocol: Protocol,
    /// How many targets were ranked.
    pub n_queries: u64,
    /// How many it does not know.
    pub n_unseen: u64,
    /// How the intervals were drawn.
    pub bootstrap: Option<Bootstrap>,
    /// The value of each metric.
    pub estimates: Vec<Estimate>,
    /// And in slices.
    pub slices: Vec<Slices>,
    /// How it behaves, where that was tested.
    pub behavior: Option<BehaviorReport>,
}

/// Two models beside each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The one.
    pub model: String,
    /// The one that it is compared with.
    pub baseline: String,
    /// How much better the one is, by metric.
    pub differences: Vec<Difference>,
}

impl Report {
    /// The format that this build writes and reads.
    pub const FORMAT: u32 = 1;

    /// A report of no model yet.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            format_version: Self::FORMAT,
            title: title.into(),
            models: Vec::new(),
            comparisons: Vec::new(),
        }
    }

    /// The report as JSON, indented, so that two runs can be compared line by line.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "plain data with strings as keys is always JSON"
    )]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is plain data with strings as keys")
    }

    /// A report from its JSON; the last of a number's 17 digits may be another.
    ///
    /// # Errors
    ///
    /// [`Error::Report`] if it is none, or of another format.
    pub fn from_json(json: &str) -> Result<Self> {
        /// Read first: a later format may have other fields.
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let Version { format_version } = serde_json::from_str(json)?;
        if format_version != Self::FORMAT {
            return Err(Error::Core(reco_core::Error::UnsupportedFormat {
                what: "evaluation report",
                found: format_version,
                supported: Self::FORMAT,
            }));
        }
        Ok(serde_json::from_str(json)?)
    }

    /// The report as a page in HTML that needs nothing else: no network, no server, no script. It is light or
    /// dark as the reader's system is.
    #[must_use]
    pub fn to_html(&self) -> String {
        page::page(self)
    }
}

impl ModelReport {
    /// What there is to say about a model by its ranks, with intervals where asked for.
    ///
    /// # Errors
    ///
    /// As [`Bootstrap::check`].
    pub fn new(
        name: impl Into<String>,
        ranks: &Ranks<'_>,
        slicings: &[Slicing],
        bootstrap: Option<&Bootstrap>,
    ) -> Result<Self> {
        let slices = slicings
            .iter()
            .map(|slicing| ranks.slices(slicing, bootstrap));
        Ok(Self {
            name: name.into(),
            kind: ranks.kind().to_owned(),
            protocol: ranks.protocol(),
            n_queries: ranks.n_queries() as u64,
            n_unseen: ranks.n_unseen(),
            bootstrap: bootstrap.copied(),
            estimates: ranks.estimates(bootstrap)?,
            slices: slices.collect::<Result<_>>()?,
            behavior: None,
        })
    }

    /// The same with how it behaves.
    #[must_use]
    pub fn with_behavior(self, behavior: BehaviorReport) -> Self {
        Self {
            behavior: Some(behavior),
            ..self
        }
    }
}

impl Comparison {
    /// Compares the first model with the second; the names are those of their [`ModelReport`]s.
    ///
    /// # Errors
    ///
    /// As [`Ranks::compare`].
    pub fn new(
        (model, ranks): (&str, &Ranks<'_>),
        (baseline, other): (&str, &Ranks<'_>),
        bootstrap: &Bootstrap,
    ) -> Result<Self> {
        Ok(Self {
            model: model.to_owned(),
            baseline: baseline.to_owned(),
            differences: ranks.compare(other, bootstrap)?,
        })
    }
}
