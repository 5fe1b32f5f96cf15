//! [`WindowFunction`]: what is known to run over sorted rows.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::window::{PlainAggregateWindowExpr, StandardWindowExpr, WindowExpr};
use datafusion::physical_plan::windows::WindowUDFExpr;

use super::exec::Parts;
use super::running::{
    Count, FirstValue, Lag, RowNumber, can_add, can_compare, largest, least, sum,
};

/// A window over the rows of a stream, with what it remembers of those before.
pub(super) trait Running: Send {
    /// The column of the window for the rows of a batch.
    fn evaluate(&mut self, batch: &RecordBatch, parts: &Parts) -> Result<ArrayRef>;
}

/// A function over the rows of a partition up to the current one.
#[derive(Debug, Clone)]
pub(super) enum WindowFunction {
    RowNumber,
    Lag {
        of: Arc<dyn PhysicalExpr>,
        offset: usize,
        default: ScalarValue,
    },
    FirstValue(Arc<dyn PhysicalExpr>),
    Count(Vec<Arc<dyn PhysicalExpr>>),
    Aggregate {
        kind: Aggregate,
        of: Arc<dyn PhysicalExpr>,
        data_type: DataType,
    },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Aggregate {
    Sum,
    Min,
    Max,
}

impl WindowFunction {
    /// The function of a window, if it is known here.
    pub(super) fn of(window: &Arc<dyn WindowExpr>, schema: &Schema) -> Option<Self> {
        if let Some(window) = window.as_any().downcast_ref::<StandardWindowExpr>() {
            return Self::of_standard(window, schema);
        }
        let window = window.as_any().downcast_ref::<PlainAggregateWindowExpr>()?;
        Self::of_aggregate(window, schema)
    }

    fn of_standard(window: &StandardWindowExpr, schema: &Schema) -> Option<Self> {
        let call = window.get_standard_func_expr();
        let call = call.as_any().downcast_ref::<WindowUDFExpr>()?;
        // These two cannot be asked for.
        let written = format!("{call:?}");
        let is_plain =
            written.contains("is_reversed: false") && written.contains("ignore_nulls: false");
        if !is_plain {
            return None;
        }
        let args = call.args();
        match (call.fun().name(), args) {
            ("row_number", []) => Some(Self::RowNumber),
            ("lag", [of, more @ ..]) if more.len() <= 2 => {
                let data_type = of.data_type(schema).ok()?;
                let offset = match more.first() {
                    Some(offset) => usize::try_from(i64_of(offset)?).ok()?,
                    None => 1,
                };
                let default = match more.get(1) {
                    Some(default) => literal(default)?.cast_to(&data_type).ok()?,
                    None => ScalarValue::try_from(&data_type).ok()?,
                };
                let is_known = !data_type.is_null() && (1..=MAX_OFFSET).contains(&offset);
                is_known.then(|| Self::Lag {
                    of: Arc::clone(of),
                    offset,
                    default,
                })
            }
            ("first_value", [of]) => {
                let is_known = looks_back(window.get_window_frame());
                is_known.then(|| Self::FirstValue(Arc::clone(of)))
            }
            _ => None,
        }
    }

    fn of_aggregate(window: &PlainAggregateWindowExpr, schema: &Schema) -> Option<Self> {
        let aggregate = window.get_aggregate_expr();
        let frame = window.get_window_frame();
        // With ranges, rows at the same place see one another.
        let is_plain = looks_back(frame)
            && frame.units == WindowFrameUnits::Rows
            && !aggregate.is_distinct()
            && !aggregate.ignore_nulls()
            && !aggregate.is_reversed()
            && aggregate.order_bys().is_empty()
            // A filter cannot be asked for either.
            && format!("{window:?}").contains("filter: None");
        if !is_plain {
            return None;
        }
        let args = aggregate.expressions();
        let kind = match aggregate.fun().name() {
            "count" => return Some(Self::Count(args)),
            "sum" => Aggregate::Sum,
            "min" => Aggregate::Min,
            "max" => Aggregate::Max,
            _ => return None,
        };
        let [of] = args.as_slice() else {
            return None;
        };
        let field = aggregate.field();
        let data_type = field.data_type();
        let read = of.data_type(schema).ok()?;
        let is_known = match kind {
            Aggregate::Sum => can_add(&read, data_type),
            Aggregate::Min | Aggregate::Max => can_compare(&read) && read == *data_type,
        };
        is_known.then(|| Self::Aggregate {
            kind,
            of: Arc::clone(of),
            data_type: data_type.clone(),
        })
    }

    /// The function, before the first row.
    pub(super) fn start(&self) -> Result<Box<dyn Running>> {
        Ok(match self {
            Self::RowNumber => Box::new(RowNumber::default()),
            Self::Lag {
                of,
                offset,
                default,
            } => Box::new(Lag::new(Arc::clone(of), *offset, default)?),
            Self::FirstValue(of) => Box::new(FirstValue::new(Arc::clone(of))),
            Self::Count(of) => Box::new(Count::new(of.clone())),
            Self::Aggregate {
                kind,
                of,
                data_type,
            } => match kind {
                Aggregate::Sum => sum(Arc::clone(of), data_type)?,
                Aggregate::Min => least(Arc::clone(of), data_type)?,
                Aggregate::Max => largest(Arc::clone(of), data_type)?,
            },
        })
    }
}

/// What is remembered of the rows before a batch is copied for each.
const MAX_OFFSET: usize = 64;

/// Whether a frame is all rows so far, the current one included.
fn looks_back(frame: &WindowFrame) -> bool {
    let from_start = matches!(&frame.start_bound, WindowFrameBound::Preceding(n) if n.is_null());
    from_start && matches!(frame.end_bound, WindowFrameBound::CurrentRow)
}

fn literal(expr: &Arc<dyn PhysicalExpr>) -> Option<&ScalarValue> {
    Some(expr.downcast_ref::<Literal>()?.value())
}

fn i64_of(expr: &Arc<dyn PhysicalExpr>) -> Option<i64> {
    match literal(expr)?.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(value) => value,
        _ => None,
    }
}
