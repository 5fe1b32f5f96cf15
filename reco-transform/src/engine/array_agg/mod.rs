//! [`ArrayAgg`]: `array_agg(value order by …)` for many groups.
//!
//! The engine's own sorts all rows first and then keeps an accumulator for each group, with its own small
//! arrays: for a million sessions this takes longer than all else. Here, rows are kept as they come, with
//! the number of their group, and are sorted within their groups when the lists are made.
//! What has no order, or is distinct, is left to the engine.

mod groups;

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF,
    Signature,
};

use self::groups::OrderedLists;

/// The engine's own `array_agg`, but for lists in order.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ArrayAgg {
    inner: Arc<AggregateUDF>,
}

impl Default for ArrayAgg {
    fn default() -> Self {
        Self {
            inner: array_agg_udaf(),
        }
    }
}

fn is_ordered_list(args: &AccumulatorArgs<'_>) -> bool {
    !args.is_distinct && !args.order_bys.is_empty() && !args.is_reversed && args.exprs.len() == 1
}

impl AggregateUDFImpl for ArrayAgg {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        is_ordered_list(&args) || self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        if is_ordered_list(&args) {
            return Ok(Box::new(OrderedLists::new(&args)?));
        }
        self.inner.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args)
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        _: bool,
    ) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        // Lists are sorted here whatever order rows come in.
        Ok(Some(self))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        // Anything more would have all rows sorted before.
        AggregateOrderSensitivity::Beneficial
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::NotSupported
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
