//! Reloading on call: whole versions only, and the old one stays when the new one is bad.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use bytes::Bytes;
use reco_core::object_store::ObjectStoreExt;
use reco_core::object_store::memory::InMemory;
use reco_core::object_store::path::Path;
use reco_core::{Model, ModelArtifact, ModelLoader, ModelVersion, Session};
use reco_serve::{Recommendation, Recommender};

use crate::support::{
    NextLoader, artifact, chain, open, publish, publish_artifact, registry, session,
};

#[tokio::test]
async fn handles_share_what_they_serve() {
    let (registry, _) = registry();
    let first = publish(&registry).await;
    let recommender = open(&registry).await;
    let other = recommender.clone();
    assert_eq!(recommender.reload().await.unwrap(), None);

    let second = publish(&registry).await;
    assert_eq!(other.version(), first);
    assert_eq!(recommender.reload().await.unwrap(), Some(second));
    assert_eq!(other.version(), second);
    let answer = other.recommend(&session(&["item-001"]), 1).unwrap();
    assert_eq!(answer.version, second);

    registry.rollback("next-item", "champion").await.unwrap();
    assert_eq!(other.reload().await.unwrap(), Some(first));
    assert_eq!(recommender.version(), first);
}

/// Damages a file of a version where it lies.
async fn damage(
    store: &InMemory,
    version: ModelVersion,
    file: &str,
    to: impl Fn(&[u8]) -> Vec<u8>,
) {
    let path = Path::from(format!("models/next-item/versions/{version}/{file}"));
    let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
    let damaged = Bytes::from(to(&bytes));
    store.put(&path, damaged.into()).await.unwrap();
}

#[tokio::test]
async fn a_bad_version_leaves_the_old_one() {
    let (registry, store) = registry();
    let first = publish(&registry).await;
    let recommender = open(&registry).await;
    let check = async |expected: &str| {
        let error = recommender.reload().await.unwrap_err();
        let found = chain(&error);
        assert!(found.contains(expected), "{found}");
        let last = recommender.last_reload_error().unwrap();
        assert_eq!(chain(&last), found);
        let answer = recommender.recommend(&session(&["item-001"]), 1).unwrap();
        assert_eq!(answer.version, first);
    };

    let version = publish(&registry).await;
    damage(&store, version, "weights.safetensors", |b| {
        b[..b.len() / 2].to_vec()
    })
    .await;
    check("version 2 of model `next-item` cannot be loaded: file `weights.safetensors`").await;

    let version = publish(&registry).await;
    damage(&store, version, "vocabulary.arrow", |_| Vec::new()).await;
    check("file `vocabulary.arrow` of the artifact has digest").await;

    let version = publish(&registry).await;
    let later = |b: &[u8]| {
        let mut manifest: serde_json::Value = serde_json::from_slice(b).unwrap();
        manifest["encoding"]["version"] = 99.into();
        serde_json::to_vec(&manifest).unwrap()
    };
    damage(&store, version, "manifest.json", later).await;
    check("the session encoding has version 99; this build reads 1").await;

    publish_artifact(&registry, &artifact("nxet", 1.0, 5)).await;
    check("no loader for models of kind `nxet`; did you mean `next`?").await;

    publish_artifact(&registry, &artifact("next", -1.0, 5)).await;
    check("its loader did not return").await;

    publish_artifact(&registry, &artifact("next", 5000.0, 5)).await;
    check("cannot be loaded: model `broken` failed: it is broken").await;

    let good = publish(&registry).await;
    assert_eq!(recommender.reload().await.unwrap(), Some(good));
    assert!(recommender.last_reload_error().is_none());
}

#[tokio::test]
async fn an_alias_that_is_gone_leaves_the_old_version() {
    let (registry, store) = registry();
    let first = publish(&registry).await;
    let recommender = open(&registry).await;
    let alias = Path::from("models/next-item/aliases/champion.json");
    store.delete(&alias).await.unwrap();
    let error = chain(&recommender.reload().await.unwrap_err());
    assert!(
        error.contains("the registry has no alias `champion`"),
        "{error}"
    );
    assert_eq!(recommender.version(), first);
}

#[tokio::test]
async fn callers_that_reload_at_once_wait_for_one_another() {
    let (registry, _) = registry();
    publish(&registry).await;
    let recommender = open(&registry).await;
    let second = publish(&registry).await;
    let reloads = futures::future::join_all((0..8).map(|_| recommender.reload())).await;
    let swaps: Vec<_> = reloads.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(swaps, [second]);
}

#[tokio::test]
async fn readers_never_see_a_mix() {
    const N_VERSIONS: usize = 100;
    let (registry, _) = registry();
    publish(&registry).await;
    let recommender = open(&registry).await;
    let is_done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (recommender, is_done) = (recommender.clone(), Arc::clone(&is_done));
            std::thread::spawn(move || read(&recommender, &is_done))
        })
        .collect();
    for _ in 1..N_VERSIONS {
        let version = publish(&registry).await;
        assert_eq!(recommender.reload().await.unwrap(), Some(version));
    }
    is_done.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.join().unwrap() > 0, "a reader that read nothing");
    }
    assert_eq!(recommender.version(), ModelVersion(100));
}

/// Asks until it is told to stop, and checks that each answer is of one version, never of an older
/// one than before.
fn read(recommender: &Recommender, is_done: &AtomicBool) -> usize {
    let asked: Vec<Session> = (0..20)
        .map(|i| session(&[&format!("item-{i:03}")]))
        .collect();
    let (mut last, mut n_batches) = (0, 0);
    while !is_done.load(Ordering::Relaxed) || n_batches == 0 {
        let answers = recommender.recommend_batch(&asked, 5).unwrap();
        let version = answers[0].version.0;
        assert!(version >= last, "version {version} after {last}");
        last = version;
        n_batches += 1;
        for Recommendation {
            ranking,
            version: other,
            ..
        } in &answers
        {
            assert_eq!((other.0, ranking.len()), (version, 5));
            let is_of_it = |score: f32| score.ceil().to_string() == version.to_string();
            assert!(ranking.iter().all(|scored| is_of_it(scored.score)));
        }
    }
    n_batches
}

/// Loads when it is let.
#[derive(Debug)]
struct Gated(Mutex<mpsc::Receiver<()>>);

impl ModelLoader for Gated {
    fn kind(&self) -> &str {
        "next"
    }

    fn load(&self, artifact: &ModelArtifact) -> reco_core::Result<Arc<dyn Model>> {
        self.0.lock().unwrap().recv().expect("the test lets it");
        NextLoader.load(artifact)
    }
}

#[tokio::test]
async fn what_is_dropped_half_way_has_swapped_nothing() {
    let (registry, _) = registry();
    let first = publish(&registry).await;
    let (let_load, gate) = mpsc::channel();
    let builder = Recommender::builder(registry.clone(), "next-item");
    let builder = builder.loader(Gated(Mutex::new(gate)));
    let_load.send(()).unwrap();
    let recommender = builder.open().await.unwrap();

    let second = publish(&registry).await;
    {
        let mut reload = Box::pin(recommender.reload());
        assert!(futures::poll!(reload.as_mut()).is_pending());
    }
    // The load that nobody waits for any more, and the next.
    let_load.send(()).unwrap();
    let_load.send(()).unwrap();
    assert_eq!(recommender.version(), first);
    assert_eq!(recommender.reload().await.unwrap(), Some(second));
}
