//! [`Cases`]: some queries of the test set, the same for every model; [`Subject`]: a model and its answers.

use std::collections::HashSet;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;
use reco_core::{ItemId, Model, Ranking, Session, SessionDataset};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::rule::{check, within};

/// Sessions that a model is asked with at once.
const BATCH_SIZE: usize = 64;

/// Which queries behavioural tests look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaseConfig {
    /// How many queries at most; a seeded sample where the test set has more. Default 2000.
    pub n_cases: usize,
    /// How many answers to each. Default 20.
    pub k: usize,
    /// Seed of the sample, and of the tests that draw. Default 1.
    pub seed: u64,
}

impl Default for CaseConfig {
    fn default() -> Self {
        Self {
            n_cases: 2000,
            k: 20,
            seed: 1,
        }
    }
}

/// A query: what a shopper saw, and the item that came next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What was seen before; 1 item or more.
    pub session: Session,
    /// What came next.
    pub target: ItemId,
    /// When it came, in microseconds since 1970.
    pub time: i64,
    /// Which session of the test set it is of, from 0.
    pub session_idx: usize,
}

/// Some queries of a test set, the same for every model that is asked, and the training set that tells how
/// popular and how old items are.
#[derive(Debug, Clone)]
pub struct Cases<'a> {
    train: &'a SessionDataset,
    config: CaseConfig,
    cases: Vec<Case>,
}

impl<'a> Cases<'a> {
    /// Every prefix of every test session is a query, of which a sample is drawn; whether a model knows its items
    /// is not asked.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if `n_cases` or `k` is 0.
    pub fn new(
        train: &'a SessionDataset,
        test: &SessionDataset,
        config: CaseConfig,
    ) -> Result<Self> {
        let rules = [
            within("n_cases", config.n_cases, 1..=usize::MAX),
            within("k", config.k, 1..=usize::MAX),
        ];
        check("behavioural tests", rules)?;
        let lengths = test.sessions().map(|session| session.len() - 1);
        let places: Vec<(usize, usize)> = lengths
            .enumerate()
            .flat_map(|(session, n)| (1..=n).map(move |place| (session, place)))
            .collect();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(config.seed);
        // Each is taken with the chance that the rest needs (Knuth's algorithm S), so they stay in order.
        let mut n_wanted = config.n_cases.min(places.len());
        let mut drawn = Vec::with_capacity(n_wanted);
        for position in 0..places.len() {
            if rng.random_range(0..places.len() - position) < n_wanted {
                drawn.push(position);
                n_wanted -= 1;
            }
        }
        let case = |position: usize| {
            let (session, place) = places[position];
            let items = test.decode(session);
            Case {
                session: Session::new(items.items()[..place].to_vec()),
                target: items.items()[place].clone(),
                time: test.times(session)[place],
                session_idx: session,
            }
        };
        Ok(Self {
            train,
            config,
            cases: drawn.into_iter().map(case).collect(),
        })
    }

    /// The queries, in the order of the test set.
    #[must_use]
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// How they were drawn.
    #[must_use]
    pub const fn config(&self) -> CaseConfig {
        self.config
    }

    /// What models have learnt from.
    #[must_use]
    pub const fn train(&self) -> &'a SessionDataset {
        self.train
    }

    /// How often an item was seen in training.
    #[must_use]
    pub fn count(&self, item: &ItemId) -> u64 {
        let vocabulary = self.train.vocabulary();
        vocabulary
            .idx(item.as_str())
            .map_or(0, |item| vocabulary.count(item))
    }
}

/// A model under test, with its answer to each case.
#[derive(Debug)]
pub struct Subject<'a> {
    model: &'a dyn Model,
    cases: &'a Cases<'a>,
    answers: Vec<Ranking>,
}

impl<'a> Subject<'a> {
    /// Asks a model about all cases.
    ///
    /// # Errors
    ///
    /// What the model says, and [`Error::InvalidAnswer`] if its answer breaks the contract of a
    /// [`Model`]: the wrong number of rankings, an item twice, more than `k`, a score that is not finite.
    pub fn new(model: &'a dyn Model, cases: &'a Cases<'a>) -> Result<Self> {
        let sessions: Vec<Session> = cases
            .cases
            .iter()
            .map(|case| case.session.clone())
            .collect();
        let mut subject = Self {
            model,
            cases,
            answers: Vec::new(),
        };
        subject.answers = subject.ask(&sessions)?;
        Ok(subject)
    }

    /// The model.
    #[must_use]
    pub const fn model(&self) -> &'a dyn Model {
        self.model
    }

    /// What it is asked.
    #[must_use]
    pub const fn cases(&self) -> &'a Cases<'a> {
        self.cases
    }

    /// How many answers are asked for.
    #[must_use]
    pub const fn k(&self) -> usize {
        self.cases.config.k
    }

    /// The cases with the model's answers, which may be empty.
    #[must_use]
    pub fn answers(&self) -> impl ExactSizeIterator<Item = (&'a Case, &Ranking)> {
        self.cases.cases.iter().zip(&self.answers)
    }

    /// Asks about other sessions, on the threads of the current rayon pool.
    ///
    /// # Errors
    ///
    /// As [`Subject::new`].
    pub fn ask(&self, sessions: &[Session]) -> Result<Vec<Ranking>> {
        ask(self.model, sessions, self.k())
    }
}

pub(super) fn ask(model: &dyn Model, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
    let batch = |sessions: &[Session]| {
        let rankings = model.recommend_batch(sessions, k)?;
        if rankings.len() != sessions.len() {
            let reason = format!(
                "{} rankings for {} sessions",
                rankings.len(),
                sessions.len()
            );
            return Err(invalid(model, reason));
        }
        rankings
            .iter()
            .try_for_each(|ranking| check_answer(model, ranking, k))?;
        Ok(rankings)
    };
    let batches: Vec<Vec<Ranking>> = sessions
        .par_chunks(BATCH_SIZE)
        .map(batch)
        .collect::<Result<_>>()?;
    Ok(batches.concat())
}

fn check_answer(model: &dyn Model, ranking: &Ranking, k: usize) -> Result<()> {
    if ranking.len() > k {
        return Err(invalid(
            model,
            format!("{} items where {k} were asked for", ranking.len()),
        ));
    }
    let mut seen = HashSet::with_capacity(ranking.len());
    for scored in ranking {
        if !seen.insert(scored.item.as_str()) {
            return Err(invalid(model, format!("item `{}` twice", scored.item)));
        }
        if !scored.score.is_finite() {
            let reason = format!("item `{}` with the score {}", scored.item, scored.score);
            return Err(invalid(model, reason));
        }
    }
    Ok(())
}

fn invalid(model: &dyn Model, reason: String) -> Error {
    Error::InvalidAnswer {
        kind: model.kind().to_owned(),
        reason,
    }
}
