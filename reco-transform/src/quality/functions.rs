//! Functions that an audit calls and DataFusion does not have.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array as _, ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::sum;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    Accumulator, ColumnarValue, Expr, ScalarUDF, Volatility, cast, create_udaf, create_udf,
};
use jiff::fmt::strtime;
use serde::de::IgnoredAny;

/// How many rows make all of some conditions true.
///
/// A pass counts a hundred conditions over every row, so this is what an audit costs. It counts the bits
/// of a condition, 64 at a time: `count(*) filter (where …)` would copy the rows that pass first, and a
/// sum of casts would make 8 bytes of every bit.
pub(super) fn count_true(conditions: Vec<Expr>) -> Expr {
    let count_true = create_udaf(
        // Two functions are the same to the engine if their names are.
        &format!("count_true_{}", conditions.len()),
        vec![DataType::Boolean; conditions.len()],
        Arc::new(DataType::Int64),
        Volatility::Immutable,
        Arc::new(|_| Ok(Box::new(CountTrue::default()))),
        Arc::new(vec![DataType::Int64]),
    );
    count_true.call(conditions)
}

#[derive(Debug, Default)]
struct CountTrue {
    n: i64,
}

// Where a condition is true and known.
fn true_bits(condition: &BooleanArray) -> BooleanBuffer {
    match condition.nulls() {
        Some(known) => condition.values() & known.inner(),
        None => condition.values().clone(),
    }
}

impl Accumulator for CountTrue {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let n_true = match values {
            [condition] => condition.as_boolean().true_count(),
            conditions => {
                let bits = conditions.iter().map(|one| true_bits(one.as_boolean()));
                let all = bits.reduce(|all, bits| &all & &bits);
                all.map_or(0, |all| all.count_set_bits())
            }
        };
        self.n += i64::try_from(n_true).expect("a batch has fewer rows than i64 counts");
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.n += sum(states[0].as_primitive::<Int64Type>()).unwrap_or(0);
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::from(self.n))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// Whether a text is JSON; NULL where the text is.
pub(super) fn is_json(text: Expr) -> Expr {
    static IS_JSON: LazyLock<ScalarUDF> = LazyLock::new(|| {
        of_texts("is_json", |text| {
            serde_json::from_str::<IgnoredAny>(text).is_ok()
        })
    });
    IS_JSON.call(vec![cast(text, DataType::Utf8)])
}

/// Whether a text is a time in a format of `strftime`; NULL where the text is.
pub(super) fn is_strftime(text: Expr, format: &str) -> Expr {
    let name = format!("is_strftime_{format}");
    let format = format.to_owned();
    let function = of_texts(&name, move |text| is_time(&format, text));
    function.call(vec![cast(text, DataType::Utf8)])
}

fn is_time(format: &str, text: &str) -> bool {
    let Ok(time) = strtime::parse(format, text) else {
        return false;
    };
    // The 31st of February is in the format, and no day.
    let is_date = time.year().is_some() && time.month().is_some() && time.day().is_some();
    !is_date || time.to_date().is_ok()
}

fn of_texts(name: &str, holds: impl Fn(&str) -> bool + Send + Sync + 'static) -> ScalarUDF {
    let of_column = move |arguments: &[ColumnarValue]| {
        let texts = ColumnarValue::values_to_arrays(arguments)?;
        let holds = texts[0]
            .as_string::<i32>()
            .iter()
            .map(|text| text.map(&holds));
        let holds: BooleanArray = holds.collect();
        Ok(ColumnarValue::Array(Arc::new(holds)))
    };
    create_udf(
        name,
        vec![DataType::Utf8],
        DataType::Boolean,
        Volatility::Immutable,
        Arc::new(of_column),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_that_there_are() {
        let check = |format: &str, text: &str, expected: bool| {
            assert_eq!(is_time(format, text), expected, "{text} as {format}");
        };
        check("%Y-%m-%d", "2024-02-29", true);
        check("%Y-%m-%d", "2023-02-29", false);
        check("%Y-%m-%d", "2024-02-29 ", false);
        check("%Y-%m", "2024-02", true);
        check("%H:%M", "23:59", true);
        check("%H:%M", "24:00", false);
    }
}
