//! The losses worked by hand, and their gradients against finite differences.

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
pub(in super::super) fn loss_and_gradient(
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
    let wave = |i: usize, salt: f32| ((i as f32 * 1.7 + salt).sin() * 2.0 * 64.0).round() / 64.0;
    for objective in [CROSS_ENTROPY, BPR, LINEAR] {
        for (len, target) in [(2, 0), (2, 1), (19, 7), (40, 39)] {
            let row = |salt: f32| -> Vec<f32> { (0..len).map(|i| wave(i, salt)).collect() };
            let (scores, bias, weight) = (row(0.1), row(0.5), row(0.9));
            let wide = |row: &[f32]| -> Vec<f64> { row.iter().copied().map(f64::from).collect() };
            let (o, b, w) = (wide(&scores), wide(&bias), wide(&weight));
            let (loss, gradient) = loss_and_gradient(objective, &scores, target, &bias, &weight);
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
