//! A model of word counts that can break each clause of `Model`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reco_core::{
    Error, ItemId, Model, Ranking, Result, Scored, Session, SessionEncoder, SessionEncoding,
    Vocabulary, testing,
};

use super::failure;

/// What the model does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    NoKind,
    RankingLacks,
    DependsOnTheBatch,
    WorstFirst,
    TiesBackwards,
    ItemTwice,
    OneTooMany,
    RoundsUpToOne,
    OtherItemsForSmallK,
    NotFinite,
    UnknownCounts,
    UnknownIsAnError,
    ChangesItsMind,
}

/// Ranks by how near the end of the session an item stands, then by id.
#[derive(Debug)]
struct Recency {
    fault: Option<Fault>,
    encoder: SessionEncoder,
    asked: AtomicUsize,
}

impl Recency {
    fn new(fault: Option<Fault>) -> Self {
        let counts = ["boots", "coat", "hat", "scarf", "tie"].map(|item| (item, 1));
        let vocabulary = Arc::new(Vocabulary::from_counts(counts).unwrap());
        Self {
            fault,
            encoder: SessionEncoder::new(SessionEncoding::default(), vocabulary).unwrap(),
            asked: AtomicUsize::new(0),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn rank(&self, session: &Session, k: usize, n_sessions: usize) -> Result<Ranking> {
        let vocabulary = self.encoder.vocabulary();
        let known = self.encoder.encode(session);
        if self.has(Fault::UnknownIsAnError) && known.len() < session.len() {
            return Err(Error::SinkClosed {
                sink: "model".to_owned(),
            });
        }
        let mut scores = vec![0.0_f32; vocabulary.len()];
        for (place, item) in (1_u8..).zip(&known) {
            scores[item.get()] = f32::from(place);
        }
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        if self.has(Fault::ChangesItsMind) && asked > 40 {
            scores[0] += 100.0;
        }
        if self.has(Fault::DependsOnTheBatch) && n_sessions == 1 {
            scores[1] += 0.5;
        }
        if self.has(Fault::UnknownCounts) && known.len() < session.len() {
            scores[2] += 0.5;
        }
        if self.has(Fault::OtherItemsForSmallK) && k < 3 {
            scores[3] += 100.0;
        }
        let k = match self.fault {
            Some(Fault::OneTooMany) if k > 0 => k.saturating_add(1),
            Some(Fault::RoundsUpToOne) => k.max(1),
            _ => k,
        };
        Ok(Ranking::top_k(vocabulary, &scores, k))
    }

    /// A ranking as only serde can make it: in any order, with anything twice.
    fn spoil(&self, ranking: Ranking) -> Ranking {
        let mut scored: Vec<Scored> = ranking.iter().cloned().collect();
        match self.fault {
            Some(Fault::WorstFirst) => scored.reverse(),
            Some(Fault::TiesBackwards) => {
                scored.iter_mut().for_each(|scored| scored.score = 0.0);
                scored.reverse();
            }
            Some(Fault::ItemTwice) if scored.len() > 1 => scored[1] = scored[0].clone(),
            Some(Fault::NotFinite) if !scored.is_empty() => {
                // Past the range of f32, where a text can still lead.
                let endless = serde_json::json!([{"item": scored[0].item, "score": 1e39}]);
                return serde_json::from_value(endless).unwrap();
            }
            _ => return ranking,
        }
        raw(&scored)
    }
}

fn raw(scored: &[Scored]) -> Ranking {
    serde_json::from_value(serde_json::to_value(scored).unwrap()).unwrap()
}

impl Model for Recency {
    fn kind(&self) -> &str {
        if self.has(Fault::NoKind) {
            ""
        } else {
            "recency"
        }
    }

    fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
        let rank = |session| self.rank(session, k, sessions.len()).map(|r| self.spoil(r));
        let mut rankings = sessions.iter().map(rank).collect::<Result<Vec<_>>>()?;
        if self.has(Fault::RankingLacks) && rankings.len() > 2 {
            rankings.pop();
        }
        Ok(rankings)
    }
}

fn sessions() -> Vec<Session> {
    let session = |items: &[&str]| items.iter().copied().map(ItemId::from).collect();
    vec![
        session(&["hat"]),
        session(&["hat", "scarf", "tie"]),
        session(&["tie", "tie", "boots"]),
    ]
}

#[test]
fn a_right_model_passes() {
    testing::model(&Recency::new(None), &sessions());
    let boxed: Arc<dyn Model> = Arc::new(Recency::new(None));
    testing::model(&*boxed, &sessions());
}

#[test]
fn each_broken_clause_is_named() {
    let check = |fault: Fault, clause: &str| {
        let model = Recency::new(Some(fault));
        let message = failure(|| testing::model(&model, &sessions()));
        assert!(message.contains(clause), "{fault:?}: {message}");
    };
    check(Fault::NoKind, "its kind names its loader");
    check(
        Fault::RankingLacks,
        "one ranking for each session: 3 for 4 sessions",
    );
    check(Fault::DependsOnTheBatch, "the same alone as in a batch");
    check(Fault::WorstFirst, "best first, ties by item id");
    check(Fault::TiesBackwards, "best first, ties by item id");
    check(Fault::ItemTwice, "holds no item twice");
    check(Fault::OneTooMany, "at most k items: 2 for k = 1");
    check(Fault::RoundsUpToOne, "at most k items: 1 for k = 0");
    check(Fault::OtherItemsForSmallK, "the head of the same ranking");
    check(Fault::NotFinite, "the score of an item is finite");
    check(Fault::UnknownCounts, "does not know are skipped");
    check(
        Fault::UnknownIsAnError,
        "an unknown item or an empty session is no error",
    );
    check(
        Fault::ChangesItsMind,
        "the same session gives the same ranking, always",
    );
}

#[test]
fn no_session_is_no_check() {
    let panic = std::panic::catch_unwind(|| testing::model(&Recency::new(None), &[])).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"the suite needs a session"));
}
