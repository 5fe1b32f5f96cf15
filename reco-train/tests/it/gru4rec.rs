//! GRU4Rec through its public API: what it learns, that its engines agree, that its answers keep.

use std::ops::ControlFlow;

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use reco_core::{
    ItemId, ItemIdx, Model, ModelArtifact, ModelExt, ModelLoader, Session, SessionDataset,
    SessionEncoding, Split, Timestamp, TrainSet, testing,
};
use reco_train::gru4rec::Loss;
use reco_train::{
    Engine, Error, Gru4Rec, Gru4RecConfig, Gru4RecLoader, Gru4RecTrainer, Scorer, Trainer,
};
#[cfg(feature = "burn")]
use safetensors::SafeTensors;

const N_ITEMS: usize = 40;

/// The item that follows in most sessions.
fn successor(item: usize) -> usize {
    (item * 7 + 3) % N_ITEMS
}

fn name(item: usize) -> String {
    format!("item-{item:02}")
}

/// Sessions that go to the successor four times of five, and anywhere else the fifth.
fn train_set(n_sessions: i64) -> TrainSet {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    let mut builder = SessionDataset::builder(SessionEncoding::default());
    for session in 0..n_sessions {
        let mut item = rng.random_range(0..N_ITEMS);
        for position in 0..rng.random_range(1..7) {
            let time = Timestamp::from_second(100 * session + position).unwrap();
            builder
                .push(&format!("session-{session:05}"), &name(item), time)
                .unwrap();
            let follows = rng.random_bool(0.8);
            item = if follows {
                successor(item)
            } else {
                rng.random_range(0..N_ITEMS)
            };
        }
    }
    let data = builder.build().unwrap();
    Split::from_parts(data.clone(), data).train
}

fn config() -> Gru4RecConfig {
    Gru4RecConfig {
        layer: 20,
        batch_size: 16,
        n_sample: 32,
        n_epochs: 2,
        ..Default::default()
    }
}

/// Cross-entropy and BPR-max, each with every other setting away from its neutral value.
fn configs() -> [Gru4RecConfig; 2] {
    let cross_entropy = Gru4RecConfig {
        logq: 0.8,
        dropout_p_embed: 0.2,
        dropout_p_hidden: 0.3,
        ..config()
    };
    let bpr_max = Gru4RecConfig {
        loss: Loss::BprMax,
        learning_rate: 0.05,
        momentum: 0.3,
        bpreg: 0.5,
        elu_param: 0.7,
        ..cross_entropy.clone()
    };
    [cross_entropy, bpr_max]
}

fn fit(config: &Gru4RecConfig, engine: Engine, train: &TrainSet) -> (Gru4Rec, Vec<f64>) {
    let mut losses = Vec::new();
    let model = Gru4RecTrainer::new(config.clone(), engine)
        .fit(train, &mut |report| {
            losses.push(report.loss);
            ControlFlow::Continue(())
        })
        .unwrap();
    (model, losses)
}

fn session(items: &[usize]) -> Session {
    items.iter().map(|&item| name(item)).collect()
}

/// How many of all items are followed by their successor in the first place of the answer.
fn n_learnt(model: &Gru4Rec) -> usize {
    let follows = |&item: &usize| {
        let ranking = model.recommend(&session(&[item]), 1).unwrap();
        ranking.items().next().unwrap().as_str() == name(successor(item))
    };
    (0..N_ITEMS).filter(follows).count()
}

#[test]
fn it_learns_what_follows() {
    let train = train_set(1500);
    for config in configs() {
        let config = Gru4RecConfig {
            n_epochs: 10,
            ..config
        };
        let (model, losses) = fit(&config, Engine::cpu(2), &train);
        assert!(losses[9] < losses[0], "{losses:?}");
        let n_learnt = n_learnt(&model);
        assert!(n_learnt >= 36, "{:?}: {n_learnt} of {N_ITEMS}", config.loss);
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let train = train_set(300);
    // More lanes and candidates than one task holds.
    for config in configs().map(|config| Gru4RecConfig {
        batch_size: 130,
        n_sample: 300,
        ..config
    }) {
        let (model, losses) = fit(&config, Engine::cpu(1), &train);
        let (again, losses_again) = fit(&config, Engine::cpu(3), &train);
        assert_eq!(losses, losses_again);
        assert_eq!(model.to_artifact().unwrap(), again.to_artifact().unwrap());
    }
}

/// What can be read as input, and in how many layers.
fn networks() -> [Gru4RecConfig; 4] {
    let [cross_entropy, bpr_max] = configs();
    let two_layers = Gru4RecConfig {
        lower_layers: vec![24, 12],
        ..cross_entropy
    };
    let embedding = Gru4RecConfig {
        constrained_embedding: false,
        embedding: 9,
        ..bpr_max.clone()
    };
    let one_hot = Gru4RecConfig {
        constrained_embedding: false,
        dropout_p_embed: 0.0,
        lower_layers: vec![16],
        ..bpr_max
    };
    let one_layer_one_hot = Gru4RecConfig {
        lower_layers: Vec::new(),
        ..one_hot
    };
    [two_layers, embedding, one_hot, one_layer_one_hot]
}

#[test]
fn every_network_learns_what_follows_on_any_number_of_threads_and_keeps_its_answers() {
    let train = train_set(1500);
    for config in networks() {
        let config = Gru4RecConfig {
            n_epochs: 10,
            batch_size: 70,
            dropout_p_hidden: 0.1,
            learning_rate: 0.1,
            ..config
        };
        let (model, losses) = fit(&config, Engine::cpu(2), &train);
        assert!(losses[9] < losses[0], "{losses:?}");
        let n_learnt = n_learnt(&model);
        assert!(n_learnt >= 36, "{config:?}: {n_learnt} of {N_ITEMS}");
        let artifact = model.to_artifact().unwrap();
        let (again, _) = fit(&config, Engine::cpu(3), &train);
        assert_eq!(artifact, again.to_artifact().unwrap());
        let files = artifact.to_files().unwrap();
        let loaded = Gru4RecLoader
            .load(&ModelArtifact::from_files(&files).unwrap())
            .unwrap();
        let sessions = [&[3][..], &[3, 24, 11], &[7; 40]].map(session);
        testing::model(&model, &sessions);
        assert_eq!(
            model.recommend_batch(&sessions, 10).unwrap(),
            loaded.recommend_batch(&sessions, 10).unwrap()
        );
    }
}

#[test]
fn weights_go_to_another_framework_and_come_back() {
    let train = train_set(100);
    for config in networks().into_iter().chain(configs()) {
        let (model, _) = fit(&config, Engine::cpu(2), &train);
        let file = model.to_safetensors().unwrap();
        let encoder = model.encoder().clone();
        let back = Gru4Rec::from_safetensors(&file, encoder.clone(), config.clone()).unwrap();
        assert_eq!(back.to_safetensors().unwrap(), file);
        let sessions = [&[3][..], &[3, 24, 11]].map(session);
        assert_eq!(
            model.recommend_batch(&sessions, 10).unwrap(),
            back.recommend_batch(&sessions, 10).unwrap()
        );
        for len in [0, 7, 100, file.len() - 1] {
            let error = Gru4Rec::from_safetensors(&file[..len], encoder.clone(), config.clone());
            assert!(matches!(error, Err(Error::Exchange { .. })));
        }
    }
}

#[test]
fn weights_of_another_network_are_refused() {
    let train = train_set(100);
    let (model, _) = fit(&config(), Engine::cpu(2), &train);
    let file = model.to_safetensors().unwrap();
    let check = |config: Gru4RecConfig, expected: &str| {
        let error = Gru4Rec::from_safetensors(&file, model.encoder().clone(), config);
        let text = error.unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    };
    let wider = Gru4RecConfig {
        layer: 21,
        ..config()
    };
    check(
        wider,
        "tensor `item_embedding.weight` must be F32 of [40, 21], is F32 of [40, 20]",
    );
    let deeper = Gru4RecConfig {
        lower_layers: vec![20],
        ..config()
    };
    check(deeper, "cells.1.weight_ih");
    let [.., one_hot] = networks();
    check(
        one_hot,
        "tensor `cells.0.weight_ih` must be F32 of [60, 40]",
    );
    let (model, _) = fit(
        &Gru4RecConfig {
            lower_layers: vec![20],
            ..config()
        },
        Engine::cpu(2),
        &train,
    );
    let file = model.to_safetensors().unwrap();
    let error = Gru4Rec::from_safetensors(&file, model.encoder().clone(), config()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "weights cannot be exchanged: tensor `cells.1.bias_hh` is none of this network"
    );
}

#[cfg(feature = "burn")]
fn assert_engines_agree(engine: &Engine, config: &Gru4RecConfig, train: &TrainSet, tolerance: f64) {
    let (by_kernel, losses) = fit(config, Engine::cpu(2), train);
    let (by_burn, burn_losses) = fit(config, engine.clone(), train);
    for (loss, burn_loss) in losses.iter().zip(&burn_losses) {
        assert!(
            (loss - burn_loss).abs() < tolerance,
            "{losses:?} {burn_losses:?}"
        );
    }
    assert_near(&by_kernel, &by_burn);
}

/// All that two models have learnt is the same, but for what sums in another order make.
#[cfg(feature = "burn")]
fn assert_near(left: &Gru4Rec, right: &Gru4Rec) {
    let values = |model: &Gru4Rec| -> Vec<(String, Vec<f32>)> {
        let file = model.to_safetensors().unwrap();
        let tensors = SafeTensors::deserialize(&file).unwrap();
        let mut tensors = tensors.tensors();
        tensors.sort_by(|(left, _), (right, _)| left.cmp(right));
        let values = |bytes: &[u8]| {
            let (values, _) = bytes.as_chunks();
            values.iter().copied().map(f32::from_le_bytes).collect()
        };
        tensors
            .into_iter()
            .map(|(name, view)| (name, values(view.data())))
            .collect()
    };
    let (left, right) = (values(left), values(right));
    assert_eq!(left.len(), right.len());
    for ((name, left), (_, right)) in left.iter().zip(&right) {
        assert_eq!(left.len(), right.len(), "{name}");
        for (left, right) in left.iter().zip(right) {
            assert!((left - right).abs() < 0.01, "{name}: {left} {right}");
        }
    }
}

#[cfg(feature = "burn")]
#[test]
fn burn_on_the_cpu_agrees_with_the_kernel() {
    let train = train_set(200);
    for config in configs().into_iter().chain(networks()) {
        assert_engines_agree(&Engine::flex(), &config, &train, 1e-4);
    }
    for config in configs() {
        // Batches of one lane have no other target, so without draws there is no negative.
        let config = Gru4RecConfig {
            batch_size: 1,
            n_sample: 0,
            n_epochs: 1,
            ..config
        };
        assert_engines_agree(&Engine::flex(), &config, &train_set(10), 1e-4);
    }
}

#[cfg(feature = "wgpu")]
#[test]
fn burn_on_a_gpu_agrees_with_the_kernel() {
    let engine = match Engine::wgpu() {
        Ok(engine) => engine,
        Err(error) => {
            assert!(matches!(error, Error::DeviceUnavailable { .. }), "{error}");
            println!("not run: {error}");
            return;
        }
    };
    let train = train_set(12);
    for config in configs().into_iter().chain(networks()) {
        let config = Gru4RecConfig {
            layer: 8,
            batch_size: 8,
            n_epochs: 1,
            ..config
        };
        assert_engines_agree(&engine, &config, &train, 1e-4);
    }
}

#[cfg(feature = "burn")]
#[test]
fn scores_are_those_of_the_forward_pass_in_burn() {
    use reco_train::burn::tensor::activation::sigmoid;
    use reco_train::burn::tensor::{Device, Tensor, TensorData};

    let (model, _) = fit(&config(), Engine::cpu(2), &train_set(200));
    let (artifact, dim, device) = (model.to_artifact().unwrap(), 20, Device::flex());
    let tensor = |name: &str, shape: [usize; 2]| {
        let shape_there = if shape[0] == 1 { &shape[1..] } else { &shape };
        let values = artifact.tensor(name, shape_there).unwrap();
        Tensor::<2>::from_data(TensorData::new(values, shape), &device)
    };
    let items = tensor("item_embedding", [N_ITEMS, dim]);
    let session = [3, 24, 11, 3, 39];
    let mut h = Tensor::<2>::zeros([1, dim], &device);
    for item in session {
        let x = items.clone().narrow(0, item, 1);
        let ih =
            x.matmul(tensor("weight_ih", [3 * dim, dim]).t()) + tensor("bias_ih", [1, 3 * dim]);
        let hh = h.clone().matmul(tensor("weight_hh", [3 * dim, dim]).t())
            + tensor("bias_hh", [1, 3 * dim]);
        let gate = |of: &Tensor<2>, gate: usize| of.clone().narrow(1, gate * dim, dim);
        let r = sigmoid(gate(&ih, 0) + gate(&hh, 0));
        let z = sigmoid(gate(&ih, 1) + gate(&hh, 1));
        let n = (gate(&ih, 2) + r * gate(&hh, 2)).tanh();
        h = (z.clone().neg() + 1.0) * n + z * h;
    }
    let expected = h.matmul(items.t()) + tensor("item_bias", [1, N_ITEMS]);
    let expected = expected.into_data().try_into_vec::<f32>().unwrap();

    let encoded: Vec<ItemIdx> = (0..).map(ItemIdx).take(N_ITEMS).collect();
    let mut scores = vec![f32::NAN; N_ITEMS];
    model
        .score_batch(&[&session.map(|item| encoded[item])], &mut scores)
        .unwrap();
    for (score, expected) in scores.iter().zip(expected) {
        assert!((score - expected).abs() < 1e-5, "{score} {expected}");
    }
}

#[test]
fn it_keeps_the_contract_of_a_model() {
    let (model, _) = fit(&config(), Engine::cpu(2), &train_set(200));
    let sessions = [
        &[3][..],
        &[3, 24, 11],
        &[5, 5, 5],
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    ]
    .map(session);
    testing::model(&model, &sessions);
    assert!(
        model
            .recommend(&["unknown"].into_iter().collect(), 5)
            .unwrap()
            .is_empty()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn scores_do_not_depend_on_the_batch(
        sessions in prop::collection::vec(prop::collection::vec(0..4_u32, 1..6), 1..20),
    ) {
        let (model, _) = fit(&config(), Engine::cpu(1), &train_set(20));
        let n_items = model.encoder().vocabulary().len();
        let sessions: Vec<Vec<ItemIdx>> =
            sessions.into_iter().map(|session| session.into_iter().map(ItemIdx).collect()).collect();
        let together: Vec<&[ItemIdx]> = sessions.iter().map(Vec::as_slice).collect();
        let mut scores = vec![f32::NAN; together.len() * n_items];
        model.score_batch(&together, &mut scores).unwrap();
        for (session, scores) in together.iter().zip(scores.chunks(n_items)) {
            let mut alone = vec![f32::NAN; n_items];
            model.score_batch(&[session], &mut alone).unwrap();
            prop_assert_eq!(scores, alone);
        }
    }
}

#[test]
fn a_loaded_model_answers_as_the_saved_one() {
    for config in configs() {
        let (model, _) = fit(&config, Engine::cpu(2), &train_set(200));
        let files = model.to_artifact().unwrap().to_files().unwrap();
        let artifact = ModelArtifact::from_files(&files).unwrap();
        assert_eq!(artifact.config::<Gru4RecConfig>().unwrap(), config);
        let loaded = Gru4RecLoader.load(&artifact).unwrap();
        let sessions = [&[3][..], &[3, 24, 11], &[7; 40]].map(session);
        assert_eq!(
            model.recommend_batch(&sessions, 10).unwrap(),
            loaded.recommend_batch(&sessions, 10).unwrap()
        );
    }
}

#[test]
fn an_artifact_that_does_not_fit_is_refused() {
    let (model, _) = fit(&config(), Engine::cpu(1), &train_set(50));
    let artifact = model.to_artifact().unwrap();
    let check = |config: serde_json::Value, expected: &str| {
        let mut builder =
            ModelArtifact::builder("gru4rec", &artifact.encoder().unwrap()).config(config);
        for (name, shape) in artifact.tensor_shapes().unwrap() {
            builder = builder.tensor(
                name.clone(),
                &shape,
                &artifact.tensor(&name, &shape).unwrap(),
            );
        }
        let error = Gru4RecLoader.load(&builder.build().unwrap()).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let text = format!("{error}: {}", source.unwrap_or_default());
        assert!(text.contains(expected), "{text}");
    };
    check(serde_json::json!({"layer": 21}), "tensor `item_embedding`");
    check(
        serde_json::json!({"layer": 0}),
        "`layer` must be from 1 to 16384, is 0",
    );
    check(serde_json::json!({"layers": 20}), "unknown key `layers`");
}

#[test]
fn a_break_ends_the_training_with_the_model_so_far() {
    let train = train_set(100);
    let one_epoch = Gru4RecConfig {
        n_epochs: 1,
        ..config()
    };
    let (expected, _) = fit(&one_epoch, Engine::cpu(2), &train);
    let mut reports = Vec::new();
    let model = Gru4RecTrainer::new(config(), Engine::cpu(2))
        .fit(&train, &mut |report| {
            reports.push(*report);
            ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!(reports.len(), 1);
    assert_eq!((reports[0].epoch, reports[0].n_epochs), (1, 2));
    let n_pairs = train
        .sessions()
        .map(|session| session.len() as u64 - 1)
        .sum::<u64>();
    assert_eq!(reports[0].n_events, n_pairs);
    let sessions = [session(&[3]), session(&[5, 6])];
    assert_eq!(
        model.recommend_batch(&sessions, 5).unwrap(),
        expected.recommend_batch(&sessions, 5).unwrap()
    );
}

#[test]
fn a_divergence_is_an_error() {
    let config = Gru4RecConfig {
        learning_rate: 1e30,
        ..config()
    };
    let error = Gru4RecTrainer::new(config, Engine::cpu(1))
        .fit(&train_set(100), &mut |_| ControlFlow::Continue(()))
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Diverged {
                model: "gru4rec",
                epoch: 1
            }
        ),
        "{error}"
    );
}

#[test]
fn an_item_without_a_neighbour_is_not_in_the_vocabulary() {
    let mut builder = SessionDataset::builder(SessionEncoding::default());
    for (session, item) in [("pair", "hat"), ("pair", "scarf"), ("alone", "tie")] {
        builder.push(session, item, Timestamp::UNIX_EPOCH).unwrap();
    }
    let data = builder.build().unwrap();
    let train = Split::from_parts(data.clone(), data).train;
    let model = Gru4RecTrainer::new(config(), Engine::cpu(1))
        .fit(&train, &mut |_| ControlFlow::Continue(()))
        .unwrap();
    let known = model.encoder().vocabulary().items();
    assert_eq!(known, ["hat", "scarf"].map(ItemId::from));
}

#[test]
fn a_bad_setting_is_an_error() {
    let config = Gru4RecConfig {
        momentum: 1.5,
        ..config()
    };
    let error = Gru4RecTrainer::new(config, Engine::cpu(1))
        .fit(&train_set(10), &mut |_| ControlFlow::Continue(()))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "gru4rec: `momentum` must be at least 0 and below 1, is 1.5"
    );
}
