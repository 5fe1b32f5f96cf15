//! [`Inputs`]: what a step sends to the device.
//!
//! The losses are sums over candidates, and a candidate counts by `e^w` of its log-weight `w`. Candidates `c`
//! of the same item have the same score, so an item may stand for all of them with
//!
//! ```text
//! w = ln Σ_c e^{w_c}
//! ```
//!
//! as a negative that was drawn `m` times stands for `m`. Two things are still those of the lane's own
//! candidate `t`: the cross-entropy of its target, `−ln p_t`, is larger by `w − w_t` than that of its item;
//! and among the negatives of BPR-max its item has the weight of the others, `ln Σ_{c ≠ t} e^{w_c}`.

use std::ops::Range;

use burn::tensor::{Device, Element, Int, Tensor, TensorData};

use super::super::batch::Batch;
use super::super::loss::Loss;
use super::super::uses::Uses;
use super::super::weights::{InputMode, Shape};
use super::layout::Row;
use super::objective::Scored;

/// The log-weight of what is no candidate: a weight of 0.
pub(super) const NEVER: f32 = -1e30;
/// Rows come in blocks of so many, and so do the pieces of what is sent: kernels are compiled for few shapes,
/// and a piece that starts at a multiple of 256 bytes is read where it lies.
const BLOCK: usize = 64;

/// A batch of `n` lanes that touches `m` rows of the items' matrix, on the host.
#[derive(Debug)]
pub(super) struct Inputs {
    n_lanes: usize,
    n_rows: usize,
    /// Rows of the inputs' matrix that are touched, if that is another.
    n_input_rows: usize,
    has_negatives: bool,
    /// What is to be added to the loss that the device finds.
    pub(super) loss_offset: f64,
    indices: Pieces<i32>,
    values: Pieces<f32>,
}

/// The same on a device.
#[derive(Debug)]
pub(super) struct OnDevice {
    /// The rows that are touched, ascending and once each; then the spare row, `[m]`.
    pub(super) rows: Tensor<1, Int>,
    /// The lane of the step before that a lane goes on from, or any, `[n]`.
    pub(super) previous: Tensor<1, Int>,
    /// 1 if a lane goes on, 0 if it starts, `[n, 1]`.
    pub(super) goes_on: Tensor<2>,
    /// The rows of the inputs, if they have a matrix of their own.
    pub(super) input_rows: Option<InputRows>,
    /// Positions in the rows of the inputs, or else in `rows`, `[n, 1]`.
    pub(super) sources: Tensor<2, Int>,
    /// Factors of the inputs, `[n, w]` of their width; `None` without dropout.
    pub(super) embed_mask: Option<Tensor<2>>,
    /// Factors of the outputs of each layer, of its width.
    pub(super) hidden_masks: Vec<Option<Tensor<2>>>,
    pub(super) scored: Scored,
}

/// Rows of the inputs' matrix that are touched, as those of the items' are named.
#[derive(Debug)]
pub(super) struct InputRows {
    pub(super) rows: Tensor<1, Int>,
    /// `0..rows`, `[1, rows]`.
    pub(super) positions: Tensor<2, Int>,
}

impl Inputs {
    pub(super) fn new(batch: &Batch, loss: Loss, shape: &Shape, n_items: usize) -> Self {
        let n_lanes = batch.n_lanes();
        // Who uses a row of the items: the sources too, if those rows are the inputs.
        let n_sources = match shape.input {
            InputMode::Constrained => n_lanes,
            InputMode::Embedding | InputMode::OneHot => 0,
        };
        let touched = &batch.uses.rows;
        let n_rows = touched.len().next_multiple_of(BLOCK);
        let mut log_weight = vec![NEVER; n_rows];
        let mut as_negative = vec![0.0; n_lanes];
        let mut position_of = vec![0; n_sources + batch.candidates.len()];
        let mut loss_offset = 0.0;
        for (position, number) in (0..touched.len()).zip(0..) {
            let uses = batch.uses.of(position);
            uses.iter()
                .for_each(|&of| position_of[of as usize] = number);
            // Uses ascend: sources, targets, at most one negative.
            let first = uses.partition_point(|&of| (of as usize) < n_sources);
            let candidates = uses[first..].iter().map(|&of| of as usize - n_sources);
            let weights = candidates.clone().map(|of| batch.log_weight[of]);
            log_weight[position] = merge(weights.clone());
            // Targets come first and weigh the same.
            let others = merge(weights.clone().skip(1));
            for (target, own) in candidates.zip(weights) {
                if target >= n_lanes {
                    break;
                }
                as_negative[target] = others - log_weight[position];
                if loss == Loss::CrossEntropy {
                    loss_offset += f64::from(log_weight[position]) - f64::from(own);
                }
            }
        }

        let (of_sources, of_candidates) = position_of.split_at(n_sources);
        let (input_rows, of_inputs) = if n_sources == 0 {
            positions(&batch.source_uses, n_lanes)
        } else {
            (Vec::new(), of_sources.to_vec())
        };
        let n_input_rows = input_rows.len().next_multiple_of(BLOCK);
        let rows = |touched: &[u32], n_rows: usize| {
            let mut rows: Vec<i32> = touched.iter().map(|row| row.cast_signed()).collect();
            rows.resize(n_rows, index(n_items));
            rows
        };
        let previous = batch.previous.iter();
        let of_targets = &of_candidates[..n_lanes];
        let indices = Pieces::new([
            rows(touched, n_rows),
            (previous.clone().map(|lane| lane.unwrap_or(0).cast_signed())).collect(),
            of_inputs,
            of_targets.to_vec(),
            (0..index(n_rows)).collect(),
            rows(&input_rows, n_input_rows),
            (0..index(n_input_rows)).collect(),
        ]);
        let mask = |mask: &[f32], dim: usize| Row::plain(dim).lay(mask);
        let masks = batch.hidden_masks.iter().zip(&shape.layers);
        let goes_on = previous.map(|lane| f32::from(u8::from(lane.is_some())));
        let values = [
            log_weight,
            as_negative,
            goes_on.collect(),
            mask(&batch.embed_mask, shape.input_dim),
        ];
        let masks = masks.map(|(of_layer, dim)| mask(of_layer, *dim));
        let values = Pieces::new(values.into_iter().chain(masks));
        Self {
            n_lanes,
            n_rows,
            n_input_rows,
            has_negatives: batch.candidates.len() > 1,
            loss_offset,
            indices,
            values,
        }
    }

    pub(super) const fn n_lanes(&self) -> usize {
        self.n_lanes
    }

    /// Two transfers.
    pub(super) fn upload(self, device: &Device) -> OnDevice {
        let (n, m) = (self.n_lanes, self.n_rows);
        let (all, mut ranges) = self.indices.into_data();
        let all = Tensor::<1, Int>::from_data(all, device);
        let mut index = || all.clone().slice(ranges.next().unwrap_or_default());
        let (rows, previous, sources) = (index(), index(), index());
        let (targets, positions) = (index(), index());
        let input_rows = (self.n_input_rows > 0).then(|| InputRows {
            rows: index(),
            positions: index().reshape([1, self.n_input_rows]),
        });
        let (all, mut ranges) = self.values.into_data();
        let all = Tensor::<1>::from_data(all, device);
        let mut column = |shape: [usize; 2]| {
            let range = ranges.next().unwrap_or_default();
            all.clone().slice(range).reshape(shape)
        };
        let (log_weight, as_negative) = (column([1, m]), column([n, 1]));
        let goes_on = column([n, 1]);
        let mut masks = ranges.map(|range| {
            let width = range.len() / n;
            (width > 0).then(|| all.clone().slice(range).reshape([n, width]))
        });
        OnDevice {
            rows,
            previous,
            goes_on,
            input_rows,
            sources: sources.reshape([n, 1]),
            embed_mask: masks.next().flatten(),
            hidden_masks: masks.collect(),
            scored: Scored {
                log_weight,
                targets: targets.reshape([n, 1]),
                as_negative,
                has_negatives: self.has_negatives,
                positions: positions.reshape([1, m]),
            },
        }
    }
}

/// The rows that are used, and the position of each use's among them.
fn positions(uses: &Uses, n_uses: usize) -> (Vec<u32>, Vec<i32>) {
    let mut position_of = vec![0; n_uses];
    for (position, number) in (0..uses.rows.len()).zip(0..) {
        let of_row = uses.of(position).iter();
        of_row.for_each(|&of| position_of[of as usize] = number);
    }
    (uses.rows.clone(), position_of)
}

/// The logarithm of the sum of the weights.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a logarithm's last bits do not matter"
)]
fn merge(mut log_weights: impl Iterator<Item = f32> + Clone) -> f32 {
    let rest = log_weights.clone().skip(1);
    match log_weights.next() {
        None => NEVER,
        Some(first) => {
            // Weights of an item differ little, so any of them will do to keep the sum in bounds.
            let more: f64 = rest.map(|weight| f64::from(weight - first).exp()).sum();
            first + more.ln_1p() as f32
        }
    }
}

fn index(value: usize) -> i32 {
    i32::try_from(value).expect("a row of a tensor that is on a device")
}

/// Arrays that are sent together, each from the start of a block.
#[derive(Debug)]
struct Pieces<T> {
    values: Vec<T>,
    ranges: Vec<Range<usize>>,
}

impl<T: Element + Default> Pieces<T> {
    fn new(pieces: impl IntoIterator<Item = Vec<T>>) -> Self {
        let mut values = Vec::new();
        let ranges = pieces.into_iter().map(|piece| {
            let start = values.len();
            values.extend(piece);
            let end = values.len();
            values.resize(end.next_multiple_of(BLOCK), T::default());
            start..end
        });
        let ranges = ranges.collect();
        Self { values, ranges }
    }

    fn into_data(self) -> (TensorData, std::vec::IntoIter<Range<usize>>) {
        let shape = [self.values.len()];
        (TensorData::new(self.values, shape), self.ranges.into_iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_stands_for_all_its_candidates() {
        // Item 7 is the target of both lanes and a negative, item 3 a source, item 5 a negative.
        let mut batch = Batch {
            previous: vec![None, Some(4)],
            sources: vec![7, 3],
            candidates: vec![7, 7, 5, 7],
            log_weight: [2.0_f32, 2.0, 0.5, 4.0].map(f32::ln).to_vec(),
            ..Batch::default()
        };
        batch.uses.collect(&batch.sources, &batch.candidates);
        let check = |loss: Loss, offset: f64| {
            let shape = Shape {
                input: InputMode::Constrained,
                input_dim: 3,
                layers: vec![3],
            };
            let inputs = Inputs::new(&batch, loss, &shape, 9);
            let indices =
                |piece: usize| &inputs.indices.values[inputs.indices.ranges[piece].clone()];
            let values = |piece: usize| &inputs.values.values[inputs.values.ranges[piece].clone()];
            assert_eq!(indices(0)[..4], [3, 5, 7, 9]);
            assert!(indices(0)[3..].iter().all(|&row| row == 9));
            assert_eq!(indices(1), [0, 4]);
            assert_eq!(indices(2), [2, 0]);
            assert_eq!(indices(3), [2, 2]);
            assert_eq!(indices(4).len(), BLOCK);
            let near = |found: f32, expected: f32| assert!((found - expected).abs() < 1e-6);
            // 7 weighs 2 + 2 + 4, and 2 + 4 without the lane's own.
            near(values(0)[1], 0.5_f32.ln());
            near(values(0)[2], 8.0_f32.ln());
            near(values(1)[0], (6.0_f32 / 8.0).ln());
            near(values(1)[1], (6.0_f32 / 8.0).ln());
            assert!([0, 3].iter().all(|&row| values(0)[row] <= NEVER));
            assert_eq!(values(2).iter().sum::<f32>().to_bits(), 1.0_f32.to_bits());
            assert!((inputs.loss_offset - offset).abs() < 1e-6);
        };
        check(Loss::CrossEntropy, 2.0 * 4.0_f64.ln());
        check(Loss::BprMax, 0.0);
    }
}
