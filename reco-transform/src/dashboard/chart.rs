//! Charts, as SVG that stretches and text that does not.
//!
//! A drawing fills its box whatever that is, so its lines have a width that does not scale, and all text
//! stands beside it in HTML: a chart is as readable on a phone as on a wall.

use std::fmt::Write as _;

use jiff::civil::DateTime;

use super::figures::{day, ticks};
use crate::html::escaped;

/// How many labels an axis of time has at most.
const MAX_LABELS: usize = 6;

/// A figure over time.
pub(super) struct Chart<'a> {
    /// What it shows, for those who do not see it.
    pub(super) label: &'a str,
    pub(super) kind: Kind,
    pub(super) times: &'a [DateTime],
    /// A value for each time; where there is none, there is a gap.
    pub(super) values: &'a [Option<f64>],
    pub(super) format: &'a dyn Fn(f64) -> String,
    /// The same for the axis, where it is short.
    pub(super) short: &'a dyn Fn(f64) -> String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bars,
    Line,
}

impl Chart<'_> {
    pub(super) fn to_html(&self) -> String {
        let top = self.values.iter().flatten().copied().fold(0.0, f64::max);
        let ticks = ticks(top);
        let top = ticks.last().copied().unwrap_or(1.0);
        let x = |i: usize| (i as f64 + 0.5) / self.times.len() as f64 * 100.0;
        let y = |value: f64| 100.0 - value / top * 100.0;
        let mut svg = String::new();
        for tick in &ticks {
            // Writing to a string does not fail.
            _ = write!(svg, r#"<path class="grid" d="M0 {0:.2}H100"/>"#, y(*tick));
        }
        match self.kind {
            Kind::Bars => svg += &self.bars(&x, &y),
            Kind::Line => svg += &self.line(&x, &y),
        }
        svg += &self.hits();
        let y_labels = ticks.iter().map(|tick| {
            let bottom = tick / top * 100.0;
            format!(
                r#"<span style="bottom:{bottom:.2}%">{}</span>"#,
                escaped(&(self.short)(*tick))
            )
        });
        let every = self.times.len().div_ceil(MAX_LABELS).max(1);
        let n = self.times.len();
        let x_labels = (0..n)
            .filter(|i| (n - 1 - i).is_multiple_of(every))
            .map(|i| {
                // The last one would stand past the edge.
                let class = if i + 1 == n { " class=\"last\"" } else { "" };
                format!(
                    r#"<span{class} style="left:{:.2}%">{}</span>"#,
                    x(i),
                    day(self.times[i])
                )
            });
        format!(
            r#"<div class="plot" role="img" aria-label="{}"><div class="y" aria-hidden="true">{}</div><svg viewBox="0 0 100 100" preserveAspectRatio="none">{svg}</svg><div class="x" aria-hidden="true">{}</div></div>{}"#,
            escaped(&self.described()),
            y_labels.collect::<String>(),
            x_labels.collect::<String>(),
            self.table(),
        )
    }

    fn bars(&self, x: &dyn Fn(usize) -> f64, y: &dyn Fn(f64) -> f64) -> String {
        let width = 100.0 / self.times.len() as f64 * 0.7;
        let bar = |(i, value): (usize, &Option<f64>)| {
            let (left, top) = (x(i) - width / 2.0, y((*value)?));
            let height = 100.0 - top;
            Some(format!(
                r#"<rect class="bar" x="{left:.2}" y="{top:.2}" width="{width:.2}" height="{height:.2}"/>"#
            ))
        };
        self.values.iter().enumerate().filter_map(bar).collect()
    }

    fn line(&self, x: &dyn Fn(usize) -> f64, y: &dyn Fn(f64) -> f64) -> String {
        let mut svg = String::new();
        for points in pieces(self.values) {
            let at = |&(i, value): &(usize, f64)| format!("{:.2} {:.2}", x(i), y(value));
            let line = points.iter().map(at).collect::<Vec<_>>().join("L");
            if let (Some((first, _)), Some((last, _))) = (points.first(), points.last()) {
                let (first, last) = (x(*first), x(*last));
                _ = write!(
                    svg,
                    r#"<path class="area" d="M{first:.2} 100L{line}L{last:.2} 100Z"/>"#
                );
            }
            // A point between gaps is a dot: a line of no length with round ends.
            let line = if points.len() == 1 {
                format!("{line}h0")
            } else {
                line
            };
            _ = write!(svg, r#"<path class="line" d="M{line}"/>"#);
        }
        svg
    }

    /// A strip for each time, which says its value when the pointer is on it.
    fn hits(&self) -> String {
        let width = 100.0 / self.times.len() as f64;
        let strip = |(i, (time, value)): (usize, (&DateTime, &Option<f64>))| {
            let value = value.map_or_else(|| "no value".to_owned(), self.format);
            let (left, text) = (
                i as f64 * width,
                escaped(&format!("{}: {value}", named(*time))),
            );
            format!(
                r#"<rect class="hit" x="{left:.2}" y="0" width="{width:.2}" height="100"><title>{text}</title></rect>"#
            )
        };
        self.times
            .iter()
            .zip(self.values)
            .enumerate()
            .map(strip)
            .collect()
    }

    fn described(&self) -> String {
        let known = || {
            self.times
                .iter()
                .zip(self.values)
                .filter_map(|(time, value)| Some((time, (*value)?)))
        };
        let most = known().max_by(|a, b| a.1.total_cmp(&b.1));
        let (Some((first, _)), Some((last, value)), Some((at, most))) =
            (known().next(), known().next_back(), most)
        else {
            return format!("{}: no values", self.label);
        };
        format!(
            "{} from {} to {}: {} at the end, at most {} on {}",
            self.label,
            named(*first),
            named(*last),
            (self.format)(value),
            (self.format)(most),
            named(*at)
        )
    }

    /// The numbers, for those who want them.
    fn table(&self) -> String {
        let row = |(time, value): (&DateTime, &Option<f64>)| {
            let value = value.map_or_else(|| "–".to_owned(), self.format);
            format!(
                r#"<tr><th scope="row">{}</th><td class="n">{}</td></tr>"#,
                named(*time),
                escaped(&value)
            )
        };
        let rows: String = self.times.iter().zip(self.values).rev().map(row).collect();
        format!(
            r#"<details><summary>Numbers</summary><div class="scroll"><table>{rows}</table></div></details>"#
        )
    }
}

/// A line without axes, as high as a line of text.
pub(super) fn spark(values: &[Option<f64>]) -> String {
    let known = || values.iter().flatten().copied();
    let (low, high) = (
        known().fold(f64::INFINITY, f64::min),
        known().fold(f64::NEG_INFINITY, f64::max),
    );
    let span = if high > low { high - low } else { 1.0 };
    let n = values.len().max(2) - 1;
    let at = |&(i, value): &(usize, f64)| {
        format!(
            "{:.2} {:.2}",
            i as f64 / n as f64 * 100.0,
            92.0 - (value - low) / span * 84.0
        )
    };
    let lines = pieces(values).into_iter().map(|points| {
        let line = points.iter().map(at).collect::<Vec<_>>().join("L");
        format!(r#"<path class="line" d="M{line}"/>"#)
    });
    let lines: String = lines.collect();
    format!(
        r#"<svg class="spark" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{lines}</svg>"#
    )
}

/// The values without their gaps, piece by piece, with their positions.
fn pieces(values: &[Option<f64>]) -> Vec<Vec<(usize, f64)>> {
    let mut pieces: Vec<Vec<(usize, f64)>> = Vec::new();
    let mut was_there = false;
    for (i, value) in values.iter().enumerate() {
        if let Some(value) = value {
            match pieces.last_mut() {
                Some(piece) if was_there => piece.push((i, *value)),
                _ => pieces.push(vec![(i, *value)]),
            }
        }
        was_there = value.is_some();
    }
    pieces
}

fn named(time: DateTime) -> String {
    if time.hour() == 0 && time.minute() == 0 {
        time.strftime("%a %-d %b %Y").to_string()
    } else {
        time.strftime("%a %-d %b %Y, %H:%M").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_no_line() {
        let values = [Some(1.0), Some(2.0), None, None, Some(3.0)];
        assert_eq!(pieces(&values), [vec![(0, 1.0), (1, 2.0)], vec![(4, 3.0)]]);
        assert_eq!(spark(&values).matches("<path").count(), 2);
        assert_eq!(spark(&[]).matches("<path").count(), 0);
    }

    #[test]
    fn a_chart_says_what_it_shows_and_holds_its_numbers() {
        let times: Vec<DateTime> = (1..=10)
            .map(|day| jiff::civil::date(2024, 5, day).at(0, 0, 0, 0))
            .collect();
        let values: Vec<Option<f64>> = (1..=10).map(|n| (n != 4).then(|| f64::from(n))).collect();
        let chart = Chart {
            label: "A & B",
            kind: Kind::Bars,
            times: &times,
            values: &values,
            format: &|value| format!("{value} <x>"),
            short: &|value| format!("{value}"),
        };
        let html = chart.to_html();
        assert!(html.contains(
            r#"aria-label="A &amp; B from Wed 1 May 2024 to Fri 10 May 2024: 10 &lt;x&gt; at the end, at most 10 &lt;x&gt; on Fri 10 May 2024""#
        ), "{html}");
        assert_eq!(html.matches("class=\"bar\"").count(), 9);
        assert_eq!(html.matches("class=\"hit\"").count(), 10);
        assert!(html.contains("<title>Sat 4 May 2024: no value</title>"));
    }
}
