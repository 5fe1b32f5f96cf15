//! [`Judge`]: asks a model about test sessions and reads its scores, in rows or in blocks.

#[cfg(test)]
mod tests;

use std::ops::Range;

use reco_core::{ItemIdx, SessionDataset};

use super::asks::{Ask, Asks};
use super::batch::{Batch, NotFinite};
use super::{DenseScorer, Protocol, Scorer};
use crate::error::{Error, Result};
use crate::gru4rec::matrix::{Matrix, multiply};

/// How many queries are scored at once on a thread, in [`BATCH_BYTES`] at most.
const BATCH_SIZE: usize = 256;
/// How much memory the scores of a batch may take that come in rows.
const BATCH_BYTES: usize = 64 << 20;
/// Items of a block of scores: with [`BATCH_SIZE`] queries it stays in the second cache.
const BLOCK_SIZE: usize = 512;

/// Asks a model about test sessions.
#[derive(Debug)]
pub(super) struct Judge<'a, S: ?Sized> {
    model: &'a S,
    protocol: Protocol,
    /// How many of the best answers are kept.
    list_len: usize,
    dense: Option<Dense<'a>>,
}

/// What is found about some sessions.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// The session and the place of each query.
    pub(super) queries: Vec<(u32, u32)>,
    /// How many ranks each query has.
    pub(super) n_ranks: Vec<u32>,
    pub(super) ranks: Vec<f64>,
    /// How many answers each query has.
    pub(super) n_answers: Vec<u32>,
    pub(super) answers: Vec<ItemIdx>,
    pub(super) n_unseen: u64,
}

/// The right factor of the product that all scores are.
#[derive(Debug)]
struct Dense<'a> {
    scorer: &'a dyn DenseScorer,
    dim: usize,
    /// `[n_blocks, BLOCK_SIZE, dim]`: the last block is padded with zeros, so that all products have one
    /// shape, and with it one order of sums.
    vectors: Vec<f32>,
    biases: Option<&'a [f32]>,
}

impl<'a, S: Scorer + ?Sized> Judge<'a, S> {
    pub(super) fn new(model: &'a S, protocol: Protocol, list_len: usize) -> Result<Self> {
        let n_items = model.encoder().vocabulary().len();
        let dense = model.dense().map(|scorer| Dense::new(scorer, n_items));
        Ok(Self {
            model,
            protocol,
            list_len,
            dense: dense.transpose()?,
        })
    }

    /// The same, with every score taken from [`Scorer::score_batch`].
    #[cfg(test)]
    pub(super) fn in_rows(mut self) -> Self {
        self.dense = None;
        self
    }

    /// Ranks what follows in some of the sessions.
    pub(super) fn judge(&self, test: &SessionDataset, sessions: Range<usize>) -> Result<Part> {
        let asks = Asks::of(test, sessions, self.model.encoder(), self.protocol);
        let mut part = Part {
            n_unseen: asks.n_unseen,
            ..Default::default()
        };
        let mut buffer = Vec::new();
        let position =
            |at: usize| u32::try_from(at).expect("fewer than 2³² sessions and items in each");
        for chunk in asks.asks.chunks(self.batch_size()) {
            // There is nothing to ask with where the model knows nothing.
            let asked: Vec<&Ask> = chunk
                .iter()
                .filter(|ask| !asks.prefix(ask).is_empty())
                .collect();
            let mut batch = Batch::new(&asks, &asked, self.list_len);
            match &self.dense {
                Some(dense) if !asked.is_empty() => {
                    self.score_blocks(dense, &asks, &asked, &mut batch, &mut buffer)?;
                }
                _ => self.score_rows(&asks, &asked, &mut batch, &mut buffer)?,
            }
            let mut nth = 0;
            for ask in chunk {
                part.queries
                    .push((position(ask.session), position(ask.place)));
                part.n_ranks.push(position(asks.relevant(ask).len()));
                if asks.prefix(ask).is_empty() {
                    part.ranks
                        .extend(asks.relevant(ask).iter().map(|_| f64::INFINITY));
                    part.n_answers.push(0);
                    continue;
                }
                part.ranks.extend(batch.ranks(nth, self.protocol.ties));
                part.n_answers.push(position(batch.list(nth).len()));
                part.answers.extend(batch.list(nth).map(ItemIdx));
                nth += 1;
            }
        }
        Ok(part)
    }

    fn batch_size(&self) -> usize {
        let row = size_of::<f32>() * self.n_items().max(1);
        match self.dense {
            Some(_) => BATCH_SIZE,
            None => (BATCH_BYTES / row).clamp(1, BATCH_SIZE),
        }
    }

    fn n_items(&self) -> usize {
        self.model.encoder().vocabulary().len()
    }

    /// Takes the scores of a batch as the model gives them; `buffer` is memory to put them in.
    fn score_rows(
        &self,
        asks: &Asks,
        asked: &[&Ask],
        batch: &mut Batch<'_>,
        buffer: &mut Vec<f32>,
    ) -> Result<()> {
        let n_items = self.n_items();
        let prefixes: Vec<&[ItemIdx]> = asked.iter().map(|ask| asks.prefix(ask)).collect();
        if prefixes.is_empty() {
            return Ok(());
        }
        buffer.resize(prefixes.len() * n_items, 0.0);
        let scores = &mut buffer[..];
        self.model.score_batch(&prefixes, scores)?;
        for (nth, scores) in scores.chunks_exact(n_items).enumerate() {
            batch
                .see_whole(nth, scores)
                .map_err(|odd| self.not_finite(odd))?;
        }
        Ok(())
    }

    /// Makes the scores of a batch block by block, `buffer` being memory for one, and forgets them.
    fn score_blocks(
        &self,
        dense: &Dense<'_>,
        asks: &Asks,
        asked: &[&Ask],
        batch: &mut Batch<'_>,
        buffer: &mut Vec<f32>,
    ) -> Result<()> {
        let prefixes: Vec<&[ItemIdx]> = asked.iter().map(|ask| asks.prefix(ask)).collect();
        let mut queries = vec![0.0; prefixes.len() * dense.dim];
        dense.scorer.session_vectors(&prefixes, &mut queries)?;
        buffer.resize(prefixes.len() * BLOCK_SIZE, 0.0);
        let block = &mut buffer[..];

        // The scores of the targets come first: all others are compared with them. They are products of the
        // same shape, so that they are the same to the bit when they go by again.
        let targets: Vec<(usize, usize)> = batch.targets().collect();
        let mut scores = Vec::with_capacity(targets.len());
        for targets in targets.chunks(BLOCK_SIZE) {
            let mut vectors = Vec::with_capacity(BLOCK_SIZE * dense.dim);
            targets
                .iter()
                .for_each(|&(_, item)| vectors.extend_from_slice(dense.vector(item)));
            vectors.resize(BLOCK_SIZE * dense.dim, 0.0);
            multiply(
                block,
                Matrix::rows(&queries, dense.dim),
                Matrix::rows(&vectors, dense.dim).t(),
            );
            let score = |(column, &(nth, item)): (usize, &(usize, usize))| {
                block[nth * BLOCK_SIZE + column] + dense.bias(item)
            };
            scores.extend(targets.iter().enumerate().map(score));
        }
        batch.set_target_scores(scores.into_iter());

        let mut changed = vec![false; prefixes.len()];
        for (start, vectors) in (0..)
            .step_by(BLOCK_SIZE)
            .zip(dense.vectors.chunks_exact(BLOCK_SIZE * dense.dim))
        {
            multiply(
                block,
                Matrix::rows(&queries, dense.dim),
                Matrix::rows(vectors, dense.dim).t(),
            );
            let n_items = BLOCK_SIZE.min(self.n_items() - start);
            for (nth, scores) in block.chunks_exact_mut(BLOCK_SIZE).enumerate() {
                let scores = &mut scores[..n_items];
                if let Some(biases) = dense.biases {
                    let of_block = scores.iter_mut().zip(&biases[start..]);
                    of_block.for_each(|(score, bias)| *score += bias);
                }
                batch
                    .see(nth, start, scores)
                    .map_err(|odd| self.not_finite(odd))?;
                changed[nth] |= batch.target_scores(nth).any(|(item, score)| {
                    let again = item.checked_sub(start).and_then(|place| scores.get(place));
                    again.is_some_and(|again| again.to_bits() != score.to_bits())
                });
            }
        }
        // A kernel that sums a column in another order at the edge of a block would lose a target among its
        // own ties. None that we know does so; such a query is asked again.
        let mut row = Vec::new();
        for nth in (0..prefixes.len()).filter(|&nth| changed[nth]) {
            row.resize(self.n_items(), 0.0);
            self.model.score_batch(&prefixes[nth..=nth], &mut row)?;
            batch
                .see_whole(nth, &row)
                .map_err(|odd| self.not_finite(odd))?;
        }
        Ok(())
    }

    fn not_finite(&self, NotFinite(item, score): NotFinite) -> Error {
        Error::ScoreNotFinite {
            kind: self.model.kind().to_owned(),
            item: self.model.encoder().vocabulary().items()[item].to_string(),
            score,
        }
    }
}

impl<'a> Dense<'a> {
    fn new(scorer: &'a dyn DenseScorer, n_items: usize) -> Result<Self> {
        let (dim, biases) = (scorer.dim(), scorer.item_biases());
        let mut vectors = scorer.item_vectors().into_owned();
        let n_biases = biases.map_or(n_items, <[f32]>::len);
        if dim == 0 || vectors.len() != n_items * dim || n_biases != n_items {
            let n_values = vectors.len();
            return Err(Error::InvalidAnswer {
                kind: scorer.kind().to_owned(),
                reason: format!(
                    "{n_values} values of vectors and {n_biases} biases for {n_items} items of {dim} dimensions"
                ),
            });
        }
        let n_blocks = vectors.len().div_ceil(BLOCK_SIZE * dim);
        vectors.resize(n_blocks * BLOCK_SIZE * dim, 0.0);
        Ok(Self {
            scorer,
            dim,
            vectors,
            biases,
        })
    }

    fn vector(&self, item: usize) -> &[f32] {
        &self.vectors[item * self.dim..][..self.dim]
    }

    fn bias(&self, item: usize) -> f32 {
        self.biases.map_or(0.0, |biases| biases[item])
    }
}
