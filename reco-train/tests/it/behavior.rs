//! Behavioural tests, and the gate that they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use reco_core::{ItemId, Model, Ranking, Result, Scored, Session, SessionDataset, Severity};
use reco_train::evaluate::behavior::{
    Accuracy, Asymmetry, BehaviorReport, BehaviorTest, BeingLessWrong, CaseConfig, Cases,
    CatalogueCoverage, CohortGap, Consistency, CosineSpace, DistanceToQuery, Diversity,
    Expectation, Freshness, HitsByPopularity, Measured, Named, Perturb, Perturbation,
    PriceHomogeneity, Robustness, Serendipity, Subject, Suite, Tolerance, TreeSpace, behavior_fn,
};
use reco_train::evaluate::{Coverage, HitRate, Mrr};
use reco_train::{Error, PopularityTrainer, Trainer};

use crate::shop;

/// Answers by a table: to the last item, these.
#[derive(Debug)]
struct Table(BTreeMap<&'static str, &'static str>);

impl Table {
    fn new<const N: usize>(answers: [(&'static str, &'static str); N]) -> Self {
        Self(answers.into_iter().collect())
    }
}

impl Model for Table {
    fn kind(&self) -> &str {
        "table"
    }

    fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
        let answer = |session: &Session| {
            let last = session
                .items()
                .last()
                .and_then(|item| self.0.get(item.as_str()));
            let items = last
                .into_iter()
                .flat_map(|answers| answers.split_whitespace());
            let scored = |(place, item): (i16, &str)| Scored {
                item: item.into(),
                score: -f32::from(place),
            };
            (0..).zip(items).take(k).map(scored).collect()
        };
        Ok(sessions.iter().map(answer).collect())
    }
}

/// The value and the number of cases of a test: `k` is 3, and training knows a to d.
fn measure(model: &dyn Model, test: &dyn BehaviorTest, sessions: &[&str]) -> Measured {
    let train = shop::dataset(&["a b c d", "a b", "a", "a a a a a a a"]);
    let test_set = shop::dataset(sessions);
    let config = CaseConfig {
        k: 3,
        ..Default::default()
    };
    let cases = Cases::new(&train, &test_set, config).unwrap();
    let subject = Subject::new(model, &cases).unwrap();
    let measured = test.measure(&subject).unwrap();
    assert_eq!(measured, test.measure(&subject).unwrap(), "the same again");
    measured
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the tests are written where they are used"
)]
fn check(test: impl BehaviorTest, sessions: &[&str], expected: (f64, u64)) -> Measured {
    let model = Table::new([("a", "b c"), ("b", "a d"), ("c", "d"), ("d", "a b c")]);
    let measured = measure(&model, &test, sessions);
    let value = measured.value.unwrap();
    assert!(
        (value - expected.0).abs() < 1e-9,
        "{value} is not {}",
        expected.0
    );
    assert_eq!(measured.n_cases, expected.1);
    measured
}

fn parts(measured: &Measured) -> Vec<String> {
    let text = |part: &reco_train::evaluate::behavior::Part| {
        format!("{} {:.2} {}", part.name, part.value, part.n_cases)
    };
    measured.parts.iter().map(text).collect()
}

#[test]
fn hits_worked_by_hand() {
    // a → b: 1. b → c: missed. a → c: 2. x → a: missed.
    let sessions = ["a b c", "a c", "x a"];
    check(Accuracy(HitRate::at(3)), &sessions, (0.5, 4));
    check(Accuracy(HitRate::at(1)), &sessions, (0.25, 4));
    check(Accuracy(Mrr::at(3)), &sessions, ((1.0 + 0.5) / 4.0, 4));
    let by_popularity = check(HitsByPopularity { min_cases: 1 }, &sessions, (0.0, 4));
    // a has 10 in training, b 2, c and d 1.
    assert_eq!(parts(&by_popularity), ["1–9 0.67 3", "10–99 0.00 1"]);
    check(HitsByPopularity { min_cases: 3 }, &sessions, (2.0 / 3.0, 4));

    // Misses: 1/2 of b and c (b → c, of a → b, b → c, a → c: 1/3), all of a. Overall 2/4.
    let cohort = |case: &reco_train::evaluate::behavior::Case| {
        Some(
            if case.target.as_str() == "a" {
                "a"
            } else {
                "other"
            }
            .to_owned(),
        )
    };
    let gap = check(
        CohortGap::new("item", cohort),
        &sessions,
        ((0.5 + 1.0 / 6.0) / 2.0, 4),
    );
    assert_eq!(
        parts(&gap),
        ["misses of a 1.00 1", "misses of other 0.33 3"]
    );

    let plainer = Arc::new(Table::new([("a", "b")]));
    check(Serendipity { than: plainer }, &sessions, (0.25, 4));
}

#[test]
fn distances_worked_by_hand() {
    let tree: TreeSpace = [("a", "x/y"), ("b", "x/y"), ("c", "x/z"), ("d", "w")]
        .into_iter()
        .collect();
    let space = Arc::new(tree);
    // Missed: b → c, answered a: 2 steps. d → d, answered a: 3 steps. x → a has no answer.
    let wrong = check(
        BeingLessWrong {
            space: Arc::<TreeSpace>::clone(&space),
        },
        &["a b c", "d d", "x a"],
        (2.5, 2),
    );
    assert_eq!(wrong.samples, ["`a` for `d`: 3.00", "`a` for `c`: 2.00"]);
    // a → b: answers b, c at 0 and 2, the target at 0.
    let distance = check(
        DistanceToQuery {
            space: Arc::<TreeSpace>::clone(&space),
        },
        &["a b"],
        (1.0, 1),
    );
    assert_eq!(
        parts(&distance),
        ["to the answers 1.00 1", "to what came next 0.00 1"]
    );
    // The pairs of d's answer a, b, c: 0, 2, 2. That of a's: 2. c has one answer.
    check(
        Diversity { space },
        &["d a b", "c a"],
        ((4.0 / 3.0 + 2.0) / 2.0, 2),
    );

    let price = |item: &ItemId| match item.as_str() {
        "a" => Some(10.0),
        "b" => Some(1000.0),
        "c" => Some(1.0),
        "d" => Some(0.0),
        _ => None,
    };
    // a → b: 2. b → a: 2. c → d has no price.
    check(
        PriceHomogeneity::new(price),
        &["a a", "b a", "c a", "x a"],
        (2.0, 2),
    );
    let space: CosineSpace = [("a", vec![1.0, 0.0]), ("c", vec![0.0, 1.0])]
        .into_iter()
        .collect();
    check(
        BeingLessWrong {
            space: Arc::new(space),
        },
        &["b c"],
        (1.0, 1),
    );
}

#[test]
fn the_catalogue_worked_by_hand() {
    // a and c answer b, c, d of four.
    check(CatalogueCoverage, &["a x", "c x"], (0.75, 2));
    // Training session 0 is at hour 0, where b, c, d are first seen 1, 2 and 3 seconds in; the test is at
    // hour 0, second 1, too.
    let age = check(Freshness::default(), &["a x"], (-1.0 / 86_400.0, 1));
    assert_eq!(age.parts.len(), 3);
    let since = |item: &ItemId| (item.as_str() == "b").then_some(-86_400_000_000 + 1_000_000);
    check(Freshness::since(since), &["a x", "c x"], (1.0, 1));
}

#[test]
fn changes_of_the_session_worked_by_hand() {
    // `a b` becomes `b a`: a, d against b, c.
    check(Perturbation::new(Perturb::Swap), &["a b x"], (0.0, 1));
    // The last item decides, so these change nothing; one item cannot be cut.
    check(
        Perturbation::new(Perturb::Truncate(1)),
        &["c a x"],
        (1.0, 1),
    );
    check(Perturbation::new(Perturb::DropFirst), &["c a x"], (1.0, 1));
    check(Perturbation::new(Perturb::RepeatLast), &["c a x"], (1.0, 2));
    // d for a: `b c` against `a b c`: two of three.
    let other = |item: &ItemId| (item.as_str() == "a").then(|| ItemId::from("d"));
    check(
        Perturbation::new(Perturb::Substitute(Arc::new(other))),
        &["a x"],
        (2.0 / 3.0, 1),
    );
    let pairs =
        [("a", "b"), ("c", "d"), ("a", "x")].map(|(a, b)| (ItemId::from(a), ItemId::from(b)));
    // b is first to a, a is first to b: not better. d is first to c, c third to d. x is nowhere.
    let asymmetry = check(
        Asymmetry {
            pairs: pairs.to_vec(),
        },
        &["a b"],
        (0.5, 2),
    );
    assert_eq!(asymmetry.samples, ["`a` after `b`"]);
}

#[test]
fn popularity_does_not_look_at_the_session() {
    let split = shop::split();
    let model = PopularityTrainer
        .fit(&split.train, &mut |_| std::ops::ControlFlow::Continue(()))
        .unwrap();
    let cases = Cases::new(
        &split.train,
        &split.test,
        CaseConfig {
            n_cases: 150,
            ..Default::default()
        },
    )
    .unwrap();
    assert_eq!(cases.cases().len(), 150);
    let suite = Suite::default()
        .require(
            Perturbation::new(Perturb::Shuffle),
            Expectation::AtLeast(1.0),
        )
        .require(
            Perturbation::new(Perturb::Truncate(1)),
            Expectation::AtLeast(1.0),
        )
        .require(Consistency, Expectation::AtLeast(1.0))
        .require(Robustness, Expectation::AtLeast(1.0))
        .report(CatalogueCoverage);
    let report = suite.run(&model, &cases, None).unwrap();
    assert!(report.passed(), "{report}");
    let coverage = report.get("coverage").unwrap().measured.value.unwrap();
    assert!((coverage - 20.0 / split.train.vocabulary().len() as f64).abs() < 1e-12);
    assert_eq!(report, suite.run(&model, &cases, None).unwrap());
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(
        serde_json::from_str::<BehaviorReport>(&json).unwrap(),
        report
    );
    // Another seed draws other cases, the same seed the same.
    let again = |seed| {
        Cases::new(
            &split.train,
            &split.test,
            CaseConfig {
                n_cases: 150,
                seed,
                k: 20,
            },
        )
        .unwrap()
    };
    assert_eq!(cases.cases(), again(1).cases());
    assert_ne!(cases.cases(), again(2).cases());
}

fn cases<'a>(train: &'a SessionDataset, test: &SessionDataset) -> Cases<'a> {
    Cases::new(train, test, CaseConfig::default()).unwrap()
}

#[test]
fn a_candidate_that_finds_less_than_the_champion_is_refused() {
    let data = shop::dataset(&["a b"; 20]);
    let cases = cases(&data, &data);
    let suite = Suite::default()
        .require(
            Accuracy(HitRate::at(20)),
            Expectation::NotBelowChampion(Tolerance::Relative(0.05)),
        )
        .warn(CatalogueCoverage, Expectation::AtLeast(0.9));
    let champion = suite.run(&Table::new([("a", "b")]), &cases, None).unwrap();
    assert!(champion.passed());
    let scores: BTreeMap<String, f64> = champion.scores().collect();
    assert!((scores["behavior/hit_rate@20"] - 1.0).abs() < 1e-12);
    let worse = suite
        .run(&Table::new([("a", "a")]), &cases, Some(&scores))
        .unwrap();
    assert!(!worse.passed());
    let failed: Vec<&str> = worse
        .failures()
        .map(|result| result.name.as_str())
        .collect();
    assert_eq!(failed, ["hit_rate@20"]);
    let checks = worse.checks("next-item");
    assert!(!checks.passed());
    assert_eq!(checks.warnings().count(), 1);
    assert_eq!(
        checks.to_string(),
        "next-item: 0 of 2 checks passed\n  \
         hit_rate@20 ≥ champion − 5 % failed: 0 of 20 rows, observed 0, the champion has 1\n    \
         `a` then `b`, answered `a`\n    `a` then `b`, answered `a`\n    `a` then `b`, answered `a`\n    \
         `a` then `b`, answered `a`\n    `a` then `b`, answered `a`\n  \
         coverage ≥ 0.9 warns: 0 of 20 rows, observed 0.5, the champion has 0.5"
    );
    assert_eq!(
        worse.to_string(),
        "table: 0 of 2 behavioural tests passed\n  \
         FAILED hit_rate@20 = 0.0000 (≥ champion − 5 %)\n  warns  coverage = 0.5000 (≥ 0.9)"
    );
}

#[test]
fn what_was_not_measured_does_not_pass() {
    let data = shop::dataset(&["a b"]);
    let odd = |value: f64| {
        behavior_fn("odd", "a number that is none", move |_| {
            Ok(Measured::new(value, 1))
        })
    };
    let nothing = behavior_fn("nothing", "nothing to look at", |_| {
        Ok(Measured::share(0, 0))
    });
    let suite = Suite::default()
        .require(odd(f64::NAN), Expectation::AtLeast(0.0))
        .require(nothing, Expectation::AtMost(1.0));
    let report = suite
        .run(&Table::new([]), &cases(&data, &data), None)
        .unwrap();
    assert_eq!(report.failures().count(), 2);
    let checks = report.checks("m");
    assert!(
        checks
            .results
            .iter()
            .all(|check| check.note.as_deref() == Some("no value was found"))
    );
    assert!(
        checks
            .results
            .iter()
            .all(|check| check.severity == Severity::Error)
    );
    // There is no case, and still nothing panics or divides by 0.
    let single = shop::dataset(&["a", "b"]);
    let space = || Arc::new(TreeSpace::default());
    let suite = Suite::default()
        .report(Accuracy(Mrr::at(20)))
        .report(HitsByPopularity::default())
        .report(CohortGap::new("none", |_| None))
        .report(BeingLessWrong { space: space() })
        .report(DistanceToQuery { space: space() })
        .report(Diversity { space: space() })
        .report(PriceHomogeneity::new(|_| None))
        .report(Perturbation::new(Perturb::Swap))
        .report(CatalogueCoverage)
        .report(Freshness::default())
        .report(Asymmetry::default())
        .report(Consistency);
    let report = suite
        .run(&Table::new([]), &cases(&single, &single), None)
        .unwrap();
    for result in &report.results {
        assert_eq!(
            (result.measured.value, result.measured.n_cases),
            (None, 0),
            "{}",
            result.name
        );
    }
}

/// Breaks the contract in one way.
#[derive(Debug, Clone, Copy)]
enum Broken {
    Twice,
    Many,
    Few,
    Infinite,
}

impl Model for Broken {
    fn kind(&self) -> &str {
        "broken"
    }

    fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
        let scored = |item: usize, score| Scored {
            item: item.to_string().into(),
            score,
        };
        let ranking: Ranking = match self {
            Self::Twice => [scored(1, 2.0), scored(1, 1.0)].into_iter().collect(),
            Self::Many => (0..=k).map(|item| scored(item, 1.0)).collect(),
            Self::Few => return Ok(Vec::new()),
            // What is not finite cannot get into a ranking but by way of JSON.
            Self::Infinite => serde_json::from_str(r#"[{"item": "1", "score": 1e39}]"#).unwrap(),
        };
        Ok(vec![ranking; sessions.len()])
    }
}

#[test]
fn an_answer_that_no_model_may_give_is_an_error() {
    let data = shop::dataset(&["a b", "a b"]);
    let check = |model: Broken, expected: &str| {
        let error = Suite::default()
            .run(&model, &cases(&data, &data), None)
            .unwrap_err();
        assert!(matches!(error, Error::InvalidAnswer { .. }), "{error}");
        let found = error.to_string();
        assert_eq!(
            found,
            format!("model `broken` gave an answer that no model may give: {expected}")
        );
    };
    check(Broken::Twice, "item `1` twice");
    check(Broken::Many, "21 items where 20 were asked for");
    check(Broken::Few, "0 rankings for 2 sessions");
    check(Broken::Infinite, "item `1` with the score inf");
}

#[test]
fn a_suite_without_sense_is_an_error() {
    let data = shop::dataset(&["a b"]);
    let check = |suite: Suite, expected: &str| {
        let error = suite
            .run(&Table::new([]), &cases(&data, &data), None)
            .unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(
        Suite::default().report(Consistency).report(Consistency),
        "behavioural tests: `name` `consistency` is that of two tests",
    );
    check(
        Suite::default().report(Accuracy(Coverage::at(3))),
        "behavioural tests: `metric` must be about the target, which `coverage@3` is not",
    );
    let again = Named {
        name: "once more".to_owned(),
        test: Consistency,
    };
    let both = Suite::default().report(Consistency).report(again);
    let report = both
        .run(&Table::new([]), &cases(&data, &data), None)
        .unwrap();
    let [first, second] = &report.results[..] else {
        panic!("two tests")
    };
    assert_eq!(
        (first.name.as_str(), second.name.as_str()),
        ("consistency", "once more")
    );
    assert_eq!(first.measured, second.measured);
    let config = CaseConfig {
        k: 0,
        ..Default::default()
    };
    let error = Cases::new(&data, &data, config).unwrap_err().to_string();
    assert!(
        error.starts_with("behavioural tests: `k` must be from 1"),
        "{error}"
    );
}
