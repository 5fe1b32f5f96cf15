//! Evaluation: multiply-adds per second of ranking against the whole catalogue, and of the bare product of the
//! same matrices, whose ratio says what ranking costs.
//!
//! All threads of the current rayon pool work on both. The model is one of products, as prod2vec and the GRU
//! are; nothing of a block of scores is kept. `RECO_BENCH_QUERIES=1000000` runs both once at that size.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench without its set-up measures nothing, and tells what it measured"
)]

use std::borrow::Cow;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group};
use rayon::prelude::*;
use reco_core::{
    ItemIdx, Model, Ranking, Result, Session, SessionDataset, SessionEncoder, SessionEncoding,
    Timestamp, Vocabulary,
};
use reco_train::evaluate::{Bootstrap, Coverage, DenseScorer, Mrr, Protocol, Recall, rank};
use reco_train::{Metric, Scorer};

const DIM: usize = 100;
/// Rows of the left factor at once, as many as the evaluation has.
const N_ROWS: usize = 256;

/// An item is as good as it is like the last one.
#[derive(Debug)]
struct LikeLast {
    encoder: SessionEncoder,
    /// `[n_items, DIM]`
    vectors: Vec<f32>,
}

impl LikeLast {
    fn new(n_items: usize) -> Self {
        let names = (0..n_items).map(|item| (format!("{item:06}"), 1));
        let vocabulary = Arc::new(Vocabulary::from_counts(names).unwrap());
        let encoder = SessionEncoder::new(SessionEncoding::default(), vocabulary).unwrap();
        let value = |i: usize| (i.wrapping_mul(2_654_435_761) % 1_000_003) as f32 / 1e6 - 0.5;
        Self {
            encoder,
            vectors: (0..n_items * DIM).map(value).collect(),
        }
    }
}

impl Model for LikeLast {
    fn kind(&self) -> &str {
        "like-last"
    }

    fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
        rank(self, sessions, k)
    }
}

impl Scorer for LikeLast {
    fn encoder(&self) -> &SessionEncoder {
        &self.encoder
    }

    fn score_batch(&self, sessions: &[&[ItemIdx]], scores: &mut [f32]) -> Result<()> {
        let n_items = self.encoder.vocabulary().len();
        for (session, scores) in sessions.iter().zip(scores.chunks_exact_mut(n_items)) {
            let mut query = [0.0; DIM];
            self.session_vectors(&[session], &mut query)?;
            for (item, score) in self.vectors.chunks_exact(DIM).zip(scores) {
                *score = query.iter().zip(item).map(|(q, v)| q * v).sum();
            }
        }
        Ok(())
    }

    fn dense(&self) -> Option<&dyn DenseScorer> {
        Some(self)
    }
}

impl DenseScorer for LikeLast {
    fn dim(&self) -> usize {
        DIM
    }

    fn item_vectors(&self) -> Cow<'_, [f32]> {
        Cow::Borrowed(&self.vectors)
    }

    fn item_biases(&self) -> Option<&[f32]> {
        None
    }

    fn session_vectors(&self, sessions: &[&[ItemIdx]], vectors: &mut [f32]) -> Result<()> {
        for (session, vector) in sessions.iter().zip(vectors.chunks_exact_mut(DIM)) {
            let last = session[session.len() - 1].get();
            vector.copy_from_slice(&self.vectors[last * DIM..][..DIM]);
        }
        Ok(())
    }
}

/// Sessions of five items, so four queries each.
fn sessions(n_queries: usize, n_items: usize) -> SessionDataset {
    let mut builder = SessionDataset::builder(SessionEncoding::default());
    for event in 0..n_queries / 4 * 5 {
        let item = event.wrapping_mul(2_654_435_761) % n_items;
        let time = Timestamp::from_second(i64::try_from(event).unwrap()).unwrap();
        let session = format!("{:07}", event / 5);
        builder.push(&session, &format!("{item:06}"), time).unwrap();
    }
    builder.build().unwrap()
}

/// The product that ranking needs, and nothing else: a block of it at a time.
fn multiply(vectors: &[f32], n_queries: usize, n_columns: usize) {
    let batches = 0..n_queries / N_ROWS;
    batches.into_par_iter().for_each_init(
        || vec![0.0_f32; N_ROWS * n_columns],
        |block, batch| {
            let queries = &vectors[batch % 16 * DIM..][..N_ROWS * DIM];
            for items in vectors.chunks_exact(n_columns * DIM) {
                product(block, queries, items);
            }
            black_box(&block);
        },
    );
}

/// `block = queries · itemsᵀ`.
fn product(block: &mut [f32], queries: &[f32], items: &[f32]) {
    let (n_rows, n_columns) = (queries.len() / DIM, items.len() / DIM);
    assert_eq!(block.len(), n_rows * n_columns);
    #[expect(
        unsafe_code,
        reason = "the gemm crate takes pointers; bounds were checked above"
    )]
    // SAFETY: the factors hold `n_rows` and `n_columns` rows of `DIM`, the product as many values as
    // asserted, and none overlaps another.
    unsafe {
        gemm::gemm(
            n_rows,
            n_columns,
            DIM,
            block.as_mut_ptr(),
            1,
            n_columns.cast_signed(),
            false,
            queries.as_ptr(),
            1,
            DIM.cast_signed(),
            items.as_ptr(),
            DIM.cast_signed(),
            1,
            0.0_f32,
            1.0_f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

fn evaluate(c: &mut Criterion) {
    // `cargo bench -- --test` asks whether it runs, not how fast.
    let is_test = std::env::args().any(|word| word == "--test");
    let (n_queries, n_items) = if is_test { (512, 1024) } else { (8192, 51_200) };
    let model = LikeLast::new(n_items);
    let test = sessions(n_queries, n_items);
    let mut group = c.benchmark_group("evaluate, multiply-adds/s of all scores");
    group
        .throughput(Throughput::Elements((n_queries * n_items * DIM) as u64))
        .sample_size(10);
    for n_columns in [512, 4096.min(n_items)] {
        group.bench_function(format!("bare product in blocks of {n_columns}"), |b| {
            b.iter(|| multiply(&model.vectors, n_queries, n_columns));
        });
    }
    let ranks: [Metric; 2] = [Recall::at(20), Mrr::at(20)];
    let lists: [Metric; 2] = [Mrr::at(20), Coverage::at(20)];
    for (name, metrics) in [("ranks", ranks), ("ranks and the 20 best", lists)] {
        group.bench_function(name, |b| {
            b.iter(|| Protocol::default().rank(&model, &test, &metrics).unwrap());
        });
    }
    group.finish();

    let mut group = c.benchmark_group("evaluate, resampled queries/s");
    let bootstrap = Bootstrap::default();
    let n_resampled = n_queries as u64 * u64::from(bootstrap.n_resamples);
    group
        .throughput(Throughput::Elements(n_resampled))
        .sample_size(10);
    let ranks = Protocol::default().rank(&model, &test, &ranks).unwrap();
    group.bench_function("intervals of two metrics", |b| {
        b.iter(|| ranks.estimates(Some(&bootstrap)).unwrap());
    });
    group.finish();
}

/// Once each, at a size that takes minutes: ranking beside the bare product.
fn whole(n_queries: usize) {
    let n_items = 51_200;
    let model = LikeLast::new(n_items);
    let test = sessions(n_queries, n_items);
    let metrics: [Metric; 2] = [Recall::at(20), Mrr::at(20)];
    let begin = Instant::now();
    multiply(&model.vectors, n_queries, 512);
    let product = begin.elapsed().as_secs_f64();
    let begin = Instant::now();
    Protocol::default().rank(&model, &test, &metrics).unwrap();
    let ranks = begin.elapsed().as_secs_f64();
    println!(
        "{n_queries} queries, {n_items} items: bare product {product:.1} s, ranks {ranks:.1} s, {:.0} % of its speed",
        100.0 * product / ranks
    );
}

criterion_group!(benches, evaluate);

fn main() {
    #[expect(clippy::disallowed_methods, reason = "a bench is the host")]
    if let Ok(n_queries) = std::env::var("RECO_BENCH_QUERIES") {
        return whole(n_queries.parse().unwrap());
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
