//! The purchase intent of a session, on sessions of which the law of purchases is known.

use std::ops::ControlFlow;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use reco_core::{Session, SessionDataset, SessionEncoding, Split, Timestamp};
use reco_train::gru4rec::{IntentConfig, PurchaseIntent};
use reco_train::{Engine, Error, Gru4Rec, Gru4RecConfig, Gru4RecTrainer, Trainer};

/// Sessions of a few items of thirty. A shopper who has looked at the size chart buys in seven cases of ten, any
/// other in one of ten.
fn sessions(n_sessions: usize, seed: u64) -> Vec<(Vec<String>, bool)> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut session = || {
        let len = rng.random_range(2..6);
        let mut items: Vec<String> = (0..len)
            .map(|_| format!("item-{}", rng.random_range(0..30)))
            .collect();
        let looks = rng.random_bool(0.4);
        if looks {
            let at = rng.random_range(0..len);
            "size-chart".clone_into(&mut items[at]);
        }
        let buys = rng.random_bool(if looks { 0.7 } else { 0.1 });
        (items, buys)
    };
    (0..n_sessions).map(|_| session()).collect()
}

fn model(sessions: &[(Vec<String>, bool)]) -> Gru4Rec {
    let mut builder = SessionDataset::builder(SessionEncoding::default());
    for (session, (items, _)) in sessions.iter().enumerate() {
        for (position, item) in items.iter().enumerate() {
            let second = i64::try_from(100 * session + position).unwrap();
            let time = Timestamp::from_second(second).unwrap();
            builder.push(&format!("{session:05}"), item, time).unwrap();
        }
    }
    let data = builder.build().unwrap();
    let split = Split::from_parts(data.clone(), data);
    let config = Gru4RecConfig {
        layer: 32,
        batch_size: 32,
        n_sample: 16,
        ..Gru4RecConfig::default()
    };
    Gru4RecTrainer::new(config, Engine::cpu(2))
        .fit(&split.train, &mut |_| ControlFlow::Continue(()))
        .unwrap()
}

fn labelled(sessions: &[(Vec<String>, bool)]) -> Vec<(Session, bool)> {
    let session =
        |(items, buys): &(Vec<String>, bool)| (items.iter().map(String::as_str).collect(), *buys);
    sessions.iter().map(session).collect()
}

fn intent() -> PurchaseIntent {
    let past = sessions(3000, 1);
    let model = Arc::new(model(&past));
    PurchaseIntent::fit(model, &labelled(&past), &IntentConfig::default()).unwrap()
}

#[test]
fn it_finds_the_law_of_purchases() {
    let intent = intent();
    let later = sessions(1000, 2);
    let (whole, _): (Vec<Session>, Vec<bool>) = labelled(&later).into_iter().unzip();
    let found = intent.probabilities(&whole).unwrap();
    let mean = |looks: bool| {
        let of_kind = later
            .iter()
            .zip(&found)
            .filter(|((items, _), _)| items.iter().any(|item| item == "size-chart") == looks);
        let found: Vec<f64> = of_kind.map(|(_, found)| found.unwrap()).collect();
        found.iter().sum::<f64>() / found.len() as f64
    };
    let (with, without) = (mean(true), mean(false));
    assert!(with > 0.5 && without < 0.25, "{with} {without}");
    // What is known is worth something: a lower loss than that of the share of purchases.
    let log_loss = |p: &dyn Fn(usize) -> f64| {
        let outcomes = later.iter().enumerate();
        let losses = outcomes.map(|(i, (_, buys))| -(if *buys { p(i) } else { 1.0 - p(i) }).ln());
        losses.sum::<f64>() / later.len() as f64
    };
    let share = later.iter().filter(|(_, buys)| *buys).count() as f64 / later.len() as f64;
    let (ours, of_share) = (log_loss(&|i| found[i].unwrap()), log_loss(&|_| share));
    assert!(ours < of_share - 0.1, "{ours} {of_share}");
}

#[test]
fn it_goes_into_the_artifact_of_its_model_and_comes_back() {
    let intent = intent();
    let artifact = intent.to_artifact().unwrap();
    let back = PurchaseIntent::from_artifact(&artifact).unwrap();
    let sessions = [
        &["size-chart"][..],
        &["item-3", "item-4"],
        &["never seen"],
        &[],
    ];
    let sessions = sessions.map(|items| items.iter().copied().collect::<Session>());
    let found = intent.probabilities(&sessions).unwrap();
    assert_eq!(found, back.probabilities(&sessions).unwrap());
    assert!(found[0] > found[1] && found[1].is_some());
    assert_eq!(found[2..], [None, None]);
    let without = intent.model().to_artifact().unwrap();
    let error = PurchaseIntent::from_artifact(&without).unwrap_err();
    assert!(format!("{error:?}").contains("intent_weight"), "{error:?}");
}

#[test]
fn one_outcome_teaches_nothing() {
    let past = sessions(50, 1);
    let all_buy: Vec<_> = labelled(&past)
        .into_iter()
        .map(|(session, _)| (session, true))
        .collect();
    let model = Arc::new(model(&past));
    let fit = |config: &IntentConfig| {
        let error = PurchaseIntent::fit(Arc::clone(&model), &all_buy, config);
        error.unwrap_err()
    };
    let error = fit(&IntentConfig::default());
    assert!(matches!(error, Error::NothingToLearn { .. }), "{error}");
    let error = fit(&IntentConfig {
        l2: 0.0,
        ..IntentConfig::default()
    });
    assert_eq!(
        error.to_string(),
        "gru4rec: `l2` must be finite and above 0, is 0"
    );
}
