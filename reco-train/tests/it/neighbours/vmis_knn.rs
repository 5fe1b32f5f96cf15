//! VMIS-kNN against numbers worked by hand, against the naive one, and against its contract.

use proptest::prelude::*;
use reco_core::{Session, SessionDataset, SessionEncoding, Split, testing};
use reco_train::evaluate::{Mrr, Recall};
use reco_train::vmis_knn::{Idf, Remind};
use reco_train::{
    Error, PopularityTrainer, Trainer, VmisKnn, VmisKnnConfig, VmisKnnLoader, VmisKnnTrainer,
    Weighting, evaluate,
};

use super::{Scores, Visit, answer, assert_comes_back, assert_refused, assert_scores, fit, learnt};
use super::{in_pool, naive, query, train, visits};
use crate::shop;

/// Three sessions, the oldest first: 0 1 2, then 0 3, then 1 3.
fn three() -> Vec<Visit> {
    vec![(0, vec![0, 1, 2]), (24, vec![0, 3]), (48, vec![1, 3])]
}

fn plain() -> VmisKnnConfig {
    VmisKnnConfig::vs_knn()
}

/// The scores of items 0 to 3 for the session 0 1.
#[track_caller]
fn check(config: VmisKnnConfig, expected: [f64; 4]) {
    let model = fit(&VmisKnnTrainer::new(config), &three());
    let expected: Scores = (0..).zip(expected).collect();
    assert_scores(&model, &[0, 1], &expected);
}

#[test]
fn weightings_worked_by_hand() {
    // Item 0 is a place before the last, so `div` gives it 1/2 and item 1 weighs 1: the sessions are similar
    // by 1.5, 0.5 and 1. The second shares only item 0, two steps back.
    let score = |weighting_score| VmisKnnConfig {
        weighting_score,
        ..plain()
    };
    check(score(Weighting::Div), [1.75, 2.5, 1.5, 1.25]);
    check(score(Weighting::Same), [2.0, 2.5, 1.5, 1.5]);
    check(score(Weighting::Linear), [1.75, 2.25, 1.35, 1.3]);
    check(score(Weighting::Quadratic), [1.625, 2.5, 1.5, 1.125]);
    let log = [
        4.357_312_713_9,
        5.795_572_571_7,
        3.477_343_543_0,
        3.198_198_199_5,
    ];
    check(score(Weighting::Log), log);

    let place = |weighting| VmisKnnConfig {
        weighting,
        ..score(Weighting::Same)
    };
    check(place(Weighting::Same), [3.0, 3.0, 2.0, 2.0]);
    check(place(Weighting::Linear), [2.8, 2.9, 1.9, 1.9]);
    check(place(Weighting::Quadratic), [1.5, 2.25, 1.25, 1.25]);
    let log = [
        8.975_814_449_3,
        10.996_941_812_6,
        6.657_585_420_6,
        6.657_585_420_6,
    ];
    check(place(Weighting::Log), log);
}

#[test]
fn rarity_worked_by_hand() {
    let idf = |idf| VmisKnnConfig {
        idf,
        idf_weighting: 2.0,
        ..plain()
    };
    // 1 + 2 ln(3/2) for the items of two sessions, 1 + 2 ln 3 for item 2.
    let added = [
        3.169_127_878_4,
        4.527_325_540_5,
        4.795_836_866_0,
        2.263_662_770_3,
    ];
    check(idf(Idf::Added), added);
    // 2 ln(7/2) and 2 ln 7: there are seven items in all sessions.
    let multiplied = [
        4.384_670_389_7,
        6.263_814_842_4,
        5.837_730_447_2,
        3.131_907_421_2,
    ];
    check(idf(Idf::Multiplied), multiplied);
}

#[test]
fn limits_worked_by_hand() {
    let base = plain();
    check(VmisKnnConfig { m: 1, ..base }, [0.0, 1.0, 0.0, 1.0]);
    check(VmisKnnConfig { k: 1, ..base }, [1.5, 1.5, 1.5, 0.0]);
    let last = VmisKnnConfig {
        last_items: 1,
        ..base
    };
    check(last, [1.0, 2.0, 1.0, 1.0]);
    let short = VmisKnnConfig {
        max_session_items: 2,
        ..base
    };
    check(short, [0.25, 1.0, 0.0, 1.25]);
    let earlier = VmisKnnConfig {
        remind: Remind::Earlier,
        ..base
    };
    check(earlier, [1.75, 0.0, 1.5, 1.25]);
    let never = VmisKnnConfig {
        remind: Remind::Never,
        ..base
    };
    check(never, [0.0, 0.0, 1.5, 1.25]);
    let more_than_there_is = VmisKnnConfig {
        m: 1 << 20,
        k: 1 << 20,
        ..base
    };
    check(more_than_there_is, [1.75, 2.5, 1.5, 1.25]);
}

#[test]
fn an_item_of_the_session_counts_where_it_was_last() {
    let model = fit(&VmisKnnTrainer::new(plain()), &three());
    // Of 1 0 1, item 1 weighs 1 and item 0 2/3.
    let expected = [
        (0, 5.0 / 3.0 + 1.0 / 3.0),
        (1, 8.0 / 3.0),
        (2, 5.0 / 3.0),
        (3, 4.0 / 3.0),
    ];
    assert_scores(&model, &[1, 0, 1], &expected.into_iter().collect());
}

fn config() -> impl Strategy<Value = VmisKnnConfig> {
    let weighting = || {
        prop::sample::select(vec![
            Weighting::Same,
            Weighting::Div,
            Weighting::Linear,
            Weighting::Log,
            Weighting::Quadratic,
        ])
    };
    let idf = prop::sample::select(vec![Idf::Added, Idf::Multiplied]);
    let remind = prop::sample::select(vec![Remind::All, Remind::Earlier, Remind::Never]);
    let numbers = (
        1..12_usize,
        1..8_usize,
        0..4_usize,
        prop::sample::select(vec![0_usize, 3]),
    );
    let idf_weighting = prop::sample::select(vec![0.0, 0.5, 2.0]);
    (
        numbers,
        weighting(),
        weighting(),
        idf,
        idf_weighting,
        remind,
    )
        .prop_map(
            |(
                (m, k, last_items, max_session_items),
                weighting,
                weighting_score,
                idf,
                w,
                remind,
            )| {
                VmisKnnConfig {
                    m,
                    k,
                    last_items,
                    weighting,
                    weighting_score,
                    idf,
                    idf_weighting: w,
                    remind,
                    max_session_items,
                }
            },
        )
}

proptest! {
    #[test]
    fn it_answers_as_the_naive_one(visits in visits(), query in query(), config in config()) {
        let expected = naive::vmis_knn(&visits, &query, &config);
        let trainer = VmisKnnTrainer::new(config);
        match trainer.fit(&train(&visits), &mut |_| std::ops::ControlFlow::Continue(())) {
            Ok(model) => assert_scores(&model, &query, &expected),
            Err(Error::NothingToLearn { .. }) => prop_assert!(expected.is_empty()),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn updates_give_what_a_fit_to_all_gives(
        visits in visits(),
        cuts in prop::collection::vec(1..25_usize, 1..3),
        m in 1..6_usize,
    ) {
        let trainer = VmisKnnTrainer::new(VmisKnnConfig { m, ..plain() });
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < visits.len()).collect();
        cuts.extend([0, visits.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let mut parts = cuts.windows(2).map(|cut| &visits[cut[0]..cut[1]]);
        let mut model = fit(&trainer, parts.next().unwrap());
        for part in parts {
            model = model.update(&train(part)).unwrap();
        }
        let whole = fit(&trainer, &visits);
        let [updated, whole] = [&model, &whole].map(|model| model.to_artifact().unwrap());
        prop_assert_eq!(learnt(&updated), learnt(&whole));
    }
}

#[test]
fn sessions_that_no_item_finds_are_let_go_of() {
    let trainer = VmisKnnTrainer::new(VmisKnnConfig { m: 2, ..plain() });
    let visits: Vec<Visit> = (0..50).map(|hour| (hour, vec![0, 1])).collect();
    let model = fit(&trainer, &visits);
    assert_eq!(model.n_sessions(), 2);
    let model = model.update(&train(&[(60, vec![1, 2])])).unwrap();
    assert_eq!(model.n_sessions(), 3);
    assert_eq!(
        model
            .update(&train(&[(70, vec![0, 1])]))
            .unwrap()
            .n_sessions(),
        3
    );
}

#[test]
fn an_update_in_another_encoding_is_refused() {
    let model = fit(&VmisKnnTrainer::default(), &three());
    let mut builder = SessionDataset::builder(SessionEncoding {
        collapse_repeats: true,
        ..Default::default()
    });
    let time = reco_core::Timestamp::UNIX_EPOCH;
    builder.push("a", "item 00", time).unwrap();
    let data = builder.build().unwrap();
    let split = Split::from_parts(data.clone(), data);
    let error = model.update(&split.train).unwrap_err();
    assert!(error.to_string().contains("encoded as"), "{error}");
}

#[test]
fn it_keeps_the_contract_and_comes_back_from_its_artifact() {
    let split = shop::split();
    let sessions = shop::sessions(&split);
    for config in [VmisKnnConfig::default(), plain()] {
        let model = VmisKnnTrainer::new(config.clone())
            .fit(&split.train, &mut |_| std::ops::ControlFlow::Continue(()))
            .unwrap();
        testing::model(&model, &sessions);
        let artifact = model.to_artifact().unwrap();
        assert_eq!(artifact.manifest().data, Some(split.train.fingerprint()));
        assert_eq!(artifact.config::<VmisKnnConfig>().unwrap(), config);
        assert_comes_back(&model, &artifact, &VmisKnnLoader, &sessions);
    }
}

#[test]
fn a_loaded_model_can_be_updated_as_the_saved_one() {
    // Ends before 1970 and after 2106 are times as well.
    let visits = vec![
        (-9_000_000, vec![0, 1]),
        (3, vec![1, 2]),
        (2_000_000, vec![0, 2]),
    ];
    let model = fit(&VmisKnnTrainer::new(plain()), &visits);
    let artifact = model.to_artifact().unwrap();
    let again = VmisKnn::from_artifact(&artifact).unwrap();
    let more = train(&[(1, vec![0, 3, 1])]);
    let [a, b] = [&model, &again].map(|m| m.update(&more).unwrap().to_artifact().unwrap());
    assert_eq!(learnt(&a), learnt(&b));
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    let artifact = fit(&VmisKnnTrainer::new(plain()), &three())
        .to_artifact()
        .unwrap();
    let check = |tensor, damage: &dyn Fn(&mut Vec<u32>), expected| {
        assert_refused(&artifact, &VmisKnnLoader, (tensor, damage), expected);
    };
    check(
        "session_items",
        &|v| v[0] = 4,
        "`session_items` names item 4 of 4",
    );
    check("session_items", &|v| v[1] = v[0], "holds item 0 twice");
    check(
        "session_items",
        &|v| v.truncate(6),
        "tell the 6 rows of `session_items` apart",
    );
    check(
        "session_lengths",
        &|v| v[0] = 9,
        "tell the 7 rows of `session_items` apart",
    );
    check(
        "session_lengths",
        &|v| *v = vec![0, 5, 2],
        "tell the 7 rows",
    );
    check(
        "session_ended",
        &|v| v.truncate(4),
        "tensor `session_ended` is (U32, [2, 2])",
    );
    check(
        "session_ended",
        &|v| v.swap(0, 4),
        "not in the order of their ends",
    );
    check("support", &|v| v[0] = 1, "more sessions than `support`");
    check("n_sessions", &|v| v[1] = 2, "more sessions than `support`");
}

#[test]
fn unknown_and_no_items_get_no_answer() {
    let model = fit(&VmisKnnTrainer::new(plain()), &three());
    assert!(answer(&model, &[], 20).is_empty());
    assert!(answer(&model, &[8, 7], 20).is_empty());
    assert_eq!(answer(&model, &[8, 0, 7], 1000).len(), 4);
}

#[test]
fn threads_change_nothing() {
    let split = shop::split();
    let sessions: Vec<Session> = (0..split.test.n_sessions())
        .map(|s| split.test.decode(s))
        .collect();
    let run = |threads| {
        in_pool(threads, || {
            let model = VmisKnnTrainer::default()
                .fit(&split.train, &mut |_| std::ops::ControlFlow::Continue(()))
                .unwrap();
            let answers = reco_core::Model::recommend_batch(&model, &sessions, 20).unwrap();
            (model.to_artifact().unwrap(), answers)
        })
    };
    assert_eq!(run(1), run(4));
}

#[test]
fn it_beats_popularity_on_the_shop() {
    let split = shop::split();
    let mut ignore = |_: &_| std::ops::ControlFlow::Continue(());
    let popularity = PopularityTrainer.fit(&split.train, &mut ignore).unwrap();
    let model = VmisKnnTrainer::new(plain())
        .fit(&split.train, &mut ignore)
        .unwrap();
    let metrics = [Recall::at(20), Mrr::at(20)];
    let floor = evaluate(&popularity, &split.test, &metrics).unwrap();
    let scores = evaluate(&model, &split.test, &metrics).unwrap();
    for metric in metrics {
        let [found, floor] = [&scores, &floor].map(|scores| scores.get(metric).unwrap());
        assert!(found > 1.5 * floor, "{metric}: {found}, popularity {floor}");
    }
}

#[test]
fn what_cannot_be_a_setting_is_named() {
    let check = |config: VmisKnnConfig, expected: &str| {
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(VmisKnnConfig { m: 0, ..plain() }, "`m` must be from 1 to");
    check(VmisKnnConfig { k: 0, ..plain() }, "`k` must be from 1 to");
    let nan = VmisKnnConfig {
        idf_weighting: f64::NAN,
        ..plain()
    };
    check(nan, "`idf_weighting` must be from 0 to 1000, is NaN");
    let trainer = VmisKnnTrainer::new(VmisKnnConfig {
        max_session_items: 1,
        ..plain()
    });
    let error = trainer
        .fit(&train(&three()), &mut |_| {
            std::ops::ControlFlow::Continue(())
        })
        .unwrap_err();
    assert!(matches!(error, Error::NothingToLearn { .. }), "{error}");
}
