//! [`TimeFormat`]: how a source writes times.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
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
            Self::Rfc3339 => match utc(text.as_bytes()) {
                Some(time) => Ok(time),
                None => text.parse().map_err(|error: jiff::Error| error.to_string()),
            },
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

// The form in which most are written, `2024-05-01T12:00:00Z` with up to six digits of a fraction; none for
// every other, valid or not.
fn utc(text: &[u8]) -> Option<Timestamp> {
    let number = |from: usize, n: usize| -> Option<i16> {
        text.get(from..from + n)?
            .iter()
            .try_fold(0, |number, byte| {
                byte.is_ascii_digit()
                    .then(|| number * 10 + i16::from(byte - b'0'))
            })
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if !marks.iter().all(|(at, mark)| text.get(*at) == Some(mark)) {
        return None;
    }
    let small = |from: usize| number(from, 2).and_then(|number| i8::try_from(number).ok());
    let date = Date::new(number(0, 4)?, small(5)?, small(8)?).ok()?;
    let (hour, minute, second) = (small(11)?, small(14)?, small(17)?);
    let (digits, zone) = match text.get(19..)?.split_last()? {
        (zone, [b'.', digits @ ..]) if (1..=6).contains(&digits.len()) => (digits, zone),
        (zone, []) => (&[][..], zone),
        _ => return None,
    };
    // A leap second is left to the library.
    if *zone != b'Z' || second > 59 {
        return None;
    }
    let micros = (0..6).try_fold(0_i32, |micros, at| {
        let digit = digits.get(at).copied().unwrap_or(b'0');
        digit
            .is_ascii_digit()
            .then(|| micros * 10 + i32::from(digit - b'0'))
    })?;
    let time = date.to_datetime(Time::new(hour, minute, second, micros * 1000).ok()?);
    TimeZone::UTC.to_timestamp(time).ok()
}

// Tables are partitioned by date, and dates are written with four digits.
fn in_range(time: Timestamp) -> Result<Timestamp, String> {
    const FIRST_SECOND: i64 = -62_135_596_800;
    // The last second of 9999 is beyond what a timestamp holds in every zone.
    if time.as_second() >= FIRST_SECOND {
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
    use proptest::prelude::*;

    use super::*;

    fn check(format: &TimeFormat, text: &str, expected: Option<&str>) {
        let found = format.parse(text).ok().map(|time| time.to_string());
        assert_eq!(found.as_deref(), expected, "{format:?} of {text}");
    }

    proptest! {
        // The short way says what the library says, of texts that are nearly times too.
        #[test]
        fn the_short_way_is_no_other(
            text in r"(2024|0001|9999|-001)-(02|05|12|13)-(01|29|30|31)T(00|12|23|24):(00|59|60):(00|59|60)(\.[0-9]{1,9}|\.|,5|\.5a|)(Z|z|\+00:00|)"
        ) {
            if let Some(time) = utc(text.as_bytes()) {
                prop_assert_eq!(Some(time), text.parse().ok());
            }
        }
    }

    #[test]
    fn the_short_way_is_taken() {
        for text in [
            "2024-05-01T12:00:00Z",
            "2024-05-01T12:00:00.5Z",
            "2024-02-29T23:59:59.000001Z",
        ] {
            assert_eq!(utc(text.as_bytes()), text.parse().ok(), "{text}");
            assert!(utc(text.as_bytes()).is_some(), "{text}");
        }
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
        check(&Rfc3339, "0000-12-31T23:59:59Z", None);
        check(
            &Rfc3339,
            "0001-01-01T00:00:00Z",
            Some("0001-01-01T00:00:00Z"),
        );
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
