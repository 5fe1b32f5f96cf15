//! [`Params`]: the values of a trial, and how they become a configuration.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::Result;

/// The values of a trial by the names of their parameters.
///
/// A name is the path of a field: `layer`, or `gru.layer` for a field of a field.
///
/// # Examples
///
/// ```
/// use reco_train::Prod2VecConfig;
/// use reco_train::search::Params;
///
/// let params: Params = [("window", 3.into()), ("ns_exponent", (-0.5).into())].into_iter().collect();
/// let config = params.apply_to("prod2vec", &Prod2VecConfig::default())?;
/// assert_eq!((config.window, config.ns_exponent), (3, -0.5));
///
/// let typo: Params = [("windwo", 3.into())].into_iter().collect();
/// let error = typo.apply_to("prod2vec", &Prod2VecConfig::default()).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "unknown key `windwo` in the configuration of `prod2vec`; did you mean `window`?"
/// );
/// # Ok::<(), reco_train::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Params(BTreeMap<String, Value>);

impl Params {
    /// The value of a parameter, if the trial has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The value of a parameter as a number, if it is one.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.as_f64()
    }

    /// Names and values, in the order of the names.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> + '_ {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(super) fn insert(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// A configuration with these values put over those of `base`; `of` names what is configured in errors.
    ///
    /// # Errors
    ///
    /// [`UnknownKey`](reco_core::Error::UnknownKey) with the nearest key if the configuration has no such
    /// field, [`InvalidConfig`](reco_core::Error::InvalidConfig) if a field takes no such value.
    pub fn apply_to<C: Serialize + DeserializeOwned>(&self, of: &str, base: &C) -> Result<C> {
        let invalid = |reason: String| reco_core::Error::InvalidConfig {
            of: of.to_owned(),
            reason,
        };
        let mut tree = serde_json::to_value(base).map_err(|error| invalid(error.to_string()))?;
        for (name, value) in self.iter() {
            *field(of, &mut tree, name)? = value.clone();
        }
        let config: C = reco_core::config_from_value(of, tree)?;
        Ok(config)
    }
}

impl<N: Into<String>> FromIterator<(N, Value)> for Params {
    fn from_iter<I: IntoIterator<Item = (N, Value)>>(params: I) -> Self {
        Self(
            params
                .into_iter()
                .map(|(name, value)| (name.into(), value))
                .collect(),
        )
    }
}

/// As `layer=224 loss="bpr-max"`.
impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.iter().enumerate() {
            let space = if i > 0 { " " } else { "" };
            write!(f, "{space}{name}={value}")?;
        }
        Ok(())
    }
}

/// A number comes back to the last bit, which `serde_json` by itself does not promise: a study that goes on
/// must see what it saw before.
impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = BTreeMap::<String, Box<RawValue>>::deserialize(deserializer)?;
        let values = texts.into_iter().map(|(name, text)| {
            let value = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
            let value = match (&value, text.get().parse::<f64>()) {
                (Value::Number(number), Ok(exact)) if number.is_f64() => exact.into(),
                _ => value,
            };
            Ok((name, value))
        });
        values.collect::<Result<_, _>>().map(Self)
    }
}

/// The place of a field in a configuration, by its path.
fn field<'a>(of: &str, tree: &'a mut Value, path: &str) -> reco_core::Result<&'a mut Value> {
    let mut place = tree;
    for name in path.split('.') {
        let known: Vec<String> = match &place {
            Value::Object(fields) => fields.keys().cloned().collect(),
            _ => Vec::new(),
        };
        place = place
            .get_mut(name)
            .ok_or_else(|| reco_core::Error::UnknownKey {
                of: of.to_owned(),
                key: path.to_owned(),
                nearest: reco_core::nearest(name, known.iter().map(String::as_str)),
            })?;
    }
    Ok(place)
}

/// A number in JSON that comes back to the last bit.
pub(super) mod exact {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_json::value::RawValue;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(in crate::search) fn serialize<S: Serializer>(
        value: &f64,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_f64(*value)
    }

    pub(in crate::search) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<f64, D::Error> {
        let text = Box::<RawValue>::deserialize(from)?;
        text.get().parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Gru4RecConfig;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        left: Gru4RecConfig,
        k: usize,
    }

    #[test]
    fn a_path_goes_into_fields_of_fields() {
        let base = Pair {
            left: Gru4RecConfig::default(),
            k: 3,
        };
        let params: Params = [("left.layer", 7.into()), ("k", 9.into())]
            .into_iter()
            .collect();
        let config = params.apply_to("pair", &base).unwrap();
        assert_eq!((config.left.layer, config.k), (7, 9));
        let check = |name: &str, value: Value, expected: &str| {
            let params: Params = [(name, value)].into_iter().collect();
            assert_eq!(
                params.apply_to("pair", &base).unwrap_err().to_string(),
                expected
            );
        };
        check(
            "left.layre",
            7.into(),
            "unknown key `left.layre` in the configuration of `pair`; did you mean `layer`?",
        );
        check(
            "k.deep",
            7.into(),
            "unknown key `k.deep` in the configuration of `pair`",
        );
        check(
            "k",
            1.5.into(),
            "the configuration of `pair` is invalid: invalid type: floating point `1.5`, expected usize",
        );
    }

    #[test]
    fn numbers_come_back_to_the_last_bit() {
        let mut n_inexact = 0;
        for i in 1..20_000_u32 {
            let x = f64::from(i).sqrt() / 3.0 * 1e-5;
            let params: Params = [("x", x.into()), ("n", i.into())].into_iter().collect();
            let text = serde_json::to_string(&params).unwrap();
            let back: Params = serde_json::from_str(&text).unwrap();
            assert_eq!(back, params);
            let plain: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
            n_inexact += usize::from(plain["x"].as_f64() != Some(x));
        }
        // If this is 0 one day, the detour above is for nothing.
        assert!(n_inexact > 0);
    }
}
