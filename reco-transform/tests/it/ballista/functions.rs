//! The functions of the tests, which the host, the scheduler and the executors have.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reco_transform::ballista::Functions;
use reco_transform::datafusion::arrow::array::ArrayRef;
use reco_transform::datafusion::arrow::array::{AsArray, Int64Array};
use reco_transform::datafusion::arrow::datatypes::{DataType, Int64Type};
use reco_transform::datafusion::common::{ScalarValue, cast::as_string_array};
use reco_transform::datafusion::error::Result;
use reco_transform::datafusion::logical_expr::{
    Accumulator, AggregateUDF, ColumnarValue, ScalarUDF, Volatility, create_udaf, create_udf,
};

pub(super) fn functions(gate: &Gate) -> Functions {
    Functions::new()
        .scalar(bucket())
        .scalar(gated(gate))
        .aggregate(total_length())
}

fn of_text(name: &str, of: impl Fn(&str) -> i64 + Send + Sync + 'static) -> ScalarUDF {
    let call = move |arguments: &[ColumnarValue]| {
        let texts = ColumnarValue::values_to_arrays(arguments)?;
        let texts = as_string_array(&texts[0])?;
        let values: Int64Array = texts.iter().map(|text| text.map(&of)).collect();
        Ok(ColumnarValue::Array(Arc::new(values)))
    };
    let call = Arc::new(call);
    create_udf(
        name,
        vec![DataType::Utf8],
        DataType::Int64,
        Volatility::Immutable,
        call,
    )
}

/// Which of seven buckets a text belongs to.
pub(super) fn bucket() -> ScalarUDF {
    of_text("bucket", |text| {
        text.bytes().map(i64::from).sum::<i64>() % 7
    })
}

/// How long the texts of a group are together.
pub(super) fn total_length() -> AggregateUDF {
    create_udaf(
        "total_length",
        vec![DataType::Utf8],
        Arc::new(DataType::Int64),
        Volatility::Immutable,
        Arc::new(|_| Ok(Box::<TotalLength>::default())),
        Arc::new(vec![DataType::Int64]),
    )
}

#[derive(Debug, Default)]
struct TotalLength(i64);

impl Accumulator for TotalLength {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let texts = as_string_array(&values[0])?;
        let lengths = texts.iter().flatten().map(str::len);
        self.0 += i64::try_from(lengths.sum::<usize>()).unwrap();
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let parts = states[0].as_primitive::<Int64Type>();
        self.0 += parts.iter().flatten().sum::<i64>();
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.0.into()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.0.into())
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// What processes tell one another through a folder: who has come to a point, and whether it may go on.
#[derive(Debug, Clone)]
pub(super) struct Gate(PathBuf);

impl Gate {
    pub(super) fn at(dir: impl AsRef<Path>) -> Self {
        Self(dir.as_ref().to_owned())
    }

    /// Who has come to the point, by the ids of their processes.
    pub(super) fn came(&self) -> Vec<u32> {
        let files = std::fs::read_dir(&self.0).unwrap();
        let names = files.map(|file| file.unwrap().file_name());
        let ids = names.filter_map(|name| name.to_str()?.strip_prefix("came-")?.parse().ok());
        ids.collect()
    }

    /// Waits until somebody has come.
    pub(super) async fn somebody(&self) -> u32 {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            if let Some(&id) = self.came().first() {
                return id;
            }
            tick.tick().await;
        }
    }

    pub(super) fn open(&self) {
        std::fs::write(self.0.join("open"), "").unwrap();
    }

    fn pass(&self) {
        std::fs::write(self.0.join(format!("came-{}", std::process::id())), "").unwrap();
        while !self.0.join("open").exists() {
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

/// The length of a text, once the gate is open.
pub(super) fn gated(gate: &Gate) -> ScalarUDF {
    let gate = gate.clone();
    of_text("gated", move |text| {
        gate.pass();
        i64::try_from(text.len()).unwrap()
    })
}
