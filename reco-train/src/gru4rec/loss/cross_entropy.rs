//! The cross-entropy; [`Loss`](super::Loss) has the equations.

use super::super::layout::PANEL;
use super::super::math::exp;
use super::{Candidates, Sums, Targets, Totals};

/// Leaves `e`, taken off the largest exponent.
#[inline(always)]
pub(super) fn absorb(
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
pub(super) fn gradient(
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
