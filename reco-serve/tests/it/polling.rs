//! Reloading by poll. Each test waits for what must happen, never for time to pass.

use std::sync::Arc;
use std::time::Duration;

use reco_core::{Error, Model, ModelArtifact, ModelLoader, Result};
use reco_serve::{Recommender, ReloadPolicy};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::{NextLoader, artifact, chain, publish, publish_artifact, registry, session};

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

const OFTEN: ReloadPolicy = ReloadPolicy::Poll(Duration::from_millis(1));

/// Tells which marks it was asked to load, and refuses those of 500 and more.
#[derive(Debug)]
struct Telling(mpsc::UnboundedSender<u32>);

impl ModelLoader for Telling {
    fn kind(&self) -> &str {
        "next"
    }

    fn load(&self, artifact: &ModelArtifact) -> Result<Arc<dyn Model>> {
        let mark = artifact.tensor("mark", &[1])?[0];
        let told = self.0.send(mark.to_bits());
        told.expect("the test listens");
        if mark >= 500.0 {
            return Err(Error::Model {
                kind: "next".to_owned(),
                source: "refused".into(),
            });
        }
        NextLoader.load(artifact)
    }
}

#[tokio::test]
async fn a_promoted_version_is_served_soon() {
    let (registry, _) = registry();
    let first = publish(&registry).await;
    let builder = Recommender::builder(registry.clone(), "next-item").loader(NextLoader);
    let recommender = builder.reload_policy(OFTEN).open().await.unwrap();
    let other = recommender.clone();
    drop(recommender);

    let second = publish(&registry).await;
    let swapped = timeout(LONG, other.swapped_from(first)).await.unwrap();
    assert_eq!(swapped, second);
    let answer = other.recommend(&session(&["item-001"]), 1).unwrap();
    assert_eq!(answer.version, second);
}

#[tokio::test]
async fn a_bad_version_is_reported_and_a_good_one_after_it_is_served() {
    let (registry, _) = registry();
    let first = publish(&registry).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let builder = Recommender::builder(registry.clone(), "next-item").loader(Telling(tell));
    let recommender = builder.reload_policy(OFTEN).open().await.unwrap();
    assert_eq!(told.recv().await, Some(1.0_f32.to_bits()));

    publish_artifact(&registry, &artifact("next", 500.0, 5)).await;
    // Tried, and tried again.
    for _ in 0..2 {
        let tried = timeout(LONG, told.recv()).await.unwrap();
        assert_eq!(tried, Some(500.0_f32.to_bits()));
    }
    // The second try began after the first was reported.
    let error = recommender.last_reload_error().expect("it was reported");
    assert!(chain(&error).ends_with("refused"), "{error}");
    assert_eq!(recommender.version(), first);
    assert!(recommender.recommend(&session(&["item-001"]), 1).is_ok());

    let third = publish(&registry).await;
    let swapped = timeout(LONG, recommender.swapped_from(first))
        .await
        .unwrap();
    assert_eq!(swapped, third);
    recommender.reload().await.unwrap();
    assert!(recommender.last_reload_error().is_none());
}

#[tokio::test]
async fn the_poll_ends_with_the_last_handle() {
    let n_tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let (registry, _) = registry();
    publish(&registry).await;
    let before = n_tasks();
    let builder = Recommender::builder(registry, "next-item").loader(NextLoader);
    let recommender = builder
        .reload_policy(ReloadPolicy::Poll(LONG))
        .open()
        .await
        .unwrap();
    let other = recommender.clone();
    drop(recommender);
    tokio::task::yield_now().await;
    assert_eq!(n_tasks(), before + 1);
    drop(other);
    // The runtime buries an aborted task when it next looks at it.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(n_tasks(), before);
}
