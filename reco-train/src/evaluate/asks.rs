//! [`Asks`]: what is asked about some sessions of a test set.

use std::ops::Range;

use reco_core::{ItemIdx, Session, SessionDataset, SessionEncoder};

use super::protocol::{Exclude, Protocol, Targets, Unseen};

/// What is asked about some sessions: queries and the items that are relevant to each.
#[derive(Debug, Default)]
pub(super) struct Asks {
    pub(super) asks: Vec<Ask>,
    /// How many items of the sessions, the first of each aside, the model does not know.
    pub(super) n_unseen: u64,
    /// What the model knows of the sessions, one after the other.
    encoded: Vec<ItemIdx>,
    /// `None`: the model cannot answer it.
    relevant: Vec<Option<ItemIdx>>,
    excluded: Vec<ItemIdx>,
}

/// A query. Ranges are of the vectors of [`Asks`].
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// The session of the test set.
    pub(super) session: usize,
    /// The place in it of the first relevant item.
    pub(super) place: usize,
    prefix: Range<usize>,
    relevant: Range<usize>,
    excluded: Range<usize>,
}

impl Asks {
    pub(super) fn of(
        test: &SessionDataset,
        sessions: Range<usize>,
        encoder: &SessionEncoder,
        protocol: Protocol,
    ) -> Self {
        let mut asks = Self::default();
        for session in sessions {
            asks.push_session(test, session, encoder, protocol);
        }
        asks
    }

    pub(super) fn prefix(&self, ask: &Ask) -> &[ItemIdx] {
        &self.encoded[ask.prefix.clone()]
    }

    pub(super) fn relevant(&self, ask: &Ask) -> &[Option<ItemIdx>] {
        &self.relevant[ask.relevant.clone()]
    }

    /// Ascending.
    pub(super) fn excluded(&self, ask: &Ask) -> &[ItemIdx] {
        &self.excluded[ask.excluded.clone()]
    }

    fn push_session(
        &mut self,
        test: &SessionDataset,
        session: usize,
        encoder: &SessionEncoder,
        protocol: Protocol,
    ) {
        let vocabulary = encoder.vocabulary();
        let names = test
            .session(session)
            .iter()
            .map(|&item| test.vocabulary().item(item));
        let start = self.encoded.len();
        self.encoded
            .extend(encoder.encode(&Session::new(names.clone().cloned().collect())));
        let n_encoded = self.encoded.len() - start;

        // Each target: its place in the session, what it is to the model, how much of what the model knows
        // comes before. An encoded session is some of its items in their order.
        let mut targets: Vec<(usize, Option<ItemIdx>, usize)> = Vec::new();
        let mut before = 0;
        for (place, name) in names.enumerate() {
            let item = vocabulary.idx(name.as_str());
            if item.is_some() && self.encoded.get(start + before).copied() == item {
                targets.push((place, item, before));
                before += 1;
            } else if item.is_none() {
                targets.push((place, None, before));
            }
        }
        debug_assert_eq!(
            before, n_encoded,
            "an encoded session is part of the session"
        );
        targets.retain(|(place, ..)| *place > 0);
        self.n_unseen += targets.iter().filter(|target| target.1.is_none()).count() as u64;
        if protocol.unseen == Unseen::Drop {
            targets.retain(|(_, item, before)| item.is_some() && *before > 0);
        }

        let last = targets.len().saturating_sub(1);
        for (nth, &(place, item, before)) in targets.iter().enumerate() {
            let first_relevant = self.relevant.len();
            match protocol.targets {
                Targets::Last if nth < last => continue,
                Targets::Next | Targets::Last => self.relevant.push(item),
                Targets::Remaining => self.push_remaining(&targets[nth..], test.session(session)),
            }
            let prefix = start..start + before;
            let first_excluded = self.excluded.len();
            let left_out = match protocol.exclude {
                Exclude::Nothing => &[],
                Exclude::Last => &self.encoded[prefix.clone()][before.saturating_sub(1)..],
                Exclude::Session => &self.encoded[prefix.clone()],
            };
            let mut left_out = left_out.to_vec();
            left_out.sort_unstable();
            left_out.dedup();
            self.excluded.append(&mut left_out);
            self.asks.push(Ask {
                session,
                place,
                prefix,
                relevant: first_relevant..self.relevant.len(),
                excluded: first_excluded..self.excluded.len(),
            });
        }
    }

    /// The different items among the targets, in their order. Those that the model does not know differ by
    /// what the test set calls them.
    fn push_remaining(&mut self, targets: &[(usize, Option<ItemIdx>, usize)], session: &[ItemIdx]) {
        let mut seen: Vec<ItemIdx> = Vec::with_capacity(targets.len());
        for &(place, item, _) in targets {
            if !seen.contains(&session[place]) {
                seen.push(session[place]);
                self.relevant.push(item);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reco_core::{SessionEncoding, Timestamp, Vocabulary};

    use super::*;

    /// The queries as text: the place, what the model is asked with, what is relevant, what is left out.
    fn check(collapse_repeats: bool, protocol: Protocol, session: &str, expected: &[&str]) {
        let mut builder = SessionDataset::builder(SessionEncoding::default());
        for (second, item) in (0..).zip(session.split_whitespace()) {
            let time = Timestamp::from_second(second).unwrap();
            builder.push("s", item, time).unwrap();
        }
        let test = builder.build().unwrap();
        let vocabulary = Vocabulary::from_counts([("a", 1), ("b", 1), ("c", 1)]).unwrap();
        let encoding = SessionEncoding {
            collapse_repeats,
            ..Default::default()
        };
        let encoder = SessionEncoder::new(encoding, Arc::new(vocabulary)).unwrap();
        let asks = Asks::of(&test, 0..1, &encoder, protocol);
        let name = |item: ItemIdx| encoder.vocabulary().item(item).to_string();
        let text = |ask: &Ask| {
            let prefix: String = asks.prefix(ask).iter().map(|&item| name(item)).collect();
            let relevant = asks.relevant(ask).iter();
            let relevant: String = relevant.map(|item| item.map_or("?".into(), name)).collect();
            let excluded: String = asks.excluded(ask).iter().map(|&item| name(item)).collect();
            format!("{} {prefix}>{relevant} -{excluded}", ask.place)
        };
        let found: Vec<String> = asks.asks.iter().map(text).collect();
        assert_eq!(found, expected, "{session}");
    }

    #[test]
    fn queries_worked_by_hand() {
        let next = Protocol::default();
        check(false, next, "a x b c", &["2 a>b -", "3 ab>c -"]);
        check(false, next, "x a", &[]);
        check(false, next, "a a b", &["1 a>a -", "2 aa>b -"]);
        // What is collapsed is neither context nor target.
        check(true, next, "a a b b a", &["2 a>b -", "4 ab>a -"]);
        let last = Protocol {
            targets: Targets::Last,
            ..next
        };
        check(false, last, "a b c", &["2 ab>c -"]);
        check(false, last, "a b x", &["1 a>b -"]);
        let remaining = Protocol {
            targets: Targets::Remaining,
            ..next
        };
        check(
            false,
            remaining,
            "a b c b",
            &["1 a>bc -", "2 ab>cb -", "3 abc>b -"],
        );
    }

    #[test]
    fn what_is_unseen_is_a_miss_where_asked() {
        let miss = Protocol {
            unseen: Unseen::Miss,
            ..Default::default()
        };
        check(false, miss, "a x b", &["1 a>? -", "2 a>b -"]);
        // Nothing known comes before the `a`.
        check(false, miss, "x a y", &["1 >a -", "2 a>? -"]);
        check(false, miss, "x y", &["1 >? -"]);
        let remaining = Protocol {
            targets: Targets::Remaining,
            ..miss
        };
        check(
            false,
            remaining,
            "a x y x",
            &["1 a>?? -", "2 a>?? -", "3 a>? -"],
        );
        let last = Protocol {
            targets: Targets::Last,
            ..miss
        };
        check(false, last, "a b x", &["2 ab>? -"]);
    }

    #[test]
    fn what_is_excluded_is_of_the_query() {
        let excluding = |exclude| Protocol {
            exclude,
            ..Default::default()
        };
        check(
            false,
            excluding(Exclude::Last),
            "c a b",
            &["1 c>a -c", "2 ca>b -a"],
        );
        check(
            false,
            excluding(Exclude::Session),
            "c a a b",
            &["1 c>a -c", "2 ca>a -ac", "3 caa>b -ac"],
        );
    }
}
