//! The steps of the kernel beside numerical derivatives of the papers' losses.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use super::corpus::Corpus;
use super::corpus::tests::corpus;
use super::hogwild;
use super::plan::Plan;
use super::weights::Weights;
use super::{Observe, Prod2VecConfig};

const DIM: usize = 5;
/// So small that what a step changes for those after it does not show.
const ALPHA: f32 = 1e-4;

/// Vectors, outputs and nodes.
type Values = [Vec<f64>; 3];

fn softplus(x: f64) -> f64 {
    x.exp().ln_1p()
}

/// The sum of the losses of an epoch's examples, −log σ(±h · o), as word2vec Parameter Learning Explained
/// (arXiv 1411.2738) has it.
fn loss(corpus: &Corpus, config: &Prod2VecConfig, [vectors, outputs, nodes]: &Values) -> f64 {
    let row = |rows: &[f64], row: u32| rows[row as usize * DIM..][..DIM].to_vec();
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let (mut loss, mut plan) = (0.0, Plan::default());
    for job in corpus.jobs() {
        plan.draw(corpus, job, config, 1, 1);
        for window in (0..plan.len()).filter_map(|place| plan.get(place)) {
            for (example, near) in window.iter().enumerate() {
                let hidden = row(vectors, near);
                if config.negative > 0 {
                    let shares = !config.sg || config.share_negatives;
                    let own = if shares { 0 } else { example * config.negative };
                    loss += softplus(-dot(&hidden, &row(outputs, window.word)));
                    let negatives = window.negatives[own..][..config.negative].iter();
                    for negative in negatives.filter(|negative| **negative != window.word) {
                        loss += softplus(dot(&hidden, &row(outputs, *negative)));
                    }
                }
                for turn in corpus.tree().iter().flat_map(|tree| tree.path(window.word)) {
                    let score = dot(&hidden, &row(nodes, turn.node));
                    loss += softplus(-f64::from(turn.sign) * score);
                }
            }
        }
    }
    loss
}

/// What an epoch changes, beside −alpha times the derivative of the loss by each weight.
fn check(sessions: &[&str], config: &Prod2VecConfig) {
    let config = Prod2VecConfig {
        vector_size: DIM,
        window: 2,
        min_count: 1,
        sample: 0.0,
        epochs: 1,
        alpha: ALPHA,
        min_alpha: ALPHA,
        ..config.clone()
    };
    let corpus = corpus(sessions, &config).unwrap();
    let mut initial = Weights::new(corpus.n_items(), &config);
    // Outputs begin as zeros, where the vectors have no derivatives.
    let values = [
        &mut initial.vectors,
        &mut initial.outputs,
        &mut initial.nodes,
    ];
    for (i, value) in values.into_iter().flatten().enumerate() {
        *value = 0.3 * (i as f32 * 0.7).sin();
    }
    let values = |weights: &Weights| -> Values {
        [&weights.vectors, &weights.outputs, &weights.nodes]
            .map(|values| values.iter().map(|value| f64::from(*value)).collect())
    };
    let before = values(&initial);
    let threads = NonZeroUsize::MIN;
    let observe: &mut Observe<'_> = &mut |_, _| Ok(ControlFlow::Continue(()));
    let after = values(&hogwild::fit(&corpus, &config, threads, initial, observe).unwrap());
    let step = 1e-4;
    for table in 0..3 {
        for i in 0..before[table].len() {
            let at = |by: f64| {
                let mut moved = before.clone();
                moved[table][i] += by;
                loss(&corpus, &config, &moved)
            };
            let derivative = (at(step) - at(-step)) / (2.0 * step);
            let found = (before[table][i] - after[table][i]) / f64::from(ALPHA);
            assert!(
                (found - derivative).abs() < 0.01 * (1.0 + derivative.abs()),
                "table {table}, value {i}: {found}, not {derivative}; {config:?}"
            );
        }
    }
}

#[test]
fn steps_go_down_the_gradient_of_the_loss() {
    let sessions = ["a b c d e a", "c b f a", "g a"];
    // With one item near, CBOW's mean is that item, and its gradient as it should be.
    let pairs = ["a b", "c b", "a d", "e a", "f g"];
    for hs in [false, true] {
        for (negative, share_negatives) in [(0, false), (3, false), (3, true), (7, true)] {
            if negative == 0 && !hs {
                continue;
            }
            let config = Prod2VecConfig {
                hs,
                negative,
                share_negatives,
                ..Default::default()
            };
            check(&sessions, &config);
            check(
                &pairs,
                &Prod2VecConfig {
                    sg: false,
                    ..config
                },
            );
        }
    }
}
