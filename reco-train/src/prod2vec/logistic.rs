//! The logistic function of many scores at once, the steps that follow from it, and their loss.

use pulp::Simd;

/// Beyond this, an input and an output do not learn from each other; word2vec's and gensim's `MAX_EXP`.
pub(super) const MAX_EXP: f32 = 6.0;

/// The most scores that are taken at once. A multiple of every vector's length.
pub(super) const AT_ONCE: usize = 32;

/// Beyond this, a score adds no more to the loss: a probability is at least 4.5e-5.
const MAX_LOSS: f32 = 10.0;

/// How many probabilities are multiplied before the logarithm is taken: the eighth power of the least one is
/// still a normal f32.
const PER_LOGARITHM: u32 = 8;

/// Turns scores into steps and adds up `-ln σ(±score)`.
///
/// gensim reads σ from a table of 1,000 values, at the lower end of each step, and is up to 0.003 off; this is
/// exact to 1e-6. The logarithm, which is dear, is taken of products.
#[derive(Debug)]
pub(super) struct Logistic<S: Simd> {
    simd: S,
    /// The product of the probabilities since the last logarithm, lane by lane.
    product: S::f32s,
    n_multiplied: u32,
    loss: f64,
}

impl<S: Simd> Logistic<S> {
    #[inline(always)]
    pub(super) fn new(simd: S) -> Self {
        Self {
            simd,
            product: simd.splat_f32s(1.0),
            n_multiplied: 0,
            loss: 0.0,
        }
    }

    /// Replaces each score of a pair by its step, `alpha · (label - σ(score))`, or 0 where the score is beyond
    /// [`MAX_EXP`].
    ///
    /// `signs` are 1 for the label 1, -1 for the label 0, and 0 where there is no pair.
    #[inline(always)]
    pub(super) fn steps(&mut self, scores: &mut [f32], signs: &[f32], alpha: f32) {
        let simd = self.simd;
        let (scores, _) = S::as_mut_simd_f32s(scores);
        let (signs, _) = S::as_simd_f32s(signs);
        let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
        for (score, &sign) in scores.iter_mut().zip(signs) {
            let towards = simd.mul_f32s(*score, sign);
            let wrong = complement(simd, towards);
            // The last term is 0, or NaN if the score is not finite, which `complement` does not tell.
            let counted = simd.mul_f32s(wrong, simd.mul_f32s(sign, sign));
            let right = simd.mul_add_e_f32s(*score, zero, simd.sub_f32s(one, counted));
            self.product = simd.mul_f32s(self.product, right);
            self.n_multiplied += 1;
            if self.n_multiplied == PER_LOGARITHM {
                self.take_logarithm();
            }
            let learns = simd.less_than_f32s(simd.abs_f32s(*score), simd.splat_f32s(MAX_EXP));
            let step = simd.mul_f32s(simd.mul_f32s(wrong, sign), simd.splat_f32s(alpha));
            *score = simd.select_f32s(learns, step, zero);
        }
    }

    /// The sum of the losses so far; NaN or infinite if a score was.
    #[inline(always)]
    pub(super) fn loss(&mut self) -> f64 {
        self.take_logarithm();
        self.loss
    }

    #[inline(always)]
    fn take_logarithm(&mut self) {
        let mut lanes = [1.0_f32; AT_ONCE];
        S::as_mut_simd_f32s(&mut lanes).0[0] = self.product;
        // Eight lanes of at least 1e-35 each are still normal as an f64.
        for lanes in lanes[..S::F32_LANES].chunks(8) {
            let mut product = 1.0;
            for &lane in lanes {
                product *= f64::from(lane);
            }
            self.loss -= product.ln();
        }
        self.product = self.simd.splat_f32s(1.0);
        self.n_multiplied = 0;
    }
}

/// `1 - σ(x) = ½ - ½ tanh(x / 2)`, within ±[`MAX_LOSS`]: a quotient of polynomials, with the coefficients of
/// Eigen's `ptanh_float`.
#[inline(always)]
fn complement<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let constant = |value: f32| simd.splat_f32s(value);
    let bounded = simd.max_f32s(simd.min_f32s(x, constant(MAX_LOSS)), constant(-MAX_LOSS));
    let x = simd.mul_f32s(bounded, constant(0.5));
    let square = simd.mul_f32s(x, x);
    let mut numerator = constant(-2.760_768_4e-16);
    numerator = simd.mul_add_e_f32s(numerator, square, constant(2.000_188e-13));
    numerator = simd.mul_add_e_f32s(numerator, square, constant(-8.604_672e-11));
    numerator = simd.mul_add_e_f32s(numerator, square, constant(5.122_297e-8));
    numerator = simd.mul_add_e_f32s(numerator, square, constant(1.485_722_4e-5));
    numerator = simd.mul_add_e_f32s(numerator, square, constant(6.372_619e-4));
    numerator = simd.mul_add_e_f32s(numerator, square, constant(4.893_524_6e-3));
    let mut denominator = constant(1.198_258_4e-6);
    denominator = simd.mul_add_e_f32s(denominator, square, constant(1.185_347_1e-4));
    denominator = simd.mul_add_e_f32s(denominator, square, constant(2.268_434_7e-3));
    denominator = simd.mul_add_e_f32s(denominator, square, constant(4.893_525e-3));
    let half_tanh = simd.div_f32s(
        simd.mul_f32s(simd.mul_f32s(x, constant(0.5)), numerator),
        denominator,
    );
    simd.sub_f32s(constant(0.5), half_tanh)
}

#[cfg(test)]
mod tests {
    use pulp::{Arch, Scalar, WithSimd};

    use super::*;

    struct Steps<'a>(&'a mut [f32], &'a [f32]);

    impl WithSimd for Steps<'_> {
        type Output = f64;

        fn with_simd<S: Simd>(self, simd: S) -> f64 {
            let mut logistic = Logistic::new(simd);
            for (scores, signs) in self.0.chunks_mut(AT_ONCE).zip(self.1.chunks(AT_ONCE)) {
                logistic.steps(scores, signs, 0.5);
            }
            logistic.loss()
        }
    }

    fn check(scores: &[f32; AT_ONCE], signs: &[f32; AT_ONCE]) -> f64 {
        let mut losses = [0.0; 2];
        for (simd, loss) in losses.iter_mut().enumerate() {
            let mut steps = *scores;
            let work = Steps(&mut steps, signs);
            *loss = if simd == 0 {
                Arch::new().dispatch(work)
            } else {
                work.with_simd(Scalar)
            };
            for ((&score, &sign), step) in scores.iter().zip(signs).zip(steps) {
                let probability = 1.0 / (1.0 + (-f64::from(score)).exp());
                let label = f64::from(u8::from(sign > 0.0));
                let learns = score.abs() < MAX_EXP && sign != 0.0;
                let expected = if learns {
                    0.5 * (label - probability)
                } else {
                    0.0
                };
                assert!(
                    (f64::from(step) - expected).abs() < 1e-6,
                    "{score} {sign}: {step}"
                );
            }
        }
        assert!(
            (losses[0] - losses[1]).abs() < 1e-3 || losses[0].is_nan(),
            "{losses:?}"
        );
        losses[0]
    }

    #[test]
    fn steps_and_losses_are_those_of_the_exact_function() {
        let scores: [f32; AT_ONCE] = std::array::from_fn(|i| (i as f32 - 15.5) * 0.45);
        let signs: [f32; AT_ONCE] = std::array::from_fn(|i| [1.0, -1.0, 0.0][i % 3]);
        let expected: f64 = scores
            .iter()
            .zip(signs)
            .filter(|(_, sign)| *sign != 0.0)
            .map(|(&score, sign)| f64::from(-score * sign).exp().ln_1p())
            .sum();
        let loss = check(&scores, &signs);
        assert!((loss - expected).abs() < 1e-3, "{loss} {expected}");
    }

    #[test]
    fn far_scores_do_not_learn_and_broken_ones_are_seen() {
        let all = |score, sign| check(&[score; AT_ONCE], &[sign; AT_ONCE]) / AT_ONCE as f64;
        assert!((all(-7.0, 1.0) - 7.0).abs() < 0.01);
        assert!(all(7.0, 1.0) < 0.001);
        assert!((all(1e20, -1.0) - f64::from(MAX_LOSS)).abs() < 0.05);
        let loss = |score: f32| Arch::new().dispatch(Steps(&mut [score; AT_ONCE], &[1.0; AT_ONCE]));
        assert!(loss(f32::NAN).is_nan());
        assert!(loss(f32::INFINITY).is_nan());
    }
}
