//! Notes of what was built.
//!
//! A build is noted under what it was made of, when it is written and again when it passed its audit. So a
//! run that was killed, or another environment, finds it and does not build it again.

use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::Warehouse;
use super::environment::PublishedTable;
use crate::error::{Error, Result};

pub(super) const FOLDER: &str = "_builds";
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    format: u32,
    table: String,
    build: PublishedTable,
}

impl Warehouse {
    /// The last build of a table out of such data.
    ///
    /// A note of another format, or one that is damaged, is as good as none: the table is built again.
    pub(crate) async fn noted(&self, table: &str, data: &str) -> Result<Option<PublishedTable>> {
        let note = self.read_note(&path(data)).await;
        let note = note.map_err(|source| Error::Note {
            table: table.to_owned(),
            operation: "read",
            source: source.into(),
        })?;
        Ok(note
            .filter(|note| note.table == table)
            .map(|note| note.build))
    }

    /// What a note says; none if it cannot be read.
    pub(super) async fn note_at(&self, path: &Path) -> Result<Option<PublishedTable>> {
        let note = self.read_note(path).await;
        let note = note.map_err(|source| Error::Note {
            table: path.to_string(),
            operation: "read",
            source: source.into(),
        })?;
        Ok(note.map(|note| note.build))
    }

    async fn read_note(&self, path: &Path) -> object_store::Result<Option<Note>> {
        let bytes = match self.files.get(path).await {
            Ok(object) => object.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        match serde_json::from_slice::<Note>(&bytes) {
            Ok(note) if note.format == FORMAT => Ok(Some(note)),
            Ok(_) => Ok(None),
            Err(error) => {
                tracing::warn!(%path, %error, "the note of a build cannot be read");
                Ok(None)
            }
        }
    }

    /// Notes a build, unless it cannot tell what it was made of.
    pub(crate) async fn note(&self, table: &str, build: &PublishedTable) -> Result<()> {
        match &build.made.data {
            Some(data) => self.note_as(data, table, build).await,
            None => Ok(()),
        }
    }

    /// Notes how far a table has come that is made by intervals, under what it is.
    pub(crate) async fn note_progress(&self, table: &str, build: &PublishedTable) -> Result<()> {
        self.note_as(&build.made.definition, table, build).await
    }

    async fn note_as(&self, key: &str, table: &str, build: &PublishedTable) -> Result<()> {
        let failed = |source: reco_core::BoxError| Error::Note {
            table: table.to_owned(),
            operation: "write",
            source,
        };
        let note = Note {
            format: FORMAT,
            table: table.to_owned(),
            build: build.clone(),
        };
        let bytes = serde_json::to_vec_pretty(&note).map_err(|error| failed(error.into()))?;
        let put = self.files.put(&path(key), bytes.into()).await;
        put.map(drop).map_err(|error| failed(error.into()))
    }
}

fn path(data: &str) -> Path {
    Path::from_iter([FOLDER.to_owned(), format!("{data}.json")])
}
