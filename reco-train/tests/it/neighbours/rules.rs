//! Rules against numbers worked by hand, against the naive ones, and against their contract.

use std::ops::ControlFlow;

use proptest::prelude::*;
use reco_core::{ModelArtifact, testing};
use reco_train::{Error, Rules, RulesConfig, RulesLoader, RulesTrainer, Trainer, Weighting};

use super::{Scores, Visit, answer, assert_comes_back, assert_refused, assert_scores, fit, learnt};
use super::{in_pool, naive, train, visits};
use crate::shop;

/// 0 1 2 0 3, then 0 3.
fn two() -> Vec<Visit> {
    vec![(0, vec![0, 1, 2, 0, 3]), (1, vec![0, 3])]
}

/// The scores of items 0 to 3 after item 0.
#[track_caller]
fn check(config: RulesConfig, expected: [f64; 4]) {
    let model = fit(&RulesTrainer::new(config), &two());
    let expected: Scores = (0..).zip(expected).collect();
    assert_scores(&model, &[2, 0], &expected);
}

#[test]
fn weightings_worked_by_hand() {
    // After the first item 0: 1, 2, 0 and 3 by 1 to 4 steps; after each other: 3 by one step.
    let weighting = |weighting| RulesConfig {
        weighting,
        ..RulesConfig::default()
    };
    check(weighting(Weighting::Same), [1.0, 1.0, 1.0, 3.0]);
    check(weighting(Weighting::Div), [1.0 / 3.0, 1.0, 0.5, 2.25]);
    check(weighting(Weighting::Linear), [0.7, 0.9, 0.8, 2.4]);
    check(
        weighting(Weighting::Quadratic),
        [1.0 / 9.0, 1.0, 0.25, 2.0625],
    );
    let log = [1.487_878_570, 2.318_229_029, 1.759_938_342, 5.959_428_378];
    check(weighting(Weighting::Log), log);
}

#[test]
fn limits_worked_by_hand() {
    let same = RulesConfig {
        weighting: Weighting::Same,
        ..RulesConfig::default()
    };
    check(RulesConfig { steps: 2, ..same }, [0.0, 1.0, 1.0, 2.0]);
    check(RulesConfig { steps: 0, ..same }, [1.0, 1.0, 1.0, 3.0]);
    // Of four rules, the two that tie with the last by id.
    check(
        RulesConfig {
            pruning: 2.0,
            ..same
        },
        [1.0, 0.0, 0.0, 3.0],
    );
    check(
        RulesConfig {
            pruning: 0.5,
            ..same
        },
        [1.0, 0.0, 0.0, 3.0],
    );
    // A third of four is one, rounded down.
    check(
        RulesConfig {
            pruning: 0.33,
            ..same
        },
        [1.0, 1.0, 0.0, 3.0],
    );
    check(
        RulesConfig {
            pruning: 0.0,
            ..same
        },
        [1.0, 1.0, 1.0, 3.0],
    );
    check(
        RulesConfig {
            pruning: 1e9,
            ..same
        },
        [1.0, 1.0, 1.0, 3.0],
    );
    // Both ways, the pair of the two items 0 counts twice, and so do 1 and 2 between them.
    check(RulesConfig::association(), [2.0, 2.0, 2.0, 3.0]);
}

fn config() -> impl Strategy<Value = RulesConfig> {
    let weighting = prop::sample::select(vec![
        Weighting::Same,
        Weighting::Div,
        Weighting::Linear,
        Weighting::Log,
        Weighting::Quadratic,
    ]);
    let pruning = prop::sample::select(vec![0.0, 0.3, 0.9, 1.0, 3.0, 20.0]);
    (0..6_usize, weighting, pruning, any::<bool>()).prop_map(
        |(steps, weighting, pruning, both_ways)| RulesConfig {
            steps,
            weighting,
            pruning,
            both_ways,
        },
    )
}

proptest! {
    #[test]
    fn they_answer_as_the_naive_ones(visits in visits(), last in 0..9_u8, config in config()) {
        let trainer = RulesTrainer::new(config.clone());
        match trainer.fit(&train(&visits), &mut |_| ControlFlow::Continue(())) {
            Ok(model) => assert_scores(&model, &[last], &naive::rules(&visits, last, &config)),
            Err(Error::NothingToLearn { .. }) => {
                for item in 0..9 {
                    prop_assert!(naive::rules(&visits, item, &config).is_empty());
                }
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}

#[test]
fn they_keep_the_contract_and_come_back_from_their_artifact() {
    let split = shop::split();
    let sessions = shop::sessions(&split);
    let fit = |threads, config| {
        in_pool(threads, || {
            let trainer = RulesTrainer::new(config);
            let model = trainer.fit(&split.train, &mut |_| ControlFlow::Continue(()));
            model.unwrap()
        })
    };
    for config in [RulesConfig::default(), RulesConfig::association()] {
        let model = fit(3, config.clone());
        testing::model(&model, &sessions);
        let artifact = model.to_artifact().unwrap();
        assert_eq!(artifact, fit(1, config.clone()).to_artifact().unwrap());
        assert_eq!(artifact.config::<RulesConfig>().unwrap(), config);
        assert_comes_back(&model, &artifact, &RulesLoader, &sessions);
        let again = Rules::from_artifact(&artifact).unwrap();
        assert_eq!(learnt(&again.to_artifact().unwrap()), learnt(&artifact));
    }
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    let model = fit(&RulesTrainer::default(), &two());
    assert_eq!(model.n_rules(), 4 + 3 + 2);
    let artifact = model.to_artifact().unwrap();
    let check = |tensor, damage: &dyn Fn(&mut Vec<u32>), expected| {
        assert_refused(&artifact, &RulesLoader, (tensor, damage), expected);
    };
    check(
        "rule_items",
        &|v| v[0] = 4,
        "the rules of item 0 are out of order, or of an item of 4",
    );
    check(
        "rule_items",
        &|v| v.truncate(3),
        "tensor `rule_items` is (U32, [3])",
    );
    check(
        "rule_lengths",
        &|v| v[0] = 7,
        "tensor `rule_items` is (U32, [9])",
    );
    check(
        "rule_lengths",
        &|v| v.truncate(2),
        "tensor `rule_lengths` is (U32, [2])",
    );

    let encoder = artifact.encoder().unwrap();
    let weights = |weights: [f32; 2]| {
        let builder = ModelArtifact::builder("rules", &encoder)
            .indices("rule_items", &[2], &[0, 1])
            .indices("rule_lengths", &[4], &[2, 0, 0, 0])
            .tensor("rule_weights", &[2], &weights);
        Rules::from_artifact(&builder.build().unwrap())
    };
    assert!(weights([2.0, 1.0]).is_ok());
    assert!(weights([1.0, 2.0]).is_err());
    assert!(weights([1.0, 0.0]).is_err());
}

#[test]
fn unknown_and_no_items_get_no_answer() {
    let model = fit(&RulesTrainer::default(), &two());
    assert!(answer(&model, &[], 20).is_empty());
    assert!(answer(&model, &[8, 7], 20).is_empty());
    assert_eq!(answer(&model, &[8, 0, 7], 1000).len(), 4);
    // Nothing came after item 3.
    assert!(answer(&model, &[0, 3], 20).is_empty());
}

#[test]
fn what_cannot_be_learnt_or_set_is_named() {
    let pruning = |pruning| RulesConfig {
        pruning,
        ..RulesConfig::default()
    };
    for wrong in [-0.1, 2.5, f64::NAN, f64::INFINITY] {
        let error = pruning(wrong).check().unwrap_err().to_string();
        assert!(
            error.contains("`pruning` must be a share below 1"),
            "{error}"
        );
    }
    let alone = train(&[(0, vec![1]), (1, vec![2])]);
    let error = RulesTrainer::default()
        .fit(&alone, &mut |_| ControlFlow::Continue(()))
        .unwrap_err();
    assert_eq!(error.to_string(), "rules: no session has two items");
}
