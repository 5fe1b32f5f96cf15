//! What drivers ask of the server, and the engine answers otherwise than PostgreSQL.

use std::sync::Arc;

use datafusion::arrow::array::cast::as_string_array;
use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, exec_err};
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::prelude::SessionContext;

use super::VERSION;

/// A setting in its own words; none if the engine answers well, or there is no such setting.
pub(super) fn setting(name: &str) -> Option<&'static str> {
    match name {
        "server_version" => Some(VERSION),
        "server_version_num" => Some("160006"),
        "default_transaction_read_only"
        | "transaction_read_only"
        | "standard_conforming_strings" => Some("on"),
        "search_path" => Some("\"$user\", public"),
        "client_encoding" | "server_encoding" => Some("UTF8"),
        _ => None,
    }
}

/// Registers `version()`, in which drivers look for the name and the number, and `current_setting(name)`.
pub(super) fn register(session: &SessionContext) {
    let text = format!(
        "PostgreSQL {VERSION}, compiled by reco-transform, DataFusion {}",
        datafusion::DATAFUSION_VERSION
    );
    let version =
        move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(text.clone()))));
    let (utf8, immutable) = (DataType::Utf8, Volatility::Immutable);
    session.register_udf(create_udf(
        "version",
        vec![],
        utf8.clone(),
        immutable,
        Arc::new(version),
    ));
    let current = |arguments: &[ColumnarValue]| {
        let names = ColumnarValue::values_to_arrays(arguments)?;
        let values = as_string_array(&names[0]).iter().map(|name| match name {
            None => Ok(None),
            Some(name) => match setting(&name.to_lowercase()) {
                Some(value) => Ok(Some(value)),
                None => exec_err!("unrecognized configuration parameter \"{name}\""),
            },
        });
        let values = values.collect::<datafusion::error::Result<StringArray>>()?;
        // One name makes one value, however many rows there are.
        if let [ColumnarValue::Scalar(_)] = arguments {
            return ScalarValue::try_from_array(&values, 0).map(ColumnarValue::Scalar);
        }
        Ok(ColumnarValue::Array(Arc::new(values) as ArrayRef))
    };
    let argument = vec![utf8.clone()];
    session.register_udf(create_udf(
        "current_setting",
        argument,
        utf8,
        immutable,
        Arc::new(current),
    ));
}
