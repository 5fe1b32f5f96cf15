//! [`FuseJson`]: one parse for all that a SELECT takes from a document.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ExprSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, ScalarUDF};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::members::{JsonMember, JsonMembers};

/// What takes a value from a document by a path of keys and places.
const FUNCTIONS: [&str; 7] = [
    "json_get",
    "json_get_bool",
    "json_get_float",
    "json_get_int",
    "json_get_json",
    "json_get_str",
    "json_as_text",
];

/// Has a document parsed once for all that a SELECT takes from it.
#[derive(Debug)]
pub(in crate::engine) struct FuseJson;

impl OptimizerRule for FuseJson {
    fn name(&self) -> &'static str {
        "fuse_json"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Projection(projection) => fuse(projection),
            other => Ok(Transformed::no(other)),
        }
    }
}

fn fuse(projection: Projection) -> Result<Transformed<LogicalPlan>> {
    let mut documents = Documents::default();
    for expr in &projection.expr {
        expr.apply(|expr| {
            if let Some((document, key)) = taken_from(expr) {
                documents.add(document, key);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    let schema = projection.input.schema();
    documents.0.retain(|document, keys| {
        // Others than plain texts make results of other types.
        let is_text = schema.data_type(document).is_ok_and(DataType::is_string);
        keys.len() > 1 && is_text
    });
    if documents.0.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Projection(projection)));
    }
    let names = NamePreserver::new_for_projection();
    let exprs = projection.expr.into_iter().map(|expr| {
        let name = names.save(&expr);
        let expr = expr.transform_up(|expr| documents.rewrite(expr))?.data;
        Ok(name.restore(expr))
    });
    let exprs: Vec<Expr> = exprs.collect::<Result<_>>()?;
    let mut below: Vec<Expr> = documents.members();
    let made: Vec<Column> = (0..below.len()).map(name_of).collect();
    let mut read: Vec<&Column> = exprs.iter().flat_map(Expr::column_refs).collect();
    read.retain(|column| !made.contains(column));
    read.sort();
    read.dedup();
    below.splice(0..0, read.into_iter().cloned().map(Expr::Column));
    let below = LogicalPlan::Projection(Projection::try_new(below, projection.input)?);
    let above = Projection::try_new_with_schema(exprs, Arc::new(below), projection.schema)?;
    Ok(Transformed::yes(LogicalPlan::Projection(above)))
}

/// The members that are taken from each document.
#[derive(Default)]
struct Documents(BTreeMap<Column, Vec<String>>);

impl Documents {
    fn add(&mut self, document: &Column, key: &str) {
        let keys = self.0.entry(document.clone()).or_default();
        if !keys.iter().any(|known| known == key) {
            keys.push(key.to_owned());
        }
    }

    /// The call that finds them, for each document.
    fn members(&self) -> Vec<Expr> {
        let calls = self.0.iter().enumerate().map(|(number, (document, keys))| {
            let members = ScalarUDF::from(JsonMembers::new(keys.clone()));
            let call = members.call(vec![Expr::Column(document.clone())]);
            call.alias(name_of(number).name)
        });
        calls.collect()
    }

    /// A call on a document becomes the same call on the member.
    fn rewrite(&self, expr: Expr) -> Result<Transformed<Expr>> {
        let Some((document, key)) = taken_from(&expr) else {
            return Ok(Transformed::no(expr));
        };
        let found = self
            .0
            .iter()
            .enumerate()
            .find_map(|(number, (column, keys))| {
                let place = keys.iter().position(|known| known == key)?;
                (column == document).then_some((number, place))
            });
        let Some((number, place)) = found else {
            return Ok(Transformed::no(expr));
        };
        let Expr::ScalarFunction(ScalarFunction { func, mut args }) = expr else {
            return Ok(Transformed::no(expr));
        };
        let member = ScalarUDF::from(JsonMember::new(place));
        let member = member.call(vec![Expr::Column(name_of(number))]);
        args.splice(0..2, [member]);
        Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction {
            func,
            args,
        })))
    }
}

fn name_of(number: usize) -> Column {
    Column::new_unqualified(format!("__json_{number}"))
}

/// The document and its member, if the expression takes something from one.
fn taken_from(expr: &Expr) -> Option<(&Column, &str)> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else {
        return None;
    };
    let [Expr::Column(document), Expr::Literal(key, _), path @ ..] = args.as_slice() else {
        return None;
    };
    let is_path = path.iter().all(|step| matches!(step, Expr::Literal(_, _)));
    let (ScalarValue::Utf8(key) | ScalarValue::Utf8View(key) | ScalarValue::LargeUtf8(key)) = key
    else {
        return None;
    };
    let is_known = FUNCTIONS.contains(&func.name()) && is_path;
    let key = key.as_deref().filter(|_| is_known)?;
    // A number is also a place in an array.
    key.parse::<isize>().is_err().then_some((document, key))
}
