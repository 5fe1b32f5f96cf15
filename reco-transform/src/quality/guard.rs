//! [`guarded`]: conditions that are looked at only in the rows that meet another one.
//!
//! The engine promises no order: it may look at both sides of an `and` in every row, so that
//! `quantity <> 0 and price / quantity > 1` fails as a query where a quantity is 0. And where few rows
//! meet the left side, it copies these with all their columns before it looks at the right one, which costs
//! more than a comparison of every row.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, cast, lit, when};

/// Conditions that hold together in the rows that meet both: two, if the second can be looked at in every row,
/// and otherwise one, which looks at it only where the first holds.
pub(super) fn guarded(
    guard: Option<Expr>,
    condition: Expr,
    schema: &DFSchema,
) -> Result<Vec<Expr>> {
    let Some(guard) = guard else {
        return Ok(vec![condition]);
    };
    if may_fail(&condition, schema)? {
        // As a number: the optimizer makes `and` of a `case` of truths, and looks at both sides again.
        let condition = when(guard, cast(condition, DataType::Int8)).end()?;
        return Ok(vec![condition.eq(lit(1_i8))]);
    }
    Ok(vec![guard, condition])
}

/// A value in the rows that meet a condition, and NULL in the others.
pub(super) fn only_where(guard: Option<Expr>, value: Expr) -> Result<Expr> {
    match guard {
        Some(guard) => when(guard, value).end(),
        None => Ok(value),
    }
}

// Whether there may be a row of which the engine cannot compute it. What is not known to be harmless may.
fn may_fail(condition: &Expr, schema: &DFSchema) -> Result<bool> {
    condition.exists(|expr| node_may_fail(expr, schema))
}

fn node_may_fail(expr: &Expr, schema: &DFSchema) -> Result<bool> {
    let alike = |a: &Expr, b: &Expr| -> Result<bool> {
        Ok(are_alike(&a.get_type(schema)?, &b.get_type(schema)?))
    };
    let is_text = |expr: &Expr| {
        Ok::<_, datafusion::error::DataFusionError>(expr.get_type(schema)?.is_string())
    };
    Ok(match expr {
        Expr::Column(_)
        | Expr::Literal(..)
        | Expr::Not(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_) => false,
        Expr::BinaryExpr(binary) => match binary.op {
            Operator::And | Operator::Or => false,
            Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom => !alike(&binary.left, &binary.right)?,
            // A pattern that cannot be read is refused with the plan, if it is the same for all rows.
            Operator::RegexMatch | Operator::RegexNotMatch => {
                !(is_text(&binary.left)? && matches!(*binary.right, Expr::Literal(..)))
            }
            _ => true,
        },
        Expr::Like(like) => !(is_text(&like.expr)? && matches!(*like.pattern, Expr::Literal(..))),
        Expr::InList(list) => {
            let others = list.list.iter().map(|value| alike(&list.expr, value));
            !others
                .collect::<Result<Vec<_>>>()?
                .into_iter()
                .all(|alike| alike)
        }
        Expr::Between(range) => {
            !(alike(&range.expr, &range.low)? && alike(&range.expr, &range.high)?)
        }
        Expr::Cast(cast) => {
            let from = cast.expr.get_type(schema)?;
            !(number(&from) && *cast.field.data_type() == DataType::Float64)
        }
        Expr::ScalarFunction(call) => {
            call.func.name() != "character_length"
                || !call
                    .args
                    .iter()
                    .map(is_text)
                    .collect::<Result<Vec<_>>>()?
                    .into_iter()
                    .all(|text| text)
        }
        _ => true,
    })
}

// Whether values of the two are compared without a conversion that can fail.
fn are_alike(a: &DataType, b: &DataType) -> bool {
    a == b || number(a) && number(b) || a.is_string() && b.is_string() || a.is_null() || b.is_null()
}

fn number(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_floating()
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{Field, Schema, TimeUnit};
    use datafusion::prelude::SessionContext;

    use super::*;

    #[test]
    fn what_may_fail_is_known() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let fields = [
            ("n", DataType::Int64),
            ("x", DataType::Float64),
            ("t", DataType::Utf8View),
            ("at", time),
        ];
        let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
        let schema = DFSchema::try_from(Schema::new(fields.to_vec())).unwrap();
        let session = SessionContext::new();
        let check = |condition: &str, expected: bool| {
            let condition = session.parse_sql_expr(condition, &schema).unwrap();
            assert_eq!(
                may_fail(&condition, &schema).unwrap(),
                expected,
                "{condition}"
            );
        };
        for harmless in [
            "n = 1 and x < 2 or t is null",
            "n < x",
            "n between 1 and 2.5",
            "(t in ('a', null)) is not true",
            "t like 'a%' and t ~ '^b'",
            "character_length(t) > 3",
            "at = at",
        ] {
            check(harmless, false);
        }
        for harmful in [
            "10 / n > 1",
            "n + 1 > 1",
            "cast(t as bigint) = 1",
            "t = 1",
            "at > '2024-05-01'",
            "t ~ t",
            "t like t",
            "substr(t, n) = 'a'",
            "n in (1, 10 / n)",
        ] {
            check(harmful, true);
        }
    }
}
