//! The data that the tests of this binary share.

use reco_core::testing::{SyntheticShop, SyntheticShopConfig};
use reco_core::{Session, SessionDataset, SessionEncoding, Split, Timestamp};

/// A week of a small synthetic shop, the last day held out.
pub(crate) fn split() -> Split {
    let config = SyntheticShopConfig {
        n_items: 150,
        n_categories: 10,
        n_shoppers: 2000,
        sessions_per_day: 500,
        days: 7,
        ..Default::default()
    };
    let mut builder = SessionDataset::builder(SessionEncoding::default());
    for row in SyntheticShop::new(config).unwrap().interactions() {
        builder
            .push(&row.session, row.item.as_str(), row.occurred_at)
            .unwrap();
    }
    builder.build().unwrap().split_last_days(1).unwrap()
}

/// Sessions from text: one string each, its items by spaces, an hour apart.
pub(crate) fn dataset(sessions: &[&str]) -> SessionDataset {
    let mut builder = SessionDataset::builder(SessionEncoding::default());
    for (hour, items) in (0..).zip(sessions) {
        for (second, item) in (0..).zip(items.split_whitespace()) {
            let time = Timestamp::from_second(hour * 3600 + second).unwrap();
            builder.push(&format!("{hour:04}"), item, time).unwrap();
        }
    }
    builder.build().unwrap()
}

/// Some sessions to ask a model with: those of the test set.
pub(crate) fn sessions(split: &Split) -> Vec<Session> {
    let name = |item: &reco_core::ItemIdx| split.test.vocabulary().item(*item).clone();
    split
        .test
        .sessions()
        .take(20)
        .map(|items| items.iter().map(name).collect())
        .collect()
}
