//! Reading settings from JSON, with an error that names the nearest key.

use serde::de::DeserializeOwned;

use crate::error::{Error, Result, nearest};

/// Reads a configuration that denies unknown fields from JSON.
///
/// `of` names what is configured in the error.
///
/// # Errors
///
/// [`Error::UnknownKey`] with the nearest known key, [`Error::InvalidConfig`] for everything else.
///
/// # Examples
///
/// ```
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Config {
///     window: u32,
/// }
///
/// let error = reco_core::config_from_json::<Config>("prod2vec", r#"{"windwo": 3}"#).err().unwrap();
/// assert_eq!(
///     error.to_string(),
///     "unknown key `windwo` in the configuration of `prod2vec`; did you mean `window`?"
/// );
/// ```
pub fn config_from_json<C: DeserializeOwned>(of: &str, json: &str) -> Result<C> {
    serde_json::from_str(json).map_err(|error| explain(of, &error.to_string()))
}

/// Reads a configuration that denies unknown fields from a parsed JSON value.
///
/// # Errors
///
/// As [`config_from_json`].
pub fn config_from_value<C: DeserializeOwned>(of: &str, value: serde_json::Value) -> Result<C> {
    serde_json::from_value(value).map_err(|error| explain(of, &error.to_string()))
}

// serde fixes the wording: "unknown field `x`, expected one of `a`, `b`" (or "expected `a`").
fn explain(of: &str, message: &str) -> Error {
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let mut quoted = rest.split('`').step_by(2);
        let key = quoted.next().unwrap_or_default().to_owned();
        let nearest = nearest(&key, quoted);
        return Error::UnknownKey {
            of: of.to_owned(),
            key,
            nearest,
        };
    }
    Error::InvalidConfig {
        of: of.to_owned(),
        reason: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the errors are read")]
    struct One {
        only: u32,
    }

    #[test]
    fn other_mistakes_keep_their_reason() {
        let error = config_from_json::<One>("one", r#"{"only": "x"}"#).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the configuration of `one` is invalid: invalid type")
        );
    }

    #[test]
    fn a_far_key_gets_no_suggestion() {
        let error = config_from_json::<One>("one", r#"{"zzzzzzz": 1}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown key `zzzzzzz` in the configuration of `one`"
        );
    }
}
