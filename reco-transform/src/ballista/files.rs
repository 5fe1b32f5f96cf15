//! [`ParquetFiles`]: a table as a list of files, which whoever has the list reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::serde::BallistaLogicalExtensionCodec;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ScalarValue, Statistics, TableReference, project_schema};
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::FileFormatFactory;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use deltalake::{DeltaTable, DeltaTableError};
use object_store::path::Path;
use serde::{Deserialize, Serialize};

/// Where the files of a warehouse are, for whoever is not the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    store: ObjectStoreUrl,
    folder: Path,
}

impl Location {
    /// The folder at an address such as `file:///data/warehouse`.
    pub(crate) fn parse(address: &str) -> Result<Self> {
        let invalid = || DataFusionError::Plan(format!("`{address}` is no address of a folder"));
        let (scheme, rest) = address.split_once("://").ok_or_else(invalid)?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(Self {
            store: ObjectStoreUrl::parse(format!("{scheme}://{host}"))?,
            folder: Path::from_url_path(path).map_err(|_| invalid())?,
        })
    }

    pub(crate) const fn store(&self) -> &ObjectStoreUrl {
        &self.store
    }

    fn file(&self, path: &Path) -> String {
        Path::from_iter(self.folder.parts().chain(path.parts())).to_string()
    }
}

/// A table as a list of Parquet files.
///
/// The list is all that a reader needs: nothing is listed, and no log is read. So plans that scan it can be
/// read by a scheduler that knows [`Codec`], and by executors as they are.
#[derive(Debug)]
pub(crate) struct ParquetFiles {
    schema: SchemaRef,
    list: FileList,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileList {
    /// The address of the store: `file:///`.
    store: String,
    /// The columns whose values are not in the files, but in the list.
    partitioned_by: Vec<String>,
    files: Vec<File>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// From the root of the store.
    path: String,
    n_bytes: u64,
    n_rows: Option<usize>,
    /// As texts, in the order of `partitioned_by`.
    partition: Vec<Option<String>>,
}

impl ParquetFiles {
    /// One file, of a folder of the warehouse.
    pub(super) fn one(
        location: &Location,
        path: &Path,
        schema: SchemaRef,
        n_bytes: u64,
        n_rows: usize,
    ) -> Self {
        let file = File {
            path: location.file(path),
            n_bytes,
            n_rows: Some(n_rows),
            partition: Vec::new(),
        };
        Self {
            schema,
            list: FileList {
                store: location.store.as_str().to_owned(),
                partitioned_by: Vec::new(),
                files: vec![file],
            },
        }
    }

    /// No files: a table without rows.
    pub(super) fn none(schema: SchemaRef) -> Self {
        Self {
            schema,
            list: FileList {
                store: ObjectStoreUrl::local_filesystem().as_str().to_owned(),
                partitioned_by: Vec::new(),
                files: Vec::new(),
            },
        }
    }

    /// The files of a Delta table as it was loaded; none if they are not all of it, because rows were deleted
    /// without writing them again, or columns have other names in the files.
    pub(crate) fn of_delta(table: &DeltaTable) -> Result<Option<Self>, DeltaTableError> {
        let state = table.snapshot()?;
        let mapping = state
            .metadata()
            .configuration()
            .get("delta.columnMapping.mode");
        if mapping.is_some_and(|mode| mode != "none") {
            return Ok(None);
        }
        let location = Location::parse(table.table_url().as_str())?;
        let partitioned_by = state.metadata().partition_columns().to_vec();
        let mut files = Vec::new();
        for file in state.log_data().iter() {
            if file.deletion_vector_descriptor().is_some() {
                return Ok(None);
            }
            let values = file.partition_values_map();
            let partition = partitioned_by
                .iter()
                .map(|column| values.get(column).cloned().flatten());
            let n_bytes = u64::try_from(file.size());
            files.push(File {
                path: location.file(&file.object_store_path()),
                n_bytes: n_bytes
                    .map_err(|_| DeltaTableError::generic("a file has a negative size"))?,
                n_rows: file.num_records(),
                partition: partition.collect(),
            });
        }
        let list = FileList {
            store: location.store.as_str().to_owned(),
            partitioned_by,
            files,
        };
        let schema = state.snapshot().arrow_schema();
        Ok(Some(Self { schema, list }))
    }

    fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(&self.list).map_err(|error| DataFusionError::External(error.into()))
    }

    fn decode(bytes: &[u8], schema: SchemaRef) -> Result<Self> {
        let list = serde_json::from_slice(bytes);
        let list = list.map_err(|error| DataFusionError::External(error.into()))?;
        Ok(Self { schema, list })
    }

    /// Columns as DataFusion wants them: those of the files first.
    fn table_schema(&self) -> TableSchema {
        let is_partition = |field: &Arc<Field>| self.list.partitioned_by.contains(field.name());
        let fields = self.schema.fields().iter().cloned();
        let in_files: Vec<_> = fields.filter(|field| !is_partition(field)).collect();
        let partition = self.list.partitioned_by.iter().filter_map(|name| {
            let (_, field) = self.schema.fields().find(name)?;
            Some(Arc::clone(field))
        });
        TableSchema::builder(Arc::new(Schema::new(in_files)))
            .with_table_partition_cols(partition.collect::<Vec<_>>())
            .build()
    }

    fn file(file: &File, types: &[DataType]) -> Result<PartitionedFile> {
        let values = file
            .partition
            .iter()
            .zip(types)
            .map(|(value, data_type)| match value {
                Some(value) => ScalarValue::try_from_string(value.clone(), data_type),
                None => ScalarValue::try_from(data_type),
            });
        let mut read = PartitionedFile::new("", file.n_bytes);
        // As it is: the path of a file may hold what a path made of text would have escaped.
        read.object_meta.location =
            Path::parse(&file.path).map_err(|error| DataFusionError::External(error.into()))?;
        Ok(read.with_partition_values(values.collect::<Result<_>>()?))
    }

    fn plan(
        &self,
        target_partitions: usize,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.list.files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(
                &self.schema,
                projection,
            )?)));
        }
        let table = self.table_schema();
        let types = table.table_partition_cols().iter();
        let types: Vec<_> = types.map(|field| field.data_type().clone()).collect();
        let files = self.list.files.iter().map(|file| Self::file(file, &types));
        let groups = FileGroup::new(files.collect::<Result<_>>()?).split_files(target_partitions);

        let positions: BTreeMap<&str, usize> = table
            .table_schema()
            .fields()
            .iter()
            .enumerate()
            .map(|(position, field)| (field.name().as_str(), position))
            .collect();
        let wanted = |position: usize| positions[self.schema.field(position).name().as_str()];
        let wanted: Vec<usize> = match projection {
            Some(projection) => projection.iter().copied().map(wanted).collect(),
            None => (0..self.schema.fields().len()).map(wanted).collect(),
        };
        let n_rows: Option<usize> = self.list.files.iter().map(|file| file.n_rows).sum();
        let n_bytes: u64 = self.list.files.iter().map(|file| file.n_bytes).sum();
        let statistics = Statistics::new_unknown(table.table_schema())
            .with_num_rows(n_rows.map_or(Precision::Absent, Precision::Exact))
            .with_total_byte_size(Precision::Inexact(
                usize::try_from(n_bytes).unwrap_or(usize::MAX),
            ));

        let store = ObjectStoreUrl::parse(&self.list.store)?;
        let source = Arc::new(ParquetSource::new(table));
        let scan = FileScanConfigBuilder::new(store, source)
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(Some(wanted))?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }
}

#[async_trait]
impl TableProvider for ParquetFiles {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // Filters stay above; the optimizer hands them to the files when the plan is physical.
        self.plan(session.config().target_partitions(), projection, limit)
    }
}

/// Writes plans that scan [`ParquetFiles`], and reads them.
#[derive(Debug, Default)]
pub(super) struct Codec {
    ballista: BallistaLogicalExtensionCodec,
}

impl LogicalExtensionCodec for Codec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[LogicalPlan],
        ctx: &TaskContext,
    ) -> Result<Extension> {
        self.ballista.try_decode(buf, inputs, ctx)
    }

    fn try_encode(&self, node: &Extension, buf: &mut Vec<u8>) -> Result<()> {
        self.ballista.try_encode(node, buf)
    }

    fn try_decode_table_provider(
        &self,
        buf: &[u8],
        _table: &TableReference,
        schema: SchemaRef,
        _ctx: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        Ok(Arc::new(ParquetFiles::decode(buf, schema)?))
    }

    fn try_encode_table_provider(
        &self,
        table: &TableReference,
        provider: Arc<dyn TableProvider>,
        buf: &mut Vec<u8>,
    ) -> Result<()> {
        let Some(files) = provider.downcast_ref::<ParquetFiles>() else {
            return self
                .ballista
                .try_encode_table_provider(table, provider, buf);
        };
        buf.append(&mut files.encode()?);
        Ok(())
    }

    fn try_decode_file_format(
        &self,
        buf: &[u8],
        ctx: &TaskContext,
    ) -> Result<Arc<dyn FileFormatFactory>> {
        self.ballista.try_decode_file_format(buf, ctx)
    }

    fn try_encode_file_format(
        &self,
        buf: &mut Vec<u8>,
        format: Arc<dyn FileFormatFactory>,
    ) -> Result<()> {
        self.ballista.try_encode_file_format(buf, format)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, RecordBatch, StringArray};
    use datafusion::assert_batches_eq;
    use datafusion::prelude::{SessionConfig, SessionContext};
    use deltalake::DeltaTableBuilder;

    use super::*;

    fn batch(days: Vec<Option<&str>>, numbers: Vec<i64>) -> RecordBatch {
        RecordBatch::try_from_iter([
            ("day", Arc::new(StringArray::from(days)) as _),
            ("n", Arc::new(Int64Array::from(numbers)) as _),
        ])
        .unwrap()
    }

    /// What a scheduler would read that is sent a table.
    fn sent(files: ParquetFiles) -> Arc<dyn TableProvider> {
        let (codec, schema) = (Codec::default(), files.schema());
        let name = TableReference::bare("t");
        let mut bytes = Vec::new();
        codec
            .try_encode_table_provider(&name, Arc::new(files), &mut bytes)
            .unwrap();
        let ctx = SessionContext::new().task_ctx();
        codec
            .try_decode_table_provider(&bytes, &name, schema, &ctx)
            .unwrap()
    }

    #[tokio::test]
    async fn a_delta_table_is_the_files_of_one_version() {
        let dir = tempfile::tempdir().unwrap();
        // A folder whose name an address cannot hold as it is.
        let folder = dir.path().join("a table");
        std::fs::create_dir(&folder).unwrap();
        let url = deltalake::ensure_table_uri(folder.to_str().unwrap()).unwrap();
        let table = DeltaTableBuilder::from_url(url).unwrap().build().unwrap();
        let first = batch(vec![Some("mon day"), None, Some("tue")], vec![1, 2, 3]);
        let write = table.write([first]).with_partition_columns(["day"]);
        let table = write.await.unwrap();
        let files = ParquetFiles::of_delta(&table).unwrap().unwrap();
        assert_eq!(files.list.files.len(), 3);
        // What is written later is not in it.
        table
            .write([batch(vec![Some("wed")], vec![4])])
            .await
            .unwrap();

        let session =
            SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
        session.register_table("t", sent(files)).unwrap();
        let read = |query: &'static str| {
            let session = session.clone();
            async move { session.sql(query).await.unwrap().collect().await.unwrap() }
        };
        let all = read("select * from t order by n").await;
        assert_batches_eq!(
            [
                "+---------+---+",
                "| day     | n |",
                "+---------+---+",
                "| mon day | 1 |",
                "|         | 2 |",
                "| tue     | 3 |",
                "+---------+---+",
            ],
            &all
        );
        let one = read("select n, day from t where day = 'tue'").await;
        assert_batches_eq!(
            [
                "+---+-----+",
                "| n | day |",
                "+---+-----+",
                "| 3 | tue |",
                "+---+-----+"
            ],
            &one
        );
        let count = read("select count(*) as n from t").await;
        assert_batches_eq!(["+---+", "| n |", "+---+", "| 3 |", "+---+"], &count);
    }
}
