//! That blocks and rows find the same.

use std::borrow::Cow;
use std::sync::Arc;

use proptest::prelude::*;
use reco_core::{Model, Ranking, Session, SessionEncoder, SessionEncoding, Timestamp, Vocabulary};

use super::*;
use crate::evaluate::{Exclude, Targets, Ties, Unseen, rank};

/// Products of small whole numbers, which no order of sums rounds: ties are many and exact.
#[derive(Debug)]
struct Whole {
    encoder: SessionEncoder,
    /// `[n_items, DIM]`
    vectors: Vec<f32>,
    biases: Vec<f32>,
}

const DIM: usize = 3;

impl Model for Whole {
    fn kind(&self) -> &str {
        "whole"
    }

    fn recommend_batch(&self, sessions: &[Session], k: usize) -> reco_core::Result<Vec<Ranking>> {
        rank(self, sessions, k)
    }
}

impl Scorer for Whole {
    fn encoder(&self) -> &SessionEncoder {
        &self.encoder
    }

    fn score_batch(&self, sessions: &[&[ItemIdx]], scores: &mut [f32]) -> reco_core::Result<()> {
        let mut queries = vec![0.0; sessions.len() * DIM];
        self.session_vectors(sessions, &mut queries)?;
        let rows = scores.chunks_exact_mut(self.biases.len());
        for (query, scores) in queries.chunks_exact(DIM).zip(rows) {
            for ((score, item), bias) in scores
                .iter_mut()
                .zip(self.vectors.chunks_exact(DIM))
                .zip(&self.biases)
            {
                *score = query.iter().zip(item).map(|(q, v)| q * v).sum::<f32>() + bias;
            }
        }
        Ok(())
    }

    fn dense(&self) -> Option<&dyn DenseScorer> {
        Some(self)
    }
}

impl DenseScorer for Whole {
    fn dim(&self) -> usize {
        DIM
    }

    fn item_vectors(&self) -> Cow<'_, [f32]> {
        Cow::Borrowed(&self.vectors)
    }

    fn item_biases(&self) -> Option<&[f32]> {
        Some(&self.biases)
    }

    fn session_vectors(
        &self,
        sessions: &[&[ItemIdx]],
        vectors: &mut [f32],
    ) -> reco_core::Result<()> {
        for (session, vector) in sessions.iter().zip(vectors.chunks_exact_mut(DIM)) {
            vector.fill(0.0);
            for item in *session {
                let item = &self.vectors[item.get() * DIM..][..DIM];
                vector
                    .iter_mut()
                    .zip(item)
                    .for_each(|(sum, value)| *sum += value);
            }
        }
        Ok(())
    }
}

fn whole(n_items: usize, seed: u64) -> Whole {
    use rand::{Rng, SeedableRng};
    let mut rng = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut value = || (rng.next_u32() % 5) as f32 - 2.0;
    let vectors = (0..n_items * DIM).map(|_| value()).collect();
    let biases = (0..n_items).map(|_| value()).collect();
    let items = (0..n_items).map(|item| (format!("{item:04}"), 1));
    let vocabulary = Arc::new(Vocabulary::from_counts(items).unwrap());
    let encoder = SessionEncoder::new(SessionEncoding::default(), vocabulary).unwrap();
    Whole {
        encoder,
        vectors,
        biases,
    }
}

/// Sessions of which one item in eight is unknown to a model of `n_items`.
fn sessions(n_items: usize, lengths: &[usize], seed: u64) -> SessionDataset {
    use rand::{Rng, SeedableRng};
    let mut rng = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut builder = SessionDataset::builder(SessionEncoding::default());
    for (session, length) in (0..).zip(lengths) {
        for second in 0..i64::try_from(*length).unwrap() {
            let item = rng.next_u32() as usize % (n_items + n_items.div_ceil(8));
            let time = Timestamp::from_second(1000 * session + second).unwrap();
            builder
                .push(&format!("{session:05}"), &format!("{item:04}"), time)
                .unwrap();
        }
    }
    builder.build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn blocks_and_rows_find_the_same(
        // More items than a block, and more queries than a batch.
        n_items in prop_oneof![1..40_usize, 500..1100_usize],
        lengths in prop::collection::vec(1..9_usize, 1..90),
        seed in any::<u64>(),
        list_len in 0..12_usize,
        ties in prop::sample::select(vec![Ties::Conservative, Ties::Standard, Ties::Median]),
        targets in prop::sample::select(vec![Targets::Next, Targets::Last, Targets::Remaining]),
        unseen in prop::sample::select(vec![Unseen::Drop, Unseen::Miss]),
        exclude in prop::sample::select(vec![Exclude::Nothing, Exclude::Last, Exclude::Session]),
    ) {
        let model = whole(n_items, seed);
        let test = sessions(n_items, &lengths, seed);
        let protocol = Protocol { targets, ties, unseen, exclude };
        let judge = |rows: bool| {
            let judge = Judge::new(&model, protocol, list_len).unwrap();
            let judge = if rows { judge.in_rows() } else { judge };
            judge.judge(&test, 0..test.n_sessions()).unwrap()
        };
        let (rows, blocks) = (judge(true), judge(false));
        prop_assert_eq!(rows.queries, blocks.queries);
        prop_assert_eq!(rows.n_ranks, blocks.n_ranks);
        prop_assert_eq!(rows.ranks, blocks.ranks);
        prop_assert_eq!(rows.n_answers, blocks.n_answers);
        prop_assert_eq!(rows.answers, blocks.answers);
        prop_assert_eq!(rows.n_unseen, blocks.n_unseen);
    }
}

#[test]
fn a_block_with_a_score_that_is_not_finite_is_an_error() {
    let mut model = whole(700, 1);
    model.biases[600] = f32::NAN;
    let test = sessions(700, &[5, 5], 1);
    let judged = Judge::new(&model, Protocol::default(), 0)
        .unwrap()
        .judge(&test, 0..2);
    let expected = "model `whole` gave item `0600` the score NaN";
    assert_eq!(judged.unwrap_err().to_string(), expected);
}

#[test]
fn vectors_that_do_not_fit_are_an_error() {
    let check = |model: &Whole, expected: &str| {
        let error = Judge::new(model, Protocol::default(), 0).unwrap_err();
        let found = error.to_string();
        assert!(found.ends_with(expected), "{found}");
    };
    let mut model = whole(5, 1);
    model.vectors.pop();
    check(
        &model,
        "14 values of vectors and 5 biases for 5 items of 3 dimensions",
    );
    let mut model = whole(5, 1);
    model.biases.pop();
    check(
        &model,
        "15 values of vectors and 4 biases for 5 items of 3 dimensions",
    );
}

#[test]
fn a_product_is_the_same_wherever_its_column_is() {
    use rand::{Rng, SeedableRng};
    for (dim, n_rows) in [(1, 1), (7, 3), (64, 2), (100, 256), (224, 17), (512, 256)] {
        let mut rng = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(dim as u64);
        let mut value = || rng.next_u32() as f32 / u32::MAX as f32 - 0.5;
        let queries: Vec<f32> = (0..n_rows * dim).map(|_| value()).collect();
        let column: Vec<f32> = (0..dim).map(|_| value()).collect();
        let vectors = column.repeat(BLOCK_SIZE);
        let mut block = vec![0.0; n_rows * BLOCK_SIZE];
        multiply(
            &mut block,
            Matrix::rows(&queries, dim),
            Matrix::rows(&vectors, dim).t(),
        );
        for (row, block) in block.chunks_exact(BLOCK_SIZE).enumerate() {
            let same = block
                .iter()
                .filter(|product| product.to_bits() == block[0].to_bits());
            assert_eq!(same.count(), BLOCK_SIZE, "dim {dim}, row {row} of {n_rows}");
        }
    }
}
