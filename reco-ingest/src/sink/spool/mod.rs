//! [`Spooled`]: what is acknowledged is on disk, and gets into the table once.
//!
//! ```text
//! write ─▶ room ─▶ thread: encode, append, sync ─▶ acknowledged
//!                    │  shop/spool/spool.redb          groups of records, numbered upwards
//!                    ▼
//!                  task: read, commit, trim ─▶ DeltaTable      commit (writer, last number)
//! ```
//!
//! * A *group* is what one sync puts on disk: the records of every write that was waiting. It has the next
//!   number of this spool.
//! * A *commit* moves many groups into the table, as one batch of the spool's own writer name, under the
//!   number of its last group: a [`BatchId`](crate::BatchId). What the table has of that writer says which
//!   groups are in it.
//! * A group is *trimmed* once the commit that holds it is as durable as the table makes it.
//!
//! The folder holds `spool.redb`, and `lock`, which the one process that has the spool open has locked. It
//! may be moved, but a copy must not be used beside it: both would take the same numbers.

mod config;
mod drain;
mod facts;
#[cfg(test)]
mod faults;
mod group;
mod journal;
mod room;
mod shared;
mod storage;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, mpsc as sync_mpsc};
use std::time::Duration;

use async_trait::async_trait;
use reco_core::{Durability, Error as CoreError, Event, EventSink, Receipt, Record};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use self::drain::{Command, Drain, Progress};
use self::facts::Owner;
use self::journal::{Held, Journal};
use self::room::{Room, Taken, bytes_of};
use self::shared::Inner;
use self::storage::{Files, SystemFiles};
use self::writer::{Job, Reply, Write, Writer};
use crate::delta::{DeltaTable, date_of};
use crate::error::{Error, Result};

pub use config::{DrainConfig, SpoolConfig};

// When whoever found no room should come back, at the least.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Acknowledges what is on disk, and drains it into a Delta table.
///
/// A write returns once its records survive what the receipt says: by default the end of the machine. A
/// background task moves them into the table, in few large commits, in the order acknowledged, each
/// exactly once, whatever crashes in between. `flush` returns once everything acknowledged before is in
/// the table. Cloning is cheap and shares the spool. Made by [`DeltaTable::spooled`].
///
/// # When the table fails
///
/// Writes go on being acknowledged until the spool is full: for [`SpoolConfig::max_bytes`]. The table is
/// tried again, later each time, up to every 30 s. [`status`](Self::status) says how much is waiting
/// and why.
///
/// # When there is no room
///
/// A write that finds the spool full waits for up to [`SpoolConfig::max_wait`], and is then refused with
/// [`reco_core::Error::Full`]. One that the disk has no room for is refused with what the disk says.
/// Nothing of either is kept, nothing that was acknowledged is lost, and once there is room
/// again, writes are.
///
/// # Shutdown
///
/// Call [`close`](Self::close), to have everything in the table. When the last clone is dropped instead,
/// or the process ends, nothing is lost: what is left is drained when the spool is opened again. The
/// folder is free for that once a commit that is under way has ended.
///
/// # Cancel safety
///
/// A write whose future is dropped while it waits for room was not accepted; later it may or may not
/// have been. A `flush` or `close` whose future is dropped still takes place.
#[derive(Debug)]
pub struct Spooled<E: Record = Event> {
    handle: Arc<Handle<E>>,
}

#[derive(Debug)]
struct Handle<E> {
    inner: Arc<Inner>,
    jobs: Sender<Job<E>>,
    commands: mpsc::UnboundedSender<Command>,
}

/// How much a spool holds, and how its draining goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolStatus {
    /// How many records are acknowledged and not known to be in the table.
    pub records: u64,
    /// How many bytes they take on disk.
    pub bytes: u64,
    /// How many records were drained into the table since the spool was opened.
    pub drained: u64,
    /// Why the last try to drain failed, with its causes; none if it succeeded.
    pub last_error: Option<String>,
}

impl<E: Record> DeltaTable<E> {
    /// Puts a spool before the table: writes are acknowledged once they are on disk, and drained into the
    /// table in the background.
    ///
    /// The spool's thread and task run until it is closed or dropped, the task on the current Tokio
    /// runtime. What an earlier process left in the folder is drained first.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if a setting cannot be used or there is no Tokio runtime,
    /// [`Error::SpoolInUse`] if the spool is open already, [`Error::SpoolOfOther`] if it is another
    /// table's, [`Error::DataFile`] or [`Error::Spool`] if what is in the folder cannot be read, and
    /// [`Error::Log`] if the table cannot be asked how far it is.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let shop = tempfile::tempdir()?;
    /// # let shop = shop.path();
    /// use reco_core::{Durability, EventSink};
    /// use reco_ingest::{DeadLetter, DeltaTable, SpoolConfig};
    ///
    /// let raw = DeltaTable::<DeadLetter>::open_local(shop.join("raw")).await?;
    /// let sink = raw.clone().spooled(SpoolConfig::at(shop.join("spool"))).await?;
    /// # let letters = vec![DeadLetter {
    /// #     received_at: "2024-05-01T12:00Z".parse()?,
    /// #     source: "clicks.csv".to_owned(),
    /// #     position: 7,
    /// #     reason: "4 fields where 5 are declared".to_owned(),
    /// #     payload: "1;2;3;4".into(),
    /// # }];
    /// let receipt = sink.write(letters).await?;
    /// assert_eq!(receipt.durability, Durability::Durable);
    /// assert_eq!(sink.status().records, 1);
    /// sink.close().await?;
    /// assert_eq!(raw.version().await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn spooled(self, config: SpoolConfig) -> Result<Spooled<E>> {
        Spooled::open(self, config, Arc::new(SystemFiles)).await
    }
}

impl<E: Record> Spooled<E> {
    async fn open(
        table: DeltaTable<E>,
        config: SpoolConfig,
        files: Arc<dyn Files>,
    ) -> Result<Self> {
        config.validate()?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Error::InvalidConfig {
            of: "spool",
            reason: "it was opened outside of a Tokio runtime".to_owned(),
        })?;
        let owner = Owner {
            id: table.id().await,
            name: table.name().to_owned(),
        };
        let dir = config.dir.clone();
        let sync = config.durability == Durability::Durable;
        let mut journal =
            tokio::task::spawn_blocking(move || Journal::open(&dir, sync, &owner, files))
                .await
                .map_err(|_| Error::TaskEnded { of: "Spooled" })??;
        // A spool that was put back from an older copy must not take numbers that the table has.
        if let Some(last) = table.last_sequence(journal.writer()).await? {
            journal.raise(last);
        }
        let inner = Arc::new(Inner {
            name: config.dir.display().to_string(),
            table: table.name().to_owned(),
            room: Arc::new(Room::new(config.max_bytes)),
            held: watch::Sender::new(Held::default()),
            acknowledged: AtomicI64::new(journal.last()),
            drained: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            wanted: Notify::new(),
            failure: Mutex::default(),
            durability: config.durability.min(table.durability()),
            config,
        });
        let (jobs, received) = sync_mpsc::channel();
        let (end, ended) = oneshot::channel();
        let drain = Drain {
            table,
            writer: journal.writer().to_owned(),
            path: journal.path().to_owned(),
            jobs: jobs.clone(),
            inner: Arc::clone(&inner),
            ended,
            progress: Progress::default(),
        };
        let (stored, replies) = mpsc::unbounded_channel();
        // It ends with the thread.
        drop(runtime.spawn(writer::tell(replies)));
        let writer = Writer::new(journal, received, Arc::clone(&inner), stored)?;
        let thread = std::thread::Builder::new().name("reco-spool".to_owned());
        let spawned = thread.spawn(move || {
            writer.run();
            // The folder is free by now.
            drop(end);
        });
        // It ends by itself, when nobody is left to ask it.
        drop(spawned.map_err(|error| journal::failed(&inner.name, "start", error))?);
        let (commands, asked) = mpsc::unbounded_channel();
        drop(runtime.spawn(drain.run(asked)));
        Ok(Self {
            handle: Arc::new(Handle {
                inner,
                jobs,
                commands,
            }),
        })
    }

    /// Refuses further writes, drains everything into the table, and frees the folder.
    ///
    /// # Errors
    ///
    /// What the table or the disk says. The spool is then open again, and holds what is left.
    pub async fn close(&self) -> reco_core::Result<()> {
        self.handle.inner.closed.store(true, Ordering::SeqCst);
        self.ask(Command::Close).await
    }

    /// How much it holds, and how the draining goes.
    #[must_use]
    pub fn status(&self) -> SpoolStatus {
        let inner = &self.handle.inner;
        let held = *inner.held.borrow();
        SpoolStatus {
            records: held.n_records,
            bytes: bytes_of(held.n_pages),
            drained: inner.drained.load(Ordering::Relaxed),
            last_error: inner.failure(),
        }
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<reco_core::Result<()>>) -> Command,
    ) -> reco_core::Result<()> {
        let gone = || self.handle.inner.gone();
        let (reply, answer) = oneshot::channel();
        let sent = self.handle.commands.send(command(reply));
        sent.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    // Room for the records, waiting for it if there is none.
    async fn take(&self, n_bytes: usize) -> reco_core::Result<Taken> {
        let inner = &self.handle.inner;
        let too_large = || Error::InvalidConfig {
            of: "batch",
            reason: format!(
                "it takes about {n_bytes} bytes, and the spool has {} for everything",
                inner.config.max_bytes
            ),
        };
        let n_pages = inner.room.estimate(n_bytes);
        let n_pages = n_pages.ok_or_else(|| inner.core(too_large(), "write"))?;
        if let Some(taken) = inner.room.take(n_pages, None).await {
            return Ok(taken);
        }
        // There may be too little for a commit, and still no room.
        inner.wanted.notify_one();
        let taken = inner.room.take(n_pages, Some(inner.config.max_wait)).await;
        taken.ok_or_else(|| CoreError::Full {
            sink: inner.name.clone(),
            retry_after: inner.config.max_wait.max(RETRY_AFTER),
        })
    }
}

impl<E: Record> Clone for Spooled<E> {
    fn clone(&self) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<E: Record> EventSink<E> for Spooled<E> {
    async fn write(&self, records: Vec<E>) -> reco_core::Result<Receipt> {
        let inner = &self.handle.inner;
        let receipt = inner.receipt(records.len());
        if inner.is_closed() {
            return Err(inner.gone());
        }
        if records.is_empty() {
            return Ok(receipt);
        }
        let n_bytes = check(&records).map_err(|error| inner.core(error, "write"))?;
        let taken = self.take(n_bytes).await?;
        let (sender, answer) = oneshot::channel();
        let write = Write {
            records,
            n_bytes,
            reply: Reply {
                sender,
                _taken: taken,
            },
        };
        let sent = self.handle.jobs.send(Job::Write(write));
        sent.map_err(|_| inner.gone())?;
        answer.await.map_err(|_| inner.gone())??;
        Ok(receipt)
    }

    async fn flush(&self) -> reco_core::Result<()> {
        self.ask(Command::Flush).await
    }
}

// Refuses what the table would refuse for ever, and says how many bytes the records have.
fn check<E: Record>(records: &[E]) -> Result<usize> {
    let mut n_bytes = 0_usize;
    for (row, record) in records.iter().enumerate() {
        let time = record.timestamp();
        date_of(time).ok_or(Error::Date { row, time })?;
        n_bytes = n_bytes.saturating_add(record.n_bytes());
    }
    Ok(n_bytes)
}
