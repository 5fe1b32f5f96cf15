//! [`RawScan`]: a raw table as a table of DataFusion.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{
    BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::TryStreamExt;
use futures::future::BoxFuture;
use reco_core::{RawTable, Record, TimeWindow, Timestamp, async_trait, timestamp_type};

/// A raw table as a table of DataFusion, of which no more is read than a query's bounds on the time of
/// the records ask for.
pub(crate) struct RawScan<E: Record> {
    table: Arc<dyn RawTable<E>>,
    window: TimeWindow,
    schema: SchemaRef,
}

/// A raw table, whatever its records are.
pub(crate) trait Fingerprinted: Send + Sync {
    fn fingerprint(&self) -> BoxFuture<'_, reco_core::Result<Option<String>>>;
}

impl<E: Record> RawScan<E> {
    pub(crate) fn new(table: Arc<dyn RawTable<E>>, window: TimeWindow) -> Self {
        Self {
            table,
            window,
            schema: E::schema(),
        }
    }
}

impl<E: Record> fmt::Debug for RawScan<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawScan")
            .field("table", &self.table)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

impl<E: Record> Fingerprinted for RawScan<E> {
    fn fingerprint(&self) -> BoxFuture<'_, reco_core::Result<Option<String>>> {
        Box::pin(async {
            let fingerprint = self.table.fingerprint().await?;
            let TimeWindow { start, end } = self.window;
            Ok(fingerprint.map(|fingerprint| format!("{fingerprint} from {start:?} to {end:?}")))
        })
    }
}

#[async_trait]
impl<E: Record> TableProvider for RawScan<E> {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match bounds(filter, E::TIMESTAMP) {
            TimeWindow::ALL => TableProviderFilterPushDown::Unsupported,
            _ => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let bounds = filters.iter().map(|filter| bounds(filter, E::TIMESTAMP));
        let partition = Partition {
            table: Arc::clone(&self.table),
            window: bounds.fold(self.window, both),
            schema: Arc::clone(&self.schema),
        };
        let schema = Arc::clone(&self.schema);
        let partition: Arc<dyn PartitionStream> = Arc::new(partition);
        // Rows that are filtered later must not count for the limit.
        let limit = limit.filter(|_| filters.is_empty());
        let scan =
            StreamingTableExec::try_new(schema, vec![partition], projection, [], false, limit)?;
        Ok(Arc::new(scan))
    }
}

/// A window of a raw table as the only partition of a stream.
struct Partition<E: Record> {
    table: Arc<dyn RawTable<E>>,
    window: TimeWindow,
    schema: SchemaRef,
}

impl<E: Record> fmt::Debug for Partition<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition")
            .field("table", &self.table)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

impl<E: Record> PartitionStream for Partition<E> {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (table, window) = (Arc::clone(&self.table), self.window);
        let batches = async move { table.scan(window).await };
        let batches = futures::stream::once(batches)
            .try_flatten()
            .map_err(|error| DataFusionError::External(Box::new(error)));
        let schema = Arc::clone(&self.schema);
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}

/// A window outside of which a filter on a column lets nothing through.
fn bounds(filter: &Expr, column: &str) -> TimeWindow {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else {
        return TimeWindow::ALL;
    };
    if *op == Operator::And {
        return both(bounds(left, column), bounds(right, column));
    }
    let (op, literal) = match (&**left, &**right) {
        (Expr::Column(found), Expr::Literal(value, _)) if found.name == column => {
            (Some(*op), value)
        }
        (Expr::Literal(value, _), Expr::Column(found)) if found.name == column => {
            (op.swap(), value)
        }
        _ => return TimeWindow::ALL,
    };
    let Some(time) = time(literal) else {
        return TimeWindow::ALL;
    };
    // What is finer than a microsecond was cut off.
    let after = time.checked_add(std::time::Duration::from_micros(1)).ok();
    match op {
        Some(Operator::Gt | Operator::GtEq) => TimeWindow {
            start: Some(time),
            end: None,
        },
        Some(Operator::Lt | Operator::LtEq) => TimeWindow {
            start: None,
            end: after,
        },
        Some(Operator::Eq) => TimeWindow {
            start: Some(time),
            end: after,
        },
        _ => TimeWindow::ALL,
    }
}

fn time(literal: &ScalarValue) -> Option<Timestamp> {
    let ScalarValue::TimestampMicrosecond(Some(micros), _) =
        literal.cast_to(&timestamp_type()).ok()?
    else {
        return None;
    };
    Timestamp::from_microsecond(micros).ok()
}

fn both(one: TimeWindow, other: TimeWindow) -> TimeWindow {
    let later = |one: Option<Timestamp>, other| one.max(other);
    let earlier = |one: Option<Timestamp>, other: Option<Timestamp>| match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    TimeWindow {
        start: later(one.start, other.start),
        end: earlier(one.end, other.end),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    #[test]
    fn bounds_are_those_that_a_filter_implies() {
        let at = |micros: i64| {
            lit(ScalarValue::TimestampMicrosecond(
                Some(micros),
                Some("UTC".into()),
            ))
        };
        let window = |start: Option<i64>, end: Option<i64>| {
            let time = |micros| Timestamp::from_microsecond(micros).unwrap();
            TimeWindow {
                start: start.map(time),
                end: end.map(time),
            }
        };
        let check = |filter: Expr, expected: TimeWindow| {
            assert_eq!(bounds(&filter, "received_at"), expected, "{filter}");
        };
        let received = || col("received_at");
        check(received().gt_eq(at(5)), window(Some(5), None));
        check(received().lt(at(5)), window(None, Some(6)));
        check(at(5).lt(received()), window(Some(5), None));
        check(received().eq(at(5)), window(Some(5), Some(6)));
        check(
            received()
                .gt(at(5))
                .and(received().lt_eq(at(9)))
                .and(col("n").eq(lit(1))),
            window(Some(5), Some(10)),
        );
        let nanos = lit(ScalarValue::TimestampNanosecond(Some(5_999), None));
        check(received().lt_eq(nanos), window(None, Some(6)));
        check(
            received().gt(at(5)).or(received().lt(at(3))),
            TimeWindow::ALL,
        );
        check(received().not_eq(at(5)), TimeWindow::ALL);
        check(col("occurred_at").gt(at(5)), TimeWindow::ALL);
        check(received().gt(received()), TimeWindow::ALL);
    }
}
