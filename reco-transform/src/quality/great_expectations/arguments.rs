//! [`Arguments`]: the `kwargs` of an expectation, taken one by one.

use reco_core::{did_you_mean, nearest};
use serde_json::{Map, Value};

use super::super::arguments::IgnoreRowIf;
use super::super::scalar::Scalar;
use super::condition;

/// Why an expectation cannot be translated.
pub(super) type Reason = String;

/// The arguments that were not taken yet; at the end there should be none.
#[derive(Debug)]
pub(super) struct Arguments {
    left: Map<String, Value>,
    taken: Vec<&'static str>,
}

/// What goes with any expectation.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) mostly: f64,
    pub(super) when: Option<String>,
    pub(super) key: Vec<String>,
}

impl Arguments {
    pub(super) const fn new(kwargs: Map<String, Value>) -> Self {
        Self {
            left: kwargs,
            taken: Vec::new(),
        }
    }

    pub(super) fn common(&mut self) -> Result<Common, Reason> {
        // These have no part in the verdict.
        for key in [
            "batch_id",
            "catch_exceptions",
            "include_config",
            "meta",
            "profiler_config",
        ] {
            self.take(key);
        }
        if self.flag("auto")? {
            return Err(
                "its limits are not written down: a profiler makes them (`auto`)".to_owned(),
            );
        }
        let mostly = self.number("mostly")?.unwrap_or(1.0);
        let parser = self.text("condition_parser")?;
        let when = match self.take("row_condition") {
            None => None,
            Some(row_condition) => Some(condition::to_sql(&row_condition, parser.as_deref())?),
        };
        let key = match self.take("result_format") {
            Some(Value::Object(mut format)) => match format.remove("unexpected_index_column_names")
            {
                None | Some(Value::Null) => Vec::new(),
                Some(names) => texts("unexpected_index_column_names", names)?,
            },
            _ => Vec::new(),
        };
        Ok(Common { mostly, when, key })
    }

    /// Refuses what nothing took.
    pub(super) fn finish(self) -> Result<(), Reason> {
        let mut left = self.left.iter().filter(|(_, value)| !value.is_null());
        match left.next() {
            None => Ok(()),
            Some((key, _)) => {
                let hint = did_you_mean(nearest(key, &self.taken).as_deref());
                Err(format!("its argument `{key}` is not known{hint}"))
            }
        }
    }

    /// An argument; none if it is not there, or null.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.taken.push(key);
        self.left.remove(key).filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>, Reason> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(format!("`{key}` is {other}, not a text")),
        }
    }

    pub(super) fn column(&mut self) -> Result<String, Reason> {
        self.needed_text("column")
    }

    pub(super) fn needed_text(&mut self, key: &'static str) -> Result<String, Reason> {
        self.text(key)?.ok_or_else(|| missing(key))
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Result<bool, Reason> {
        match self.take(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(format!("`{key}` is {other}, not true or false")),
        }
    }

    pub(super) fn number(&mut self, key: &'static str) -> Result<Option<f64>, Reason> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) => Ok(Some(number)),
                None => Err(format!("`{key}` is {value}, not a number")),
            },
        }
    }

    pub(super) fn count(&mut self, key: &'static str) -> Result<Option<u64>, Reason> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => count_of(&value)
                .map(Some)
                .ok_or_else(|| format!("`{key}` is {value}, not a number of things")),
        }
    }

    pub(super) fn scalar(&mut self, key: &'static str) -> Result<Option<Scalar>, Reason> {
        self.take(key).map(|value| scalar(key, value)).transpose()
    }

    /// Values of a set. A NULL among them is left out: rows with NULL are passed over.
    pub(super) fn values(&mut self, key: &'static str) -> Result<Vec<Scalar>, Reason> {
        let values = match self.take(key) {
            Some(Value::Array(values)) => values,
            None => return Err(format!("it has no `{key}`, which accepts anything")),
            Some(other) => return Err(format!("`{key}` is {other}, not a list")),
        };
        let values = values.into_iter().filter(|value| !value.is_null());
        values.map(|value| scalar(key, value)).collect()
    }

    pub(super) fn list(&mut self, key: &'static str) -> Result<Vec<Value>, Reason> {
        match self.take(key) {
            Some(Value::Array(values)) => Ok(values),
            None => Err(missing(key)),
            Some(other) => Err(format!("`{key}` is {other}, not a list")),
        }
    }

    pub(super) fn texts(&mut self, key: &'static str) -> Result<Vec<String>, Reason> {
        let list = self.list(key)?;
        texts(key, Value::Array(list))
    }

    /// Which rows are passed over, by their names in pairs of columns and in lists of them.
    pub(super) fn ignore_row_if(&mut self) -> Result<IgnoreRowIf, Reason> {
        let Some(text) = self.text("ignore_row_if")? else {
            return Ok(IgnoreRowIf::AllMissing);
        };
        match text.as_str() {
            "both_values_are_missing" | "all_values_are_missing" => Ok(IgnoreRowIf::AllMissing),
            "either_value_is_missing" | "any_value_is_missing" => Ok(IgnoreRowIf::AnyMissing),
            "neither" | "never" => Ok(IgnoreRowIf::Never),
            other => Err(format!(
                "`ignore_row_if` is `{other}`, which is none of its values"
            )),
        }
    }
}

fn missing(key: &str) -> Reason {
    format!("it has no `{key}`")
}

fn scalar(key: &str, value: Value) -> Result<Scalar, Reason> {
    serde_json::from_value(value).map_err(|_| format!("`{key}` holds a list or an object"))
}

fn texts(key: &str, value: Value) -> Result<Vec<String>, Reason> {
    serde_json::from_value(value).map_err(|_| format!("`{key}` is not a list of texts"))
}

/// A count, which may be written as `5.0`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number from 0 to 2^53 without a fraction"
)]
fn count_of(value: &Value) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        let is_count = number.fract() == 0.0 && (0.0..=EXACT).contains(&number);
        is_count.then_some(number as u64)
    })
}
