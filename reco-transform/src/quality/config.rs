//! [`ExpectationConfig`] and [`Suite`]: expectations as data.

use reco_core::{Error as CoreError, Severity, config_from_value, did_you_mean, nearest};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::check::Check;
use super::defect;
use crate::document::{At, Document, Unreadable};
use crate::error::{Error, Result};

/// An expectation as data: a [`Check`] and what goes with any check.
///
/// In JSON, or any other format of serde, it is one flat object whose `type` is the kind of check in
/// snake case.
///
/// # Examples
///
/// ```
/// use reco_transform::{Expectation, ExpectationConfig, not_null};
///
/// let json = r#"{"type": "not_null", "column": "price", "mostly": 0.99, "when": "kind = 'purchase'"}"#;
/// let config: ExpectationConfig = serde_json::from_str(json)?;
/// assert_eq!(&config, not_null("price").mostly(0.99).when("kind = 'purchase'").config());
/// assert_eq!(Expectation::from(config).name(), "not_null(price) mostly 0.99 when kind = 'purchase'");
///
/// let error = serde_json::from_str::<ExpectationConfig>(r#"{"type": "not_null", "colum": "price"}"#);
/// assert_eq!(
///     error.unwrap_err().to_string(),
///     "unknown key `colum` in the configuration of `not_null`; did you mean `column`?"
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectationConfig {
    /// What is expected.
    pub check: Check,
    /// The least share of rows that has to pass, from 0 to 1. Default 1.
    pub mostly: f64,
    /// The condition in SQL of the rows that are looked at. Default none, which is all.
    pub when: Option<String>,
    /// What a failure means. Default [`Severity::Error`].
    pub severity: Severity,
    /// The columns that samples show besides those of the check. Default none, which is all columns.
    pub key: Vec<String>,
}

impl ExpectationConfig {
    /// A check, of all rows, that all have to pass.
    #[must_use]
    pub const fn new(check: Check) -> Self {
        Self {
            check,
            mostly: 1.0,
            when: None,
            severity: Severity::Error,
            key: Vec::new(),
        }
    }

    pub(crate) fn has_mostly(&self) -> bool {
        // One or more is all: `mostly` above it is a defect, and shown.
        self.mostly.total_cmp(&1.0).is_ne()
    }

    /// Why it could not fail, or not as meant, if it is put together wrongly.
    pub(crate) fn defect(&self) -> Option<&'static str> {
        defect::of(self)
    }

    /// An expectation that is an object of JSON.
    pub(crate) fn from_object(mut object: Map<String, Value>) -> Result<Self, CoreError> {
        let invalid = |reason: String| CoreError::InvalidConfig {
            of: "expectation".to_owned(),
            reason,
        };
        let kind = match object.remove("type") {
            Some(Value::String(kind)) => kind,
            Some(other) => return Err(invalid(format!("`type` is {other}, not a text"))),
            None => return Err(invalid("missing key `type`".to_owned())),
        };
        let mut common = Map::new();
        for key in Common::KEYS {
            if let Some(value) = object.remove(key) {
                common.insert(key.to_owned(), value);
            }
        }
        let common: Common = config_from_value(&kind, Value::Object(common))?;
        let check = Value::Object(Map::from_iter([(kind.clone(), Value::Object(object))]));
        let check = config_from_value(&kind, check).map_err(|error| explain(&kind, error))?;
        Ok(Self {
            check,
            mostly: common.mostly,
            when: common.when,
            severity: common.severity,
            key: common.key,
        })
    }
}

/// Names the nearest kind, or the nearest of the keys that every kind has.
fn explain(kind: &str, error: CoreError) -> CoreError {
    match error {
        CoreError::UnknownKey {
            of,
            key,
            nearest: None,
        } => CoreError::UnknownKey {
            nearest: nearest(&key, Common::KEYS),
            of,
            key,
        },
        CoreError::InvalidConfig { reason, .. } if reason.starts_with("unknown variant") => {
            // As serde words it, the kinds follow the one that is not known, in backquotes.
            let quoted = reason.split('`').skip(1).step_by(2);
            match quoted.clone().next() {
                Some(first) if first == kind => CoreError::InvalidConfig {
                    of: "expectation".to_owned(),
                    reason: format!(
                        "unknown type `{kind}`{}",
                        did_you_mean(nearest(kind, quoted.skip(1)).as_deref())
                    ),
                },
                _ => CoreError::InvalidConfig {
                    of: kind.to_owned(),
                    reason,
                },
            }
        }
        other => other,
    }
}

/// What goes with any check.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Common {
    #[serde(skip_serializing_if = "is_all")]
    mostly: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<String>,
    #[serde(skip_serializing_if = "is_error")]
    severity: Severity,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    key: Vec<String>,
}

impl Common {
    const KEYS: [&'static str; 4] = ["mostly", "when", "severity", "key"];
}

impl Default for Common {
    fn default() -> Self {
        Self {
            mostly: 1.0,
            when: None,
            severity: Severity::Error,
            key: Vec::new(),
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_all(mostly: &f64) -> bool {
    mostly.total_cmp(&1.0).is_eq()
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_error(severity: &Severity) -> bool {
    *severity == Severity::Error
}

impl Serialize for ExpectationConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let to_value = |value: serde_json::Result<Value>| value.map_err(S::Error::custom);
        let mut object = Map::new();
        if let Value::Object(check) = to_value(serde_json::to_value(&self.check))? {
            for (kind, arguments) in check {
                object.insert("type".to_owned(), Value::String(kind));
                if let Value::Object(arguments) = arguments {
                    object.extend(arguments);
                }
            }
        }
        let common = Common {
            mostly: self.mostly,
            when: self.when.clone(),
            severity: self.severity,
            key: self.key.clone(),
        };
        if let Value::Object(common) = to_value(serde_json::to_value(common))? {
            object.extend(common);
        }
        object.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ExpectationConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Map::deserialize(deserializer)?;
        Self::from_object(object).map_err(D::Error::custom)
    }
}

/// Several expectations under a name, as data.
///
/// # Examples
///
/// ```
/// use reco_transform::{Dag, Suite};
///
/// let suite = Suite::from_json(
///     r#"{
///         "name": "browsing",
///         "expectations": [
///             {"type": "not_null", "column": "item_id"},
///             {"type": "between", "column": "price", "min": 0, "mostly": 0.95, "severity": "warn"}
///         ]
///     }"#,
/// )?;
/// let dag = Dag::builder()
///     .sql("clicks", "select 'hat' as item_id, 9.5 as price")
///     .expect_all("clicks", suite.expectations)
///     .build()?;
/// # Ok::<(), reco_transform::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// What it is called. Default nothing.
    #[serde(default)]
    pub name: String,
    /// What is expected.
    pub expectations: Vec<ExpectationConfig>,
}

impl Suite {
    /// Reads a suite from JSON.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSuite`] says which expectation is wrong and how, with its place in the text and the
    /// nearest key or kind. Keys that are not known, or written twice, are refused.
    pub fn from_json(json: &str) -> Result<Self> {
        let document = Document::from_json("suite", json).map_err(Unread::from);
        document
            .and_then(|document| Self::read(&document))
            .map_err(Unread::told)
    }

    /// Reads a suite from YAML.
    ///
    /// In YAML 1.2, where `yes` and `no` are texts. It is as strict as [`from_json`](Self::from_json), in
    /// the same words.
    ///
    /// # Errors
    ///
    /// As [`from_json`](Self::from_json).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::error::Error;
    ///
    /// use reco_transform::Suite;
    ///
    /// let suite = Suite::from_yaml("
    /// name: browsing
    /// expectations:
    ///   - {type: not_null, column: item_id}
    ///   - type: between
    ///     column: price
    ///     min: 0
    ///     mostly: 0.95
    /// ")?;
    /// assert_eq!(suite.expectations.len(), 2);
    ///
    /// let error = Suite::from_yaml("expectations:\n  - type: between\n    colum: price\n").unwrap_err();
    /// assert_eq!(error.to_string(), "suite ``, expectation 0, line 3, column 5, is invalid");
    /// assert_eq!(
    ///     error.source().unwrap().to_string(),
    ///     "unknown key `colum` in the configuration of `between`; did you mean `column`?"
    /// );
    /// # Ok::<(), reco_transform::Error>(())
    /// ```
    pub fn from_yaml(yaml: &str) -> Result<Self> {
        let document = Document::from_yaml("suite", yaml).map_err(Unread::from);
        document
            .and_then(|document| Self::read(&document))
            .map_err(Unread::told)
    }

    fn read(document: &Document<'_>) -> Result<Self, Unread> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Outline {
            #[serde(default)]
            name: String,
            expectations: Vec<Map<String, Value>>,
        }
        let outline: Outline = document.read()?;
        let expectations = outline.expectations.into_iter().enumerate();
        let expectations = expectations.map(|(position, object)| {
            ExpectationConfig::from_object(object).map_err(|source| Unread {
                suite: outline.name.clone(),
                position: Some(position),
                reason: document.wrong(&[At::Key("expectations"), At::Position(position)], source),
            })
        });
        Ok(Self {
            expectations: expectations.collect::<Result<_, Unread>>()?,
            name: outline.name,
        })
    }

    /// The suite as indented JSON, which is YAML, too.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSuite`] if a duration is too long to be written.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|error| Error::InvalidSuite {
            suite: self.name.clone(),
            position: None,
            place: None,
            source: Box::new(CoreError::InvalidConfig {
                of: "suite".to_owned(),
                reason: error.to_string(),
            }),
        })
    }
}

/// A suite that cannot be read.
struct Unread {
    suite: String,
    position: Option<usize>,
    reason: Unreadable,
}

impl From<Unreadable> for Unread {
    fn from(reason: Unreadable) -> Self {
        Self {
            suite: String::new(),
            position: None,
            reason,
        }
    }
}

impl Unread {
    fn told(self) -> Error {
        Error::InvalidSuite {
            suite: self.suite,
            position: self.position,
            place: self.reason.place,
            source: self.reason.source,
        }
    }
}
