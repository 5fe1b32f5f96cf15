//! [`History`]: what the environments showed and what their runs left, read once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::Shown;
use crate::dag::{LineageKind, LineageTable, TableColumns};
use crate::error::{Error, Result};
use crate::warehouse::Warehouse;
use crate::warehouse::environment::{Environment, EnvironmentState, PublishedTable};
use crate::warehouse::runs::{LineageKey, RecordedLineage, RunRecord};

/// What the environments of a warehouse showed and what their runs left.
///
/// States and records never change, so each is read once.
pub(super) struct History {
    warehouse: Warehouse,
    states: Mutex<HashMap<(String, u64), Arc<EnvironmentState>>>,
    runs: Mutex<BTreeMap<(String, u64), Arc<RunRecord>>>,
}

impl History {
    pub(super) fn new(warehouse: &Warehouse) -> Self {
        Self {
            warehouse: warehouse.clone(),
            states: Mutex::new(HashMap::new()),
            runs: Mutex::new(BTreeMap::new()),
        }
    }

    /// What each environment shows: the one that is shown, as it is shown.
    pub(super) async fn environments(
        &self,
        shown: &Shown,
    ) -> Result<BTreeMap<String, Option<Arc<EnvironmentState>>>> {
        let mut states = BTreeMap::new();
        for name in self.warehouse.environments().await? {
            let state = self.warehouse.environment(&name)?.state().await?;
            states.insert(name, state.map(Arc::new));
        }
        states.insert(self.warehouse.environment_name().to_owned(), shown.state());
        Ok(states)
    }

    /// The state since which an environment has shown a table as it does in `now`.
    ///
    /// By bisection: of a table that came and went and came again, one of the times at which it came.
    pub(super) async fn since(
        &self,
        name: &str,
        table: &str,
        now: &Arc<EnvironmentState>,
        numbers: &[u64],
    ) -> Result<Arc<EnvironmentState>> {
        let environment = self.warehouse.environment(name)?.environment;
        let current = now.contents.tables.get(table);
        let numbers: Vec<u64> = numbers
            .iter()
            .copied()
            .filter(|number| *number < now.number)
            .collect();
        let (mut other, mut same) = (0, numbers.len());
        let mut since = Arc::clone(now);
        while other < same {
            let middle = usize::midpoint(other, same);
            let state = match self.state(&environment, numbers[middle]).await {
                Ok(state) => state,
                // It was removed meanwhile, with all before it.
                Err(Error::UnknownEnvironment { .. }) => {
                    other = middle + 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let then = state.contents.tables.get(table);
            if is_same(then, current) {
                since = state;
                same = middle;
            } else {
                other = middle + 1;
            }
        }
        Ok(since)
    }

    pub(super) async fn numbers(&self, name: &str) -> Result<Vec<u64>> {
        self.warehouse
            .environment(name)?
            .environment
            .numbers()
            .await
    }

    async fn state(&self, environment: &Environment, number: u64) -> Result<Arc<EnvironmentState>> {
        let key = (environment.name().to_owned(), number);
        if let Some(state) = self.states.lock().await.get(&key) {
            return Ok(Arc::clone(state));
        }
        let state = Arc::new(environment.read(number).await?);
        self.states.lock().await.insert(key, Arc::clone(&state));
        Ok(state)
    }

    /// The records of all runs, by environment and number.
    pub(super) async fn runs(&self) -> Result<Vec<Arc<RunRecord>>> {
        let mut environments = self.warehouse.environments().await?;
        let shown = self.warehouse.environment_name().to_owned();
        if !environments.contains(&shown) {
            environments.push(shown);
        }
        let mut runs = self.runs.lock().await;
        let mut kept = BTreeMap::new();
        for name in environments {
            let store = self.warehouse.run_store_of(&name);
            let mut unread = Vec::new();
            for number in store.numbers().await? {
                match runs.remove(&(name.clone(), number)) {
                    Some(record) => drop(kept.insert((name.clone(), number), record)),
                    None => unread.push(number),
                }
            }
            for record in store.read_all(unread).await? {
                kept.insert((name.clone(), record.number), Arc::new(record));
            }
        }
        runs.clone_from(&kept);
        drop(runs);
        Ok(kept.into_values().collect())
    }

    /// What each table of an environment is made of, in the order of its DAGs.
    ///
    /// A run of a part of a DAG takes the rest for sources, so such a table is as an earlier run knew it.
    pub(super) async fn lineage(
        &self,
        environment: &str,
        state: Option<&EnvironmentState>,
        runs: &[Arc<RunRecord>],
    ) -> Result<Vec<(LineageTable, Option<TableColumns>)>> {
        let is_published =
            |table: &str| state.is_some_and(|state| state.contents.tables.contains_key(table));
        let runs = runs.iter().filter(|run| run.environment == environment);
        let mut keys: Vec<&LineageKey> = runs.filter_map(|run| run.lineage.as_ref()).collect();
        keys.dedup();
        let store = self.warehouse.run_store_of(environment);
        let mut known: Vec<(LineageTable, Option<TableColumns>)> = Vec::new();
        for (age, key) in keys.into_iter().rev().enumerate() {
            let Some(RecordedLineage {
                tables, columns, ..
            }) = store.read_lineage(key).await?
            else {
                continue;
            };
            for table in tables.tables {
                let is_stand_in = |table: &LineageTable| {
                    table.kind == LineageKind::Source && is_published(&table.table)
                };
                let of = columns
                    .tables
                    .iter()
                    .find(|of| of.table == table.table)
                    .cloned();
                match known
                    .iter_mut()
                    .find(|(known, _)| known.table == table.table)
                {
                    Some(known) if is_stand_in(&known.0) && !is_stand_in(&table) => {
                        *known = (table, of);
                    }
                    None if age == 0 || is_published(&table.table) => known.push((table, of)),
                    Some(_) | None => {}
                }
            }
        }
        Ok(known)
    }
}

/// Whether a table has the same rows of the same definition.
fn is_same(a: Option<&PublishedTable>, b: Option<&PublishedTable>) -> bool {
    let key = |table: &PublishedTable| (table.location.clone(), table.version);
    a.map(key) == b.map(key)
}
