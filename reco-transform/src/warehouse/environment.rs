//! [`Environment`]: which versions of which tables readers see.
//!
//! ```text
//! _environments/prod/00000000000000000001.json      every state that an environment was in,
//!                    00000000000000000002.json      created whole and never changed
//! ```
//!
//! A state names for each table a folder and a Delta version. Publishing adds a state, so a run that made
//! twenty tables shows all of them at once or none, and a reader that holds a state goes on seeing it. The
//! next number can be created once, on every store: of two publishers at once, one reads again and adds to
//! what the other one published.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use reco_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::incremental::Ledger;

const FOLDER: &str = "_environments";
const FORMAT: u32 = 1;
// Of all publishers at once one wins, so a loss means that another one got on.
const MAX_TRIES: u32 = 64;

/// The environment that a warehouse shows unless asked for another.
pub const PROD: &str = "prod";

/// A table as an environment shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedTable {
    /// Its folder below the root of the warehouse: a Delta table.
    pub location: String,
    /// The Delta version that was audited.
    pub version: u64,
    /// How many rows it has.
    pub n_rows: u64,
    /// What it was made by, and of what.
    pub made: Made,
    /// Which intervals of it are done; empty if it is not made by intervals.
    #[serde(default, skip_serializing_if = "Ledger::is_empty")]
    pub ledger: Ledger,
}

/// What a table was made by, and of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// The step: changes with its plan, its version and those of the functions that it calls.
    pub step: String,
    /// The table: changes with the step and with the definitions of its inputs.
    pub definition: String,
    /// The rows: changes with the definition and with what was in the inputs. None if a source could not
    /// tell what it held, or the step asks for the time of day or for chance.
    pub data: Option<String>,
    /// What was in each input.
    pub inputs: BTreeMap<String, Option<String>>,
    /// What was expected of it and found; none if the rows were not audited, or not passed.
    pub checks: Option<String>,
}

/// Which versions of which tables an environment shows, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentState {
    /// Its place among the states of the environment, from 1.
    pub number: u64,
    /// When it was published, by the clock of the store.
    pub published_at: Timestamp,
    /// What it shows.
    pub contents: Contents,
}

/// What an environment shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The tables by their names.
    pub tables: BTreeMap<String, PublishedTable>,
    /// What else passed its audit, sources and tables in memory, and what it was made of then.
    pub audited: BTreeMap<String, Made>,
}

/// A state as it is on disk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    format: u32,
    tables: BTreeMap<String, PublishedTable>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    audited: BTreeMap<String, Made>,
}

/// The states of one environment of a warehouse.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    store: Arc<dyn ObjectStore>,
    name: String,
    folder: Path,
}

impl Environment {
    /// The environment of that name in a store, rooted at the warehouse.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, name: &str) -> Result<Self> {
        let allowed = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(allowed) {
            return Err(Error::InvalidEnvironment {
                environment: name.to_owned(),
            });
        }
        Ok(Self {
            store,
            name: name.to_owned(),
            folder: Path::from_iter([FOLDER, name]),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn unknown(&self, what: &str) -> Error {
        Error::UnknownEnvironment {
            environment: self.name.clone(),
            what: what.to_owned(),
        }
    }

    /// The newest state; none if nothing was ever published.
    pub(crate) async fn current(&self) -> Result<Option<EnvironmentState>> {
        match self.numbers().await?.pop() {
            Some(number) => self.read(number).await.map(Some),
            None => Ok(None),
        }
    }

    /// The state that was the newest at a time; none if there was none.
    pub(crate) async fn as_of(&self, time: Timestamp) -> Result<Option<EnvironmentState>> {
        for number in self.numbers().await?.into_iter().rev() {
            let state = self.read(number).await?;
            if state.published_at <= time {
                return Ok(Some(state));
            }
        }
        Ok(None)
    }

    /// Adds a state, which is made of the newest one, and made anew if another publisher was first. If
    /// nothing changes, nothing is added.
    pub(crate) async fn publish(
        &self,
        mut change: impl FnMut(&mut Contents) + Send,
    ) -> Result<EnvironmentState> {
        for _ in 0..MAX_TRIES {
            let current = self.current().await?;
            let number = current.as_ref().map_or(0, |state| state.number) + 1;
            let mut contents = current.as_ref().map(|state| state.contents.clone());
            let contents = contents.get_or_insert_default();
            change(contents);
            if let Some(current) = current
                && current.contents == *contents
            {
                return Ok(current);
            }
            if self.create(number, contents).await? {
                return self.read(number).await;
            }
            tracing::debug!(environment = %self.name, number, "another publisher was first");
        }
        Err(Error::EnvironmentContended {
            environment: self.name.clone(),
            tries: MAX_TRIES,
        })
    }

    // Creates a state; false if there is one of that number, unless it is of this very call: a store that
    // retries finds its own first try, and a publisher that makes the same state has made it.
    pub(crate) async fn create(&self, number: u64, contents: &Contents) -> Result<bool> {
        let Contents { tables, audited } = contents.clone();
        let file = StateFile {
            format: FORMAT,
            tables,
            audited,
        };
        let path = self.path(number);
        let bytes =
            serde_json::to_vec_pretty(&file).map_err(|error| self.damaged(&path, &error))?;
        let put = self
            .store
            .put_opts(&path, bytes.into(), PutMode::Create.into());
        match put.await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => {
                let there = self.read(number).await?;
                Ok(there.contents == *contents)
            }
            Err(source) => Err(self.failed("publish", source)),
        }
    }

    /// The state of a number.
    pub(crate) async fn read(&self, number: u64) -> Result<EnvironmentState> {
        let path = self.path(number);
        let failed = |source| self.failed("read", source);
        let object = match self.store.get(&path).await {
            Ok(object) => object,
            Err(object_store::Error::NotFound { .. }) => {
                return Err(self.unknown(&format!("state {number}")));
            }
            Err(error) => return Err(failed(error)),
        };
        let modified = object.meta.last_modified;
        let bytes = object.bytes().await.map_err(failed)?;
        let file: StateFile =
            serde_json::from_slice(&bytes).map_err(|error| self.damaged(&path, &error))?;
        if file.format != FORMAT {
            let found = file.format;
            let reason = format!("it has format {found}; this build reads {FORMAT}");
            return Err(self.damaged(&path, &reason));
        }
        let published_at = Timestamp::from_microsecond(modified.timestamp_micros());
        Ok(EnvironmentState {
            number,
            published_at: published_at.map_err(|error| self.damaged(&path, &error))?,
            contents: Contents {
                tables: file.tables,
                audited: file.audited,
            },
        })
    }

    /// Removes a state; no publisher makes it again.
    pub(crate) async fn remove(&self, number: u64) -> Result<()> {
        match self.store.delete(&self.path(number)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(self.failed("drop", source)),
        }
    }

    /// The numbers of all states, upwards. What has another name is not ours.
    pub(crate) async fn numbers(&self) -> Result<Vec<u64>> {
        let listed: Vec<_> = self
            .store
            .list(Some(&self.folder))
            .try_collect()
            .await
            .map_err(|source| self.failed("list", source))?;
        let number = |path: &Path| path.filename()?.strip_suffix(".json")?.parse().ok();
        let mut numbers: Vec<u64> = listed
            .iter()
            .filter_map(|meta| number(&meta.location))
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn path(&self, number: u64) -> Path {
        self.folder.clone().join(format!("{number:020}.json"))
    }

    fn failed(&self, operation: &'static str, source: object_store::Error) -> Error {
        Error::Environment {
            environment: self.name.clone(),
            operation,
            source: source.into(),
        }
    }

    fn damaged(&self, path: &Path, reason: &dyn std::fmt::Display) -> Error {
        Error::Environment {
            environment: self.name.clone(),
            operation: "read",
            source: format!("{path}: {reason}").into(),
        }
    }
}

/// The names of all environments that were published to, in order.
pub(crate) async fn names(store: &dyn ObjectStore) -> Result<Vec<String>> {
    let listed = store.list_with_delimiter(Some(&Path::from(FOLDER))).await;
    let listed = listed.map_err(|source| Error::Environment {
        environment: "*".to_owned(),
        operation: "list",
        source: source.into(),
    })?;
    let names = listed.common_prefixes.iter().filter_map(Path::filename);
    Ok(names.map(ToOwned::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use object_store::local::LocalFileSystem;
    use object_store::memory::InMemory;

    use super::*;

    fn table(version: u64) -> PublishedTable {
        PublishedTable {
            location: "tables/clicks/1f".to_owned(),
            version,
            n_rows: 3,
            made: Made {
                step: "1f".to_owned(),
                definition: "1f".to_owned(),
                data: Some(format!("{version:x}")),
                inputs: BTreeMap::new(),
                checks: None,
            },
            ledger: Ledger::default(),
        }
    }

    async fn set(environment: &Environment, name: &str, version: u64) -> EnvironmentState {
        let publish = environment.publish(|contents| {
            contents.tables.insert(name.to_owned(), table(version));
        });
        publish.await.unwrap()
    }

    #[tokio::test]
    async fn states_follow_one_another_on_every_store() {
        let folder = tempfile::tempdir().unwrap();
        let local = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
        let stores: [Arc<dyn ObjectStore>; 2] = [Arc::new(InMemory::new()), Arc::new(local)];
        for store in stores {
            let prod = Environment::new(Arc::clone(&store), PROD).unwrap();
            assert_eq!(prod.current().await.unwrap(), None);
            let first = set(&prod, "clicks", 0).await;
            let second = set(&prod, "clicks", 1).await;
            let third = set(&prod, "sessions", 0).await;
            assert_eq!(
                [&first, &second, &third].map(|state| state.number),
                [1, 2, 3]
            );
            assert_eq!(third.contents.tables["clicks"], table(1));
            assert_eq!(prod.current().await.unwrap().as_ref(), Some(&third));
            assert_eq!(set(&prod, "sessions", 0).await, third, "nothing changed");

            let before = first
                .published_at
                .checked_sub(std::time::Duration::from_micros(1));
            assert_eq!(prod.as_of(before.unwrap()).await.unwrap(), None);
            assert_eq!(prod.as_of(third.published_at).await.unwrap(), Some(third));

            let dev = Environment::new(Arc::clone(&store), "dev_ana").unwrap();
            assert_eq!(dev.current().await.unwrap(), None);
            assert_eq!(names(&*store).await.unwrap(), ["prod"]);
        }
    }

    #[tokio::test]
    async fn of_two_publishers_neither_loses_a_table() {
        let prod = Environment::new(Arc::new(InMemory::new()), PROD).unwrap();
        let other = prod.clone();
        let mut interrupted = false;
        let publish = prod.publish(|contents| {
            // The other one gets the number that this one is about to take.
            if !std::mem::replace(&mut interrupted, true) {
                futures::executor::block_on(set(&other, "theirs", 7));
            }
            contents.tables.insert("ours".to_owned(), table(1));
        });
        let state = publish.await.unwrap();
        assert_eq!(state.number, 2);
        assert_eq!(
            state.contents.tables.keys().collect::<Vec<_>>(),
            ["ours", "theirs"]
        );
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_named() {
        let store = Arc::new(InMemory::new());
        let prod = Environment::new(Arc::clone(&store) as Arc<dyn ObjectStore>, PROD).unwrap();
        for (content, reason) in [
            (
                r#"{"format":2,"tables":{}}"#,
                "it has format 2; this build reads 1",
            ),
            (r#"{"format":1,"tables":{},"t":0}"#, "unknown field `t`"),
            ("", "EOF while parsing"),
        ] {
            let path = prod.path(1);
            store.put(&path, content.into()).await.unwrap();
            let error = prod.current().await.unwrap_err();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(
                cause.contains(path.as_ref()) && cause.contains(reason),
                "{cause}"
            );
        }
        for name in ["", "a/b", "..", "a b"] {
            assert!(
                Environment::new(Arc::clone(&store) as Arc<dyn ObjectStore>, name).is_err(),
                "{name}"
            );
        }
    }
}
