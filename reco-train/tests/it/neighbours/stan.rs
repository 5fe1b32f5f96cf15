//! STAN against numbers worked by hand, against the naive one, and against its contract.

use std::ops::ControlFlow;

use proptest::prelude::*;
use reco_core::testing;
use reco_train::stan::Similarity;
use reco_train::{Stan, StanConfig, StanLoader, StanTrainer, Trainer};

use super::{Scores, Visit, answer, assert_comes_back, assert_refused, assert_scores, fit, learnt};
use super::{in_pool, naive, query, train, visits};
use crate::shop;

/// Three sessions, a day apart, the oldest first: 0 1 2, then 0 3, then 1 3.
fn three() -> Vec<Visit> {
    vec![(0, vec![0, 1, 2]), (24, vec![0, 3]), (48, vec![1, 3])]
}

/// Each decay is `exp(-x)`.
fn ones() -> StanConfig {
    StanConfig {
        lambda_spw: Some(1.0),
        lambda_snh: Some(1.0),
        lambda_inh: Some(1.0),
        ..StanConfig::default()
    }
}

/// The scores of items 0 to 3 for the session 0 1.
#[track_caller]
fn check(config: StanConfig, expected: [f64; 4]) {
    let model = fit(&StanTrainer::new(config), &three());
    let expected: Scores = (0..).zip(expected).collect();
    assert_scores(&model, &[0, 1], &expected);
}

#[test]
fn decays_worked_by_hand() {
    // Item 0 weighs e⁻¹ and item 1 weighs 1. So the oldest session, of three items and two days back, is
    // similar by (1 + e⁻¹) / √(1 + e⁻²) / √3 · e⁻², and its item 2 scores e⁻¹ of it, a place after item 1.
    let by_hand = (1.0 + (-1.0_f64).exp()) / (1.0 + (-2.0_f64).exp()).sqrt() / 3.0_f64.sqrt()
        * (-3.0_f64).exp();
    assert!((by_hand - 0.036_901_301).abs() < 1e-9, "{by_hand}");
    check(
        ones(),
        [0.126_713_219, 0.763_933_437, 0.036_901_301, 0.277_174_063],
    );

    let dot = StanConfig {
        similarity: Similarity::Dot,
        ..ones()
    };
    check(
        dot,
        [0.101_718_995, 0.592_561_176, 0.034_051_354, 0.208_833_255],
    );
    let places_alike = StanConfig {
        lambda_spw: None,
        ..ones()
    };
    check(
        places_alike,
        [0.224_590_692, 0.610_500_796, 0.040_650_971, 0.251_607_362],
    );
    let days_alike = StanConfig {
        lambda_snh: None,
        ..ones()
    };
    check(
        days_alike,
        [0.516_799_890, 1.404_807_750, 0.272_665_786, 0.333_946_023],
    );
    let items_alike = StanConfig {
        lambda_inh: None,
        ..ones()
    };
    check(
        items_alike,
        [0.190_120_055, 0.763_933_437, 0.100_308_137, 0.753_437_218],
    );
    let ipw = StanConfig {
        lambda_ipw: Some(1.0),
        ..ones()
    };
    check(
        ipw,
        [0.069_941_260, 0.763_933_437, 0.036_901_301, 0.256_288_826],
    );
    let idf = StanConfig {
        lambda_idf: Some(2.0),
        ..ones()
    };
    check(
        idf,
        [0.229_468_798, 1.383_430_144, 0.117_981_748, 0.501_942_885],
    );
    let others = StanConfig {
        remind: false,
        ..ones()
    };
    check(others, [0.0, 0.0, 0.036_901_301, 0.277_174_063]);
}

#[test]
fn limits_worked_by_hand() {
    // The newest alone: 1 / √(1 + e⁻²) / √2, and e⁻¹ of it for item 3.
    let newest = [0.0, 0.663_625_300, 0.0, 0.244_134_104];
    check(StanConfig { m: 1, ..ones() }, newest);
    check(StanConfig { k: 1, ..ones() }, newest);
    let all = StanConfig {
        m: 1 << 20,
        k: 1 << 20,
        ..ones()
    };
    check(
        all,
        [0.126_713_219, 0.763_933_437, 0.036_901_301, 0.277_174_063],
    );
}

#[test]
fn a_session_of_long_ago_still_answers() {
    let visits = vec![(0, vec![0, 1]), (24 * 36_500, vec![2, 3])];
    let model = fit(&StanTrainer::new(ones()), &visits);
    // A hundred years of λ2 = 1 day would be exp(-36500).
    let expected: Scores = [(0, std::f64::consts::FRAC_1_SQRT_2), (1, 0.260_130_047)].into();
    assert_scores(&model, &[0], &expected);
}

fn config() -> impl Strategy<Value = StanConfig> {
    let lambda = || prop::sample::select(vec![None, Some(0.5), Some(3.0)]);
    let similarity = prop::sample::select(vec![Similarity::Cosine, Similarity::Dot]);
    let lambdas = (lambda(), lambda(), lambda(), lambda(), lambda());
    (1..12_usize, 1..8_usize, similarity, lambdas, any::<bool>()).prop_map(
        |(m, k, similarity, (spw, snh, inh, ipw, idf), remind)| StanConfig {
            m,
            k,
            similarity,
            lambda_spw: spw,
            lambda_snh: snh,
            lambda_inh: inh,
            lambda_ipw: ipw,
            lambda_idf: idf,
            remind,
        },
    )
}

proptest! {
    #[test]
    fn it_answers_as_the_naive_one(visits in visits(), query in query(), config in config()) {
        let expected = naive::stan(&visits, &query, &config);
        assert_scores(&fit(&StanTrainer::new(config), &visits), &query, &expected);
    }

    #[test]
    fn updates_give_what_a_fit_to_all_gives(visits in visits(), cut in 1..24_usize, m in 1..6_usize) {
        let trainer = StanTrainer::new(StanConfig { m, ..ones() });
        let (first, second) = visits.split_at(cut.min(visits.len()));
        let mut model = fit(&trainer, first);
        if !second.is_empty() {
            model = model.update(&train(second)).unwrap();
        }
        let [updated, whole] = [&model, &fit(&trainer, &visits)].map(|m| m.to_artifact().unwrap());
        prop_assert_eq!(learnt(&updated), learnt(&whole));
    }
}

#[test]
fn it_keeps_the_contract_and_comes_back_from_its_artifact() {
    let split = shop::split();
    let sessions = shop::sessions(&split);
    let fit = |threads| {
        in_pool(threads, || {
            let trainer = StanTrainer::new(StanConfig::v_stan());
            let model = trainer.fit(&split.train, &mut |_| ControlFlow::Continue(()));
            model.unwrap()
        })
    };
    let model = fit(3);
    testing::model(&model, &sessions);
    let artifact = model.to_artifact().unwrap();
    assert_eq!(artifact, fit(1).to_artifact().unwrap());
    assert_eq!(artifact.manifest().data, Some(split.train.fingerprint()));
    assert_eq!(
        artifact.config::<StanConfig>().unwrap(),
        StanConfig::v_stan()
    );
    assert_comes_back(&model, &artifact, &StanLoader, &sessions);
    assert_eq!(
        Stan::from_artifact(&artifact).unwrap().n_sessions(),
        model.n_sessions()
    );
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    let artifact = fit(&StanTrainer::new(ones()), &three())
        .to_artifact()
        .unwrap();
    let check = |tensor, damage: &dyn Fn(&mut Vec<u32>), expected| {
        assert_refused(&artifact, &StanLoader, (tensor, damage), expected);
    };
    check(
        "session_places",
        &|v| v[0] = 0,
        "session 0 of `session_places`",
    );
    check(
        "session_places",
        &|v| v.swap(0, 1),
        "session 0 of `session_places`",
    );
    check(
        "session_places",
        &|v| v.truncate(5),
        "tensor `session_places` is (U32, [5])",
    );
    check(
        "session_items",
        &|v| v[0] = 9,
        "`session_items` names item 9 of 4",
    );
}

#[test]
fn unknown_and_no_items_get_no_answer() {
    let model = fit(&StanTrainer::default(), &three());
    assert!(answer(&model, &[], 20).is_empty());
    assert!(answer(&model, &[8, 7], 20).is_empty());
    assert_eq!(answer(&model, &[8, 0, 7], 1000).len(), 4);
}

#[test]
fn what_cannot_be_a_setting_is_named() {
    let check = |config: StanConfig, expected: &str| {
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(StanConfig { m: 0, ..ones() }, "`m` must be from 1 to");
    check(StanConfig { k: 0, ..ones() }, "`k` must be from 1 to");
    check(
        StanConfig {
            lambda_spw: Some(0.0),
            ..ones()
        },
        "`lambda_spw` must be from 0.001",
    );
    check(
        StanConfig {
            lambda_snh: Some(f64::NAN),
            ..ones()
        },
        "`lambda_snh` must be",
    );
    check(
        StanConfig {
            lambda_inh: Some(-1.0),
            ..ones()
        },
        "`lambda_inh` must be",
    );
    check(
        StanConfig {
            lambda_ipw: Some(1e9),
            ..ones()
        },
        "`lambda_ipw` must be",
    );
    check(
        StanConfig {
            lambda_idf: Some(-1.0),
            ..ones()
        },
        "`lambda_idf` must be from 0",
    );
}
