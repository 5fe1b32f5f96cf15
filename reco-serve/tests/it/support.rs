//! A model whose answers show which version made them, and the registry that it is published in.

use std::sync::Arc;

use reco_core::object_store::memory::InMemory;
use reco_core::{
    Error, Model, ModelArtifact, ModelLoader, ModelRegistry, ModelVersion, Ranking, Result, Scored,
    Session, SessionEncoder, SessionEncoding, Vocabulary,
};
use reco_serve::{Recommendation, Recommender};

/// Recommends what follows the last known item in the order of ids, round about; nothing to a
/// session of which it knows no item. The scores of version `v` are those of a version `v` only.
#[derive(Debug)]
pub(crate) struct Next {
    encoder: SessionEncoder,
    mark: f32,
}

impl Model for Next {
    fn kind(&self) -> &str {
        "next"
    }

    fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
        let items = self.encoder.vocabulary().items();
        let answer = |session: &Session| {
            let known = self.encoder.encode(session);
            let Some(last) = known.last() else {
                return Ranking::default();
            };
            let following = items.iter().cycle().skip(last.get() + 1).take(items.len());
            let places = (0_u16..).map(|place| self.mark - f32::from(place) / 65_536.0);
            let scored = following.zip(places);
            let scored = scored.map(|(item, score)| Scored {
                item: item.clone(),
                score,
            });
            scored.take(k).collect()
        };
        Ok(sessions.iter().map(answer).collect())
    }
}

/// Loads [`Next`], and refuses or panics where the artifact says so.
#[derive(Debug)]
pub(crate) struct NextLoader;

impl ModelLoader for NextLoader {
    fn kind(&self) -> &str {
        "next"
    }

    fn load(&self, artifact: &ModelArtifact) -> Result<Arc<dyn Model>> {
        let mark = artifact.tensor("mark", &[1])?[0];
        assert!(mark >= 0.0, "a loader with a bug");
        if mark > 1000.0 {
            return Ok(Arc::new(Broken));
        }
        Ok(Arc::new(Next {
            encoder: artifact.encoder()?,
            mark,
        }))
    }
}

/// Fails whatever it is asked.
#[derive(Debug)]
pub(crate) struct Broken;

impl Model for Broken {
    fn kind(&self) -> &str {
        "broken"
    }

    fn recommend_batch(&self, _: &[Session], _: usize) -> Result<Vec<Ranking>> {
        Err(Error::Model {
            kind: "broken".to_owned(),
            source: "it is broken".into(),
        })
    }
}

/// The artifact of a [`Next`] of items `item-000` and so on.
pub(crate) fn artifact(kind: &str, mark: f32, n_items: usize) -> ModelArtifact {
    let counts = (0..n_items).map(|i| (format!("item-{i:03}"), 1));
    let vocabulary = Arc::new(Vocabulary::from_counts(counts).unwrap());
    let encoder = SessionEncoder::new(SessionEncoding::default(), vocabulary).unwrap();
    let builder = ModelArtifact::builder(kind, &encoder).tensor("mark", &[1], &[mark]);
    builder.build().unwrap()
}

/// A registry in memory that holds no model.
pub(crate) fn registry() -> (ModelRegistry, Arc<InMemory>) {
    let store = Arc::new(InMemory::new());
    (ModelRegistry::new(Arc::<InMemory>::clone(&store)), store)
}

/// Publishes and promotes a version of `next-item` whose mark is its number.
pub(crate) async fn publish(registry: &ModelRegistry) -> ModelVersion {
    let n = registry.list("next-item").await.unwrap().len() + 1;
    let mark = f32::from(u16::try_from(n).unwrap());
    publish_artifact(registry, &artifact("next", mark, 50)).await
}

pub(crate) async fn publish_artifact(
    registry: &ModelRegistry,
    artifact: &ModelArtifact,
) -> ModelVersion {
    let version = registry.publish("next-item", artifact).await.unwrap();
    let promoted = registry.promote("next-item", version, "champion").await;
    promoted.unwrap();
    version
}

/// Opens the first version.
pub(crate) async fn open(registry: &ModelRegistry) -> Recommender {
    let builder = Recommender::builder(registry.clone(), "next-item").loader(NextLoader);
    builder.open().await.unwrap()
}

pub(crate) fn session(items: &[&str]) -> Session {
    items.iter().copied().collect()
}

pub(crate) fn items(answer: &Recommendation) -> Vec<&str> {
    answer.ranking.items().map(|item| item.as_str()).collect()
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
