//! The session GRU's CPU step: events per second, beside those of the bare matrix products of a step.
//!
//! The ratio says what everything else costs: lookups, the loss, the optimiser, drawing the batch, and the
//! threads' waiting for each other. The bare products are those of the `gemm` crate, each thread by itself
//! with its share of the lanes or rows and no point at which it waits.

#![expect(
    clippy::unwrap_used,
    reason = "a bench without its set-up measures nothing"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an expected number of items"
)]

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use reco_core::{SessionDataset, SessionEncoding, Split, Timestamp, TrainSet};
use reco_train::{Engine, Gru4RecConfig, Gru4RecTrainer, Trainer};

const N_LANES: usize = 128;
const N_SAMPLE: usize = 2048;
const DIM: usize = 100;
/// Steps of an epoch, all of which have all lanes.
const N_STEPS: usize = 128;
/// Pairs of a session; lanes change hands eight times.
const N_PAIRS: usize = 16;

/// Sessions of one length that have no item in common.
fn sessions() -> TrainSet {
    let mut builder = SessionDataset::builder(SessionEncoding::default());
    for session in 0..N_LANES * N_STEPS / N_PAIRS {
        for position in 0..=N_PAIRS {
            let second = i64::try_from(100 * session + position).unwrap();
            let time = Timestamp::from_second(second).unwrap();
            let item = session * (N_PAIRS + 1) + position;
            builder
                .push(&session.to_string(), &item.to_string(), time)
                .unwrap();
        }
    }
    let data = builder.build().unwrap();
    Split::from_parts(data.clone(), data).train
}

/// How many candidates a step has: the targets, and the distinct ones among the draws.
fn n_candidates() -> usize {
    let n_items = (N_LANES * N_STEPS / N_PAIRS * (N_PAIRS + 1)) as f64;
    let never = (1.0 - 1.0 / n_items).powf(N_SAMPLE as f64);
    N_LANES + ((1.0 - never) * n_items).round() as usize
}

/// The time of so many epochs, without what comes before the first.
fn epochs(train: &TrainSet, threads: usize, n_epochs: u64) -> Duration {
    let config = Gru4RecConfig {
        layer: DIM,
        batch_size: N_LANES,
        n_sample: N_SAMPLE,
        n_epochs: u32::try_from(n_epochs + 1).unwrap(),
        ..Gru4RecConfig::default()
    };
    let mut first = None;
    let mut last = Instant::now();
    Gru4RecTrainer::new(config, Engine::cpu(threads))
        .fit(train, &mut |_| {
            last = Instant::now();
            first.get_or_insert(last);
            ControlFlow::Continue(())
        })
        .unwrap();
    last - first.unwrap()
}

/// The products of a step on so many threads, `n_steps` times.
fn products(threads: usize, n_steps: u64) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let (n, m, d) = (N_LANES, n_candidates(), DIM);
                let (lanes, rows) = (n / threads, m / threads);
                let (left, right) = (vec![0.01; m * 3 * d], vec![0.01; m * 3 * d]);
                let mut product = vec![0.0; m * 3 * d];
                for _ in 0..n_steps {
                    // The gates of the input and of the state; scores; their gradients; those of the inputs.
                    for (n_rows, n_columns, depth) in [
                        (lanes, 3 * d, d),
                        (lanes, 3 * d, d),
                        (lanes, m, d),
                        (lanes, d, m),
                        (rows, d, n),
                        (lanes, d, 3 * d),
                        (3 * d / threads, d, n),
                        (3 * d / threads, d, n),
                    ] {
                        multiply(&mut product, &left, &right, [n_rows, n_columns, depth]);
                    }
                    std::hint::black_box(&mut product);
                }
            });
        }
    });
    start.elapsed()
}

/// Matrices in rows, one after the other.
fn multiply(product: &mut [f32], left: &[f32], right: &[f32], shape: [usize; 3]) {
    let [n_rows, n_columns, depth] = shape;
    assert!(n_rows * n_columns <= product.len());
    assert!(n_rows * depth <= left.len() && depth * n_columns <= right.len());
    #[expect(
        unsafe_code,
        reason = "the gemm crate takes pointers; bounds were checked above"
    )]
    // SAFETY: the slices hold as many values as asserted, and none overlaps another.
    unsafe {
        gemm::gemm(
            n_rows,
            n_columns,
            depth,
            product.as_mut_ptr(),
            1,
            n_columns.cast_signed(),
            false,
            left.as_ptr(),
            1,
            depth.cast_signed(),
            right.as_ptr(),
            1,
            n_columns.cast_signed(),
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

fn step(c: &mut Criterion) {
    let train = sessions();
    let mut group = c.benchmark_group("gru4rec, events/s of full steps");
    group
        .throughput(Throughput::Elements((N_LANES * N_STEPS) as u64))
        .sample_size(20);
    for threads in [1, 2] {
        group.bench_function(format!("step, {threads} threads"), |b| {
            b.iter_custom(|n_epochs| epochs(&train, threads, n_epochs));
        });
        group.bench_function(format!("bare products, {threads} threads"), |b| {
            b.iter_custom(|n_epochs| products(threads, n_epochs * N_STEPS as u64));
        });
    }
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);
