//! [`Step`]: what makes one table of others.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::prelude::{DataFrame, SQLOptions, SessionContext};
use reco_core::nearest;

use crate::error::Error;

/// Makes one table of others: a node of the DAG, written in Rust.
///
/// # Contract
///
/// * `name` and `inputs` always give the same answer.
/// * `plan` is lazy: it says how the table is computed and reads no row. It is called once when the
///   DAG is built, with empty tables of the right columns, and once a run. A step that has to look at
///   its data to plan asks [`StepContext::is_check`] first.
/// * `plan` reads tables through its context only, and the same tables make the same rows.
///
/// An error or a panic fails the step and what depends on it; the rest of the DAG goes on.
///
/// # Examples
///
/// ```
/// use reco_core::async_trait;
/// use reco_transform::datafusion::{error::Result, prelude::*};
/// use reco_transform::{Step, StepContext};
///
/// /// Events that are about an item.
/// #[derive(Debug)]
/// struct WithItem;
///
/// #[async_trait]
/// impl Step for WithItem {
///     fn name(&self) -> &str {
///         "with_item"
///     }
///
///     fn inputs(&self) -> Vec<String> {
///         vec!["events".into()]
///     }
///
///     async fn plan(&self, ctx: &StepContext<'_>) -> Result<DataFrame> {
///         ctx.table("events")?.filter(col("item_id").is_not_null())
///     }
/// }
/// ```
#[async_trait]
pub trait Step: fmt::Debug + Send + Sync + 'static {
    /// The table that it makes.
    fn name(&self) -> &str;

    /// The tables that it reads.
    fn inputs(&self) -> Vec<String>;

    /// The version of the code that the plan does not show: the body of a function of its own that it
    /// calls, or rows that it holds. Where it changes, the table is made again. Default empty.
    fn version(&self) -> &str {
        ""
    }

    /// How the table is computed.
    ///
    /// # Errors
    ///
    /// Whatever the engine or the step has to say; the DAG adds the name of the step.
    async fn plan(&self, ctx: &StepContext<'_>) -> Result<DataFrame>;
}

/// What can be added to any step.
pub trait StepExt: Step + Sized {
    /// The same step, which fails unless it makes exactly these columns, in any order.
    ///
    /// Checked when the DAG is built, before a row is read. Names and types must agree, where the
    /// ways of Arrow to lay out texts and bytes count as one type. Nullability is not compared, since
    /// a query cannot prove it; expect [`not_null`](crate::not_null) for that.
    fn with_schema(self, schema: SchemaRef) -> WithSchema<Self> {
        WithSchema { step: self, schema }
    }
}

impl<S: Step> StepExt for S {}

/// What a step sees of the DAG: the tables that it declares as inputs, and nothing else.
pub struct StepContext<'a> {
    step: &'a str,
    inputs: &'a BTreeMap<String, Arc<dyn TableProvider>>,
    session: SessionContext,
    is_check: bool,
}

impl<'a> StepContext<'a> {
    pub(crate) fn new(
        step: &'a str,
        inputs: &'a BTreeMap<String, Arc<dyn TableProvider>>,
        session: SessionContext,
        is_check: bool,
    ) -> Self {
        Self {
            step,
            inputs,
            session,
            is_check,
        }
    }

    /// An input, by its name as declared.
    ///
    /// # Errors
    ///
    /// [`Error::UndeclaredInput`], wrapped, for every other table.
    pub fn table(&self, name: &str) -> Result<DataFrame> {
        let Some(provider) = self.inputs.get(name) else {
            let error = Error::UndeclaredInput {
                step: self.step.to_owned(),
                table: name.to_owned(),
                nearest: nearest(name, self.inputs.keys()),
            };
            return Err(error.into_datafusion());
        };
        scan(&self.session, name, provider)
    }

    /// The result of a query on the inputs.
    ///
    /// # Errors
    ///
    /// The query cannot be planned, or is no SELECT.
    pub async fn sql(&self, query: &str) -> Result<DataFrame> {
        let select_only = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        self.session.sql_with_options(query, select_only).await
    }

    /// The session, which holds the inputs, for what the methods here do not offer.
    #[must_use]
    pub const fn session(&self) -> &SessionContext {
        &self.session
    }

    /// Whether the plan is only wanted for its columns: the inputs are empty and stay so.
    #[must_use]
    pub const fn is_check(&self) -> bool {
        self.is_check
    }
}

impl fmt::Debug for StepContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepContext")
            .field("step", &self.step)
            .field("inputs", &self.inputs.keys())
            .field("is_check", &self.is_check)
            .finish_non_exhaustive()
    }
}

/// A table as a frame whose columns carry its name, without parsing the name as SQL.
pub(crate) fn scan(
    session: &SessionContext,
    name: &str,
    provider: &Arc<dyn TableProvider>,
) -> Result<DataFrame> {
    let source = provider_as_source(Arc::clone(provider));
    let plan = LogicalPlanBuilder::scan(TableReference::bare(name), source, None)?.build()?;
    Ok(DataFrame::new(session.state(), plan))
}

/// A step from a closure.
///
/// # Examples
///
/// ```
/// use reco_transform::datafusion::prelude::*;
/// use reco_transform::step_fn;
///
/// let bought = step_fn("bought", ["events"], |ctx| {
///     ctx.table("events")?.filter(col("kind").eq(lit("purchase")))
/// });
/// ```
pub fn step_fn<F>(
    name: impl Into<String>,
    inputs: impl IntoIterator<Item = impl Into<String>>,
    plan: F,
) -> impl Step
where
    F: Fn(&StepContext<'_>) -> Result<DataFrame> + Send + Sync + 'static,
{
    StepFn {
        name: name.into(),
        inputs: inputs.into_iter().map(Into::into).collect(),
        plan,
    }
}

struct StepFn<F> {
    name: String,
    inputs: Vec<String>,
    plan: F,
}

impl<F> fmt::Debug for StepFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepFn")
            .field("name", &self.name)
            .field("inputs", &self.inputs)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl<F> Step for StepFn<F>
where
    F: Fn(&StepContext<'_>) -> Result<DataFrame> + Send + Sync + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn inputs(&self) -> Vec<String> {
        self.inputs.clone()
    }

    async fn plan(&self, ctx: &StepContext<'_>) -> Result<DataFrame> {
        (self.plan)(ctx)
    }
}

/// A step that declares the columns it makes; made by [`StepExt::with_schema`].
#[derive(Debug)]
pub struct WithSchema<S> {
    step: S,
    schema: SchemaRef,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Step> Step for WithSchema<S> {
    fn name(&self) -> &str {
        self.step.name()
    }

    fn inputs(&self) -> Vec<String> {
        self.step.inputs()
    }

    fn version(&self) -> &str {
        self.step.version()
    }

    async fn plan(&self, ctx: &StepContext<'_>) -> Result<DataFrame> {
        let frame = self.step.plan(ctx).await?;
        let violations = violations(&self.schema, frame.schema().inner());
        if violations.is_empty() {
            return Ok(frame);
        }
        let error = Error::BrokenSchema {
            step: self.name().to_owned(),
            violations,
        };
        Err(error.into_datafusion())
    }
}

fn violations(declared: &SchemaRef, made: &SchemaRef) -> Vec<String> {
    let mut violations = Vec::new();
    for field in declared.fields() {
        let name = field.name();
        match made.column_with_name(name) {
            None => {
                let names = made.fields().iter().map(|field| field.name());
                let hint = reco_core::did_you_mean(nearest(name, names).as_deref());
                violations.push(format!("column `{name}` is not made{hint}"));
            }
            Some((_, found))
                if layout_free(found.data_type()) != layout_free(field.data_type()) =>
            {
                let (found, declared) = (found.data_type(), field.data_type());
                violations.push(format!(
                    "column `{name}` is {found}, declared as {declared}"
                ));
            }
            Some(_) => {}
        }
    }
    let extra = made.fields().iter().map(|field| field.name());
    let extra = extra.filter(|name| declared.column_with_name(name).is_none());
    violations.extend(extra.map(|name| format!("column `{name}` is not declared")));
    violations
}

/// The type without the choice of layout that engines make on their own.
fn layout_free(data_type: &DataType) -> DataType {
    match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{Field, Schema};

    use super::*;

    #[test]
    fn a_broken_schema_says_which_column_and_how() {
        let schema = |columns: &[(&str, DataType)]| {
            let field =
                |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
            Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
        };
        let check = |made: &[(&str, DataType)], expected: &[&str]| {
            let declared = schema(&[("item_id", DataType::Utf8), ("price", DataType::Float64)]);
            assert_eq!(violations(&declared, &schema(made)), expected);
        };
        check(
            &[
                ("price", DataType::Float64),
                ("item_id", DataType::Utf8View),
            ],
            &[],
        );
        check(
            &[("itemid", DataType::Utf8), ("price", DataType::Int64)],
            &[
                "column `item_id` is not made; did you mean `itemid`?",
                "column `price` is Int64, declared as Float64",
                "column `itemid` is not declared",
            ],
        );
    }
}
