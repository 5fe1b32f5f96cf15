//! Line and bar charts as SVG.

use std::fmt::Write;

use maud::{Markup, html};

/// A line over the epochs 1, 2, 3 and so on, with the first and the last value written at it.
pub(crate) fn line(values: &[f64]) -> Markup {
    const WIDTH: f64 = 320.0;
    const HEIGHT: f64 = 150.0;
    const MARGIN: f64 = 34.0;
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let span = (most - least).max(f64::EPSILON);
    let steps = as_f64(values.len() - 1).max(1.0);
    let points: Vec<(f64, f64)> = values
        .iter()
        .enumerate()
        .map(|(epoch, value)| {
            let x = MARGIN + as_f64(epoch) / steps * (WIDTH - 2.0 * MARGIN);
            let y = 24.0 + (most - value) / span * (HEIGHT - 58.0);
            (x, y)
        })
        .collect();
    let mut path = String::new();
    for (index, (x, y)) in points.iter().enumerate() {
        let command = if index == 0 { 'M' } else { 'L' };
        write!(path, "{command}{x:.1} {y:.1} ").expect("a string takes what is written to it");
    }
    let base = HEIGHT - 26.0;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" {
            line.axis x1=(MARGIN) y1=(base) x2=(WIDTH - MARGIN) y2=(base) {}
            path.curve d=(path) {}
            @for (index, (x, y)) in points.iter().enumerate() {
                circle.dot cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r="3" {
                    title { "epoch " (index + 1) ": " (format!("{:.4}", values[index])) }
                }
            }
            @if let (Some(first), Some(last)) = (points.first(), points.last()) {
                text.value x=(format!("{:.1}", first.0)) y=(format!("{:.1}", first.1 - 8.0)) { (format!("{:.3}", values[0])) }
                text.value.end x=(format!("{:.1}", last.0 + 8.0)) y=(format!("{:.1}", last.1 - 8.0)) { (format!("{:.3}", values[values.len() - 1])) }
            }
            text.tick x=(MARGIN) y=(HEIGHT - 8.0) { "epoch 1" }
            text.tick.end x=(WIDTH - MARGIN) y=(HEIGHT - 8.0) { "epoch " (values.len()) }
        }
    }
}

/// A horizontal bar for each name, with its value; the marked one stands out.
pub(crate) fn bars(rows: &[(String, f64, bool)]) -> Markup {
    const WIDTH: f64 = 320.0;
    const ROW: f64 = 40.0;
    let most = rows.iter().map(|row| row.1).fold(f64::EPSILON, f64::max);
    let height = ROW * as_f64(rows.len()) + 4.0;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" {
            @for (index, (name, value, marked)) in rows.iter().enumerate() {
                @let y = ROW * as_f64(index);
                @let length = (value / most * (WIDTH - 70.0)).max(1.0);
                text.tick x="0" y=(y + 12.0) { (name) }
                rect.bar.marked[*marked] x="0" y=(y + 17.0) width=(format!("{length:.1}")) height="14" rx="3" {}
                text.value x=(format!("{:.1}", length + 6.0)) y=(y + 28.5) { (format_value(*value)) }
            }
        }
    }
}

fn format_value(value: f64) -> String {
    if value.abs() < 10.0 {
        format!("{value:.4}")
    } else {
        format!("{value:.0}")
    }
}

/// Exact up to 2⁵³, far above any count of epochs or models.
pub(crate) fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}
