//! [`Recommender`]: the handle that a service asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use reco_core::{Manifest, Model, ModelLoader, ModelRegistry, ModelVersion, Ranking, Session};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::reload::{Loaded, Origin, Poller, ReloadPolicy, Reloading};

/// Answers sessions with the version of a model that an alias points at.
///
/// Cloning is cheap and shares. Answers are made on the thread that asks, without a lock and without
/// waiting, also while the model is swapped; they take as long as the model takes.
///
/// # Examples
///
/// ```
/// # use std::sync::Arc;
/// # use reco_core::object_store::memory::InMemory;
/// # use reco_core::*;
/// # #[derive(Debug)] struct Popular(Arc<Vocabulary>);
/// # impl Model for Popular {
/// #     fn kind(&self) -> &str { "popular" }
/// #     fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
/// #         let scores: Vec<f32> = self.0.counts().iter().map(|&n| n as f32).collect();
/// #         Ok(sessions.iter().map(|_| Ranking::top_k(&self.0, &scores, k)).collect())
/// #     }
/// # }
/// # #[derive(Debug)] struct PopularLoader;
/// # impl ModelLoader for PopularLoader {
/// #     fn kind(&self) -> &str { "popular" }
/// #     fn load(&self, artifact: &ModelArtifact) -> Result<Arc<dyn Model>> {
/// #         Ok(Arc::new(Popular(Arc::clone(artifact.encoder()?.vocabulary()))))
/// #     }
/// # }
/// use reco_serve::{ExcludeSession, Recommender};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// # let vocabulary = Arc::new(Vocabulary::from_counts([("hat", 5), ("scarf", 2), ("tie", 1)])?);
/// # let encoder = SessionEncoder::new(SessionEncoding::default(), vocabulary)?;
/// # let artifact = ModelArtifact::builder("popular", &encoder).build()?;
/// # let registry = ModelRegistry::new(Arc::new(InMemory::new()));
/// let version = registry.publish("next-item", &artifact).await?;
/// registry.promote("next-item", version, "champion").await?;
///
/// let recommender = Recommender::builder(registry, "next-item")
///     .loader(PopularLoader)
///     .filter(ExcludeSession)
///     .open()
///     .await?;
///
/// let answer = recommender.recommend(&["hat"].into_iter().collect(), 2)?;
/// let items: Vec<_> = answer.ranking.items().map(|item| item.as_str()).collect();
/// assert_eq!(items, ["scarf", "tie"]);
/// assert_eq!(answer.version, version);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Recommender {
    reloading: Arc<Reloading>,
    answering: Arc<Answering>,
    /// Ends with the last handle.
    _poller: Option<Arc<Poller>>,
}

/// What is done with the answers of a model.
#[derive(Debug)]
struct Answering {
    filters: Vec<Box<dyn Filter>>,
    fallback: Option<Arc<dyn Model>>,
}

/// A ranking and where it is from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recommendation {
    /// What is recommended, the best first.
    pub ranking: Ranking,
    /// The version that served when the answer was made; the same within a batch.
    pub version: ModelVersion,
    /// Who made the ranking.
    pub source: Source,
}

/// Who made a ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The version of the model that the answer names.
    Model,
    /// The fallback: the model had nothing to recommend.
    Fallback,
}

/// The version that a recommender serves.
#[derive(Debug, Clone, PartialEq)]
pub struct Serving {
    /// The version.
    pub version: ModelVersion,
    /// What it is: its kind, settings, data and scores.
    pub manifest: Arc<Manifest>,
}

impl Recommender {
    /// Opens a model of a registry.
    pub fn builder(registry: ModelRegistry, model: impl Into<String>) -> RecommenderBuilder {
        RecommenderBuilder {
            registry,
            model: model.into(),
            alias: "champion".to_owned(),
            loaders: Vec::new(),
            filters: Vec::new(),
            fallback: None,
            policy: ReloadPolicy::Manual,
        }
    }

    /// The `k` best items for a session that pass the filters; fewer if there are not as many.
    ///
    /// # Errors
    ///
    /// [`Error::Answer`] and [`Error::Fallback`] if a model fails, [`Error::RankingCount`] if it does
    /// not keep its contract.
    #[expect(
        clippy::missing_panics_doc,
        reason = "`recommend_batch` gives one answer for each session"
    )]
    pub fn recommend(&self, session: &Session, k: usize) -> Result<Recommendation> {
        let mut answers = self.recommend_batch(std::slice::from_ref(session), k)?;
        Ok(answers.pop().expect("one answer for each session"))
    }

    /// As [`recommend`](Self::recommend) for several sessions, all by the same version.
    ///
    /// # Errors
    ///
    /// As [`recommend`](Self::recommend).
    pub fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Recommendation>> {
        let loaded = self.reloading.loaded.load();
        let Loaded { serving, model } = &**loaded;
        let version = serving.version;
        let of = || self.reloading.origin.model.clone();
        let rankings = self
            .answering
            .ask(&**model, sessions, k, |source| Error::Answer {
                model: of(),
                version,
                source: Box::new(source),
            })?;
        let mut answers: Vec<Recommendation> = rankings
            .into_iter()
            .map(|ranking| Recommendation {
                ranking,
                version,
                source: Source::Model,
            })
            .collect();
        let Some(fallback) = self.answering.fallback.as_deref().filter(|_| k > 0) else {
            return Ok(answers);
        };
        let is_empty = |answer: &Recommendation| answer.ranking.is_empty();
        let unanswered = sessions
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| is_empty(answer));
        let unanswered: Vec<Session> = unanswered.map(|(session, _)| session.clone()).collect();
        if unanswered.is_empty() {
            return Ok(answers);
        }
        let rankings = self
            .answering
            .ask(fallback, &unanswered, k, |source| Error::Fallback {
                model: of(),
                kind: fallback.kind().to_owned(),
                source: Box::new(source),
            })?;
        let open = answers.iter_mut().filter(|answer| is_empty(answer));
        for (answer, ranking) in open.zip(rankings) {
            if !ranking.is_empty() {
                answer.ranking = ranking;
                answer.source = Source::Fallback;
            }
        }
        Ok(answers)
    }

    /// Looks whether the alias points at another version and swaps to it; gives that version, or
    /// none if there is nothing new.
    ///
    /// Calls wait for one another and for the poll. A version that has failed before is tried again.
    ///
    /// # Errors
    ///
    /// [`Error::Resolve`], [`Error::Load`], [`Error::LoaderLost`], [`Error::NoRuntime`]; the version
    /// that was served is served further, and [`last_reload_error`](Self::last_reload_error) is this.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the version has been swapped whole or not at all.
    pub async fn reload(&self) -> Result<Option<ModelVersion>, Arc<Error>> {
        self.reloading.reload().await
    }

    /// The version that serves now, and what it is.
    #[must_use]
    pub fn serving(&self) -> Serving {
        self.reloading.loaded.load().serving.clone()
    }

    /// The version that serves now.
    #[must_use]
    pub fn version(&self) -> ModelVersion {
        self.reloading.loaded.load().serving.version
    }

    /// Why the last reload failed; none if it did not.
    #[must_use]
    pub fn last_reload_error(&self) -> Option<Arc<Error>> {
        self.reloading.last_error.load_full()
    }

    /// Waits until another version than `version` serves, and gives it.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn swapped_from(&self, version: ModelVersion) -> ModelVersion {
        let mut serving = self.reloading.version.subscribe();
        let other = serving.wait_for(|serving| *serving != version).await;
        // The sender is in `self`: it cannot be gone.
        other.map_or(version, |serving| *serving)
    }
}

impl Answering {
    /// The `k` best items for each session that pass the filters.
    fn ask(
        &self,
        model: &dyn Model,
        sessions: &[Session],
        k: usize,
        error: impl Fn(reco_core::Error) -> Error,
    ) -> Result<Vec<Ranking>> {
        if k == 0 {
            return Ok(vec![Ranking::default(); sessions.len()]);
        }
        if self.filters.is_empty() {
            let mut rankings = ask(model, sessions, k, &error)?;
            rankings.iter_mut().for_each(|ranking| ranking.truncate(k));
            return Ok(rankings);
        }
        // Some more than k, and several times as many whenever that was not enough.
        let mut n_asked = k.saturating_mul(2).saturating_add(16);
        let mut rankings = vec![Ranking::default(); sessions.len()];
        let mut open: Vec<usize> = (0..sessions.len()).collect();
        let mut asked = std::borrow::Cow::Borrowed(sessions);
        while !open.is_empty() {
            let answers = ask(model, &asked, n_asked, &error)?;
            let mut still_open = Vec::new();
            for (idx, mut ranking) in open.into_iter().zip(answers) {
                let is_all = ranking.len() < n_asked || n_asked == usize::MAX;
                for filter in &self.filters {
                    filter.apply(&sessions[idx], &mut ranking);
                }
                if ranking.len() < k && !is_all {
                    still_open.push(idx);
                }
                ranking.truncate(k);
                rankings[idx] = ranking;
            }
            open = still_open;
            asked = open.iter().map(|&idx| sessions[idx].clone()).collect();
            n_asked = n_asked.saturating_mul(4);
        }
        Ok(rankings)
    }
}

fn ask(
    model: &dyn Model,
    sessions: &[Session],
    k: usize,
    error: impl Fn(reco_core::Error) -> Error,
) -> Result<Vec<Ranking>> {
    let rankings = model.recommend_batch(sessions, k).map_err(error)?;
    if rankings.len() == sessions.len() {
        return Ok(rankings);
    }
    Err(Error::RankingCount {
        kind: model.kind().to_owned(),
        found: rankings.len(),
        expected: sessions.len(),
    })
}

/// Opens a [`Recommender`]; see [`Recommender::builder`].
#[derive(Debug)]
#[must_use]
pub struct RecommenderBuilder {
    registry: ModelRegistry,
    model: String,
    alias: String,
    loaders: Vec<Arc<dyn ModelLoader>>,
    filters: Vec<Box<dyn Filter>>,
    fallback: Option<Arc<dyn Model>>,
    policy: ReloadPolicy,
}

impl RecommenderBuilder {
    /// Adds what loads models of one kind.
    pub fn loader(mut self, loader: impl ModelLoader) -> Self {
        self.loaders.push(Arc::new(loader));
        self
    }

    /// The alias to follow; `champion` unless set.
    pub fn alias(mut self, alias: impl Into<String>) -> Self {
        self.alias = alias.into();
        self
    }

    /// When to look for a new version; [`ReloadPolicy::Manual`] unless set.
    pub const fn reload_policy(mut self, policy: ReloadPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// What answers where the model has nothing to recommend, such as a session of items that it
    /// does not know. The same filters apply. A model that fails is no case for the fallback: its
    /// error is the answer.
    pub fn fallback(mut self, fallback: Arc<dyn Model>) -> Self {
        self.fallback = Some(fallback);
        self
    }

    /// Adds a filter; what is recommended has passed all of them.
    pub fn filter(mut self, filter: impl Filter) -> Self {
        self.filters.push(Box::new(filter));
        self
    }

    /// Loads the version that the alias points at.
    ///
    /// # Errors
    ///
    /// [`Error::Resolve`], [`Error::Load`], [`Error::LoaderLost`], [`Error::NoRuntime`];
    /// [`Error::DuplicateLoader`] and [`Error::ZeroPollInterval`] for what cannot be meant.
    pub async fn open(self) -> Result<Recommender> {
        let mut loaders = BTreeMap::new();
        for loader in self.loaders {
            let kind = loader.kind().to_owned();
            if loaders.insert(kind.clone(), loader).is_some() {
                return Err(Error::DuplicateLoader { kind });
            }
        }
        if self.policy == ReloadPolicy::Poll(std::time::Duration::ZERO) {
            return Err(Error::ZeroPollInterval { model: self.model });
        }
        let origin = Origin {
            registry: self.registry,
            model: self.model,
            alias: self.alias,
            loaders,
        };
        let reloading = Arc::new(Reloading::open(origin).await?);
        let poller = match self.policy {
            ReloadPolicy::Manual => None,
            ReloadPolicy::Poll(every) => {
                Some(Arc::new(Poller::spawn(Arc::downgrade(&reloading), every)))
            }
        };
        Ok(Recommender {
            reloading,
            answering: Arc::new(Answering {
                filters: self.filters,
                fallback: self.fallback,
            }),
            _poller: poller,
        })
    }
}
