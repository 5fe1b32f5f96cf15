//! What an expression is made of.

use std::collections::BTreeSet;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::{InSubquery, SetComparison};

use super::ColumnRef;
use super::plan::{Origins, Walk};

/// What one column, or one expression, is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) values: BTreeSet<ColumnRef>,
    pub(super) influences: BTreeSet<ColumnRef>,
}

impl Origin {
    pub(super) fn add(&mut self, other: Self) {
        self.values.extend(other.values);
        self.influences.extend(other.influences);
    }

    /// All that it has to do with.
    pub(super) fn all(self) -> impl Iterator<Item = ColumnRef> {
        self.values.into_iter().chain(self.influences)
    }

    fn influence(mut self) -> Self {
        self.influences.append(&mut self.values);
        self
    }
}

/// The columns that an expression may name.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) inputs: &'a [(&'a DFSchema, &'a Origins)],
    /// The query around this one, if it is a subquery.
    pub(super) outer: Option<&'a Self>,
}

impl Scope<'_> {
    fn column(&self, column: &Column) -> Option<Origin> {
        self.inputs.iter().find_map(|(schema, origins)| {
            let index = schema.maybe_index_of_column(column)?;
            origins.columns.get(index).cloned()
        })
    }

    fn outer_column(&self, column: &Column) -> Option<Origin> {
        let outer = self.outer?;
        outer.column(column).or_else(|| outer.outer_column(column))
    }
}

/// What an expression does with the value of a part of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Value,
    Influence,
}

impl Walk<'_> {
    /// What an expression is made of. Without recursion, since a long `or` is a deep tree.
    pub(super) fn expr(&self, expr: &Expr, scope: Scope<'_>) -> Origin {
        let mut found = Origin::default();
        let mut stack = vec![(expr, Role::Value)];
        while let Some((expr, role)) = stack.pop() {
            let mut add = |origin: Origin, role| {
                found.add(match role {
                    Role::Value => origin,
                    Role::Influence => origin.influence(),
                });
            };
            match expr {
                Expr::Column(column) => add(scope.column(column).unwrap_or_default(), role),
                Expr::OuterReferenceColumn(_, column) => {
                    add(scope.outer_column(column).unwrap_or_default(), role);
                }
                Expr::Case(case) => {
                    let conditions = case.when_then_expr.iter().map(|(when, _)| when);
                    let conditions = case.expr.iter().chain(conditions);
                    stack.extend(conditions.map(|expr| (&**expr, Role::Influence)));
                    let results = case.when_then_expr.iter().map(|(_, then)| then);
                    let results = results.chain(&case.else_expr);
                    stack.extend(results.map(|expr| (&**expr, role)));
                }
                Expr::AggregateFunction(function) => {
                    let params = &function.params;
                    stack.extend(params.args.iter().map(|expr| (expr, role)));
                    let filter = params.filter.iter().map(|filter| &**filter);
                    let chosen = filter.chain(params.order_by.iter().map(|sort| &sort.expr));
                    stack.extend(chosen.map(|expr| (expr, Role::Influence)));
                }
                Expr::WindowFunction(function) => {
                    let params = &function.params;
                    stack.extend(params.args.iter().map(|expr| (expr, role)));
                    let filter = params.filter.iter().map(|filter| &**filter);
                    let order = params.order_by.iter().map(|sort| &sort.expr);
                    let chosen = filter.chain(order).chain(&params.partition_by);
                    stack.extend(chosen.map(|expr| (expr, Role::Influence)));
                }
                Expr::ScalarSubquery(subquery) => {
                    let (values, rows) = self.subquery(&subquery.subquery, scope);
                    add(values, role);
                    add(rows, Role::Influence);
                }
                Expr::Exists(exists) => {
                    // Of the rows it counts only that they are there.
                    let (_, rows) = self.subquery(&exists.subquery.subquery, scope);
                    add(rows, Role::Influence);
                }
                Expr::InSubquery(InSubquery { expr, subquery, .. })
                | Expr::SetComparison(SetComparison { expr, subquery, .. }) => {
                    let (values, rows) = self.subquery(&subquery.subquery, scope);
                    add(values, role);
                    add(rows, Role::Influence);
                    stack.push((&**expr, role));
                }
                other => {
                    let children = other.apply_children(|child| {
                        stack.push((child, role));
                        Ok(TreeNodeRecursion::Continue)
                    });
                    debug_assert!(children.is_ok(), "to push a child does not fail");
                }
            }
        }
        found
    }
}
