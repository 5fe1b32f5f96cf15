//! [`Evolution`]: how the columns of a published table may change.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use serde::{Deserialize, Serialize};

use super::{Dag, check};
use crate::error::{Error, Result};
use crate::warehouse::{Contents, Warehouse};

/// How the columns of a published table may change, from one version to the next.
///
/// What others read, a dashboard or another team's job, is a contract. It is checked when a run is planned,
/// against what the environment shows, before anything is made. What the columns *are* is another contract:
/// see [`StepExt::with_schema`](crate::StepExt::with_schema).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evolution {
    /// In any way.
    #[default]
    Any,
    /// Columns may be added; none may go, or become of another type.
    Add,
    /// Not at all.
    Frozen,
}

impl fmt::Display for Evolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::Add => "add",
            Self::Frozen => "frozen",
        })
    }
}

impl Evolution {
    /// What a change of columns breaks.
    fn violations(self, before: &Columns, after: &Columns) -> Vec<String> {
        let mut violations = Vec::new();
        if self == Self::Any {
            return violations;
        }
        for (name, data_type) in before {
            match after.get(name) {
                None => violations.push(format!("column `{name}` would be gone")),
                Some(changed) if changed != data_type => violations.push(format!(
                    "column `{name}` is {data_type} and would be {changed}"
                )),
                Some(_) => {}
            }
        }
        if self == Self::Frozen {
            let added = after.keys().filter(|name| !before.contains_key(*name));
            violations.extend(added.map(|name| format!("column `{name}` would be new")));
        }
        violations
    }
}

/// The types of columns, as Delta Lake keeps them, by their names.
type Columns = BTreeMap<String, String>;

/// Checks the columns of all tables that are published against what is promised of them.
pub(super) async fn check(dag: &Dag, published: &Contents, warehouse: &Warehouse) -> Result<()> {
    let is_free = |evolution: Evolution| evolution == Evolution::Any;
    if dag.nodes.iter().all(|node| is_free(node.evolution)) {
        return Ok(());
    }
    let mut planned: BTreeMap<String, SchemaRef> = BTreeMap::new();
    Box::pin(check::plan_each(dag, &mut |node, schema, _| {
        planned.insert(node.table.clone(), Arc::clone(schema));
    }))
    .await?;
    for node in dag.nodes.iter().filter(|node| !is_free(node.evolution)) {
        let (Some(shown), Some(after)) =
            (published.tables.get(&node.table), planned.get(&node.table))
        else {
            continue;
        };
        let before = warehouse
            .provider(&node.table, &shown.location, shown.version)
            .await?;
        let violations = node
            .evolution
            .violations(&columns(&before.schema()), &columns(after));
        if !violations.is_empty() {
            return Err(Error::BrokenContract {
                table: node.table.clone(),
                evolution: node.evolution,
                violations,
            });
        }
    }
    Ok(())
}

fn columns(schema: &SchemaRef) -> Columns {
    let column = |field: &datafusion::arrow::datatypes::FieldRef| {
        (field.name().clone(), kept_as(field.data_type()).to_string())
    };
    schema.fields().iter().map(column).collect()
}

/// The type as which Delta Lake keeps a column: it knows one layout of texts and bytes, and microseconds.
fn kept_as(data_type: &DataType) -> DataType {
    use datafusion::arrow::datatypes::TimeUnit::Microsecond;
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::UInt8 => DataType::Int8,
        DataType::UInt16 => DataType::Int16,
        DataType::UInt32 => DataType::Int32,
        DataType::UInt64 => DataType::Int64,
        DataType::Timestamp(_, zone) => {
            DataType::Timestamp(Microsecond, zone.as_ref().map(|_| "UTC".into()))
        }
        DataType::Dictionary(_, value) => kept_as(value),
        DataType::List(field) | DataType::LargeList(field) | DataType::ListView(field) => {
            DataType::new_list(kept_as(field.data_type()), true)
        }
        other => other.clone(),
    }
}
