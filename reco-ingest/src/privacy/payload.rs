//! [`Pass`]: one event on its way through the rules.

use url::form_urlencoded;

use super::{Redaction, Treatment, form, json};

// A text in a text in a text: an envelope that holds a body that holds an address.
const MAX_NESTED: usize = 4;
// Shorter values stand in any text by accident.
const MIN_SECRET_BYTES: usize = 6;

/// Why a payload cannot be vouched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unvouched(pub(super) &'static str);

/// One event on its way through the rules: what was taken out of it so far.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    rules: &'a Redaction,
    /// The values that were treated, as they were.
    secrets: Vec<String>,
    /// The texts that stay and were written with escapes, unescaped.
    unescaped: String,
}

impl<'a> Pass<'a> {
    pub(super) const fn new(rules: &'a Redaction) -> Self {
        Self {
            rules,
            secrets: Vec::new(),
            unescaped: String::new(),
        }
    }

    /// What is done to the values of a key.
    pub(super) fn treatment_of(&self, key: &str) -> Option<Treatment> {
        self.rules.treatment_of(key)
    }

    /// The text as it may be written.
    pub(super) fn treat(&mut self, treatment: Treatment, text: &str) -> String {
        let treated = self.rules.treat(treatment, text);
        if text.len() >= MIN_SECRET_BYTES && treated != text {
            self.secrets.push(text.to_owned());
        }
        treated
    }

    /// Notes a text that stays and was written with escapes.
    pub(super) fn keep_unescaped(&mut self, text: &str) {
        self.unescaped.push('\n');
        self.unescaped.push_str(text);
    }

    /// Whether a treated value stands in a text.
    pub(super) fn holds_secret(&self, text: &str) -> bool {
        self.secrets.iter().any(|secret| text.contains(secret))
    }

    /// The payload as it may be written.
    pub(super) fn payload(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Unvouched> {
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Unvouched("it is not UTF-8"))?;
        let redacted = if is_json(text) {
            json::redact(text, self, 0)?
        } else {
            form::redact(text, self, 0)?
        };
        let redacted = redacted.ok_or(Unvouched("it is neither JSON nor a form"))?;
        let decoded = form_urlencoded::parse(redacted.as_bytes());
        let unescaped = decoded.fold(std::mem::take(&mut self.unescaped), |all, (key, value)| {
            all + "\n" + &key + "=" + &value
        });
        if self.holds_secret(&redacted) || self.holds_secret(&unescaped) {
            return Err(Unvouched("a value that was treated stands elsewhere in it"));
        }
        Ok(redacted.into_bytes())
    }

    /// A text within the payload as it may be written; none if nothing in it is named by a rule.
    pub(super) fn nested(&mut self, text: &str, depth: usize) -> Result<Option<String>, Unvouched> {
        let redacted = if is_json(text) {
            json::redact(text, self, depth + 1)?
        } else {
            self.address(text, depth + 1)?
        };
        let Some(redacted) = redacted.filter(|redacted| redacted != text) else {
            return Ok(None);
        };
        if depth >= MAX_NESTED {
            return Err(Unvouched("texts are nested too deeply"));
        }
        Ok(Some(redacted))
    }

    // What follows `?` and `#` in an address is a form, and so may be a text that has neither.
    fn address(&mut self, text: &str, depth: usize) -> Result<Option<String>, Unvouched> {
        let mut redacted = String::with_capacity(text.len());
        for part in text.split_inclusive(['?', '#']) {
            let (part, end) = match part.strip_suffix(['?', '#']) {
                Some(rest) => part.split_at(rest.len()),
                None => (part, ""),
            };
            redacted.push_str(form::redact(part, self, depth)?.as_deref().unwrap_or(part));
            redacted.push_str(end);
        }
        Ok(Some(redacted))
    }
}

fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}
