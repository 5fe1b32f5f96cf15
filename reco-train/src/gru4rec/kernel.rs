//! The CPU engine: one step of training by hand, on all threads of a pool.
//!
//! | part | tasks | file |
//! | --- | --- | --- |
//! | items to states | panels of lanes | [`lanes`](super::lanes) |
//! | scores, and what the loss adds up of them | blocks of candidates | [`candidates`](super::candidates) |
//! | gradients of scores, candidates and outputs | blocks of candidates | the same |
//! | gradients of gates and inputs | panels of lanes | [`lanes`](super::lanes) |
//! | updates | rows of the cells, parts of the item table | [`parameters`](super::parameters) |
//!
//! How many tasks there are depends on the batch, and each value is summed by one task in a fixed order, so
//! the result does not depend on the number of threads. A third of a step is not products: the next
//! batch is drawn beside the step, and nothing is laid out anew between two products.

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::batch::{Batch, Minibatches};
use super::candidates::{Block, block_len, targets};
use super::checkpoint::EngineState;
use super::lanes::{Carried, Panel};
use super::layout::PANEL;
use super::loss::{Objective, Totals};
use super::math::vectorised;
use super::parameters::{CellParameters, ItemParameters, add_to};
use super::team;
use super::weights::{Adagrad, InputMode, Shape, Weights};
use super::{EpochEngine, Gru4RecConfig};
use crate::error::{Error, Result};

/// Trains on the threads of its own pool.
#[derive(Debug)]
pub(super) struct CpuEngine {
    pool: ThreadPool,
    network: Network,
}

impl CpuEngine {
    pub(super) fn new(weights: Weights, config: &Gru4RecConfig, threads: usize) -> Result<Self> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|thread| format!("gru4rec-{thread}"))
            .build()
            .map_err(|source| Error::Threads { threads, source })?;
        Ok(Self {
            pool,
            network: Network::new(weights, config),
        })
    }
}

impl EpochEngine for CpuEngine {
    fn run_epoch(&mut self, minibatches: &mut Minibatches) -> Result<f64> {
        let Self { pool, network } = self;
        Ok(team::run(pool, || {
            let (mut batch, mut following) = (Batch::default(), Batch::default());
            let mut loss = 0.0;
            let mut more = minibatches.next(&mut batch);
            while more {
                team::join(
                    || loss += network.step(&batch),
                    || more = minibatches.next(&mut following),
                );
                std::mem::swap(&mut batch, &mut following);
            }
            loss
        }))
    }

    fn into_weights(self: Box<Self>) -> Result<Weights> {
        Ok(self.network.weights())
    }

    fn state(&self) -> Result<EngineState> {
        Ok(EngineState {
            weights: self.network.weights(),
            memory: self.network.memory().cloned().collect(),
        })
    }

    fn remember(&mut self, memory: Vec<Vec<f32>>) -> bool {
        let lens = |all: &[Vec<f32>]| -> Vec<usize> { all.iter().map(Vec::len).collect() };
        let here: Vec<Vec<f32>> = self.network.memory().cloned().collect();
        let fits = lens(&here) == lens(&memory);
        if fits {
            for (here, memory) in self.network.memory_mut().zip(memory) {
                *here = memory;
            }
        }
        fits
    }
}

/// The parameters and the buffers of a step.
#[derive(Debug)]
pub(super) struct Network {
    items: ItemParameters,
    /// `None` if the items' own rows are the input.
    input: Option<ItemParameters>,
    cells: Vec<CellParameters>,
    shape: Shape,
    panels: Vec<Panel>,
    pub(super) carried: Vec<Carried>,
    blocks: Vec<Block>,
    totals: Vec<Totals>,
    objective: Objective,
    pub(super) adagrad: Adagrad,
}

impl Network {
    pub(super) fn new(weights: Weights, config: &Gru4RecConfig) -> Self {
        let (adagrad, shape) = (config.adagrad(), config.shape());
        let Weights {
            item_embedding,
            item_bias,
            input,
            cells,
        } = weights;
        let table = |rows, bias, dim| ItemParameters::new(rows, bias, dim, adagrad);
        Self {
            items: table(item_embedding, item_bias, shape.output_dim()),
            input: (shape.input != InputMode::Constrained)
                .then(|| table(input, Vec::new(), shape.input_dim)),
            cells: cells
                .into_iter()
                .map(|cell| CellParameters::new(cell, adagrad))
                .collect(),
            shape,
            panels: Vec::new(),
            carried: Vec::new(),
            blocks: Vec::new(),
            totals: Vec::new(),
            objective: config.objective(),
            adagrad,
        }
    }

    pub(super) fn weights(&self) -> Weights {
        Weights {
            item_embedding: self.items.rows.clone(),
            item_bias: self.items.bias.clone(),
            input: self
                .input
                .as_ref()
                .map(|input| input.rows.clone())
                .unwrap_or_default(),
            cells: self.cells.iter().map(|cell| cell.cell.clone()).collect(),
        }
    }

    /// What the optimiser remembers: of rows and biases of the items, then of the inputs, then of each cell.
    fn memory(&self) -> impl Iterator<Item = &Vec<f32>> {
        let tables = [&self.items].into_iter().chain(&self.input);
        let tables = tables.flat_map(|table| [&table.rows_memory, &table.bias_memory]);
        let halves = self.cells.iter().flat_map(|cell| [&cell.ih, &cell.hh]);
        tables.chain(halves.flat_map(|half| [&half.weight, &half.bias]))
    }

    /// The same, to be replaced.
    pub(super) fn memory_mut(&mut self) -> impl Iterator<Item = &mut Vec<f32>> {
        let tables = [&mut self.items].into_iter().chain(&mut self.input);
        let tables = tables.flat_map(|table| [&mut table.rows_memory, &mut table.bias_memory]);
        let halves = self
            .cells
            .iter_mut()
            .flat_map(|cell| [&mut cell.ih, &mut cell.hh]);
        tables.chain(halves.flat_map(|half| [&mut half.weight, &mut half.bias]))
    }

    /// Learns from one batch; the sum of its losses.
    pub(super) fn step(&mut self, batch: &Batch) -> f64 {
        self.forward(batch);
        self.score(batch);
        let loss = self.total(batch);
        self.backward(batch);
        self.update(batch);
        for (panel, carried) in self.panels.iter_mut().zip(&mut self.carried) {
            panel.give_states(carried);
        }
        loss
    }

    fn forward(&mut self, batch: &Batch) {
        let Self {
            items,
            input,
            cells,
            shape,
            panels,
            carried,
            ..
        } = self;
        let n_panels = batch.n_lanes().div_ceil(PANEL);
        panels.resize_with(n_panels, || Panel::new(shape));
        let inputs = input.as_ref().unwrap_or(items);
        team::for_each(panels.iter_mut(), |idx, panel| {
            panel.resize(idx * PANEL, batch);
            panel.forward(batch, (inputs, items), cells, carried);
        });
        // The lanes of this step have taken over what they needed of the last one's.
        carried.resize_with(n_panels, Carried::default);
    }

    fn score(&mut self, batch: &Batch) {
        let Self {
            items,
            panels,
            blocks,
            objective,
            ..
        } = self;
        let len = block_len(batch.candidates.len());
        blocks.resize_with(batch.candidates.len().div_ceil(len), Block::default);
        team::for_each(blocks.iter_mut(), |idx, block| {
            block.score(idx * len, batch, items, panels, *objective);
        });
    }

    fn total(&mut self, batch: &Batch) -> f64 {
        let Self {
            panels,
            blocks,
            totals,
            objective,
            ..
        } = self;
        totals.clear();
        totals.extend(panels.iter().enumerate().map(|(idx, panel)| {
            let sums = blocks.iter().map(|block| block.sums(idx));
            objective.total(sums, &batch.log_weight[panel.first..], targets(panel))
        }));
        totals.iter().map(|totals| totals.loss).sum()
    }

    fn backward(&mut self, batch: &Batch) {
        let Self {
            cells,
            panels,
            blocks,
            totals,
            objective,
            ..
        } = self;
        team::for_each(blocks.iter_mut(), |_, block| {
            block.differentiate(batch, panels, *objective, totals);
        });
        team::for_each(panels.iter_mut(), |idx, panel| {
            panel.backward(batch, cells, |d_output| {
                vectorised(
                    #[inline(always)]
                    || {
                        d_output.fill(0.0);
                        for block in &*blocks {
                            add_to(d_output, block.d_output(idx));
                        }
                    },
                );
            });
        });
    }

    fn update(&mut self, batch: &Batch) {
        let Self {
            items,
            input,
            cells,
            panels,
            blocks,
            adagrad,
            ..
        } = self;
        let (panels, blocks, adagrad) = (&**panels, &**blocks, *adagrad);
        let of_source = |lane: usize| (panels[lane / PANEL].d_source(lane % PANEL), None);
        let len = block_len(batch.candidates.len());
        let of_candidate = |candidate: usize| {
            let (row, bias) = blocks[candidate / len].d_item(candidate % len);
            (row, Some(bias))
        };
        let of_use = |of: u32| {
            let of = of as usize;
            match of.checked_sub(batch.n_lanes()) {
                None => of_source(of),
                Some(candidate) => of_candidate(candidate),
            }
        };
        team::join(
            || match input {
                None => items.update(&batch.uses, of_use, adagrad),
                Some(input) => {
                    items.update(&batch.uses, |of| of_candidate(of as usize), adagrad);
                    input.update(&batch.source_uses, |of| of_source(of as usize), adagrad);
                }
            },
            || {
                for (depth, cell) in cells.iter_mut().enumerate() {
                    let half = |half: usize| {
                        move || panels.iter().map(move |panel| panel.of_layer(depth)[half])
                    };
                    cell.update(half(0), half(1), adagrad);
                }
            },
        );
    }
}
