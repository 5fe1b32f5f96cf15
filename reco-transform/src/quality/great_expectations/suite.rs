//! What a suite is written as, in both formats.

use reco_core::{Error as CoreError, Severity, nearest};
use serde_json::{Map, Value};

use super::arguments::Reason;
use crate::document::{At, Document, Unreadable};
use crate::error::{Error, Result};

/// The parts of a suite.
#[derive(Debug)]
pub(super) struct Outline {
    pub(super) name: String,
    pub(super) parameters: Map<String, Value>,
    pub(super) entries: Vec<Entry>,
}

/// An expectation as it is written.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: String,
    pub(super) kwargs: Map<String, Value>,
    pub(super) severity: Severity,
    pub(super) description: Option<String>,
    pub(super) has_windows: bool,
}

/// The keys of a suite, in 0.x and 1.x.
const OF_SUITE: &[&str] = &[
    "expectation_suite_name",
    "data_asset_type",
    "data_asset_name",
    "data_context_name",
    "evaluation_parameters",
    "suite_parameters",
    "expectations",
    "ge_cloud_id",
    "id",
    "meta",
    "name",
    "notes",
];

/// The keys of an expectation, in 0.x and 1.x.
const OF_ENTRY: &[&str] = &[
    "description",
    "expectation_context",
    "expectation_type",
    "ge_cloud_id",
    "id",
    "kwargs",
    "meta",
    "notes",
    "rendered_content",
    "severity",
    "success_on_last_run",
    "type",
    "windows",
];

impl Outline {
    pub(super) fn read(json: &str) -> Result<Self> {
        let told = |name: &str, position, unreadable: Unreadable| Error::InvalidSuite {
            suite: name.to_owned(),
            position,
            place: unreadable.place,
            source: unreadable.source,
        };
        let document = Document::from_json("suite", json);
        let document = document.map_err(|unreadable| told("", None, unreadable))?;
        let wrong = |source| told("", None, document.wrong(&[], source));
        let Value::Object(suite) = document.value() else {
            return Err(wrong(invalid("suite", "it is not an object")));
        };
        known_keys("suite", suite, OF_SUITE).map_err(wrong)?;
        let name = suite
            .get("expectation_suite_name")
            .or_else(|| suite.get("name"));
        let name = name.and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(Value::Array(expectations)) = suite.get("expectations") else {
            return Err(wrong(invalid("suite", "`expectations` is not a list")));
        };
        let mut parameters = Map::new();
        for key in ["evaluation_parameters", "suite_parameters"] {
            if let Some(Value::Object(values)) = suite.get(key) {
                parameters.extend(values.clone());
            }
        }
        let entries = expectations.iter().enumerate().map(|(position, entry)| {
            Entry::read(entry).map_err(|source| {
                let way = [At::Key("expectations"), At::Position(position)];
                told(&name, Some(position), document.wrong(&way, source))
            })
        });
        Ok(Self {
            entries: entries.collect::<Result<_>>()?,
            name,
            parameters,
        })
    }
}

impl Entry {
    fn read(entry: &Value) -> Result<Self, CoreError> {
        const OF: &str = "expectation";
        let Value::Object(entry) = entry else {
            return Err(invalid(OF, "it is not an object"));
        };
        known_keys(OF, entry, OF_ENTRY)?;
        let kind = match entry.get("expectation_type").or_else(|| entry.get("type")) {
            Some(Value::String(kind)) => kind.clone(),
            _ => return Err(invalid(OF, "`type` is not a text")),
        };
        let kwargs = match entry.get("kwargs") {
            Some(Value::Object(kwargs)) => kwargs.clone(),
            None => Map::new(),
            Some(_) => return Err(invalid(OF, "`kwargs` is not an object")),
        };
        let severity = match entry.get("severity") {
            None | Some(Value::Null) => Severity::Error,
            Some(Value::String(text)) => match text.as_str() {
                "critical" => Severity::Error,
                "warning" | "info" => Severity::Warn,
                other => return Err(invalid(OF, &format!("no severity is called `{other}`"))),
            },
            Some(_) => return Err(invalid(OF, "`severity` is not a text")),
        };
        let windows = entry.get("windows");
        Ok(Self {
            kind,
            kwargs,
            severity,
            description: entry
                .get("description")
                .and_then(Value::as_str)
                .map(str::to_owned),
            has_windows: windows
                .and_then(Value::as_array)
                .is_some_and(|windows| !windows.is_empty()),
        })
    }
}

fn known_keys(of: &str, object: &Map<String, Value>, known: &[&str]) -> Result<(), CoreError> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(CoreError::UnknownKey {
            of: of.to_owned(),
            key: key.clone(),
            nearest: nearest(key, known),
        }),
    }
}

fn invalid(of: &str, reason: &str) -> CoreError {
    CoreError::InvalidConfig {
        of: of.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Arguments with each parameter in them replaced by its value.
pub(super) fn resolve(
    kwargs: Map<String, Value>,
    parameters: &Map<String, Value>,
) -> Result<Map<String, Value>, Reason> {
    let entries = kwargs.into_iter();
    let entries = entries.map(|(key, value)| Ok((key, value_of(value, parameters)?)));
    entries.collect()
}

fn value_of(value: Value, parameters: &Map<String, Value>) -> Result<Value, Reason> {
    match value {
        Value::Object(object) => {
            let Some(parameter) = object.get("$PARAMETER") else {
                return resolve(object, parameters).map(Value::Object);
            };
            let Value::String(name) = parameter else {
                return Ok(parameter.clone());
            };
            // A suite of 0.x may hold a value to go on with until there is another.
            let known = parameters.get(name);
            let known = known.or_else(|| object.get(&format!("$PARAMETER.{name}")));
            known.cloned().ok_or_else(|| {
                format!(
                    "nothing says what its parameter `{name}` is; set it with \
                     `GreatExpectations::parameter`"
                )
            })
        }
        Value::Array(values) => {
            let values = values.into_iter().map(|value| value_of(value, parameters));
            values.collect()
        }
        value => Ok(value),
    }
}
