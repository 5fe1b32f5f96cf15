//! [`Scale`]: values with intervals as marks on a track, in plain elements.

use super::html::put;
use crate::evaluate::Estimate;

/// How many models are told apart by colour and shape; the next ones begin anew.
const N_SERIES: usize = 6;

/// From where to where a track goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    from: f64,
    to: f64,
}

impl Scale {
    /// A scale that shows all of these, with some room on either side.
    pub(super) fn of<'a>(estimates: impl Iterator<Item = &'a Estimate>) -> Self {
        let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
        for estimate in estimates {
            let interval = estimate
                .interval
                .map(|interval| [interval.lower, interval.upper]);
            for value in interval.into_iter().flatten().chain([estimate.value]) {
                from = from.min(value);
                to = to.max(value);
            }
        }
        if from > to {
            return Self { from: 0.0, to: 1.0 };
        }
        let room = ((to - from) * 0.08).max(to.abs().max(1e-3) * 0.02);
        // What is never negative has no room below 0, and a share none above 1.
        let least = if from >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
        let most = if from >= 0.0 && to <= 1.0 {
            1.0
        } else {
            f64::INFINITY
        };
        Self {
            from: (from - room).max(least),
            to: (to + room).min(most),
        }
    }

    /// A scale with 0 in its middle.
    pub(super) fn around_zero(most: f64) -> Self {
        let most = if most > 0.0 { most * 1.08 } else { 1.0 };
        Self {
            from: -most,
            to: most,
        }
    }

    pub(super) const fn ends(&self) -> (f64, f64) {
        (self.from, self.to)
    }

    /// A track with nothing on it yet; closed by `</div>`.
    pub(super) fn open_track(self, out: &mut String) {
        out.push_str("<div class=\"track\">");
        if self.from < 0.0 && self.to > 0.0 {
            put!(
                out,
                "<i class=\"zero\" style=\"left:{:.2}%\"></i>",
                self.percent(0.0)
            );
        }
    }

    /// The mark of a value of a model, and its interval.
    pub(super) fn mark(self, out: &mut String, series: usize, estimate: &Estimate) {
        let series = series % N_SERIES;
        if let Some(interval) = estimate.interval {
            let (lower, upper) = (self.percent(interval.lower), self.percent(interval.upper));
            put!(
                out,
                "<i class=\"range s{series}\" style=\"left:{lower:.2}%;width:{:.2}%\"></i>",
                upper - lower
            );
        }
        let at = self.percent(estimate.value);
        put!(
            out,
            "<i class=\"mark s{series}\" style=\"left:{at:.2}%\"></i>"
        );
    }

    fn percent(&self, value: f64) -> f64 {
        let width = (self.to - self.from).max(f64::MIN_POSITIVE);
        ((value - self.from) / width * 100.0).clamp(0.0, 100.0)
    }
}

/// The sign of a model where it is named.
pub(super) fn sign(out: &mut String, series: usize) {
    put!(out, "<i class=\"mark s{}\"></i>", series % N_SERIES);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{Interval, Recall};

    #[test]
    fn a_scale_holds_all_marks() {
        let estimate = |lower: f64, value: f64, upper: f64| Estimate {
            metric: Recall::at(1),
            value,
            interval: Some(Interval { lower, upper }),
        };
        let estimates = [estimate(0.1, 0.2, 0.3), estimate(0.5, 0.6, 0.9)];
        let scale = Scale::of(estimates.iter());
        assert!(
            scale.percent(0.1) > 0.0 && scale.percent(0.9) < 100.0,
            "{scale:?}"
        );
        assert!((Scale::around_zero(2.0).percent(0.0) - 50.0).abs() < 1e-9);
        let all_zero = [estimate(0.0, 0.0, 0.0)];
        let all_one = [estimate(1.0, 1.0, 1.0)];
        assert!((Scale::of(all_one.iter()).percent(1.0) - 100.0).abs() < 1e-9);
        for scale in [
            Scale::of([].iter()),
            Scale::of(all_zero.iter()),
            Scale::around_zero(0.0),
        ] {
            assert!(
                scale.percent(0.0).is_finite() && scale.ends().0 < scale.ends().1,
                "{scale:?}"
            );
        }
    }
}
