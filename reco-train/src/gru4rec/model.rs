//! [`Gru4Rec`]: the trained network, in plain Rust.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use reco_core::{
    DataFingerprint, ItemIdx, Model, ModelArtifact, ModelLoader, Ranking, Session, SessionEncoder,
};

use super::cell::{GruCell, Lanes};
use super::matrix::{Matrix, multiply};
use super::weights::Weights;
use super::{Gru4RecConfig, KIND};
use crate::error::Result;
use crate::evaluate::{DenseScorer, Scorer, rank};
use crate::rule;

/// Sessions that are computed at once. Products always have this shape, padded with zeros, so that a
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
    cell: GruCell,
    item_embedding: Panels,
    item_bias: Vec<f32>,
}

impl Gru4Rec {
    pub(super) fn new(
        weights: Weights,
        encoder: SessionEncoder,
        config: Gru4RecConfig,
        data: Option<DataFingerprint>,
    ) -> Self {
        let Weights {
            item_embedding,
            item_bias,
            cell,
        } = weights;
        let item_embedding = Panels::new(&item_embedding, cell.dim);
        Self {
            encoder,
            config,
            data,
            cell,
            item_embedding,
            item_bias,
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
    /// | `weight_ih`, `weight_hh` | `[3 * layer, layer]`, as in `PyTorch`'s `GRUCell` |
    /// | `bias_ih`, `bias_hh` | `[3 * layer]` |
    ///
    /// # Errors
    ///
    /// As [`ModelArtifactBuilder::build`](reco_core::ModelArtifactBuilder::build).
    pub fn to_artifact(&self) -> Result<ModelArtifact> {
        let dim = self.cell.dim;
        let n_items = self.item_bias.len();
        let config = serde_json::to_value(&self.config).map_err(|error| {
            reco_core::Error::InvalidConfig {
                of: KIND.to_owned(),
                reason: error.to_string(),
            }
        })?;
        let mut builder = ModelArtifact::builder(KIND, &self.encoder)
            .config(config)
            .tensor(
                "item_embedding",
                &[n_items, dim],
                &self.item_embedding.to_rows(n_items),
            )
            .tensor("item_bias", &[n_items], &self.item_bias)
            .tensor("weight_ih", &[3 * dim, dim], &self.cell.weight_ih)
            .tensor("weight_hh", &[3 * dim, dim], &self.cell.weight_hh)
            .tensor("bias_ih", &[3 * dim], &self.cell.bias_ih)
            .tensor("bias_hh", &[3 * dim], &self.cell.bias_hh);
        if let Some(data) = &self.data {
            builder = builder.data(data.clone());
        }
        Ok(builder.build()?)
    }

    fn from_artifact(artifact: &ModelArtifact) -> reco_core::Result<Self> {
        let config = rule::stored(KIND, artifact, Gru4RecConfig::check)?;
        let encoder = artifact.encoder()?;
        let (n_items, dim) = (encoder.vocabulary().len(), config.layer);
        let weights = Weights {
            item_embedding: artifact.tensor("item_embedding", &[n_items, dim])?,
            item_bias: artifact.tensor("item_bias", &[n_items])?,
            cell: GruCell {
                dim,
                weight_ih: artifact.tensor("weight_ih", &[3 * dim, dim])?,
                weight_hh: artifact.tensor("weight_hh", &[3 * dim, dim])?,
                bias_ih: artifact.tensor("bias_ih", &[3 * dim])?,
                bias_hh: artifact.tensor("bias_hh", &[3 * dim])?,
            },
        };
        Ok(Self::new(
            weights,
            encoder,
            config,
            artifact.manifest().data.clone(),
        ))
    }

    /// The state at the end of each session, `[n_sessions, dim]`.
    ///
    /// Walks the tree of all prefixes level by level, so that a prefix is computed once.
    fn states(&self, sessions: &[&[ItemIdx]]) -> Vec<f32> {
        let dim = self.cell.dim;
        let mut ends = vec![0.0; sessions.len() * dim];
        let mut active: Vec<usize> = (0..sessions.len()).collect();
        // The node of each session at the level before, and the states of that level's nodes.
        let mut node_of = vec![0; sessions.len()];
        let mut states = vec![0.0; dim];
        let mut buffers = TileBuffers::new(dim);
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
            let mut next = Vec::with_capacity(nodes.len() * dim);
            for tile in nodes.chunks(TILE) {
                buffers.fill(tile, &states, &self.item_embedding);
                buffers.forward(&self.cell);
                next.extend_from_slice(&buffers.hidden[..tile.len() * dim]);
            }
            states = next;
            for &session in &active {
                if sessions[session].len() == level + 1 {
                    let state = &states[node_of[session] * dim..][..dim];
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
        let (dim, n_items) = (self.cell.dim, self.item_bias.len());
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
        self.cell.dim
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

/// Buffers of a step of [`TILE`] sessions.
struct TileBuffers {
    dim: usize,
    x: Vec<f32>,
    state: Vec<f32>,
    gates_ih: Vec<f32>,
    gates_hh: Vec<f32>,
    hidden: Vec<f32>,
}

impl TileBuffers {
    fn new(dim: usize) -> Self {
        let zeros = |len: usize| vec![0.0; TILE * len];
        Self {
            dim,
            x: zeros(dim),
            state: zeros(dim),
            gates_ih: zeros(3 * dim),
            gates_hh: zeros(3 * dim),
            hidden: zeros(dim),
        }
    }

    /// Looks up the state before and the item of each node.
    fn fill(&mut self, nodes: &[(usize, ItemIdx)], states: &[f32], items: &Panels) {
        let dim = self.dim;
        self.x.fill(0.0);
        self.state.fill(0.0);
        let rows = self
            .x
            .chunks_exact_mut(dim)
            .zip(self.state.chunks_exact_mut(dim));
        for ((x, state), &(before, item)) in rows.zip(nodes) {
            x.iter_mut()
                .zip(items.row(item.get()))
                .for_each(|(x, value)| *x = value);
            state.copy_from_slice(&states[before * dim..][..dim]);
        }
    }

    fn forward(&mut self, cell: &GruCell) {
        let Self {
            x,
            state,
            gates_ih,
            gates_hh,
            hidden,
            ..
        } = self;
        cell.forward(
            &mut Lanes {
                x,
                state,
                gates_ih,
                gates_hh,
            },
            hidden,
        );
    }
}
