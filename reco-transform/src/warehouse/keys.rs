//! Increments whose rows take the place of others by key or by partition.
//!
//! Such an increment is written to a Delta table beside the one that it is for, since it is read several
//! times and may be larger than memory.

use std::sync::Arc;

use datafusion::arrow::util::display::array_value_to_string;
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result as EngineResult;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, Operator, binary_expr, lit};
use datafusion::prelude::DataFrame;

use super::Warehouse;
use super::storage::{Target, Written, in_order, next};
use crate::error::{Error, Result};
use crate::incremental::NullKeys;
use crate::step::scan;

/// The rows of an increment, beside the table that they are for.
#[derive(Debug)]
pub(crate) struct Staged {
    table: String,
    provider: Arc<dyn TableProvider>,
    warehouse: Warehouse,
}

impl Warehouse {
    /// Writes the rows of an increment beside the table that they are for.
    pub(crate) async fn stage(
        &self,
        target: &Target<'_>,
        rows: SendableRecordBatchStream,
        session: &SessionState,
    ) -> Result<Staged> {
        let location = format!("{}.increment", target.location);
        let beside = Target {
            location: &location,
            partition_by: &[],
            ..*target
        };
        let written = self.overwrite(&beside, rows, session).await?;
        let provider = self
            .provider(target.table, &location, written.version)
            .await?;
        Ok(Staged {
            table: target.table.to_owned(),
            provider,
            warehouse: self.clone(),
        })
    }

    /// Puts rows in the place of all that have one of their keys.
    pub(crate) async fn replace_keys(
        &self,
        target: &Target<'_>,
        base: u64,
        staged: &Staged,
        key: &[String],
        null_keys: NullKeys,
        session: &SessionState,
    ) -> Result<Written> {
        let table = self.at_version(target, base).await?;
        let before = table.version();
        let of = |relation: &str, column: &String| {
            Expr::Column(Column::new(Some(relation), column.as_str()))
        };
        let operator = match null_keys {
            NullKeys::Refuse => Operator::Eq,
            NullKeys::Equal => Operator::IsNotDistinctFrom,
        };
        let same = key
            .iter()
            .map(|column| binary_expr(of("target", column), operator, of("increment", column)))
            .reduce(Expr::and)
            .unwrap_or_else(|| lit(false));
        let keys = staged.step(staged.keys(key))?;
        let failed = |error| target.failed("merge", error);
        let merge = table
            .merge(keys, same)
            .with_target_alias("target")
            .with_source_alias("increment")
            .with_session_state(Arc::new(in_order(session)))
            .when_matched_delete(|delete| delete)
            .map_err(failed)?;
        let (table, _) = merge.await.map_err(failed)?;
        let deleted = next(target, before, &table)?;
        let rows = staged.rows().await?;
        self.append(target, deleted.version, rows, session).await
    }

    /// Puts rows in the place of all that are in one of their partitions.
    pub(crate) async fn replace_partitions(
        &self,
        target: &Target<'_>,
        base: u64,
        staged: &Staged,
        by: &[String],
        session: &SessionState,
    ) -> Result<Written> {
        let table = self.at_version(target, base).await?;
        let before = table.version();
        let Some(inside) = staged.step(staged.partitions(by).await)? else {
            // No rows, no partitions: what is there stays.
            return next(target, before, &table);
        };
        let write = table
            .write([])
            .with_save_mode(deltalake::protocol::SaveMode::Overwrite)
            .with_replace_where(inside);
        let rows = staged.rows().await?;
        let table = self.write(target, write, rows, session).await?;
        next(target, before, &table)
    }
}

impl Staged {
    /// Fails if a key has a null, unless nulls are equal.
    pub(crate) async fn refuse_null_keys(&self, key: &[String], null_keys: NullKeys) -> Result<()> {
        if null_keys == NullKeys::Equal {
            return Ok(());
        }
        let has_null = key
            .iter()
            .map(|name| column(name).is_null())
            .reduce(Expr::or);
        let count = async {
            let rows = self
                .frame()?
                .filter(has_null.unwrap_or_else(|| lit(false)))?;
            rows.count().await
        };
        match self.step(count.await)? {
            0 => Ok(()),
            n_rows => Err(Error::NullKey {
                table: self.table.clone(),
                key: key.to_vec(),
                n_rows,
            }),
        }
    }

    /// Fails if two rows have the same key.
    pub(crate) async fn refuse_duplicate_keys(&self, key: &[String]) -> Result<()> {
        let columns: Vec<Expr> = key.iter().map(|name| column(name)).collect();
        let repeated = async {
            let groups = self
                .frame()?
                .aggregate(columns.clone(), vec![count(lit(1)).alias("n")])?;
            let repeated = groups.filter(column("n").gt(lit(1)))?;
            let n_keys = repeated.clone().count().await?;
            // The least one, so that the same rows give the same error.
            let first = columns
                .iter()
                .map(|column| column.clone().sort(true, false));
            let example = repeated.sort(first.collect())?.limit(0, Some(1))?;
            Ok((n_keys, example.collect().await?))
        };
        let (n_keys, examples) = self.step(repeated.await)?;
        let Some(example) = examples.iter().find(|batch| batch.num_rows() > 0) else {
            return Ok(());
        };
        let values = example.columns()[..key.len()].iter();
        let values = values.map(|column| array_value_to_string(column, 0));
        let values = self.step(
            values
                .collect::<std::result::Result<Vec<_>, _>>()
                .map_err(Into::into),
        )?;
        Err(Error::DuplicateKey {
            table: self.table.clone(),
            key: key.to_vec(),
            n_keys,
            example: format!("({})", values.join(", ")),
        })
    }

    fn keys(&self, key: &[String]) -> EngineResult<DataFrame> {
        let columns: Vec<Expr> = key.iter().map(|name| column(name)).collect();
        self.frame()?.select(columns)?.distinct()
    }

    /// The partitions that have rows, as a predicate; none if there are none.
    async fn partitions(&self, by: &[String]) -> EngineResult<Option<Expr>> {
        let mut inside: Option<Expr> = None;
        for batch in self.keys(by)?.collect().await? {
            for row in 0..batch.num_rows() {
                let mut this: Option<Expr> = None;
                for (name, values) in by.iter().zip(batch.columns()) {
                    let value = ScalarValue::try_from_array(values, row)?;
                    let is = if value.is_null() {
                        column(name).is_null()
                    } else {
                        column(name).eq(lit(value))
                    };
                    this = Some(match this {
                        Some(this) => this.and(is),
                        None => is,
                    });
                }
                inside = match (inside, this) {
                    (Some(inside), Some(this)) => Some(inside.or(this)),
                    (inside, this) => inside.or(this),
                };
            }
        }
        Ok(inside)
    }

    /// The rows, in their order.
    async fn rows(&self) -> Result<SendableRecordBatchStream> {
        let rows = async { self.frame()?.execute_stream().await };
        self.step(rows.await)
    }

    fn frame(&self) -> EngineResult<DataFrame> {
        scan(&self.warehouse.session(), "increment", &self.provider)
    }

    fn step<T>(&self, result: EngineResult<T>) -> Result<T> {
        result.map_err(|error| Error::of_step(&self.table, error))
    }
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}
