//! Text and numbers in HTML.

use std::fmt::{self, Display, Write};

/// Text that is nothing but text in HTML, between tags and in attributes.
pub(crate) struct Text<T>(pub(crate) T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaped(f), "{}", self.0)
    }
}

struct Escaped<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match c {
            '<' => self.0.write_str("&lt;"),
            '>' => self.0.write_str("&gt;"),
            '&' => self.0.write_str("&amp;"),
            '"' => self.0.write_str("&quot;"),
            '\'' => self.0.write_str("&#39;"),
            c => self.0.write_char(c),
        })
    }
}

/// A value of a metric: four digits after the point where it is small, fewer where it is large.
pub(crate) fn number(value: f64) -> String {
    let text = match value.abs() {
        1000.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    };
    text.replace('-', "−")
}

/// The same with its sign.
pub(crate) fn signed(value: f64) -> String {
    let text = number(value);
    if value > 0.0 {
        format!("+{text}")
    } else {
        text
    }
}

/// A count with a thin space between groups of three digits.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

/// Appends formatted text: a string takes what is written to it.
macro_rules! put {
    ($out:expr, $($text:tt)*) => {
        std::fmt::Write::write_fmt($out, format_args!($($text)*)).expect("a string takes what is written to it")
    };
}

pub(crate) use put;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(
            Text("<a b='\"'>&").to_string(),
            "&lt;a b=&#39;&quot;&#39;&gt;&amp;"
        );
    }

    #[test]
    fn numbers_are_as_long_as_they_need_be() {
        assert_eq!(number(0.51234), "0.5123");
        assert_eq!(number(-12.345), "−12.35");
        assert_eq!(number(12345.6), "12346");
        assert_eq!(signed(0.5), "+0.5000");
        assert_eq!(signed(-0.5), "−0.5000");
        assert_eq!(grouped(1_234_567), "1\u{2009}234\u{2009}567");
    }
}
