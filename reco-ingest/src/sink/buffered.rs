//! [`Buffered`]: many small writes become few large ones.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reco_core::{Durability, Error as CoreError, Event, EventSink, Receipt, Record};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::shared::Shared;
use crate::error::{Error, Result};

// Room is counted in units of this many bytes, and every batch takes one at least.
const UNIT: usize = 1 << 10;

/// When a buffer hands on what it holds, and how much it holds at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BufferConfig {
    /// Hand on once so many records are there. Default: 10 000.
    pub max_rows: usize,
    /// Hand on once the records take so many bytes, by [`Record::n_bytes`]. Default: 8 MiB.
    pub max_bytes: usize,
    /// Hand on once the oldest record has waited so long. Default: 5 s.
    ///
    /// It is what a crash of the process loses at most, and how far a scan is behind. One that is too
    /// long for the clock, such as [`Duration::MAX`], is no limit.
    pub max_age: Duration,
    /// The most bytes that are accepted and not handed on yet; further writes wait. Default: 32 MiB.
    ///
    /// At least `max_bytes`. While the sink within is called, there is a second copy of what it is
    /// called with.
    pub capacity_bytes: usize,
}

impl Default for BufferConfig {
    fn default() -> Self {
        Self {
            max_rows: 10_000,
            max_bytes: 8 << 20,
            max_age: Duration::from_secs(5),
            capacity_bytes: 32 << 20,
        }
    }
}

impl BufferConfig {
    fn validate(&self) -> Result<()> {
        let invalid = |reason: &str| {
            Err(Error::InvalidConfig {
                of: "buffer",
                reason: reason.to_owned(),
            })
        };
        if self.max_rows == 0 {
            return invalid("`max_rows` is 0");
        }
        if self.max_bytes == 0 {
            return invalid("`max_bytes` is 0");
        }
        if self.capacity_bytes < self.max_bytes {
            return invalid("`capacity_bytes` is less than `max_bytes`");
        }
        Ok(())
    }
}

/// Collects writes, and hands them on in large batches from a background task.
///
/// A write returns as soon as there is room, with a receipt of [`Durability::Memory`]; `flush` returns
/// once the sink within has written and flushed everything. Cloning is cheap and shares the buffer.
///
/// # When the sink within fails
///
/// What it failed to write stays in the buffer and is tried again: after `max_age`, on `flush` and on
/// [`close`](Self::close). Until a try succeeds, every write is refused with the error, one that waits
/// for room too, and every flush returns it. So nothing that was accepted is lost while the process lives; what the failed call had
/// written after all is there twice, which steps undo by event id.
///
/// # Shutdown
///
/// Call [`close`](Self::close). From then on writes are refused; if it fails, the buffer is open again.
/// When the last clone is dropped instead, the task still hands on what is
/// left, if the runtime lives that long, and what then fails is lost with a `tracing` error.
///
/// # Cancel safety
///
/// A write whose future is dropped while it waits for room was not accepted. A `flush` or `close` whose
/// future is dropped still takes place.
#[derive(Debug)]
pub struct Buffered<E: Record = Event> {
    commands: mpsc::UnboundedSender<Command<E>>,
    room: Arc<Semaphore>,
    n_units: u32,
    gate: watch::Sender<Gate>,
}

#[derive(Debug)]
enum Command<E> {
    Write(Vec<E>, OwnedSemaphorePermit),
    Flush(oneshot::Sender<reco_core::Result<()>>),
    Close(oneshot::Sender<reco_core::Result<()>>),
}

impl<E: Record> Buffered<E> {
    /// A buffer before a sink. Its task runs on the current Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if a limit is 0 or there is no room for one batch, or if it is called
    /// outside of a Tokio runtime.
    pub fn new<S: EventSink<E>>(sink: S, config: BufferConfig) -> Result<Self> {
        config.validate()?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Error::InvalidConfig {
            of: "buffer",
            reason: "it was made outside of a Tokio runtime".to_owned(),
        })?;
        let n_units = u32::try_from(config.capacity_bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let room = Arc::new(Semaphore::new(n_units as usize));
        let gate = watch::Sender::new(Gate::default());
        let (commands, received) = mpsc::unbounded_channel();
        let task = Task {
            sink,
            config,
            gate: gate.clone(),
            records: Vec::new(),
            permits: Vec::new(),
            n_bytes: 0,
            deadline: None,
        };
        // The task ends by itself: on `close`, or when the last sender is gone.
        drop(runtime.spawn(task.run(received)));
        Ok(Self {
            commands,
            room,
            n_units,
            gate,
        })
    }

    /// Refuses further writes, hands on and flushes everything that was accepted, and ends the task.
    ///
    /// # Errors
    ///
    /// What the sink within says. The buffer is then open again and keeps what is left.
    pub async fn close(&self) -> reco_core::Result<()> {
        self.ask(Command::Close).await
    }

    // Waits until writes are refused, and says why.
    async fn refused(&self) -> CoreError {
        let mut gate = self.gate.subscribe();
        match gate.wait_for(|gate| gate.check().is_err()).await {
            Ok(gate) => gate.check().err().unwrap_or_else(closed),
            Err(_) => closed(),
        }
    }

    // The gate is held while the records are sent: once it is shut, all that was accepted is in the
    // channel.
    fn send(&self, records: Vec<E>, permit: OwnedSemaphorePermit) -> reco_core::Result<()> {
        let gate = self.gate.borrow();
        gate.check()?;
        let command = Command::Write(records, permit);
        self.commands.send(command).map_err(|_| closed())
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<reco_core::Result<()>>) -> Command<E>,
    ) -> reco_core::Result<()> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

impl<E: Record> Clone for Buffered<E> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
            room: Arc::clone(&self.room),
            n_units: self.n_units,
            gate: self.gate.clone(),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<E: Record> EventSink<E> for Buffered<E> {
    async fn write(&self, records: Vec<E>) -> reco_core::Result<Receipt> {
        let receipt = Receipt {
            n_records: records.len(),
            durability: Durability::Memory,
        };
        self.gate.borrow().check()?;
        if records.is_empty() {
            return Ok(receipt);
        }
        let n_bytes: usize = records.iter().map(Record::n_bytes).sum();
        // A batch larger than the buffer waits until it is alone.
        let n_units = u32::try_from(n_bytes.div_ceil(UNIT))
            .unwrap_or(u32::MAX)
            .clamp(1, self.n_units);
        let permit = tokio::select! {
            biased;
            error = self.refused() => return Err(error),
            permit = Arc::clone(&self.room).acquire_many_owned(n_units) => {
                permit.map_err(|_| closed())?
            }
        };
        self.send(records, permit)?;
        Ok(receipt)
    }

    async fn flush(&self) -> reco_core::Result<()> {
        self.ask(Command::Flush).await
    }
}

fn closed() -> CoreError {
    CoreError::SinkClosed {
        sink: "buffer".to_owned(),
    }
}

struct Task<E: Record, S> {
    sink: S,
    config: BufferConfig,
    gate: watch::Sender<Gate>,
    records: Vec<E>,
    /// The room that the records take, given back once they are handed on.
    permits: Vec<OwnedSemaphorePermit>,
    n_bytes: usize,
    /// When the records are handed on, whatever their number; none if there are none, or if that is
    /// later than the clock can say.
    deadline: Option<Instant>,
}

impl<E: Record, S: EventSink<E>> Task<E, S> {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command<E>>) {
        loop {
            let command = match self.deadline {
                Some(deadline) => match tokio::time::timeout_at(deadline, commands.recv()).await {
                    Ok(command) => command,
                    Err(_) => {
                        // The error is kept for the next caller.
                        drop(self.hand_on().await);
                        continue;
                    }
                },
                None => commands.recv().await,
            };
            match command {
                Some(Command::Write(records, permit)) => self.take(records, permit).await,
                Some(Command::Flush(reply)) => drop(reply.send(self.flush().await)),
                Some(Command::Close(reply)) => {
                    if self.close(reply, &mut commands).await {
                        return;
                    }
                }
                None => {
                    // Nobody is left to tell.
                    if let Err(error) = self.flush().await {
                        tracing::error!(n_records = self.records.len(), %error, "a buffer was dropped with records that it could not hand on");
                    }
                    return;
                }
            }
        }
    }

    async fn take(&mut self, records: Vec<E>, permit: OwnedSemaphorePermit) {
        self.keep(records, permit);
        let full =
            self.records.len() >= self.config.max_rows || self.n_bytes >= self.config.max_bytes;
        // After a failure there is no point in trying at every write: the deadline does.
        if full && self.gate.borrow().failure.is_none() {
            drop(self.hand_on().await);
        }
    }

    fn keep(&mut self, records: Vec<E>, permit: OwnedSemaphorePermit) {
        self.deadline = self.deadline.or_else(|| self.after_max_age());
        self.n_bytes += records.iter().map(Record::n_bytes).sum::<usize>();
        self.records.extend(records);
        self.permits.push(permit);
    }

    // None if the clock does not go so far.
    fn after_max_age(&self) -> Option<Instant> {
        Instant::now().checked_add(self.config.max_age)
    }

    async fn hand_on(&mut self) -> reco_core::Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        // A copy, so that nothing is lost if the sink fails.
        match self.sink.write(self.records.clone()).await {
            Ok(_) => {
                self.records.clear();
                self.permits.clear();
                self.n_bytes = 0;
                self.deadline = None;
                self.gate.send_modify(|gate| gate.failure = None);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(n_records = self.records.len(), %error, "a buffer keeps what it could not hand on");
                self.deadline = self.after_max_age();
                let error = Arc::new(error);
                let told = again(&error);
                self.gate.send_modify(|gate| gate.failure = Some(error));
                Err(told)
            }
        }
    }

    async fn flush(&mut self) -> reco_core::Result<()> {
        self.hand_on().await?;
        self.sink.flush().await
    }

    // Whether the buffer is closed: everything that was accepted is handed on and flushed.
    async fn close(
        &mut self,
        reply: oneshot::Sender<reco_core::Result<()>>,
        commands: &mut mpsc::UnboundedReceiver<Command<E>>,
    ) -> bool {
        self.gate.send_modify(|gate| gate.closed = true);
        let mut waiting = Vec::new();
        while let Ok(command) = commands.try_recv() {
            match command {
                Command::Write(records, permit) => self.keep(records, permit),
                Command::Flush(reply) | Command::Close(reply) => waiting.push(reply),
            }
        }
        let result = self.flush().await;
        let is_closed = result.is_ok();
        if is_closed {
            commands.close();
            // Nothing was accepted meanwhile, but more may have been asked.
            while let Some(command) = commands.recv().await {
                if let Command::Flush(reply) | Command::Close(reply) = command {
                    waiting.push(reply);
                }
            }
        } else {
            self.gate.send_modify(|gate| gate.closed = false);
        }
        let error = result.err().map(Arc::new);
        for reply in waiting.into_iter().chain([reply]) {
            drop(reply.send(error.as_ref().map_or(Ok(()), |error| Err(again(error)))));
        }
        is_closed
    }
}

/// Whether writes are let in.
#[derive(Debug, Default)]
struct Gate {
    closed: bool,
    /// The error of the last try to hand on, until one succeeds.
    failure: Option<Arc<CoreError>>,
}

impl Gate {
    fn check(&self) -> reco_core::Result<()> {
        match &self.failure {
            _ if self.closed => Err(closed()),
            Some(error) => Err(again(error)),
            None => Ok(()),
        }
    }
}

fn again(error: &Arc<CoreError>) -> CoreError {
    CoreError::Table {
        table: "buffer".to_owned(),
        operation: "write",
        source: Box::new(Shared(Arc::clone(error))),
    }
}
