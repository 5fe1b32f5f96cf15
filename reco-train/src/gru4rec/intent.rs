//! [`PurchaseIntent`]: how likely a session ends in a purchase, from the state that the GRU has of it.

use std::sync::Arc;

use reco_core::{ItemIdx, ModelArtifact, Session};
use serde::{Deserialize, Serialize};

use super::{Gru4Rec, KIND};
use crate::error::{Error, Result};
use crate::evaluate::{DenseScorer, Scorer};
use crate::rule::{self, holds, within};

/// Hyperparameters of [`PurchaseIntent`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntentConfig {
    /// Weight of the squares of the coefficients beside the summed loss of the sessions, above 0. Default 1.
    pub l2: f64,
    /// The most steps of Newton's method; it needs fewer than ten as a rule. Default 50.
    pub max_iter: u32,
}

impl Default for IntentConfig {
    fn default() -> Self {
        Self {
            l2: 1.0,
            max_iter: 50,
        }
    }
}

/// The probability that a session ends in a purchase: a logistic regression on the state of a trained [`Gru4Rec`].
///
/// ```text
/// p = σ(w · h + b)
/// ```
///
/// The task of predicting a purchase from the clicks of a session is that of Requena, Cassani, Tagliabue, Greco
/// and Lacasa, *Shopper intent prediction from clickstream e-commerce data with minimal browsing information*
/// (Scientific Reports, 2020). Each prefix of a session is an example, with the session's outcome, and those of
/// a session weigh 1 together, so that it can be asked after any click and long sessions do not count for more.
///
/// The loss has one minimum, which Newton's method finds: the same data gives the same bytes.
///
/// # Examples
///
/// ```no_run
/// use std::sync::Arc;
/// use reco_core::Session;
/// use reco_train::Gru4Rec;
/// use reco_train::gru4rec::{IntentConfig, PurchaseIntent};
///
/// # fn example(model: Gru4Rec, past: Vec<(Session, bool)>) -> reco_train::Result<()> {
/// let intent = PurchaseIntent::fit(Arc::new(model), &past, &IntentConfig::default())?;
/// let live: Session = ["hat", "scarf"].into_iter().collect();
/// let [probability] = intent.probabilities(&[live])?[..] else { unreachable!() };
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PurchaseIntent {
    model: Arc<Gru4Rec>,
    /// `[dim]`
    weight: Vec<f32>,
    bias: f32,
}

impl PurchaseIntent {
    /// Learns from sessions and whether each ended in a purchase; sessions without a known item are left out.
    ///
    /// Takes memory of one state for each prefix, `4 · dim` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`], or [`Error::NothingToLearn`] if there are not sessions of both outcomes.
    pub fn fit(
        model: Arc<Gru4Rec>,
        sessions: &[(Session, bool)],
        config: &IntentConfig,
    ) -> Result<Self> {
        let l2 = config.l2;
        rule::check(
            KIND,
            [
                holds("l2", l2, l2 > 0.0 && l2.is_finite(), "finite and above 0"),
                within("max_iter", config.max_iter, 1..=u32::MAX),
            ],
        )?;
        let encoded = sessions.iter().map(|(session, outcome)| {
            let items = model.encoder().encode(session);
            (items, *outcome)
        });
        let encoded: Vec<(Vec<ItemIdx>, bool)> =
            encoded.filter(|(items, _)| !items.is_empty()).collect();
        for outcome in [true, false] {
            if encoded.iter().all(|(_, of_session)| *of_session != outcome) {
                let which = if outcome { "with" } else { "without" };
                return Err(Error::NothingToLearn {
                    model: KIND,
                    reason: format!("no session {which} a purchase has an item that is known"),
                });
            }
        }
        let mut prefixes: Vec<&[ItemIdx]> = Vec::new();
        let mut examples = Vec::new();
        for (items, outcome) in &encoded {
            for end in 1..=items.len() {
                prefixes.push(&items[..end]);
                examples.push(Example {
                    outcome: f64::from(u8::from(*outcome)),
                    weight: 1.0 / items.len() as f64,
                });
            }
        }
        let dim = model.dim();
        let mut states = vec![0.0; prefixes.len() * dim];
        model.session_vectors(&prefixes, &mut states)?;
        let coefficients = minimum(&states, &examples, dim, config);
        let [weight @ .., bias] = &coefficients[..] else {
            return Err(Error::Diverged {
                model: KIND,
                epoch: 1,
            });
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "an artifact has values of 32 bits"
        )]
        let narrow = |value: &f64| *value as f32;
        Ok(Self {
            weight: weight.iter().map(narrow).collect(),
            bias: narrow(bias),
            model,
        })
    }

    /// The model whose states it reads.
    #[must_use]
    pub fn model(&self) -> &Arc<Gru4Rec> {
        &self.model
    }

    /// The probability that each session ends in a purchase; `None` if no item of it is known.
    ///
    /// # Errors
    ///
    /// As [`DenseScorer::session_vectors`].
    pub fn probabilities(&self, sessions: &[Session]) -> Result<Vec<Option<f64>>> {
        let encoder = self.model.encoder();
        let encoded: Vec<Vec<ItemIdx>> = sessions
            .iter()
            .map(|session| encoder.encode(session))
            .collect();
        let encoded: Vec<&[ItemIdx]> = encoded.iter().map(Vec::as_slice).collect();
        let dim = self.weight.len();
        let mut states = vec![0.0; sessions.len() * dim];
        self.model.session_vectors(&encoded, &mut states)?;
        let probability = |state: &[f32]| {
            let products = self.weight.iter().zip(state);
            let sum: f64 = products.map(|(w, h)| f64::from(*w) * f64::from(*h)).sum();
            logistic(sum + f64::from(self.bias))
        };
        let sessions = encoded.iter().zip(states.chunks_exact(dim));
        let of_session =
            |(items, state): (&&[ItemIdx], &[f32])| (!items.is_empty()).then(|| probability(state));
        Ok(sessions.map(of_session).collect())
    }

    /// The artifact of the model with two more tensors, `intent_weight` of `[layer]` and `intent_bias` of `[1]`:
    /// it is loaded as a recommender as before.
    ///
    /// # Errors
    ///
    /// As [`Gru4Rec::to_artifact`].
    pub fn to_artifact(&self) -> Result<ModelArtifact> {
        let builder = self.model.artifact_builder()?;
        let builder = builder
            .tensor("intent_weight", &[self.weight.len()], &self.weight)
            .tensor("intent_bias", &[1], &[self.bias]);
        Ok(builder.build()?)
    }

    /// Back from [`to_artifact`](Self::to_artifact).
    ///
    /// # Errors
    ///
    /// [`reco_core::Error::MalformedArtifact`] if the artifact is of another model or has no such tensors.
    pub fn from_artifact(artifact: &ModelArtifact) -> Result<Self> {
        let model = Gru4Rec::from_artifact(artifact)?;
        let weight = artifact.tensor("intent_weight", &[model.dim()])?;
        let bias = artifact.tensor("intent_bias", &[1])?;
        Ok(Self {
            model: Arc::new(model),
            weight,
            bias: bias.into_iter().sum(),
        })
    }
}

/// A prefix of a session.
#[derive(Debug, Clone, Copy)]
struct Example {
    /// 1 for a purchase, else 0.
    outcome: f64,
    weight: f64,
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The coefficients, bias last, of the least loss `Σ weight · (−ln p of the outcome) + l2 / 2 · |w|²`.
fn minimum(states: &[f32], examples: &[Example], dim: usize, config: &IntentConfig) -> Vec<f64> {
    let n = dim + 1;
    let mut coefficients = vec![0.0; n];
    let mut at = Slopes::at(&coefficients, states, examples, config.l2);
    for _ in 0..config.max_iter {
        let step = solve(&at.hessian, &at.gradient);
        // The full step overshoots where the outcomes are nearly certain: then a half of it, and so on.
        let mut size = 1.0;
        loop {
            let moved: Vec<f64> = coefficients
                .iter()
                .zip(&step)
                .map(|(coefficient, step)| coefficient - size * step)
                .collect();
            let there = Slopes::at(&moved, states, examples, config.l2);
            if there.loss < at.loss {
                (coefficients, at) = (moved, there);
                break;
            }
            size /= 2.0;
            if size < 1e-6 {
                // Nothing is lower: this is it.
                return coefficients;
            }
        }
    }
    coefficients
}

/// The loss and its first and second derivatives.
struct Slopes {
    loss: f64,
    /// `[n]`
    gradient: Vec<f64>,
    /// `[n, n]`, of which the lower half counts.
    hessian: Vec<f64>,
}

impl Slopes {
    fn at(coefficients: &[f64], states: &[f32], examples: &[Example], l2: f64) -> Self {
        let n = coefficients.len();
        let mut slopes = Self {
            loss: 0.0,
            gradient: vec![0.0; n],
            hessian: vec![0.0; n * n],
        };
        // The bias is not held down, but for a trace that keeps the matrix regular.
        for (i, coefficient) in coefficients.iter().enumerate() {
            let l2 = if i + 1 < n { l2 } else { 1e-9 };
            slopes.loss += 0.5 * l2 * coefficient * coefficient;
            slopes.gradient[i] = l2 * coefficient;
            slopes.hessian[i * n + i] = l2;
        }
        let mut x = vec![1.0; n];
        for (state, example) in states.chunks_exact(n - 1).zip(examples) {
            x.iter_mut()
                .zip(state)
                .for_each(|(x, value)| *x = f64::from(*value));
            let sum: f64 = coefficients.iter().zip(&x).map(|(c, x)| c * x).sum();
            let p = logistic(sum);
            // ln(1 + e^sum) − outcome · sum, without an overflow.
            let loss = sum.max(0.0) + (-sum.abs()).exp().ln_1p() - example.outcome * sum;
            slopes.loss += example.weight * loss;
            let (d, d2) = (
                example.weight * (p - example.outcome),
                example.weight * p * (1.0 - p),
            );
            for i in 0..n {
                slopes.gradient[i] += d * x[i];
                let (row, factor) = (&mut slopes.hessian[i * n..=i * n + i], d2 * x[i]);
                row.iter_mut()
                    .zip(&x)
                    .for_each(|(value, x)| *value += factor * x);
            }
        }
        slopes
    }
}

/// The solution of `matrix · x = right` by Cholesky's method; the matrix is positive definite.
fn solve(matrix: &[f64], right: &[f64]) -> Vec<f64> {
    let n = right.len();
    let mut root = matrix.to_vec();
    for i in 0..n {
        for j in 0..=i {
            let (row_i, row_j) = (i * n, j * n);
            let sum: f64 = (0..j).map(|k| root[row_i + k] * root[row_j + k]).sum();
            let rest = root[row_i + j] - sum;
            root[row_i + j] = if i == j {
                rest.sqrt()
            } else {
                rest / root[row_j + j]
            };
        }
    }
    let mut x = right.to_vec();
    for i in 0..n {
        let sum: f64 = (0..i).map(|k| root[i * n + k] * x[k]).sum();
        x[i] = (x[i] - sum) / root[i * n + i];
    }
    for i in (0..n).rev() {
        let sum: f64 = (i + 1..n).map(|k| root[k * n + i] * x[k]).sum();
        x[i] = (x[i] - sum) / root[i * n + i];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_worked_by_hand() {
        // 4x + 2y = 8, 2x + 3y = 8.
        let x = solve(&[4.0, f64::NAN, 2.0, 3.0], &[8.0, 8.0]);
        assert!(
            (x[0] - 1.0).abs() < 1e-12 && (x[1] - 2.0).abs() < 1e-12,
            "{x:?}"
        );
    }

    #[test]
    fn without_a_difference_between_states_it_is_the_share_of_purchases() {
        let example = |outcome| Example {
            outcome,
            weight: 1.0,
        };
        let examples = [1.0, 0.0, 0.0, 0.0].map(example);
        let found = minimum(&[0.0; 8], &examples, 2, &IntentConfig::default());
        assert!((logistic(found[2]) - 0.25).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn the_minimum_has_no_slope() {
        let states: Vec<f32> = (0..60).map(|i| (i as f32 * 1.3).sin()).collect();
        let example = |i: u32| Example {
            outcome: f64::from(u8::from(i.is_multiple_of(3))),
            weight: 1.0 / f64::from(1 + i % 4),
        };
        let examples: Vec<Example> = (0..20).map(example).collect();
        let config = IntentConfig {
            l2: 0.1,
            ..IntentConfig::default()
        };
        let found = minimum(&states, &examples, 3, &config);
        let slopes = Slopes::at(&found, &states, &examples, config.l2);
        assert!(
            slopes.gradient.iter().all(|slope| slope.abs() < 1e-6),
            "{:?}",
            slopes.gradient
        );
    }
}
