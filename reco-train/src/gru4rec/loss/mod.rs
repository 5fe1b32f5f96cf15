//! The losses of lanes and their gradients, some candidates at a time; [`Loss`] has the equations.

mod bpr_max;
mod cross_entropy;

use serde::{Deserialize, Serialize};

use super::layout::PANEL;
use super::math::{exp, vectorised};

/// Keeps the logarithm of BPR-max finite; the value of the reference implementation.
pub(super) const EPSILON: f32 = 1e-24;

/// What is minimised.
///
/// A row holds the scores `o_j` of one lane for each candidate `j`; candidate `t` is the lane's target.
/// A candidate has a bias `b_j` and a log-weight `w_j`. A negative that was drawn `m` times is one
/// candidate with `ln m` in its weight, which is the same as `m` equal candidates: the sums below then
/// have `m` times its term.
///
/// **Cross-entropy** with the sampled softmax's correction `w_j = ln m_j − logq · ln q_j`, where `q_j` is
/// how often the candidate is expected among the sampled ones:
///
/// ```text
/// z_j = o_j + b_j + w_j        p_j = e^{z_j} / Σ_k e^{z_k}
/// L = −ln p_t                  ∂L/∂o_j = p_j − [j = t]
/// ```
///
/// **BPR-max** (Hidasi and Karatzoglou, CIKM 2018, section 3.3) with `w_j = ln m_j`; sums run over
/// the negatives, `j ≠ t`:
///
/// ```text
/// r_j = elu(o_j + b_j)         elu(x) = x if x > 0 or α = 0, else α (e^x − 1)
/// s_j = e^{r_j + w_j} / Σ_k e^{r_k + w_k}                 σ_j = 1 / (1 + e^{r_j − r_t})
/// A = Σ s_j σ_j                R = Σ s_j r_j²             L = −ln(A + ε) + bpreg R
/// ∂L/∂r_j = −s_j (σ_j² − A) / (A + ε) + bpreg s_j (r_j² − R + 2 r_j)
/// ∂L/∂r_t = −Σ s_j σ_j (1 − σ_j) / (A + ε)
/// ∂r_j/∂o_j = 1 if r_j > 0 or α = 0, else r_j + α
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Softmax cross-entropy of the target among the candidates.
    #[default]
    CrossEntropy,
    /// The target's chance to beat each negative, averaged by the negatives' softmax.
    BprMax,
}

/// A loss with its settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Objective {
    pub(super) loss: Loss,
    pub(super) bpreg: f32,
    pub(super) elu_param: f32,
}

/// Some candidates, one value for each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidates<'a> {
    /// The first of them among those of the step.
    pub(super) first: usize,
    pub(super) bias: &'a [f32],
    pub(super) log_weight: &'a [f32],
}

/// A panel of lanes: candidate `first + l` of the step is the target of lane `l`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Targets<'a> {
    pub(super) first: usize,
    /// How many lanes there are; scores have columns for `n_columns`, the rest of which count for nothing.
    pub(super) n_lanes: usize,
    pub(super) n_columns: usize,
    /// The score of each lane's target, with its bias.
    pub(super) scores: &'a [f32],
}

impl Targets<'_> {
    /// The lane whose target is a candidate of the step.
    #[inline(always)]
    fn lane_of(&self, candidate: usize) -> Option<usize> {
        candidate
            .checked_sub(self.first)
            .filter(|&lane| lane < self.n_lanes)
    }
}

/// What the loss of each lane needs to know about some candidates, before the division by the softmax's total.
///
/// Exponents are taken off the largest score among these candidates.
#[derive(Debug, Clone)]
pub(super) struct Sums {
    /// The largest exponent.
    best: [f32; PANEL],
    /// Σ e
    mass: [f32; PANEL],
    /// Σ e σ
    beaten: [f32; PANEL],
    /// Σ e r²
    squares: [f32; PANEL],
    /// Σ e σ (1 − σ)
    slope: [f32; PANEL],
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            best: [f32::NEG_INFINITY; PANEL],
            mass: [0.0; PANEL],
            beaten: [0.0; PANEL],
            squares: [0.0; PANEL],
            slope: [0.0; PANEL],
        }
    }
}

/// The same about all candidates, as means over the softmax; and the loss.
#[derive(Debug, Clone)]
pub(super) struct Totals {
    /// The largest exponent.
    best: [f32; PANEL],
    /// One over the softmax's total, at that exponent; 0 for a lane that does not count.
    inverse: [f32; PANEL],
    /// A
    beaten: [f32; PANEL],
    /// R
    squares: [f32; PANEL],
    /// The slope of the target without its denominator.
    slope: [f32; PANEL],
    /// The sum of the losses of the lanes.
    pub(super) loss: f64,
}

impl Default for Totals {
    fn default() -> Self {
        let Sums {
            best,
            mass,
            beaten,
            squares,
            slope,
        } = Sums::default();
        Self {
            best,
            inverse: mass,
            beaten,
            squares,
            slope,
            loss: 0.0,
        }
    }
}

impl Objective {
    /// Takes in products of lanes and candidates, `[n_candidates, n_columns]`, and leaves in their place what
    /// [`gradient`](Self::gradient) goes on from.
    pub(super) fn absorb(
        self,
        scores: &mut [f32],
        candidates: Candidates<'_>,
        targets: Targets<'_>,
    ) -> Sums {
        let mut sums = Sums::default();
        vectorised(
            #[inline(always)]
            || match self.loss {
                Loss::CrossEntropy => {
                    cross_entropy::absorb(scores, candidates, targets.n_columns, &mut sums);
                }
                Loss::BprMax => self.absorb_bpr_max(scores, candidates, targets, &mut sums),
            },
        );
        sums
    }

    /// Adds up what is known about all candidates of a step, always in the same order.
    ///
    /// `log_weights` are those of the targets.
    pub(super) fn total<'a>(
        self,
        parts: impl Iterator<Item = &'a Sums> + Clone,
        log_weights: &[f32],
        targets: Targets<'_>,
    ) -> Totals {
        let mut totals = Totals::default();
        let n = targets.n_columns;
        vectorised(
            #[inline(always)]
            || {
                let best = &mut totals.best[..n];
                for part in parts.clone() {
                    for (best, of_part) in best.iter_mut().zip(&part.best) {
                        *best = if *of_part > *best { *of_part } else { *best };
                    }
                }
                let (mass, beaten) = (&mut totals.inverse[..n], &mut totals.beaten[..n]);
                let (squares, slope) = (&mut totals.squares[..n], &mut totals.slope[..n]);
                for part in parts {
                    for l in 0..n {
                        // Without a negative there is no exponent, and no mass.
                        let factor = exp(part.best[l] - best[l].max(f32::MIN));
                        mass[l] += factor * part.mass[l];
                        beaten[l] += factor * part.beaten[l];
                        squares[l] += factor * part.squares[l];
                        slope[l] += factor * part.slope[l];
                    }
                }
            },
        );
        for lane in targets.n_lanes..n {
            totals.inverse[lane] = 0.0;
        }
        for (lane, log_weight) in log_weights.iter().enumerate().take(targets.n_lanes) {
            let mass = totals.inverse[lane];
            // Without a negative there is nothing to beat; a mass that is not a number is to be seen.
            let inverse = if mass == 0.0 { 0.0 } else { 1.0 / mass };
            totals.inverse[lane] = inverse;
            let means = [&mut totals.beaten, &mut totals.squares, &mut totals.slope];
            let [a, r, _] = means.map(|mean| {
                mean[lane] *= inverse;
                mean[lane]
            });
            totals.loss += f64::from(match self.loss {
                Loss::CrossEntropy => {
                    mass.ln() + totals.best[lane] - (targets.scores[lane] + log_weight)
                }
                Loss::BprMax if mass == 0.0 => 0.0,
                Loss::BprMax => self.bpreg * r - (a + EPSILON).ln(),
            });
        }
        totals
    }

    /// Replaces what [`absorb`](Self::absorb) left with `scale` times the gradient of the losses.
    pub(super) fn gradient(
        self,
        scores: &mut [f32],
        candidates: Candidates<'_>,
        targets: Targets<'_>,
        (sums, totals): (&Sums, &Totals),
        scale: f32,
    ) {
        vectorised(
            #[inline(always)]
            || match self.loss {
                Loss::CrossEntropy => {
                    cross_entropy::gradient(scores, candidates, targets, (sums, totals), scale);
                }
                Loss::BprMax => {
                    self.gradient_of_bpr_max(scores, candidates, targets, totals, scale);
                }
            },
        );
    }
}

#[cfg(test)]
pub(super) mod tests;
