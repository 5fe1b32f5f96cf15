//! [`Weights`]: what is learnt.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use reco_core::Vocabulary;

use super::{Prod2Vec, Prod2VecConfig};

/// What is learnt: vectors of inputs, which are the model, and of outputs, which it is learnt against.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weights {
    /// `[n_items, vector_size]`; gensim's `wv`.
    pub(super) vectors: Vec<f32>,
    /// The outputs of negative sampling: `[n_items, vector_size]`, nothing without negatives; gensim's
    /// `syn1neg`.
    pub(super) outputs: Vec<f32>,
    /// The outputs of hierarchical softmax, one for each inner node of the tree: `[n_nodes, vector_size]`,
    /// nothing without it; gensim's `syn1`.
    pub(super) nodes: Vec<f32>,
}

impl Weights {
    /// The weights before the first epoch: vectors uniform in ±1 / `vector_size`, as in gensim 4, and zeros.
    #[expect(
        clippy::cast_precision_loss,
        reason = "24 random bits, and a number of dimensions"
    )]
    pub(super) fn new(n_items: usize, config: &Prod2VecConfig) -> Self {
        let dim = config.vector_size;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(config.seed);
        let scale = 1.0 / dim as f32;
        let uniform = |_| ((rng.next_u32() >> 8) as f32 / 8_388_608.0 - 1.0) * scale;
        let zeros = |n_rows: usize| vec![0.0; n_rows * dim];
        Self {
            vectors: (0..n_items * dim).map(uniform).collect(),
            outputs: zeros(if config.negative > 0 { n_items } else { 0 }),
            nodes: zeros(if config.hs { n_items - 1 } else { 0 }),
        }
    }

    /// Takes over what an earlier model has learnt of the items of a vocabulary. The outputs of a tree stay as
    /// they are, as it is another tree.
    pub(super) fn take_over(&mut self, earlier: &Prod2Vec, vocabulary: &Vocabulary) {
        let dim = earlier.config().vector_size;
        for (place, item) in vocabulary.items().iter().enumerate() {
            let Some(idx) = earlier.vocabulary().idx(item.as_str()) else {
                continue;
            };
            let (vector, output) = earlier.weights(idx);
            self.vectors[place * dim..][..dim].copy_from_slice(vector);
            if let (Some(output), false) = (output, self.outputs.is_empty()) {
                self.outputs[place * dim..][..dim].copy_from_slice(output);
            }
        }
    }
}
