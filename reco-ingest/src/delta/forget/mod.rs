//! Erasure: what the table knows of a person is taken out of it, of its history and of what lies
//! beside it.
//!
//! It is the only thing that changes rows which were accepted. In steps, each of which leaves a table
//! that can be read and written, so that an erasure that was cut short is finished by running it again:
//!
//! 1. *Without*: files of the table that hold rows of the person are written again without them, and
//!    one commit puts the new files in the place of the old ones. The property `delta.appendOnly`, which
//!    holds other writers to what the table promises, is lifted in this commit and set again by the next.
//! 2. *Sweep*: files that are not in the table and hold such rows are deleted at once: those of old
//!    versions, and those of commits that never landed. So are files that a local store left half
//!    written.
//! 3. *Log*: what we write there about a file is where it lies and which sequence numbers it holds.
//!    Another engine may have written the least and greatest values of columns too. Then the log is
//!    summed up in a checkpoint, and the entries before it are deleted.
//! 4. *Proof*: every file that is stored under the table is read again.
//!
//! # Who writes at the same time
//!
//! Writers go on. A row's number tells the version that it was written for, and the erasure ends at the
//! version of its commit: rows up to there are erased, later ones are later events. A stored file whose
//! rows are numbered up to there and which is not in the table never will be, since its version is taken.
//! So no file is deleted that a writer is about to commit.

mod erasure;
mod personal;
mod statistics;
mod stored;
mod sweep;
mod without;

use reco_core::{Record, Timestamp};
use tracing::info;

use super::{DeltaTable, check};
use crate::error::{Error, Result};

pub use erasure::Erasure;
pub use personal::{Personal, Subject};

impl<E: Record + Personal> DeltaTable<E> {
    /// Erases what the table knows of a person: from its rows, its history and the files beside it.
    ///
    /// Afterwards no file under the table holds a row about the subject that was committed before, and
    /// this was checked by reading all of them. The other rows are what they were, in their order and
    /// under their numbers. Versions from before the erasure whose files had such rows cannot be read
    /// any more: a scan of them fails with an error that names the file.
    ///
    /// What it gives back says nothing about the person and is a record itself: keep it in a
    /// `DeltaTable<Erasure>`. It costs a reading of the columns that name persons, twice, of all that is
    /// stored.
    ///
    /// What it does not reach: events that a buffer, a spool or an importer has not written yet (flush
    /// first), backups, versions of objects that a bucket keeps after they were deleted, and rows of
    /// others that mention the person in what they sent.
    ///
    /// On a local path the files are unlinked; whether the disk overwrites them is the disk's matter. A
    /// write to a local table that happens to store a file at the very moment of the sweep may fail and
    /// has to be repeated, as after any error.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if the subject has no client, [`Error::NotErased`] if something was
    /// found after all, [`Error::Contended`] if other writers were faster every time, and
    /// [`Error::Store`], [`Error::Parquet`] or [`Error::Log`] if the store fails. Run it again then: it
    /// goes on with what is left.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves an erasure that is half done. Run it again.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::TryStreamExt;
    /// use reco_core::{EventSink, RawTable, TimeWindow};
    /// use reco_ingest::delta::{Erasure, Subject};
    /// use reco_ingest::{DeadLetter, DeltaTable};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let letters = DeltaTable::<DeadLetter>::open_local(folder.path().join("dead")).await?;
    /// let erasures = DeltaTable::<Erasure>::open_local(folder.path().join("erasures")).await?;
    /// # let letter = DeadLetter {
    /// #     received_at: "2024-05-01T12:00Z".parse()?,
    /// #     source: "clicks".to_owned(),
    /// #     position: 7,
    /// #     reason: "no time".to_owned(),
    /// #     payload: r#"{"client": "visitor-7f3a"}"#.into(),
    /// # };
    /// letters.write(vec![letter]).await?;
    ///
    /// let subject = Subject { tenant: String::new(), client: "visitor-7f3a".to_owned() };
    /// let erasure = letters.forget(&subject, "2024-05-02T09:00Z".parse()?).await?;
    /// assert_eq!(erasure.n_rows, 1);
    /// erasures.write(vec![erasure]).await?;
    ///
    /// let left: Vec<_> = letters.scan(TimeWindow::ALL).await?.try_collect().await?;
    /// assert!(left.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    #[tracing::instrument(level = "debug", skip_all, fields(table = %self.inner.name))]
    pub async fn forget(&self, subject: &Subject, now: Timestamp) -> Result<Erasure> {
        if subject.client.is_empty() {
            return Err(Error::InvalidConfig {
                of: "subject",
                reason: "it has no client, so it would be everybody".to_owned(),
            });
        }
        let state = self.refresh().await?;
        check::<E>(&self.inner.name, &state)?;
        let without = self.commit_without(subject, now).await?;
        self.set_append_only_again().await?;
        let swept = self.sweep(subject, without.version).await?;
        let n_log_entries_deleted = self.clear_log().await?;
        let n_files_proved = self.prove(subject, without.version).await?;
        let erasure = Erasure {
            erased_at: now,
            table: self.inner.name.clone(),
            version: without.version,
            n_rows: without.n_rows,
            n_files_rewritten: without.n_files,
            n_files_deleted: swept,
            n_log_entries_deleted,
            n_files_proved,
        };
        info!(table = %erasure.table, version = erasure.version, n_rows = erasure.n_rows, "a subject was erased");
        Ok(erasure)
    }
}
