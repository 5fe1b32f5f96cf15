//! Elementary functions that the compiler can vectorise, and the way to run them with the widest
//! vectors that the processor has.
//!
//! The functions are branch-free and marked for inlining, so a loop over them within [`vectorised`] is
//! compiled once for each instruction set. Sums run over sixteen accumulators in a fixed order: the same
//! input gives the same bits on one machine, however long the vectors are.

use pulp::Arch;

const N_LANES: usize = 16;

/// Runs `work` compiled for the best instruction set that the processor has.
///
/// What is not inlined is compiled for the least, so a closure is marked `#[inline(always)]`, and so is what it
/// calls.
#[inline]
pub(super) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(work)
}

/// `e^x` with a relative error below 2e-7, for x in −87.3..=88.3; beyond, the value at the nearer end.
///
/// NaN stays NaN, so that a divergence is seen.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding 1.5·2²³ leaves the nearest integer in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with few enough bits that n times it is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.3, 88.3);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    // The minimax polynomial of the Cephes library for |r| ≤ ln 2 / 2.
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let power = shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .wrapping_add(127)
        << 23;
    (p * (r * r) + r + 1.0) * f32::from_bits(power)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `tanh x` with an absolute error below 3e-7.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// Adds up `value(i)` for each `i` below `len`.
#[inline(always)]
pub(super) fn sum(len: usize, value: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; N_LANES];
    let whole = len - len % N_LANES;
    for start in (0..whole).step_by(N_LANES) {
        for (offset, lane) in lanes.iter_mut().enumerate() {
            *lane += value(start + offset);
        }
    }
    for (offset, lane) in lanes.iter_mut().enumerate().take(len - whole) {
        *lane += value(whole + offset);
    }
    lanes.into_iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relative_error(x: f32) -> f64 {
        let exact = f64::from(x).exp();
        ((f64::from(exp(x)) - exact) / exact).abs()
    }

    #[test]
    fn exp_is_exact_to_two_units_in_the_last_place() {
        let worst = (-873_000..=883_000)
            .map(|i| relative_error(i as f32 / 10_000.0))
            .fold(0.0, f64::max);
        assert!(worst < 2e-7, "{worst}");
        assert_eq!(exp(0.0).to_bits(), 1.0_f32.to_bits());
    }

    #[test]
    fn exp_is_bounded_beyond_its_range_and_keeps_nan() {
        assert!(exp(f32::INFINITY).is_finite());
        assert!((0.0..1e-37).contains(&exp(f32::NEG_INFINITY)));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn sigmoid_and_tanh_follow_the_library() {
        for i in -2_000..=2_000 {
            let x = i as f32 / 100.0;
            let exact = f64::from(x);
            assert!((f64::from(tanh(x)) - exact.tanh()).abs() < 3e-7, "tanh {x}");
            assert!(
                (f64::from(sigmoid(x)) - 1.0 / (1.0 + (-exact).exp())).abs() < 2e-7,
                "sigmoid {x}"
            );
        }
    }

    #[test]
    fn sums_cover_every_element() {
        for len in 0..40 {
            let value = |i: usize| i as f32;
            let expected = (0..len).sum::<usize>() as f32;
            assert_eq!(
                vectorised(
                    #[inline(always)]
                    || sum(len, value)
                )
                .to_bits(),
                expected.to_bits()
            );
        }
    }
}
