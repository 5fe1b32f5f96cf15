//! [`Drain`]: the task that moves what a spool holds into its table.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use metrics::counter;
use reco_core::Record;
use redb::ReadTransaction;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::group::Decoder;
use super::journal::{GROUPS, Held, damaged, failed};
use super::shared::{Inner, is_full};
use super::writer::Job;
use crate::delta::{BatchId, DeltaTable, Packed, Written};
use crate::error::{Error, Result};
use crate::metric;

// After a failure the table is asked again after so long, twice as long each time, up to the latter.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// What the task is asked to do at once.
#[derive(Debug)]
pub(super) enum Command {
    /// Drain everything that is acknowledged.
    Flush(oneshot::Sender<reco_core::Result<()>>),
    /// Drain everything, and end the task and the thread.
    Close(oneshot::Sender<reco_core::Result<()>>),
}

/// The task that moves what a spool holds into its table.
///
/// A commit holds the groups behind the last one that the table has, under the number of its own last
/// one, and is made only if the table has got no further meanwhile. Until it is known to have landed,
/// nothing is trimmed, and whatever happens in between, the table is asked again how far it is. So a
/// group is in the table once, in order, though calls fail, answers are lost, processes are killed and
/// lost calls land late.
#[derive(Debug)]
pub(super) struct Drain<E: Record> {
    pub(super) table: DeltaTable<E>,
    pub(super) writer: String,
    pub(super) path: PathBuf,
    pub(super) jobs: Sender<Job<E>>,
    pub(super) inner: Arc<Inner>,
    /// Ends with the thread, when the folder is free.
    pub(super) ended: oneshot::Receiver<()>,
    pub(super) progress: Progress,
}

/// How far the table is, and when to go on.
#[derive(Debug, Default)]
pub(super) struct Progress {
    last: Last,
    /// What is trimmed already.
    trimmed: Option<i64>,
    /// When to drain though there is not enough for a commit; none if there is nothing, or if that is
    /// later than the clock can say.
    deadline: Option<Instant>,
    n_failures: u32,
}

/// The last number that the table has of this spool.
#[derive(Debug, Clone, Copy, Default)]
enum Last {
    /// The table has to be asked.
    #[default]
    Unknown,
    /// This one, or none.
    Known(Option<i64>),
}

/// Groups read back for a commit.
struct Batch<E: Record> {
    records: Packed<E>,
    through: i64,
}

impl<E: Record> Drain<E> {
    /// Drains until it is told to close, or nobody is left to ask.
    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut held = self.inner.held.subscribe();
        // What is there from before has waited long enough.
        self.progress.deadline = (held.borrow().n_records > 0).then(Instant::now);
        loop {
            let deadline = self.progress.deadline;
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Flush(reply)) => {
                        let result = self.drain_all().await;
                        drop(reply.send(result.map_err(|error| self.inner.core(error, "flush"))));
                    }
                    Some(Command::Close(reply)) => match self.close().await {
                        Ok(()) => {
                            commands.close();
                            drop(reply.send(Ok(())));
                            // All of it is in the table, for whoever else asks.
                            while let Some(Command::Flush(reply) | Command::Close(reply)) = commands.recv().await {
                                drop(reply.send(Ok(())));
                            }
                            return;
                        }
                        Err(error) => {
                            self.inner.closed.store(false, Ordering::SeqCst);
                            drop(reply.send(Err(self.inner.core(error, "close"))));
                        }
                    },
                    None => return,
                },
                () = sleep_until(deadline) => {
                    // The error is kept for the status.
                    drop(self.drain_one().await);
                }
                () = self.inner.wanted.notified(), if self.progress.n_failures == 0 => {
                    drop(self.drain_one().await);
                }
                _ = held.changed() => {}
            }
            self.schedule(&mut held);
        }
    }

    // When to drain next.
    fn schedule(&mut self, held: &mut watch::Receiver<Held>) {
        let held = *held.borrow_and_update();
        let drain = &self.inner.config.drain;
        let progress = &mut self.progress;
        if progress.n_failures > 0 {
            // Set by the failure.
        } else if held.n_records == 0 {
            progress.deadline = None;
        } else if is_full(&held, drain) {
            progress.deadline = Some(Instant::now());
        } else if progress.deadline.is_none() {
            progress.deadline = Instant::now().checked_add(drain.max_age);
        }
    }

    async fn close(&mut self) -> Result<()> {
        loop {
            self.drain_all().await?;
            let (reply, answer) = oneshot::channel();
            self.send(Job::End(reply))?;
            if answer.await.map_err(|_| gone())? {
                // An error says the same: the thread is gone.
                drop((&mut self.ended).await);
                return Ok(());
            }
        }
    }

    // Drains what is acknowledged now.
    async fn drain_all(&mut self) -> Result<()> {
        let target = self.inner.acknowledged.load(Ordering::SeqCst);
        while self.drain_one().await? {
            if let Last::Known(Some(at)) = self.progress.last
                && at >= target
            {
                break;
            }
        }
        Ok(())
    }

    // Makes one commit, if there is anything for it: says whether there was.
    async fn drain_one(&mut self) -> Result<bool> {
        self.progress.deadline = None;
        let result = self.step().await;
        let failure = match &result {
            Ok(_) => {
                self.progress.n_failures = 0;
                None
            }
            Err(error) => {
                let n = self.progress.n_failures;
                self.progress.n_failures = n.saturating_add(1);
                let backoff = MIN_BACKOFF.saturating_mul(1 << n.min(16)).min(MAX_BACKOFF);
                self.progress.deadline = Some(Instant::now() + backoff);
                let text = chain(error);
                tracing::warn!(spool = %self.inner.name, table = %self.inner.table, error = %text, ?backoff, "a spool could not be drained");
                Some(text)
            }
        };
        self.inner.set_failure(failure);
        result
    }

    async fn step(&mut self) -> Result<bool> {
        let last = match self.progress.last {
            Last::Known(last) => {
                // A trim may have failed.
                self.trim(last).await?;
                last
            }
            Last::Unknown => {
                let last = self.table.last_sequence(&self.writer).await?;
                // What the table has and the spool still holds, since nobody knew that it had landed.
                let n_records = self.trim(last).await?;
                counter!(metric::DUPLICATES, metric::TABLE => self.inner.table.clone())
                    .increment(n_records);
                self.progress.last = Last::Known(last);
                last
            }
        };
        let Some(batch) = self.read(last).await? else {
            return Ok(false);
        };
        let id = BatchId::new(self.writer.as_str(), batch.through)?;
        let n_records = batch.records.len();
        // From here on nobody knows, until there is an answer.
        self.progress.last = Last::Unknown;
        match self.table.write_following(&id, last, batch.records).await {
            Ok(Written::Committed { version }) => {
                tracing::debug!(spool = %self.inner.name, table = %self.inner.table, version, n_records, through = batch.through, "drained");
                self.progress.last = Last::Known(Some(batch.through));
                let n = u64::try_from(n_records).unwrap_or(u64::MAX);
                self.inner.drained.fetch_add(n, Ordering::Relaxed);
                self.trim(Some(batch.through)).await?;
            }
            // A call that was thought lost has landed: the table is asked how far it is.
            Ok(Written::AlreadyThere) | Err(Error::Overtaken { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    // Removes what the table has.
    async fn trim(&mut self, last: Option<i64>) -> Result<u64> {
        let Some(through) = last.filter(|_| self.progress.trimmed < last) else {
            return Ok(0);
        };
        let (reply, answer) = oneshot::channel();
        self.send(Job::Trim(through, reply))?;
        let n_records = answer.await.map_err(|_| gone())??;
        self.progress.trimmed = last;
        Ok(n_records)
    }

    // The groups behind a number, as many as make a commit.
    async fn read(&self, last: Option<i64>) -> Result<Option<Batch<E>>> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Read(reply))?;
        let file = answer.await.map_err(|_| gone())??;
        let (inner, path) = (Arc::clone(&self.inner), self.path.clone());
        tokio::task::spawn_blocking(move || read(&inner, &path, &file, last))
            .await
            .map_err(|_| gone())?
    }

    fn send(&self, job: Job<E>) -> Result<()> {
        self.jobs.send(job).map_err(|_| gone())
    }
}

fn read<E: Record>(
    inner: &Inner,
    path: &Path,
    file: &ReadTransaction,
    last: Option<i64>,
) -> Result<Option<Batch<E>>> {
    let broken = |error: redb::Error| failed(&inner.name, "read", error);
    let drain = &inner.config.drain;
    let after = last.map_or(i64::MIN, |last| last.saturating_add(1));
    let table = file
        .open_table(GROUPS)
        .map_err(|error| broken(error.into()))?;
    let groups = table.range(after..).map_err(|error| broken(error.into()))?;
    let (mut decoder, mut n_bytes, mut through) = (Decoder::new(), 0_usize, None);
    for group in groups {
        let (sequence, bytes) = group.map_err(|error| broken(error.into()))?;
        let (sequence, bytes) = (sequence.value(), bytes.value());
        let damaged = |reason: String| damaged(path, sequence, &reason);
        decoder.push(bytes).map_err(damaged)?;
        n_bytes = n_bytes.saturating_add(bytes.len());
        through = Some(sequence);
        if decoder.len() >= drain.max_rows || n_bytes >= drain.max_bytes {
            break;
        }
    }
    let Some(through) = through else {
        return Ok(None);
    };
    let records = decoder.finish();
    let records = records.map_err(|reason| damaged(path, through, &reason))?;
    Ok(Some(Batch { records, through }))
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn gone() -> Error {
    Error::TaskEnded { of: "Spooled" }
}

// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}
