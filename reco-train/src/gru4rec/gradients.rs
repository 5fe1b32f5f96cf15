//! The gradients of a whole step against finite differences of its loss, for every network and loss.

use reco_core::{SessionDataset, SessionEncoding, Timestamp};

use super::batch::{Batch, Minibatches};
use super::kernel::Network;
use super::weights::Weights;
use super::{Gru4RecConfig, Loss};

const N_ITEMS: i64 = 11;
/// Squares that the optimiser is made to remember: so many that a step is a multiple of the gradient.
const SQUARES: f32 = 1e8;
/// That multiple.
const RATE: f64 = 0.01;
/// How far a weight is moved to see how the loss changes.
const SHIFT: f32 = 1e-2;

/// Two batches, the second of which goes on from states of the first, and has a lane that starts.
fn batches(config: &Gru4RecConfig) -> [Batch; 2] {
    let mut builder = SessionDataset::builder(SessionEncoding::default());
    for session in 0..8 {
        let len = if session == 1 { 2 } else { 4 };
        for position in 0..len {
            let item = (session * 5 + position * position + position) % N_ITEMS;
            let time = Timestamp::from_second(100 * session + position).unwrap();
            builder
                .push(&session.to_string(), &format!("{item:02}"), time)
                .unwrap();
        }
    }
    let mut minibatches = Minibatches::new(&builder.build().unwrap(), config).unwrap();
    minibatches.start_epoch();
    [(); 2].map(|()| {
        let mut batch = Batch::default();
        assert!(minibatches.next(&mut batch));
        batch
    })
}

/// The mean loss of the second batch with some weights, and those after it. Its states are constants: the first
/// batch has others, from which nothing is learnt.
fn step(
    [before, weights]: [&Weights; 2],
    config: &Gru4RecConfig,
    [first, second]: &[Batch; 2],
) -> (f64, Weights) {
    let mut earlier = Network::new(before.clone(), config);
    earlier.adagrad.learning_rate = 0.0;
    earlier.step(first);
    let mut network = Network::new(weights.clone(), config);
    network.carried = earlier.carried;
    for memory in network.memory_mut() {
        memory.fill(SQUARES);
    }
    let loss = network.step(second);
    (loss / second.n_lanes() as f64, network.weights())
}

fn tensors_mut(weights: &mut Weights) -> Vec<&mut Vec<f32>> {
    let cells = weights.cells.iter_mut().flat_map(|cell| {
        [
            &mut cell.weight_ih,
            &mut cell.weight_hh,
            &mut cell.bias_ih,
            &mut cell.bias_hh,
        ]
    });
    let tables = [
        &mut weights.item_embedding,
        &mut weights.item_bias,
        &mut weights.input,
    ];
    tables.into_iter().chain(cells).collect()
}

fn check(config: &Gru4RecConfig) {
    let batches = batches(config);
    let n_items = usize::try_from(N_ITEMS).unwrap();
    let mut weights = Weights::new(n_items, &config.shape(), 3);
    // Biases that are not 0.
    for (at, bias) in weights.item_bias.iter_mut().enumerate() {
        *bias = (at as f32).sin() * 0.3;
    }
    let (_, mut moved) = step([&weights; 2], config, &batches);
    let mut before = weights.clone();
    let pairs = tensors_mut(&mut moved)
        .into_iter()
        .zip(tensors_mut(&mut before));
    let gradients: Vec<Vec<f64>> = pairs
        .map(|(moved, before)| {
            let values = moved.iter().zip(before.iter());
            values
                .map(|(moved, before)| (f64::from(*before) - f64::from(*moved)) / RATE)
                .collect()
        })
        .collect();
    let mut n_seen = 0;
    for (tensor, gradients) in gradients.iter().enumerate() {
        // The steepest, and some others.
        let mut order: Vec<usize> = (0..gradients.len()).collect();
        order.sort_by(|&i, &j| gradients[j].abs().total_cmp(&gradients[i].abs()));
        let some = order.iter().copied().step_by(order.len() / 4 + 1);
        for at in order.iter().copied().take(4).chain(some) {
            let loss = |by: f32| {
                let mut shifted = weights.clone();
                tensors_mut(&mut shifted)[tensor][at] += by;
                step([&weights, &shifted], config, &batches).0
            };
            let slope = (loss(SHIFT) - loss(-SHIFT)) / f64::from(2.0 * SHIFT);
            let gradient = gradients[at];
            assert!(
                (gradient - slope).abs() < 2e-4 + 0.01 * slope.abs(),
                "{gradient} is not {slope}: tensor {tensor} at {at}, {config:?}"
            );
            n_seen += usize::from(slope.abs() > 0.01);
        }
    }
    assert!(n_seen > 10, "gradients that are worth a look: {n_seen}");
}

/// Every loss, with everything else away from its neutral value.
fn losses() -> [Gru4RecConfig; 3] {
    let cross_entropy = Gru4RecConfig {
        layer: 6,
        batch_size: 5,
        n_sample: 7,
        logq: 0.7,
        dropout_p_embed: 0.2,
        dropout_p_hidden: 0.2,
        // A step of √SQUARES · RATE by the root of the squares.
        learning_rate: 1e4 * RATE,
        ..Gru4RecConfig::default()
    };
    let bpr_max = Gru4RecConfig {
        loss: Loss::BprMax,
        bpreg: 0.6,
        // With another value it has a kink, which differences step over.
        elu_param: 1.0,
        ..cross_entropy.clone()
    };
    let linear = Gru4RecConfig {
        elu_param: 0.0,
        ..bpr_max.clone()
    };
    [cross_entropy, bpr_max, linear]
}

#[test]
fn the_shared_embedding_has_the_gradients_of_both_ends() {
    for config in losses() {
        for lower_layers in [vec![], vec![9], vec![4, 17]] {
            check(&Gru4RecConfig {
                lower_layers,
                ..config.clone()
            });
        }
    }
}

#[test]
fn an_embedding_of_the_input_has_its_own() {
    for config in losses() {
        for lower_layers in [vec![], vec![9]] {
            check(&Gru4RecConfig {
                constrained_embedding: false,
                embedding: 5,
                lower_layers,
                ..config.clone()
            });
        }
    }
}

#[test]
fn inputs_that_are_looked_up_by_gate_have_theirs() {
    for config in losses() {
        for lower_layers in [vec![], vec![9]] {
            check(&Gru4RecConfig {
                constrained_embedding: false,
                dropout_p_embed: 0.0,
                lower_layers,
                ..config.clone()
            });
        }
    }
}
