//! Tests that need no data: the same answer again, and some answer to odd sessions.

use reco_core::{ItemId, ModelExt, Session};

use super::{BehaviorTest, Measured, Subject};
use crate::error::Result;

/// The share of cases that get the same answer when they are asked again, one by one and not in a batch: 1 is
/// what the contract of a [`Model`](reco_core::Model) promises.
#[derive(Debug, Clone, Copy, Default)]
pub struct Consistency;

impl BehaviorTest for Consistency {
    fn name(&self) -> String {
        "consistency".to_owned()
    }

    fn description(&self) -> String {
        "The share of cases that get the same answer alone as in a batch.".to_owned()
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Measured> {
        let (mut same, mut different) = (0, Vec::new());
        for (case, answer) in subject.answers() {
            if subject.model().recommend(&case.session, subject.k())? == *answer {
                same += 1;
            } else if different.len() < 5 {
                let items: Vec<&str> = case.session.items().iter().map(ItemId::as_str).collect();
                different.push(items.join(" "));
            }
        }
        Ok(Measured::share(same, subject.answers().len()).with_samples(different))
    }
}

/// The share of odd sessions that are taken without an error, and with an answer where the model knows an item.
///
/// They are: empty, of unknown items alone, with an unknown one in between, of one item ten thousand times, of
/// ten thousand items.
#[derive(Debug, Clone, Copy, Default)]
pub struct Robustness;

impl BehaviorTest for Robustness {
    fn name(&self) -> String {
        "robustness".to_owned()
    }

    fn description(&self) -> String {
        "The share of odd sessions (empty, unknown, repeated, endless) that are taken.".to_owned()
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Measured> {
        const MANY: usize = 10_000;
        let unknown = ItemId::from("\u{0}no such item");
        let seen = subject
            .cases()
            .cases()
            .iter()
            .flat_map(|case| case.session.items());
        // One that the model answers to by itself; there may be none.
        let known = subject
            .answers()
            .find(|(case, answer)| case.session.len() == 1 && !answer.is_empty());
        let known = known.and_then(|(case, _)| case.session.items().first());
        let mut odd = vec![
            ("empty", Session::default(), false),
            ("unknown", Session::new(vec![unknown.clone()]), false),
        ];
        if let Some(known) = known {
            let between = vec![known.clone(), unknown, known.clone()];
            odd.push(("with an unknown item", Session::new(between), true));
            odd.push((
                "of one item many times",
                Session::new(vec![known.clone(); MANY]),
                true,
            ));
            odd.push((
                "of many items",
                Session::new(seen.cycle().take(MANY).cloned().collect()),
                true,
            ));
        }
        let taken = |(_, session, answered): &&(&str, Session, bool)| {
            subject
                .ask(std::slice::from_ref(session))
                .is_ok_and(|answer| !answered || !answer[0].is_empty())
        };
        let failed: Vec<String> = odd
            .iter()
            .filter(|odd| !taken(odd))
            .map(|(name, ..)| (*name).to_owned())
            .collect();
        Ok(Measured::share(odd.len() - failed.len(), odd.len()).with_samples(failed))
    }
}
