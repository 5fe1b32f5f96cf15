//! [`Deduplicate`]: one row an event, the first received.

use async_trait::async_trait;
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::functions_window::expr_fn::lag;
use datafusion::logical_expr::{Expr, ExprFunctionExt, Operator, binary_expr, ident};
use datafusion::prelude::DataFrame;
use serde::{Deserialize, Serialize};

use crate::step::{Step, StepContext};

const PREVIOUS: &str = "__previous_id";

/// Keeps one row of each `id`, the first by `received_at`.
///
/// A sender that does not know whether an event has arrived sends it again; a duplicate is harmless
/// because of this step. Rows that were received at the same time are ordered by their other columns
/// (bytes and nested values left out), so that the order of arrival within a batch does not matter.
/// Rows whose `id` is NULL are all kept: nothing says that they are the same event.
///
/// # Examples
///
/// ```
/// use reco_transform::{Deduplicate, Step};
///
/// let step = Deduplicate::default();
/// assert_eq!((step.inputs(), step.name()), (vec!["events".to_owned()], "deduplicated"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deduplicate {
    /// The table to read, with the columns `id` and `received_at`. Default `events`.
    pub input: String,
    /// The table to make. Default `deduplicated`.
    pub output: String,
}

impl Default for Deduplicate {
    fn default() -> Self {
        Self {
            input: "events".to_owned(),
            output: "deduplicated".to_owned(),
        }
    }
}

#[async_trait]
impl Step for Deduplicate {
    fn name(&self) -> &str {
        &self.output
    }

    fn inputs(&self) -> Vec<String> {
        vec![self.input.clone()]
    }

    async fn plan(&self, ctx: &StepContext<'_>) -> Result<DataFrame> {
        let input = ctx.table(&self.input)?;
        let columns: Vec<Expr> = input
            .schema()
            .columns()
            .into_iter()
            .map(Expr::Column)
            .collect();
        let orderable = input.schema().fields().iter().filter(|field| {
            let bytes = matches!(
                field.data_type(),
                DataType::Binary | DataType::LargeBinary | DataType::BinaryView
            );
            !bytes && !field.data_type().is_nested()
        });
        let others = orderable.map(|field| field.name().as_str());
        let others = others.filter(|name| !["id", "received_at"].contains(name));
        let order = ["id", "received_at"].into_iter().chain(others);
        // One window over all rows in the order of their ids, not a partition an id: most of those would
        // be a single row.
        let previous = lag(ident("id"), Some(1), None)
            .order_by(order.map(|name| ident(name).sort(true, true)).collect())
            .build()?
            .alias(PREVIOUS);
        let is_first = binary_expr(ident(PREVIOUS), Operator::IsDistinctFrom, ident("id"));
        input
            .window(vec![previous])?
            .filter(ident("id").is_null().or(is_first))?
            .select(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{event, events};
    use super::*;

    #[test]
    fn the_first_received_is_kept_whatever_the_order() {
        let (first, mut again, other) = (
            event("a", "", "ann", 10),
            event("a", "", "ann", 20),
            event("b", "", "ann", 5),
        );
        again.occurred_at = first.occurred_at;
        let expected = [first.clone(), other.clone()];
        for input in [
            [first.clone(), again.clone(), other.clone()],
            [other, again, first],
        ] {
            assert_eq!(events(&Deduplicate::default(), &input), expected);
        }
    }

    #[test]
    fn what_was_received_at_once_is_ordered_by_content() {
        let (ann, bob) = (event("a", "", "ann", 10), event("a", "", "bob", 10));
        for input in [[ann.clone(), bob.clone()], [bob, ann.clone()]] {
            assert_eq!(
                events(&Deduplicate::default(), &input),
                std::slice::from_ref(&ann)
            );
        }
    }
}
