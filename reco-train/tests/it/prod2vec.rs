//! prod2vec on both engines.

use std::ops::ControlFlow;

use reco_core::{Model, ModelArtifact, ModelExt, ModelLoader, Split, testing};
use reco_train::evaluate::Recall;
use reco_train::prod2vec::Vanished;
use reco_train::{
    Engine, EpochReport, PopularityTrainer, Prod2Vec, Prod2VecConfig, Prod2VecLoader,
    Prod2VecTrainer, Trainer, evaluate,
};

use crate::shop;

fn config() -> Prod2VecConfig {
    Prod2VecConfig {
        vector_size: 24,
        window: 3,
        sample: 0.0,
        epochs: 10,
        ..Default::default()
    }
}

fn fit(split: &Split, config: Prod2VecConfig, engine: Engine) -> (Prod2Vec, Vec<EpochReport>) {
    let mut reports = Vec::new();
    let mut observer = |report: &EpochReport| {
        reports.push(*report);
        ControlFlow::Continue(())
    };
    let model = Prod2VecTrainer::new(config, engine)
        .fit(&split.train, &mut observer)
        .unwrap();
    (model, reports)
}

#[test]
fn it_keeps_the_contract_and_comes_back_from_its_artifact() {
    let split = shop::split();
    let sessions = shop::sessions(&split);
    let (model, reports) = fit(
        &split,
        Prod2VecConfig {
            last: 3,
            ..config()
        },
        Engine::cpu(1),
    );
    testing::model(&model, &sessions);
    assert_eq!(
        reports
            .iter()
            .map(|report| report.epoch)
            .collect::<Vec<_>>(),
        Vec::from_iter(1..=10)
    );
    assert!(reports[9].loss < reports[0].loss, "{reports:?}");

    let artifact = model.to_artifact().unwrap();
    let artifact = ModelArtifact::from_files(&artifact.to_files().unwrap()).unwrap();
    assert_eq!(
        artifact.config::<Prod2VecConfig>().unwrap(),
        *model.config()
    );
    let loaded = Prod2VecLoader.load(&artifact).unwrap();
    assert_eq!(loaded.kind(), "prod2vec");
    assert_eq!(
        loaded.recommend_batch(&sessions, 20).unwrap(),
        model.recommend_batch(&sessions, 20).unwrap()
    );
}

#[test]
fn one_thread_gives_the_same_bytes() {
    let split = shop::split();
    let bytes = || {
        fit(&split, config(), Engine::cpu(1))
            .0
            .to_artifact()
            .unwrap()
            .to_files()
            .unwrap()
    };
    assert_eq!(bytes(), bytes());
}

#[test]
fn rare_items_are_not_in_the_model() {
    let data = shop::dataset(&["a b", "a b rare", "a b"]);
    let split = Split::from_parts(data.clone(), data);
    let config = Prod2VecConfig {
        min_count: 2,
        ..config()
    };
    let (model, _) = fit(&split, config, Engine::cpu(1));
    assert!(model.vector("a").is_some());
    assert_eq!(model.vector("rare"), None);
    assert!(
        model
            .recommend(&["rare"].into_iter().collect(), 5)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn what_cannot_be_learnt_is_an_error() {
    let check = |config: Prod2VecConfig, sessions: &[&str], expected: &str| {
        let data = shop::dataset(sessions);
        let split = Split::from_parts(data.clone(), data);
        let trainer = Prod2VecTrainer::new(config, Engine::cpu(1));
        let error = trainer
            .fit(&split.train, &mut |_| ControlFlow::Continue(()))
            .unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(
        config(),
        &["a b", "a"],
        "prod2vec: no session has two items of a count of 5 or more",
    );
    check(
        Prod2VecConfig {
            window: 0,
            ..config()
        },
        &["a b"],
        "prod2vec: `window` must be from 1 to 1048576, is 0",
    );
}

#[cfg(feature = "burn")]
#[test]
fn what_the_burn_engine_has_not_is_refused_by_name() {
    let config = Prod2VecConfig {
        hs: true,
        ..config()
    };
    let trainer = Prod2VecTrainer::new(config, Engine::flex());
    let fitted = trainer.fit(&shop::split().train, &mut |_| ControlFlow::Continue(()));
    let expected = "prod2vec: engine `burn` has no hierarchical softmax; the CPU engine has";
    assert_eq!(fitted.unwrap_err().to_string(), expected);
}

#[test]
fn it_learns_what_popularity_cannot() {
    let split = shop::split();
    let recall = Recall::at(20);
    let popularity = PopularityTrainer
        .fit(&split.train, &mut |_| ControlFlow::Continue(()))
        .unwrap();
    let floor = evaluate(&popularity, &split.test, &[recall])
        .unwrap()
        .get(recall)
        .unwrap();
    for sg in [true, false] {
        let (model, _) = fit(&split, Prod2VecConfig { sg, ..config() }, Engine::cpu(2));
        let found = evaluate(&model, &split.test, &[recall])
            .unwrap()
            .get(recall)
            .unwrap();
        assert!(found > floor + 0.1, "sg {sg}: {found}, popularity {floor}");
    }
}

#[cfg(feature = "burn")]
#[test]
fn the_burn_engine_is_as_good_as_the_kernel() {
    let split = shop::split();
    let recall = Recall::at(20);
    for sg in [true, false] {
        let config = Prod2VecConfig { sg, ..config() };
        let [on_cpu, on_flex] = [Engine::cpu(1), Engine::flex()].map(|engine| {
            let (model, reports) = fit(&split, config.clone(), engine);
            let recall = evaluate(&model, &split.test, &[recall])
                .unwrap()
                .get(recall)
                .unwrap();
            (recall, reports[9].loss)
        });
        assert!(
            (on_cpu.0 - on_flex.0).abs() < 0.01,
            "sg {sg}: {on_cpu:?} {on_flex:?}"
        );
        assert!(
            (on_cpu.1 - on_flex.1).abs() < 0.05,
            "sg {sg}: {on_cpu:?} {on_flex:?}"
        );
    }
}

#[cfg(feature = "burn")]
#[test]
fn the_burn_engine_gives_the_same_bytes_and_stops_when_told() {
    let split = shop::split();
    let config = Prod2VecConfig {
        epochs: 3,
        ..config()
    };
    let stop_after = |epochs: u32| {
        let trainer = Prod2VecTrainer::new(config.clone(), Engine::flex());
        let mut seen = 0;
        let mut observer = |report: &EpochReport| {
            seen = report.epoch;
            if seen == epochs {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let model = trainer.fit(&split.train, &mut observer).unwrap();
        assert_eq!(seen, epochs);
        model.to_artifact().unwrap().to_files().unwrap()
    };
    assert_eq!(stop_after(1), stop_after(1));
    assert_ne!(stop_after(1), stop_after(2));
}

#[test]
fn few_items_share_no_negatives() {
    let vectors = |n_items: usize, share_negatives: bool| {
        let walk = |start: usize| {
            let items = (start..start + 5).map(|item| format!("i{}", item % n_items));
            items.collect::<Vec<_>>().join(" ")
        };
        let sessions: Vec<String> = (0..n_items).map(walk).collect();
        let sessions: Vec<&str> = sessions.iter().map(String::as_str).collect();
        let data = shop::dataset(&sessions);
        let config = Prod2VecConfig {
            share_negatives,
            ..config()
        };
        let (model, _) = fit(
            &Split::from_parts(data.clone(), data),
            config,
            Engine::cpu(1),
        );
        model.vector("i0").unwrap().to_vec()
    };
    assert_eq!(vectors(31, true), vectors(31, false));
    assert_ne!(vectors(32, true), vectors(32, false));
}

/// Runs on any adapter, a software one included.
#[cfg(feature = "wgpu")]
#[test]
fn the_gpu_learns_what_the_cpu_does() {
    let engine = match Engine::wgpu() {
        Ok(engine) => engine,
        Err(error @ reco_train::Error::DeviceUnavailable { .. }) => {
            println!("not tested: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    // Opening it again gives the same device.
    assert!(Engine::wgpu().is_ok());
    let data = shop::dataset(&["a b c", "b c a", "c a b", "x y z", "y z x", "z x y"].repeat(3));
    let split = Split::from_parts(data.clone(), data);
    let config = Prod2VecConfig {
        vector_size: 8,
        epochs: 2,
        ..config()
    };
    let [(on_flex, expected), (on_gpu, found)] =
        [Engine::flex(), engine].map(|engine| fit(&split, config.clone(), engine));
    for item in ["a", "b", "c", "x", "y", "z"] {
        let pairs = on_flex
            .vector(item)
            .unwrap()
            .iter()
            .zip(on_gpu.vector(item).unwrap());
        pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-4, "{item}: {a} {b}"));
    }
    assert!(
        (expected[1].loss - found[1].loss).abs() < 1e-3,
        "{expected:?} {found:?}"
    );
}

#[test]
fn hierarchical_softmax_learns_too() {
    let split = shop::split();
    let recall = Recall::at(20);
    let of = |config: Prod2VecConfig| {
        let (model, reports) = fit(&split, config, Engine::cpu(1));
        assert!(reports[9].loss < reports[0].loss, "{reports:?}");
        let found = evaluate(&model, &split.test, &[recall]).unwrap();
        found.get(recall).unwrap()
    };
    for sg in [true, false] {
        let negatives = of(Prod2VecConfig { sg, ..config() });
        for negative in [0, 5] {
            let found = of(Prod2VecConfig {
                sg,
                hs: true,
                negative,
                ..config()
            });
            assert!(
                found > negatives - 0.1,
                "sg {sg}, {negative} negatives: {found}, without: {negatives}"
            );
        }
    }
}

#[test]
fn a_day_later_old_items_keep_their_place_and_new_ones_get_in() {
    let split = shop::split();
    let recall = Recall::at(20);
    let quality = |model: &Prod2Vec| {
        evaluate(model, &split.test, &[recall])
            .unwrap()
            .get(recall)
            .unwrap()
    };
    let config = Prod2VecConfig {
        keep_outputs: true,
        ..config()
    };
    // The day before: an item that vanishes, and the shop.
    let mut day: Vec<String> = (0..split.train.n_sessions())
        .map(|session| {
            let items = split.train.decode(session);
            let items: Vec<_> = items.items().iter().map(|item| item.as_str()).collect();
            items.join(" ")
        })
        .collect();
    let hat = split.train.vocabulary().items()[0].clone();
    day.extend((0..20).map(|_| format!("gone {hat}")));
    let data = shop::dataset(&day.iter().map(String::as_str).collect::<Vec<_>>());
    let before = Split::from_parts(data.clone(), data);
    let (before, _) = fit(&before, config.clone(), Engine::cpu(1));
    // It comes back from its artifact with all that is needed.
    let before = Prod2Vec::from_artifact(&before.to_artifact().unwrap()).unwrap();

    // The day after: a new item beside an old one.
    day.truncate(split.train.n_sessions());
    day.extend((0..40).map(|_| format!("new {hat} new {hat}")));
    let data = shop::dataset(&day.iter().map(String::as_str).collect::<Vec<_>>());
    let after = Split::from_parts(data.clone(), data);
    let less = Prod2VecConfig {
        epochs: 3,
        ..config
    };
    let continued = |vanished| {
        Prod2VecTrainer::new(less.clone(), Engine::cpu(1))
            .continuing(before.clone(), vanished)
            .fit(&after.train, &mut |_| ControlFlow::Continue(()))
            .unwrap()
    };
    let kept = continued(Vanished::Keep);
    assert_eq!(kept.vector("gone"), before.vector("gone"));
    assert_eq!(continued(Vanished::Drop).vector("gone"), None);
    let near = kept.similar("new", 20).unwrap();
    assert!(near.items().any(|item| *item == hat), "{near:?}");

    let (fresh, _) = fit(&after, config, Engine::cpu(1));
    let [kept, fresh] = [&kept, &fresh].map(quality);
    assert!(kept > fresh - 0.02, "{kept}, from scratch {fresh}");
}

#[test]
fn what_training_cannot_continue_from_is_an_error() {
    let split = shop::split();
    let (earlier, _) = fit(&split, config(), Engine::cpu(1));
    let check = |config: Prod2VecConfig, expected: &str| {
        let trainer = Prod2VecTrainer::new(config, Engine::cpu(1));
        let error = trainer
            .continuing(earlier.clone(), Vanished::Keep)
            .fit(&split.train, &mut |_| ControlFlow::Continue(()))
            .unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(
        config(),
        "prod2vec: `keep_outputs` must be set for the model that training continues from",
    );
    check(
        Prod2VecConfig {
            vector_size: 25,
            ..config()
        },
        "prod2vec: `vector_size` must be from 24 to 24, is 25",
    );
}
