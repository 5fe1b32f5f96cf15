//! The passes over a table that make its profile.

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::functions::expr_fn::character_length;
use datafusion::functions_aggregate::expr_fn::{avg, count, max, min, stddev};
use datafusion::functions_window::expr_fn::lag;
use datafusion::logical_expr::{Expr, ExprFunctionExt, cast, ident, lit};
use datafusion::prelude::DataFrame;

use super::super::functions::count_true;
use super::super::keys::N;
use super::super::pass::{Pass, Slot, Totals, count_of, single_row};
use super::super::quantile::rank_of;
use super::super::scalar::{Scalar, number};
use super::sketch::{N_HASHES, hashes, n_distinct};
use super::{ColumnProfile, Profile, ProfileConfig, QuantileValue, ValueCount};

/// What is asked of a column, by its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Text,
    Number,
    Time,
    Boolean,
    Other,
}

impl Family {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => Self::Time,
            DataType::Boolean => Self::Boolean,
            numeric if numeric.is_numeric() => Self::Number,
            _ => Self::Other,
        }
    }
}

/// Where in the first pass what is found of a column is.
#[derive(Debug)]
struct Slots {
    name: String,
    data_type: DataType,
    family: Family,
    n_nulls: Slot,
    hashes: Option<Slot>,
    extremes: Option<(Slot, Slot)>,
    moments: Option<(Slot, Slot)>,
    digits: Option<Slot>,
    lengths: Option<(Slot, Slot)>,
}

pub(super) async fn profile(table: DataFrame, config: &ProfileConfig) -> Result<Profile> {
    refuse(&table, config)?;
    let mut pass = Pass::new();
    let fields = table.schema().fields().iter();
    let slots = fields.map(|field| Slots::want(&mut pass, field.name(), field.data_type()));
    let slots: Vec<Slots> = slots.collect::<Result<_>>()?;
    let mut totals = pass.compute(table.clone()).await?;
    for digits in slots.iter().filter_map(|slots| slots.digits) {
        for rank in ranks(config, totals.n_ranked(digits)) {
            totals.want_rank(digits, rank);
        }
    }
    totals.find_ranks(&table).await?;

    let n_rows = totals.count(Pass::N_ROWS);
    let mut columns = Vec::new();
    for slots in &slots {
        let mut column = slots.column(&totals, config)?;
        look_further(&mut column, slots, n_rows, &table, config).await?;
        columns.push(column);
    }
    if !config.order_by.is_empty() {
        look_for_order(&mut columns, &slots, table, config).await?;
    }
    Ok(Profile {
        n_rows,
        columns,
        order_by: config.order_by.clone(),
    })
}

fn refuse(table: &DataFrame, config: &ProfileConfig) -> Result<()> {
    for column in &config.order_by {
        table.schema().field_with_unqualified_name(column)?;
    }
    if config.max_values > 1000 {
        return plan_err!("`max_values` is {}, above 1000", config.max_values);
    }
    match config
        .quantiles
        .iter()
        .find(|quantile| !(0.0..=1.0).contains(*quantile))
    {
        None => Ok(()),
        Some(quantile) => plan_err!("quantile {quantile} is not from 0 to 1"),
    }
}

fn ranks(config: &ProfileConfig, n_values: u64) -> Vec<u64> {
    if n_values == 0 {
        return Vec::new();
    }
    let quantiles = config.quantiles.iter();
    quantiles
        .map(|quantile| rank_of(*quantile, n_values))
        .collect()
}

impl Slots {
    fn want(pass: &mut Pass, name: &str, data_type: &DataType) -> Result<Self> {
        let column = || ident(name);
        let family = Family::of(data_type);
        let mut two = |one: Expr, other: Expr| Some((pass.slot(one), pass.slot(other)));
        let extremes = match family {
            Family::Number | Family::Time => two(min(column()), max(column())),
            _ => None,
        };
        let float = || cast(column(), DataType::Float64);
        let moments = match family {
            Family::Number => two(avg(float()), stddev(float())),
            _ => None,
        };
        let lengths = match family {
            Family::Text => {
                let length = character_length(column());
                two(min(length.clone()), max(length))
            }
            _ => None,
        };
        let digits = match family {
            Family::Number => Some(pass.ranked(float(), None)?),
            _ => None,
        };
        let hashes = (family != Family::Other).then(|| pass.slot(hashes(column(), data_type)));
        Ok(Self {
            name: name.to_owned(),
            data_type: data_type.clone(),
            family,
            n_nulls: pass.slot(count_true(vec![column().is_null()])),
            hashes,
            extremes,
            moments,
            digits,
            lengths,
        })
    }

    /// What the first passes found.
    fn column(&self, totals: &Totals, config: &ProfileConfig) -> Result<ColumnProfile> {
        let hashes = self.hashes.map(|hashes| n_distinct(totals.value(hashes)));
        let n_distinct = hashes.transpose()?;
        let extreme = |slot: Slot| self.scalar(totals.value(slot));
        let finite = |slot: Slot| number(totals.value(slot)).filter(|number| number.is_finite());
        let length = |slot: Slot| {
            let length = totals.value(slot);
            (!length.is_null())
                .then(|| number(length))
                .flatten()
                .map(whole)
        };
        let quantiles = self.digits.map_or_else(Vec::new, |digits| {
            let n_values = totals.n_ranked(digits);
            let quantiles = config.quantiles.iter().filter_map(|quantile| {
                let rank = (n_values > 0).then(|| rank_of(*quantile, n_values))?;
                let value = totals.ranked(digits, rank)?;
                value.is_finite().then_some(QuantileValue {
                    quantile: *quantile,
                    value,
                })
            });
            quantiles.collect()
        });
        Ok(ColumnProfile {
            name: self.name.clone(),
            data_type: self.data_type.to_string(),
            n_nulls: totals.count(self.n_nulls),
            n_distinct: n_distinct.map(|(n, _)| n),
            is_exact: n_distinct.is_some_and(|(_, is_exact)| is_exact),
            min: self.extremes.and_then(|(min, _)| extreme(min)),
            max: self.extremes.and_then(|(_, max)| extreme(max)),
            mean: self.moments.and_then(|(mean, _)| finite(mean)),
            stdev: self.moments.and_then(|(_, stdev)| finite(stdev)),
            quantiles,
            min_length: self.lengths.and_then(|(min, _)| length(min)),
            max_length: self.lengths.and_then(|(_, max)| length(max)),
            values: Vec::new(),
            is_increasing: None,
        })
    }

    /// A value as data; none for NULL and for a number that is not finite.
    fn scalar(&self, value: &ScalarValue) -> Option<Scalar> {
        if value.is_null() {
            return None;
        }
        if self.family == Family::Number && !self.data_type.is_integer() {
            let number = number(value).filter(|number| number.is_finite());
            return number.map(Scalar::Float);
        }
        Scalar::of_value(value)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a length is a small number from 0"
)]
const fn whole(number: f64) -> u64 {
    number as u64
}

/// What takes a pass over a column of its own.
async fn look_further(
    column: &mut ColumnProfile,
    slots: &Slots,
    n_rows: u64,
    table: &DataFrame,
    config: &ProfileConfig,
) -> Result<()> {
    let n_known = n_rows - column.n_nulls;
    let Some(n_distinct) = column.n_distinct else {
        return Ok(());
    };
    let groups = || {
        let known = table.clone().filter(ident(&slots.name).is_not_null())?;
        known.aggregate(vec![ident(&slots.name)], vec![count(lit(1_i64)).alias(N)])
    };
    let is_few = column.is_exact && n_distinct <= config.max_values as u64;
    if slots.family == Family::Text && is_few && n_distinct > 0 {
        let order = vec![
            ident(N).sort(false, false),
            ident(&slots.name).sort(true, false),
        ];
        let batches = groups()?.sort(order)?.collect().await?;
        for batch in &batches {
            let counts = batch.column(1).as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let value = ScalarValue::try_from_array(batch.column(0), row)?;
                column
                    .values
                    .extend(Scalar::of_value(&value).map(|value| ValueCount {
                        value,
                        n: u64::try_from(counts.value(row)).unwrap_or(0),
                    }));
            }
        }
    }
    // An estimate is off by 3 % as a rule, and here by no more than 15.
    let may_be_key = n_distinct as f64 >= 0.85 * n_known as f64;
    let has_keys = slots.family == Family::Text || slots.data_type.is_integer();
    if has_keys && !column.is_exact && may_be_key {
        let n = groups()?.aggregate(Vec::new(), vec![count(lit(1_i64)).alias("__keys")])?;
        column.n_distinct = Some(count_of(&single_row(n).await?[0]));
        column.is_exact = true;
    }
    Ok(())
}

/// Which columns never fall in the order of the rows.
async fn look_for_order(
    columns: &mut [ColumnProfile],
    slots: &[Slots],
    table: DataFrame,
    config: &ProfileConfig,
) -> Result<()> {
    let order = || {
        let order = config.order_by.iter();
        order
            .map(|column| ident(column).sort(true, false))
            .collect::<Vec<_>>()
    };
    let of_order = |slots: &&Slots| {
        matches!(slots.family, Family::Number | Family::Time)
            && !config.order_by.contains(&slots.name)
    };
    let ordered: Vec<&Slots> = slots.iter().filter(of_order).collect();
    if ordered.is_empty() {
        return Ok(());
    }
    // A pass for each column: rows at the same place are in its own order. A row with NULL is passed over.
    for slots in ordered {
        let mut by = order();
        by.push(ident(&slots.name).sort(true, false));
        let previous = lag(ident(&slots.name), Some(1), None)
            .order_by(by)
            .build()?
            .alias("__previous");
        let fell = ident(&slots.name).lt(ident("__previous"));
        let known = table.clone().filter(ident(&slots.name).is_not_null())?;
        let falls = known
            .window(vec![previous])?
            .aggregate(Vec::new(), vec![count_true(vec![fell]).alias("__falls")])?;
        let falls = single_row(falls).await?;
        if let Some(column) = columns.iter_mut().find(|column| column.name == slots.name) {
            column.is_increasing = Some(count_of(&falls[0]) == 0);
        }
    }
    Ok(())
}

/// Whether exact counts and estimates meet where they should.
const _: () = assert!(N_HASHES > 1000, "few values are counted exactly");
