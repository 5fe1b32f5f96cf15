//! [`ModelRegistry`]: published versions of models, and the aliases that point at them.
//!
//! ```text
//! models/<name>/versions/<n>/weights.safetensors   written first: it claims the number
//!                            vocabulary.arrow
//!                            manifest.json         written last: with it the version is there
//! models/<name>/aliases/<alias>.json               the only object that is ever replaced
//! ```
//!
//! A publisher that dies half way leaves a number without a manifest; nobody sees it, and the next
//! publisher takes the number after it.

mod alias;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};

use crate::artifact::{MANIFEST, Manifest, ModelArtifact, VOCABULARY, WEIGHTS};
use crate::error::{Error, Result, nearest};
use crate::model::ModelVersion;

/// Published versions of models, and the aliases that point at them, in an object store.
///
/// A version is immutable. An alias such as `champion` is what servers follow; promoting and rolling
/// back move it. Cloning is cheap and shares.
///
/// # Examples
///
/// ```
/// # use reco_core::{ModelArtifact, SessionEncoder, SessionEncoding, Vocabulary};
/// use std::sync::Arc;
/// use object_store::memory::InMemory;
/// use reco_core::ModelRegistry;
///
/// # futures::executor::block_on(async {
/// # let vocabulary = Vocabulary::from_counts([("hat", 1)])?;
/// # let encoder = SessionEncoder::new(SessionEncoding::default(), vocabulary.into())?;
/// # let artifact = ModelArtifact::builder("popularity", &encoder).build()?;
/// let registry = ModelRegistry::new(Arc::new(InMemory::new()));
/// let first = registry.publish("next-item", &artifact).await?;
/// let second = registry.publish("next-item", &artifact).await?;
/// registry.promote("next-item", first, "champion").await?;
/// registry.promote("next-item", second, "champion").await?;
/// assert_eq!(registry.resolve("next-item", "champion").await?, second);
///
/// assert_eq!(registry.rollback("next-item", "champion").await?, first);
/// assert_eq!(registry.resolve("next-item", "champion").await?, first);
/// # Ok::<(), reco_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct ModelRegistry {
    store: Arc<dyn ObjectStore>,
}

impl ModelRegistry {
    /// How many numbers a publisher tries when others publish at the same time.
    const PUBLISH_TRIES: u32 = 64;

    /// A registry in the folder `models` of a store.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    /// Writes an artifact as the next version of a model.
    ///
    /// Publishers may run at the same time: each gets a number of its own.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`], [`Error::Store`]; nothing is visible then.
    pub async fn publish(&self, model: &str, artifact: &ModelArtifact) -> Result<ModelVersion> {
        check_name("model", model)?;
        let files = artifact.to_files()?;
        let taken = self.numbers(model).await?.into_keys().last().unwrap_or(0);
        let mut version = ModelVersion(taken);
        for _ in 0..Self::PUBLISH_TRIES {
            version.0 += 1;
            if !self
                .create(&version_path(model, version, WEIGHTS), &files[WEIGHTS])
                .await?
            {
                continue;
            }
            for file in [VOCABULARY, MANIFEST] {
                self.create(&version_path(model, version, file), &files[file])
                    .await?;
            }
            tracing::info!(model, %version, kind = artifact.kind(), "published");
            return Ok(version);
        }
        Err(Error::PublishContended {
            model: model.to_owned(),
            last: version,
            tries: Self::PUBLISH_TRIES,
        })
    }

    /// The artifact of a version, its digests checked.
    ///
    /// # Errors
    ///
    /// [`Error::NotInRegistry`], [`Error::MalformedArtifact`], [`Error::DigestMismatch`],
    /// [`Error::UnsupportedFormat`], [`Error::Store`].
    pub async fn get(&self, model: &str, version: ModelVersion) -> Result<ModelArtifact> {
        self.manifest(model, version).await?;
        let mut files = BTreeMap::new();
        for file in [MANIFEST, WEIGHTS, VOCABULARY] {
            if let Some(bytes) = self.read(&version_path(model, version, file)).await? {
                files.insert(file.to_owned(), bytes);
            }
        }
        ModelArtifact::from_files(&files)
    }

    /// What a version is, without its weights.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn manifest(&self, model: &str, version: ModelVersion) -> Result<Manifest> {
        check_name("model", model)?;
        match self.read(&version_path(model, version, MANIFEST)).await? {
            Some(bytes) => ModelArtifact::parse_manifest(&bytes),
            None if self.list(model).await?.is_empty() => Err(self.no_model(model).await?),
            None => Err(not_found("version", format!("{model} {version}"), None)),
        }
    }

    /// The published versions of a model, ascending; none if there is no such model.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`], [`Error::Store`].
    pub async fn list(&self, model: &str) -> Result<Vec<ModelVersion>> {
        check_name("model", model)?;
        let numbers = self.numbers(model).await?;
        Ok(numbers
            .into_iter()
            .filter(|(_, whole)| *whole)
            .map(|(n, _)| ModelVersion(n))
            .collect())
    }

    /// The names of the models that have a published version, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn models(&self) -> Result<Vec<String>> {
        let mut models = Vec::new();
        for model in self.folders(&Path::from("models")).await? {
            // A folder may hold a version that was never finished, or be somebody else's.
            if self.numbers(&model).await?.values().any(|whole| *whole) {
                models.push(model);
            }
        }
        Ok(models)
    }

    /// The version numbers that are taken, and whether each is whole.
    async fn numbers(&self, model: &str) -> Result<BTreeMap<u64, bool>> {
        let folder = Path::from("models").join(model).join("versions");
        let mut numbers = BTreeMap::new();
        let mut objects = self.store.list(Some(&folder));
        while let Some(object) = objects
            .try_next()
            .await
            .map_err(|source| store_error(&folder, source))?
        {
            let mut parts = object.location.prefix_match(&folder).into_iter().flatten();
            let number = parts.next().and_then(|part| part.as_ref().parse().ok());
            let (Some(number), Some(file)) = (number, parts.next()) else {
                continue;
            };
            *numbers.entry(number).or_insert(false) |= file.as_ref() == MANIFEST;
        }
        Ok(numbers)
    }

    async fn folders(&self, of: &Path) -> Result<Vec<String>> {
        let listed = self.store.list_with_delimiter(Some(of)).await;
        let listed = listed.map_err(|source| store_error(of, source))?;
        let mut names: Vec<String> = listed
            .common_prefixes
            .iter()
            .filter_map(|p| p.filename().map(str::to_owned))
            .collect();
        names.sort();
        Ok(names)
    }

    async fn no_model(&self, model: &str) -> Result<Error> {
        Ok(not_found(
            "model",
            model.to_owned(),
            nearest(model, self.models().await?),
        ))
    }

    /// Whether the object is now ours: false if it was there.
    async fn create(&self, path: &Path, bytes: &bytes::Bytes) -> Result<bool> {
        let put = self
            .store
            .put_opts(path, bytes.clone().into(), PutMode::Create.into())
            .await;
        match put {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(source) => Err(store_error(path, source)),
        }
    }

    async fn read(&self, path: &Path) -> Result<Option<bytes::Bytes>> {
        let read = async { self.store.get(path).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(store_error(path, source)),
        }
    }
}

fn version_path(model: &str, version: ModelVersion, file: &str) -> Path {
    Path::from("models")
        .join(model)
        .join("versions")
        .join(version.to_string())
        .join(file)
}

fn check_name(what: &'static str, name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=128).contains(&name.len()) && !name.starts_with('.') && name.chars().all(allowed) {
        return Ok(());
    }
    Err(Error::InvalidName {
        what,
        name: name.to_owned(),
    })
}

fn not_found(what: &'static str, name: String, nearest: Option<String>) -> Error {
    Error::NotInRegistry {
        what,
        name,
        nearest,
    }
}

fn store_error(path: &Path, source: object_store::Error) -> Error {
    Error::Store {
        path: path.to_string(),
        source,
    }
}
