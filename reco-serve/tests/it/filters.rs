//! Filters never cost a recommendation that there is.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use reco_core::{ItemId, Model, Ranking, Result, Scored, Session};
use reco_serve::{AllowList, DenyList, ExcludeSession, Recommender, filter_fn};

use crate::support::{NextLoader, artifact, items, publish_artifact, registry, session};

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_answer_is_the_head_of_the_whole_ranking_filtered(
        denied in prop::collection::btree_set(0..300_usize, 0..300),
        last in prop::collection::vec(0..300_usize, 1..4),
        k in 0..310_usize,
    ) {
        let name = |i: usize| ItemId::from(format!("item-{i:03}"));
        let denied: BTreeSet<ItemId> = denied.into_iter().map(name).collect();
        let asked: Vec<_> = last.into_iter().map(|i| [name(i)].into_iter().collect()).collect();
        let (found, whole) = block_on(async {
            let (registry, _) = registry();
            publish_artifact(&registry, &artifact("next", 1.0, 300)).await;
            let builder = || Recommender::builder(registry.clone(), "next-item").loader(NextLoader);
            let deny = DenyList::new(denied.iter().cloned());
            let filtered = builder().filter(deny).filter(ExcludeSession).open().await.unwrap();
            let plain = builder().open().await.unwrap();
            (filtered.recommend_batch(&asked, k).unwrap(), plain.recommend_batch(&asked, 300).unwrap())
        });
        for ((session, found), mut whole) in asked.iter().zip(found).zip(whole) {
            let passes = |item: &ItemId| !denied.contains(item) && !session.items().contains(item);
            whole.ranking.retain(|scored| passes(&scored.item));
            whole.ranking.truncate(k);
            prop_assert_eq!(found.ranking, whole.ranking);
        }
    }
}

#[test]
fn a_list_is_replaced_while_it_is_used() {
    block_on(async {
        let (registry, _) = registry();
        publish_artifact(&registry, &artifact("next", 1.0, 10)).await;
        let out_of_stock = DenyList::default();
        let sold_here = AllowList::new(["item-001", "item-002", "item-003"]);
        let recommender = Recommender::builder(registry, "next-item")
            .loader(NextLoader)
            .filter(out_of_stock.clone())
            .filter(sold_here.clone())
            .filter(filter_fn(|session, item| {
                session.items().last() != Some(item)
            }))
            .open()
            .await
            .unwrap();
        let check = |expected: &[&str]| {
            let answer = recommender.recommend(&session(&["item-001"]), 5).unwrap();
            assert_eq!(items(&answer), expected);
        };
        check(&["item-002", "item-003"]);
        out_of_stock.replace(["item-002"]);
        check(&["item-003"]);
        sold_here.replace(["item-002", "item-007"]);
        check(&["item-007"]);
        sold_here.replace(Vec::<ItemId>::new());
        check(&[]);
        assert!(out_of_stock.contains(&"item-002".into()));
        assert!(!sold_here.contains(&"item-002".into()));
    });
}

/// Recommends `0`, `1` and so on up to `499`, and notes how many it is asked for.
#[derive(Debug, Clone, Default)]
struct Noting(Arc<Mutex<Vec<usize>>>);

impl Model for Noting {
    fn kind(&self) -> &str {
        "noting"
    }

    fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
        self.0.lock().unwrap().push(k);
        let scored = (0..500_u16).map(|i| Scored {
            item: ItemId::from(i.to_string()),
            score: -f32::from(i),
        });
        let ranking: Ranking = scored.take(k).collect();
        Ok(vec![ranking; sessions.len()])
    }
}

#[test]
fn a_filter_that_takes_out_little_costs_little() {
    let check = |denied: u16, expected: &[usize]| {
        let noting = Noting::default();
        let answer = block_on(async {
            let (registry, _) = registry();
            publish_artifact(&registry, &artifact("next", 1.0, 1)).await;
            let recommender = Recommender::builder(registry, "next-item")
                .loader(NextLoader)
                .fallback(Arc::new(noting.clone()))
                .filter(DenyList::new((0..denied).map(|i| i.to_string())))
                .open()
                .await;
            recommender
                .unwrap()
                .recommend(&session(&["unknown"]), 20)
                .unwrap()
        });
        let n_left = usize::from(500 - denied).min(20);
        assert_eq!(answer.ranking.len(), n_left);
        assert_eq!(*noting.0.lock().unwrap(), expected, "{denied} denied");
    };
    check(0, &[56]);
    check(36, &[56]);
    check(37, &[56, 224]);
    check(400, &[56, 224, 896]);
    check(500, &[56, 224, 896]);
}
