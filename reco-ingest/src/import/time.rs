//! [`TimeFormat`]: how a source writes times.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// How a source writes times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    /// As RFC 3339 says: `2024-05-01T12:00:00Z`.
    Rfc3339,
    /// Seconds since 1970 in UTC, perhaps with a fraction: `1714564800.25`.
    Seconds,
    /// Milliseconds since 1970 in UTC.
    Milliseconds,
    /// Microseconds since 1970 in UTC.
    Microseconds,
    /// By a pattern of `strptime`, as `jiff` reads it: `%Y-%m-%d %H:%M:%S`. Without `%z` it is UTC.
    ///
    /// A time whose zone is given by name alone (`%Q` of `Europe/Berlin`) is refused: what names mean
    /// depends on the machine.
    Strptime(String),
}

impl TimeFormat {
    pub(super) fn parse(&self, text: &str) -> Result<Timestamp, String> {
        match self {
            Self::Rfc3339 => text.parse().map_err(|error: jiff::Error| error.to_string()),
            Self::Seconds => micros(text)
                .and_then(|micros| Timestamp::from_microsecond(micros).ok())
                .ok_or_else(|| "it is no number of seconds".to_owned()),
            Self::Milliseconds => integer(text, Timestamp::from_millisecond),
            Self::Microseconds => integer(text, Timestamp::from_microsecond),
            Self::Strptime(pattern) => by_pattern(pattern, text),
        }
        .and_then(in_range)
    }
}

fn integer(
    text: &str,
    time: impl Fn(i64) -> Result<Timestamp, jiff::Error>,
) -> Result<Timestamp, String> {
    let number = text
        .parse()
        .map_err(|_| "it is no whole number".to_owned())?;
    time(number).map_err(|error| error.to_string())
}

fn by_pattern(pattern: &str, text: &str) -> Result<Timestamp, String> {
    let failed = |error: jiff::Error| error.to_string();
    let parsed = strtime::parse(pattern, text).map_err(failed)?;
    if parsed.offset().is_some() || parsed.timestamp().is_some() {
        return parsed.to_timestamp().map_err(failed);
    }
    if let Some(zone) = parsed.iana_time_zone() {
        return Err(format!("time zone `{zone}` has no offset"));
    }
    // A pattern without a time of day means midnight.
    let time = parsed.to_datetime().map_err(failed)?;
    TimeZone::UTC.to_timestamp(time).map_err(failed)
}

/// Midnight of a date plus seconds, in UTC.
pub(super) fn seconds_into(date: Date, seconds: &str) -> Result<Timestamp, String> {
    let midnight = TimeZone::UTC
        .to_timestamp(date.at(0, 0, 0, 0))
        .map_err(|error| error.to_string())?;
    after(midnight, seconds)
}

/// A time plus seconds.
pub(super) fn after(time: Timestamp, seconds: &str) -> Result<Timestamp, String> {
    let later = micros(seconds)
        .and_then(|micros| time.as_microsecond().checked_add(micros))
        .and_then(|micros| Timestamp::from_microsecond(micros).ok())
        .ok_or_else(|| "it is no number of seconds".to_owned())?;
    in_range(later)
}

// Tables are partitioned by date, and dates are written with four digits.
fn in_range(time: Timestamp) -> Result<Timestamp, String> {
    let year = TimeZone::UTC.to_datetime(time).year();
    if (1..=9999).contains(&year) {
        Ok(time)
    } else {
        Err(format!("{time} is outside of the years 1 to 9999"))
    }
}

// Exact, where a float would not be.
fn micros(seconds: &str) -> Option<i64> {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let (whole_micros, micros) = (
        whole.parse::<i64>().ok()?.checked_mul(1_000_000)?,
        digits.parse::<i64>().ok()?,
    );
    if whole.starts_with('-') {
        whole_micros.checked_sub(micros)
    } else {
        whole_micros.checked_add(micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: &TimeFormat, text: &str, expected: Option<&str>) {
        let found = format.parse(text).ok().map(|time| time.to_string());
        assert_eq!(found.as_deref(), expected, "{format:?} of {text}");
    }

    #[test]
    fn times_are_read_as_declared() {
        use TimeFormat::{Microseconds, Milliseconds, Rfc3339, Seconds, Strptime};
        check(
            &Rfc3339,
            "2024-05-01T14:00:00+02:00",
            Some("2024-05-01T12:00:00Z"),
        );
        check(&Rfc3339, "2024-05-01", None);
        check(&Seconds, "1714564800", Some("2024-05-01T12:00:00Z"));
        check(&Seconds, "1714564800.274", Some("2024-05-01T12:00:00.274Z"));
        check(
            &Seconds,
            "1714564800.2749999",
            Some("2024-05-01T12:00:00.274999Z"),
        );
        check(&Seconds, "-0.5", Some("1969-12-31T23:59:59.5Z"));
        check(&Seconds, "1.", Some("1970-01-01T00:00:01Z"));
        check(&Seconds, "1.-5", None);
        check(&Seconds, "noon", None);
        check(&Seconds, "9223372036854775807", None);
        check(
            &Milliseconds,
            "1714564800025",
            Some("2024-05-01T12:00:00.025Z"),
        );
        check(
            &Microseconds,
            "1714564800000025",
            Some("2024-05-01T12:00:00.000025Z"),
        );
        check(&Milliseconds, "-99999999999999", None);
        let zone = Strptime("%Y-%m-%d %H:%M:%S UTC".to_owned());
        check(
            &zone,
            "2019-10-01 00:00:04 UTC",
            Some("2019-10-01T00:00:04Z"),
        );
        check(&zone, "2019-10-01 00:00:04", None);
        let offset = Strptime("%d.%m.%Y %H:%M %z".to_owned());
        check(
            &offset,
            "01.10.2019 02:00 +0200",
            Some("2019-10-01T00:00:00Z"),
        );
        let zone = Strptime("%Y-%m-%d %H:%M %Q".to_owned());
        check(&zone, "2019-10-01 02:00 Europe/Berlin", None);
        check(
            &zone,
            "2019-10-01 02:00 +0200",
            Some("2019-10-01T00:00:00Z"),
        );
        check(
            &Strptime("%s".to_owned()),
            "1714564800",
            Some("2024-05-01T12:00:00Z"),
        );
        // Minutes without an hour say nothing.
        check(&Strptime("%Y%m%d %M".to_owned()), "20191001 30", None);
        check(
            &Strptime("%Y%m%d".to_owned()),
            "20191001",
            Some("2019-10-01T00:00:00Z"),
        );
    }
}
