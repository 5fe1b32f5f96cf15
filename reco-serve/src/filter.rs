//! [`Filter`]: what must not be recommended, whatever the model says.
//!
//! Filters are given to [`RecommenderBuilder::filter`](crate::RecommenderBuilder::filter). A
//! recommender asks its model for more items until enough of them pass, so a filter costs time but
//! no recommendations: little time if it takes out little, a ranking of the whole catalogue if hardly
//! anything passes.

use std::collections::HashSet;
use std::fmt::{self, Debug};
use std::sync::Arc;

use arc_swap::ArcSwap;
use reco_core::{ItemId, Ranking, Session};

/// Takes out of rankings what must not be recommended.
///
/// # Contract
///
/// * `apply` takes items out of the ranking and does nothing else to it.
/// * Whether an item is taken out depends on the item, the session and the state of the filter, not
///   on what else is in the ranking: the model may be asked again for a longer one.
pub trait Filter: Debug + Send + Sync + 'static {
    /// Takes out of a session's ranking what must not be recommended.
    fn apply(&self, session: &Session, ranking: &mut Ranking);
}

/// A filter of a closure that says which items a session may be recommended.
///
/// # Examples
///
/// ```
/// use reco_serve::{Filter, filter_fn};
/// # use reco_core::{Ranking, Scored, Session};
/// # let mut ranking: Ranking = [Scored { item: "gift-card".into(), score: 1.0 }].into_iter().collect();
///
/// let no_gift_cards = filter_fn(|_session, item| !item.as_str().starts_with("gift-"));
/// no_gift_cards.apply(&Session::default(), &mut ranking);
/// assert!(ranking.is_empty());
/// ```
pub const fn filter_fn<F>(keeps: F) -> FilterFn<F>
where
    F: Fn(&Session, &ItemId) -> bool + Send + Sync + 'static,
{
    FilterFn(keeps)
}

/// A closure as a filter; see [`filter_fn`].
#[derive(Clone, Copy)]
pub struct FilterFn<F>(F);

impl<F> Debug for FilterFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FilterFn")
            .field(&std::any::type_name::<F>())
            .finish()
    }
}

impl<F> Filter for FilterFn<F>
where
    F: Fn(&Session, &ItemId) -> bool + Send + Sync + 'static,
{
    fn apply(&self, session: &Session, ranking: &mut Ranking) {
        ranking.retain(|scored| (self.0)(session, &scored.item));
    }
}

/// Takes out what the shopper has seen in the session.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExcludeSession;

impl Filter for ExcludeSession {
    fn apply(&self, session: &Session, ranking: &mut Ranking) {
        let seen: HashSet<&ItemId> = session.items().iter().collect();
        ranking.retain(|scored| !seen.contains(&scored.item));
    }
}

/// Takes out the items of a list that can be replaced at any time, such as what is out of stock.
///
/// Cloning is cheap and shares: keep a clone to replace the list.
///
/// # Examples
///
/// ```
/// use reco_serve::{DenyList, Filter};
/// # use reco_core::{Ranking, Scored, Session};
/// # let hat = || Scored { item: "hat".into(), score: 1.0 };
///
/// let out_of_stock = DenyList::new(["hat"]);
/// let mut ranking: Ranking = [hat()].into_iter().collect();
/// out_of_stock.apply(&Session::default(), &mut ranking);
/// assert!(ranking.is_empty());
///
/// out_of_stock.replace(["scarf"]);
/// let mut ranking: Ranking = [hat()].into_iter().collect();
/// out_of_stock.apply(&Session::default(), &mut ranking);
/// assert_eq!(ranking.len(), 1);
/// ```
#[derive(Debug, Clone, Default)]
pub struct DenyList(Items);

impl DenyList {
    /// Takes out these items.
    pub fn new<I: Into<ItemId>>(items: impl IntoIterator<Item = I>) -> Self {
        Self(Items::new(items))
    }

    /// From now on takes out these items instead.
    pub fn replace<I: Into<ItemId>>(&self, items: impl IntoIterator<Item = I>) {
        self.0.replace(items);
    }

    /// Whether the item is on the list.
    #[must_use]
    pub fn contains(&self, item: &ItemId) -> bool {
        self.0.contains(item)
    }
}

impl Filter for DenyList {
    fn apply(&self, _: &Session, ranking: &mut Ranking) {
        // One state of the list for the whole ranking.
        let denied = self.0.0.load();
        ranking.retain(|scored| !denied.contains(&scored.item));
    }
}

/// Takes out all but the items of a list that can be replaced at any time, such as what a country is
/// sold.
///
/// Cloning is cheap and shares: keep a clone to replace the list. An empty list lets nothing pass.
///
/// # Examples
///
/// ```
/// use reco_serve::{AllowList, Filter};
/// # use reco_core::{Ranking, Scored, Session};
/// # let mut ranking: Ranking = ["hat", "tie"].map(|item| Scored { item: item.into(), score: 1.0 }).into_iter().collect();
///
/// let sold_here = AllowList::new(["hat", "scarf"]);
/// sold_here.apply(&Session::default(), &mut ranking);
/// assert_eq!(ranking.items().map(|item| item.as_str()).collect::<Vec<_>>(), ["hat"]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct AllowList(Items);

impl AllowList {
    /// Lets these items pass.
    pub fn new<I: Into<ItemId>>(items: impl IntoIterator<Item = I>) -> Self {
        Self(Items::new(items))
    }

    /// From now on lets these items pass instead.
    pub fn replace<I: Into<ItemId>>(&self, items: impl IntoIterator<Item = I>) {
        self.0.replace(items);
    }

    /// Whether the item is on the list.
    #[must_use]
    pub fn contains(&self, item: &ItemId) -> bool {
        self.0.contains(item)
    }
}

impl Filter for AllowList {
    fn apply(&self, _: &Session, ranking: &mut Ranking) {
        let allowed = self.0.0.load();
        ranking.retain(|scored| allowed.contains(&scored.item));
    }
}

/// A set of items behind an atomic swap.
#[derive(Clone, Default)]
struct Items(Arc<ArcSwap<HashSet<ItemId>>>);

impl Items {
    fn new<I: Into<ItemId>>(items: impl IntoIterator<Item = I>) -> Self {
        let items: HashSet<ItemId> = items.into_iter().map(Into::into).collect();
        Self(Arc::new(ArcSwap::from_pointee(items)))
    }

    fn replace<I: Into<ItemId>>(&self, items: impl IntoIterator<Item = I>) {
        let items: HashSet<ItemId> = items.into_iter().map(Into::into).collect();
        self.0.store(Arc::new(items));
    }

    fn contains(&self, item: &ItemId) -> bool {
        self.0.load().contains(item)
    }
}

impl Debug for Items {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items")
            .field("n_items", &self.0.load().len())
            .finish()
    }
}
