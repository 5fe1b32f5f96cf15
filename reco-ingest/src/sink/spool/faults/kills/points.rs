//! [`Points`]: where a process stops to be killed, and what fails in it before.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Error as IoError, ErrorKind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::watched::{Change, Watch};
use crate::delta::{Disk, SystemDisk};

/// An operation on the file of a spool, or on its table, by what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Operation {
    /// The file of a spool grows.
    Grow,
    /// A page of a group is written, or one that says what is valid.
    Write,
    /// What was written is synced; a group is acknowledged next.
    Sync,
    /// As [`Write`](Self::Write), of the page that says up to where the spool is trimmed.
    TrimWrite,
    /// As [`Sync`](Self::Sync), of a transaction that trims, and may append a group too.
    TrimSync,
    /// A spool that is whole gets its name.
    Rename,
    /// A data file, which is whole and has no name, is synced.
    SyncData,
    /// The folder of a data file, which has its name, is synced.
    NameData,
    /// An entry of the log, which is whole and has no name, is synced: the commit has not landed.
    SyncEntry,
    /// The log is synced: the commit has landed, and is not answered.
    NameEntry,
}

impl Operation {
    pub(super) const ALL: [Self; 10] = [
        Self::Grow,
        Self::Write,
        Self::Sync,
        Self::TrimWrite,
        Self::TrimSync,
        Self::Rename,
        Self::SyncData,
        Self::NameData,
        Self::SyncEntry,
        Self::NameEntry,
    ];

    /// Whether it is only sure to happen where a spool is made.
    pub(super) const fn is_of_new(self) -> bool {
        matches!(self, Self::Grow | Self::Rename)
    }
}

/// What happens at an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Fault {
    /// It is not done: the process says so, and its thread stops for ever.
    StopBefore,
    /// The same, once it is done.
    StopAfter,
    /// It is not done, for want of room.
    Full,
    /// It is done, and the answer is an error.
    AnswerLost,
    /// It takes its time.
    Slow,
}

/// What happens at which operations of a process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Rule {
    pub(super) table: String,
    pub(super) operation: Operation,
    pub(super) fault: Fault,
    /// From the operation of this number on, of those of its kind, counted from 1.
    pub(super) from: u64,
    /// At so many of them.
    pub(super) n: u64,
}

impl Rule {
    // A process stops anywhere; what fails does so only once it is open.
    fn is_due(&self, number: Number) -> bool {
        let number = match self.fault {
            Fault::StopBefore | Fault::StopAfter => number.in_all,
            Fault::Full | Fault::AnswerLost | Fault::Slow => number.while_open,
        };
        (self.from..self.from.saturating_add(self.n)).contains(&number)
    }

    // Whether it is the last time, of those that there are for sure.
    fn has_failed(&self, number: Number) -> bool {
        let last = match self.n {
            u64::MAX => self.from,
            n => self.from + n - 1,
        };
        !matches!(self.fault, Fault::StopBefore | Fault::StopAfter) && number.while_open == last
    }
}

/// How often something was done.
#[derive(Debug, Clone, Copy, Default)]
struct Number {
    in_all: u64,
    while_open: u64,
}

/// Where a process stops to be killed, and what fails in it before: for the spool and the disk of one
/// table.
#[derive(Debug)]
pub(super) struct Points {
    rules: Vec<Rule>,
    is_open: AtomicBool,
    numbers: Mutex<HashMap<Operation, Number>>,
    /// Whether the next sync of the spool is of a transaction that trims.
    trims: AtomicBool,
    /// Whether the next sync of the log is for the name of an entry.
    names_entry: AtomicBool,
}

impl Points {
    pub(super) fn of(table: &str, rules: &[Rule]) -> Self {
        let rules = rules.iter().filter(|rule| rule.table == table);
        Self {
            rules: rules.cloned().collect(),
            is_open: AtomicBool::default(),
            numbers: Mutex::default(),
            trims: AtomicBool::default(),
            names_entry: AtomicBool::default(),
        }
    }

    /// The table and its spool are open.
    pub(super) fn opened(&self) {
        self.is_open.store(true, Ordering::SeqCst);
    }

    fn at(
        &self,
        operation: Operation,
        mut make: impl FnMut() -> Result<(), IoError>,
    ) -> Result<(), IoError> {
        let is_open = self.is_open.load(Ordering::SeqCst);
        let number = {
            let mut numbers = self.numbers.lock().unwrap();
            let number = numbers.entry(operation).or_default();
            number.in_all += 1;
            number.while_open += u64::from(is_open);
            *number
        };
        let is_due = |rule: &&Rule| rule.operation == operation && rule.is_due(number);
        let due: Vec<_> = self.rules.iter().filter(is_due).collect();
        for rule in &due {
            if rule.has_failed(number) {
                println!("\nfailed {rule:?}");
            }
            match rule.fault {
                Fault::StopBefore => stop(rule),
                Fault::Full => return Err(ErrorKind::StorageFull.into()),
                Fault::Slow => std::thread::park_timeout(Duration::from_millis(50)),
                Fault::StopAfter | Fault::AnswerLost => {}
            }
        }
        make()?;
        for rule in &due {
            match rule.fault {
                Fault::StopAfter => stop(rule),
                Fault::AnswerLost => return Err(IoError::other("the answer was lost")),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Watch for Points {
    fn run(
        &self,
        change: Change<'_>,
        make: &mut dyn FnMut() -> Result<(), IoError>,
    ) -> Result<(), IoError> {
        let operation = match change {
            Change::Grow => Operation::Grow,
            Change::Write(page) if says_trimmed(page) => {
                self.trims.store(true, Ordering::SeqCst);
                Operation::TrimWrite
            }
            Change::Write(_) => Operation::Write,
            Change::Sync if self.trims.swap(false, Ordering::SeqCst) => Operation::TrimSync,
            Change::Sync => Operation::Sync,
            Change::Rename => Operation::Rename,
        };
        self.at(operation, make)
    }
}

impl Disk for Points {
    fn sync_file(&self, file: &File, name: &Path) -> Result<(), IoError> {
        let make = || SystemDisk.sync_file(file, name);
        match name.parent() {
            Some(folder) if is_of_data(folder) => self.at(Operation::SyncData, make),
            Some(folder) if is_log(folder) && name.extension().is_some_and(|it| it == "json") => {
                self.names_entry.store(true, Ordering::SeqCst);
                self.at(Operation::SyncEntry, make)
            }
            _ => make(),
        }
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), IoError> {
        let make = || SystemDisk.sync_folder(folder);
        if is_of_data(folder) {
            return self.at(Operation::NameData, make);
        }
        if is_log(folder) && self.names_entry.swap(false, Ordering::SeqCst) {
            return self.at(Operation::NameEntry, make);
        }
        make()
    }
}

// Only a transaction that trims writes the page with this key anew: no page is changed in place.
fn says_trimmed(page: &[u8]) -> bool {
    let key = b"trimmed";
    page.windows(key.len()).any(|window| window == key)
}

fn is_of_data(folder: &Path) -> bool {
    folder_name(folder).starts_with("received_date=")
}

fn is_log(folder: &Path) -> bool {
    folder_name(folder) == "_delta_log"
}

fn folder_name(folder: &Path) -> &str {
    folder.file_name().and_then(OsStr::to_str).unwrap_or("")
}

// Waits to be killed.
fn stop(rule: &Rule) -> ! {
    println!("\nat {rule:?}");
    loop {
        std::thread::park();
    }
}
