//! What each expectation of Great Expectations is of ours.

use super::super::arguments::ColumnValues;
use super::super::check::Check;
use super::super::range::ColumnRange;
use super::arguments::{Arguments, Reason};
use super::{GreatExpectations, of_rows, of_tables};

/// A check, and a condition of the rows that it looks at, if it brings one.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) check: Check,
    pub(super) when: Option<String>,
}

impl From<Check> for Translated {
    fn from(check: Check) -> Self {
        Self { check, when: None }
    }
}

pub(super) type Translation = Result<Vec<Translated>, Reason>;

/// How an expectation is translated: its arguments, how the suite is read, and its description.
pub(super) type Kind = fn(&mut Arguments, &GreatExpectations, Option<&str>) -> Translation;

/// How an expectation is translated; none if Great Expectations has none of this name.
pub(super) fn find(name: &str) -> Option<Result<Kind, Reason>> {
    let mut kinds = of_rows::KINDS.iter().chain(of_tables::KINDS);
    let kind = kinds.find(|(kind, _)| *kind == name);
    let kind = kind.map(|(_, translate)| Ok(*translate));
    kind.or_else(|| {
        let reason = UNTRANSLATABLE.iter().find(|(kind, _)| *kind == name);
        reason.map(|(_, reason)| Err((*reason).to_owned()))
    })
}

/// All names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let kinds = of_rows::KINDS.iter().chain(of_tables::KINDS);
    let kinds = kinds.map(|(name, _)| *name);
    kinds.chain(UNTRANSLATABLE.iter().map(|(name, _)| *name))
}

const DISTRIBUTION: &str = "it is about a distribution, which is no kind of ours; \
    see `CustomExpectation`";

/// Those that are none of ours, and why.
const UNTRANSLATABLE: &[(&str, &str)] = &[
    (
        "expect_column_values_to_be_dateutil_parseable",
        "it reads times as Python's dateutil does, in any words; see `parseable`",
    ),
    (
        "expect_column_values_to_match_json_schema",
        "it needs a schema of JSON, which is no kind of ours; see `expect_sql`",
    ),
    (
        "expect_query_results_to_match_comparison",
        "it compares two databases; see `expect_no_rows`",
    ),
    ("expect_column_value_z_scores_to_be_less_than", DISTRIBUTION),
    ("expect_column_values_to_not_be_outliers", DISTRIBUTION),
    ("expect_column_kl_divergence_to_be_less_than", DISTRIBUTION),
    (
        "expect_column_chisquare_test_p_value_to_be_greater_than",
        DISTRIBUTION,
    ),
    (
        "expect_column_bootstrapped_ks_test_p_value_to_be_greater_than",
        DISTRIBUTION,
    ),
    (
        "expect_column_parameterized_distribution_ks_test_p_value_to_be_greater_than",
        DISTRIBUTION,
    ),
    (
        "expect_column_pair_cramers_phi_value_to_be_less_than",
        DISTRIBUTION,
    ),
    ("expect_column_pair_values_to_be_independent", DISTRIBUTION),
];

pub(super) fn one(check: Check) -> Translation {
    Ok(vec![check.into()])
}

pub(super) fn of_set(a: &mut Arguments, check: fn(ColumnValues) -> Check) -> Translation {
    let (column, values) = (a.column()?, a.values("value_set")?);
    not_parsed(a)?;
    one(check(ColumnValues { column, values }))
}

pub(super) fn of_range(a: &mut Arguments, check: fn(ColumnRange) -> Check) -> Translation {
    let range = range(a)?;
    not_parsed(a)?;
    one(check(range))
}

pub(super) fn range(a: &mut Arguments) -> Result<ColumnRange, Reason> {
    Ok(ColumnRange {
        column: a.column()?,
        min: a.scalar("min_value")?,
        max: a.scalar("max_value")?,
        strict_min: a.flag("strict_min")?,
        strict_max: a.flag("strict_max")?,
    })
}

pub(super) fn not_parsed(a: &mut Arguments) -> Result<(), Reason> {
    if a.flag("parse_strings_as_datetimes")? {
        return Err(
            "it reads texts as times (`parse_strings_as_datetimes`): make them times in a \
            step before"
                .to_owned(),
        );
    }
    Ok(())
}
