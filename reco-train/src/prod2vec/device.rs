//! The Burn engine: the same examples in batches, on any device.
//!
//! Both tables stay on the device, outside automatic differentiation: the gradient is two lines of algebra,
//! and only the rows that a batch names are read and written.
//!
//! Letters: `b` examples in a batch, `t` targets of an example (the item and its negatives), `w` words of all
//! windows of a batch, `d` dimensions.

use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData, activation};

use super::corpus::{Corpus, Window, initial_vectors};
use super::{Observe, Prod2VecConfig};
use crate::error::{Error, Result};

/// No batch has more examples than this.
const LARGEST_BATCH: usize = 8192;
/// Nor fewer than this, but for the last of an epoch.
const SMALLEST_BATCH: usize = 64;
/// Beyond this, an input and an output do not learn from each other.
const MAX_EXP: f32 = 6.0;

/// Fits the vectors `[n_items, vector_size]`.
///
/// All examples of a batch see the tables as they were before it, and their updates of a row are added up.
/// The batch is as large as the catalogue, within bounds, so that a row gets few of them at once.
///
/// # Errors
///
/// [`Error::Device`] if a result cannot be read back, and what `observe` says.
pub(super) fn fit(
    corpus: &Corpus,
    config: &Prod2VecConfig,
    device: &Device,
    observe: &mut Observe<'_>,
) -> Result<Vec<f32>> {
    let (n_items, dim) = (corpus.n_items(), config.vector_size);
    let initial = TensorData::new(initial_vectors(n_items, config), [n_items, dim]);
    let mut tables = Tables {
        input: Tensor::from_data(initial, device),
        output: Tensor::zeros([n_items, dim], device),
        loss: Tensor::zeros([1], device),
    };
    let batch_size = n_items.clamp(SMALLEST_BATCH, LARGEST_BATCH);
    for epoch in 1..=config.epochs {
        let mut batch = Batch::default();
        let mut buffer = corpus.buffer();
        let mut n_examples = 0_u64;
        for job in corpus.jobs() {
            batch.alpha = corpus.alpha(config, epoch, job);
            let mut rng = job.generator(config.seed, epoch);
            for session in job.sessions() {
                let words = corpus.words(session, &mut rng, &mut buffer);
                for (place, &word) in words.iter().enumerate() {
                    let window: Vec<u32> = Window::draw(words, place, config, &mut rng)
                        .iter()
                        .collect();
                    // Skip-gram is a window of one item at a time.
                    let width = if config.sg { 1 } else { window.len().max(1) };
                    for window in window.chunks(width) {
                        batch.push(window, config, word);
                        corpus.sampler().fill(&mut rng, batch.negatives());
                        n_examples += 1;
                        if batch.n_examples == batch_size {
                            tables.learn(&mut batch, device);
                        }
                    }
                }
            }
        }
        if batch.n_examples > 0 {
            tables.learn(&mut batch, device);
        }
        let loss: f32 = tables
            .loss
            .clone()
            .try_into_scalar()
            .map_err(failed_to_read)?;
        tables.loss = Tensor::zeros([1], device);
        #[expect(clippy::cast_precision_loss, reason = "a mean")]
        let loss = f64::from(loss) / n_examples.max(1) as f64;
        if observe(epoch, loss)?.is_break() {
            break;
        }
    }
    tables.input.try_into_vec_as().map_err(failed_to_read)
}

fn failed_to_read(error: impl std::fmt::Display) -> Error {
    Error::Device {
        operation: "read a result back",
        reason: error.to_string(),
    }
}

/// What is learnt, on the device.
#[derive(Debug)]
struct Tables {
    /// `[n_items, d]`
    input: Tensor<2>,
    /// `[n_items, d]`
    output: Tensor<2>,
    /// The sum of the losses of the epoch's examples: `[1]`.
    loss: Tensor<1>,
}

impl Tables {
    /// One step on all examples of a batch, which is empty then.
    fn learn(&mut self, batch: &mut Batch, device: &Device) {
        let (b, w) = (batch.n_examples, batch.words.len());
        let t = batch.targets.len() / b;
        // The item counts always, a negative unless it is the item itself.
        let (mut labels, mut counts) = (vec![0.0; b * t], vec![1.0; b * t]);
        let examples = batch.targets.chunks_exact(t);
        let of_examples = labels.chunks_exact_mut(t).zip(counts.chunks_exact_mut(t));
        for (targets, (labels, counts)) in examples.zip(of_examples) {
            labels[0] = 1.0;
            for (count, negative) in counts.iter_mut().zip(targets).skip(1) {
                if *negative == targets[0] {
                    *count = 0.0;
                }
            }
        }
        let labels = floats(&labels, [b, t, 1], device);
        let counts = floats(&counts, [b, t, 1], device);
        let [_, d] = self.input.dims();
        let words = ints(&batch.words, device);
        let examples = ints(&batch.examples, device);
        let targets = ints(&batch.targets, device);
        let of_word = floats(&batch.of_word, [w, 1], device);
        let of_gradient = floats(&batch.of_gradient, [w, 1], device);

        // Hidden layer: [b, d]. Scores: [b, t, 1].
        let of_words = self.input.clone().select(0, words.clone()) * of_word;
        let hidden = Tensor::<2>::zeros([b, d], device)
            .select_assign(0, examples.clone(), of_words, IndexingUpdateOp::Add)
            .reshape([b, 1, d]);
        let outputs = self
            .output
            .clone()
            .select(0, targets.clone())
            .reshape([b, t, d]);
        let f = (outputs.clone() * hidden.clone()).sum_dim(2);

        // loss = -ln σ(±f), g = alpha (label - σ(f)) where |f| is below the bound.
        let signs = labels.clone() * 2.0 - 1.0;
        let loss = activation::log_sigmoid(f.clone() * signs) * counts.clone();
        self.loss.inplace(|sum| sum - loss.sum());
        let learns = f.clone().abs().lower_scalar(MAX_EXP).float();
        let g = (labels - activation::sigmoid(f)) * counts * learns * batch.alpha;

        let of_hidden = (outputs * g.clone()).sum_dim(1).reshape([b, d]);
        let of_outputs = (hidden * g).reshape([b * t, d]);
        let of_words = of_hidden.select(0, examples) * of_gradient;
        self.output
            .inplace(|o| o.select_assign(0, targets, of_outputs, IndexingUpdateOp::Add));
        self.input
            .inplace(|i| i.select_assign(0, words, of_words, IndexingUpdateOp::Add));
        batch.clear();
    }
}

fn ints(values: &[u32], device: &Device) -> Tensor<1, Int> {
    // Positions are below the number of rows of a tensor, which is far below 2³¹.
    let values: Vec<i32> = values.iter().map(|&value| value.cast_signed()).collect();
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

fn floats<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

/// Examples, on the host.
#[derive(Debug, Default)]
struct Batch {
    alpha: f32,
    n_examples: usize,
    /// The words of all windows: `[w]`.
    words: Vec<u32>,
    /// The example of each of them: `[w]`.
    examples: Vec<u32>,
    /// What each of them weighs in the hidden layer, and of its gradient: `[w]`.
    of_word: Vec<f32>,
    of_gradient: Vec<f32>,
    /// The item and its negatives: `[b, t]`.
    targets: Vec<u32>,
    n_negatives: usize,
}

impl Batch {
    /// Adds a window against the word in its middle, with room for its negatives.
    fn push(&mut self, window: &[u32], config: &Prod2VecConfig, word: u32) {
        let (of_word, of_gradient) = config.window_weights(window.len());
        self.words.extend(window);
        let n_words = self.words.len();
        #[expect(clippy::cast_possible_truncation, reason = "at most LARGEST_BATCH")]
        self.examples.resize(n_words, self.n_examples as u32);
        self.of_word.resize(n_words, of_word);
        self.of_gradient.resize(n_words, of_gradient);
        self.n_negatives = config.negative;
        self.targets
            .resize(self.targets.len() + 1 + self.n_negatives, word);
        self.n_examples += 1;
    }

    /// The negatives of the last example, to be filled in.
    fn negatives(&mut self) -> &mut [u32] {
        let first = self.targets.len() - self.n_negatives;
        &mut self.targets[first..]
    }

    /// Empties it, and keeps its room.
    fn clear(&mut self) {
        self.n_examples = 0;
        let Self {
            words,
            examples,
            targets,
            of_word,
            of_gradient,
            ..
        } = self;
        [words, examples, targets].into_iter().for_each(Vec::clear);
        [of_word, of_gradient].into_iter().for_each(Vec::clear);
    }
}
