//! [`RowDifference`]: how the rows that a step makes differ from those expected.

use std::collections::HashMap;
use std::fmt;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

/// How the rows that a step makes differ from those expected.
///
/// A row that is missing and one that is unexpected are one that changed if they agree in at least half of
/// their columns. Written as text, it is a table of the first [`MAX_ROWS`](Self::MAX_ROWS).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowDifference {
    /// The columns that were compared.
    pub columns: Vec<String>,
    /// Rows that were expected and not made, as texts; none is NULL.
    pub missing: Vec<Vec<Option<String>>>,
    /// Rows that were made and not expected.
    pub unexpected: Vec<Vec<Option<String>>>,
    /// Rows that were expected, each with the one that was made instead.
    pub changed: Vec<[Vec<Option<String>>; 2]>,
}

impl RowDifference {
    /// The most rows that are written of each kind.
    pub const MAX_ROWS: usize = 20;
}

/// A value as it is compared and written.
#[derive(Debug, Clone)]
struct Cell {
    /// None is NULL.
    text: Option<String>,
    /// Of a column of numbers with a fraction.
    number: Option<f64>,
}

impl Cell {
    fn agrees(&self, other: &Self) -> bool {
        match (self.number, other.number) {
            (Some(a), Some(b)) if a.is_finite() && b.is_finite() => {
                (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
            }
            _ => self.text == other.text,
        }
    }
}

type Row = Vec<Cell>;

/// The difference in the columns of the expected rows, if there is one.
pub(super) fn compare(
    made: &RecordBatch,
    expected: &RecordBatch,
    in_order: bool,
) -> Result<Option<RowDifference>, ArrowError> {
    let schema = expected.schema();
    let columns: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let (made, expected) = (rows(made, &columns)?, rows(expected, &columns)?);
    let mut difference = RowDifference {
        columns,
        ..RowDifference::default()
    };
    if in_order {
        pair_in_order(&expected, &made, &mut difference);
    } else {
        pair_any(expected, made, &mut difference);
    }
    let agree = difference.missing.is_empty()
        && difference.unexpected.is_empty()
        && difference.changed.is_empty();
    Ok((!agree).then_some(difference))
}

fn rows(batch: &RecordBatch, columns: &[String]) -> Result<Vec<Row>, ArrowError> {
    let mut rows = vec![Vec::with_capacity(columns.len()); batch.num_rows()];
    let options = FormatOptions::default();
    for column in columns {
        // Each expected column is one of those made.
        let Some(column) = batch.column_by_name(column) else {
            continue;
        };
        let numbers = match column.data_type() {
            data_type if data_type.is_floating() => Some(cast(column, &DataType::Float64)?),
            _ => None,
        };
        let numbers = numbers
            .as_ref()
            .map(|numbers| numbers.as_primitive::<Float64Type>());
        let texts = ArrayFormatter::try_new(column, &options)?;
        let is_null = column.logical_nulls();
        for (position, row) in rows.iter_mut().enumerate() {
            let is_there = is_null
                .as_ref()
                .is_none_or(|nulls| nulls.is_valid(position));
            row.push(Cell {
                text: is_there.then(|| texts.value(position).to_string()),
                number: numbers
                    .filter(|_| is_there)
                    .map(|numbers| numbers.value(position)),
            });
        }
    }
    Ok(rows)
}

fn agree(a: &Row, b: &Row) -> bool {
    a.iter().zip(b).all(|(a, b)| a.agrees(b))
}

fn texts(row: &Row) -> Vec<Option<String>> {
    row.iter().map(|cell| cell.text.clone()).collect()
}

fn pair_in_order(expected: &[Row], made: &[Row], difference: &mut RowDifference) {
    let n_both = expected.len().min(made.len());
    for (expected, made) in expected.iter().zip(made) {
        if !agree(expected, made) {
            difference.changed.push([texts(expected), texts(made)]);
        }
    }
    difference.missing = expected[n_both..].iter().map(texts).collect();
    difference.unexpected = made[n_both..].iter().map(texts).collect();
}

fn pair_any(expected: Vec<Row>, made: Vec<Row>, difference: &mut RowDifference) {
    // Most rows agree to the letter; only the rest is compared each with each.
    let mut left: HashMap<Vec<Option<String>>, usize> = HashMap::new();
    for row in &expected {
        *left.entry(texts(row)).or_default() += 1;
    }
    let mut unexpected: Vec<Row> = Vec::new();
    for row in made {
        match left.get_mut(&texts(&row)) {
            Some(n) if *n > 0 => *n -= 1,
            _ => unexpected.push(row),
        }
    }
    for row in expected {
        let row_texts = texts(&row);
        match left.get_mut(&row_texts) {
            Some(n) if *n > 0 => *n -= 1,
            _ => continue,
        }
        match unexpected.iter().position(|made| agree(&row, made)) {
            Some(position) => drop(unexpected.remove(position)),
            None => difference.missing.push(row_texts),
        }
    }
    difference.unexpected = unexpected.iter().map(texts).collect();
    pair_changed(difference);
}

/// Pairs each missing row with the unexpected one that it agrees with the most.
fn pair_changed(difference: &mut RowDifference) {
    let mut missing = Vec::new();
    for row in std::mem::take(&mut difference.missing) {
        let n_same =
            |made: &Vec<Option<String>>| row.iter().zip(made).filter(|(a, b)| a == b).count();
        let best = difference.unexpected.iter().map(n_same).enumerate();
        // Of equals the first, in the order in which they were made.
        let best = best.rev().max_by_key(|&(_, n_same)| n_same);
        match best {
            Some((position, n_same)) if n_same > 0 && 2 * n_same >= row.len() => {
                let made = difference.unexpected.remove(position);
                difference.changed.push([row, made]);
            }
            _ => missing.push(row),
        }
    }
    difference.missing = missing;
}

impl fmt::Display for RowDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} missing, {} unexpected, {} changed",
            self.missing.len(),
            self.unexpected.len(),
            self.changed.len()
        )?;
        let text = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "NULL".to_owned());
        let mut lines: Vec<Vec<String>> = vec![vec!["row".to_owned()]];
        lines[0].extend(self.columns.iter().cloned());
        for (kind, rows) in [("missing", &self.missing), ("unexpected", &self.unexpected)] {
            for row in rows.iter().take(Self::MAX_ROWS) {
                lines.push(
                    std::iter::once(kind.to_owned())
                        .chain(row.iter().map(text))
                        .collect(),
                );
            }
        }
        for [expected, made] in self.changed.iter().take(Self::MAX_ROWS) {
            let cell = |(expected, made): (&Option<String>, &Option<String>)| {
                if expected == made {
                    text(expected)
                } else {
                    format!("{} -> {}", text(expected), text(made))
                }
            };
            let cells = expected.iter().zip(made).map(cell);
            lines.push(std::iter::once("changed".to_owned()).chain(cells).collect());
        }
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
        let widths: Vec<usize> = (0..=self.columns.len()).filter_map(width).collect();
        for (number, line) in lines.iter().enumerate() {
            f.write_str("\n|")?;
            for (cell, width) in line.iter().zip(&widths) {
                write!(f, " {cell:width$} |")?;
            }
            if number == 0 {
                f.write_str("\n|")?;
                for width in &widths {
                    write!(f, "{}|", "-".repeat(width + 2))?;
                }
            }
        }
        let n_left: usize = [
            self.missing.len(),
            self.unexpected.len(),
            self.changed.len(),
        ]
        .map(|n| n.saturating_sub(Self::MAX_ROWS))
        .iter()
        .sum();
        if n_left > 0 {
            write!(f, "\nand {n_left} more")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Float64Array, StringArray};
    use proptest::prelude::*;

    use super::*;

    type Cells = (&'static str, Option<&'static str>, f64);

    fn batch(rows: &[Cells]) -> RecordBatch {
        let ids: StringArray = rows.iter().map(|row| Some(row.0)).collect();
        let items: StringArray = rows.iter().map(|row| row.1).collect();
        let prices: Float64Array = rows.iter().map(|row| Some(row.2)).collect();
        let columns: [(&str, ArrayRef, bool); 3] = [
            ("id", Arc::new(ids), true),
            ("item", Arc::new(items), true),
            ("price", Arc::new(prices), true),
        ];
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    fn check(expected: &[Cells], made: &[Cells], in_order: bool, difference: &str) {
        let found = compare(&batch(made), &batch(expected), in_order).unwrap();
        assert_eq!(
            found.map(|found| found.to_string()).unwrap_or_default(),
            difference
        );
    }

    #[test]
    fn rows_agree_in_any_order_and_as_often_as_expected() {
        let (a, b) = (("a", None, 1.0), ("b", Some("hat"), 0.1 + 0.2));
        check(&[a, b, ("b", Some("hat"), 0.3)], &[b, b, a], false, "");
        check(
            &[a, b],
            &[a, a, b],
            false,
            "0 missing, 1 unexpected, 0 changed\n\
             | row        | id | item | price |\n\
             |------------|----|------|-------|\n\
             | unexpected | a  | NULL | 1.0   |",
        );
    }

    #[test]
    fn a_difference_is_a_table() {
        check(
            &[
                ("a", Some("hat"), 1.0),
                ("b", Some("NULL"), 2.0),
                ("c", None, 3.0),
            ],
            &[
                ("b", None, 2.0),
                ("d", Some("fur"), 9.0),
                ("a", Some("hat"), 1.0),
            ],
            false,
            "1 missing, 1 unexpected, 1 changed\n\
             | row        | id | item         | price |\n\
             |------------|----|--------------|-------|\n\
             | missing    | c  | NULL         | 3.0   |\n\
             | unexpected | d  | fur          | 9.0   |\n\
             | changed    | b  | NULL -> NULL | 2.0   |",
        );
    }

    #[test]
    fn order_counts_where_it_is_said_to() {
        let (a, b) = (("a", None, 1.0), ("b", None, 1.0));
        check(&[a, b], &[a, b], true, "");
        check(
            &[a, b],
            &[b],
            true,
            "1 missing, 0 unexpected, 1 changed\n\
             | row     | id     | item | price |\n\
             |---------|--------|------|-------|\n\
             | missing | b      | NULL | 1.0   |\n\
             | changed | a -> b | NULL | 1.0   |",
        );
    }

    #[test]
    fn a_long_difference_is_cut() {
        let rows = vec![("a", None, 1.0); RowDifference::MAX_ROWS + 2];
        let found = compare(&batch(&rows), &batch(&[]), false).unwrap().unwrap();
        assert_eq!(found.unexpected.len(), 22);
        assert!(found.to_string().ends_with("\nand 2 more"));
    }

    proptest! {
        #[test]
        fn what_was_shuffled_agrees_and_what_was_taken_is_missing(
            rows in prop::collection::vec((0..3_usize, 0..3_usize, 0..3_u8), 1..20),
            shift in any::<prop::sample::Index>(),
        ) {
            const NAMES: [&str; 3] = ["a", "b", "c"];
            let rows: Vec<Cells> = rows
                .into_iter()
                .map(|(id, item, price)| (NAMES[id], Some(NAMES[item]), f64::from(price)))
                .collect();
            let mut made = rows.clone();
            made.rotate_left(shift.index(rows.len()));
            prop_assert_eq!(compare(&batch(&made), &batch(&rows), false).unwrap(), None);
            let taken = made.pop().unwrap();
            let found = compare(&batch(&made), &batch(&rows), false).unwrap().unwrap();
            prop_assert_eq!(found.missing.len(), 1);
            prop_assert_eq!(found.missing[0][0].as_deref(), Some(taken.0));
            prop_assert!(found.unexpected.is_empty() && found.changed.is_empty());
        }
    }
}
