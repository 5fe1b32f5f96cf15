//! [`Pace`]: when a record is due.

use std::time::Duration;

use reco_core::{Error as CoreError, Record, nearest, timestamp_type};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How fast a replay is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Pace {
    /// As fast as the sink takes it.
    #[default]
    FullSpeed,
    /// As the records came, or in proportion: each is due as long after the first as it was then,
    /// divided by `speed`. One whose time is before that of an earlier one is due at once.
    Timed {
        /// The column of times: `received_at`, or `occurred_at` for the clocks of the sources.
        by: String,
        /// 1 is as it was, 60 makes a minute of an hour.
        speed: f64,
    },
}

impl Pace {
    /// As the records were received, or in proportion.
    #[must_use]
    pub fn times(speed: f64) -> Self {
        Self::Timed {
            by: "received_at".to_owned(),
            speed,
        }
    }

    /// The column of times that it needs.
    pub(super) fn column(&self) -> Option<String> {
        match self {
            Self::FullSpeed => None,
            Self::Timed { by, .. } => Some(by.clone()),
        }
    }

    pub(super) fn pacer<E: Record>(&self) -> Result<Pacer> {
        let Self::Timed { by, speed } = self else {
            return Ok(Pacer::default());
        };
        if !(speed.is_finite() && *speed > 0.0) {
            return Err(Error::InvalidConfig {
                of: "replay",
                reason: format!("`speed` is {speed}, not a number above 0"),
            });
        }
        let schema = E::schema();
        let Some((_, field)) = schema.column_with_name(by) else {
            return Err(Error::Core(CoreError::MissingColumn {
                table: E::NAME.to_owned(),
                column: by.clone(),
                nearest: nearest(by, schema.fields().iter().map(|field| field.name())),
            }));
        };
        if field.data_type() != &timestamp_type() || field.is_nullable() {
            return Err(Error::Core(CoreError::ColumnType {
                table: E::NAME.to_owned(),
                column: by.clone(),
                found: field.data_type().to_string(),
                expected: timestamp_type().to_string(),
            }));
        }
        Ok(Pacer {
            speed: Some(*speed),
            ..Pacer::default()
        })
    }
}

/// What tells the time of a replay: how long it has been going on.
pub(super) trait Clock: Send + Sync {
    fn now(&self) -> Duration;

    fn sleep_until(&self, due: Duration) -> impl Future<Output = ()> + Send;
}

#[derive(Debug)]
pub(super) struct TokioClock(tokio::time::Instant);

impl TokioClock {
    pub(super) fn start() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep_until(&self, due: Duration) {
        // What is further away than the clock goes is not reached anyway.
        let ahead = due.saturating_sub(self.0.elapsed());
        if !ahead.is_zero() {
            tokio::time::sleep(ahead).await;
        }
    }
}

/// When records are due; without a speed, at once.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    speed: Option<f64>,
    /// The time of the first record in microseconds, and when that was handed on.
    start: Option<(i64, Duration)>,
    /// When the last record was due.
    last: Duration,
}

impl Pacer {
    /// When the next record is due, whose time is in microseconds.
    pub(super) fn due(&mut self, time: i64, clock: &impl Clock) -> Duration {
        let Some(speed) = self.speed else {
            return Duration::ZERO;
        };
        let (first, start) = *self.start.get_or_insert_with(|| (time, clock.now()));
        let after = u64::try_from(time.saturating_sub(first)).unwrap_or(0);
        let after = Duration::from_micros(after).as_secs_f64() / speed;
        let after = Duration::try_from_secs_f64(after).unwrap_or(Duration::MAX);
        self.last = start.saturating_add(after).max(self.last);
        self.last
    }

    /// Whether a later record is due as well.
    pub(super) fn is_due(&self, time: i64, now: Duration) -> bool {
        let (Some(speed), Some((first, start))) = (self.speed, self.start) else {
            return true;
        };
        let after = u64::try_from(time.saturating_sub(first)).unwrap_or(0);
        let after = Duration::from_micros(after).as_secs_f64() / speed;
        Duration::try_from_secs_f64(after).is_ok_and(|after| start.saturating_add(after) <= now)
    }
}
