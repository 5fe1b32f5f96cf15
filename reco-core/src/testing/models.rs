//! The suite of [`Model`].

use std::collections::HashSet;

use super::{broken, chain};
use crate::model::Model;
use crate::ranking::{Ranking, Scored};
use crate::session::Session;
use crate::vocabulary::ItemId;

const CONTRACT: &str = "Model";
const KIND: &str = "its kind names its loader";
const ONE_EACH: &str = "one ranking for each session";
const ALONE: &str = "the ranking of a session is the same alone as in a batch, in any order";
const BEST_FIRST: &str = "a ranking is best first, ties by item id";
const DISTINCT: &str = "a ranking holds no item twice";
const AT_MOST: &str = "a ranking holds at most k items";
const HEAD: &str = "a smaller k gives the head of the same ranking";
const FINITE: &str = "the score of an item is finite";
const SKIPPED: &str = "items that the model does not know are skipped";
const SAME: &str = "the same session gives the same ranking, always";
const ANSWERS: &str = "an unknown item or an empty session is no error";

/// Puts a model through its contract with the given sessions.
///
/// Give it sessions of items that the model knows, of several lengths, some with repeats; the suite
/// adds the empty session and items that no model knows.
///
/// # Panics
///
/// If the model breaks its contract: the message says which clause. So it does if there is no
/// session, since then there would be nothing to check.
pub fn model<M: Model + ?Sized>(model: &M, sessions: &[Session]) {
    assert!(!sessions.is_empty(), "the suite needs a session");
    if model.kind().is_empty() {
        broken(CONTRACT, KIND, format!("`{}`", model.kind()));
    }
    let mut sessions = sessions.to_vec();
    sessions.push(Session::default());

    if !ask(model, &[], 20).is_empty() {
        broken(CONTRACT, ONE_EACH, "a ranking for no session");
    }
    // More than any catalogue holds: a model must not make room for k before it knows its own.
    let all = ask(model, &sessions, usize::MAX);
    for (session, ranking) in sessions.iter().zip(&all) {
        whole(session, ranking);
    }
    for k in [0, 1, 2, 3, 5, 20, 100] {
        let rankings = ask(model, &sessions, k);
        for ((session, ranking), all) in sessions.iter().zip(&rankings).zip(&all) {
            if ranking.len() > k {
                let found = format!("{} for k = {k} and {session:?}", ranking.len());
                broken(CONTRACT, AT_MOST, found);
            }
            whole(session, ranking);
            let mut head = all.clone();
            head.truncate(k);
            if *ranking != head {
                differ(HEAD, session, ranking, &head);
            }
        }
        if ask(model, &sessions, k) != rankings {
            broken(CONTRACT, SAME, format!("k = {k}: two answers differ"));
        }
        in_other_batches(model, &sessions, k, &rankings);
    }
    unknown_items(model, &sessions);
}

/// A session alone, and all of them backwards, give what the batch gave.
fn in_other_batches<M: Model + ?Sized>(
    model: &M,
    sessions: &[Session],
    k: usize,
    rankings: &[Ranking],
) {
    let check = |sessions: &[Session], rankings: &[Ranking]| {
        let found = ask(model, sessions, k);
        for ((session, found), expected) in sessions.iter().zip(&found).zip(rankings) {
            if found != expected {
                differ(ALONE, session, found, expected);
            }
        }
    };
    for (session, ranking) in sessions.iter().zip(rankings) {
        check(std::slice::from_ref(session), std::slice::from_ref(ranking));
    }
    let backwards: (Vec<_>, Vec<_>) = sessions
        .iter()
        .cloned()
        .zip(rankings.to_vec())
        .rev()
        .unzip();
    check(&backwards.0, &backwards.1);
}

/// Unknown items before, between and after the known ones change nothing.
fn unknown_items<M: Model + ?Sized>(model: &M, sessions: &[Session]) {
    let unknown = ItemId::from("reco_core::testing: no item of any shop");
    for session in sessions {
        let mut items = vec![unknown.clone()];
        for item in session.items() {
            items.extend([item.clone(), unknown.clone()]);
        }
        let with_unknown = Session::new(items);
        let asked = [session.clone(), with_unknown];
        let rankings = ask(model, &asked, 20);
        if rankings[0] != rankings[1] {
            differ(SKIPPED, &asked[1], &rankings[1], &rankings[0]);
        }
    }
}

/// What holds for each ranking by itself.
fn whole(session: &Session, ranking: &Ranking) {
    let mut seen = HashSet::new();
    let mut last: Option<&Scored> = None;
    for scored in ranking {
        let Scored { item, score } = scored;
        if !score.is_finite() {
            broken(
                CONTRACT,
                FINITE,
                format!("`{item}` has {score} for {session:?}"),
            );
        }
        if !seen.insert(item) {
            broken(CONTRACT, DISTINCT, format!("`{item}` for {session:?}"));
        }
        let in_order =
            |last: &Scored| (last.score > *score) || (last.score >= *score && last.item < *item);
        if let Some(last) = last.filter(|last| !in_order(last)) {
            let found = format!("{last:?} stands before {scored:?} for {session:?}");
            broken(CONTRACT, BEST_FIRST, found);
        }
        last = Some(scored);
    }
}

fn ask<M: Model + ?Sized>(model: &M, sessions: &[Session], k: usize) -> Vec<Ranking> {
    match model.recommend_batch(sessions, k) {
        Ok(rankings) if rankings.len() == sessions.len() => rankings,
        Ok(rankings) => {
            let found = format!("{} for {} sessions", rankings.len(), sessions.len());
            broken(CONTRACT, ONE_EACH, found)
        }
        Err(error) => broken(CONTRACT, ANSWERS, chain(&error)),
    }
}

/// Says where two rankings part.
fn differ(clause: &str, session: &Session, found: &Ranking, expected: &Ranking) -> ! {
    let place = found
        .iter()
        .zip(expected)
        .take_while(|(a, b)| a == b)
        .count();
    let at = |ranking: &Ranking| ranking.iter().nth(place).cloned();
    let found = format!(
        "place {place} is {:?}, expected {:?}, for {session:?}",
        at(found),
        at(expected)
    );
    broken(CONTRACT, clause, found)
}
