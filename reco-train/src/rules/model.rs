//! [`Rules`]: answers from the rules of the last item.

use std::sync::Arc;

use reco_core::{
    DataFingerprint, ItemIdx, Model, ModelArtifact, ModelLoader, Ranking, Result, Session,
    SessionEncoder,
};

use super::mine::Table;
use super::{KIND, RulesConfig};
use crate::evaluate::Scorer;
use crate::neighbours::{self, Neighbourhood, Pool, Scratch};
use crate::rule;

/// The items of the rules, those of one item after the other, the heaviest first: `[n_rules]`.
const ITEMS: &str = "rule_items";
/// The weight of each rule: `[n_rules]`.
const WEIGHTS: &str = "rule_weights";
/// How many rules each item has: `[n_items]`.
const LENGTHS: &str = "rule_lengths";

/// A table of rules, and the answers that it gives; see the [module](super).
///
/// An item scores the weight of its rule. One without a rule scores 0 and is in no ranking; there is none for a
/// session of unknown items.
///
/// # Examples
///
/// ```
/// use std::ops::ControlFlow;
/// use reco_core::{ModelExt, SessionDataset, SessionEncoding, Split};
/// use reco_train::{RulesTrainer, Trainer};
///
/// let mut builder = SessionDataset::builder(SessionEncoding::default());
/// for (second, item) in ["phone", "case", "cable"].into_iter().enumerate() {
///     builder.push("a", item, format!("2024-05-01T10:00:0{second}Z").parse()?)?;
/// }
/// let data = builder.build()?;
/// let split = Split::from_parts(data.clone(), data);
///
/// let model = RulesTrainer::default().fit(&split.train, &mut |_| ControlFlow::Continue(()))?;
/// let ranking = model.recommend(&["phone"].into_iter().collect(), 20)?;
/// let scored: Vec<_> = ranking.iter().map(|s| (s.item.as_str(), s.score)).collect();
/// assert_eq!(scored, [("case", 1.0), ("cable", 0.5)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Rules {
    encoder: SessionEncoder,
    config: RulesConfig,
    data: Option<DataFingerprint>,
    table: Table,
    pool: Pool,
}

impl Rules {
    pub(super) fn new(
        encoder: SessionEncoder,
        config: RulesConfig,
        data: Option<DataFingerprint>,
        table: Table,
    ) -> Self {
        Self {
            encoder,
            config,
            data,
            table,
            pool: Pool::default(),
        }
    }

    /// The hyperparameters.
    #[must_use]
    pub const fn config(&self) -> &RulesConfig {
        &self.config
    }

    /// How many rules there are.
    #[must_use]
    pub const fn n_rules(&self) -> usize {
        self.table.items.len()
    }

    /// The model of an artifact; [`RulesLoader`] gives it as any model.
    ///
    /// # Errors
    ///
    /// As [`ModelLoader::load`].
    pub fn from_artifact(artifact: &ModelArtifact) -> Result<Self> {
        let config = rule::stored(KIND, artifact, RulesConfig::check)?;
        let encoder = artifact.encoder()?;
        let n_items = encoder.vocabulary().len();
        let lengths = artifact.indices(LENGTHS, &[n_items])?;
        let mut offsets = Vec::with_capacity(n_items + 1);
        offsets.push(0);
        let mut n_rules = 0_usize;
        for length in lengths {
            n_rules = n_rules.saturating_add(length as usize);
            offsets.push(n_rules);
        }
        let table = Table {
            offsets,
            items: artifact.indices(ITEMS, &[n_rules])?,
            weights: artifact.tensor(WEIGHTS, &[n_rules])?,
        };
        for item in 0..n_items {
            check(&table, item, n_items)?;
        }
        let data = artifact.manifest().data.clone();
        Ok(Self::new(encoder, config, data, table))
    }

    /// The model as files, for a registry.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`](reco_core::Error::InvalidConfig) if a hyperparameter cannot be written as JSON, and as
    /// [`ModelArtifactBuilder::build`](reco_core::ModelArtifactBuilder::build).
    pub fn to_artifact(&self) -> crate::Result<ModelArtifact> {
        let Table { items, weights, .. } = &self.table;
        let lengths = self.table.lengths();
        neighbours::to_artifact(KIND, &self.encoder, &self.config, self.data.as_ref(), |b| {
            b.indices(ITEMS, &[items.len()], items)
                .indices(LENGTHS, &[lengths.len()], &lengths)
                .tensor(WEIGHTS, &[weights.len()], weights)
        })
    }
}

impl Neighbourhood for Rules {
    fn encoder(&self) -> &SessionEncoder {
        &self.encoder
    }

    fn pool(&self) -> &Pool {
        &self.pool
    }

    fn score(&self, query: &[ItemIdx], scratch: &mut Scratch) {
        let rules = query.last().map(|last| self.table.of(last.get()));
        for (item, weight) in rules.into_iter().flatten() {
            scratch.sums.add(item, f64::from(weight));
        }
    }
}

impl Model for Rules {
    fn kind(&self) -> &str {
        KIND
    }

    fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
        Ok(neighbours::rank(self, sessions, k))
    }
}

impl Scorer for Rules {
    fn encoder(&self) -> &SessionEncoder {
        &self.encoder
    }

    fn score_batch(&self, sessions: &[&[ItemIdx]], scores: &mut [f32]) -> Result<()> {
        neighbours::score_rows(self, sessions, scores);
        Ok(())
    }
}

/// Loads [`Rules`] from their artifact.
#[derive(Debug, Clone, Copy, Default)]
pub struct RulesLoader;

impl ModelLoader for RulesLoader {
    fn kind(&self) -> &str {
        KIND
    }

    fn load(&self, artifact: &ModelArtifact) -> Result<Arc<dyn Model>> {
        Ok(Arc::new(Rules::from_artifact(artifact)?))
    }
}

/// What the rules of every item keep to: weights above 0 in their order, and items of the vocabulary.
fn check(table: &Table, item: usize, n_items: usize) -> Result<()> {
    let sorted = table
        .of(item)
        .is_sorted_by(|a, b| a.1 > b.1 || (a.1 >= b.1 && a.0 < b.0));
    let known = |(to, weight): (u32, f32)| (to as usize) < n_items && weight > 0.0;
    if sorted && table.of(item).all(known) {
        return Ok(());
    }
    let reason = format!("the rules of item {item} are out of order, or of an item of {n_items}");
    Err(neighbours::malformed(reason))
}
