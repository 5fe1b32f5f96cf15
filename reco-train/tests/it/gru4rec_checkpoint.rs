//! Checkpoints of GRU4Rec: a training that goes on is the one that was not interrupted.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use reco_core::{ModelArtifact, SessionDataset, SessionEncoding, Split, Timestamp, TrainSet};
use reco_train::gru4rec::Loss;
use reco_train::{Engine, Error, Gru4RecConfig, Gru4RecTrainer, Trainer};

const N_EPOCHS: u32 = 4;

fn train_set(n_sessions: i64) -> TrainSet {
    let mut builder = SessionDataset::builder(SessionEncoding::default());
    for session in 0..n_sessions {
        for position in 0..2 + session % 4 {
            let item = (session * session + 3 * position) % 17;
            let time = Timestamp::from_second(100 * session + position).unwrap();
            builder
                .push(&format!("{session:03}"), &item.to_string(), time)
                .unwrap();
        }
    }
    let data = builder.build().unwrap();
    Split::from_parts(data.clone(), data).train
}

/// Everything that there is to remember: momentum, dropout, layers, inputs of their own.
fn configs() -> [Gru4RecConfig; 2] {
    let config = Gru4RecConfig {
        layer: 10,
        batch_size: 12,
        n_sample: 9,
        n_epochs: N_EPOCHS,
        dropout_p_embed: 0.2,
        dropout_p_hidden: 0.3,
        ..Gru4RecConfig::default()
    };
    let other = Gru4RecConfig {
        loss: Loss::BprMax,
        momentum: 0.4,
        lower_layers: vec![7],
        constrained_embedding: false,
        embedding: 5,
        ..config
    };
    [config, other]
}

fn trainer(config: &Gru4RecConfig) -> Gru4RecTrainer {
    Gru4RecTrainer::new(config.clone(), Engine::cpu(2))
}

/// The model, and the epochs that the observer heard of; it breaks after one of them.
fn fit(trainer: &Gru4RecTrainer, train: &TrainSet, last: u32) -> (ModelArtifact, Vec<u32>) {
    let mut epochs = Vec::new();
    let model = trainer.fit(train, &mut |report| {
        epochs.push(report.epoch);
        if report.epoch == last {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    (model.unwrap().to_artifact().unwrap(), epochs)
}

#[test]
fn a_training_goes_on_to_the_same_bytes_from_any_epoch() {
    let (dir, train) = (tempfile::tempdir().unwrap(), train_set(60));
    for config in configs() {
        let (undisturbed, epochs) = fit(&trainer(&config), &train, u32::MAX);
        assert_eq!(epochs, [1, 2, 3, 4]);
        for last in 1..=N_EPOCHS {
            let file = dir.path().join(format!("{last}"));
            let (stopped, _) = fit(&trainer(&config).checkpoint(&file), &train, last);
            assert_eq!(stopped == undisturbed, last == N_EPOCHS);
            let (resumed, epochs) = fit(&trainer(&config).resume(&file), &train, u32::MAX);
            assert_eq!(resumed, undisturbed, "from epoch {last}");
            assert_eq!(epochs, (last + 1..=N_EPOCHS).collect::<Vec<_>>());
        }
    }
}

#[cfg(feature = "burn")]
#[test]
fn a_training_goes_on_on_a_device_and_on_another_engine() {
    let (dir, train) = (tempfile::tempdir().unwrap(), train_set(60));
    let file = dir.path().join("training");
    let on = |engine, config: &Gru4RecConfig| Gru4RecTrainer::new(config.clone(), engine);
    let one_hot = Gru4RecConfig {
        embedding: 0,
        dropout_p_embed: 0.0,
        ..configs()[1].clone()
    };
    for config in configs().into_iter().chain([one_hot]) {
        let (undisturbed, _) = fit(&on(Engine::flex(), &config), &train, u32::MAX);
        let near = |resumed: &ModelArtifact| {
            for name in ["item_embedding", "item_bias"] {
                let [found, expected] = [resumed, &undisturbed].map(|artifact| {
                    let shape = [17, config.layer];
                    let n_axes = if name == "item_bias" { 1 } else { 2 };
                    artifact.tensor(name, &shape[..n_axes]).unwrap()
                });
                for (found, expected) in found.iter().zip(&expected) {
                    assert!(
                        (found - expected).abs() < 1e-3,
                        "{name}: {found} {expected}"
                    );
                }
            }
        };
        fit(&on(Engine::flex(), &config).checkpoint(&file), &train, 2);
        let (resumed, epochs) = fit(&on(Engine::flex(), &config).resume(&file), &train, u32::MAX);
        assert_eq!((resumed, epochs), (undisturbed.clone(), vec![3, 4]));
        near(&fit(&trainer(&config).resume(&file), &train, u32::MAX).0);
        fit(&trainer(&config).checkpoint(&file), &train, 2);
        near(&fit(&on(Engine::flex(), &config).resume(&file), &train, u32::MAX).0);
    }
}

#[test]
fn a_training_can_be_interrupted_again_and_go_on_longer() {
    let (dir, train) = (tempfile::tempdir().unwrap(), train_set(60));
    let file = dir.path().join("training");
    let [config, _] = configs();
    let (undisturbed, _) = fit(&trainer(&config), &train, u32::MAX);
    let shorter = Gru4RecConfig {
        n_epochs: 2,
        ..config.clone()
    };
    fit(&trainer(&shorter).checkpoint(&file), &train, 1);
    fit(
        &trainer(&shorter).resume(&file).checkpoint(&file),
        &train,
        u32::MAX,
    );
    let on_one_thread = Gru4RecTrainer::new(config, Engine::cpu(1)).resume(&file);
    let (resumed, epochs) = fit(&on_one_thread, &train, u32::MAX);
    assert_eq!((resumed, epochs), (undisturbed, vec![3, 4]));
    let names = fs::read_dir(dir.path()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["training"], "nothing is left beside it");
}

fn error_of(trainer: &Gru4RecTrainer, train: &TrainSet) -> String {
    let error = trainer
        .fit(train, &mut |_| ControlFlow::Continue(()))
        .unwrap_err();
    assert!(matches!(error, Error::Checkpoint { .. }), "{error}");
    error.to_string()
}

#[test]
fn a_checkpoint_of_something_else_is_refused() {
    let (dir, train) = (tempfile::tempdir().unwrap(), train_set(60));
    let file = dir.path().join("training");
    let [config, other] = configs();
    fit(&trainer(&config).checkpoint(&file), &train, 1);
    let check = |config: &Gru4RecConfig, train: &TrainSet, expected: &str| {
        let text = error_of(&trainer(config).resume(&file), train);
        let expected = format!("checkpoint `{}`: {expected}", file.display());
        assert_eq!(text, expected);
    };
    check(&config, &train_set(61), "it is of other data");
    check(
        &other,
        &train,
        "it is of another configuration: `constrained_embedding` differs",
    );
    let seed = Gru4RecConfig {
        seed: 2,
        ..config.clone()
    };
    check(
        &seed,
        &train,
        "it is of another configuration: `seed` differs",
    );
    fs::remove_file(&file).unwrap();
    let text = error_of(&trainer(&config).resume(&file), &train);
    assert!(text.contains("No such file"), "{text}");
}

#[test]
fn a_file_that_is_not_whole_is_refused() {
    let (dir, train) = (tempfile::tempdir().unwrap(), train_set(60));
    let file = dir.path().join("training");
    let [config, _] = configs();
    fit(&trainer(&config).checkpoint(&file), &train, 1);
    let whole = fs::read(&file).unwrap();
    let check = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        error_of(&trainer(&config).resume(&file), &train)
    };
    for len in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        check(&whole[..len]);
    }
    // A bit of the header, of the weights, of the optimiser's memory.
    for position in (9..whole.len()).step_by(whole.len() / 50) {
        let mut bytes = whole.clone();
        bytes[position] ^= 1;
        check(&bytes);
    }
    let text = check(&{
        let header = br#"{"__metadata__":{}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header);
        bytes
    });
    assert!(text.ends_with("it is no checkpoint"), "{text}");
}

#[test]
fn a_checkpoint_that_cannot_be_written_ends_the_training() {
    let [config, _] = configs();
    let nowhere = Path::new("there/is/no/such/folder/training");
    let text = error_of(&trainer(&config).checkpoint(nowhere), &train_set(60));
    assert!(text.contains("there/is/no/such/folder"), "{text}");
}
