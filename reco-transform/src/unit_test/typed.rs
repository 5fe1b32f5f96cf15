//! How the rows of a test get the types of a schema.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::{CastOptions, cast_with_options, concat_batches};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::ReaderBuilder;
use datafusion::prelude::{SQLOptions, SessionContext};
use reco_core::{did_you_mean, nearest};
use serde_json::{Map, Value};

use super::rows::{Kind, Rows};

/// What a value is that a row does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    /// NULL, and columns that no row names are left out.
    Null,
    /// NULL where the schema has it, otherwise the default of the type; all columns are there.
    Default,
}

/// What is wrong with rows, where in them: `row 2, column …`.
#[derive(Debug)]
pub(super) struct Reason(String);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Reason {
    /// Of a row, counted from 1, and a column.
    fn at(row: usize, column: &str, reason: impl fmt::Display) -> Self {
        Self(format!("row {}, column `{column}`: {reason}", row + 1))
    }
}

/// A row as its cells; one that is not there is not named.
type Cells = Map<String, Value>;

impl Rows {
    /// The rows as a batch of the schema's types, in the order of its columns.
    ///
    /// Without a schema, only rows with types of their own can be read.
    pub(super) async fn typed(
        &self,
        session: &SessionContext,
        schema: Option<&SchemaRef>,
        fill: Fill,
    ) -> Result<RecordBatch, Reason> {
        let cells = match &self.0 {
            Kind::Batch(batch) => return conform(batch, schema, fill),
            Kind::Sql(query) => {
                let batch = select(session, query).await;
                return conform(
                    &batch.map_err(|error| Reason(error.to_string()))?,
                    schema,
                    fill,
                );
            }
            Kind::Json(rows) => maps(rows)?,
            Kind::Csv(text) => from_csv(text, schema, fill)?,
        };
        let Some(schema) = schema else {
            let reason = "its columns are not declared: declare them with `input`, or give records or a query";
            return Err(Reason(reason.to_owned()));
        };
        let mut named = BTreeSet::new();
        for (row, cells) in cells.iter().enumerate() {
            for column in cells.keys() {
                known(schema, column).map_err(|reason| Reason::at(row, column, reason))?;
                named.insert(column.as_str());
            }
        }
        build(schema, &named, fill, cells.len(), |field| {
            column(field, &cells, fill)
        })
    }
}

/// Maps out of what should be a list of them.
fn maps(rows: &Value) -> Result<Vec<Cells>, Reason> {
    let Value::Array(rows) = rows else {
        return Err(Reason("rows are a list of maps".to_owned()));
    };
    let map = |(row, cells): (usize, &Value)| match cells {
        Value::Object(cells) => Ok(cells.clone()),
        other => Err(Reason(format!(
            "row {}: `{other}` is no map of columns to values",
            row + 1
        ))),
    };
    rows.iter().enumerate().map(map).collect()
}

/// Maps out of CSV. The types of the schema say which cells are texts.
fn from_csv(text: &str, schema: Option<&SchemaRef>, fill: Fill) -> Result<Vec<Cells>, Reason> {
    let invalid = |error: csv::Error| Reason(format!("the CSV cannot be read: {error}"));
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::Headers)
        .from_reader(text.as_bytes());
    let names: Vec<String> = reader
        .headers()
        .map_err(invalid)?
        .iter()
        .map(ToOwned::to_owned)
        .collect();
    for (position, name) in names.iter().enumerate() {
        if names[..position].contains(name) {
            return Err(Reason(format!("column `{name}` is there twice")));
        }
        // Also where no row follows that would name it.
        if let Some(schema) = schema {
            known(schema, name).map_err(|reason| Reason(format!("column `{name}`: {reason}")))?;
        }
    }
    let cell = |name: &str, cell: &str| {
        let data_type = schema
            .and_then(|schema| schema.field_with_name(name).ok())
            .map(Field::data_type);
        let as_json = matches!(data_type, Some(DataType::Boolean))
            || data_type.is_some_and(DataType::is_nested);
        let text = || Value::from(cell);
        if cell.is_empty() {
            Value::Null
        } else if as_json {
            serde_json::from_str(cell).unwrap_or_else(|_| text())
        } else {
            text()
        }
    };
    let row = |record: Result<csv::StringRecord, csv::Error>| {
        let record = record.map_err(invalid)?;
        // An empty cell is expected to be NULL, and is given as if it were not there.
        let is_there = |(_, text): &(&String, &str)| fill == Fill::Null || !text.is_empty();
        let cells = names.iter().zip(record.iter()).filter(is_there);
        Ok(cells
            .map(|(name, text)| (name.clone(), cell(name, text)))
            .collect())
    };
    reader.records().map(row).collect()
}

/// What a query without tables gives.
async fn select(session: &SessionContext, query: &str) -> datafusion::error::Result<RecordBatch> {
    let select_only = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    let frame = session.sql_with_options(query, select_only).await?;
    let schema = Arc::clone(frame.schema().inner());
    let batches = frame.collect().await?;
    let schema = batches.first().map_or(schema, RecordBatch::schema);
    Ok(concat_batches(&schema, &batches)?)
}

/// Rows with types of their own in those of the schema, where no value is lost.
fn conform(
    batch: &RecordBatch,
    schema: Option<&SchemaRef>,
    fill: Fill,
) -> Result<RecordBatch, Reason> {
    let Some(schema) = schema else {
        return Ok(batch.clone());
    };
    let found = batch.schema();
    let mut named = BTreeSet::new();
    for field in found.fields() {
        known(schema, field.name())
            .map_err(|reason| Reason(format!("column `{}`: {reason}", field.name())))?;
        named.insert(field.name().as_str());
    }
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    build(
        schema,
        &named,
        fill,
        batch.num_rows(),
        |field| match batch.column_by_name(field.name()) {
            Some(column) => cast_with_options(column, field.data_type(), &strict)
                .map_err(|error| Reason(format!("column `{}`: {error}", field.name()))),
            None => column(field, &vec![Cells::new(); batch.num_rows()], fill),
        },
    )
}

fn known(schema: &Schema, column: &str) -> Result<(), String> {
    if schema.column_with_name(column).is_some() {
        return Ok(());
    }
    let names = schema.fields().iter().map(|field| field.name());
    let hint = did_you_mean(nearest(column, names).as_deref());
    Err(format!("there is no such column{hint}"))
}

/// A batch of the columns that are wanted, each made by itself.
fn build(
    schema: &SchemaRef,
    named: &BTreeSet<&str>,
    fill: Fill,
    n_rows: usize,
    make: impl Fn(&Field) -> Result<ArrayRef, Reason>,
) -> Result<RecordBatch, Reason> {
    let wanted = |field: &&Arc<Field>| {
        fill == Fill::Default || n_rows == 0 || named.contains(field.name().as_str())
    };
    // Of expected rows, those without a name are all columns of no row.
    let fields: Vec<Arc<Field>> = schema.fields().iter().filter(wanted).cloned().collect();
    let columns = fields
        .iter()
        .map(|field| make(field))
        .collect::<Result<Vec<_>, _>>()?;
    let nullable = |field: &Arc<Field>| match fill {
        Fill::Null => Arc::new(field.as_ref().clone().with_nullable(true)),
        Fill::Default => Arc::clone(field),
    };
    let fields: Fields = fields.iter().map(nullable).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|error| Reason(error.to_string()))
}

/// The cells of a column as an array of its type.
fn column(field: &Field, rows: &[Cells], fill: Fill) -> Result<ArrayRef, Reason> {
    let name = field.name();
    let value = |(row, cells): (usize, &Cells)| {
        let value = match cells.get(name) {
            Some(value) => value.clone(),
            None if fill == Fill::Default && !field.is_nullable() => default_of(field.data_type()),
            None => Value::Null,
        };
        if value.is_null() && fill == Fill::Default && !field.is_nullable() {
            return Err(Reason::at(
                row,
                name,
                "it is NULL, which the schema does not have",
            ));
        }
        if field.data_type().is_integer()
            && value.as_f64().is_some_and(|number| number.fract() != 0.0)
        {
            let data_type = field.data_type();
            return Err(Reason::at(row, name, format!("{value} is no {data_type}")));
        }
        Ok(value)
    };
    let values: Vec<Value> = rows
        .iter()
        .enumerate()
        .map(value)
        .collect::<Result<_, _>>()?;
    decode(field, &values).map_err(|error| {
        // Which row it is takes a look at each: the decoder does not say.
        let alone = |value: &Value| decode(field, std::slice::from_ref(value)).err();
        let row = values.iter().position(|value| alone(value).is_some());
        let text = error.to_string();
        let text = text.strip_prefix("Json error: ").unwrap_or(&text);
        Reason::at(row.unwrap_or_default(), name, text)
    })
}

fn decode(field: &Field, values: &[Value]) -> Result<ArrayRef, ArrowError> {
    // A dictionary is a way to lay out its values.
    let data_type = match field.data_type() {
        DataType::Dictionary(_, values) => values.as_ref(),
        other => other,
    };
    let plain = Field::new(field.name(), data_type.clone(), true);
    let mut decoder = ReaderBuilder::new_with_field(plain)
        .with_batch_size(values.len().max(1))
        .with_strict_mode(true)
        .build_decoder()?;
    decoder.serialize(values)?;
    match decoder.flush()? {
        Some(batch) => {
            cast_with_options(batch.column(0), field.data_type(), &CastOptions::default())
        }
        None => Ok(datafusion::arrow::array::new_empty_array(field.data_type())),
    }
}

/// What stands for a value that a test says nothing about and that cannot be NULL.
fn default_of(data_type: &DataType) -> Value {
    use DataType as T;
    match data_type {
        T::Dictionary(_, values) => default_of(values),
        T::Boolean => Value::from(false),
        T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Binary | T::LargeBinary | T::BinaryView => {
            Value::from("")
        }
        T::List(_) | T::LargeList(_) | T::ListView(_) | T::LargeListView(_) => {
            Value::Array(Vec::new())
        }
        T::Struct(fields) => {
            let default =
                |field: &Arc<Field>| (field.name().clone(), default_of(field.data_type()));
            let required = fields.iter().filter(|field| !field.is_nullable());
            Value::Object(required.map(default).collect())
        }
        T::Map(..) => Value::Object(Map::new()),
        _ => Value::from(0),
    }
}
