//! [`Gru4Rec`]: the trained network, in plain Rust.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use reco_core::{
    DataFingerprint, ItemIdx, Model, ModelArtifact, ModelArtifactBuilder, ModelLoader, Ranking,
    Session, SessionEncoder,
};

use super::cell::{Gates, GruCell};
use super::layout::TwoWays;
use super::matrix::{Matrix, multiply};
use super::product::{VECTOR, padded};
use super::weights::{InputMode, Shape, Weights};
use super::{Gru4RecConfig, KIND};
use crate::error::Result;
use crate::evaluate::{DenseScorer, Scorer, rank};
use crate::rule;

/// Sessions that are scored at once. Products always have this shape, padded with zeros, so that a
/// session's scores do not depend on the sessions beside it.
const TILE: usize = 8;
/// Items of a panel of the transposed embedding.
const PANEL: usize = 256;

/// A trained session GRU: scores every item by its embedding's product with the state of the session.
///
/// A session of which no item is known gets an empty ranking: there is no state to ask from.
/// Sessions of one batch that begin alike share the computation of what they share, so to score all
/// prefixes of a session at once costs one pass over it.
#[derive(Debug, Clone)]
pub struct Gru4Rec {
    encoder: SessionEncoder,
    config: Gru4RecConfig,
    data: Option<DataFingerprint>,
    shape: Shape,
    cells: Vec<GruCell>,
    item_embedding: Panels,
    item_bias: Vec<f32>,
    /// As in [`Weights`].
    input: Vec<f32>,
}

impl Gru4Rec {
    pub(super) fn new(
        weights: Weights,
        encoder: SessionEncoder,
        config: Gru4RecConfig,
        data: Option<DataFingerprint>,
    ) -> Self {
        let shape = config.shape();
        let Weights {
            item_embedding,
            item_bias,
            input,
            cells,
        } = weights;
        Self {
            item_embedding: Panels::new(&item_embedding, shape.output_dim()),
            encoder,
            config,
            data,
            shape,
            cells,
            item_bias,
            input,
        }
    }

    pub(super) fn weights(&self) -> Weights {
        Weights {
            item_embedding: self.item_embedding.to_rows(self.item_bias.len()),
            item_bias: self.item_bias.clone(),
            input: self.input.clone(),
            cells: self.cells.clone(),
        }
    }

    /// What it was trained with.
    #[must_use]
    pub const fn config(&self) -> &Gru4RecConfig {
        &self.config
    }

    /// The model as files, for a registry.
    ///
    /// | tensor | shape |
    /// | --- | --- |
    /// | `item_embedding` | `[n_items, layer]` |
    /// | `item_bias` | `[n_items]` |
    /// | `input_embedding` | `[n_items, embedding]`, if the configuration has such |
    /// | `input_gates` | `[n_items, 3 * dim]`, if there is no embedding to read the items through |
    /// | `weight_ih`, `weight_hh` | `[3 * dim, input_dim]`, `[3 * dim, dim]`, as in `PyTorch`'s `GRUCell` |
    /// | `bias_ih`, `bias_hh` | `[3 * dim]` |
    ///
    /// With several layers the last four end in `_l0`, `_l1` and so on. With `input_gates` the first layer has
    /// no `weight_ih`.
    ///
    /// # Errors
    ///
    /// As [`ModelArtifactBuilder::build`](reco_core::ModelArtifactBuilder::build).
    pub fn to_artifact(&self) -> Result<ModelArtifact> {
        Ok(self.artifact_builder()?.build()?)
    }

    pub(super) fn artifact_builder(&self) -> Result<ModelArtifactBuilder> {
        let config = serde_json::to_value(&self.config).map_err(|error| {
            reco_core::Error::InvalidConfig {
                of: KIND.to_owned(),
                reason: error.to_string(),
            }
        })?;
        let mut builder = ModelArtifact::builder(KIND, &self.encoder).config(config);
        for (name, shape, values) in self.weights().tensors(&self.shape) {
            builder = builder.tensor(name, &shape, values);
        }
        if let Some(data) = &self.data {
            builder = builder.data(data.clone());
        }
        Ok(builder)
    }

    pub(super) fn from_artifact(artifact: &ModelArtifact) -> reco_core::Result<Self> {
        let config = rule::stored(KIND, artifact, Gru4RecConfig::check)?;
        let encoder = artifact.encoder()?;
        let n_items = encoder.vocabulary().len();
        let weights = Weights::from_tensors(&config.shape(), n_items, |name, shape| {
            artifact.tensor(name, shape)
        })?;
        let data = artifact.manifest().data.clone();
        Ok(Self::new(weights, encoder, config, data))
    }

    /// The state of the last layer at the end of each session, `[n_sessions, layer]`.
    ///
    /// Walks the tree of all prefixes level by level, so that a prefix is computed once.
    fn states(&self, sessions: &[&[ItemIdx]]) -> Vec<f32> {
        let (dim, width) = (self.shape.output_dim(), self.shape.layers.iter().sum());
        let mut ends = vec![0.0; sessions.len() * dim];
        let mut active: Vec<usize> = (0..sessions.len()).collect();
        // The node of each session at the level before, and the states of that level's nodes.
        let mut node_of = vec![0; sessions.len()];
        let mut states = vec![0.0; width];
        let mut buffers = NodeBuffers::new(&self.shape);
        for level in 0.. {
            active.retain(|&session| sessions[session].len() > level);
            if active.is_empty() {
                return ends;
            }
            let mut known = HashMap::new();
            let mut nodes: Vec<(usize, ItemIdx)> = Vec::new();
            for &session in &active {
                let node = (node_of[session], sessions[session][level]);
                node_of[session] = match known.entry(node) {
                    Entry::Occupied(entry) => *entry.get(),
                    Entry::Vacant(entry) => {
                        nodes.push(node);
                        *entry.insert(nodes.len() - 1)
                    }
                };
            }
            let mut next = Vec::with_capacity(nodes.len() * width);
            for tile in nodes.chunks(VECTOR) {
                buffers.fill(tile, &states, self);
                buffers.forward(&self.cells, self.shape.input);
                buffers.push_states(tile.len(), &mut next);
            }
            states = next;
            for &session in &active {
                if sessions[session].len() == level + 1 {
                    let state = &states[node_of[session] * width..][width - dim..width];
                    ends[session * dim..][..dim].copy_from_slice(state);
                }
            }
        }
        ends
    }
}

impl Model for Gru4Rec {
    fn kind(&self) -> &str {
        KIND
    }

    fn recommend_batch(&self, sessions: &[Session], k: usize) -> reco_core::Result<Vec<Ranking>> {
        rank(self, sessions, k)
    }
}

impl Scorer for Gru4Rec {
    fn encoder(&self) -> &SessionEncoder {
        &self.encoder
    }

    fn score_batch(&self, sessions: &[&[ItemIdx]], scores: &mut [f32]) -> reco_core::Result<()> {
        let (dim, n_items) = (self.shape.output_dim(), self.item_bias.len());
        let states = self.states(sessions);
        let mut tile_states = [0.0].repeat(TILE * dim);
        let mut product = [0.0; TILE * PANEL];
        // A panel stays in the cache while all sessions use it.
        for (panel, first_item) in self
            .item_embedding
            .panels()
            .zip((0..n_items).step_by(PANEL))
        {
            let bias = &self.item_bias[first_item..n_items.min(first_item + PANEL)];
            let tiles = states
                .chunks(TILE * dim)
                .zip(scores.chunks_mut(TILE * n_items));
            for (states, scores) in tiles {
                tile_states[..states.len()].copy_from_slice(states);
                tile_states[states.len()..].fill(0.0);
                multiply(
                    &mut product,
                    Matrix::rows(&tile_states, dim),
                    Matrix::rows(panel, PANEL),
                );
                let rows = scores
                    .chunks_exact_mut(n_items)
                    .zip(product.chunks_exact(PANEL));
                for (scores, product) in rows {
                    let of_panel = scores[first_item..].iter_mut().zip(product).zip(bias);
                    of_panel.for_each(|((score, product), bias)| *score = product + bias);
                }
            }
        }
        Ok(())
    }

    fn dense(&self) -> Option<&dyn DenseScorer> {
        Some(self)
    }
}

impl DenseScorer for Gru4Rec {
    fn dim(&self) -> usize {
        self.shape.output_dim()
    }

    fn item_vectors(&self) -> Cow<'_, [f32]> {
        self.item_embedding.to_rows(self.item_bias.len()).into()
    }

    fn item_biases(&self) -> Option<&[f32]> {
        Some(&self.item_bias)
    }

    fn session_vectors(
        &self,
        sessions: &[&[ItemIdx]],
        vectors: &mut [f32],
    ) -> reco_core::Result<()> {
        vectors.copy_from_slice(&self.states(sessions));
        Ok(())
    }
}

/// Loads a [`Gru4Rec`] model from its artifact.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gru4RecLoader;

impl ModelLoader for Gru4RecLoader {
    fn kind(&self) -> &str {
        KIND
    }

    fn load(&self, artifact: &ModelArtifact) -> reco_core::Result<Arc<dyn Model>> {
        Ok(Arc::new(Gru4Rec::from_artifact(artifact)?))
    }
}

/// The item embedding, transposed in panels of [`PANEL`] items: the layout in which scoring streams
/// through it. The last panel is padded with zeros.
#[derive(Debug, Clone)]
struct Panels {
    dim: usize,
    /// `[n_panels, dim, PANEL]`
    values: Vec<f32>,
}

impl Panels {
    fn new(rows: &[f32], dim: usize) -> Self {
        let n_items = rows.len() / dim;
        let mut values = vec![0.0; n_items.div_ceil(PANEL) * dim * PANEL];
        for (item, row) in rows.chunks_exact(dim).enumerate() {
            let panel = &mut values[item / PANEL * dim * PANEL..];
            for (k, value) in row.iter().enumerate() {
                panel[k * PANEL + item % PANEL] = *value;
            }
        }
        Self { dim, values }
    }

    fn panels(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.dim * PANEL)
    }

    fn row(&self, item: usize) -> impl Iterator<Item = f32> {
        let panel = &self.values[item / PANEL * self.dim * PANEL..][..self.dim * PANEL];
        panel.iter().skip(item % PANEL).step_by(PANEL).copied()
    }

    fn to_rows(&self, n_items: usize) -> Vec<f32> {
        (0..n_items).flat_map(|item| self.row(item)).collect()
    }
}

/// Buffers of a step of [`VECTOR`] nodes of the tree of prefixes.
struct NodeBuffers {
    input: TwoWays,
    layers: Vec<LayerBuffers>,
}

struct LayerBuffers {
    state: TwoWays,
    gates_ih: Vec<f32>,
    gates_hh: Vec<f32>,
    hidden: TwoWays,
}

impl NodeBuffers {
    fn new(shape: &Shape) -> Self {
        let both = |dim| {
            let mut both = TwoWays::new(dim);
            both.resize(VECTOR);
            both
        };
        let layer = |&dim: &usize| LayerBuffers {
            state: both(dim),
            gates_ih: vec![0.0; 3 * dim * VECTOR],
            gates_hh: vec![0.0; 3 * dim * VECTOR],
            hidden: both(dim),
        };
        Self {
            input: both(shape.input_dim),
            layers: shape.layers.iter().map(layer).collect(),
        }
    }

    /// Looks up the states before, one layer after the other, and the item of each node.
    fn fill(&mut self, nodes: &[(usize, ItemIdx)], states: &[f32], model: &Gru4Rec) {
        let dim = self.input.dim;
        for (row, &(_, item)) in self.input.rows_mut().zip(nodes) {
            if model.shape.input == InputMode::Constrained {
                row.iter_mut()
                    .zip(model.item_embedding.row(item.get()))
                    .for_each(|(x, value)| *x = value);
            } else {
                row.copy_from_slice(&model.input[item.get() * dim..][..dim]);
            }
        }
        self.input.rows_to_columns();
        let width: usize = model.shape.layers.iter().sum();
        let mut start = 0;
        for LayerBuffers { state, .. } in &mut self.layers {
            let dim = state.dim;
            for (row, &(before, _)) in state.rows_mut().zip(nodes) {
                row.copy_from_slice(&states[before * width + start..][..dim]);
            }
            state.rows_to_columns();
            start += dim;
        }
    }

    fn forward(&mut self, cells: &[GruCell], mode: InputMode) {
        let mut input = &self.input;
        for (depth, (cell, layer)) in cells.iter().zip(&mut self.layers).enumerate() {
            let LayerBuffers {
                state,
                gates_ih,
                gates_hh,
                hidden,
            } = layer;
            if depth == 0 && mode == InputMode::OneHot {
                gates_ih.copy_from_slice(&input.columns);
            } else {
                cell.read(&input.columns, gates_ih, VECTOR);
            }
            let mut gates = Gates {
                n_lanes: VECTOR,
                state: &state.columns,
                ih: gates_ih,
                hh: gates_hh,
            };
            cell.forward(&mut gates, &mut hidden.columns);
            hidden.columns_to_rows();
            input = hidden;
        }
    }

    /// Appends the states after the step of the first nodes.
    fn push_states(&self, n_nodes: usize, states: &mut Vec<f32>) {
        for node in 0..n_nodes {
            for layer in &self.layers {
                let LayerBuffers { hidden, .. } = layer;
                states.extend_from_slice(&hidden.rows[node * padded(hidden.dim)..][..hidden.dim]);
            }
        }
    }
}
