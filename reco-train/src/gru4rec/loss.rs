//! The losses of a row of scores and their gradients, in one go; [`Loss`] has the equations.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::math::{exp, max, sigmoid, sum, vectorised};

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

/// What the rows of a step share: one value for each candidate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidates<'a> {
    pub(super) bias: &'a [f32],
    pub(super) log_weight: &'a [f32],
}

impl Objective {
    /// Replaces rows of scores with `scale` times the gradient of their losses, and returns the losses'
    /// sum.
    ///
    /// `scores` is `[n_rows, n_candidates]`; the target of the first row is candidate `first_target`,
    /// of the next row the next.
    pub(super) fn rows(
        self,
        scores: &mut [f32],
        first_target: usize,
        candidates: Candidates<'_>,
        scale: f32,
    ) -> f64 {
        vectorised(|| {
            let mut total = 0.0;
            let rows = scores.chunks_exact_mut(candidates.bias.len());
            for (row, target) in rows.zip(first_target..) {
                total += f64::from(match self.loss {
                    Loss::CrossEntropy => cross_entropy(row, target, candidates, scale),
                    Loss::BprMax => self.bpr_max(row, target, candidates, scale),
                });
            }
            total
        })
    }

    #[inline(always)]
    fn bpr_max(
        self,
        row: &mut [f32],
        target: usize,
        candidates: Candidates<'_>,
        scale: f32,
    ) -> f32 {
        let Self {
            bpreg,
            elu_param: alpha,
            ..
        } = self;
        for (score, bias) in row.iter_mut().zip(candidates.bias) {
            let x = *score + bias;
            let below = if alpha == 0.0 {
                x
            } else {
                alpha * (exp(x) - 1.0)
            };
            *score = if x > 0.0 { x } else { below };
        }
        let negatives = [0..target, target + 1..row.len()];
        let r_t = row[target];
        let best = negatives
            .clone()
            .map(|range| largest(row, candidates, range));
        let best = best[0].max(best[1]);
        let parts = negatives
            .clone()
            .map(|range| Sums::of(row, r_t, best, candidates, range));
        let total = parts[0].mass + parts[1].mass;
        // Without a negative there is nothing to beat.
        let inverse = if total > 0.0 { 1.0 / total } else { 0.0 };
        let a = (parts[0].beaten + parts[1].beaten) * inverse;
        let squares = (parts[0].squares + parts[1].squares) * inverse;
        let d_target = (parts[0].slope + parts[1].slope) * inverse;
        let has_negatives = if row.len() > 1 { 1.0 } else { 0.0 };
        let pull = has_negatives / (a + EPSILON);
        let slope_of = |r: f32| {
            if r > 0.0 || alpha == 0.0 {
                1.0
            } else {
                r + alpha
            }
        };
        for range in negatives {
            let weights = &candidates.log_weight[range.clone()];
            for (r, weight) in row[range].iter_mut().zip(weights) {
                let s = exp(*r + weight - best) * inverse;
                let sigma = sigmoid(r_t - *r);
                let d = s * (bpreg * (*r * *r - squares + 2.0 * *r) - pull * (sigma * sigma - a));
                *r = scale * d * slope_of(*r);
            }
        }
        row[target] = -scale * pull * d_target * slope_of(r_t);
        has_negatives * (bpreg * squares - (a + EPSILON).ln())
    }
}

#[inline(always)]
fn cross_entropy(row: &mut [f32], target: usize, candidates: Candidates<'_>, scale: f32) -> f32 {
    let terms = candidates.bias.iter().zip(candidates.log_weight);
    for (score, (bias, weight)) in row.iter_mut().zip(terms) {
        *score += bias + weight;
    }
    let of_target = row[target];
    let best = max(row.len(), |j| row[j]);
    for score in row.iter_mut() {
        *score = exp(*score - best);
    }
    let total = sum(row.len(), |j| row[j]);
    let factor = scale / total;
    for score in row.iter_mut() {
        *score *= factor;
    }
    row[target] -= scale;
    total.ln() + best - of_target
}

#[inline(always)]
fn largest(row: &[f32], candidates: Candidates<'_>, range: Range<usize>) -> f32 {
    let (r, weight) = (&row[range.clone()], &candidates.log_weight[range]);
    max(r.len().min(weight.len()), |j| r[j] + weight[j])
}

/// The sums of BPR-max over some negatives, before the division by the softmax's total.
struct Sums {
    /// Σ e
    mass: f32,
    /// Σ e σ
    beaten: f32,
    /// Σ e r²
    squares: f32,
    /// Σ e σ (1 − σ)
    slope: f32,
}

impl Sums {
    #[inline(always)]
    fn of(
        row: &[f32],
        r_t: f32,
        best: f32,
        candidates: Candidates<'_>,
        range: Range<usize>,
    ) -> Self {
        let (r, weight) = (&row[range.clone()], &candidates.log_weight[range]);
        let len = r.len().min(weight.len());
        let e = |j: usize| exp(r[j] + weight[j] - best);
        let sigma = |j: usize| sigmoid(r_t - r[j]);
        Self {
            mass: sum(len, e),
            beaten: sum(len, |j| e(j) * sigma(j)),
            squares: sum(len, |j| e(j) * r[j] * r[j]),
            slope: sum(len, |j| e(j) * sigma(j) * (1.0 - sigma(j))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BPR: Objective = Objective {
        loss: Loss::BprMax,
        bpreg: 0.7,
        elu_param: 0.5,
    };
    const LINEAR: Objective = Objective {
        elu_param: 0.0,
        ..BPR
    };
    const CROSS_ENTROPY: Objective = Objective {
        loss: Loss::CrossEntropy,
        ..BPR
    };

    fn loss_and_gradient(
        objective: Objective,
        scores: &[f32],
        target: usize,
        bias: &[f32],
        log_weight: &[f32],
    ) -> (f64, Vec<f32>) {
        let mut row = scores.to_vec();
        let loss = objective.rows(&mut row, target, Candidates { bias, log_weight }, 1.0);
        (loss, row)
    }

    fn assert_near(found: &[f32], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-5,
                "{found} is not {expected}"
            );
        }
    }

    #[test]
    fn cross_entropy_worked_by_hand() {
        // e^z = 1, 3, 4 of which the weight gives a factor 3 and the bias a factor 2.
        let (ln_2, ln_3) = (2.0_f32.ln(), 3.0_f32.ln());
        let (loss, gradient) = loss_and_gradient(
            CROSS_ENTROPY,
            &[0.0, 0.0, ln_2],
            1,
            &[0.0, 0.0, ln_2],
            &[0.0, ln_3, 0.0],
        );
        assert!((loss - (8.0_f64 / 3.0).ln()).abs() < 1e-6, "{loss}");
        assert_near(&gradient, &[1.0 / 8.0, 3.0 / 8.0 - 1.0, 4.0 / 8.0]);
    }

    #[test]
    fn bpr_max_worked_by_hand() {
        // Two negatives that score as the target, one of them drawn three times: s = 1/4, 3/4 and
        // σ = 1/2, so A = 1/2; r = 1, so R = 1.
        let ln_3 = 3.0_f32.ln();
        let (loss, gradient) = loss_and_gradient(
            BPR,
            &[1.0, 0.0, 1.0],
            1,
            &[0.0, 1.0, 0.0],
            &[0.0, 0.0, ln_3],
        );
        assert!((loss - (2.0_f64.ln() + 0.7)).abs() < 1e-6, "{loss}");
        // s (−(1/4 − 1/2) / (1/2) + 0.7 (1 − 1 + 2)) = 1.9 s; the target: −(1/4) / (1/2).
        assert_near(&gradient, &[1.9 / 4.0, -0.5, 1.9 * 3.0 / 4.0]);
    }

    #[test]
    fn a_target_without_negatives_teaches_nothing() {
        for objective in [CROSS_ENTROPY, BPR] {
            let (loss, gradient) = loss_and_gradient(objective, &[2.0], 0, &[0.5], &[0.0]);
            assert!(loss.abs() < 1e-6, "{loss}");
            assert_near(&gradient, &[0.0]);
        }
    }

    #[test]
    fn a_weight_stands_for_repeats() {
        for objective in [CROSS_ENTROPY, BPR, LINEAR] {
            let (once, merged) = loss_and_gradient(
                objective,
                &[0.3, -0.8, 0.6],
                0,
                &[0.1, 0.2, -0.4],
                &[0.0, 2.0_f32.ln(), 0.0],
            );
            let (twice, apart) = loss_and_gradient(
                objective,
                &[0.3, -0.8, -0.8, 0.6],
                0,
                &[0.1, 0.2, 0.2, -0.4],
                &[0.0; 4],
            );
            assert!((once - twice).abs() < 1e-5);
            let summed = [apart[0], apart[1] + apart[2], apart[3]].map(f64::from);
            assert_near(&merged, &summed);
        }
    }

    /// The losses as the module page writes them, in 64 bits.
    fn reference(objective: Objective, o: &[f64], target: usize, b: &[f64], w: &[f64]) -> f64 {
        if objective.loss == Loss::CrossEntropy {
            let z: Vec<f64> = (0..o.len()).map(|j| o[j] + b[j] + w[j]).collect();
            return z.iter().map(|z| z.exp()).sum::<f64>().ln() - z[target];
        }
        let alpha = f64::from(objective.elu_param);
        let elu = |x: f64| {
            if x > 0.0 || alpha == 0.0 {
                x
            } else {
                alpha * (x.exp() - 1.0)
            }
        };
        let r: Vec<f64> = o.iter().zip(b).map(|(o, b)| elu(o + b)).collect();
        let negatives: Vec<usize> = (0..o.len()).filter(|&j| j != target).collect();
        let total: f64 = negatives.iter().map(|&j| (r[j] + w[j]).exp()).sum();
        let mean = |value: &dyn Fn(usize) -> f64| -> f64 {
            negatives
                .iter()
                .map(|&j| (r[j] + w[j]).exp() / total * value(j))
                .sum()
        };
        let a = mean(&|j| 1.0 / (1.0 + (r[j] - r[target]).exp()));
        f64::from(objective.bpreg) * mean(&|j| r[j] * r[j]) - (a + f64::from(EPSILON)).ln()
    }

    #[test]
    fn gradients_follow_finite_differences() {
        let wave =
            |i: usize, salt: f32| ((i as f32 * 1.7 + salt).sin() * 2.0 * 64.0).round() / 64.0;
        for objective in [CROSS_ENTROPY, BPR, LINEAR] {
            for (len, target) in [(2, 0), (2, 1), (19, 7), (40, 39)] {
                let row = |salt: f32| -> Vec<f32> { (0..len).map(|i| wave(i, salt)).collect() };
                let (scores, bias, weight) = (row(0.1), row(0.5), row(0.9));
                let wide =
                    |row: &[f32]| -> Vec<f64> { row.iter().copied().map(f64::from).collect() };
                let (o, b, w) = (wide(&scores), wide(&bias), wide(&weight));
                let (loss, gradient) =
                    loss_and_gradient(objective, &scores, target, &bias, &weight);
                assert!((loss - reference(objective, &o, target, &b, &w)).abs() < 2e-5);
                let difference = |j: usize| {
                    let shifted = |by: f64| {
                        let mut o = o.clone();
                        o[j] += by;
                        reference(objective, &o, target, &b, &w)
                    };
                    (shifted(1e-5) - shifted(-1e-5)) / 2e-5
                };
                let expected: Vec<f64> = (0..len).map(difference).collect();
                assert_near(&gradient, &expected);
            }
        }
    }

    #[test]
    fn a_score_that_is_not_a_number_is_not_hidden() {
        for objective in [CROSS_ENTROPY, BPR] {
            let (loss, _) =
                loss_and_gradient(objective, &[0.0, f32::NAN, 1.0], 0, &[0.0; 3], &[0.0; 3]);
            assert!(loss.is_nan());
        }
    }
}
