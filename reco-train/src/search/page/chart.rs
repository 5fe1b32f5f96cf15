//! [`Plot`]: a plane with axes, in inline SVG.

use serde_json::Value;

use crate::evaluate::report::html::{Text, put};
use crate::search::domain::Domain;

/// Room for labels around the plane, in units of the SVG.
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 24.0;

/// A plane whose places go from 0 to 1, upwards and to the right.
#[derive(Debug)]
pub(super) struct Plot<'o> {
    out: &'o mut String,
    width: f64,
    height: f64,
}

/// From where to where the values of an axis go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) from: f64,
    pub(super) to: f64,
}

impl Range {
    /// All of these with some room on either side.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let (from, to) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(from, to), value| {
            (from.min(value), to.max(value))
        });
        if from > to {
            return Self { from: 0.0, to: 1.0 };
        }
        let room = ((to - from) * 0.06).max(to.abs().max(1e-9) * 1e-3);
        Self {
            from: from - room,
            to: to + room,
        }
    }

    /// The place of a value, at the edge if it is outside.
    pub(super) fn place(self, value: f64) -> f64 {
        ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }

    /// Three to six round values.
    pub(super) fn ticks(self) -> Vec<f64> {
        let width = self.to - self.from;
        let magnitude = 10_f64.powf((width / 4.0).log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * magnitude);
        let step = steps
            .into_iter()
            .find(|step| width / step <= 5.0)
            .unwrap_or(width);
        let first = (self.from / step).ceil();
        let tick = |i: i32| (first + f64::from(i)) * step;
        (0..8)
            .map(tick)
            .take_while(|tick| *tick <= self.to)
            .collect()
    }
}

impl<'o> Plot<'o> {
    /// Opens an SVG of this size, which a reader of screens hears as `label`; [`close`](Self::close) ends it.
    pub(super) fn open(out: &'o mut String, (width, height): (f64, f64), label: &str) -> Self {
        put!(
            out,
            "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">",
            Text(label)
        );
        Self { out, width, height }
    }

    pub(super) fn close(self) {
        self.out.push_str("</svg>");
    }

    /// Where a place is.
    pub(super) fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let x = LEFT + x * (self.width - LEFT - RIGHT);
        (x, TOP + (1.0 - y) * (self.height - TOP - BOTTOM))
    }

    /// Labelled lines across, at values of a range.
    pub(super) fn y_axis(&mut self, range: Range) {
        for tick in range.ticks() {
            let (x, y) = self.at((0.0, range.place(tick)));
            let (end, _) = self.at((1.0, 0.0));
            put!(
                self.out,
                "<path class=\"grid\" d=\"M{x:.1} {y:.1}H{end:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                x - 6.0,
                y + 3.5,
                short(tick)
            );
        }
    }

    /// Labels below, at places.
    pub(super) fn x_axis(&mut self, labels: &[(f64, String)]) {
        for (place, label) in labels {
            let (x, y) = self.at((*place, 0.0));
            let anchor = match place {
                ..0.02 => "start",
                0.98.. => "end",
                _ => "middle",
            };
            put!(
                self.out,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                y + 16.0,
                Text(label)
            );
        }
    }

    /// A mark that says something when the pointer is on it.
    pub(super) fn dot(&mut self, class: &str, place: (f64, f64), radius: f64, says: &str) {
        let (x, y) = self.at(place);
        put!(
            self.out,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"><title>{}</title></circle>",
            Text(says)
        );
    }

    /// A line through places.
    pub(super) fn line(&mut self, class: &str, places: &[(f64, f64)], says: &str) {
        put!(self.out, "<path class=\"{class}\" d=\"");
        for (i, place) in places.iter().enumerate() {
            let (x, y) = self.at(*place);
            put!(self.out, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
        }
        put!(self.out, "\"><title>{}</title></path>", Text(says));
    }

    /// A line upwards, from one place to another.
    pub(super) fn upright(&mut self, x: f64, (from, to): (f64, f64)) {
        let ((x, bottom), (_, top)) = (self.at((x, from)), self.at((x, to)));
        put!(
            self.out,
            "<path class=\"axis-line\" d=\"M{x:.1} {bottom:.1}V{top:.1}\"/>"
        );
    }

    /// A text at a place, moved by some units.
    pub(super) fn text(
        &mut self,
        place: (f64, f64),
        (dx, dy): (f64, f64),
        anchor: &str,
        text: &str,
    ) {
        let (x, y) = self.at(place);
        put!(
            self.out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            x + dx,
            y + dy,
            Text(text)
        );
    }
}

/// The labels of a domain: its ends and its middle, or its choices.
pub(super) fn labels(domain: &Domain) -> Vec<(f64, String)> {
    let places: Vec<f64> = match domain {
        Domain::Choice(values) => {
            let n = values.len() as f64;
            (0..values.len()).map(|i| (i as f64 + 0.5) / n).collect()
        }
        _ => vec![0.0, 0.5, 1.0],
    };
    // Too many choices are shown at their ends.
    let places = match places.as_slice() {
        [first, .., last] if places.len() > 8 => vec![*first, *last],
        _ => places,
    };
    places
        .into_iter()
        .map(|place| (place, said(&domain.at(place))))
        .collect()
}

/// A value in few characters.
pub(super) fn said(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => short(number.as_f64().unwrap_or_default()),
        value => value.to_string(),
    }
}

/// A number with at most four digits that matter.
pub(super) fn short(value: f64) -> String {
    let text = match value.abs() {
        0.0 => return "0".to_owned(),
        ..1e-3 | 1e6.. => format!("{value:.2e}"),
        1000.0.. => format!("{value:.0}"),
        100.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    };
    let text = match text.split_once('e') {
        Some((digits, exponent)) => format!("{}e{exponent}", trimmed(digits)),
        None => trimmed(&text).to_owned(),
    };
    text.replace('-', "−")
}

/// Without zeros at the end of a fraction.
fn trimmed(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (0.05, "0.05"),
            (-0.123_456, "−0.1235"),
            (12.0, "12"),
            (120.04, "120"),
            (1234.5, "1234"),
            (0.000_05, "5e−5"),
            (2.5e7, "2.5e7"),
        ] {
            assert_eq!(short(value), expected);
        }
    }

    #[test]
    fn ticks_are_round_and_inside() {
        for (from, to) in [
            (0.0, 1.0),
            (0.31, 0.33),
            (-7.0, 1e6),
            (1e-9, 2e-9),
            (-3.0, -2.9),
        ] {
            let ticks = Range { from, to }.ticks();
            assert!((3..=7).contains(&ticks.len()), "{from} {to}: {ticks:?}");
            assert!(
                ticks.iter().all(|tick| (from..=to).contains(tick)),
                "{ticks:?}"
            );
        }
        let flat = Range::of([0.5, 0.5].into_iter());
        assert!(flat.from < 0.5 && flat.to > 0.5);
        assert!(Range::of(std::iter::empty()).place(0.3).is_finite());
    }
}
