//! Redaction of JSON texts, which leaves every byte that no rule names as it is.
//!
//! Reading a document and writing it again would change the order of keys, numbers that no float holds,
//! and white space. So the text is walked once, and only the values of named keys are replaced.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::Treatment;
use super::payload::{Pass, Unvouched};

/// The text with the values of the named keys replaced; none if it is not one JSON text.
pub(super) fn redact(
    text: &str,
    pass: &mut Pass<'_>,
    depth: usize,
) -> Result<Option<String>, Unvouched> {
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return Ok(None);
    }
    let walk = Walk {
        text,
        depth,
        at: 0,
        copied: 0,
        redacted: String::with_capacity(text.len()),
        in_objects: Vec::new(),
        expects_key: false,
        treatment: None,
    };
    walk.run(pass).map(Some)
}

/// A walk over a text that is known to be JSON.
struct Walk<'a> {
    text: &'a str,
    depth: usize,
    /// The byte that comes next.
    at: usize,
    /// The bytes before it that are in `redacted`, as they are or replaced.
    copied: usize,
    redacted: String,
    /// The objects and arrays that are open: whether each is an object.
    in_objects: Vec<bool>,
    expects_key: bool,
    /// What is done to the value that comes next.
    treatment: Option<Treatment>,
}

impl Walk<'_> {
    fn run(mut self, pass: &mut Pass<'_>) -> Result<String, Unvouched> {
        while let Some(byte) = self.text.as_bytes().get(self.at).copied() {
            match byte {
                b'"' => self.string(pass)?,
                b'{' | b'[' => self.open(byte == b'{'),
                b'}' | b']' => {
                    self.in_objects.pop();
                    self.at += 1;
                }
                b',' => {
                    self.expects_key = self.in_objects.last() == Some(&true);
                    self.treatment = None;
                    self.at += 1;
                }
                b':' | b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                _ => self.literal(pass),
            }
        }
        self.redacted.push_str(&self.text[self.copied..]);
        Ok(self.redacted)
    }

    fn string(&mut self, pass: &mut Pass<'_>) -> Result<(), Unvouched> {
        let end = string_end(self.text.as_bytes(), self.at);
        let raw = &self.text[self.at..end];
        let text = unescape(raw)?;
        let is_escaped = matches!(text, Cow::Owned(_));
        if self.expects_key {
            self.expects_key = false;
            self.treatment = pass.treatment_of(&text);
            if is_escaped {
                pass.keep_unescaped(&text);
            }
            self.at = end;
            return Ok(());
        }
        match self.treatment.take() {
            Some(treatment) => {
                let treated = pass.treat(treatment, &text);
                self.replace(end, &quoted_or_null(&treated));
            }
            None => match pass.nested(&text, self.depth)? {
                Some(redacted) => self.replace(end, &quoted(&redacted)),
                None if is_escaped => {
                    pass.keep_unescaped(&text);
                    self.at = end;
                }
                None => self.at = end,
            },
        }
        Ok(())
    }

    fn open(&mut self, is_object: bool) {
        if self.treatment.take().is_some() {
            let end = container_end(self.text.as_bytes(), self.at);
            self.replace(end, "null");
            return;
        }
        self.in_objects.push(is_object);
        self.expects_key = is_object;
        self.at += 1;
    }

    // A number, `true`, `false` or `null`.
    fn literal(&mut self, pass: &mut Pass<'_>) {
        let rest = &self.text[self.at..];
        let length = rest
            .find([',', ']', '}', ' ', '\t', '\n', '\r'])
            .unwrap_or(rest.len());
        let end = self.at + length;
        match self.treatment.take() {
            Some(treatment) if !matches!(&rest[..length], "true" | "false" | "null") => {
                let treated = pass.treat(treatment, &rest[..length]);
                self.replace(end, &quoted_or_null(&treated));
            }
            Some(_) => self.replace(end, "null"),
            None => self.at = end,
        }
    }

    fn replace(&mut self, end: usize, by: &str) {
        self.redacted.push_str(&self.text[self.copied..self.at]);
        self.redacted.push_str(by);
        self.at = end;
        self.copied = end;
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn quoted_or_null(text: &str) -> String {
    if text.is_empty() {
        "null".to_owned()
    } else {
        quoted(text)
    }
}

// Where the string ends that begins at a quote.
fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

// Where the object or array ends that begins at a bracket.
fn container_end(text: &[u8], start: usize) -> usize {
    let (mut at, mut n_open) = (start, 0_usize);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at = string_end(text, at);
                continue;
            }
            b'{' | b'[' => n_open += 1,
            b'}' | b']' => {
                n_open -= 1;
                if n_open == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    text.len()
}

// Borrowed if it is written without escapes.
fn unescape(raw: &str) -> Result<Cow<'_, str>, Unvouched> {
    if raw.contains('\\') {
        return serde_json::from_str(raw)
            .map(Cow::Owned)
            .map_err(|_| Unvouched("a text in it is not Unicode"));
    }
    Ok(Cow::Borrowed(&raw[1..raw.len() - 1]))
}
