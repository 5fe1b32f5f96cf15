//! The losses of lanes and their gradients, some candidates at a time; [`Loss`] has the equations.

use serde::{Deserialize, Serialize};

use super::layout::PANEL;
use super::math::{exp, sigmoid, vectorised};

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
                    absorb_cross_entropy(scores, candidates, targets.n_columns, &mut sums);
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
                    gradient_of_cross_entropy(scores, candidates, targets, (sums, totals), scale);
                }
                Loss::BprMax => {
                    self.gradient_of_bpr_max(scores, candidates, targets, totals, scale);
                }
            },
        );
    }

    #[inline(always)]
    fn elu(self, x: f32) -> f32 {
        let alpha = self.elu_param;
        let below = if alpha == 0.0 {
            x
        } else {
            alpha * (exp(x) - 1.0)
        };
        if x > 0.0 { x } else { below }
    }

    /// Its slope where its value is `r`.
    #[inline(always)]
    fn elu_slope(self, r: f32) -> f32 {
        if r > 0.0 || self.elu_param == 0.0 {
            1.0
        } else {
            r + self.elu_param
        }
    }

    #[inline(always)]
    fn absorb_bpr_max(
        self,
        scores: &mut [f32],
        candidates: Candidates<'_>,
        targets: Targets<'_>,
        sums: &mut Sums,
    ) {
        let n = targets.n_columns;
        let terms = || candidates.bias.iter().zip(candidates.log_weight);
        let best = &mut sums.best[..n];
        for (i, (row, (bias, weight))) in scores.chunks_exact_mut(n).zip(terms()).enumerate() {
            let own = targets.lane_of(candidates.first + i);
            let own = own.map(|lane| (lane, best[lane]));
            for (score, best) in row.iter_mut().zip(best.iter_mut()) {
                *score = self.elu(*score + bias);
                let exponent = *score + weight;
                *best = if exponent > *best { exponent } else { *best };
            }
            if let Some((lane, before)) = own {
                best[lane] = before;
            }
        }
        let r_t: &mut [f32] = &mut [0.0; PANEL][..n];
        for (r_t, score) in r_t.iter_mut().zip(targets.scores) {
            *r_t = self.elu(*score);
        }
        let (mass, beaten) = (&mut sums.mass[..n], &mut sums.beaten[..n]);
        let (squares, slope) = (&mut sums.squares[..n], &mut sums.slope[..n]);
        for (i, (row, (_, weight))) in scores.chunks_exact(n).zip(terms()).enumerate() {
            let own = targets.lane_of(candidates.first + i);
            let own = own.map(|l| (l, [mass[l], beaten[l], squares[l], slope[l]]));
            for l in 0..n {
                let r = row[l];
                let e = exp(r + weight - best[l]);
                let sigma = sigmoid(r_t[l] - r);
                mass[l] += e;
                beaten[l] += e * sigma;
                squares[l] += e * (r * r);
                slope[l] += e * (sigma * (1.0 - sigma));
            }
            if let Some((l, before)) = own {
                [mass[l], beaten[l], squares[l], slope[l]] = before;
            }
        }
    }

    #[inline(always)]
    fn gradient_of_bpr_max(
        self,
        scores: &mut [f32],
        candidates: Candidates<'_>,
        targets: Targets<'_>,
        totals: &Totals,
        scale: f32,
    ) {
        let n = targets.n_columns;
        let (best, inverse) = (&totals.best[..n], &totals.inverse[..n]);
        let (a, squares) = (&totals.beaten[..n], &totals.squares[..n]);
        let pull: &mut [f32] = &mut [0.0; PANEL][..n];
        let r_t: &mut [f32] = &mut [0.0; PANEL][..n];
        for l in 0..n {
            // Without a negative nothing pulls.
            pull[l] = if inverse[l] == 0.0 {
                0.0
            } else {
                1.0 / (a[l] + EPSILON)
            };
            r_t[l] = self.elu(targets.scores[l]);
        }
        let rows = scores.chunks_exact_mut(n).zip(candidates.log_weight);
        for (i, (row, weight)) in rows.enumerate() {
            for l in 0..n {
                let r = row[l];
                let s = exp(r + weight - best[l]) * inverse[l];
                let sigma = sigmoid(r_t[l] - r);
                let of_squares = self.bpreg * (r * r - squares[l] + 2.0 * r);
                let d = s * (of_squares - pull[l] * (sigma * sigma - a[l]));
                row[l] = scale * d * self.elu_slope(r);
            }
            if let Some(l) = targets.lane_of(candidates.first + i) {
                row[l] = -scale * pull[l] * totals.slope[l] * self.elu_slope(r_t[l]);
            }
        }
    }
}

/// Leaves `e`, taken off the largest exponent.
#[inline(always)]
fn absorb_cross_entropy(
    scores: &mut [f32],
    candidates: Candidates<'_>,
    n_columns: usize,
    sums: &mut Sums,
) {
    let best = &mut sums.best[..n_columns];
    let terms = candidates.bias.iter().zip(candidates.log_weight);
    for (row, (bias, weight)) in scores.chunks_exact_mut(n_columns).zip(terms) {
        let shift = bias + weight;
        for (score, best) in row.iter_mut().zip(best.iter_mut()) {
            *score += shift;
            *best = if *score > *best { *score } else { *best };
        }
    }
    let mass = &mut sums.mass[..n_columns];
    for row in scores.chunks_exact_mut(n_columns) {
        for ((score, mass), best) in row.iter_mut().zip(mass.iter_mut()).zip(best.iter()) {
            *score = exp(*score - best);
            *mass += *score;
        }
    }
}

#[inline(always)]
fn gradient_of_cross_entropy(
    scores: &mut [f32],
    candidates: Candidates<'_>,
    targets: Targets<'_>,
    (sums, totals): (&Sums, &Totals),
    scale: f32,
) {
    let n = targets.n_columns;
    let factor: &mut [f32] = &mut [0.0; PANEL][..n];
    for (l, factor) in factor.iter_mut().enumerate() {
        *factor = exp(sums.best[l] - totals.best[l]) * totals.inverse[l] * scale;
    }
    for (i, row) in scores.chunks_exact_mut(n).enumerate() {
        for (score, factor) in row.iter_mut().zip(factor.iter()) {
            *score *= factor;
        }
        if let Some(lane) = targets.lane_of(candidates.first + i) {
            row[lane] -= scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::product::VECTOR;
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

    /// Of one lane, with the candidates in two parts; its target is given at any place, and scored there.
    fn loss_and_gradient(
        objective: Objective,
        scores: &[f32],
        target: usize,
        bias: &[f32],
        log_weight: &[f32],
    ) -> (f64, Vec<f32>) {
        let of_target = [scores[target] + bias[target]; VECTOR];
        let targets = Targets {
            first: target,
            n_lanes: 1,
            n_columns: VECTOR,
            scores: &of_target,
        };
        let middle = scores.len() / 2;
        let mut parts: Vec<_> = [0..middle, middle..scores.len()]
            .into_iter()
            .map(|range| {
                let candidates = Candidates {
                    first: range.start,
                    bias: &bias[range.clone()],
                    log_weight: &log_weight[range.clone()],
                };
                let products = scores[range].iter().flat_map(|&score| [score; VECTOR]);
                (candidates, products.collect::<Vec<f32>>())
            })
            .collect();
        let sums: Vec<_> = parts
            .iter_mut()
            .map(|(candidates, scores)| objective.absorb(scores, *candidates, targets))
            .collect();
        let totals = objective.total(sums.iter(), &log_weight[target..=target], targets);
        let mut gradient = Vec::new();
        for ((candidates, scores), sums) in parts.iter_mut().zip(&sums) {
            objective.gradient(scores, *candidates, targets, (sums, &totals), 1.0);
            for row in scores.chunks(VECTOR) {
                assert!(row[1..].iter().all(|d| *d == 0.0 || d.is_nan()), "{row:?}");
                gradient.push(row[0]);
            }
        }
        (totals.loss, gradient)
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
