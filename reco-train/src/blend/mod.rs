//! [`Blend`]: rankings of several models fused into one.
//!
//! Reciprocal rank fusion (Cormack, Clarke, Büttcher, SIGIR 2009): an item scores
//! `Σ weight / (rank_constant + rank)` over the models that have it among their first
//! [`depth`](BlendConfig::depth). Only ranks count, so models whose scores do not compare can be blended, and
//! none must be calibrated.
//!
//! # When to prefer it
//!
//! When a neighbourhood model and a network are about as good: they err on different sessions, and the fusion
//! is often better than either. [`Popularity`](crate::Popularity) at a small weight fills up what
//! neighbourhood models leave empty. A query costs what those of all models cost.
//!
//! # Artifacts
//!
//! A blend has no artifact: an artifact holds the tensors of one model, and [`Model`] does not say
//! how to write one. Publish each model under its own name, load each by its own loader, and put the blend
//! together from what was loaded; its settings are serde data, for the host's own configuration.

use std::collections::HashMap;
use std::sync::Arc;

use reco_core::{ItemIdx, Model, Ranking, Result, Scored, Session, SessionEncoder, Vocabulary};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::evaluate::Scorer;
use crate::rule::{self, MAX_DRAWS, holds, within};

/// The kind of the model.
const KIND: &str = "blend";

/// The settings of a [`Blend`].
///
/// # Examples
///
/// ```
/// let json = r#"{"weights": [1, 0.5], "depth": 50}"#;
/// let config: reco_train::BlendConfig = reco_core::config_from_json("blend", json)?;
/// assert_eq!(config.rank_constant, 60.0);
/// # Ok::<(), reco_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlendConfig {
    /// What each model counts, in their order; none counts them alike. Default none.
    pub weights: Vec<f64>,
    /// What is added to each rank: the larger, the less the first places stand out. Default 60, the paper's `k`.
    pub rank_constant: f64,
    /// How many items of each model are fused; what is answered does not depend on how many are asked for.
    /// Default 100.
    pub depth: usize,
}

impl Default for BlendConfig {
    fn default() -> Self {
        Self {
            weights: Vec::new(),
            rank_constant: 60.0,
            depth: 100,
        }
    }
}

impl BlendConfig {
    /// Whether each value is one that the fusion of so many models allows.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] names the first that is not.
    pub fn check(&self, n_models: usize) -> crate::Result<()> {
        let n_weights = self.weights.len();
        let one_each = n_weights == 0 || n_weights == n_models;
        let reason = format!("must be none or one for each of {n_models} models, are {n_weights}");
        let worst = self
            .weights
            .iter()
            .copied()
            .find(|w| !(0.0..=1e6).contains(w));
        let sum: f64 = self.weights.iter().sum();
        let constant = self.rank_constant;
        let rules = [
            (
                "models",
                n_models > 0,
                "must be one or more, are none".to_owned(),
            ),
            ("weights", one_each, reason),
            holds(
                "weights",
                worst.unwrap_or_default(),
                worst.is_none(),
                "from 0 to 1000000",
            ),
            holds(
                "weights",
                sum,
                n_weights == 0 || sum > 0.0,
                "above 0 in sum",
            ),
            holds(
                "rank_constant",
                constant,
                (0.0..=1e6).contains(&constant),
                "from 0 to 1000000",
            ),
            within("depth", self.depth, 1..=MAX_DRAWS),
        ];
        rule::check(KIND, rules)
    }
}

/// Several models as one, by reciprocal rank fusion; see the [module](self).
///
/// # Examples
///
/// ```
/// use std::ops::ControlFlow;
/// use std::sync::Arc;
/// use reco_core::{ModelExt, SessionDataset, SessionEncoding, Split};
/// use reco_train::{Blend, BlendConfig, PopularityTrainer, RulesTrainer, Trainer};
///
/// let mut builder = SessionDataset::builder(SessionEncoding::default());
/// for (session, item, second) in [("a", "hat", 0), ("a", "tie", 1), ("b", "scarf", 0), ("c", "scarf", 0)] {
///     builder.push(session, item, format!("2024-05-01T10:00:0{second}Z").parse()?)?;
/// }
/// let data = builder.build()?;
/// let split = Split::from_parts(data.clone(), data);
/// let mut ignore = |_: &_| ControlFlow::Continue(());
///
/// let rules = RulesTrainer::default().fit(&split.train, &mut ignore)?;
/// let popularity = PopularityTrainer.fit(&split.train, &mut ignore)?;
/// let config = BlendConfig { weights: vec![1.0, 0.1], ..Default::default() };
/// let blend = Blend::new(split.train.encoder().clone(), vec![Arc::new(rules), Arc::new(popularity)], config)?;
///
/// // The tie followed the hat; the scarf is the most popular.
/// let ranking = blend.recommend(&["hat"].into_iter().collect(), 2)?;
/// assert_eq!(ranking.items().map(|item| item.as_str()).collect::<Vec<_>>(), ["tie", "scarf"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Blend {
    encoder: SessionEncoder,
    models: Vec<Arc<dyn Model>>,
    config: BlendConfig,
}

impl Blend {
    /// Blends models. `encoder` is that of the data that they were fitted on
    /// ([`ModelArtifact::encoder`](reco_core::ModelArtifact::encoder) of a loaded one); items that it does
    /// not know are not answered.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] as [`BlendConfig::check`].
    pub fn new(
        encoder: SessionEncoder,
        models: Vec<Arc<dyn Model>>,
        config: BlendConfig,
    ) -> Result<Self, Error> {
        config.check(models.len())?;
        Ok(Self {
            encoder,
            models,
            config,
        })
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &BlendConfig {
        &self.config
    }

    /// The models, in the order of their weights.
    #[must_use]
    pub fn models(&self) -> &[Arc<dyn Model>] {
        &self.models
    }

    /// The fused scores of each session's items.
    fn fuse(&self, sessions: &[Session]) -> Result<Vec<HashMap<ItemIdx, f64>>> {
        let mut fused = vec![HashMap::new(); sessions.len()];
        for (place, model) in self.models.iter().enumerate() {
            let weight = self.config.weights.get(place).copied().unwrap_or(1.0);
            if weight <= 0.0 {
                continue;
            }
            let rankings = model.recommend_batch(sessions, self.config.depth)?;
            for (fused, ranking) in fused.iter_mut().zip(&rankings) {
                self.add(ranking, weight, fused);
            }
        }
        Ok(fused)
    }

    #[expect(clippy::cast_precision_loss, reason = "a rank is at most `depth`")]
    fn add(&self, ranking: &Ranking, weight: f64, fused: &mut HashMap<ItemIdx, f64>) {
        for (rank, item) in (1_usize..).zip(ranking.items()) {
            if let Some(item) = self.encoder.vocabulary().idx(item.as_str()) {
                let score = weight / (self.config.rank_constant + rank as f64);
                *fused.entry(item).or_default() += score;
            }
        }
    }
}

impl Model for Blend {
    fn kind(&self) -> &str {
        KIND
    }

    fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
        let vocabulary = self.encoder.vocabulary();
        let rank = |fused: HashMap<ItemIdx, f64>| {
            let mut ranking: Ranking = fused.into_iter().map(|s| scored(vocabulary, s)).collect();
            ranking.truncate(k);
            ranking
        };
        Ok(self.fuse(sessions)?.into_iter().map(rank).collect())
    }
}

impl Scorer for Blend {
    fn encoder(&self) -> &SessionEncoder {
        &self.encoder
    }

    fn score_batch(&self, sessions: &[&[ItemIdx]], scores: &mut [f32]) -> Result<()> {
        let vocabulary = self.encoder.vocabulary();
        let decode = |items: &&[ItemIdx]| -> Session {
            let items = items.iter();
            items.map(|&item| vocabulary.item(item).clone()).collect()
        };
        let decoded: Vec<Session> = sessions.iter().map(decode).collect();
        let fused = self.fuse(&decoded)?;
        scores.fill(0.0);
        for (fused, row) in fused
            .iter()
            .zip(scores.chunks_exact_mut(vocabulary.len().max(1)))
        {
            for (item, score) in fused {
                row[item.get()] = narrow(*score);
            }
        }
        Ok(())
    }
}

fn scored(vocabulary: &Vocabulary, (item, score): (ItemIdx, f64)) -> Scored {
    Scored {
        item: vocabulary.item(item).clone(),
        score: narrow(score),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
fn narrow(score: f64) -> f32 {
    score as f32
}
