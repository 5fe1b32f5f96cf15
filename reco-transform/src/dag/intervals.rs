//! Which intervals of an incremental table are due.

use std::collections::BTreeMap;

use reco_core::TimeWindow;

use super::Node;
use super::fingerprint::{Fingerprint, Untold};
use super::plan::Request;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::incremental::{Incremental, Interval, Ledger, LedgerEntry, Strategy};
use crate::warehouse::{Contents, Made, PublishedTable, Warehouse};

/// What is to be done about an incremental table.
#[derive(Debug, Clone)]
pub(crate) struct IntervalPlan {
    /// The version to go on from; none to begin anew.
    pub(crate) base: Option<PublishedTable>,
    /// The intervals to compute, in the order of time: batches of neighbours.
    pub(crate) due: Vec<Vec<LedgerEntry>>,
    /// What is done in the end.
    pub(crate) ledger: Ledger,
}

impl IntervalPlan {
    pub(crate) fn intervals(&self) -> impl Iterator<Item = Interval> {
        self.due.iter().flatten().map(|entry| entry.interval)
    }
}

/// Adds to what a table will be made of which intervals of it are to be made.
pub(super) async fn plan(
    node: &Node,
    incremental: &Incremental,
    mut fingerprint: Fingerprint,
    (known, published): (&BTreeMap<String, Fingerprint>, &Contents),
    warehouse: &Warehouse,
    request: &Request,
) -> Result<Fingerprint> {
    let Some(until) = request.until else {
        return Err(Error::NoUntil {
            table: node.table.clone(),
        });
    };
    let intervals = incremental.every.intervals(incremental.begin, until);
    let mut wanted: Vec<LedgerEntry> = intervals
        .map(|interval| wanted(node, incremental, interval, &fingerprint, known))
        .collect();
    for (n_later, entry) in (0..).zip(wanted.iter_mut().rev()) {
        entry.n_later = n_later;
    }
    let bases = bases(
        node,
        &fingerprint.made.definition,
        published,
        warehouse,
        request,
    )
    .await?;
    let mut best: Option<IntervalPlan> = None;
    for base in bases {
        let plan = due_from(node, incremental, &wanted, base, request)?;
        let n_due = |plan: &IntervalPlan| plan.intervals().count();
        if best.as_ref().is_none_or(|best| n_due(&plan) < n_due(best)) {
            best = Some(plan);
        }
    }
    let plan = best.expect("to begin anew is always possible");
    fingerprint.made.data = data_of(&fingerprint.made, &plan.ledger);
    if fingerprint.made.data.is_some() {
        fingerprint.untold = None;
    } else if fingerprint.untold.is_none() {
        // An interval of the past was made of what could not be told then.
        fingerprint.untold = Some(Untold::Source(node.table.clone()));
    }
    fingerprint.increment = Some(plan);
    Ok(fingerprint)
}

/// What is in a table of which these intervals are done; none if that cannot be told.
pub(crate) fn data_of(made: &Made, ledger: &Ledger) -> Option<String> {
    let mut digest = Digest::new("interval data");
    digest.text(&made.definition);
    for entry in ledger.entries() {
        digest.text(&entry.interval.to_string());
        digest.text(entry.known.as_deref()?);
        digest.text(entry.moving.as_deref()?);
    }
    Some(digest.finish())
}

/// An interval as it is once it was made of what is in the inputs now.
fn wanted(
    node: &Node,
    incremental: &Incremental,
    interval: Interval,
    fingerprint: &Fingerprint,
    known: &BTreeMap<String, Fingerprint>,
) -> LedgerEntry {
    let mut fixed = Some(Digest::new("known"));
    let mut moving = Some(Digest::new("moving"));
    if matches!(fingerprint.untold, Some(Untold::Function { ref table, .. }) if *table == node.table)
    {
        fixed = None;
    }
    for input in &node.inputs {
        if incremental.snapshots.contains(input) {
            continue;
        }
        let of_input = &known[input];
        let reads = incremental.reads.get(input);
        match (reads, &of_input.increment) {
            (Some(reads), Some(plan)) => {
                for entry in plan.ledger.overlapping(reads.window(interval)) {
                    add(&mut fixed, Some(&entry.interval.to_string()));
                    add(&mut fixed, entry.known.as_deref());
                    add(&mut fixed, entry.moving.as_deref());
                }
            }
            (Some(_), None) => add(&mut moving, of_input.made.data.as_deref()),
            (None, _) => add(&mut fixed, of_input.made.data.as_deref()),
        }
    }
    LedgerEntry {
        interval,
        known: fixed.map(Digest::finish),
        moving: moving.map(Digest::finish),
        n_later: 0,
    }
}

fn add(digest: &mut Option<Digest>, text: Option<&str>) {
    match (digest.as_mut(), text) {
        (Some(digest), Some(text)) => digest.text(text),
        _ => *digest = None,
    }
}

/// The versions from which the table could go on, the ones to prefer first; the last is to begin anew.
async fn bases(
    node: &Node,
    definition: &str,
    published: &Contents,
    warehouse: &Warehouse,
    request: &Request,
) -> Result<Vec<Option<PublishedTable>>> {
    let mut bases = Vec::new();
    if !request.rebuild.contains(&node.table) {
        let shown = published.tables.get(&node.table).cloned();
        bases.push(shown);
        // What a run wrote that did not end, or one of another environment.
        bases.push(warehouse.noted(&node.table, definition).await?);
        bases.retain(|base| {
            base.as_ref()
                .is_some_and(|base| base.made.definition == *definition)
        });
    }
    bases.push(None);
    Ok(bases)
}

/// What is due if the table goes on from `base`.
fn due_from(
    node: &Node,
    incremental: &Incremental,
    wanted: &[LedgerEntry],
    mut base: Option<PublishedTable>,
    request: &Request,
) -> Result<IntervalPlan> {
    let mut ledger = match &base {
        Some(base) => base.ledger.clone(),
        None => Ledger::default(),
    };
    let backfill = request.backfills.get(&node.table);
    let mut due: Vec<Vec<LedgerEntry>> = Vec::new();
    let mut last = None;
    for (at, entry) in wanted.iter().enumerate() {
        let done = ledger.get(entry.interval);
        let is_asked_for = backfill.is_some_and(|window| overlaps(window, entry.interval));
        let is_due = match done {
            None => true,
            Some(_) if is_asked_for => true,
            // Rows that were written later must not be replaced by those of an earlier interval.
            Some(_) if incremental.strategy.is_ordered() && !due.is_empty() => true,
            Some(done) => has_changed(done, entry, incremental.lookback),
        };
        if !is_due {
            // The same inputs make the same rows: it is as if it were made now.
            if done.is_some_and(|done| done.moving == entry.moving && entry.moving.is_some()) {
                ledger.enter(entry.clone());
            }
            continue;
        }
        if done.is_some() && incremental.strategy == Strategy::Append {
            if is_asked_for {
                return Err(Error::AppendedAlready {
                    table: node.table.clone(),
                    interval: entry.interval.to_string(),
                });
            }
            // What was appended cannot be taken back: all of it is made anew.
            return due_from(node, incremental, wanted, None, request);
        }
        let n_batch = incremental.batch.get() as usize;
        let is_neighbour = last.is_some_and(|last: usize| last + 1 == at);
        match due.last_mut() {
            Some(batch) if is_neighbour && batch.len() < n_batch => batch.push(entry.clone()),
            _ => due.push(vec![entry.clone()]),
        }
        last = Some(at);
    }
    if let Some(base) = &mut base {
        base.ledger.clone_from(&ledger);
    }
    for entry in due.iter().flatten() {
        ledger.enter(entry.clone());
    }
    Ok(IntervalPlan { base, due, ledger })
}

/// Whether an interval that is done was made of something else.
///
/// Of inputs whose intervals nobody can tell apart, only one counts that was made before so many later ones
/// had ended: it is looked back at, whenever the runs were that should have done so.
fn has_changed(done: &LedgerEntry, wanted: &LedgerEntry, lookback: u32) -> bool {
    let is_looked_back_at = done.n_later < lookback;
    let known_changed = match &wanted.known {
        Some(_) => done.known != wanted.known,
        None => is_looked_back_at,
    };
    let moving_changed = wanted.moving.is_none() || done.moving != wanted.moving;
    known_changed || is_looked_back_at && moving_changed
}

fn overlaps(window: &TimeWindow, interval: Interval) -> bool {
    window.start.is_none_or(|start| start < interval.end)
        && window.end.is_none_or(|end| interval.start < end)
}
