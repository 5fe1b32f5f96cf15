//! The losses and their gradients as tensors; the equations are those of [`Loss`].

use burn::tensor::activation::sigmoid;
use burn::tensor::{Int, Tensor};

use super::super::loss::{EPSILON, Loss, Objective};

/// What the lanes are scored against, as [`super::inputs`] lays it out.
#[derive(Debug, Clone)]
pub(super) struct Scored {
    /// The log-weight of each item, `[1, n_rows]`.
    pub(super) log_weight: Tensor<2>,
    /// The position of each lane's target, `[n_lanes, 1]`.
    pub(super) targets: Tensor<2, Int>,
    /// What the log-weight of its target differs by where the target is one of the negatives, `[n_lanes, 1]`.
    pub(super) as_negative: Tensor<2>,
    /// Whether there is any negative.
    pub(super) has_negatives: bool,
    /// `0..n_rows`, `[1, n_rows]`.
    pub(super) positions: Tensor<2, Int>,
}

/// The sum of the losses, `[1]`, and `scale` times their gradients, `[n_lanes, n_rows]`, from the scores with
/// their biases, `[n_lanes, n_rows]`.
pub(super) fn differentiate(
    objective: Objective,
    scores: Tensor<2>,
    scored: Scored,
    scale: f32,
) -> (Tensor<1>, Tensor<2>) {
    match objective.loss {
        Loss::CrossEntropy => cross_entropy(scores, scored, scale),
        Loss::BprMax => bpr_max(objective, scores, scored, scale),
    }
}

/// Rows of zeros with a one at the position that is named, `[n_lanes, n_rows]`.
pub(super) fn one_hot(named: Tensor<2, Int>, positions: Tensor<2, Int>) -> Tensor<2> {
    named.equal(positions).float()
}

fn cross_entropy(scores: Tensor<2>, scored: Scored, scale: f32) -> (Tensor<1>, Tensor<2>) {
    let Scored {
        log_weight,
        targets,
        positions,
        ..
    } = scored;
    let z = scores + log_weight;
    let best = z.clone().max_dim(1);
    let of_target = z.clone().gather(1, targets.clone());
    let e = (z - best.clone()).exp();
    let total = e.clone().sum_dim(1);
    let loss = (total.clone().log() + best - of_target).sum();
    let is_target = one_hot(targets, positions);
    let gradient = e * total.recip().mul_scalar(scale) - is_target.mul_scalar(scale);
    (loss, gradient)
}

fn bpr_max(
    objective: Objective,
    scores: Tensor<2>,
    scored: Scored,
    scale: f32,
) -> (Tensor<1>, Tensor<2>) {
    let Objective {
        bpreg,
        elu_param: alpha,
        ..
    } = objective;
    let Scored {
        log_weight,
        targets,
        as_negative,
        has_negatives,
        positions,
    } = scored;
    let (r, slope) = elu(scores, alpha);
    let is_target = one_hot(targets.clone(), positions);
    let z = r.clone() + log_weight + is_target.clone() * as_negative;
    let e = (z.clone() - z.max_dim(1)).exp();
    let s = e.clone() / e.sum_dim(1);
    let r_t = r.clone().gather(1, targets);
    let sigma = sigmoid(r_t - r.clone());
    let beaten = s.clone() * sigma.clone();
    let a = beaten.clone().sum_dim(1);
    let squares = (s.clone() * r.clone() * r.clone()).sum_dim(1);
    let d_target = (beaten * (sigma.clone().neg() + 1.0)).sum_dim(1);
    let pull = (a.clone() + EPSILON).recip();
    let loss = squares.clone().mul_scalar(bpreg) - (a.clone() + EPSILON).log();
    let regularised = (r.clone() * (r + 2.0) - squares).mul_scalar(bpreg);
    let d_r = s * (regularised - (sigma.clone() * sigma - a) * pull.clone());
    let d_r = d_r - is_target * (d_target * pull);
    let gradient = match slope {
        Some(slope) => d_r * slope,
        None => d_r,
    };
    // Without a negative there is nothing to beat.
    let counts = if has_negatives { 1.0 } else { 0.0 };
    (
        loss.sum().mul_scalar(counts),
        gradient.mul_scalar(scale * counts),
    )
}

/// The elu and its derivative, which is 1 without one.
fn elu(x: Tensor<2>, alpha: f32) -> (Tensor<2>, Option<Tensor<2>>) {
    if alpha == 0.0 {
        return (x, None);
    }
    let is_positive = x.clone().greater_scalar(0.0);
    let below = x.clone().clamp_max(0.0).exp().mul_scalar(alpha);
    let r = x.clamp_min(0.0) + below.clone() - alpha;
    (r, Some(below.mask_fill(is_positive, 1.0)))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::super::super::loss::tests::loss_and_gradient;
    use super::super::inputs::NEVER;
    use super::*;

    #[test]
    fn losses_and_gradients_are_those_of_the_cpu_engine() {
        let (n_lanes, n_rows, targets) = (3, 6, [4, 0, 2]);
        let wave = |len: usize, salt: f32| -> Vec<f32> {
            (0..len)
                .map(|i| 2.0 * (i as f32 * 1.7 + salt).sin())
                .collect()
        };
        let (scores, log_weight) = (wave(n_lanes * n_rows, 0.3), wave(n_rows, 0.9));
        let device = Device::flex();
        let column = |values: Vec<f32>| {
            Tensor::<2>::from_data(TensorData::new(values, [n_lanes, 1]), &device)
        };
        for (loss, elu_param) in [
            (Loss::CrossEntropy, 0.0),
            (Loss::BprMax, 0.0),
            (Loss::BprMax, 0.7),
        ] {
            let objective = Objective {
                loss,
                bpreg: 0.6,
                elu_param,
            };
            let (mut expected, mut expected_loss) = (scores.clone(), 0.0);
            let bias = vec![0.0; n_rows];
            for (row, target) in expected.chunks_exact_mut(n_rows).zip(targets) {
                let (loss, gradient) =
                    loss_and_gradient(objective, row, target, &bias, &log_weight);
                expected_loss += loss;
                for (value, gradient) in row.iter_mut().zip(gradient) {
                    *value = 0.25 * gradient;
                }
            }
            // No target is a negative of its own lane.
            let as_negative = targets.map(|target| NEVER - log_weight[target]);
            let targets = targets.map(|target| i64::try_from(target).unwrap());
            let scored = Scored {
                log_weight: Tensor::from_data(
                    TensorData::new(log_weight.clone(), [1, n_rows]),
                    &device,
                ),
                targets: Tensor::from_data(
                    TensorData::new(targets.to_vec(), [n_lanes, 1]),
                    &device,
                ),
                as_negative: column(as_negative.to_vec()),
                has_negatives: true,
                positions: Tensor::<1, Int>::arange(0..6, &device).reshape([1, n_rows]),
            };
            let scores = TensorData::new(scores.clone(), [n_lanes, n_rows]);
            let scores = Tensor::from_data(scores, &device);
            let (loss, gradient) = differentiate(objective, scores, scored, 0.25);
            let loss = f64::from(loss.into_scalar::<f32>());
            assert!(
                (loss - expected_loss).abs() < 1e-5,
                "{loss} {expected_loss}"
            );
            let gradient = gradient.into_data().try_into_vec::<f32>().unwrap();
            for (found, expected) in gradient.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-6, "{found} {expected}");
            }
        }
    }
}
