//! [`Slicing`]: the queries in groups, so that a mean hides nobody.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug};
use std::sync::Arc;

use reco_core::{ItemId, Vocabulary};
use serde::{Deserialize, Serialize};

use super::{Bootstrap, Estimate, Query, Ranks};
use crate::error::Result;

/// Puts queries into groups by what they are, not by how they were answered.
///
/// # Examples
///
/// ```
/// use reco_train::evaluate::Slicing;
///
/// // By the first letter of the item that came next: any closure will do.
/// let by_letter = Slicing::new("letter", |query| query.target().as_str().get(..1).map(str::to_owned));
/// assert_eq!(by_letter.name(), "letter");
/// ```
pub struct Slicing {
    name: String,
    /// The slices that come first, in this order; others come after, by name.
    order: Vec<String>,
    of: SliceOf,
}

type SliceOf = Box<dyn Fn(&Query<'_>) -> Option<String> + Send + Sync>;

/// The slices of a test set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slices {
    /// What they are by.
    pub by: String,
    /// Those that hold a query.
    pub slices: Vec<Slice>,
    /// How many queries are in none.
    pub n_left_out: u64,
}

/// Some of the queries, and how they were answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// Which they are.
    pub name: String,
    /// How many; 1 or more.
    pub n_queries: u64,
    /// Of how many sessions.
    pub n_sessions: u64,
    /// The value of each metric over them.
    pub estimates: Vec<Estimate>,
}

impl Slicing {
    /// Groups as a closure says; `None` leaves a query out.
    pub fn new(
        name: impl Into<String>,
        of: impl Fn(&Query<'_>) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            order: Vec::new(),
            of: Box::new(of),
        }
    }

    /// The same, with some of its slices first, in this order; the others follow by name.
    #[must_use]
    pub fn ordered<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.order = names.into_iter().map(Into::into).collect();
        self
    }

    /// By how many items came before the target: `[1, 2, 3, 6]` makes 1, 2, 3–5 and 6+.
    #[must_use]
    pub fn by_query_length(starts: &[usize]) -> Self {
        Self::by_number("query length", starts, |query| Some(query.place()))
    }

    /// By how many items the whole session has.
    #[must_use]
    pub fn by_session_length(starts: &[usize]) -> Self {
        Self::by_number("session length", starts, |query| {
            Some(query.session_items().len())
        })
    }

    /// By how often the target was seen in training, in powers of ten: 0, 1–9, 10–99 and so on.
    #[must_use]
    pub fn by_popularity(train: &Arc<Vocabulary>) -> Self {
        let starts: Vec<usize> = (0..10).map(|power| 10_usize.pow(power)).collect();
        let train = Arc::clone(train);
        Self::by_number(
            "target seen in training",
            &[&[0], &starts[..]].concat(),
            move |query| usize::try_from(count(&train, query.target())).ok(),
        )
    }

    /// By the popularity of the target: the items of the training set in `n` groups of equal size, the most
    /// popular first; ties go by id.
    #[must_use]
    pub fn by_popularity_rank(train: &Vocabulary, n: usize) -> Self {
        let mut items: Vec<(&ItemId, &u64)> = train.items().iter().zip(train.counts()).collect();
        items.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let (n_items, n) = (items.len().max(1), n.max(1));
        let width = n.to_string().len();
        let name = move |group: usize| format!("{group:0width$} of {n}");
        let group = |(rank, (item, _)): (usize, (&ItemId, &u64))| {
            (item.clone(), name(rank * n / n_items + 1))
        };
        let groups: HashMap<ItemId, String> = items.into_iter().enumerate().map(group).collect();
        Self::new("target popularity group", move |query| {
            groups.get(query.target()).cloned()
        })
    }

    /// By whether the target was seen in training: never, fewer than `n` times, or more.
    #[must_use]
    pub fn by_cold(train: &Arc<Vocabulary>, n: u64) -> Self {
        let train = Arc::clone(train);
        let names = [
            "never".to_owned(),
            format!("fewer than {n} times"),
            format!("{n} times or more"),
        ];
        let [never, fewer, more] = names.clone();
        let slicing = Self::new("target in training", move |query| {
            let name = match count(&train, query.target()) {
                0 => &never,
                count if count < n => &fewer,
                _ => &more,
            };
            Some(name.clone())
        });
        slicing.ordered(names)
    }

    /// By what the target is: its category, brand or shop; `None` leaves it out.
    pub fn by_item(
        name: impl Into<String>,
        of: impl Fn(&ItemId) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, move |query| of(query.target()))
    }

    /// What the slices are by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn by_number(
        name: &str,
        starts: &[usize],
        number: impl Fn(&Query<'_>) -> Option<usize> + Send + Sync + 'static,
    ) -> Self {
        let mut starts = starts.to_vec();
        starts.sort_unstable();
        starts.dedup();
        let name_of = |(bin, start): (usize, &usize)| match starts.get(bin + 1) {
            None => format!("{start}+"),
            Some(next) if next - start == 1 => start.to_string(),
            Some(next) => format!("{start}–{}", next - 1),
        };
        let names: Vec<String> = starts.iter().enumerate().map(name_of).collect();
        let bins = names.clone();
        let slicing = Self::new(name, move |query| {
            let number = number(query)?;
            let bin = starts
                .partition_point(|start| *start <= number)
                .checked_sub(1)?;
            bins.get(bin).cloned()
        });
        slicing.ordered(names)
    }
}

impl Debug for Slicing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slicing")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Ranks<'_> {
    /// The value of each metric in each slice.
    ///
    /// Each slice that holds a query is there. The mean of the slices, weighted by their queries, is the mean
    /// over all that are in one.
    ///
    /// # Errors
    ///
    /// As [`Bootstrap::check`].
    pub fn slices(&self, slicing: &Slicing, bootstrap: Option<&Bootstrap>) -> Result<Slices> {
        let mut queries_of: BTreeMap<(usize, String), Vec<usize>> = BTreeMap::new();
        let mut n_left_out = 0;
        for (position, query) in self.queries().enumerate() {
            let Some(name) = (slicing.of)(&query) else {
                n_left_out += 1;
                continue;
            };
            let first = slicing.order.iter().position(|known| *known == name);
            let key = (first.unwrap_or(slicing.order.len()), name);
            queries_of.entry(key).or_default().push(position);
        }
        let slice = |((_, name), queries): ((usize, String), Vec<usize>)| {
            let mut sessions: Vec<u32> = queries.iter().map(|&query| self.key(query).0).collect();
            sessions.dedup();
            Ok(Slice {
                name,
                n_queries: queries.len() as u64,
                n_sessions: sessions.len() as u64,
                estimates: self.estimates_of(&queries, bootstrap)?,
            })
        };
        Ok(Slices {
            by: slicing.name.clone(),
            slices: queries_of.into_iter().map(slice).collect::<Result<_>>()?,
            n_left_out,
        })
    }
}

fn count(train: &Vocabulary, item: &ItemId) -> u64 {
    train.idx(item.as_str()).map_or(0, |item| train.count(item))
}
