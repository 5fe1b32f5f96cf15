//! The registry, on a store in memory and on one in a folder.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use reco_core::{
    CheckReport, CheckResult, Error, ModelArtifact, ModelRegistry, ModelVersion, SessionEncoder,
    SessionEncoding, Severity, Vocabulary,
};

use crate::artifact::chain;
use crate::stores::{Failing, stores};

/// An artifact that is told from others by one number.
fn artifact(mark: f32) -> ModelArtifact {
    let vocabulary = Vocabulary::from_counts([("hat", 1)]).unwrap();
    let encoder = SessionEncoder::new(SessionEncoding::default(), vocabulary.into()).unwrap();
    let builder = ModelArtifact::builder("test", &encoder).tensor("mark", &[1], &[mark]);
    builder.build().unwrap()
}

async fn put(store: &dyn ObjectStore, path: &str, bytes: &'static [u8]) {
    let path = Path::from(path);
    store.put(&path, bytes.into()).await.unwrap();
}

#[tokio::test]
async fn a_version_comes_back_as_published() {
    let (_folder, stores) = stores();
    for store in stores {
        let registry = ModelRegistry::new(store);
        for n in 1..=3_u8 {
            let version = registry.publish("next-item", &artifact(f32::from(n))).await;
            assert_eq!(version.unwrap(), ModelVersion(u64::from(n)));
        }
        let versions = registry.list("next-item").await.unwrap();
        assert_eq!(versions, [1, 2, 3].map(ModelVersion));
        let second = registry.get("next-item", ModelVersion(2)).await.unwrap();
        assert_eq!(second, artifact(2.0));
        let manifest = registry.manifest("next-item", ModelVersion(3)).await;
        assert_eq!(&manifest.unwrap(), artifact(3.0).manifest());
        registry.publish("another", &artifact(1.0)).await.unwrap();
        assert_eq!(registry.models().await.unwrap(), ["another", "next-item"]);
    }
}

#[tokio::test]
async fn an_alias_is_promoted_and_rolled_back() {
    let (_folder, stores) = stores();
    for store in stores {
        let registry = ModelRegistry::new(store);
        for _ in 0..3 {
            registry.publish("m", &artifact(1.0)).await.unwrap();
        }
        let promote = async |n| registry.promote("m", ModelVersion(n), "champion").await;
        let champion = async || registry.resolve("m", "champion").await.unwrap();
        assert_eq!(promote(1).await.unwrap(), None);
        assert_eq!(promote(3).await.unwrap(), Some(ModelVersion(1)));
        // Again changes nothing: one step back is still version 1.
        assert_eq!(promote(3).await.unwrap(), Some(ModelVersion(3)));
        assert_eq!(champion().await, ModelVersion(3));
        registry
            .promote("m", ModelVersion(2), "challenger")
            .await
            .unwrap();
        let aliases: Vec<_> = registry.aliases("m").await.unwrap().into_iter().collect();
        let expected = [("challenger", 2), ("champion", 3)];
        assert_eq!(
            aliases,
            expected.map(|(a, n)| (a.to_owned(), ModelVersion(n)))
        );

        let back = registry.rollback("m", "champion").await.unwrap();
        assert_eq!((back, champion().await), (ModelVersion(1), ModelVersion(1)));
        let error = registry.rollback("m", "champion").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "alias `champion` of model `m` has no earlier version to go back to"
        );
        assert_eq!(champion().await, ModelVersion(1));
    }
}

#[tokio::test]
async fn a_version_whose_checks_failed_is_not_promoted() {
    let (_folder, stores) = stores();
    for store in stores {
        let registry = ModelRegistry::new(store);
        let publish = async |results: Vec<CheckResult>| {
            let artifact = artifact(1.0).with_checks(CheckReport::new("m", results));
            registry.publish("m", &artifact).await.unwrap()
        };
        let champion = async || registry.resolve("m", "champion").await.unwrap();
        let warned = CheckResult::failed("coverage ≥ 0.5", 7, 0).with_severity(Severity::Warn);
        let good = publish(vec![CheckResult::passed("mrr@20 ≥ 0.1", 7), warned]).await;
        registry.promote("m", good, "champion").await.unwrap();

        let failed = CheckResult {
            observed: Some("0.05".to_owned()),
            ..CheckResult::failed("mrr@20 ≥ 0.1", 7, 0)
        };
        let bad = publish(vec![failed.clone()]).await;
        let error = registry.promote("m", bad, "champion").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "version 2 of model `m` is not promoted: m: 0 of 1 checks passed\n  \
             mrr@20 ≥ 0.1 failed: 0 of 7 rows, observed 0.05"
        );
        assert!(matches!(error, Error::ChecksFailed { checks, .. } if checks.results == [failed]));
        assert_eq!(champion().await, good);
        assert!(registry.promote("m", bad, "challenger").await.is_err());
        assert_eq!(registry.aliases("m").await.unwrap().len(), 1);

        // What once was promoted can be gone back to.
        let next = publish(vec![]).await;
        registry.promote("m", next, "champion").await.unwrap();
        assert_eq!(registry.rollback("m", "champion").await.unwrap(), good);
    }
}

#[tokio::test]
async fn what_is_not_there_is_named_with_the_nearest() {
    let (_folder, stores) = stores();
    for store in stores {
        let registry = ModelRegistry::new(store);
        let version = registry.publish("next-item", &artifact(1.0)).await.unwrap();
        registry
            .promote("next-item", version, "champion")
            .await
            .unwrap();
        let check = |error: Error, expected: &str| assert_eq!(error.to_string(), expected);
        check(
            registry.resolve("next-itme", "champion").await.unwrap_err(),
            "the registry has no model `next-itme`; did you mean `next-item`?",
        );
        check(
            registry.resolve("next-item", "campion").await.unwrap_err(),
            "the registry has no alias `campion`; did you mean `champion`?",
        );
        check(
            registry.resolve("next-item", "xyz").await.unwrap_err(),
            "the registry has no alias `xyz`",
        );
        check(
            registry
                .get("next-item", ModelVersion(9))
                .await
                .unwrap_err(),
            "the registry has no version `next-item 9`",
        );
        check(
            registry.get("nextitem", version).await.unwrap_err(),
            "the registry has no model `nextitem`; did you mean `next-item`?",
        );
        let promoted = registry
            .promote("next-item", ModelVersion(9), "champion")
            .await;
        check(
            promoted.unwrap_err(),
            "the registry has no version `next-item 9`",
        );
        check(
            registry.rollback("next-item", "canary").await.unwrap_err(),
            "the registry has no alias `canary`",
        );
        assert_eq!(registry.list("nothing").await.unwrap(), []);
        assert!(registry.aliases("nothing").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_name_cannot_leave_its_folder() {
    let registry = ModelRegistry::new(Arc::new(InMemory::new()));
    let version = registry.publish("m", &artifact(1.0)).await.unwrap();
    let long = "x".repeat(129);
    for name in [
        "../x", "..", ".", "", "a/b", "a\\b", "a b", "ä", ".hidden", "a\0", &long,
    ] {
        let is_invalid = |error: Error| match error {
            Error::InvalidName { name: found, .. } => found == name,
            _ => false,
        };
        let published = registry.publish(name, &artifact(1.0)).await;
        assert!(is_invalid(published.unwrap_err()), "model `{name}`");
        assert!(is_invalid(registry.get(name, version).await.unwrap_err()));
        assert!(is_invalid(registry.list(name).await.unwrap_err()));
        assert!(is_invalid(registry.aliases(name).await.unwrap_err()));
        let promoted = registry.promote("m", version, name).await;
        assert!(is_invalid(promoted.unwrap_err()), "alias `{name}`");
        assert!(is_invalid(registry.resolve("m", name).await.unwrap_err()));
        assert!(is_invalid(registry.rollback("m", name).await.unwrap_err()));
    }
    assert_eq!(registry.models().await.unwrap(), ["m"]);
    for name in ["a", "A-b_c.9", &"x".repeat(128)] {
        registry.publish(name, &artifact(1.0)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_at_the_same_time_get_versions_of_their_own() {
    const N_PUBLISHERS: u8 = 12;
    let (_folder, stores) = stores();
    for store in stores {
        let registry = ModelRegistry::new(store);
        let publishers = (0..N_PUBLISHERS).map(|n| {
            let registry = registry.clone();
            tokio::spawn(async move {
                let mark = f32::from(n);
                (mark, registry.publish("m", &artifact(mark)).await.unwrap())
            })
        });
        let published: Vec<_> = join_all(publishers)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        let versions: BTreeSet<_> = published.iter().map(|(_, version)| *version).collect();
        assert_eq!(versions.len(), usize::from(N_PUBLISHERS));
        for (mark, version) in published {
            assert_eq!(registry.get("m", version).await.unwrap(), artifact(mark));
        }
    }
}

#[tokio::test]
async fn promotions_at_the_same_time_are_all_in_the_history() {
    let registry = ModelRegistry::new(Arc::new(InMemory::new()));
    let mut versions = Vec::new();
    for _ in 0..8 {
        versions.push(registry.publish("m", &artifact(1.0)).await.unwrap());
    }
    let promotions = versions
        .iter()
        .map(|&version| registry.promote("m", version, "champion"));
    for promoted in join_all(promotions).await {
        promoted.unwrap();
    }
    let mut met = vec![registry.resolve("m", "champion").await.unwrap()];
    while let Ok(version) = registry.rollback("m", "champion").await {
        met.push(version);
    }
    met.sort();
    assert_eq!(met, versions);
}

#[tokio::test]
async fn half_a_version_is_invisible_and_skipped() {
    let (_folder, stores) = stores();
    for store in stores {
        let registry = ModelRegistry::new(Arc::clone(&store));
        // A publisher that died, and an object that is nobody's.
        put(&*store, "models/m/versions/1/weights.safetensors", b"half").await;
        put(&*store, "models/m/versions/readme.txt", b"hello").await;
        put(&*store, "models/m/versions/x1/manifest.json", b"{}").await;
        assert_eq!(registry.models().await.unwrap(), Vec::<String>::new());
        assert_eq!(registry.list("m").await.unwrap(), []);
        let error = registry.get("m", ModelVersion(1)).await.unwrap_err();
        assert_eq!(error.to_string(), "the registry has no model `m`");

        let version = registry.publish("m", &artifact(2.0)).await.unwrap();
        assert_eq!(version, ModelVersion(2));
        assert_eq!(registry.list("m").await.unwrap(), [version]);
        let promoted = registry.promote("m", ModelVersion(1), "champion").await;
        assert_eq!(
            promoted.unwrap_err().to_string(),
            "the registry has no version `m 1`"
        );
    }
}

#[tokio::test]
async fn a_store_that_fails_leaves_nothing_visible() {
    let (_folder, stores) = stores();
    for store in stores {
        let good = ModelRegistry::new(Arc::clone(&store));
        for n in 0..3 {
            let failing = ModelRegistry::new(Failing::at(n, Arc::clone(&store)));
            let error = failing.publish("m", &artifact(1.0)).await.unwrap_err();
            assert!(
                chain(&error).ends_with("the disk is full"),
                "put {n}: {error}"
            );
            assert!(matches!(error, Error::Store { .. }));
            assert_eq!(good.list("m").await.unwrap(), [], "put {n}");
            assert_eq!(good.models().await.unwrap(), Vec::<String>::new());
        }
        // The first put of each of the others has taken a number.
        let version = good.publish("m", &artifact(1.0)).await.unwrap();
        assert_eq!(version, ModelVersion(3));

        good.promote("m", version, "champion").await.unwrap();
        let next = good.publish("m", &artifact(2.0)).await.unwrap();
        let failing = ModelRegistry::new(Failing::at(0, Arc::clone(&store)));
        failing.promote("m", next, "champion").await.unwrap_err();
        assert_eq!(good.resolve("m", "champion").await.unwrap(), version);
    }
}

#[tokio::test]
async fn a_file_that_was_changed_is_refused() {
    let (_folder, stores) = stores();
    for store in stores {
        let registry = ModelRegistry::new(Arc::clone(&store));
        let check = async |file: &str, change: &dyn Fn(&Bytes) -> Option<Bytes>, expected: &str| {
            let version = registry.publish("m", &artifact(1.0)).await.unwrap();
            let path = Path::from(format!("models/m/versions/{version}/{file}"));
            let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
            match change(&bytes) {
                Some(changed) => drop(store.put(&path, changed.into()).await.unwrap()),
                None => store.delete(&path).await.unwrap(),
            }
            let error = chain(&registry.get("m", version).await.unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        let flipped = |bytes: &Bytes| {
            let mut bytes = bytes.to_vec();
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            Some(bytes.into())
        };
        let half = |bytes: &Bytes| Some(bytes.slice(..bytes.len() / 2));
        let gone = |_: &Bytes| None;
        check(
            "weights.safetensors",
            &flipped,
            "`weights.safetensors` of the artifact has digest",
        )
        .await;
        check(
            "weights.safetensors",
            &half,
            "`weights.safetensors` of the artifact has digest",
        )
        .await;
        check(
            "weights.safetensors",
            &gone,
            "cannot be read: it is missing",
        )
        .await;
        check(
            "vocabulary.arrow",
            &flipped,
            "`vocabulary.arrow` of the artifact has digest",
        )
        .await;
        check("vocabulary.arrow", &gone, "cannot be read: it is missing").await;
        check(
            "manifest.json",
            &half,
            "`manifest.json` of the artifact cannot be read: EOF",
        )
        .await;
        check("manifest.json", &gone, "the registry has no version").await;
    }
}

#[tokio::test]
async fn an_alias_file_that_is_no_alias_is_an_error() {
    let (_folder, stores) = stores();
    for store in stores {
        let registry = ModelRegistry::new(Arc::clone(&store));
        registry.publish("m", &artifact(1.0)).await.unwrap();
        put(&*store, "models/m/aliases/champion.json", b"{\"version\":").await;
        let error = chain(&registry.resolve("m", "champion").await.unwrap_err());
        let expected = "file `models/m/aliases/champion.json` of the artifact cannot be read: EOF";
        assert!(error.starts_with(expected), "{error}");
    }
}
