//! The algorithms as their papers say them: every session is looked at for every query.

use std::collections::BTreeSet;

use reco_train::stan::Similarity;
use reco_train::vmis_knn::{Idf, Remind};
use reco_train::{RulesConfig, StanConfig, VmisKnnConfig};

use super::{Scores, Visit};

/// A session as its distinct items, with the place of the last occurrence of each from 1, by place.
fn distinct(items: &[u8]) -> Vec<(u8, usize)> {
    let last = |item| items.iter().rposition(|&other| other == item).unwrap() + 1;
    let places: BTreeSet<(usize, u8)> = items.iter().map(|&item| (last(item), item)).collect();
    places
        .into_iter()
        .map(|(place, item)| (item, place))
        .collect()
}

fn has(visit: &Visit, item: u8) -> bool {
    visit.1.contains(&item)
}

/// How many places from its end an item of the query last was.
fn distance(query: &[u8], item: u8) -> usize {
    query.iter().rev().position(|&other| other == item).unwrap()
}

/// The distance of the query's latest item that a session has.
fn latest_shared(query: &[u8], visit: &Visit) -> usize {
    query
        .iter()
        .rev()
        .position(|&item| has(visit, item))
        .unwrap()
}

/// The sessions that share an item with a query, the most recent first, at most `m`.
fn candidates<'a>(visits: &[&'a Visit], query: &[u8], m: usize, places: bool) -> Vec<&'a Visit> {
    let mut sharing: Vec<&Visit> = visits.to_vec();
    sharing.retain(|visit| query.iter().any(|&item| has(visit, item)));
    // Equal ends: by the items, and then by their places where the model has them.
    let key = |visit: &Visit| {
        let (items, at): (Vec<u8>, Vec<usize>) = distinct(&visit.1).into_iter().unzip();
        (visit.0, items, places.then_some(at))
    };
    sharing.sort_by_key(|visit| std::cmp::Reverse(key(visit)));
    sharing.truncate(m);
    sharing
}

fn nearest(mut scored: Vec<(&Visit, f64)>, k: usize) -> Vec<(&Visit, f64)> {
    scored.retain(|(_, similarity)| *similarity > 0.0);
    // Stable: a tie goes to the more recent.
    scored.sort_by(|a, b| b.1.total_cmp(&a.1));
    scored.truncate(k);
    scored
}

pub(super) fn vmis_knn(visits: &[Visit], query: &[u8], config: &VmisKnnConfig) -> Scores {
    let n_last = if config.last_items == 0 {
        query.len()
    } else {
        config.last_items
    };
    // Unknown items leave before the last ones are taken.
    let mut query: Vec<u8> = query.to_vec();
    query.retain(|&item| visits.iter().any(|visit| has(visit, item)));
    let query = &query[query.len().saturating_sub(n_last)..];
    let kept: Vec<&Visit> = visits
        .iter()
        .filter(|visit| {
            config.max_session_items == 0 || distinct(&visit.1).len() <= config.max_session_items
        })
        .collect();

    let similarity = |visit: &Visit| -> f64 {
        let mut items = distinct(query);
        items.reverse();
        let shared = items.iter().filter(|(item, _)| has(visit, *item));
        shared
            .map(|(item, _)| config.weighting.place(distance(query, *item), query.len()))
            .sum()
    };
    let scored = candidates(&kept, query, config.m, false)
        .into_iter()
        .map(|visit| (visit, similarity(visit)))
        .collect();

    let idf = |item: u8| -> f64 {
        let count = |visits: &[&Visit]| visits.iter().filter(|visit| has(visit, item)).count();
        let ln = |all: usize, some: usize| (all as f64 / some as f64).ln().max(0.0);
        match config.idf {
            _ if config.idf_weighting == 0.0 => 1.0,
            Idf::Added => {
                let events = visits.iter().flat_map(|visit| &visit.1);
                let n_events = events.filter(|&&other| other == item).count();
                1.0 + config.idf_weighting * ln(visits.len(), n_events)
            }
            Idf::Multiplied => {
                let all = kept.iter().map(|visit| distinct(&visit.1).len()).sum();
                config.idf_weighting * ln(all, count(&kept))
            }
        }
    };
    let mut scores = Scores::new();
    for (visit, similarity) in nearest(scored, config.k) {
        let steps = latest_shared(query, visit) + 1;
        let vote = similarity * config.weighting_score.steps(steps);
        for (item, _) in distinct(&visit.1) {
            *scores.entry(item).or_default() += vote * idf(item);
        }
    }
    scores.retain(|item, _| match config.remind {
        Remind::All => true,
        Remind::Earlier => query.last() != Some(item),
        Remind::Never => !query.contains(item),
    });
    scores
}

pub(super) fn stan(visits: &[Visit], query: &[u8], config: &StanConfig) -> Scores {
    let mut query: Vec<u8> = query.to_vec();
    query.retain(|&item| visits.iter().any(|visit| has(visit, item)));
    let decay = |x: f64, lambda: Option<f64>| lambda.map_or(1.0, |lambda| (-x / lambda).exp());
    let all: Vec<&Visit> = visits.iter().collect();
    let candidates = candidates(&all, &query, config.m, true);
    let Some(newest) = candidates.first().map(|visit| visit.0) else {
        return Scores::new();
    };
    let weight = |item: u8| decay(distance(&query, item) as f64, config.lambda_spw);
    let mut items = distinct(&query);
    items.reverse();
    let similarity = |visit: &Visit| -> f64 {
        let shared = items.iter().filter(|(item, _)| has(visit, *item));
        let shared: f64 = shared.map(|(item, _)| weight(*item)).sum();
        let squares: f64 = items.iter().map(|(item, _)| weight(*item).powi(2)).sum();
        let length = match config.similarity {
            Similarity::Cosine => squares.sqrt() * (distinct(&visit.1).len() as f64).sqrt(),
            Similarity::Dot => items.len() as f64,
        };
        shared / length * decay((newest - visit.0) as f64 / 24.0, config.lambda_snh)
    };
    let scored = candidates
        .iter()
        .map(|visit| (*visit, similarity(visit)))
        .collect();
    let mut scores = Scores::new();
    for (visit, similarity) in nearest(scored, config.k) {
        let back = latest_shared(&query, visit) as f64;
        let places = distinct(&visit.1);
        let shared = places.iter().filter(|(item, _)| query.contains(item));
        let last = shared.map(|(_, place)| *place).max().unwrap();
        for (item, place) in places {
            let events = visits.iter().flat_map(|visit| &visit.1);
            let n_events = events.filter(|&&other| other == item).count();
            let ln = (visits.len() as f64 / n_events as f64).ln().max(0.0);
            *scores.entry(item).or_default() += similarity
                * decay(place.abs_diff(last) as f64, config.lambda_inh)
                * decay(back, config.lambda_ipw)
                * (1.0 + config.lambda_idf.unwrap_or(0.0) * ln);
        }
    }
    scores.retain(|item, _| config.remind || !query.contains(item));
    scores
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "weights are f32; numbers of rules are small, and `pruning` is not negative"
)]
pub(super) fn rules(visits: &[Visit], last: u8, config: &RulesConfig) -> Scores {
    let mut scores = Scores::new();
    for (_, items) in visits {
        for (from, to) in
            (0..items.len()).flat_map(|from| (0..items.len()).map(move |to| (from, to)))
        {
            let steps = to.abs_diff(from);
            let near = config.steps == 0 || steps <= config.steps;
            if steps > 0 && near && items[from] == last && (to > from || config.both_ways) {
                *scores.entry(items[to]).or_default() += config.weighting.steps(steps);
            }
        }
    }
    let mut sorted: Vec<(u8, f64)> = scores.into_iter().filter(|rule| rule.1 > 0.0).collect();
    // Sums that differ by their rounding alone are a tie.
    sorted.sort_by(|a, b| (b.1 as f32).total_cmp(&(a.1 as f32)).then(a.0.cmp(&b.0)));
    let kept = if config.pruning < 1.0 {
        sorted.len() - (sorted.len() as f64 * config.pruning).floor() as usize
    } else {
        config.pruning as usize
    };
    sorted.into_iter().take(kept).collect()
}
