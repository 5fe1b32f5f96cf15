//! Blends against numbers worked by hand, and against their contract.

use std::ops::ControlFlow;
use std::sync::Arc;

use reco_core::{Model, ModelExt, Ranking, Result, Scored, Session, testing};
use reco_train::evaluate::{Mrr, Recall};
use reco_train::{
    Blend, BlendConfig, PopularityTrainer, Trainer, VmisKnnConfig, VmisKnnTrainer, evaluate,
};

use super::{Scores, assert_scores, train};
use crate::shop;

/// Answers with the same items always.
#[derive(Debug)]
struct Fixed(&'static [u8]);

impl Model for Fixed {
    fn kind(&self) -> &str {
        "fixed"
    }

    fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
        let scored = (0_u8..).zip(self.0).map(|(place, &item)| Scored {
            item: super::name(item).into(),
            score: f32::from(100 - place),
        });
        let ranking: Ranking = scored.take(k).collect();
        Ok(vec![ranking; sessions.len()])
    }
}

/// A blend of two models that answer 0 1 2 and 2 9 0, of which 9 is in no data.
fn blend(config: BlendConfig) -> Blend {
    let encoder = train(&[(0, vec![0, 1, 2, 3])]).encoder().clone();
    let models: Vec<Arc<dyn Model>> =
        vec![Arc::new(Fixed(&[0, 1, 2])), Arc::new(Fixed(&[2, 9, 0]))];
    Blend::new(encoder, models, config).unwrap()
}

#[test]
fn fusions_worked_by_hand() {
    let check = |config: BlendConfig, expected: [f64; 3]| {
        let expected: Scores = (0..).zip(expected).collect();
        assert_scores(&blend(config), &[3], &expected);
    };
    let both = 1.0 / 61.0 + 1.0 / 63.0;
    check(BlendConfig::default(), [both, 1.0 / 62.0, both]);
    let weighted = BlendConfig {
        weights: vec![2.0, 1.0],
        ..Default::default()
    };
    check(
        weighted,
        [2.0 / 61.0 + 1.0 / 63.0, 2.0 / 62.0, 2.0 / 63.0 + 1.0 / 61.0],
    );
    let one = BlendConfig {
        weights: vec![0.0, 1.0],
        ..Default::default()
    };
    check(one, [1.0 / 63.0, 0.0, 1.0 / 61.0]);
    let steep = BlendConfig {
        rank_constant: 0.0,
        ..Default::default()
    };
    check(steep, [4.0 / 3.0, 0.5, 4.0 / 3.0]);
    let shallow = BlendConfig {
        depth: 1,
        ..Default::default()
    };
    check(shallow, [1.0 / 61.0, 0.0, 1.0 / 61.0]);
}

#[test]
fn it_keeps_the_contract_and_is_evaluated_by_its_answers() {
    let split = shop::split();
    let mut ignore = |_: &_| ControlFlow::Continue(());
    let popularity = PopularityTrainer.fit(&split.train, &mut ignore).unwrap();
    let trainer = VmisKnnTrainer::new(VmisKnnConfig::vs_knn());
    let vmis_knn = trainer.fit(&split.train, &mut ignore).unwrap();
    let encoder = split.train.encoder();
    let blend = |models: Vec<Arc<dyn Model>>, weights: Vec<f64>| {
        let config = BlendConfig {
            weights,
            ..Default::default()
        };
        Blend::new(encoder.clone(), models, config).unwrap()
    };
    let popularity: Arc<dyn Model> = Arc::new(popularity);
    let both = blend(
        vec![Arc::new(vmis_knn.clone()), popularity],
        vec![1.0, 0.01],
    );
    testing::model(&both, &shop::sessions(&split));
    // Where neighbours are silent, popularity speaks.
    assert_eq!(both.recommend(&Session::default(), 20).unwrap().len(), 20);

    let metrics = [Recall::at(20), Mrr::at(20)];
    let alone = blend(vec![Arc::new(vmis_knn.clone())], Vec::new());
    let [of_blend, of_model] = [
        evaluate(&alone, &split.test, &metrics).unwrap(),
        evaluate(&vmis_knn, &split.test, &metrics).unwrap(),
    ];
    // Ranks break ties that scores leave, so a blend of one is not below it.
    for metric in metrics {
        let [blend, model] = [&of_blend, &of_model].map(|scores| scores.get(metric).unwrap());
        assert!(
            (model..model + 0.02).contains(&blend),
            "{metric}: {blend}, not {model}"
        );
    }
}

#[test]
fn what_cannot_be_a_setting_is_named() {
    let check = |config: BlendConfig, n_models, expected: &str| {
        let error = config.check(n_models).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let weights = |weights: &[f64]| BlendConfig {
        weights: weights.to_vec(),
        ..Default::default()
    };
    check(weights(&[]), 0, "`models` must be one or more");
    check(
        weights(&[1.0]),
        2,
        "`weights` must be none or one for each of 2 models, are 1",
    );
    check(
        weights(&[1.0, f64::NAN]),
        2,
        "`weights` must be from 0 to 1000000, is NaN",
    );
    check(
        weights(&[1.0, -1.0]),
        2,
        "`weights` must be from 0 to 1000000, is -1",
    );
    check(weights(&[0.0, 0.0]), 2, "`weights` must be above 0 in sum");
    let constant = BlendConfig {
        rank_constant: -1.0,
        ..Default::default()
    };
    check(constant, 1, "`rank_constant` must be from 0");
    let depth = BlendConfig {
        depth: 0,
        ..Default::default()
    };
    check(depth, 1, "`depth` must be from 1");
}
