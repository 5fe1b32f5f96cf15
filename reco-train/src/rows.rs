//! [`RowWriter`]: writes rows of a table on a Burn device.

use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor};

/// How rows are written: a GPU wants a thread for each value, a CPU one loop over the rows.
///
/// Burn's `select_assign` has a thread for each *column* on GPUs, which goes through the rows one after the
/// other: a hundred threads at work on a device of many thousands. Its CPU device goes row by row, in place,
/// where `scatter_nd` copies the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowWriter {
    ByRow,
    ByValue,
}

impl RowWriter {
    /// What suits a device.
    pub(crate) fn of(device: &Device) -> Self {
        if *device == Device::flex() {
            Self::ByRow
        } else {
            Self::ByValue
        }
    }

    /// Replaces rows. One that is named more than once must be given the same values each time.
    pub(crate) fn assign(self, table: &mut Tensor<2>, rows: &Tensor<1, Int>, values: Tensor<2>) {
        let rows = rows.clone();
        // The table is moved in, so that it is changed in place.
        table.inplace(|table| match self {
            Self::ByRow => table.select_assign(0, rows, values, IndexingUpdateOp::Assign),
            Self::ByValue => {
                table.scatter_nd(rows.unsqueeze_dim::<2>(1), values, IndexingUpdateOp::Assign)
            }
        });
    }

    /// Adds to rows, which may be named often.
    ///
    /// GPUs that add atomically do so in any order: the last bits of a sum differ from run to run.
    pub(crate) fn add(self, table: &mut Tensor<2>, rows: &Tensor<1, Int>, values: Tensor<2>) {
        let rows = rows.clone();
        table.inplace(|table| match self {
            Self::ByRow => table.select_assign(0, rows, values, IndexingUpdateOp::Add),
            Self::ByValue => {
                let rows = rows.unsqueeze_dim::<2>(1).expand(values.dims());
                table.scatter(0, rows, values, IndexingUpdateOp::Add)
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    fn check(
        write: impl Fn(RowWriter, &mut Tensor<2>, &Tensor<1, Int>, Tensor<2>),
        expected: [f32; 6],
    ) {
        let device = Device::flex();
        assert_eq!(RowWriter::of(&device), RowWriter::ByRow);
        for writer in [RowWriter::ByRow, RowWriter::ByValue] {
            let mut table = Tensor::<2>::ones([3, 2], &device);
            let rows = Tensor::from_data([2_i32, 0, 2], &device);
            let values = [[1.0_f32, 2.0], [3.0, 4.0], [1.0, 2.0]];
            write(
                writer,
                &mut table,
                &rows,
                Tensor::from_data(values, &device),
            );
            table
                .into_data()
                .assert_eq(&TensorData::new(expected.to_vec(), [3, 2]), false);
        }
    }

    #[test]
    fn both_ways_write_the_same() {
        check(
            |writer, table, rows, values| writer.assign(table, rows, values),
            [3.0, 4.0, 1.0, 1.0, 1.0, 2.0],
        );
        check(
            |writer, table, rows, values| writer.add(table, rows, values),
            [4.0, 5.0, 1.0, 1.0, 3.0, 5.0],
        );
    }
}
