//! [`Scalar`]: a value in a check, as data.

use std::fmt;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Literal};
use serde::{Deserialize, Serialize};

/// A value that a column is compared with.
///
/// Times and dates are texts such as `2024-05-01T08:00:00Z`: compared with a column of times, the engine
/// reads them as such.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// True or false.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// An integer above the signed ones.
    Unsigned(u64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
}

impl Scalar {
    /// The value of a literal of DataFusion; none for NULL and for what has no text.
    pub(crate) fn of(literal: &impl Literal) -> Option<Self> {
        match literal.lit() {
            Expr::Literal(value, _) => Self::of_value(&value),
            _ => None,
        }
    }

    pub(crate) fn of_value(value: &ScalarValue) -> Option<Self> {
        let as_type = |data_type| value.cast_to(&data_type).ok();
        let data_type = value.data_type();
        if data_type.is_integer() {
            return match (as_type(DataType::Int64), as_type(DataType::UInt64)) {
                (Some(ScalarValue::Int64(Some(value))), _) => Some(Self::Integer(value)),
                (_, Some(ScalarValue::UInt64(Some(value)))) => Some(Self::Unsigned(value)),
                _ => None,
            };
        }
        match value {
            ScalarValue::Boolean(Some(value)) => Some(Self::Boolean(*value)),
            ScalarValue::Float32(Some(value)) => Some(Self::Float(f64::from(*value))),
            ScalarValue::Float64(Some(value)) => Some(Self::Float(*value)),
            _ => match as_type(DataType::Utf8) {
                Some(ScalarValue::Utf8(Some(text))) => Some(Self::Text(text)),
                _ => None,
            },
        }
    }

    pub(crate) fn value(&self) -> ScalarValue {
        match self {
            Self::Boolean(value) => ScalarValue::from(*value),
            Self::Integer(value) => ScalarValue::from(*value),
            Self::Unsigned(value) => ScalarValue::from(*value),
            Self::Float(value) => ScalarValue::from(*value),
            Self::Text(value) => ScalarValue::from(value.as_str()),
        }
    }

    pub(crate) fn lit(&self) -> Expr {
        Expr::Literal(self.value(), None)
    }

    pub(crate) fn number(&self) -> Option<f64> {
        number(&self.value())
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

/// A value of a numeric type as a number.
pub(crate) fn number(value: &ScalarValue) -> Option<f64> {
    if !value.data_type().is_numeric() {
        return None;
    }
    match value.cast_to(&DataType::Float64) {
        Ok(ScalarValue::Float64(number)) => number,
        _ => None,
    }
}

/// Durations as texts such as `36h`.
pub(crate) mod duration {
    use std::time::Duration;

    use jiff::SignedDuration;
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn text(duration: &Duration) -> Result<String, jiff::Error> {
        SignedDuration::try_from(*duration).map(|duration| format!("{duration:#}"))
    }

    pub(crate) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = text(duration).map_err(S::Error::custom)?;
        serializer.serialize_str(&text)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        let duration: SignedDuration = text.parse().map_err(D::Error::custom)?;
        Duration::try_from(duration).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_keep_their_value() {
        let check = |value: ScalarValue, expected: Option<Scalar>| {
            assert_eq!(Scalar::of_value(&value), expected);
        };
        check(ScalarValue::Int8(Some(-3)), Some(Scalar::Integer(-3)));
        check(
            ScalarValue::UInt64(Some(u64::MAX)),
            Some(Scalar::Unsigned(u64::MAX)),
        );
        check(ScalarValue::Float32(Some(0.5)), Some(Scalar::Float(0.5)));
        check(
            ScalarValue::from("hat"),
            Some(Scalar::Text("hat".to_owned())),
        );
        check(
            ScalarValue::Boolean(Some(true)),
            Some(Scalar::Boolean(true)),
        );
        check(
            ScalarValue::TimestampMicrosecond(Some(0), Some("UTC".into())),
            Some(Scalar::Text("1970-01-01T00:00:00Z".to_owned())),
        );
        check(ScalarValue::Int64(None), None);
    }

    #[test]
    fn data_keep_their_kind() {
        let check = |json: &str, expected: Scalar| {
            let read: Scalar = serde_json::from_str(json).unwrap();
            assert_eq!(read, expected);
            assert_eq!(serde_json::to_string(&read).unwrap(), json);
        };
        check("true", Scalar::Boolean(true));
        check("-1", Scalar::Integer(-1));
        check("18446744073709551615", Scalar::Unsigned(u64::MAX));
        check("1.0", Scalar::Float(1.0));
        check("\"1\"", Scalar::Text("1".to_owned()));
    }
}
