//! Studies of trainers on the synthetic shop.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use reco_core::{Split, TestSet};
use reco_train::evaluate::Mrr;
use reco_train::search::{
    AshaConfig, Budget, Fitting, Judge, Outcome, Parameter, Pruner, Sampler, Space, Study,
    StudyConfig, Tunable,
};
use reco_train::{
    Engine, Gru4RecConfig, Gru4RecTrainer, Prod2VecConfig, Prod2VecTrainer, Trainer, VmisKnnConfig,
    VmisKnnTrainer, evaluate,
};

use super::timeless;
use crate::shop;

/// The last day for the end, the day before for the search.
static SPLIT: LazyLock<Split> = LazyLock::new(|| shop::split().hold_out_days(1).unwrap());

fn base() -> Prod2VecConfig {
    Prod2VecConfig {
        vector_size: 16,
        epochs: 4,
        min_count: 1,
        sample: 0.0,
        ..Default::default()
    }
}

fn prod2vec() -> impl Fn(Prod2VecConfig, Engine) -> Prod2VecTrainer + Sync {
    Prod2VecTrainer::new
}

fn asha(min_resource: u32) -> StudyConfig {
    StudyConfig {
        sampler: Sampler::Random,
        pruner: Pruner::Asha(AshaConfig {
            min_resource,
            reduction_factor: 2,
        }),
        ..Default::default()
    }
}

#[test]
fn a_split_without_a_validation_set_is_refused() {
    let split = shop::split();
    let error = Fitting::new(base(), &split, Mrr::at(20), prod2vec()).unwrap_err();
    assert_eq!(error.to_string(), "the validation set holds no session");
}

#[test]
fn what_the_configuration_does_not_take_is_refused_before_anything_runs() {
    let fitting = Fitting::new(base(), &SPLIT, Mrr::at(20), |_, _| -> Prod2VecTrainer {
        panic!("it ran")
    })
    .unwrap();
    let check = |parameter: Parameter, expected: &str| {
        let space = Space::new([parameter]).unwrap();
        let study = Study::new(space, StudyConfig::default(), Budget::threads(1));
        let error = study.run(&fitting, 3).unwrap_err().to_string();
        assert_eq!(error, expected);
    };
    check(
        Parameter::integer("vector_sise", 8, 32),
        "unknown key `vector_sise` in the configuration of `prod2vec`; did you mean `vector_size`?",
    );
    check(
        Parameter::uniform("window", 1.0, 5.0),
        "the search space is invalid: parameter `window` may be window=1.0, which is refused: the configuration of \
         `prod2vec` is invalid: invalid type: floating point `1.0`, expected u32",
    );
    check(
        Parameter::integer("epochs", 0, 5),
        "the search space is invalid: parameter `epochs` may be epochs=0, which is refused: prod2vec: `epochs` must be \
         from 1 to 4294967295, is 0",
    );
    check(
        Parameter::choice("sg", ["yes"]),
        "the search space is invalid: parameter `sg` may be sg=\"yes\", which is refused: the configuration of \
         `prod2vec` is invalid: invalid type: string \"yes\", expected a boolean",
    );
}

#[test]
fn prod2vec_is_tuned_on_validation_and_what_is_found_holds_on_test() {
    let space = Space::new([
        Parameter::integer("window", 1, 6),
        Parameter::integer("epochs", 2, 12),
        Parameter::log_uniform("alpha", 0.001, 0.2),
        Parameter::choice("ns_exponent", [-0.5, 0.0, 0.75]),
    ])
    .unwrap();
    let fitting = Fitting::new(base(), &SPLIT, Mrr::at(20), prod2vec()).unwrap();
    let study = Study::new(space, StudyConfig::default(), Budget::threads(1));
    let trials = study.run(&fitting, 14).unwrap();
    assert_eq!(trials.count("complete"), 14, "{trials:?}");
    let again = study.run(&fitting, 14).unwrap();
    assert_eq!(timeless(&trials), timeless(&again));

    // The value is what anybody gets who fits with these values.
    let best = trials.best().unwrap();
    let config = best.params.apply_to("prod2vec", &base()).unwrap();
    let score = |config: &Prod2VecConfig, on: &reco_core::SessionDataset| {
        let trainer = Prod2VecTrainer::new(config.clone(), Engine::cpu(1));
        let model = trainer
            .fit(&SPLIT.train, &mut |_| ControlFlow::Continue(()))
            .unwrap();
        evaluate(&model, on, &[Mrr::at(20)])
            .unwrap()
            .get(Mrr::at(20))
            .unwrap()
    };
    let validation = SPLIT.validation.as_ref().unwrap();
    assert_eq!(
        best.value().unwrap().to_bits(),
        score(&config, validation).to_bits()
    );
    let test: &TestSet = &SPLIT.test;
    let (tuned, untuned) = (score(&config, test), score(&base(), test));
    assert!(tuned > untuned * 1.02, "{tuned} {untuned}");
}

#[test]
fn rungs_are_judged_by_the_metric_of_so_many_epochs() {
    let base = Gru4RecConfig {
        layer: 8,
        n_sample: 32,
        batch_size: 32,
        n_epochs: 4,
        ..Default::default()
    };
    let space = Space::new([Parameter::log_uniform("learning_rate", 0.001, 0.3)]).unwrap();
    let fitting = Fitting::new(base.clone(), &SPLIT, Mrr::at(20), Gru4RecTrainer::new).unwrap();
    let trials = Study::new(space, asha(1), Budget::threads(1))
        .run(&fitting, 8)
        .unwrap();
    assert!(
        trials.count("pruned") > 0 && trials.count("complete") > 0,
        "{trials:?}"
    );
    for trial in trials.records() {
        let steps: Vec<u32> = trial.reports.iter().map(|(step, _)| *step).collect();
        // There is no rung at the end, where nothing is left to stop.
        let expected: &[u32] = match trial.outcome {
            Some(Outcome::Pruned { step: 1 }) => &[1],
            _ => &[1, 2],
        };
        assert_eq!(steps, expected, "{trial:?}");
    }
    // A report is the metric of the same fit, stopped there.
    let trial = &trials.records()[0];
    let config = trial.params.apply_to("gru4rec", &base).unwrap();
    let trainer = Gru4RecTrainer::new(config, Engine::cpu(1));
    let model = trainer
        .fit(&SPLIT.train, &mut |_| ControlFlow::Break(()))
        .unwrap();
    let validation = SPLIT.validation.as_ref().unwrap();
    let scores = evaluate(&model, validation, &[Mrr::at(20)]).unwrap();
    let (_, reported) = trial.reports[0];
    assert_eq!(
        scores.get(Mrr::at(20)).unwrap().to_bits(),
        reported.to_bits()
    );
}

#[test]
fn losses_of_epochs_stop_trials_for_nothing() {
    let space = Space::new([Parameter::log_uniform("alpha", 0.0005, 0.2)]).unwrap();
    let fitting = Fitting::new(base(), &SPLIT, Mrr::at(20), prod2vec())
        .unwrap()
        .judge(Judge::Loss);
    let trials = Study::new(space, asha(1), Budget::threads(1))
        .run(&fitting, 8)
        .unwrap();
    assert!(trials.count("pruned") > 0, "{trials:?}");
    for trial in trials.records() {
        let config = trial.params.apply_to("prod2vec", &base()).unwrap();
        let mut losses = Vec::new();
        let trainer = Prod2VecTrainer::new(config, Engine::cpu(1));
        trainer
            .fit(&SPLIT.train, &mut |report| {
                losses.push((report.epoch, -report.loss));
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(trial.reports, losses[..trial.reports.len()], "{trial:?}");
        if trial.value().is_some() {
            assert_eq!(trial.reports.len(), losses.len());
        }
    }
}

#[test]
fn a_model_without_epochs_can_be_tuned_and_a_budget_of_memory_is_kept() {
    let space = Space::new([
        Parameter::integer("k", 20, 500).step(20),
        Parameter::integer("m", 100, 1000).step(100),
    ])
    .unwrap();
    let fitting = Fitting::new(
        VmisKnnConfig::default(),
        &SPLIT,
        Mrr::at(20),
        |config, _| VmisKnnTrainer::new(config),
    )
    .unwrap();
    let study = |bytes| {
        let budget = Budget { threads: 2, bytes };
        Study::new(space.clone(), StudyConfig::default(), budget).workers(2)
    };
    let trials = study(u64::MAX).run(&fitting, 4).unwrap();
    assert_eq!(trials.count("complete"), 4, "{trials:?}");
    let needed = VmisKnnConfig::default().bytes(&SPLIT.train);
    let trials = study(needed - 1).run(&fitting, 2).unwrap();
    assert_eq!(trials.count("failed"), 2);
    let reason = format!("{:?}", trials.records()[0].outcome);
    let expected = format!(
        "needs {needed} bytes of memory, the budget has {}",
        needed - 1
    );
    assert!(reason.contains(&expected), "{reason}");
}
