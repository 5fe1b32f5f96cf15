//! [`ReloadPolicy`]: when a recommender looks for a new version, and what becomes of a bad one.
//!
//! A reload asks the registry which version the alias points at, loads that version beside the one
//! that serves, tries it with an empty session, and swaps the two. If anything of this fails, the old
//! version goes on serving and the error is kept and reported; a version that has failed is tried by
//! the poll less and less often, until the alias points elsewhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use reco_core::{Model, ModelArtifact, ModelLoader, ModelRegistry, ModelVersion, Session, nearest};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use crate::error::{Error, Result, chain};
use crate::recommender::Serving;

/// When a recommender looks whether its alias points at another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadPolicy {
    /// When [`Recommender::reload`](crate::Recommender::reload) is called.
    #[default]
    Manual,
    /// Then, and each time this much has passed since the last look, in a task of the runtime that
    /// the recommender was opened in, whose timer must be on. The task ends with the last handle.
    Poll(Duration),
}

/// A model and what is known about it; never changed, only replaced.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) serving: Serving,
    pub(crate) model: Arc<dyn Model>,
}

/// Where versions come from.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) registry: ModelRegistry,
    pub(crate) model: String,
    pub(crate) alias: String,
    pub(crate) loaders: BTreeMap<String, Arc<dyn ModelLoader>>,
}

impl Origin {
    pub(crate) async fn resolve(&self) -> Result<ModelVersion> {
        let version = self.registry.resolve(&self.model, &self.alias).await;
        version.map_err(|source| Error::Resolve {
            model: self.model.clone(),
            alias: self.alias.clone(),
            source: Box::new(source),
        })
    }

    /// Loads a version, off the threads that serve.
    pub(crate) async fn load(&self, version: ModelVersion) -> Result<Loaded> {
        let error = |source| Error::Load {
            model: self.model.clone(),
            version,
            source: Box::new(source),
        };
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Error::NoRuntime {
            model: self.model.clone(),
        })?;
        let artifact = self.registry.get(&self.model, version).await;
        let artifact = artifact.map_err(error)?;
        let loader = self.loader(artifact.kind()).map_err(error)?;
        let work = runtime.spawn_blocking(move || {
            let model = load(&*loader, &artifact)?;
            Ok((Arc::new(artifact.manifest().clone()), model))
        });
        let (manifest, model) = work
            .await
            .map_err(|source| Error::LoaderLost {
                model: self.model.clone(),
                version,
                source,
            })?
            .map_err(error)?;
        Ok(Loaded {
            serving: Serving { version, manifest },
            model,
        })
    }

    fn loader(&self, kind: &str) -> reco_core::Result<Arc<dyn ModelLoader>> {
        let loader = self.loaders.get(kind).map(Arc::clone);
        loader.ok_or_else(|| reco_core::Error::UnknownKind {
            kind: kind.to_owned(),
            nearest: nearest(kind, self.loaders.keys()),
        })
    }
}

fn load(loader: &dyn ModelLoader, artifact: &ModelArtifact) -> reco_core::Result<Arc<dyn Model>> {
    // Before the loader, which may not look: rules of encoding that this build does not know.
    artifact.manifest().encoding.check()?;
    let model = loader.load(artifact)?;
    // By its contract a model answers an empty session; one that fails must not get to serve.
    model.recommend_batch(&[Session::default()], 1)?;
    Ok(model)
}

/// The version that serves, and the way to the next one.
#[derive(Debug)]
pub(crate) struct Reloading {
    pub(crate) origin: Origin,
    pub(crate) loaded: ArcSwap<Loaded>,
    pub(crate) last_error: ArcSwapOption<Error>,
    /// Tells waiters which version serves.
    pub(crate) version: watch::Sender<ModelVersion>,
    /// One reload at a time, so that an older version never replaces a newer one.
    turn: Mutex<()>,
}

impl Reloading {
    pub(crate) async fn open(origin: Origin) -> Result<Self> {
        let version = origin.resolve().await?;
        let loaded = origin.load(version).await?;
        tracing::info!(model = origin.model, alias = origin.alias, %version, "serving");
        Ok(Self {
            origin,
            loaded: ArcSwap::from_pointee(loaded),
            last_error: ArcSwapOption::empty(),
            version: watch::Sender::new(version),
            turn: Mutex::new(()),
        })
    }

    pub(crate) async fn reload(&self) -> Result<Option<ModelVersion>, Arc<Error>> {
        let _turn = self.turn.lock().await;
        let swapped = async { self.swap_to(self.origin.resolve().await?).await };
        self.report(swapped.await)
    }

    /// As [`reload`](Self::reload), unless the version has failed not long ago.
    async fn poll(&self, backoff: &mut Backoff) {
        let _turn = self.turn.lock().await;
        let version = match self.origin.resolve().await {
            Ok(version) => version,
            Err(error) => return drop(self.report(Err(error))),
        };
        if !backoff.is_due(version) {
            return;
        }
        let swapped = self.swap_to(version).await;
        backoff.tried(version, swapped.is_ok());
        drop(self.report(swapped));
    }

    async fn swap_to(&self, version: ModelVersion) -> Result<Option<ModelVersion>> {
        if self.loaded.load().serving.version == version {
            return Ok(None);
        }
        let loaded = self.origin.load(version).await?;
        self.loaded.store(Arc::new(loaded));
        self.version.send_replace(version);
        Ok(Some(version))
    }

    fn report(
        &self,
        swapped: Result<Option<ModelVersion>>,
    ) -> Result<Option<ModelVersion>, Arc<Error>> {
        let Origin { model, alias, .. } = &self.origin;
        let swapped = swapped.map_err(Arc::new);
        match &swapped {
            Ok(Some(version)) => tracing::info!(model, alias, %version, "swapped"),
            Ok(None) => tracing::debug!(model, alias, "nothing new"),
            Err(error) => {
                let serving = self.loaded.load().serving.version;
                let error = chain(error);
                tracing::error!(model, alias, %serving, error, "reload failed, the old version stays");
            }
        }
        self.last_error
            .store(swapped.as_ref().err().map(Arc::clone));
        swapped
    }
}

/// Polls until it is dropped.
#[derive(Debug)]
pub(crate) struct Poller(tokio::task::JoinHandle<()>);

impl Poller {
    /// Polls for as long as there is something to reload.
    pub(crate) fn spawn(reloading: Weak<Reloading>, every: Duration) -> Self {
        Self(tokio::spawn(async move {
            let mut backoff = Backoff::default();
            loop {
                tokio::time::sleep(every).await;
                let Some(reloading) = reloading.upgrade() else {
                    return;
                };
                reloading.poll(&mut backoff).await;
            }
        }))
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How many polls a version that has failed sits out: 1 after the first failure, then 2, 4 and so on.
#[derive(Debug, Default)]
struct Backoff {
    failed: Option<Failed>,
}

#[derive(Debug)]
struct Failed {
    version: ModelVersion,
    sits_out: u32,
    left: u32,
}

impl Backoff {
    const MOST: u32 = 64;

    /// Whether the version is to be tried in this poll.
    fn is_due(&mut self, version: ModelVersion) -> bool {
        match &mut self.failed {
            Some(failed) if failed.version == version && failed.left > 0 => {
                failed.left -= 1;
                false
            }
            _ => true,
        }
    }

    fn tried(&mut self, version: ModelVersion, is_ok: bool) {
        if is_ok {
            self.failed = None;
            return;
        }
        let before = self
            .failed
            .take()
            .filter(|failed| failed.version == version);
        let sits_out = before.map_or(1, |failed| (2 * failed.sits_out).min(Self::MOST));
        self.failed = Some(Failed {
            version,
            sits_out,
            left: sits_out,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The polls, of so many, in which a version that always fails is tried.
    fn tries(backoff: &mut Backoff, version: u64, n_polls: u32) -> Vec<u32> {
        let version = ModelVersion(version);
        let mut is_tried = |_: &u32| {
            let due = backoff.is_due(version);
            if due {
                backoff.tried(version, false);
            }
            due
        };
        (0..n_polls).filter(|poll| is_tried(poll)).collect()
    }

    #[test]
    fn a_version_that_fails_is_tried_less_and_less() {
        let mut backoff = Backoff::default();
        assert_eq!(tries(&mut backoff, 1, 40), [0, 2, 5, 10, 19, 36]);
        // Never given up: it may have been the store.
        let n_tries = tries(&mut backoff, 1, 6500).len();
        assert!((100..=101).contains(&n_tries), "{n_tries}");
    }

    #[test]
    fn another_version_is_tried_at_once() {
        let mut backoff = Backoff::default();
        tries(&mut backoff, 1, 30);
        assert_eq!(tries(&mut backoff, 2, 3), [0, 2]);
        assert!(backoff.is_due(ModelVersion(3)));
        backoff.tried(ModelVersion(3), true);
        assert!(backoff.is_due(ModelVersion(2)));
    }
}
