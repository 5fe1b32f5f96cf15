//! Aliases: the one object of the registry that is ever replaced.

use std::collections::BTreeMap;

use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, UpdateVersion};
use serde::{Deserialize, Serialize};

use super::{ModelRegistry, check_name, not_found, store_error};
use crate::error::{Error, Result, nearest};
use crate::model::ModelVersion;

/// What an alias file holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Alias {
    version: ModelVersion,
    /// The versions that it pointed at before, the latest last.
    previous: Vec<ModelVersion>,
}

/// An alias file as it was read; its stamp makes a put conditional.
#[derive(Debug)]
struct Read {
    alias: Alias,
    stamp: UpdateVersion,
}

/// Two writers may move an alias at the same time. Where the store has conditional puts, as object
/// stores do, the one that comes second starts over from what the first has written. A local folder has
/// none: let one process promote there.
impl ModelRegistry {
    /// How often a move of an alias starts over when others move it.
    const MOVE_TRIES: u32 = 16;

    /// Points an alias at a version and returns the version that it pointed at before.
    ///
    /// A version whose manifest has a failed [check](crate::Manifest::checks) is refused, and the alias stays
    /// where it is. There is no way around it: a failure that does not matter is a
    /// [warning](crate::Severity::Warn), which is for whoever declares the check to say.
    /// [`rollback`](Self::rollback) asks for no check: what it goes back to was promoted before.
    ///
    /// # Errors
    ///
    /// [`Error::NotInRegistry`] if there is no such version, [`Error::ChecksFailed`],
    /// [`Error::InvalidName`], [`Error::Store`].
    pub async fn promote(
        &self,
        model: &str,
        version: ModelVersion,
        alias: &str,
    ) -> Result<Option<ModelVersion>> {
        check_name("alias", alias)?;
        let manifest = self.manifest(model, version).await?;
        if let Some(checks) = manifest.checks.filter(|checks| !checks.passed()) {
            return Err(Error::ChecksFailed {
                model: model.to_owned(),
                version,
                checks: Box::new(checks),
            });
        }
        for _ in 0..Self::MOVE_TRIES {
            let read = self.read_alias(model, alias).await?;
            let before = read.as_ref().map(|read| read.alias.version);
            if before == Some(version) {
                return Ok(before);
            }
            let mut previous = read
                .as_ref()
                .map_or_else(Vec::new, |r| r.alias.previous.clone());
            previous.extend(before);
            let to = Alias { version, previous };
            if self
                .put_alias(model, alias, &to, read.map(|read| read.stamp))
                .await?
            {
                tracing::info!(model, %version, alias, "promoted");
                return Ok(before);
            }
        }
        Err(contended(model, alias))
    }

    /// Points an alias back at the version that it pointed at before, which is returned.
    ///
    /// # Errors
    ///
    /// [`Error::NoPreviousVersion`], [`Error::NotInRegistry`] if there is no such alias or the version
    /// is no longer there, [`Error::Store`].
    pub async fn rollback(&self, model: &str, alias: &str) -> Result<ModelVersion> {
        for _ in 0..Self::MOVE_TRIES {
            let Read {
                alias: mut to,
                stamp,
            } = self.existing_alias(model, alias).await?;
            to.version = to.previous.pop().ok_or_else(|| Error::NoPreviousVersion {
                model: model.to_owned(),
                alias: alias.to_owned(),
            })?;
            self.manifest(model, to.version).await?;
            if self.put_alias(model, alias, &to, Some(stamp)).await? {
                tracing::info!(model, version = %to.version, alias, "rolled back");
                return Ok(to.version);
            }
        }
        Err(contended(model, alias))
    }

    /// The version that an alias points at.
    ///
    /// # Errors
    ///
    /// [`Error::NotInRegistry`] if there is no such alias, [`Error::Store`].
    pub async fn resolve(&self, model: &str, alias: &str) -> Result<ModelVersion> {
        Ok(self.existing_alias(model, alias).await?.alias.version)
    }

    /// The aliases of a model and the versions they point at.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`], [`Error::Store`], [`Error::MalformedArtifact`] for an alias file
    /// that cannot be read.
    pub async fn aliases(&self, model: &str) -> Result<BTreeMap<String, ModelVersion>> {
        check_name("model", model)?;
        let folder = Path::from("models").join(model).join("aliases");
        let listed = self.store.list_with_delimiter(Some(&folder)).await;
        let listed = listed.map_err(|source| store_error(&folder, source))?;
        let names = listed
            .objects
            .iter()
            .filter_map(|object| object.location.filename());
        let mut aliases = BTreeMap::new();
        for name in names.filter_map(|name| name.strip_suffix(".json")) {
            if let Some(read) = self.read_alias(model, name).await? {
                aliases.insert(name.to_owned(), read.alias.version);
            }
        }
        Ok(aliases)
    }

    async fn existing_alias(&self, model: &str, alias: &str) -> Result<Read> {
        if let Some(read) = self.read_alias(model, alias).await? {
            return Ok(read);
        }
        let aliases = self.aliases(model).await?;
        if aliases.is_empty() && self.list(model).await?.is_empty() {
            return Err(self.no_model(model).await?);
        }
        Err(not_found(
            "alias",
            alias.to_owned(),
            nearest(alias, aliases.keys()),
        ))
    }

    async fn read_alias(&self, model: &str, alias: &str) -> Result<Option<Read>> {
        check_name("model", model)?;
        check_name("alias", alias)?;
        let path = alias_path(model, alias);
        let read = async {
            let found = self.store.get(&path).await?;
            let stamp = UpdateVersion {
                e_tag: found.meta.e_tag.clone(),
                version: found.meta.version.clone(),
            };
            Ok((found.bytes().await?, stamp))
        };
        let (bytes, stamp) = match read.await {
            Ok(read) => read,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(store_error(&path, source)),
        };
        match serde_json::from_slice(&bytes) {
            Ok(alias) => Ok(Some(Read { alias, stamp })),
            Err(error) => Err(Error::MalformedArtifact {
                file: path.to_string(),
                source: error.into(),
            }),
        }
    }

    /// Whether the alias now points there: false if it was moved since it was read.
    async fn put_alias(
        &self,
        model: &str,
        alias: &str,
        to: &Alias,
        read: Option<UpdateVersion>,
    ) -> Result<bool> {
        let path = alias_path(model, alias);
        let bytes = serde_json::to_vec(to).expect("an alias is plain JSON");
        let mode = read.map_or(PutMode::Create, PutMode::Update);
        let mut put = self
            .store
            .put_opts(&path, bytes.clone().into(), mode.into())
            .await;
        if let Err(object_store::Error::NotImplemented { .. }) = put {
            // A put without conditions still replaces the object as a whole.
            put = self.store.put(&path, bytes.into()).await;
        }
        match put {
            Ok(_) => Ok(true),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => Ok(false),
            Err(source) => Err(store_error(&path, source)),
        }
    }
}

fn contended(model: &str, alias: &str) -> Error {
    Error::AliasContended {
        model: model.to_owned(),
        alias: alias.to_owned(),
        tries: ModelRegistry::MOVE_TRIES,
    }
}

fn alias_path(model: &str, alias: &str) -> Path {
    Path::from("models")
        .join(model)
        .join("aliases")
        .join(format!("{alias}.json"))
}
