//! [`Every`] and [`Interval`]: time, cut into pieces.

use std::fmt;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

/// The length of an interval. All are of UTC, so that none is skipped or doubled when clocks change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Every {
    /// From the full hour.
    Hour,
    /// From midnight.
    #[default]
    Day,
    /// From Monday, as in ISO 8601.
    Week,
    /// From the first.
    Month,
}

/// A span of time from `start` up to and without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// The first time that is inside.
    pub start: Timestamp,
    /// The first time after it that is not.
    pub end: Timestamp,
}

impl Every {
    /// The start of the interval that holds a time; none at the edge of what can be told.
    #[must_use]
    pub fn floor(self, time: Timestamp) -> Option<Timestamp> {
        let second = time.as_second();
        if self == Self::Hour {
            return Timestamp::from_second(second.div_euclid(3_600) * 3_600).ok();
        }
        let date = time.to_zoned_datetime(TimeZone::UTC).date();
        let date = match self {
            Self::Hour | Self::Day => date,
            Self::Week => {
                let since_monday = date.weekday().since(Weekday::Monday);
                date.checked_sub(i64::from(since_monday).days()).ok()?
            }
            Self::Month => date.first_of_month(),
        };
        midnight(date)
    }

    /// The interval that begins at a time, which is the start of one.
    fn beginning_at(self, start: Timestamp) -> Option<Interval> {
        let end = if self == Self::Hour {
            start.checked_add(SignedDuration::from_hours(1)).ok()?
        } else {
            let date = start.to_zoned_datetime(TimeZone::UTC).date();
            let next = match self {
                Self::Hour | Self::Day => date.checked_add(1.day()),
                Self::Week => date.checked_add(1.week()),
                Self::Month => date.checked_add(1.month()),
            };
            midnight(next.ok()?)?
        };
        Some(Interval { start, end })
    }

    /// The intervals from the one that holds `begin` to the last one that has ended by `until`.
    pub fn intervals(self, begin: Timestamp, until: Timestamp) -> impl Iterator<Item = Interval> {
        let first = self.floor(begin).and_then(|start| self.beginning_at(start));
        let next = move |interval: &Interval| self.beginning_at(interval.end);
        std::iter::successors(first, next).take_while(move |interval| interval.end <= until)
    }
}

fn midnight(date: Date) -> Option<Timestamp> {
    let zoned = date.to_zoned_datetime(TimeZone::UTC).ok()?;
    Some(zoned.timestamp())
}

impl Interval {
    /// Whether a time is inside.
    #[must_use]
    pub fn contains(&self, time: Timestamp) -> bool {
        self.start <= time && time < self.end
    }

    /// Whether some time is inside of both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        })
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn starts(every: Every, begin: &str, until: &str) -> Vec<String> {
        let intervals = every.intervals(time(begin), time(until));
        intervals
            .map(|interval| interval.start.to_string())
            .collect()
    }

    #[test]
    fn intervals_are_those_of_the_calendar() {
        assert_eq!(
            starts(Every::Hour, "2024-05-01T10:59:00Z", "2024-05-01T12:59:59Z"),
            ["2024-05-01T10:00:00Z", "2024-05-01T11:00:00Z"]
        );
        assert_eq!(
            starts(Every::Day, "2024-02-28T10:00:00Z", "2024-03-01T00:00:00Z"),
            ["2024-02-28T00:00:00Z", "2024-02-29T00:00:00Z"]
        );
        // The first of May 2024 is a Wednesday.
        assert_eq!(
            starts(Every::Week, "2024-05-01T00:00:00Z", "2024-05-13T00:00:00Z"),
            ["2024-04-29T00:00:00Z", "2024-05-06T00:00:00Z"]
        );
        assert_eq!(
            starts(Every::Month, "1969-12-31T23:59:59Z", "1970-03-30T00:00:00Z"),
            [
                "1969-12-01T00:00:00Z",
                "1970-01-01T00:00:00Z",
                "1970-02-01T00:00:00Z"
            ]
        );
        // One that has not ended is not there.
        assert!(starts(Every::Day, "2024-05-01T00:00:00Z", "2024-05-01T23:59:59Z").is_empty());
    }

    proptest! {
        #[test]
        fn each_time_is_in_one_interval(
            second in -4_000_000_000_i64..4_000_000_000,
            every in prop_oneof![
                Just(Every::Hour), Just(Every::Day), Just(Every::Week), Just(Every::Month)
            ],
        ) {
            let time = Timestamp::from_second(second).unwrap();
            let start = every.floor(time).unwrap();
            let interval = every.beginning_at(start).unwrap();
            prop_assert!(interval.contains(time));
            prop_assert_eq!(every.floor(interval.end).unwrap(), interval.end);
            prop_assert_eq!(every.floor(start).unwrap(), start);
        }
    }

    #[test]
    fn the_edges_of_time_end_quietly() {
        for every in [Every::Hour, Every::Day, Every::Week, Every::Month] {
            assert!(every.intervals(Timestamp::MAX, Timestamp::MAX).count() <= 1);
            assert!(every.intervals(Timestamp::MIN, Timestamp::MIN).count() <= 1);
        }
    }
}
