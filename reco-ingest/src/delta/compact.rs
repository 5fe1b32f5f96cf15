//! Compaction: many small files become few large ones, and no row changes.

use std::collections::{BTreeMap, HashMap, HashSet};

use deltalake::kernel::Action;
use deltalake::kernel::transaction::CommitData;
use deltalake::protocol::DeltaOperation;
use jiff::civil::Date;
use reco_core::{Record, TimeWindow, Timestamp};
use serde::{Deserialize, Serialize};
use tracing::debug;

use super::commit::MAX_ATTEMPTS;
use super::files::{DataFile, Selected};
use super::rewrite::Rewritten;
use super::{DeltaTable, check};
use crate::error::{Error, Result};

/// Which files a compaction puts together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompactConfig {
    /// About how many bytes a new file has at most. Default: 128 MiB, as Delta Lake's auto
    /// compaction.
    ///
    /// A compaction holds one new file in memory. So does a scan hold one batch of each date whose
    /// files overlap, which those of a compacted table do where old dates were written again later.
    pub target_size: usize,
    /// The fewest files that are worth putting together. Default: 2.
    pub min_files: usize,
}

impl Default for CompactConfig {
    fn default() -> Self {
        Self {
            target_size: 128 << 20,
            min_files: 2,
        }
    }
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compaction {
    /// How many files were put together.
    pub n_removed: usize,
    /// How many files they became.
    pub n_added: usize,
    /// How many rows were moved.
    pub n_rows: u64,
    /// How many runs of files were left alone, because another compaction or an erasure took one of
    /// their files first.
    pub n_lost: usize,
}

impl<E: Record> DeltaTable<E> {
    /// Puts small files of the same date together, into files of about a target size.
    ///
    /// Only the files of dates that the window selects are looked at. Neighbours in the order written
    /// go together, so that a file holds a stretch of the table's rows of that date; rows, values,
    /// order and sequence numbers stay what they are, and no change is seen by
    /// [`changes`](Self::changes) or [`scan_from`](Self::scan_from). Each run of files is one commit,
    /// which says that no data changes.
    ///
    /// Writers are not disturbed: their commits and this one's are put one after the other. Of two
    /// compactions that take the same file the first wins; the other one leaves that run alone.
    /// The old files stay for readers of older versions, until [`vacuum`](Self::vacuum).
    ///
    /// `now` is when the old files are said to be removed.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if the target is 0, [`Error::Store`], [`Error::Parquet`] and
    /// [`Error::Log`] if the store fails: some runs may be compacted then, and no row is lost.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, runs that were committed stay compacted; files of the one that was
    /// being written may stay behind for [`vacuum`](Self::vacuum).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use reco_core::{EventSink, TimeWindow};
    /// use reco_ingest::delta::CompactConfig;
    /// use reco_ingest::{DeadLetter, DeltaTable};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let table = DeltaTable::<DeadLetter>::open_local(folder.path()).await?;
    /// # let letter = DeadLetter {
    /// #     received_at: "2024-05-01T12:00Z".parse()?,
    /// #     source: "clicks.csv".to_owned(),
    /// #     position: 7,
    /// #     reason: "4 fields where 5 are declared".to_owned(),
    /// #     payload: "1;2;3;4".into(),
    /// # };
    /// for _ in 0..3 {
    ///     table.write(vec![letter.clone()]).await?;
    /// }
    /// let now = "2024-05-02T03:00Z".parse()?;
    /// let compaction = table.compact(&CompactConfig::default(), TimeWindow::ALL, now).await?;
    /// assert_eq!((compaction.n_removed, compaction.n_added), (3, 1));
    /// # Ok(())
    /// # }
    /// ```
    #[tracing::instrument(level = "debug", skip_all, fields(table = %self.inner.name))]
    pub async fn compact(
        &self,
        config: &CompactConfig,
        window: TimeWindow,
        now: Timestamp,
    ) -> Result<Compaction> {
        if config.target_size == 0 {
            return Err(Error::InvalidConfig {
                of: "compaction",
                reason: "`target_size` is 0".to_owned(),
            });
        }
        let state = self.refresh().await?;
        check::<E>(&self.inner.name, &state)?;
        let files = self.files_of(&state).await?;
        let mut compaction = Compaction::default();
        for (date, run) in runs(files, config, window) {
            let rewritten = self
                .rewrite(run.clone(), date, config.target_size, |_| Ok(None))
                .await;
            let rewritten = match rewritten {
                Ok(rewritten) => rewritten,
                // The file may be gone because it was erased since.
                Err(error) => {
                    if self.are_live(&run).await? {
                        return Err(error);
                    }
                    compaction.n_lost += 1;
                    continue;
                }
            };
            if self.swap(&run, &rewritten, config, now).await? {
                compaction.n_removed += run.len();
                compaction.n_added += rewritten.adds.len();
                compaction.n_rows += rewritten.n_rows;
            } else {
                self.delete_files(&rewritten.adds).await;
                compaction.n_lost += 1;
            }
        }
        Ok(compaction)
    }

    // Whether all of some files are in the table now.
    async fn are_live(&self, files: &[DataFile]) -> Result<bool> {
        let state = self.refresh().await?;
        Ok(contains_all(&self.files_of(&state).await?, files))
    }

    // Commits new files in the place of old ones. False if one of the old ones is not in the table any
    // more: the rows of the new ones are then somewhere else, or nowhere.
    async fn swap(
        &self,
        old: &[DataFile],
        new: &Rewritten,
        config: &CompactConfig,
        now: Timestamp,
    ) -> Result<bool> {
        let _turn = self.inner.turn.lock().await;
        for attempt in 1..=MAX_ATTEMPTS {
            let state = self.refresh().await?;
            check::<E>(&self.inner.name, &state)?;
            if !contains_all(&self.files_of(&state).await?, old) {
                return Ok(false);
            }
            let version = state.version() + 1;
            let removes = old
                .iter()
                .map(|file| Action::Remove(file.remove(now, false)));
            let adds = new.adds.iter().map(|add| {
                let mut add = add.clone();
                add.data_change = false;
                Action::Add(add)
            });
            let commit = CommitData::new(
                removes.chain(adds).collect(),
                DeltaOperation::Optimize {
                    predicate: None,
                    target_size: i64::try_from(config.target_size).unwrap_or(i64::MAX),
                },
                HashMap::new(),
                Vec::new(),
            );
            // The entry is taken by whoever is first, and the old files were there one version
            // before: so they are there when it lands.
            if self.write_entry(version, &commit).await? {
                debug!(table = %self.inner.name, version, attempt, n_files = old.len(), "compacted");
                self.checkpoint_if_due(version).await;
                return Ok(true);
            }
        }
        Err(Error::Contended {
            table: self.inner.name.clone(),
            attempts: MAX_ATTEMPTS,
        })
    }
}

fn contains_all(files: &[DataFile], wanted: &[DataFile]) -> bool {
    let paths: HashSet<_> = files.iter().map(|file| &file.path).collect();
    wanted.iter().all(|file| paths.contains(&file.path))
}

/// The runs of neighbouring small files of each date that are to be put together.
fn runs(
    files: Vec<DataFile>,
    config: &CompactConfig,
    window: TimeWindow,
) -> Vec<(Date, Vec<DataFile>)> {
    let mut dates: BTreeMap<Date, Vec<DataFile>> = BTreeMap::new();
    for file in files {
        if let Some(date) = file.date
            && file.selected_by(window) != Selected::None
        {
            dates.entry(date).or_default().push(file);
        }
    }
    let mut runs = Vec::new();
    for (date, mut files) in dates {
        files.sort_by(|a, b| (a.min_seq, &a.path).cmp(&(b.min_seq, &b.path)));
        let mut run: Vec<DataFile> = Vec::new();
        let mut n_bytes = 0_u64;
        for file in files {
            // A run that would grow too long ends, so that it becomes one file and is left alone
            // from then on.
            if n_bytes.saturating_add(file.n_bytes) > config.target_size as u64 {
                runs.push((date, std::mem::take(&mut run)));
                n_bytes = 0;
            }
            n_bytes = n_bytes.saturating_add(file.n_bytes);
            run.push(file);
        }
        runs.push((date, run));
    }
    runs.retain(|(_, run)| run.len() >= config.min_files.max(2));
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sizes: &[u64], expected: &[usize]) {
        let file = |(at, n_bytes): (usize, &u64)| {
            let seq = i64::try_from(at).unwrap();
            DataFile::for_test("2024-05-01", &format!("{at}"), *n_bytes, seq)
        };
        let files: Vec<_> = sizes.iter().enumerate().map(file).rev().collect();
        let config = CompactConfig {
            target_size: 100,
            ..Default::default()
        };
        let runs = runs(files, &config, TimeWindow::ALL);
        let lengths: Vec<_> = runs.iter().map(|(_, run)| run.len()).collect();
        assert_eq!(lengths, expected, "{sizes:?}");
        for (_, run) in runs {
            assert!(run.is_sorted_by_key(|file| file.min_seq));
        }
    }

    #[test]
    fn small_neighbours_go_together_up_to_the_target() {
        check(&[], &[]);
        check(&[10], &[]);
        check(&[10, 20, 30], &[3]);
        check(&[60, 40, 1], &[2]);
        check(&[60, 41, 1], &[2]);
        check(&[10, 10, 200, 10, 10, 10], &[2, 3]);
        check(&[99, 99, 99], &[]);
        check(&[200, 100, 100], &[]);
    }
}
