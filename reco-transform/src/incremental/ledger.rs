//! [`Ledger`]: which intervals of a table are done, and of what they were made.

use serde::{Deserialize, Serialize};

use super::Interval;

/// Which intervals of a table are done, and of what they were made, in the order of time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ledger {
    entries: Vec<LedgerEntry>,
}

/// An interval that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The interval.
    #[serde(flatten)]
    pub interval: Interval,
    /// What was in the inputs that are known to the interval: those that are read whole, and those that
    /// are made interval by interval. None if that cannot be told.
    pub known: Option<String>,
    /// What was in the inputs of which nobody can tell which intervals changed. None if that cannot be
    /// told.
    pub moving: Option<String>,
    /// How many later intervals had ended when it was made of these.
    pub n_later: u32,
}

impl Ledger {
    /// The intervals that are done, in the order of time.
    #[must_use]
    pub fn entries(&self) -> &[LedgerEntry] {
        &self.entries
    }

    /// Whether no interval is done.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is known of an interval, if it is done.
    #[must_use]
    pub fn get(&self, interval: Interval) -> Option<&LedgerEntry> {
        let at = self.position(interval).ok()?;
        Some(&self.entries[at])
    }

    /// The entries of which some time is in a span.
    pub fn overlapping(&self, span: Interval) -> impl Iterator<Item = &LedgerEntry> {
        let first = self
            .entries
            .partition_point(|entry| entry.interval.end <= span.start);
        let rest = self.entries[first..].iter();
        rest.take_while(move |entry| entry.interval.start < span.end)
    }

    /// Enters an interval that is done, in place of what was known of it.
    pub(crate) fn enter(&mut self, entry: LedgerEntry) {
        match self.position(entry.interval) {
            Ok(at) => self.entries[at] = entry,
            Err(at) => self.entries.insert(at, entry),
        }
    }

    fn position(&self, interval: Interval) -> Result<usize, usize> {
        self.entries
            .binary_search_by(|entry| entry.interval.cmp(&interval))
    }
}

#[cfg(test)]
mod tests {
    use reco_core::Timestamp;

    use super::*;
    use crate::incremental::Every;

    #[test]
    fn entries_are_kept_in_the_order_of_time_and_found_by_it() {
        let day = |n: i64| Timestamp::from_second(n * 86_400).unwrap();
        let days: Vec<Interval> = Every::Day.intervals(day(0), day(4)).collect();
        let entry = |interval, known: &str| LedgerEntry {
            interval,
            known: Some(known.to_owned()),
            moving: None,
            n_later: 0,
        };
        let mut ledger = Ledger::default();
        for at in [3, 0, 2, 0] {
            ledger.enter(entry(days[at], &at.to_string()));
        }
        ledger.enter(entry(days[2], "again"));
        let known: Vec<_> = ledger
            .entries()
            .iter()
            .map(|entry| entry.known.as_deref())
            .collect();
        assert_eq!(known, [Some("0"), Some("again"), Some("3")]);
        assert_eq!(ledger.get(days[1]), None);

        let of = |start, end| {
            let span = Interval {
                start: day(start),
                end: day(end),
            };
            let starts = ledger.overlapping(span).map(|entry| entry.interval.start);
            starts
                .map(|start| start.as_second() / 86_400)
                .collect::<Vec<_>>()
        };
        assert_eq!(of(0, 4), [0, 2, 3]);
        assert_eq!(of(1, 3), [2]);
        assert_eq!(of(1, 2), [0; 0]);
        assert_eq!(of(-9, 1), [0]);

        let text = serde_json::to_string(&ledger).unwrap();
        assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
    }
}
