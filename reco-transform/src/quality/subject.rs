//! The columns that a check is about.

use super::check::Check;

impl Check {
    /// The columns that it is about.
    pub(crate) fn columns(&self) -> Vec<String> {
        match self {
            Self::NotNull { column }
            | Self::Null { column }
            | Self::MatchesRegex { column, .. }
            | Self::NotMatchesRegex { column, .. }
            | Self::MatchesRegexList { column, .. }
            | Self::NotMatchesRegexList { column, .. }
            | Self::MatchesLike { column, .. }
            | Self::NotMatchesLike { column, .. }
            | Self::MatchesLikeList { column, .. }
            | Self::NotMatchesLikeList { column, .. }
            | Self::Parseable { column, .. }
            | Self::MatchesStrftime { column, .. }
            | Self::Relationships { column, .. }
            | Self::ColumnQuantile { column, .. }
            | Self::QuantileNearEarlier { column, .. }
            | Self::MostCommonValue { column, .. }
            | Self::ColumnExists { column, .. }
            | Self::ColumnType { column, .. }
            | Self::Freshness { column, .. } => vec![column.clone()],
            Self::AcceptedValues(list)
            | Self::RejectedValues(list)
            | Self::DistinctValuesIn(list)
            | Self::DistinctValuesEqual(list)
            | Self::DistinctValuesContain(list) => vec![list.column.clone()],
            Self::Between(range)
            | Self::ValueLengths(range)
            | Self::ColumnMin(range)
            | Self::ColumnMax(range)
            | Self::ColumnMean(range)
            | Self::ColumnMedian(range)
            | Self::ColumnStdev(range)
            | Self::ColumnSum(range)
            | Self::ColumnNotNullShare(range)
            | Self::ColumnDistinctCount(range)
            | Self::ColumnDistinctShare(range) => vec![range.column.clone()],
            Self::Increasing(monotonic) | Self::Decreasing(monotonic) => {
                let columns = [&monotonic.column].into_iter();
                let columns = columns.chain(&monotonic.partition_by);
                columns.chain(&monotonic.order_by).cloned().collect()
            }
            Self::PairEqual {
                column_a, column_b, ..
            }
            | Self::PairGreater {
                column_a, column_b, ..
            }
            | Self::PairInSet {
                column_a, column_b, ..
            } => vec![column_a.clone(), column_b.clone()],
            Self::Unique { columns, .. }
            | Self::MulticolumnSum { columns, .. }
            | Self::UniqueWithinRecord { columns, .. }
            | Self::EqualWithinRecord { columns, .. }
            | Self::ColumnsMatchSet { columns, .. }
            | Self::ColumnsMatchOrdered { columns } => columns.clone(),
            Self::Sql { .. }
            | Self::RowCount(_)
            | Self::RowCountEqualsTable { .. }
            | Self::RowCountNearEarlier { .. }
            | Self::ColumnCount(_)
            | Self::NoRows { .. }
            | Self::Custom { .. } => Vec::new(),
            Self::NullShareNearEarlier(near) | Self::MeanNearEarlier(near) => {
                vec![near.column.clone()]
            }
        }
    }
}
