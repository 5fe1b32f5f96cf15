//! The models of past sessions: VMIS-kNN, STAN, rules, and blends of them.
//!
//! [`naive`] holds each algorithm once more, as slow and plain as its paper.

mod blend;
mod naive;
mod rules;
mod stan;
mod vmis_knn;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::prelude::*;
use reco_core::{
    Error, Model, ModelArtifact, ModelExt, ModelLoader, SessionDataset, SessionEncoding, Split,
    Timestamp, TrainSet,
};
use reco_train::Trainer;

/// A past session: when it ended, in hours, and its items.
pub(super) type Visit = (i64, Vec<u8>);

/// Scores by item.
pub(super) type Scores = BTreeMap<u8, f64>;

pub(super) fn name(item: u8) -> String {
    format!("item {item:02}")
}

/// The training set of some sessions, an item a second.
pub(super) fn train(visits: &[Visit]) -> TrainSet {
    let data = dataset(visits);
    Split::from_parts(data.clone(), data).train
}

fn dataset(visits: &[Visit]) -> SessionDataset {
    let mut builder = SessionDataset::builder(SessionEncoding::default());
    for (number, (hour, items)) in visits.iter().enumerate() {
        let start = (hour + 24) * 3600 - i64::try_from(items.len()).unwrap();
        for (second, &item) in (start..).zip(items) {
            let time = Timestamp::from_second(second).unwrap();
            builder
                .push(&number.to_string(), &name(item), time)
                .unwrap();
        }
    }
    builder.build().unwrap()
}

pub(super) fn fit<T: Trainer>(trainer: &T, visits: &[Visit]) -> T::Model {
    let fitted = trainer.fit(&train(visits), &mut |_| ControlFlow::Continue(()));
    fitted.unwrap()
}

/// Sessions of few items that end in few hours, so that there are many ties.
pub(super) fn visits() -> impl Strategy<Value = Vec<Visit>> {
    let items = prop::collection::vec(0..8_u8, 1..7);
    prop::collection::vec((0..6_i64, items), 1..25)
}

pub(super) fn query() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0..9_u8, 1..6)
}

pub(super) fn answer<M: Model + ?Sized>(model: &M, query: &[u8], k: usize) -> Vec<(String, f32)> {
    let session = query.iter().map(|&item| name(item)).collect();
    let ranking = model.recommend(&session, k).unwrap();
    let scored = ranking.iter();
    scored.map(|s| (s.item.to_string(), s.score)).collect()
}

/// The answer of a model is what it should score, best first, without zeros.
#[track_caller]
pub(super) fn assert_scores<M: Model + ?Sized>(model: &M, query: &[u8], expected: &Scores) {
    let found = answer(model, query, usize::MAX);
    let positive: Scores = expected
        .iter()
        .filter(|(_, score)| **score > 1e-12)
        .map(|(item, score)| (*item, *score))
        .collect();
    assert_eq!(found.len(), positive.len(), "{found:?}, not {positive:?}");
    for (item, score) in positive {
        let near = |s: &f32| (f64::from(*s) - score).abs() <= 1e-5 * score;
        let scored = found.iter().find(|(found, _)| *found == name(item));
        assert!(
            scored.is_some_and(|(_, s)| near(s)),
            "item {item} scores {scored:?}, not {score}: {found:?}"
        );
    }
    let in_order = |a: &(String, f32), b: &(String, f32)| a.1 > b.1 || (a.1 >= b.1 && a.0 < b.0);
    assert!(found.is_sorted_by(in_order), "{found:?}");
}

/// The files of a model but for its manifest, which says what data it was fitted on.
pub(super) fn learnt(artifact: &ModelArtifact) -> Vec<Vec<u8>> {
    let files = artifact.to_files().unwrap();
    let learnt = files
        .into_iter()
        .filter(|(name, _)| name != "manifest.json");
    learnt.map(|(_, bytes)| bytes.to_vec()).collect()
}

/// Runs on a pool of so many threads.
pub(super) fn in_pool<R: Send>(threads: usize, run: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(run)
}

/// What came back from an artifact answers as what was saved.
#[track_caller]
pub(super) fn assert_comes_back<M: Model>(
    model: &M,
    artifact: &ModelArtifact,
    loader: &dyn ModelLoader,
    sessions: &[reco_core::Session],
) {
    let artifact = ModelArtifact::from_files(&artifact.to_files().unwrap()).unwrap();
    assert_eq!(loader.kind(), model.kind());
    let loaded = loader.load(&artifact).unwrap();
    assert_eq!(
        loaded.recommend_batch(sessions, 50).unwrap(),
        model.recommend_batch(sessions, 50).unwrap()
    );
}

/// A tensor of an artifact: its name, and how it is changed.
pub(super) type Damage<'a> = (&'a str, &'a dyn Fn(&mut Vec<u32>));

/// Loading an artifact with one tensor changed gives an error that says so.
#[track_caller]
pub(super) fn assert_refused(
    artifact: &ModelArtifact,
    loader: &dyn ModelLoader,
    (tensor, damage): Damage<'_>,
    expected: &str,
) {
    let error = loader.load(&damaged(artifact, tensor, damage)).unwrap_err();
    let malformed = |file| file == "weights.safetensors";
    assert!(
        matches!(&error, Error::MalformedArtifact { file, .. } if malformed(file)),
        "{error}"
    );
    let source = std::error::Error::source(&error).map(ToString::to_string);
    let source = source.unwrap_or_default();
    assert!(source.contains(expected), "{source}");
}

/// The same artifact with new digests and one tensor changed: what a faulty writer would write.
fn damaged(
    artifact: &ModelArtifact,
    damaged: &str,
    damage: &dyn Fn(&mut Vec<u32>),
) -> ModelArtifact {
    let encoder = artifact.encoder().unwrap();
    let mut builder = ModelArtifact::builder(artifact.kind(), &encoder)
        .config(artifact.manifest().config.clone());
    for (name, mut shape) in artifact.tensor_shapes().unwrap() {
        if let Ok(mut values) = artifact.indices(&name, &shape) {
            if name == damaged {
                damage(&mut values);
                shape[0] = values.len() / shape[1..].iter().product::<usize>();
            }
            builder = builder.indices(name, &shape, &values);
        } else {
            let values = artifact.tensor(&name, &shape).unwrap();
            builder = builder.tensor(name, &shape, &values);
        }
    }
    builder.build().unwrap()
}
