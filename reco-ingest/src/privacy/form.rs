//! Redaction of urlencoded forms: `cid=55.1234&uip=192.0.2.17`.

use std::borrow::Cow;

use url::form_urlencoded;

use super::payload::{Pass, Unvouched};

const MAX_KEY_BYTES: usize = 64;

/// The form with the values of the named keys replaced; none if the text is no form.
///
/// Any text is a form to a lenient reader. Here it is one if every part between `&` is a plain key, `=`
/// and a value without white space, and at least one value says something: not a line of a CSV file, nor
/// base64.
pub(super) fn redact(
    text: &str,
    pass: &mut Pass<'_>,
    depth: usize,
) -> Result<Option<String>, Unvouched> {
    let (mark, pairs) = text.split_at(usize::from(text.starts_with('?')));
    if pairs.contains(|char: char| char.is_whitespace() || char.is_control()) {
        return Ok(None);
    }
    let mut says_something = false;
    let mut redacted = String::with_capacity(text.len());
    redacted.push_str(mark);
    for (at, pair) in pairs.split('&').enumerate() {
        if at > 0 {
            redacted.push('&');
        }
        if pair.is_empty() {
            continue;
        }
        let Some((raw_key, raw_value)) = pair.split_once('=') else {
            return Ok(None);
        };
        let key = decode(raw_key);
        if !is_key(&key) {
            return Ok(None);
        }
        says_something |= !raw_value.trim_matches('=').is_empty();
        let value = decode(raw_value);
        let replaced = match pass.treatment_of(&key) {
            Some(treatment) => Some(pass.treat(treatment, &value)),
            None => pass.nested(&value, depth)?,
        };
        redacted.push_str(raw_key);
        redacted.push('=');
        match replaced {
            Some(value) => {
                redacted.extend(form_urlencoded::byte_serialize(value.as_bytes()));
            }
            None => {
                if matches!(value, Cow::Owned(_)) {
                    pass.keep_unescaped(&value);
                }
                redacted.push_str(raw_value);
            }
        }
    }
    Ok(says_something.then_some(redacted))
}

fn is_key(key: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:[]".contains(&byte);
    (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(allowed)
}

// As `form_urlencoded` reads it: `+` is a space, and bytes that are not UTF-8 are replaced.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    // A raw `=` stands for itself here, so take the text for a key that cannot have one.
    let escaped = text.replace('=', "%3D");
    let decoded = form_urlencoded::parse(escaped.as_bytes()).next();
    Cow::Owned(decoded.map_or_else(String::new, |(text, _)| text.into_owned()))
}
