//! Opening a table, wherever it is.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use deltalake::DeltaTableBuilder;
use deltalake::kernel::transaction::CommitProperties;
use deltalake::logstore::LogStoreRef;
use deltalake::operations::create::CreateBuilder;
use deltalake::table::state::DeltaTableState;
use object_store::ObjectStore;
use object_store::path::Path as StorePath;
use object_store::prefix::PrefixStore;
use reco_core::{BoxError, Durability, Record};
use tokio::sync::Mutex;
use url::Url;

use super::folders::{Disk, SystemDisk};
use super::sorted::Sorted;
use super::synced::Synced;
use super::{DeltaTable, Inner, check, log_error, schema};
use crate::error::{Error, Result};

impl<E: Record> DeltaTable<E> {
    /// Opens the table at a prefix of a store, or creates it.
    ///
    /// The prefix is a path of the store, taken as it is: `raw/shop#1` is a folder `shop#1`.
    ///
    /// What a record survives there is not known, so receipts claim the least; say more with
    /// [`with_durability`](Self::with_durability).
    ///
    /// # Errors
    ///
    /// [`Error::SchemaMismatch`] or [`reco_core::Error::MissingColumn`] if the table that is there has
    /// other columns, [`Error::Log`] if its log cannot be read or written, [`Error::Location`] if the
    /// prefix is not a path: `a/../b`.
    pub async fn open(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self> {
        let path = StorePath::parse(prefix).map_err(|error| location_error(prefix, error))?;
        let log = log_at_root(prefix, Arc::new(PrefixStore::new(store, path)))?;
        Self::open_log(prefix, log, None, Durability::Memory).await
    }

    /// Opens the table in a local folder, or creates both.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Error::Location`] if the path cannot be used.
    pub async fn open_local(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_local_on(Arc::new(SystemDisk), path.as_ref()).await
    }

    /// Opens the table in a local folder of a disk, or creates both.
    pub(crate) async fn open_local_on(disk: Arc<dyn Disk>, path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let failed = |error| location_error(&name, error);
        tokio::fs::create_dir_all(path).await.map_err(failed)?;
        let absolute = tokio::fs::canonicalize(path).await.map_err(failed)?;
        let folder = tokio::task::spawn_blocking(move || Synced::new(&absolute, disk)).await;
        let folder = folder
            .map_err(|error| location_error(&name, error))?
            .map_err(|error| location_error(&name, error))?;
        let log = log_at_root(&name, Arc::new(folder.clone()))?;
        Self::open_log(&name, log, Some(folder), Durability::Durable).await
    }

    /// Opens the table at a URL, or creates it: `file:///…`, `memory:///…`, `s3://bucket/prefix` with
    /// the feature `s3`, and what the features of [`deltalake`] add.
    ///
    /// The options of an S3 store are those of `object_store`: `aws_access_key_id`,
    /// `aws_secret_access_key`, `aws_region`, `aws_endpoint`, `allow_http` and so on, in upper or lower
    /// case. Nothing is read from the environment. Commits rely on conditional puts (`If-None-Match`),
    /// which S3 has since 2024, and so have the stores that are compatible with it; no lock table is
    /// needed.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Error::Location`] if the URL is malformed, its scheme unknown or
    /// an option not one of the store.
    pub async fn open_url(url: &str, options: HashMap<String, String>) -> Result<Self> {
        let location = parse_url(url)?;
        if location.scheme() == "file" {
            let path = location
                .to_file_path()
                .map_err(|()| location_error(url, "it names no local path"))?;
            return Self::open_local(path).await;
        }
        #[cfg(feature = "s3")]
        if location.scheme() == "s3" {
            let (store, prefix) = super::s3::store(url, &location, &options)?;
            let table = Self::open(store, &prefix).await?;
            return Ok(table.with_durability(Durability::Durable));
        }
        Self::open_location(url, location, options).await
    }

    async fn open_location(
        name: &str,
        location: Url,
        options: HashMap<String, String>,
    ) -> Result<Self> {
        let durability = match location.scheme() {
            "memory" => Durability::Memory,
            _ => Durability::Durable,
        };
        let table = DeltaTableBuilder::from_url(location)
            .map(|builder| builder.with_storage_options(options))
            .and_then(DeltaTableBuilder::build)
            .map_err(|error| location_error(name, error))?;
        Self::open_log(name, table.log_store(), None, durability).await
    }

    async fn open_log(
        name: &str,
        log: LogStoreRef,
        local: Option<Synced>,
        durability: Durability,
    ) -> Result<Self> {
        let state = load_or_create::<E>(name, &log).await?;
        check::<E>(name, &state)?;
        Ok(Self {
            inner: Arc::new(Inner {
                name: name.to_owned(),
                log,
                local,
                state: Mutex::new(state),
                turn: Mutex::new(None),
            }),
            durability,
            records: PhantomData,
        })
    }
}

async fn load_or_create<E: Record>(name: &str, log: &LogStoreRef) -> Result<DeltaTableState> {
    let columns = schema::table_columns::<E>(name)?;
    let load = || DeltaTableState::try_new(log.as_ref(), None);
    let exists = log
        .is_delta_table_location()
        .await
        .map_err(|source| log_error(name, "load", source))?;
    if !exists {
        let created = CreateBuilder::new()
            .with_log_store(Arc::clone(log))
            .with_columns(columns)
            .with_partition_columns([schema::DATE])
            .with_comment(format!("raw table of {} records", E::NAME))
            // With retries, losing the race for version 0 would declare the table again at version 1.
            .with_commit_properties(CommitProperties::default().with_max_retries(0))
            .with_configuration([
                ("delta.appendOnly", Some("true")),
                ("delta.checkpointInterval", Some("100")),
            ])
            .await;
        if let Err(error) = created {
            // Another process may have been first.
            return load().await.map_err(|_| log_error(name, "create", error));
        }
    }
    load()
        .await
        .map_err(|source| log_error(name, "load", source))
}

// The log of a table that is the root of a store, so that no folder has to be written as a URL.
fn log_at_root(name: &str, store: Arc<dyn ObjectStore>) -> Result<LogStoreRef> {
    let location = parse_url("memory:///")?;
    let table = DeltaTableBuilder::from_url(location.clone())
        .map(|builder| builder.with_storage_backend(Arc::new(Sorted(store)), location))
        .and_then(DeltaTableBuilder::build)
        .map_err(|error| location_error(name, error))?;
    Ok(table.log_store())
}

fn parse_url(url: &str) -> Result<Url> {
    Url::parse(url).map_err(|error| location_error(url, error))
}

pub(super) fn location_error(location: &str, source: impl Into<BoxError>) -> Error {
    Error::Location {
        location: location.to_owned(),
        source: source.into(),
    }
}
