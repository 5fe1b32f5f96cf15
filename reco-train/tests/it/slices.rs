//! Slices, intervals and comparisons.

use proptest::prelude::*;
use reco_core::{ItemId, SessionDataset, Vocabulary};
use reco_train::evaluate::{
    Bootstrap, Cluster, Coverage, Exclude, F1, Gini, HitRate, Interval, Map, Mrr, Ndcg, Novelty,
    Popularity, PopularityBias, Precision, Protocol, Ranks, Recall, Slice, Slices, Slicing,
    Targets, Ties, Unseen,
};
use reco_train::{Metric, evaluate};

use crate::evaluate::Markov;
use crate::shop;

/// After a: b, c, a. After b: a, b, c. After c: all alike.
fn model() -> Markov {
    Markov::new(
        &[("a", 10), ("b", 4), ("c", 2)],
        &[0.1, 0.9, 0.5, 0.3, 0.2, 0.1, 0.0, 0.0, 0.0],
    )
}

fn ranks<'a>(test: &'a SessionDataset, protocol: Protocol, metrics: &[Metric]) -> Ranks<'a> {
    protocol.rank(&model(), test, metrics).unwrap()
}

fn check(protocol: Protocol, sessions: &[&str], expected: &[(Metric, f64)]) {
    let metrics: Vec<Metric> = expected.iter().map(|(metric, _)| *metric).collect();
    let test = shop::dataset(sessions);
    let found = ranks(&test, protocol, &metrics).evaluation();
    for (metric, value) in expected {
        let found = found.get(*metric).unwrap();
        assert!(
            (found - value).abs() < 1e-12,
            "{metric} is {found}, not {value}: {protocol:?}"
        );
    }
}

#[test]
fn protocols_worked_by_hand() {
    // a → b (rank 1), b → c (rank 3), c → a (all three tie).
    let default = Protocol::default();
    let ties = |ties| Protocol { ties, ..default };
    let mrr = |last: f64| [(Mrr::at(3), (1.0 + 1.0 / 3.0 + last) / 3.0)];
    check(ties(Ties::Conservative), &["a b c a"], &mrr(1.0 / 3.0));
    check(ties(Ties::Standard), &["a b c a"], &mrr(1.0));
    check(ties(Ties::Median), &["a b c a"], &mrr(0.5));

    // Without the last item: a → b still 1; b → c is 2 of a, c; c → a is 2 of the tie of a, b.
    let exclude = |exclude| Protocol { exclude, ..default };
    check(
        exclude(Exclude::Last),
        &["a b c a"],
        &[(Mrr::at(3), (1.0 + 0.5 + 0.5) / 3.0)],
    );
    // Without all before: the last target is itself left out, and missed.
    let session = [(Mrr::at(3), (1.0 + 1.0) / 3.0), (HitRate::at(3), 2.0 / 3.0)];
    check(exclude(Exclude::Session), &["a b c a"], &session);

    let miss = Protocol {
        unseen: Unseen::Miss,
        ..default
    };
    // a → x is missed, a → b is hit, x → a follows nothing known.
    check(miss, &["a x b", "x a"], &[(Recall::at(3), 1.0 / 3.0)]);
    let last = Protocol {
        targets: Targets::Last,
        ..default
    };
    check(
        last,
        &["a b c", "a b"],
        &[(Mrr::at(3), (1.0 / 3.0 + 1.0) / 2.0)],
    );

    // a → {b, c} at ranks 1 and 2; b → {c} at rank 3.
    let remaining = Protocol {
        targets: Targets::Remaining,
        ..default
    };
    let expected = [
        (HitRate::at(2), 0.5),
        (Recall::at(1), (0.5 + 0.0) / 2.0),
        (Precision::at(2), (1.0 + 0.0) / 2.0),
        (F1::at(1), (2.0 / 3.0) / 2.0),
        (Mrr::at(3), (1.0 + 1.0 / 3.0) / 2.0),
        (Map::at(3), (1.0 + 1.0 / 3.0) / 2.0),
        (Ndcg::at(3), (1.0 + 0.5) / 2.0),
    ];
    check(remaining, &["a b c"], &expected);
}

#[test]
fn metrics_about_answers_worked_by_hand() {
    // The first answers are b, a, a of counts 4, 10, 10; the second ones c, b, b.
    let expected = [
        (Coverage::at(1), 2.0 / 3.0),
        (PopularityBias::at(1), 8.0),
        (Popularity::at(1), (0.4 + 1.0 + 1.0) / 3.0),
        // -log2 of 4/16, 10/16, 10/16.
        (Novelty::at(1), (2.0 + 2.0 * 0.678_071_905_112_637_7) / 3.0),
        // Exposures 0, 1, 2: (-2·0 + 0·1 + 2·2) / (3·3).
        (Gini::at(1), 4.0 / 9.0),
        // Exposures 2, 1, 3.
        (Gini::at(2), 4.0 / 18.0),
    ];
    check(Protocol::default(), &["a b c a"], &expected);
    // Nothing is asked, so nothing is answered.
    let miss = Protocol {
        unseen: Unseen::Miss,
        ..Protocol::default()
    };
    let zeros = expected.map(|(metric, _)| (metric, 0.0));
    check(miss, &["x y"], &zeros);
    // What is left out of the answer is not answered: b and c after a, a and c after b, a and b after c.
    let last = Protocol {
        exclude: Exclude::Last,
        ..Protocol::default()
    };
    check(
        last,
        &["a b c a"],
        &[
            (Coverage::at(1), 2.0 / 3.0),
            (PopularityBias::at(2), 32.0 / 6.0),
        ],
    );
}

fn shown(slices: &Slices) -> Vec<String> {
    let shown = |slice: &Slice| {
        format!(
            "{}: {:.2} of {}/{}",
            slice.name, slice.estimates[0].value, slice.n_queries, slice.n_sessions
        )
    };
    slices.slices.iter().map(shown).collect()
}

#[test]
fn slices_worked_by_hand() {
    let test = shop::dataset(&["a b c a", "a b", "b c"]);
    // a → b hits at 1, b → c does not, c → a does not; a → b; b → c.
    let ranks = ranks(
        &test,
        Protocol::default(),
        &[HitRate::at(1), Coverage::at(1)],
    );
    let check = |slicing: &Slicing, n_left_out: u64, expected: &[&str]| {
        let slices = ranks.slices(slicing, None).unwrap();
        assert_eq!(slices.by, slicing.name());
        assert_eq!(slices.n_left_out, n_left_out);
        assert_eq!(shown(&slices), expected, "{slicing:?}");
    };
    check(
        &Slicing::by_query_length(&[1, 2]),
        0,
        &["1: 0.67 of 3/3", "2+: 0.00 of 2/1"],
    );
    check(
        &Slicing::by_query_length(&[2, 3]),
        3,
        &["2: 0.00 of 1/1", "3+: 0.00 of 1/1"],
    );
    check(
        &Slicing::by_session_length(&[1, 3]),
        0,
        &["1–2: 0.50 of 2/2", "3+: 0.33 of 3/1"],
    );
    let train = std::sync::Arc::new(Vocabulary::from_counts([("a", 10), ("b", 4)]).unwrap());
    check(
        &Slicing::by_popularity(&train),
        0,
        &["0: 0.00 of 2/2", "1–9: 1.00 of 2/2", "10–99: 0.00 of 1/1"],
    );
    check(
        &Slicing::by_cold(&train, 5),
        0,
        &[
            "never: 0.00 of 2/2",
            "fewer than 5 times: 1.00 of 2/2",
            "5 times or more: 0.00 of 1/1",
        ],
    );
    check(
        &Slicing::by_popularity_rank(&train, 2),
        2,
        &["1 of 2: 0.00 of 1/1", "2 of 2: 1.00 of 2/2"],
    );
    let category = |item: &ItemId| (item.as_str() != "a").then(|| "not a".to_owned());
    check(
        &Slicing::by_item("category", category),
        1,
        &["not a: 0.50 of 4/3"],
    );
    let none = Slicing::new("none", |_| None);
    check(&none, 5, &[]);
    let own = Slicing::new("first", |query| {
        query.session_items().next().map(ToString::to_string)
    });
    check(
        &own.ordered(["b"]),
        0,
        &["b: 0.00 of 1/1", "a: 0.50 of 4/2"],
    );
}

#[test]
fn models_are_compared_on_what_both_were_asked() {
    let test = shop::dataset(&["a b", "a b", "a x b"]);
    let knows_x = Markov::new(
        &[("a", 1), ("b", 1), ("x", 1)],
        &[0.0, 0.5, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0],
    );
    let metrics = [HitRate::at(1), Mrr::at(5), Coverage::at(1)];
    let first = ranks(&test, Protocol::default(), &metrics);
    let second = Protocol::default().rank(&knows_x, &test, &metrics).unwrap();
    // The third session is a → b to one, a → x and x → b to the other: x → b is at the place of a → b.
    assert_eq!((first.n_queries(), second.n_queries()), (3, 4));
    let bootstrap = Bootstrap::default();
    let differences = first.compare(&second, &bootstrap).unwrap();
    assert_eq!(differences.len(), 2);
    assert_eq!(differences[0].n_queries, 3);
    // Hit, hit, hit against miss, miss, hit.
    assert!((differences[0].difference - 2.0 / 3.0).abs() < 1e-12);

    let check = |other: &Ranks<'_>, expected: &str| {
        let error = first.compare(other, &bootstrap).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    let elsewhere = shop::dataset(&["a b"]);
    check(
        &ranks(&elsewhere, Protocol::default(), &metrics),
        "the evaluations cannot be compared: the models were asked about different sessions",
    );
    let standard = Protocol {
        ties: Ties::Standard,
        ..Default::default()
    };
    check(
        &ranks(&test, standard, &metrics),
        "the evaluations cannot be compared: the protocols differ",
    );
    let other = Markov::new(&[("b", 1), ("c", 1)], &[0.0; 4]);
    let test = shop::dataset(&["a b", "b c"]);
    let b_c = Protocol::default().rank(&other, &test, &metrics).unwrap();
    let a_b = Markov::new(&[("a", 1), ("b", 1)], &[0.0; 4]);
    let a_b = Protocol::default().rank(&a_b, &test, &metrics).unwrap();
    let error = a_b.compare(&b_c, &bootstrap).unwrap_err().to_string();
    assert_eq!(
        error,
        "the evaluations cannot be compared: no query was asked of both models"
    );
}

#[test]
fn a_better_model_is_seen_to_be_better() {
    let test = shop::dataset(&["a b"; 40]);
    let (good, bad) = (&[0.0, 1.0, 0.0, 0.0], &[1.0, 0.0, 0.0, 0.0]);
    let [good, bad] = [good, bad].map(|scores| {
        let model = Markov::new(&[("a", 1), ("b", 1)], scores);
        Protocol::default()
            .rank(&model, &test, &[Recall::at(1)])
            .unwrap()
    });
    let [difference] = good.compare(&bad, &Bootstrap::default()).unwrap()[..] else {
        panic!("one metric")
    };
    assert!((difference.difference - 1.0).abs() < 1e-12);
    assert!(difference.p_value < 0.01, "{difference:?}");
    let same = good.compare(&good, &Bootstrap::default()).unwrap()[0];
    assert!(
        same.difference.abs() < 1e-12 && (same.p_value - 1.0).abs() < 1e-12,
        "{same:?}"
    );
    assert!(same.interval.lower.abs() < 1e-12 && same.interval.upper.abs() < 1e-12);
}

/// Sessions of a to c, each a text.
fn sessions() -> impl Strategy<Value = Vec<String>> {
    let session = prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "x"]), 1..7);
    prop::collection::vec(session.prop_map(|items| items.join(" ")), 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_mean_of_slices_is_the_mean(sessions in sessions()) {
        let sessions: Vec<&str> = sessions.iter().map(String::as_str).collect();
        let test = shop::dataset(&sessions);
        let metrics = [Recall::at(1), Mrr::at(3), Ndcg::at(2), Popularity::at(2)];
        let Ok(ranks) = Protocol::default().rank(&model(), &test, &metrics) else {
            return Ok(());
        };
        let slices = ranks.slices(&Slicing::by_query_length(&[1, 2, 4]), None).unwrap();
        prop_assert_eq!(slices.n_left_out, 0);
        for (nth, metric) in metrics.into_iter().enumerate() {
            let sum: f64 = slices.slices.iter().map(|s| s.n_queries as f64 * s.estimates[nth].value).sum();
            let mean = sum / ranks.n_queries() as f64;
            let whole = ranks.evaluation().get(metric).unwrap();
            prop_assert!((mean - whole).abs() < 1e-12, "{metric}: {mean} {whole}");
        }
    }

    #[test]
    fn swapping_the_models_negates_the_difference(
        sessions in sessions(),
        scores in prop::collection::vec((0..4_u8).prop_map(f32::from), 9),
        cluster in prop::sample::select(vec![Cluster::Session, Cluster::Query]),
    ) {
        let sessions: Vec<&str> = sessions.iter().map(String::as_str).collect();
        let test = shop::dataset(&sessions);
        let metrics = [Recall::at(1), Mrr::at(3)];
        let Ok(a) = Protocol::default().rank(&model(), &test, &metrics) else {
            return Ok(());
        };
        let other = Markov::new(&[("a", 10), ("b", 4), ("c", 2)], &scores);
        let b = Protocol::default().rank(&other, &test, &metrics).unwrap();
        let bootstrap = Bootstrap { n_resamples: 50, cluster, ..Default::default() };
        let (forth, back) = (a.compare(&b, &bootstrap).unwrap(), b.compare(&a, &bootstrap).unwrap());
        for (forth, back) in forth.into_iter().zip(back) {
            let mut negated = back;
            negated.difference = -back.difference;
            negated.interval.lower = -back.interval.upper;
            negated.interval.upper = -back.interval.lower;
            prop_assert_eq!(forth, negated);
        }
    }

    #[test]
    fn an_interval_is_around_its_value(sessions in sessions(), seed in any::<u64>()) {
        let sessions: Vec<&str> = sessions.iter().map(String::as_str).collect();
        let test = shop::dataset(&sessions);
        let metrics = [Recall::at(1), PopularityBias::at(1), Coverage::at(2)];
        let Ok(ranks) = Protocol::default().rank(&model(), &test, &metrics) else {
            return Ok(());
        };
        let bootstrap = Bootstrap { n_resamples: 200, seed, confidence: 0.999, ..Default::default() };
        let estimates = ranks.estimates(Some(&bootstrap)).unwrap();
        for estimate in &estimates[..2] {
            let interval = estimate.interval.unwrap();
            prop_assert!(interval.lower <= estimate.value + 1e-12 && estimate.value <= interval.upper + 1e-12, "{estimate:?}");
        }
        prop_assert_eq!(estimates[2].interval, None);
        prop_assert_eq!(&estimates, &ranks.estimates(Some(&bootstrap)).unwrap());
    }
}

#[test]
fn intervals_of_models_alike_cover_nothing_but_zero_as_often_as_they_say() {
    // Two models that hit at random, each half of the time: of 95 % intervals, 93 % or more hold 0.
    let names = ["a", "b", "c"];
    let mut state = 1_u32;
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as usize % 3
    };
    let mut n_covered = 0;
    for seed in 0..300 {
        let sessions: Vec<String> = (0..60)
            .map(|_| format!("{} {}", names[draw()], names[draw()]))
            .collect();
        let sessions: Vec<&str> = sessions.iter().map(String::as_str).collect();
        let test = shop::dataset(&sessions);
        let counts = [("a", 1), ("b", 1), ("c", 1)];
        let one = Markov::new(&counts, &[1.0, 0.0, 0.5, 0.5, 1.0, 0.0, 0.0, 0.5, 1.0]);
        let two = Markov::new(&counts, &[0.0, 0.5, 1.0, 1.0, 0.0, 0.5, 0.5, 1.0, 0.0]);
        let [one, two] =
            [one, two].map(|model| Protocol::default().rank(&model, &test, &[Mrr::at(3)]));
        let bootstrap = Bootstrap {
            seed,
            ..Default::default()
        };
        let difference = one.unwrap().compare(&two.unwrap(), &bootstrap).unwrap()[0];
        let Interval { lower, upper } = difference.interval;
        n_covered += u32::from(lower <= 0.0 && 0.0 <= upper);
    }
    assert!((279..300).contains(&n_covered), "{n_covered} of 300");
}

#[test]
fn an_empty_test_set_is_an_error() {
    let test = shop::dataset(&["a", "x y"]);
    let error = evaluate(&model(), &test, &[Recall::at(1)])
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "no test session has two items that model `markov` knows; 1 targets are unknown to it"
    );
}
