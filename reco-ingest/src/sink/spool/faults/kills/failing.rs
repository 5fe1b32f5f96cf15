//! Kills while disks are full, syncs fail, and the table loses answers or is slow.

use std::sync::atomic::Ordering;

use super::points::Fault::{AnswerLost, Full, Slow, StopAfter};
use super::points::Operation::{
    Grow, NameData, NameEntry, Sync, SyncData, SyncEntry, TrimSync, TrimWrite, Write,
};
use super::points::Rule;
use super::posting::{Seeded, Sent};
use super::{Lives, TABLES, at, is_over, n_kills};

/// What fails in a life of the child.
struct Case {
    name: &'static str,
    /// Whether writes may be refused meanwhile: what fails may have been of a trim alone.
    refuses: bool,
    rules: Vec<Rule>,
}

// All cases, for one of the tables.
fn cases(table: &str, random: &mut Seeded) -> Vec<Case> {
    let mut some = |operation, fault, n| {
        // The table has few calls beside the spool.
        let from = match operation {
            Write | Sync => 1 + random.below(30),
            _ => 1 + random.below(5),
        };
        Rule {
            n,
            ..at(table, operation, fault, from)
        }
    };
    let always = |operation, fault| Rule {
        n: u64::MAX,
        ..at(table, operation, fault, 1)
    };
    let case = |name, refuses, rules| Case {
        name,
        refuses,
        rules,
    };
    let (refused, held) = (true, false);
    let slow = [SyncData, NameData, SyncEntry, NameEntry].map(|operation| always(operation, Slow));
    let grows = vec![always(SyncData, Full), at(table, Grow, Full, 1)];
    vec![
        case("a full disk", refused, vec![some(Write, Full, 1)]),
        case("a disk full for long", refused, vec![some(Write, Full, 3)]),
        case("a full disk below a spool that grows", refused, grows),
        case(
            "a write unanswered",
            refused,
            vec![some(Write, AnswerLost, 1)],
        ),
        case(
            "a sync that failed",
            refused,
            vec![some(Sync, AnswerLost, 1)],
        ),
        case(
            "a full disk at a trim",
            refused,
            vec![some(TrimWrite, Full, 2)],
        ),
        case(
            "a trim whose sync failed",
            refused,
            vec![some(TrimSync, AnswerLost, 1)],
        ),
        case(
            "no room for data files",
            held,
            vec![some(SyncData, Full, 2)],
        ),
        case(
            "data files unanswered",
            held,
            vec![some(NameData, AnswerLost, 2)],
        ),
        case("no room for commits", held, vec![some(SyncEntry, Full, 2)]),
        case(
            "commits unanswered",
            held,
            vec![some(NameEntry, AnswerLost, 2)],
        ),
        case("a slow table", held, slow.into()),
    ]
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_table_once_though_disks_and_calls_fail() {
    let n_rounds = n_kills().map_or(1, |n| n.div_ceil(12));
    let (mut random, mut sent) = (Seeded(13), Sent::default());
    let mut n_lives = 0;
    for round in 0..n_rounds {
        let mut lives = Lives::new();
        // Something for what fails to lose.
        lives
            .live(&[], |answers, _| answers.n_acknowledged() >= 20)
            .await;
        let [events, letters] = TABLES.map(|table| cases(table, &mut random));
        for (k, (events, letters)) in events.into_iter().zip(letters).enumerate() {
            // A spool of dead letters takes too long to grow.
            let is_of_events = (k + round).is_multiple_of(2) || k == 2;
            let case = if is_of_events { events } else { letters };
            n_lives += 1;
            live(&mut lives, case, n_lives, &mut random).await;
        }
        sent.add(lives.check(&format!("round {round}")).await);
    }
    assert!(sent.n_refused > 0);
    println!(
        "{n_lives} kills while something fails: {} of {} events and dead letters acknowledged, all in the tables once; {} refused",
        sent.acknowledged.len(),
        sent.all.len(),
        sent.n_refused,
    );
}

// A life in which something fails, and a kill: once that has ended, or anywhere.
async fn live(lives: &mut Lives, mut case: Case, nth: usize, random: &mut Seeded) {
    let n_refused = lives.sent.n_refused;
    let (n_rules, n_batches) = (case.rules.len(), 64 + random.below(200));
    if nth.is_multiple_of(5) {
        let n = 1 + random.below(60);
        case.rules.push(at(TABLES[nth % 2], Sync, StopAfter, n));
    }
    println!("{}: {:?}", case.name, case.rules);
    let (stopped, n_failed) = lives
        .live(&case.rules, |answers, n_failed| {
            let n_in_a_row = answers.n_in_a_row.load(Ordering::SeqCst) as u64;
            is_over(answers) || (n_failed == n_rules && n_in_a_row >= n_batches)
        })
        .await;
    let was_refused = lives.sent.n_refused > n_refused;
    assert!(
        stopped || n_failed == n_rules,
        "{} did not happen",
        case.name
    );
    assert!(case.refuses || !was_refused, "{} refuses some", case.name);
}
