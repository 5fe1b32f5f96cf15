//! [`Reading`]: a file that is read on a thread of its own, and what comes of it written.

use std::path::PathBuf;

use reco_core::{EventSink, Record};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::drive::{Decode, Full, Job, read};
use super::rows::read_error;
use super::target::{Gather, Target};
use super::{ImportReport, Progress, invalid};
use crate::error::{Error, Result};
use crate::metric;
use crate::sink::DeadLetter;

/// A file that is being read, on a thread of its own, some batches ahead of what is written.
///
/// Nothing is written before it is told where to. When it is dropped, the reading ends.
pub(super) struct Reading<G> {
    path: PathBuf,
    batches: mpsc::Receiver<Full<G>>,
    ended: JoinHandle<Result<ImportReport>>,
}

impl<G> Reading<G> {
    /// Begins to read a file.
    pub(super) fn begin<R: Record>(job: Job, decode: impl Decode<R>, gathered: G) -> Result<Self>
    where
        G: Gather<R>,
    {
        if job.batch_rows == 0 {
            return Err(invalid("`batch_rows` is 0"));
        }
        let (sender, batches) = mpsc::channel(job.n_ahead);
        let path = job.path.clone();
        let read = move || read(job, &decode, gathered, &sender);
        Ok(Self {
            path,
            batches,
            ended: tokio::task::spawn_blocking(read),
        })
    }

    /// Writes what it is read as.
    pub(super) async fn land<R, T, D>(
        mut self,
        target: T,
        dead_letters: &D,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<ImportReport>
    where
        R: Record,
        T: Target<R, Gather = G>,
        D: EventSink<DeadLetter> + ?Sized,
    {
        let metadata = tokio::fs::metadata(&self.path).await;
        let bytes_total = metadata
            .map_err(|error| read_error(&self.path, error))?
            .len();
        let mut progress = |report: ImportReport| {
            progress(Progress {
                bytes_read: report.bytes,
                bytes_total,
                rows: report.rows,
            });
        };
        // One batch is prepared while the one before it is written, which is mostly waiting for the disk.
        let mut ready = None;
        loop {
            let next = async {
                let Some(batch) = self.batches.recv().await else {
                    return Ok(None);
                };
                Ok::<_, Error>(Some(Ready {
                    records: match batch.n_records {
                        0 => None,
                        _ => Some(target.prepare(batch.records).await?),
                    },
                    n_records: batch.n_records,
                    dead_letters: batch.dead_letters,
                    report: batch.report,
                }))
            };
            let write = async {
                let Some(batch) = ready.take() else {
                    return Ok(());
                };
                progress(write(batch, &target, dead_letters).await?);
                Ok::<_, Error>(())
            };
            let (next, written) = futures::join!(next, write);
            written?;
            ready = next?;
            if ready.is_none() {
                break;
            }
        }
        let ended = self.ended.await;
        let report = ended.map_err(|_| Error::TaskEnded { of: "import" })??;
        tracing::info!(
            rows = report.rows,
            records = report.events,
            dead_letters = report.dead_letters,
            "a file was imported"
        );
        target.flush().await?;
        dead_letters.flush().await?;
        Ok(report)
    }
}

/// A batch that only has to be written.
struct Ready<T> {
    /// None if it has no records.
    records: Option<T>,
    n_records: u64,
    dead_letters: Vec<DeadLetter>,
    report: ImportReport,
}

async fn write<R, T, D>(
    batch: Ready<T::Ready>,
    target: &T,
    dead_letters: &D,
) -> Result<ImportReport>
where
    R: Record,
    T: Target<R>,
    D: EventSink<DeadLetter> + ?Sized,
{
    if let Some(records) = batch.records {
        target.write(records).await?;
        metrics::counter!(metric::IMPORTED, metric::TABLE => R::NAME).increment(batch.n_records);
    }
    if !batch.dead_letters.is_empty() {
        let n_letters = batch.dead_letters.len() as u64;
        dead_letters.write(batch.dead_letters).await?;
        metrics::counter!(metric::DEAD_LETTERED, metric::TABLE => R::NAME).increment(n_letters);
    }
    Ok(batch.report)
}
