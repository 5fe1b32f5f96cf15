//! Numbers and days as they are written.

use jiff::civil::DateTime;

use crate::html::grouped;

/// A count, whole.
pub(super) fn count(value: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates"
    )]
    let whole = value.abs().round() as u64;
    let sign = if value < 0.0 && whole > 0 { "−" } else { "" };
    format!("{sign}{}", grouped(whole))
}

/// A number in four characters or so: `950`, `1.2k`, `35M`.
pub(super) fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        ..1e3 => (value, ""),
        1e3..1e6 => (value / 1e3, "k"),
        1e6..1e9 => (value / 1e6, "M"),
        _ => (value / 1e9, "G"),
    };
    let rounded = (value * 100.0).round() / 100.0;
    format!("{rounded}{unit}")
}

/// A share, in percent.
pub(super) fn percent(value: f64) -> String {
    let value = value * 100.0;
    let n_digits = if value.abs() < 10.0 { 2 } else { 1 };
    format!("{value:.n_digits$}\u{2009}%")
}

/// A share in percent, without zeros that say nothing.
pub(super) fn percent_short(value: f64) -> String {
    let rounded = (value * 10_000.0).round() / 100.0;
    format!("{rounded}\u{2009}%")
}

/// An amount of money: with cents while they say something.
pub(super) fn money(value: f64, currency: Option<&str>) -> String {
    let amount = if value.abs() < 1000.0 {
        format!("{value:.2}")
    } else {
        count(value)
    };
    match currency {
        Some(currency) => format!("{amount}\u{2009}{currency}"),
        None => amount,
    }
}

pub(super) fn seconds(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}\u{2009}s")
    } else {
        format!("{}\u{2009}s", count(value))
    }
}

/// `30 May`.
pub(super) fn day(time: DateTime) -> String {
    time.strftime("%-d %b").to_string()
}

/// Where an axis from 0 has its lines: three to six, at round numbers, of which the last is not below `top`.
pub(super) fn ticks(top: f64) -> Vec<f64> {
    if !(top > 0.0 && top.is_finite()) {
        return vec![0.0, 1.0];
    }
    let raw = top / 4.0;
    let magnitude = 10_f64.powf(raw.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * magnitude);
    // A step that is a hair too small for what was rounded is as good.
    let step = steps.into_iter().find(|step| *step >= raw * (1.0 - 1e-9));
    let step = step.unwrap_or(10.0 * magnitude);
    let n = (top / step * (1.0 - 1e-9)).ceil();
    (0_u32..)
        .map(f64::from)
        .take_while(|i| *i <= n)
        .map(|i| i * step)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(count(1234.4), "1\u{2009}234");
        assert_eq!(count(-0.2), "0");
        assert_eq!(
            [950.0, 1200.0, 35e6, 0.25].map(short),
            ["950", "1.2k", "35M", "0.25"]
        );
        assert_eq!(
            [0.0234, 0.5].map(percent),
            ["2.34\u{2009}%", "50.0\u{2009}%"]
        );
        assert_eq!(percent_short(0.04), "4\u{2009}%");
        assert_eq!(money(12.5, Some("EUR")), "12.50\u{2009}EUR");
        assert_eq!(money(12_345.6, None), "12\u{2009}346");
        assert_eq!(
            [0.1234, 75.0].map(seconds),
            ["0.12\u{2009}s", "75\u{2009}s"]
        );
    }

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!(ticks(7.0), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(ticks(100.0), [0.0, 25.0, 50.0, 75.0, 100.0]);
        assert_eq!(ticks(0.0), [0.0, 1.0]);
    }

    proptest! {
        #[test]
        fn an_axis_reaches_the_top_and_little_more(top in 1e-6..1e12_f64) {
            let ticks = ticks(top);
            prop_assert!((3..=6).contains(&ticks.len()), "{ticks:?}");
            let last = ticks[ticks.len() - 1];
            prop_assert!(last >= top * (1.0 - 1e-6) && last <= top * 2.0, "{ticks:?} for {top}");
        }
    }
}
