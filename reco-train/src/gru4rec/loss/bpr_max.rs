//! BPR-max; [`Loss`](super::Loss) has the equations.

use super::super::layout::PANEL;
use super::super::math::{exp, sigmoid};
use super::{Candidates, EPSILON, Objective, Sums, Targets, Totals};

impl Objective {
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
    pub(super) fn absorb_bpr_max(
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
    pub(super) fn gradient_of_bpr_max(
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
