//! [`Minibatches`]: session-parallel mini-batches, and everything random about them.
//!
//! Negatives and dropout masks are drawn here, on the CPU and from one seeded generator, so that every
//! engine is given the same batches.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use reco_core::SessionDataset;

use super::uses::Uses;
use super::weights::{InputMode, Shape};
use super::{Gru4RecConfig, KIND, Loss};
use crate::error::{Error, Result};
use crate::sampling::NegativeSampler;

/// One step of training: a pair of an item and the next for each lane, and what they are scored against.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch {
    /// For each lane, the lane of the batch before whose state it goes on from; `None` where a session
    /// starts, from a state of zeros.
    pub(super) previous: Vec<Option<u32>>,
    /// The item that each lane is at.
    pub(super) sources: Vec<u32>,
    /// What all lanes score: the target of each lane, then the distinct negatives in ascending order.
    pub(super) candidates: Vec<u32>,
    /// The log-weight of each candidate, see [`Loss`].
    pub(super) log_weight: Vec<f32>,
    /// Factors of the inputs, `[n_lanes, input_dim]`; empty without dropout.
    pub(super) embed_mask: Vec<f32>,
    /// Factors of the outputs of each layer, `[n_lanes, dim]`; empty without dropout.
    pub(super) hidden_masks: Vec<Vec<f32>>,
    /// Who touches which row of the table of items: sources and candidates if the input is constrained to
    /// it, else candidates only.
    pub(super) uses: Uses,
    /// Which source touches which row of the table of inputs, if that is another.
    pub(super) source_uses: Uses,
}

impl Batch {
    /// How many lanes still have a session.
    pub(super) const fn n_lanes(&self) -> usize {
        self.sources.len()
    }
}

/// Walks all sessions of two items or more side by side, in the order of the data set.
///
/// Each lane holds a session; a lane whose session ends takes the next one, and is dropped when there is
/// none left.
#[derive(Debug)]
pub(super) struct Minibatches {
    /// The sessions that have a pair, with a vocabulary of their items.
    dataset: SessionDataset,
    sampler: NegativeSampler,
    rng: Xoshiro256PlusPlus,
    shape: Shape,
    batch_size: usize,
    dropout_p_embed: f64,
    dropout_p_hidden: f64,
    /// What an item weighs as a target of the batch, and as a negative that was drawn once.
    target_weight: Vec<f32>,
    negative_weight: Vec<f32>,
    lanes: Vec<Lane>,
    /// The first session that no lane has taken.
    upcoming: usize,
    drawn: Vec<u32>,
    /// How often each item was drawn; all 0 between batches.
    times: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Lane {
    session: usize,
    position: usize,
    previous: Option<u32>,
}

impl Minibatches {
    /// # Errors
    ///
    /// [`Error::NothingToLearn`] if no session has two items.
    pub(super) fn new(train: &SessionDataset, config: &Gru4RecConfig) -> Result<Self> {
        let dataset = train.of_at_least(2).map_err(|error| match error {
            reco_core::Error::EmptyDataset { .. } => Error::NothingToLearn {
                model: KIND,
                reason: "no session of the training set has two items".to_owned(),
            },
            other => other.into(),
        })?;
        let counts = dataset.vocabulary().counts();
        let (target_weight, negative_weight) = log_weights(counts, config);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(config.seed);
        // The first stream of the seed is for the initial weights.
        rng.jump();
        Ok(Self {
            sampler: NegativeSampler::new(counts, config.sample_alpha)?,
            rng,
            shape: config.shape(),
            batch_size: config.batch_size.min(dataset.n_sessions()),
            dropout_p_embed: config.dropout_p_embed,
            dropout_p_hidden: config.dropout_p_hidden,
            target_weight,
            negative_weight,
            lanes: Vec::new(),
            upcoming: 0,
            drawn: vec![0; config.n_sample],
            times: vec![0; counts.len()],
            dataset,
        })
    }

    /// The sessions that are walked: those that have a pair.
    pub(super) const fn dataset(&self) -> &SessionDataset {
        &self.dataset
    }

    /// The most lanes that a batch has.
    pub(super) const fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// The number of pairs in an epoch.
    pub(super) fn n_pairs(&self) -> u64 {
        (self.dataset.n_interactions() - self.dataset.n_sessions()) as u64
    }

    /// What the draws go on from.
    pub(super) const fn rng(&self) -> &Xoshiro256PlusPlus {
        &self.rng
    }

    /// Goes on from other draws.
    pub(super) fn set_rng(&mut self, rng: Xoshiro256PlusPlus) {
        self.rng = rng;
    }

    /// Back to the first sessions; the generator goes on.
    pub(super) fn start_epoch(&mut self) {
        self.lanes.clear();
        self.lanes.extend((0..self.batch_size).map(Lane::start));
        self.upcoming = self.batch_size;
    }

    /// Writes the next batch, or returns false at the end of the epoch.
    pub(super) fn next(&mut self, batch: &mut Batch) -> bool {
        if self.lanes.is_empty() {
            return false;
        }
        let n_lanes = self.lanes.len();
        let item =
            |lane: &Lane, ahead: usize| self.dataset.session(lane.session)[lane.position + ahead].0;
        refill(
            &mut batch.previous,
            self.lanes.iter().map(|lane| lane.previous),
        );
        refill(
            &mut batch.sources,
            self.lanes.iter().map(|lane| item(lane, 0)),
        );
        refill(
            &mut batch.candidates,
            self.lanes.iter().map(|lane| item(lane, 1)),
        );
        let weight = |&target: &u32| self.target_weight[target as usize];
        refill(&mut batch.log_weight, batch.candidates.iter().map(weight));
        self.draw_negatives(batch);
        if self.shape.input == InputMode::Constrained {
            batch.uses.collect(&batch.sources, &batch.candidates);
        } else {
            batch.uses.collect(&[], &batch.candidates);
            batch.source_uses.collect(&batch.sources, &[]);
        }
        let Shape {
            input_dim, layers, ..
        } = &self.shape;
        batch.hidden_masks.resize_with(layers.len(), Vec::new);
        let mut draw = |p, dim, mask| draw_mask(&mut self.rng, p, n_lanes * dim, mask);
        draw(self.dropout_p_embed, input_dim, &mut batch.embed_mask);
        for (mask, dim) in batch.hidden_masks.iter_mut().zip(layers) {
            draw(self.dropout_p_hidden, dim, mask);
        }
        self.advance();
        true
    }

    fn draw_negatives(&mut self, batch: &mut Batch) {
        self.sampler.fill(&mut self.rng, &mut self.drawn);
        let n_targets = batch.candidates.len();
        for &item in &self.drawn {
            let times = &mut self.times[item as usize];
            if *times == 0 {
                batch.candidates.push(item);
            }
            *times += 1;
        }
        batch.candidates[n_targets..].sort_unstable();
        for &item in &batch.candidates[n_targets..] {
            let times = std::mem::take(&mut self.times[item as usize]);
            batch
                .log_weight
                .push(self.negative_weight[item as usize] + (times as f32).ln());
        }
    }

    fn advance(&mut self) {
        let mut lane_idx = 0;
        self.lanes.retain_mut(|lane| {
            lane.previous = Some(lane_idx);
            lane_idx += 1;
            lane.position += 1;
            if lane.position + 1 < self.dataset.session(lane.session).len() {
                return true;
            }
            *lane = Lane::start(self.upcoming);
            self.upcoming += 1;
            lane.session < self.dataset.n_sessions()
        });
    }
}

impl Lane {
    const fn start(session: usize) -> Self {
        Self {
            session,
            position: 0,
            previous: None,
        }
    }
}

fn refill<T>(to: &mut Vec<T>, values: impl Iterator<Item = T>) {
    to.clear();
    to.extend(values);
}

/// Factors that are 0 with probability `p` and else make up for it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "p is in 0..1, and the random bits are cut in two on purpose"
)]
fn draw_mask(rng: &mut impl Rng, p: f64, len: usize, mask: &mut Vec<f32>) {
    if p == 0.0 {
        mask.clear();
        return;
    }
    let threshold = (p * 4_294_967_296.0) as u32;
    let kept = (1.0 / (1.0 - p)) as f32;
    let factor = |bits: u32| if bits < threshold { 0.0 } else { kept };
    mask.resize(len, 0.0);
    for pair in mask.chunks_mut(2) {
        let bits = rng.next_u64();
        pair[0] = factor(bits as u32);
        if let Some(second) = pair.get_mut(1) {
            *second = factor((bits >> 32) as u32);
        }
    }
}

/// `−logq · ln q` of each item as a target and as a negative, equation (6) of the module page.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a logarithm's last bits do not matter"
)]
fn log_weights(counts: &[u64], config: &Gru4RecConfig) -> (Vec<f32>, Vec<f32>) {
    let logq = if config.loss == Loss::CrossEntropy {
        config.logq
    } else {
        0.0
    };
    if logq == 0.0 {
        return (vec![0.0; counts.len()], vec![0.0; counts.len()]);
    }
    // An item without a count is neither target nor negative.
    let ln = |count: u64| (count.max(1) as f64).ln();
    let weigh = |exponent: f64, n_draws: usize| -> Vec<f32> {
        let power = |count: u64| {
            if count > 0 {
                (exponent * ln(count)).exp()
            } else {
                0.0
            }
        };
        let total: f64 = counts.iter().map(|&count| power(count)).sum();
        let ln_expected = |count: u64| exponent * ln(count) - total.ln() + (n_draws as f64).ln();
        counts
            .iter()
            .map(|&count| (-logq * ln_expected(count)) as f32)
            .collect()
    };
    (
        weigh(1.0, config.batch_size),
        weigh(config.sample_alpha, config.n_sample.max(1)),
    )
}

#[cfg(test)]
mod tests {
    use reco_core::{SessionEncoding, Timestamp};

    use super::*;

    /// Sessions of one-letter items, one second apart.
    fn dataset(sessions: &[&str]) -> SessionDataset {
        let mut builder = SessionDataset::builder(SessionEncoding::default());
        for (session, items) in sessions.iter().enumerate() {
            for (position, item) in items.chars().enumerate() {
                let second = i64::try_from(100 * session + position).unwrap();
                let time = Timestamp::from_second(second).unwrap();
                builder
                    .push(&session.to_string(), &item.to_string(), time)
                    .unwrap();
            }
        }
        builder.build().unwrap()
    }

    fn config() -> Gru4RecConfig {
        Gru4RecConfig {
            layer: 3,
            batch_size: 2,
            n_sample: 4,
            ..Gru4RecConfig::default()
        }
    }

    fn batches(dataset: &SessionDataset, config: &Gru4RecConfig) -> Vec<Batch> {
        let mut minibatches = Minibatches::new(dataset, config).unwrap();
        minibatches.start_epoch();
        let mut batch = Batch::default();
        std::iter::from_fn(|| minibatches.next(&mut batch).then(|| batch.clone())).collect()
    }

    #[test]
    fn a_finished_lane_takes_the_next_session_until_none_is_left() {
        // `x` is too short to have a pair.
        let dataset = dataset(&["abc", "de", "x", "fgh", "ab"]);
        let text = |idx: &u32| dataset.vocabulary().items()[*idx as usize].to_string();
        let steps: Vec<String> = batches(&dataset, &config())
            .iter()
            .map(|batch| {
                let n_lanes = batch.n_lanes();
                let pairs = batch
                    .sources
                    .iter()
                    .zip(&batch.candidates[..n_lanes])
                    .zip(&batch.previous);
                let lane = |((source, target), previous): ((&u32, &u32), &Option<u32>)| {
                    let from = previous.map_or_else(|| "new".to_owned(), |lane| lane.to_string());
                    format!("{from}: {}{}", text(source), text(target))
                };
                pairs.map(lane).collect::<Vec<_>>().join(", ")
            })
            .collect();
        assert_eq!(
            steps,
            ["new: ab, new: de", "0: bc, new: fg", "new: ab, 1: gh"]
        );
    }

    #[test]
    fn lanes_without_a_session_are_dropped() {
        let dataset = dataset(&["ab", "abcd"]);
        let previous: Vec<_> = batches(&dataset, &config())
            .into_iter()
            .map(|batch| batch.previous)
            .collect();
        assert_eq!(previous, [vec![None, None], vec![Some(1)], vec![Some(0)]]);
    }

    #[test]
    fn negatives_are_distinct_and_weigh_what_was_drawn() {
        let dataset = dataset(&["aaab", "abab"]);
        let config = Gru4RecConfig {
            logq: 0.0,
            n_sample: 100,
            ..config()
        };
        for batch in batches(&dataset, &config) {
            let n_lanes = batch.n_lanes();
            assert_eq!(batch.candidates[n_lanes..], [0, 1]);
            let times: f32 = batch.log_weight[n_lanes..]
                .iter()
                .map(|weight| weight.exp())
                .sum();
            assert!((times - 100.0).abs() < 1e-3, "{times}");
        }
    }

    #[test]
    fn log_weights_worked_by_hand() {
        // Counts 4 and 1; expected in a batch of 2: 1.6 and 0.4; among 6 draws by the root: 4 and 2.
        let config = Gru4RecConfig {
            logq: 0.5,
            n_sample: 6,
            sample_alpha: 0.5,
            ..config()
        };
        let (target, negative) = log_weights(&[4, 1], &config);
        let check = |found: &[f32], expected: [f64; 2]| {
            for (found, expected) in found.iter().zip(expected) {
                assert!((f64::from(*found) + 0.5 * expected.ln()).abs() < 1e-6);
            }
        };
        check(&target, [1.6, 0.4]);
        check(&negative, [4.0, 2.0]);
        let bpr = Gru4RecConfig {
            loss: Loss::BprMax,
            ..config
        };
        assert_eq!(log_weights(&[4, 1], &bpr).0, [0.0, 0.0]);
    }

    #[test]
    fn masks_keep_the_mean() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut mask = Vec::new();
        draw_mask(&mut rng, 0.4, 100_001, &mut mask);
        assert_eq!(mask.len(), 100_001);
        let mean = mask.iter().sum::<f32>() / 100_001.0;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        draw_mask(&mut rng, 0.0, 10, &mut mask);
        assert!(mask.is_empty());
    }

    #[test]
    fn the_seed_decides() {
        let dataset = dataset(&["abcdefgh", "hgfedcba"]);
        let drawn = |seed| -> Vec<_> {
            let batches = batches(&dataset, &Gru4RecConfig { seed, ..config() });
            batches
                .into_iter()
                .map(|batch| (batch.candidates, batch.hidden_masks))
                .collect()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }

    #[test]
    fn single_items_teach_nothing() {
        let dataset = dataset(&["a", "b"]);
        let error = Minibatches::new(&dataset, &config()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "gru4rec: no session of the training set has two items"
        );
    }
}
