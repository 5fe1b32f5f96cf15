//! The popularity model.

use std::ops::ControlFlow;

use reco_core::{ModelArtifact, ModelExt, ModelLoader, Session, Split, testing};
use reco_train::{Error, PopularityLoader, PopularityTrainer, Trainer};

use crate::shop;

#[test]
fn it_counts_and_breaks_ties_by_id() {
    let data = shop::dataset(&["b a", "c a", "b a"]);
    let split = Split::from_parts(data.clone(), data);
    let mut reports = Vec::new();
    let mut observer = |report: &_| {
        reports.push(*report);
        ControlFlow::Continue(())
    };
    let model = PopularityTrainer.fit(&split.train, &mut observer).unwrap();
    let ranking = model.recommend(&Session::default(), 5).unwrap();
    let found: Vec<_> = ranking.iter().map(|s| (s.item.as_str(), s.score)).collect();
    assert_eq!(found, [("a", 3.0), ("b", 2.0), ("c", 1.0)]);
    // 1/2 ln 2 + 1/3 ln 3 + 1/6 ln 6 nats.
    assert!(
        (reports[0].loss - 1.011_404_264_707_351_6).abs() < 1e-12,
        "{reports:?}"
    );
    assert_eq!(reports.len(), 1);
}

#[test]
fn it_keeps_the_contract_and_comes_back_from_its_artifact() {
    let split = shop::split();
    let sessions = shop::sessions(&split);
    let model = PopularityTrainer
        .fit(&split.train, &mut |_| ControlFlow::Continue(()))
        .unwrap();
    testing::model(&model, &sessions);

    let artifact = model.to_artifact().unwrap();
    assert_eq!(artifact.manifest().data, Some(split.train.fingerprint()));
    let artifact = ModelArtifact::from_files(&artifact.to_files().unwrap()).unwrap();
    let loaded = PopularityLoader.load(&artifact).unwrap();
    for session in &sessions {
        assert_eq!(
            loaded.recommend(session, 20).unwrap(),
            model.recommend(session, 20).unwrap()
        );
    }
}

#[test]
fn a_model_of_another_test_set_says_what_it_does_not_know() {
    let split = Split::from_parts(shop::dataset(&["a b"]), shop::dataset(&["x a", "y z"]));
    let model = PopularityTrainer
        .fit(&split.train, &mut |_| ControlFlow::Continue(()))
        .unwrap();
    let error = reco_train::evaluate(&model, &split.test, &[]).unwrap_err();
    assert!(
        matches!(error, Error::NoQueries { n_unseen: 1, .. }),
        "{error}"
    );
}
