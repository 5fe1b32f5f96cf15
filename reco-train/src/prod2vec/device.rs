//! The Burn engine: the same examples in batches, on any device.
//!
//! Both tables stay on the device, outside automatic differentiation: the gradient is two lines of algebra,
//! and only the rows that a batch names are read and written. The host draws the batches ahead, on a thread
//! of its own.
//!
//! Letters: `b` examples in a batch, `t` targets of an example (the item and its negatives), `w` words of all
//! windows of a batch (one of each example for skip-gram, which learns from one at a time), `d` dimensions.

use std::sync::mpsc::{SyncSender, sync_channel};

use burn::tensor::{Device, Int, Tensor, TensorData, activation};

use super::corpus::Corpus;
use super::logistic::MAX_EXP;
use super::plan::Plan;
use super::weights::Weights;
use super::{KIND, Observe, Prod2VecConfig};
use crate::error::{Error, Result};
use crate::rows::RowWriter;

/// No batch has more examples than this.
const LARGEST_BATCH: usize = 8192;
/// Nor fewer than this, but for the last of an epoch.
const SMALLEST_BATCH: usize = 64;
/// Batches that are drawn ahead of the device.
const N_AHEAD: usize = 4;
/// Batches between two readings of the loss, which keep the host from running ahead without bound.
const BATCHES_PER_READ: u64 = 128;

/// Fits the weights, from what they are at the start.
///
/// All examples of a batch see the tables as they were before it, and their updates of a row are added up.
/// The batch is as large as the catalogue, within bounds, so that a row gets few of them at once.
///
/// # Errors
///
/// [`Error::NotOnEngine`] for hierarchical softmax: every example of a batch would move the nodes near the root;
/// [`Error::Device`] if a result cannot be read back; and what `observe` says.
pub(super) fn fit(
    corpus: &Corpus,
    config: &Prod2VecConfig,
    device: &Device,
    weights: Weights,
    observe: &mut Observe<'_>,
) -> Result<Weights> {
    if config.hs {
        return Err(Error::NotOnEngine {
            model: KIND,
            engine: "burn",
            what: "hierarchical softmax",
        });
    }
    let mut tables = Tables::new(weights, config, device);
    for epoch in 1..=config.epochs {
        let (n_examples, loss) = std::thread::scope(|scope| {
            let (drawn, batches) = sync_channel(N_AHEAD);
            scope.spawn(move || draw(corpus, config, epoch, &drawn));
            let (mut n_examples, mut loss) = (0_u64, 0.0);
            for (batch, number) in batches.into_iter().zip(1_u64..) {
                n_examples += batch.n_examples as u64;
                tables.learn(batch, device);
                if number % BATCHES_PER_READ == 0 {
                    loss += tables.take_loss(device)?;
                }
            }
            Ok::<_, Error>((n_examples, loss + tables.take_loss(device)?))
        })?;
        #[expect(clippy::cast_precision_loss, reason = "a mean")]
        let loss = loss / n_examples.max(1) as f64;
        if observe(epoch, loss)?.is_break() {
            break;
        }
    }
    let read = |table: Tensor<2>| table.try_into_vec_as().map_err(failed_to_read);
    Ok(Weights {
        vectors: read(tables.input)?,
        outputs: read(tables.output)?,
        nodes: Vec::new(),
    })
}

/// Sends all examples of an epoch, in batches, as long as anybody takes them.
fn draw(corpus: &Corpus, config: &Prod2VecConfig, epoch: u32, drawn: &SyncSender<Batch>) {
    let batch_size = corpus.n_items().clamp(SMALLEST_BATCH, LARGEST_BATCH);
    let mut batch = Batch::new(config, batch_size);
    let (mut plan, mut near) = (Plan::default(), Vec::new());
    for job in corpus.jobs() {
        batch.alpha = corpus.alpha(config, epoch, job);
        plan.draw(corpus, job, config, epoch, 1);
        for window in (0..plan.len()).filter_map(|place| plan.get(place)) {
            near.clear();
            near.extend(window.iter());
            // Skip-gram is a window of one item at a time.
            let width = if config.sg { 1 } else { near.len() };
            for (example, words) in near.chunks(width).enumerate() {
                let own = if config.sg && !config.share_negatives {
                    example * config.negative
                } else {
                    0
                };
                let negatives = &window.negatives[own..][..config.negative];
                batch.push(words, config, window.word, negatives);
                if batch.n_examples == batch_size {
                    let mut next = Batch::new(config, batch_size);
                    next.alpha = batch.alpha;
                    if drawn.send(std::mem::replace(&mut batch, next)).is_err() {
                        return;
                    }
                }
            }
        }
    }
    if batch.n_examples > 0 {
        // It does not matter here whether anybody listens.
        drop(drawn.send(batch));
    }
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
    /// The sum of the losses of the examples since it was last taken: `[1]`.
    loss: Tensor<1>,
    /// 1 for the item, 0 for a negative: `[1, t, 1]`.
    labels: Tensor<3>,
    rows: RowWriter,
}

impl Tables {
    fn new(weights: Weights, config: &Prod2VecConfig, device: &Device) -> Self {
        let dim = config.vector_size;
        let shape = [weights.vectors.len() / dim, dim];
        let mut labels = vec![0.0; 1 + config.negative];
        labels[0] = 1.0;
        let labels = TensorData::new(labels, [1, 1 + config.negative, 1]);
        Self {
            input: Tensor::from_data(TensorData::new(weights.vectors, shape), device),
            output: Tensor::from_data(TensorData::new(weights.outputs, shape), device),
            loss: Tensor::zeros([1], device),
            labels: Tensor::from_data(labels, device),
            rows: RowWriter::of(device),
        }
    }

    fn take_loss(&mut self, device: &Device) -> Result<f64> {
        let loss = std::mem::replace(&mut self.loss, Tensor::zeros([1], device));
        let loss: f32 = loss.try_into_scalar().map_err(failed_to_read)?;
        Ok(f64::from(loss))
    }

    /// One step on all examples of a batch.
    fn learn(&mut self, batch: Batch, device: &Device) {
        let Batch {
            alpha,
            n_examples: b,
            words,
            windows,
            targets,
        } = batch;
        let ([_, d], t) = (self.input.dims(), targets.len() / b);
        let (words, targets) = (ints(words, device), ints(targets, device));
        let windows = windows.map(|windows| windows.upload(device));

        // Hidden layer: [b, d]. Scores: [b, t, 1].
        let of_words = self.input.clone().select(0, words.clone());
        let hidden = match &windows {
            None => of_words,
            Some((examples, of_word, _)) => {
                let mut sums = Tensor::zeros([b, d], device);
                self.rows
                    .add(&mut sums, examples, of_words * of_word.clone());
                sums
            }
        }
        .reshape([b, 1, d]);
        let outputs = self.output.clone().select(0, targets.clone());
        let outputs = outputs.reshape([b, t, d]);
        let f = (outputs.clone() * hidden.clone()).sum_dim(2);

        // loss = -ln σ(±f), g = alpha (label - σ(f)) where |f| is below the bound. The item counts always, a
        // negative unless it is the item itself.
        let labels = self.labels.clone();
        let of_example = targets.clone().reshape([b, t, 1]);
        let is_item = of_example.clone().equal(of_example.narrow(1, 0, 1)).float();
        let counts = labels.clone() - is_item + 1.0;
        let signs = labels.clone() * 2.0 - 1.0;
        let loss = activation::log_sigmoid(f.clone() * signs) * counts.clone();
        self.loss.inplace(|sum| sum - loss.sum());
        let learns = f.clone().abs().lower_scalar(MAX_EXP).float();
        let g = (labels - activation::sigmoid(f)) * counts * learns * alpha;

        let of_outputs = (hidden * g.clone()).reshape([b * t, d]);
        let of_hidden = (outputs * g).sum_dim(1).reshape([b, d]);
        let of_words = match windows {
            None => of_hidden,
            Some((examples, _, of_gradient)) => of_hidden.select(0, examples) * of_gradient,
        };
        self.rows.add(&mut self.output, &targets, of_outputs);
        self.rows.add(&mut self.input, &words, of_words);
    }
}

fn ints(values: Vec<u32>, device: &Device) -> Tensor<1, Int> {
    // Positions are below the number of rows of a tensor, which is far below 2³¹.
    let values: Vec<i32> = values.into_iter().map(u32::cast_signed).collect();
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

/// Examples, on the host.
#[derive(Debug)]
struct Batch {
    alpha: f32,
    n_examples: usize,
    /// The words of all windows: `[w]`.
    words: Vec<u32>,
    /// The windows of CBOW; a skip-gram has one word in each.
    windows: Option<Windows>,
    /// The item and its negatives: `[b, t]`.
    targets: Vec<u32>,
}

/// How the words of CBOW are those of examples.
#[derive(Debug, Default)]
struct Windows {
    /// The example of each word: `[w]`.
    examples: Vec<u32>,
    /// What each word weighs in the hidden layer, and of its gradient: `[w]`.
    of_word: Vec<f32>,
    of_gradient: Vec<f32>,
}

impl Batch {
    fn new(config: &Prod2VecConfig, batch_size: usize) -> Self {
        Self {
            alpha: 0.0,
            n_examples: 0,
            words: Vec::with_capacity(batch_size),
            windows: (!config.sg).then(Windows::default),
            targets: Vec::with_capacity(batch_size * (1 + config.negative)),
        }
    }

    /// Adds words against the word in their middle and its negatives.
    fn push(&mut self, words: &[u32], config: &Prod2VecConfig, middle: u32, negatives: &[u32]) {
        self.words.extend(words);
        if let Some(windows) = &mut self.windows {
            let n_words = self.words.len();
            let (of_word, of_gradient) = config.window_weights(words.len());
            #[expect(clippy::cast_possible_truncation, reason = "at most LARGEST_BATCH")]
            windows.examples.resize(n_words, self.n_examples as u32);
            windows.of_word.resize(n_words, of_word);
            windows.of_gradient.resize(n_words, of_gradient);
        }
        self.n_examples += 1;
        self.targets.push(middle);
        self.targets.extend(negatives);
    }
}

impl Windows {
    /// The examples, `[w]`, and the weights of the words and of their gradients, `[w, 1]` each.
    fn upload(self, device: &Device) -> (Tensor<1, Int>, Tensor<2>, Tensor<2>) {
        let column = |values: Vec<f32>| {
            let n = values.len();
            Tensor::from_data(TensorData::new(values, [n, 1]), device)
        };
        let (of_word, of_gradient) = (column(self.of_word), column(self.of_gradient));
        (ints(self.examples, device), of_word, of_gradient)
    }
}
