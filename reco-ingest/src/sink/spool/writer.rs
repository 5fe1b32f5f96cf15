//! [`Writer`]: the thread that puts records on disk, those of all who wait with one sync.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvError, TryRecvError};
use std::time::Instant;

use metrics::histogram;
use reco_core::{Error as CoreError, Record};
use redb::ReadTransaction;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use super::group::{Encoder, Group};
use super::journal::Journal;
use super::room::Taken;
use super::shared::Inner;
use crate::error::{Error, Result};
use crate::metric;
use crate::sink::shared::Shared;

// What is waiting becomes one group, but for what would make it larger than that.
const GROUP_BYTES: usize = 4 << 20;
// What is trimmed goes in steps, so that writes do not wait for long.
const TRIM_STEP: usize = 512;
// An empty file stays as large as so many commits to the table.
const KEPT_COMMITS: u64 = 4;

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Job<E> {
    /// Put records on disk.
    Write(Write<E>),
    /// Remove the groups up to a number; says how many records they had.
    Trim(i64, oneshot::Sender<Result<u64>>),
    /// Give the state of the file to a reader.
    Read(oneshot::Sender<Result<ReadTransaction>>),
    /// End, if nothing is left; says whether.
    End(oneshot::Sender<bool>),
}

/// Records to put on disk.
#[derive(Debug)]
pub(super) struct Write<E> {
    pub(super) records: Vec<E>,
    pub(super) n_bytes: usize,
    pub(super) reply: Reply,
}

/// Who waits for records to be on disk, and the room that was taken for them.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) sender: oneshot::Sender<reco_core::Result<()>>,
    /// Given back with it.
    pub(super) _taken: Taken,
}

/// The thread that puts records on disk.
///
/// Whatever arrives while one group is encoded, written and synced makes the next one, so a sync serves
/// all who wait, and the more of them there are, the more it serves.
#[derive(Debug)]
pub(super) struct Writer<E> {
    journal: Journal,
    encoder: Encoder<E>,
    jobs: Receiver<Job<E>>,
    inner: Arc<Inner>,
    /// Where those are told whose records are stored.
    stored: UnboundedSender<Vec<Reply>>,
    /// The pages that are charged for what the journal holds.
    n_charged: usize,
    trims: Option<Trim>,
}

/// What is being trimmed.
#[derive(Debug)]
struct Trim {
    through: i64,
    n_records: u64,
    reply: oneshot::Sender<Result<u64>>,
}

/// A group to store, and who waits for it.
struct Part {
    group: Group,
    replies: Vec<Reply>,
}

impl<E: Record> Writer<E> {
    pub(super) fn new(
        journal: Journal,
        jobs: Receiver<Job<E>>,
        inner: Arc<Inner>,
        stored: UnboundedSender<Vec<Reply>>,
    ) -> Result<Self> {
        let mut writer = Self {
            journal,
            encoder: Encoder::new()?,
            jobs,
            inner,
            stored,
            n_charged: 0,
            trims: None,
        };
        writer.account();
        Ok(writer)
    }

    /// Works until it is told to end, or nobody is left to ask.
    pub(super) fn run(mut self) {
        while let Ok(job) = self.next() {
            let mut writes = Vec::new();
            match job {
                Some(Job::End(reply)) => {
                    let ends = self.journal.first().is_none();
                    let told = reply.send(ends).is_ok();
                    if ends && told {
                        return;
                    }
                }
                Some(Job::Write(write)) => self.gather(write, &mut writes),
                Some(job) => self.begin(job),
                None => {}
            }
            self.store(writes);
        }
    }

    // The next job; none if there is something to trim meanwhile.
    fn next(&self) -> Result<Option<Job<E>>, RecvError> {
        if self.trims.is_none() {
            return self.jobs.recv().map(Some);
        }
        match self.jobs.try_recv() {
            Ok(job) => Ok(Some(job)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(RecvError),
        }
    }

    // Takes what is waiting, up to the first that is no write.
    fn gather(&mut self, first: Write<E>, writes: &mut Vec<Write<E>>) {
        let mut n_bytes = first.n_bytes;
        writes.push(first);
        while n_bytes < GROUP_BYTES {
            match self.jobs.try_recv() {
                Ok(Job::Write(write)) => {
                    n_bytes += write.n_bytes;
                    writes.push(write);
                }
                Ok(Job::End(reply)) => drop(reply.send(false)),
                Ok(job) => {
                    self.begin(job);
                    break;
                }
                Err(_) => break,
            }
        }
    }

    fn begin(&mut self, job: Job<E>) {
        match job {
            Job::Trim(through, reply) => {
                self.trims = Some(Trim {
                    through,
                    n_records: 0,
                    reply,
                });
            }
            Job::Read(reply) => {
                drop(reply.send(self.journal.read()));
                self.account();
            }
            Job::Write(_) | Job::End(_) => {}
        }
    }

    // Appends the writes, and trims a step.
    fn store(&mut self, writes: Vec<Write<E>>) {
        let parts = self.parts(writes);
        let (groups, replies): (Vec<_>, Vec<_>) = parts
            .into_iter()
            .map(|part| (part.group, part.replies))
            .unzip();
        if groups.is_empty() && self.trims.is_none() {
            return;
        }
        let began = Instant::now();
        let through = self.trims.as_ref().map(|trim| trim.through);
        let stored = self.journal.commit(&groups, through, TRIM_STEP);
        self.account();
        match stored {
            Ok(n_trimmed) => {
                let seconds = began.elapsed();
                histogram!(metric::SPOOL_SYNC_SECONDS, metric::TABLE => self.inner.table.clone())
                    .record(seconds);
                let last = self.journal.last();
                self.inner.acknowledged.store(last, Ordering::SeqCst);
                // Nobody is told, and nobody waits, once the runtime is gone.
                drop(self.stored.send(replies.into_iter().flatten().collect()));
                self.trimmed(n_trimmed);
                for group in groups {
                    self.encoder.reuse(group);
                }
            }
            Err(error) => {
                tracing::warn!(spool = %self.inner.name, %error, "a group was not stored");
                let error = Arc::new(error);
                let again = || Error::Spool {
                    dir: self.inner.name.clone(),
                    operation: "append",
                    source: Box::new(Shared(Arc::clone(&error))),
                };
                for reply in replies.into_iter().flatten() {
                    drop(reply.sender.send(Err(self.inner.core(again(), "write"))));
                }
                if let Some(trim) = self.trims.take() {
                    drop(trim.reply.send(Err(again())));
                }
            }
        }
    }

    // The writes as one group. If they cannot be one, each is its own, and those that cannot be are told.
    fn parts(&mut self, writes: Vec<Write<E>>) -> Vec<Part> {
        let mut records = Vec::with_capacity(writes.iter().map(|write| write.records.len()).sum());
        let mut replies = Vec::with_capacity(writes.len());
        let mut lengths = Vec::with_capacity(writes.len());
        for write in writes {
            lengths.push(write.records.len());
            records.extend(write.records);
            replies.push(write.reply);
        }
        if replies.is_empty() {
            return Vec::new();
        }
        if let Ok(group) = self.encoder.encode(&records) {
            return vec![Part { group, replies }];
        }
        let mut rest = records.as_slice();
        let mut parts = Vec::new();
        for (reply, n) in replies.into_iter().zip(lengths) {
            let (own, after) = rest.split_at(n);
            rest = after;
            match self.encoder.encode(own) {
                Ok(group) => parts.push(Part {
                    group,
                    replies: vec![reply],
                }),
                Err(error) => {
                    let error: CoreError = self.inner.core(error, "write");
                    drop(reply.sender.send(Err(error)));
                }
            }
        }
        parts
    }

    fn trimmed(&mut self, n_records: u64) {
        let Some(mut trim) = self.trims.take() else {
            return;
        };
        trim.n_records += n_records;
        if self
            .journal
            .first()
            .is_some_and(|first| first <= trim.through)
        {
            self.trims = Some(trim);
            return;
        }
        let drain = u64::try_from(self.inner.config.drain.max_bytes).unwrap_or(u64::MAX);
        self.journal.shrink(drain.saturating_mul(KEPT_COMMITS));
        drop(trim.reply.send(Ok(trim.n_records)));
    }

    // Charges what the journal holds now. What was taken for writes is given back with their replies.
    fn account(&mut self) {
        let held = self.journal.held();
        let (before, now) = (self.n_charged, held.n_pages);
        if now > before {
            self.inner.room.charge(now - before);
        } else {
            self.inner.room.give_back(before - now);
        }
        self.n_charged = now;
        self.inner.hold(held);
    }
}

/// Tells those whose records are stored.
///
/// It is a task of the runtime: waking many tasks from there costs next to nothing, and from a thread
/// outside a system call each.
pub(super) async fn tell(mut stored: UnboundedReceiver<Vec<Reply>>) {
    while let Some(replies) = stored.recv().await {
        for reply in replies {
            // Whoever does not wait any more has its records stored all the same.
            drop(reply.sender.send(Ok(())));
        }
    }
}
