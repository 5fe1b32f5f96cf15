//! What the columns of a plan are made of.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::{DFSchema, JoinType};
use datafusion::logical_expr::logical_plan::{Distinct, Join, RecursiveQuery};
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::ColumnRef;
use super::expr::{Origin, Scope};

/// What the columns of a plan are made of, and what decides which rows there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Origins {
    pub(super) columns: Vec<Origin>,
    pub(super) rows: BTreeSet<ColumnRef>,
}

/// What the columns of a step's plan are made of, in columns of its inputs.
pub(super) fn origins(plan: &LogicalPlan, inputs: &[String]) -> Origins {
    let walk = Walk {
        inputs,
        working: BTreeMap::new(),
    };
    walk.plan(plan, None)
}

/// A walk through the plan of a step.
#[derive(Clone)]
pub(super) struct Walk<'a> {
    inputs: &'a [String],
    /// The tables that recursive queries, in which we are, make of themselves, as far as is known.
    working: BTreeMap<String, Origins>,
}

impl Walk<'_> {
    /// Bottom up, without recursion: a union of many is a deep tree.
    fn plan(&self, plan: &LogicalPlan, outer: Option<&Scope<'_>>) -> Origins {
        // Each node before what it reads, the last of which comes first; so backwards, inputs come before
        // their readers and in order.
        let mut order = Vec::new();
        let mut stack = vec![plan];
        while let Some(plan) = stack.pop() {
            order.push(plan);
            if !is_walked_apart(plan) {
                stack.extend(plan.inputs());
            }
        }
        let mut done: Vec<Origins> = Vec::new();
        for plan in order.into_iter().rev() {
            let n_inputs = if is_walked_apart(plan) {
                0
            } else {
                plan.inputs().len()
            };
            let inputs = done.split_off(done.len() - n_inputs);
            done.push(self.node(plan, inputs, outer));
        }
        done.pop().unwrap_or_default()
    }

    /// The values of the columns of a subquery, together, and what decides its rows.
    pub(super) fn subquery(&self, plan: &LogicalPlan, scope: Scope<'_>) -> (Origin, Origin) {
        let origins = self.plan(plan, Some(&scope));
        let mut values = Origin::default();
        for column in origins.columns {
            values.add(column);
        }
        let rows = Origin {
            values: origins.rows,
            ..Origin::default()
        };
        (values, rows)
    }

    /// What the columns of one operator are made of, whose inputs are known.
    fn node(&self, plan: &LogicalPlan, inputs: Vec<Origins>, outer: Option<&Scope<'_>>) -> Origins {
        let schemas: Vec<&DFSchema> = match plan {
            LogicalPlan::RecursiveQuery(_) => Vec::new(),
            _ => plan
                .inputs()
                .iter()
                .map(|input| &**input.schema())
                .collect(),
        };
        let named: Vec<(&DFSchema, &Origins)> = schemas.into_iter().zip(&inputs).collect();
        let scope = Scope {
            inputs: &named,
            outer,
        };
        let each = |exprs: &[Expr]| -> Vec<Origin> {
            exprs.iter().map(|expr| self.expr(expr, scope)).collect()
        };
        let rows_of = |exprs: &mut dyn Iterator<Item = &Expr>| -> BTreeSet<ColumnRef> {
            exprs
                .flat_map(|expr| self.expr(expr, scope).all())
                .collect()
        };
        let mut rows: BTreeSet<ColumnRef> = inputs.iter().flat_map(|i| &i.rows).cloned().collect();
        let columns = match plan {
            LogicalPlan::TableScan(scan) => {
                let table = scan.table_name.table();
                if let Some(working) = self.working.get(table) {
                    return working.clone();
                }
                let is_input = self.inputs.iter().any(|input| input == table);
                let fields = scan.projected_schema.fields().iter();
                let columns = fields.map(|field| {
                    let column = is_input.then(|| ColumnRef::new(table, field.name()));
                    Origin {
                        values: column.into_iter().collect(),
                        ..Origin::default()
                    }
                });
                columns.collect()
            }
            LogicalPlan::Projection(projection) => each(&projection.expr),
            LogicalPlan::Filter(filter) => {
                rows.extend(rows_of(&mut std::iter::once(&filter.predicate)));
                of_first(inputs)
            }
            LogicalPlan::Sort(sort) => {
                rows.extend(rows_of(&mut sort.expr.iter().map(|sort| &sort.expr)));
                of_first(inputs)
            }
            LogicalPlan::Window(window) => {
                let made = each(&window.window_expr);
                of_first(inputs).into_iter().chain(made).collect()
            }
            LogicalPlan::Aggregate(aggregate) => {
                let keys = grouping_set_to_exprlist(&aggregate.group_expr).unwrap_or_default();
                rows.extend(rows_of(&mut keys.iter().copied()));
                let mut columns: Vec<Origin> =
                    keys.iter().map(|key| self.expr(key, scope)).collect();
                let made = each(&aggregate.aggr_expr);
                // Grouping sets have a column more, which tells them apart.
                let n_between = plan
                    .schema()
                    .fields()
                    .len()
                    .checked_sub(columns.len() + made.len());
                columns.resize(columns.len() + n_between.unwrap_or(0), Origin::default());
                columns.extend(made);
                columns
            }
            LogicalPlan::Distinct(Distinct::All(_)) => {
                let columns = of_first(inputs);
                rows.extend(columns.iter().cloned().flat_map(Origin::all));
                columns
            }
            LogicalPlan::Distinct(Distinct::On(on)) => {
                let order = on.sort_expr.iter().flatten().map(|sort| &sort.expr);
                rows.extend(rows_of(&mut on.on_expr.iter().chain(order)));
                each(&on.select_expr)
            }
            LogicalPlan::Join(join) if is_lateral(plan) => {
                let left = self.plan(&join.left, outer);
                let inner = Scope {
                    inputs: &[(&**join.left.schema(), &left)],
                    outer,
                };
                let right = self.plan(&join.right, Some(&inner));
                return self.join(join, left, right, outer);
            }
            LogicalPlan::Join(join) => {
                let mut sides = inputs.into_iter();
                let (left, right) = (sides.next(), sides.next());
                return self.join(
                    join,
                    left.unwrap_or_default(),
                    right.unwrap_or_default(),
                    outer,
                );
            }
            LogicalPlan::Union(union) => {
                let mut columns = vec![Origin::default(); union.schema.fields().len()];
                for input in inputs {
                    for (column, other) in columns.iter_mut().zip(input.columns) {
                        column.add(other);
                    }
                }
                columns
            }
            LogicalPlan::Unnest(unnest) => {
                let inputs = of_first(inputs);
                let of = |&index: &usize| inputs.get(index).cloned().unwrap_or_default();
                unnest.dependency_indices.iter().map(of).collect()
            }
            LogicalPlan::RecursiveQuery(query) => return self.recursive(query, outer),
            LogicalPlan::Subquery(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Repartition(_) => of_first(inputs),
            LogicalPlan::Values(values) => {
                let mut columns = vec![Origin::default(); values.schema.fields().len()];
                for row in &values.values {
                    for (column, value) in columns.iter_mut().zip(row) {
                        column.add(self.expr(value, scope));
                    }
                }
                columns
            }
            // An operator of which nothing is known may make anything of anything; the rest of those here
            // have no inputs, or are no queries.
            _ => {
                let mut all = Origin::default();
                for column in inputs.into_iter().flat_map(|input| input.columns) {
                    all.add(column);
                }
                vec![all; plan.schema().fields().len()]
            }
        };
        Origins { columns, rows }
    }

    fn join(
        &self,
        join: &Join,
        left: Origins,
        right: Origins,
        outer: Option<&Scope<'_>>,
    ) -> Origins {
        let scope = Scope {
            inputs: &[
                (&**join.left.schema(), &left),
                (&**join.right.schema(), &right),
            ],
            outer,
        };
        let keys = join.on.iter().flat_map(|(left, right)| [left, right]);
        let keys: BTreeSet<ColumnRef> = keys
            .chain(&join.filter)
            .flat_map(|expr| self.expr(expr, scope).all())
            .collect();
        let mark = Origin {
            influences: keys
                .iter()
                .chain(&left.rows)
                .chain(&right.rows)
                .cloned()
                .collect(),
            ..Origin::default()
        };
        let columns = match join.join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                left.columns.into_iter().chain(right.columns).collect()
            }
            JoinType::LeftSemi | JoinType::LeftAnti => left.columns,
            JoinType::RightSemi | JoinType::RightAnti => right.columns,
            JoinType::LeftMark => left.columns.into_iter().chain([mark]).collect(),
            JoinType::RightMark => right.columns.into_iter().chain([mark]).collect(),
        };
        let mut rows = keys;
        rows.extend(left.rows);
        rows.extend(right.rows);
        Origins { columns, rows }
    }

    /// Once around does not do: what a column is made of in one round may go into another in the next.
    fn recursive(&self, query: &RecursiveQuery, outer: Option<&Scope<'_>>) -> Origins {
        let mut found = self.plan(&query.static_term, outer);
        loop {
            let mut walk = self.clone();
            walk.working.insert(query.name.clone(), found.clone());
            let round = walk.plan(&query.recursive_term, outer);
            let mut next = found.clone();
            for (column, other) in next.columns.iter_mut().zip(round.columns) {
                column.add(other);
            }
            next.rows.extend(round.rows);
            if query.is_distinct {
                next.rows
                    .extend(next.columns.iter().cloned().flat_map(Origin::all));
            }
            if next == found {
                return found;
            }
            found = next;
        }
    }
}

/// Whether an operator is left out of the order because its inputs depend on one another.
fn is_walked_apart(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::RecursiveQuery(_)) || is_lateral(plan)
}

/// Whether the right side of a join reads rows of the left one.
fn is_lateral(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Join(join) = plan else {
        return false;
    };
    let mut right = &*join.right;
    while let LogicalPlan::SubqueryAlias(alias) = right {
        right = &alias.input;
    }
    matches!(right, LogicalPlan::Subquery(subquery) if !subquery.outer_ref_columns.is_empty())
}

fn of_first(inputs: Vec<Origins>) -> Vec<Origin> {
    let first = inputs.into_iter().next();
    first.map(|origins| origins.columns).unwrap_or_default()
}
