//! Opening a recommender, and what it answers.

use std::sync::Arc;
use std::time::Duration;

use reco_core::testing;
use reco_serve::{Error, Recommender, ReloadPolicy, Source};

use crate::support::{
    Broken, NextLoader, artifact, chain, items, open, publish, publish_artifact, registry, session,
};

#[tokio::test]
async fn an_answer_names_the_version_that_made_it() {
    let (registry, _) = registry();
    let version = publish(&registry).await;
    let recommender = open(&registry).await;
    let answer = recommender.recommend(&session(&["item-048"]), 3).unwrap();
    assert_eq!(items(&answer), ["item-049", "item-000", "item-001"]);
    assert_eq!((answer.version, answer.source), (version, Source::Model));
    assert_eq!(recommender.serving().manifest.kind, "next");
}

#[tokio::test]
async fn nothing_asked_is_nothing_answered() {
    let (registry, _) = registry();
    publish(&registry).await;
    let recommender = open(&registry).await;
    let answers = recommender
        .recommend_batch(&[session(&["item-001"]), session(&[])], 0)
        .unwrap();
    assert!(answers.iter().all(|answer| answer.ranking.is_empty()));
    assert_eq!(answers.len(), 2);
    assert!(recommender.recommend_batch(&[], 5).unwrap().is_empty());
}

#[tokio::test]
async fn more_than_there_is_gives_all_there_is() {
    let (registry, _) = registry();
    publish(&registry).await;
    let recommender = open(&registry).await;
    let session = session(&["item-000"]);
    assert_eq!(
        recommender.recommend(&session, 1000).unwrap().ranking.len(),
        50
    );
    let all = recommender.recommend(&session, usize::MAX).unwrap();
    assert_eq!(all.ranking.len(), 50);
}

#[tokio::test]
async fn the_fallback_answers_what_the_model_cannot() {
    let (registry, _) = registry();
    publish(&registry).await;
    let asked = [
        session(&["item-001"]),
        session(&["unknown"]),
        session(&["fallback-000"]),
    ];

    let alone = open(&registry).await.recommend_batch(&asked, 2).unwrap();
    let lengths: Vec<usize> = alone.iter().map(|answer| answer.ranking.len()).collect();
    assert_eq!(lengths, [2, 0, 0]);

    let recommender = Recommender::builder(registry, "next-item")
        .loader(NextLoader)
        .fallback(fallback())
        .open()
        .await
        .unwrap();
    let answers = recommender.recommend_batch(&asked, 2).unwrap();
    let found: Vec<_> = answers.iter().map(|a| (items(a), a.source)).collect();
    let expected = [
        (vec!["item-002", "item-003"], Source::Model),
        (vec!["top-1", "top-2"], Source::Fallback),
        (vec!["top-1", "top-2"], Source::Fallback),
    ];
    assert_eq!(found, expected);
    assert!(answers.iter().all(|a| a.version == recommender.version()));
}

#[tokio::test]
async fn a_failing_fallback_is_named() {
    let (registry, _) = registry();
    publish(&registry).await;
    let recommender = Recommender::builder(registry, "next-item")
        .loader(NextLoader)
        .fallback(Arc::new(Broken))
        .open()
        .await
        .unwrap();
    assert!(recommender.recommend(&session(&["item-001"]), 2).is_ok());
    let error = recommender
        .recommend(&session(&["unknown"]), 2)
        .unwrap_err();
    assert_eq!(
        chain(&error),
        "fallback `broken` of model `next-item` failed to answer: model `broken` failed: it is broken"
    );
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let (registry, _) = registry();
    publish(&registry).await;
    let builder = || Recommender::builder(registry.clone(), "next-item").loader(NextLoader);
    let check = async |builder: reco_serve::RecommenderBuilder, expected: &str| {
        let error = builder.open().await.unwrap_err();
        assert_eq!(chain(&error), expected);
    };
    check(
        Recommender::builder(registry.clone(), "next-itme").loader(NextLoader),
        "alias `champion` of model `next-itme` cannot be resolved: \
         the registry has no model `next-itme`; did you mean `next-item`?",
    )
    .await;
    check(
        builder().alias("champoin"),
        "alias `champoin` of model `next-item` cannot be resolved: \
         the registry has no alias `champoin`; did you mean `champion`?",
    )
    .await;
    check(
        builder().loader(NextLoader),
        "two loaders for models of kind `next`",
    )
    .await;
    check(
        builder().reload_policy(ReloadPolicy::Poll(Duration::ZERO)),
        "model `next-item`: the registry cannot be polled without a pause",
    )
    .await;
    publish_artifact(&registry, &artifact("nest", 1.0, 5)).await;
    check(
        builder(),
        "version 2 of model `next-item` cannot be loaded: \
         no loader for models of kind `nest`; did you mean `next`?",
    )
    .await;
}

#[test]
fn outside_of_a_runtime_is_an_error() {
    let opened = futures::executor::block_on(async {
        let (registry, _) = registry();
        publish(&registry).await;
        Recommender::builder(registry, "next-item")
            .loader(NextLoader)
            .open()
            .await
    });
    assert!(matches!(opened, Err(Error::NoRuntime { .. })), "{opened:?}");
}

#[test]
fn the_model_of_these_tests_keeps_its_contract() {
    use reco_core::ModelLoader;
    let model = NextLoader.load(&artifact("next", 1.0, 50)).unwrap();
    testing::model(
        &*model,
        &[session(&["item-003"]), session(&["item-049", "item-002"])],
    );
    testing::model(&*fallback(), &[session(&["top-1"])]);
}

/// Recommends the same to everybody.
fn fallback() -> Arc<dyn reco_core::Model> {
    #[derive(Debug)]
    struct Top;

    impl reco_core::Model for Top {
        fn kind(&self) -> &str {
            "top"
        }

        fn recommend_batch(
            &self,
            sessions: &[reco_core::Session],
            k: usize,
        ) -> reco_core::Result<Vec<reco_core::Ranking>> {
            let top = ["top-1", "top-2", "top-3"].map(|item| reco_core::Scored {
                item: item.into(),
                score: 1.0,
            });
            let ranking = || top.iter().take(k).cloned().collect();
            Ok(sessions.iter().map(|_| ranking()).collect())
        }
    }

    Arc::new(Top)
}
