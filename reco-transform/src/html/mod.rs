//! Pages of HTML that need nothing but themselves.
//!
//! A page is one file: no network, no server, no library, and a security policy that lets a browser load
//! nothing. It is light or dark as the reader's system is.

use reco_core::Timestamp;

/// The colours, light and dark; each page's own style comes after.
const THEME: &str = include_str!("theme.css");

/// What a page is made of.
pub(crate) struct Shell<'a> {
    pub(crate) title: &'a str,
    pub(crate) css: &'a str,
    /// What stands between `<body>` and the script, as HTML.
    pub(crate) body: &'a str,
    /// What the script works on, as JSON, and the script.
    pub(crate) script: Option<(&'a str, &'a str)>,
}

impl Shell<'_> {
    pub(crate) fn to_html(&self) -> String {
        let title = escaped(self.title);
        let (body, css) = (self.body, self.css);
        let (policy, script) = match self.script {
            None => (String::new(), String::new()),
            Some((json, script)) => {
                // Of what a script element may hold, these could end it or start a comment in it.
                let json = json
                    .replace('<', "\\u003c")
                    .replace('>', "\\u003e")
                    .replace('&', "\\u0026");
                let model =
                    format!("<script type=\"application/json\" id=\"model\">{json}</script>");
                (
                    ";script-src 'unsafe-inline'".to_owned(),
                    format!("{model}\n<script>{script}</script>\n"),
                )
            }
        };
        format!(
            r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none';style-src 'unsafe-inline'{policy}">
<title>{title}</title>
<style>{THEME}{css}</style>
{body}
{script}</html>
"#
        )
    }
}

/// Text that is nothing but text in HTML, between tags and in attributes.
pub(crate) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => html += "&lt;",
            '>' => html += "&gt;",
            '&' => html += "&amp;",
            '"' => html += "&quot;",
            '\'' => html += "&#39;",
            c => html.push(c),
        }
    }
    html
}

/// A number with a thin space between groups of three digits.
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

pub(crate) fn shortened(text: &str, n_chars: usize) -> String {
    if text.chars().count() <= n_chars {
        return text.to_owned();
    }
    text.chars().take(n_chars - 1).chain(['…']).collect()
}

/// The time between, in its largest unit.
pub(crate) fn age(newest: Timestamp, as_of: Timestamp) -> String {
    let seconds = as_of.as_second() - newest.as_second();
    let (n, unit) = match seconds {
        ..0 => return "in the future".to_owned(),
        0..120 => (seconds, "s"),
        120..7200 => (seconds / 60, "min"),
        7200..172_800 => (seconds / 3600, "h"),
        _ => (seconds / 86400, "days"),
    };
    format!("{n} {unit} old")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_shortened_and_long_numbers_grouped() {
        assert_eq!(shortened("sessions", 8), "sessions");
        assert_eq!(shortened("sitzungen_für_größe", 8), "sitzung…");
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(123_456), "123\u{2009}456");
        assert_eq!(grouped(1_234_567), "1\u{2009}234\u{2009}567");
    }

    #[test]
    fn text_stays_text() {
        assert_eq!(escaped("<a b='\"'>&"), "&lt;a b=&#39;&quot;&#39;&gt;&amp;");
    }

    #[test]
    fn ages_are_told_in_their_largest_unit() {
        let check = |seconds: i64, expected: &str| {
            let newest = Timestamp::from_second(1_000_000).unwrap();
            let as_of = Timestamp::from_second(1_000_000 + seconds).unwrap();
            assert_eq!(age(newest, as_of), expected);
        };
        check(-1, "in the future");
        check(0, "0 s old");
        check(119, "119 s old");
        check(120, "2 min old");
        check(7199, "119 min old");
        check(7200, "2 h old");
        check(172_799, "47 h old");
        check(172_800, "2 days old");
    }
}
