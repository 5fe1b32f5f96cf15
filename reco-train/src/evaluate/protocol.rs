//! [`Protocol`]: what is asked of a model, and how its answer is read.

use serde::{Deserialize, Serialize};

use super::Metric;
use crate::error::{Error, Result};

/// What is asked of a model, and how its answer is read. The default is what the numbers of this crate are;
/// the others are those of published scripts, to stand beside their numbers.
///
/// # Examples
///
/// ```
/// use reco_train::evaluate::{Exclude, Protocol, Ties};
///
/// // The numbers of GRU4Rec's own script, and answers that leave out what the session has just shown.
/// let protocol = Protocol { ties: Ties::Standard, exclude: Exclude::Last, ..Default::default() };
/// assert_eq!(serde_json::to_value(protocol)?["exclude"], "last");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Protocol {
    /// What is a query, and what is relevant to it. Default [`Targets::Next`].
    pub targets: Targets,
    /// Which place an item takes among those of the same score. Default [`Ties::Conservative`].
    pub ties: Ties,
    /// What becomes of a target that the model does not know. Default [`Unseen::Drop`].
    pub unseen: Unseen,
    /// Which items of the query are taken out of the answer. Default [`Exclude::Nothing`].
    pub exclude: Exclude,
}

/// What is a query, and what is relevant to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    /// Every prefix of a session is a query; the item that follows it is relevant.
    #[default]
    Next,
    /// A session without its last item is a query, and that item is relevant: one query a session.
    Last,
    /// Every prefix is a query; all different items that follow it are relevant, as in session-rec and
    /// Coveo's data challenge.
    Remaining,
}

/// Which place an item takes among those of the same score. The names are those of GRU4Rec's own script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    /// The last: a model that scores all items alike earns nothing.
    #[default]
    Conservative,
    /// The first: a model that scores all items alike is perfect. For numbers beside published ones.
    Standard,
    /// The middle, which may be half a place.
    Median,
}

/// What becomes of a target that the model does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unseen {
    /// It is no target, and counted in [`Evaluation::n_unseen`](super::Evaluation::n_unseen), as in GRU4Rec's
    /// own script.
    #[default]
    Drop,
    /// It is missed. So is a target that follows nothing that the model knows. The denominators are then
    /// all queries of the test set, the same for every model.
    Miss,
}

/// Which items of the query are taken out of the answer. A target that is taken out is missed: the model
/// may not answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclude {
    /// None.
    #[default]
    Nothing,
    /// The last one.
    Last,
    /// All of them.
    Session,
}

impl Ties {
    /// The rank of an item that `n_greater` others are above, where `n_at_least` score as high or higher,
    /// itself included.
    pub(super) fn rank(self, n_greater: u32, n_at_least: u32) -> f64 {
        let (first, last) = (f64::from(n_greater) + 1.0, f64::from(n_at_least));
        match self {
            Self::Conservative => last,
            Self::Standard => first,
            Self::Median => first.midpoint(last),
        }
    }
}

/// Whether each metric looks at an answer at all.
pub(super) fn check(metrics: &[Metric]) -> Result<()> {
    let Some(metric) = metrics.iter().find(|metric| metric.k() == 0) else {
        return Ok(());
    };
    let reason = format!("must look at one answer or more, and `{metric}` does not");
    Err(Error::InvalidConfig {
        model: "evaluation",
        key: "k",
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_those_of_gru4rec() {
        // Two above; four of the same score. Its script: (> t).sum() + 1, (>= t).sum(), and
        // (> t).sum() + 0.5 * ((== t).sum() - 1) + 1.
        let ranks = [Ties::Standard, Ties::Conservative, Ties::Median].map(|ties| ties.rank(2, 6));
        let near = ranks
            .iter()
            .zip([3.0, 6.0, 4.5])
            .all(|(r, e)| (r - e).abs() < 1e-12);
        assert!(near, "{ranks:?}");
        assert!((Ties::Median.rank(0, 1) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        assert!(serde_json::from_str::<Protocol>(r#"{"tie": "median"}"#).is_err());
        let protocol: Protocol = serde_json::from_str(r#"{"ties": "median"}"#).unwrap();
        assert_eq!(protocol.ties, Ties::Median);
    }
}
