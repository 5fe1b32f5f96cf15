//! What the queries of the steps have in common.

use std::time::Duration;

use datafusion::arrow::array::timezone::Tz;
use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::DataFrame;
use serde::{Deserialize, Serialize};

use crate::dataset::not_a_time;
use crate::error::Error;
use crate::step::StepContext;

/// `occurred_at` in microseconds since 1970, whatever its unit.
pub(super) const TIME: &str = r#"cast(arrow_cast(occurred_at, 'Timestamp(µs, "UTC")') as bigint)"#;

/// What a row adds to the revenue, exact to a millionth so that a sum does not depend on the order of its
/// rows; NULL where there is no price.
pub(super) const AMOUNT: &str = "case when kind = 'purchase'
    then try_cast(price * coalesce(quantity, 1) as decimal(38, 6)) end";

/// How long the windows of time are in which rows are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    /// From full hour to full hour.
    Hour,
    /// From midnight to midnight.
    #[default]
    Day,
}

impl Granularity {
    /// The start of the window that a time is in, where full hours and midnights are those of a zone.
    pub(super) fn start_of(self, time: &str, zone: &str) -> String {
        let unit = match self {
            Self::Hour => "hour",
            Self::Day => "day",
        };
        let local = in_zone(time, zone);
        in_zone(&format!("date_trunc('{unit}', {local})"), "UTC")
    }
}

/// A time, or microseconds since 1970, in a zone that [`Input::check_zone`] knows.
pub(super) fn in_zone(time: &str, zone: &str) -> String {
    format!(r#"arrow_cast({time}, 'Timestamp(µs, "{zone}")')"#)
}

/// A table of events as the queries read it.
pub(super) struct Input<'a> {
    step: &'a str,
    frame: DataFrame,
    /// The table as a name in SQL.
    pub(super) table: String,
    /// `tenant_id, `, or nothing where there is no such column: what belongs to different shops is never
    /// counted together.
    pub(super) tenant: &'static str,
}

impl<'a> Input<'a> {
    /// Opens an input of a step and checks its times.
    pub(super) fn open(ctx: &StepContext<'_>, step: &'a str, table: &str) -> Result<Self> {
        let frame = ctx.table(table)?;
        if let Some(found) = not_a_time(frame.schema().as_arrow()) {
            let error = Error::WrongType {
                step: step.to_owned(),
                column: "occurred_at".to_owned(),
                expected: "a timestamp",
                found: found.to_string(),
            };
            return Err(error.into_datafusion());
        }
        let has_tenant = frame.schema().has_column_with_unqualified_name("tenant_id");
        Ok(Self {
            step,
            table: quoted(table),
            tenant: if has_tenant { "tenant_id, " } else { "" },
            frame,
        })
    }

    /// The columns as a list in SQL, but for one that is made anew.
    pub(super) fn columns_but(&self, made: &str) -> String {
        let names = self
            .frame
            .schema()
            .fields()
            .iter()
            .map(|field| field.name());
        let names = names.filter(|name| *name != made).map(|name| quoted(name));
        names.collect::<Vec<_>>().join(", ")
    }

    /// All rows.
    pub(super) fn into_frame(self) -> DataFrame {
        self.frame
    }

    /// What is wrong with the configuration of the step.
    pub(super) fn invalid(&self, reason: impl Into<String>) -> DataFusionError {
        let error = Error::InvalidStep {
            step: self.step.to_owned(),
            reason: reason.into(),
        };
        error.into_datafusion()
    }

    /// Refuses what is no time zone.
    pub(super) fn check_zone(&self, zone: &str) -> Result<()> {
        match zone.parse::<Tz>() {
            Ok(_) => Ok(()),
            Err(_) => Err(self.invalid(format!(
                "`time_zone` is `{zone}`, which is neither a name of the tz database, such as `Europe/Rome`, nor an offset, such as `+01:00`"
            ))),
        }
    }

    /// A setting in microseconds, at least one.
    pub(super) fn micros(&self, key: &str, duration: Duration) -> Result<i64> {
        match i64::try_from(duration.as_micros()) {
            Ok(micros) if micros > 0 => Ok(micros),
            _ => Err(self.invalid(format!(
                "`{key}` is {duration:?}, which is not between a microsecond and 292,000 years"
            ))),
        }
    }
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
