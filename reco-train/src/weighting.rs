//! [`Weighting`]: how much less an item counts the farther it is.

use serde::{Deserialize, Serialize};

/// How much less an item counts the farther it is, under session-rec's names.
///
/// It weighs either the place of an item in a session of `length` items, `distance` places before the last,
/// or a number of steps, from 1:
///
/// | | place | steps |
/// | --- | --- | --- |
/// | `same` | 1 | 1 |
/// | `div` | (length - distance) / length | 1 / steps |
/// | `linear` | 1 - 0.1 · distance | 1 - 0.1 · steps |
/// | `log` | 1 / log10(distance + 1.7) | 1 / log10(steps + 1.7) |
/// | `quadratic` | ((length - distance) / length)² | 1 / steps² |
///
/// Where session-rec's and Serenade's `linear` falls below 0, past 10 places or steps, it is 0 here: an item
/// is no worse for having been seen.
/// session-rec's `linear` also is 0 from the eleventh place of a session on, whatever the distance; that is
/// not followed.
///
/// # Examples
///
/// ```
/// use reco_train::Weighting;
///
/// // The last but one of four items, and two steps.
/// assert_eq!(Weighting::Quadratic.place(1, 4), 0.5625);
/// assert_eq!(Weighting::Quadratic.steps(2), 0.25);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weighting {
    /// No less.
    Same,
    /// In proportion to the place; inversely to the steps.
    Div,
    /// A tenth less for each place or step.
    Linear,
    /// By the logarithm: the slowest decay but `Same`.
    Log,
    /// By the square of `Div`.
    Quadratic,
}

impl Weighting {
    /// The weight of an item, `distance` places before the last of `length` items.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "places are far below 2⁵³")]
    pub fn place(self, distance: usize, length: usize) -> f64 {
        let share = length.saturating_sub(distance) as f64 / length.max(1) as f64;
        match self {
            Self::Same => 1.0,
            Self::Div => share,
            Self::Linear => linear(distance),
            Self::Log => log(distance),
            Self::Quadratic => share * share,
        }
    }

    /// The weight after so many steps, from 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "steps are far below 2⁵³")]
    pub fn steps(self, steps: usize) -> f64 {
        let inverse = (steps.max(1) as f64).recip();
        match self {
            Self::Same => 1.0,
            Self::Div => inverse,
            Self::Linear => linear(steps),
            Self::Log => log(steps),
            Self::Quadratic => inverse * inverse,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "steps are far below 2⁵³")]
fn linear(steps: usize) -> f64 {
    (1.0 - 0.1 * steps as f64).max(0.0)
}

#[expect(clippy::cast_precision_loss, reason = "steps are far below 2⁵³")]
fn log(steps: usize) -> f64 {
    (steps as f64 + 1.7).log10().recip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_worked_by_hand() {
        let check = |weighting: Weighting, places: [f64; 3], steps: [f64; 3]| {
            let found = [0, 1, 12].map(|distance| weighting.place(distance, 16));
            let near = |found: [f64; 3], expected: [f64; 3]| {
                let pairs = found.iter().zip(expected);
                pairs.into_iter().all(|(f, e)| (f - e).abs() < 1e-12)
            };
            assert!(near(found, places), "{weighting:?}: {found:?}");
            let found = [1, 2, 12].map(|n| weighting.steps(n));
            assert!(near(found, steps), "{weighting:?}: {found:?}");
        };
        check(Weighting::Same, [1.0; 3], [1.0; 3]);
        check(Weighting::Div, [1.0, 0.9375, 0.25], [1.0, 0.5, 1.0 / 12.0]);
        check(Weighting::Linear, [1.0, 0.9, 0.0], [0.9, 0.8, 0.0]);
        check(
            Weighting::Quadratic,
            [1.0, 0.878_906_25, 0.0625],
            [1.0, 0.25, 1.0 / 144.0],
        );
        // 1/log10 of 1.7, 2.7, 13.7 and of 2.7, 3.7, 13.7.
        check(
            Weighting::Log,
            [
                4.339_356_391_946_546,
                2.318_229_028_693_822,
                0.879_723_679_586_071,
            ],
            [
                2.318_229_028_693_822,
                1.759_938_341_690_236,
                0.879_723_679_586_071,
            ],
        );
    }

    #[test]
    fn names_are_session_recs() {
        let names: Vec<Weighting> =
            serde_json::from_str(r#"["same","div","linear","log","quadratic"]"#).unwrap();
        assert_eq!(names[4], Weighting::Quadratic);
    }
}
