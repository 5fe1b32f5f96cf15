//! The evaluation protocol.

use std::ops::ControlFlow;

use proptest::prelude::*;
use reco_core::{
    ItemIdx, Model, Ranking, Result, Session, SessionDataset, SessionEncoder, SessionEncoding,
    Split, Vocabulary,
};
use reco_train::evaluate::{
    Coverage, DenseScorer, HitRate, Mrr, Ndcg, PopularityBias, Recall, rank,
};
use reco_train::{
    Engine, EpochReport, Gru4RecConfig, Gru4RecTrainer, Metric, PopularityTrainer, Prod2VecConfig,
    Prod2VecTrainer, Scorer, Trainer, evaluate,
};

use crate::shop;

/// A host's own model: the scores of the next item depend on the last item alone.
#[derive(Debug)]
pub(crate) struct Markov {
    encoder: SessionEncoder,
    /// `[n_items, n_items]`
    scores: Vec<f32>,
}

impl Markov {
    pub(crate) fn new(counts: &[(&str, u64)], scores: &[f32]) -> Self {
        let vocabulary = Vocabulary::from_counts(counts.iter().copied()).unwrap();
        let encoder = SessionEncoder::new(SessionEncoding::default(), vocabulary.into()).unwrap();
        Self {
            encoder,
            scores: scores.to_vec(),
        }
    }
}

impl Model for Markov {
    fn kind(&self) -> &str {
        "markov"
    }

    fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
        rank(self, sessions, k)
    }
}

impl Scorer for Markov {
    fn encoder(&self) -> &SessionEncoder {
        &self.encoder
    }

    fn score_batch(&self, sessions: &[&[ItemIdx]], scores: &mut [f32]) -> Result<()> {
        let n_items = self.encoder.vocabulary().len();
        for (session, scores) in sessions.iter().zip(scores.chunks_exact_mut(n_items)) {
            let last = session.last().unwrap().get();
            scores.copy_from_slice(&self.scores[last * n_items..][..n_items]);
        }
        Ok(())
    }
}

fn check(model: &Markov, sessions: &[&str], expected: &[(Metric, f64)]) {
    let metrics: Vec<Metric> = expected.iter().map(|(metric, _)| *metric).collect();
    let found = evaluate(model, &shop::dataset(sessions), &metrics).unwrap();
    for (metric, value) in expected {
        let found = found.get(*metric).unwrap();
        assert!(
            (found - value).abs() < 1e-12,
            "{metric} is {found}, not {value}"
        );
    }
}

#[test]
fn metrics_worked_by_hand() {
    let model = Markov::new(
        &[("a", 10), ("b", 4), ("c", 1)],
        &[
            0.1, 0.9, 0.5, // After a: b, c, a.
            0.3, 0.2, 0.1, // After b: a, b, c.
            0.0, 0.0, 0.0, // After c: all alike, so each has rank 3.
        ],
    );
    // Queries: a → b (rank 1), b → c (rank 3), c → a (rank 3 of a tie).
    check(
        &model,
        &["a b c a"],
        &[
            (HitRate::at(1), 1.0 / 3.0),
            (Recall::at(2), 1.0 / 3.0),
            (Recall::at(3), 1.0),
            (Mrr::at(2), 1.0 / 3.0),
            (Mrr::at(3), (1.0 + 1.0 / 3.0 + 1.0 / 3.0) / 3.0),
            (Ndcg::at(3), (1.0 + 0.5 + 0.5) / 3.0),
            // The first answers are b, a, a; the second ones c, b, b.
            (Coverage::at(1), 2.0 / 3.0),
            (Coverage::at(2), 1.0),
            (PopularityBias::at(1), (4.0 + 10.0 + 10.0) / 3.0),
            (
                PopularityBias::at(2),
                (4.0 + 1.0 + 10.0 + 4.0 + 10.0 + 4.0) / 6.0,
            ),
        ],
    );
}

#[test]
fn items_that_the_model_does_not_know_are_taken_out_first() {
    let model = Markov::new(&[("a", 1), ("b", 1)], &[0.0, 1.0, 1.0, 0.0]);
    // `a x b` is `a b`; `x a` is too short then; `y` is the first of its session, so no target.
    let test = shop::dataset(&["a x b", "x a", "y b a"]);
    let found = evaluate(&model, &test, &[Recall::at(1)]).unwrap();
    assert_eq!((found.n_queries, found.n_unseen), (2, 1));
    assert_eq!(
        found.to_string(),
        "recall@1 1.0000, 2 queries, 1 unseen targets"
    );
    let named: Vec<(String, f64)> = found.into_iter().collect();
    assert_eq!(named, [("recall@1".to_owned(), 1.0)]);
}

#[test]
fn a_score_that_is_not_finite_is_an_error() {
    for score in [f32::NAN, f32::INFINITY] {
        let model = Markov::new(&[("a", 1), ("b", 1)], &[0.0, score, 1.0, 0.0]);
        let error = evaluate(&model, &shop::dataset(&["a b"]), &[]).unwrap_err();
        let expected = format!("model `markov` gave item `b` the score {score}");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_metric_of_no_answer_is_an_error() {
    let model = Markov::new(&[("a", 1)], &[0.0]);
    let error = evaluate(&model, &shop::dataset(&["a a"]), &[Mrr::at(0)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "evaluation: `k` must look at one answer or more, and `mrr@0` does not"
    );
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let split = shop::split();
    let model = PopularityTrainer
        .fit(&split.train, &mut |_| ControlFlow::Continue(()))
        .unwrap();
    let metrics = [
        Recall::at(20),
        Mrr::at(20),
        Ndcg::at(20),
        Coverage::at(5),
        PopularityBias::at(5),
    ];
    // More sessions than one thread takes at once.
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| evaluate(&model, &split.train, &metrics).unwrap())
    };
    assert!(split.train.n_sessions() > 1024);
    assert_eq!(on(1), on(4));
}

/// A model whose scores come in rows, whatever else it could do.
#[derive(Debug)]
struct InRows<M>(M);

impl<M: Scorer> Model for InRows<M> {
    fn kind(&self) -> &str {
        self.0.kind()
    }

    fn recommend_batch(&self, sessions: &[Session], k: usize) -> Result<Vec<Ranking>> {
        self.0.recommend_batch(sessions, k)
    }
}

impl<M: Scorer> Scorer for InRows<M> {
    fn encoder(&self) -> &SessionEncoder {
        self.0.encoder()
    }

    fn score_batch(&self, sessions: &[&[ItemIdx]], scores: &mut [f32]) -> Result<()> {
        self.0.score_batch(sessions, scores)
    }

    fn dense(&self) -> Option<&dyn DenseScorer> {
        None
    }
}

/// Blocks round otherwise than rows, so that a few neighbours may change places.
fn check_blocks(model: impl Scorer, split: &Split) {
    let metrics = [
        Recall::at(20),
        Mrr::at(20),
        Coverage::at(5),
        PopularityBias::at(5),
    ];
    assert!(model.dense().is_some());
    let blocks = evaluate(&model, &split.test, &metrics).unwrap();
    let rows = evaluate(&InRows(model), &split.test, &metrics).unwrap();
    assert_eq!(blocks.n_queries, rows.n_queries);
    assert!(blocks.get(metrics[1]).unwrap() > 0.05, "{blocks}");
    for metric in metrics {
        let (blocks, rows) = (blocks.get(metric).unwrap(), rows.get(metric).unwrap());
        assert!(
            (blocks / rows - 1.0).abs() < 1e-3,
            "{metric}: {blocks} {rows}"
        );
    }
}

#[test]
fn models_of_products_are_ranked_in_blocks_as_in_rows() {
    let split = shop::split();
    let mut ignore = |_: &EpochReport| ControlFlow::Continue(());
    // The mean of two unit vectors is as near to the one as to the other: only rounding tells them apart, so
    // the last item alone is the query.
    let config = Prod2VecConfig {
        last: 1,
        sg: true,
        sample: 0.0,
        epochs: 10,
        min_count: 1,
        ..Default::default()
    };
    let prod2vec = Prod2VecTrainer::new(config, Engine::cpu(1));
    check_blocks(prod2vec.fit(&split.train, &mut ignore).unwrap(), &split);
    let config = Gru4RecConfig {
        layer: 20,
        n_epochs: 1,
        n_sample: 32,
        ..Default::default()
    };
    let gru4rec = Gru4RecTrainer::new(config, Engine::cpu(1));
    check_blocks(gru4rec.fit(&split.train, &mut ignore).unwrap(), &split);
}

/// The protocol in its plainest form: Recall@k and MRR@k of one query after the other.
fn plain(model: &Markov, test: &SessionDataset, k: usize) -> (u64, f64, f64) {
    let vocabulary = model.encoder.vocabulary();
    let n_items = vocabulary.len();
    let (mut n, mut hits, mut reciprocal) = (0, 0.0, 0.0);
    for session in test.sessions() {
        let names = session.iter().map(|&item| test.vocabulary().item(item));
        let known: Vec<usize> = names
            .filter_map(|name| vocabulary.idx(name.as_str()))
            .map(ItemIdx::get)
            .collect();
        for step in 1..known.len() {
            let scores = &model.scores[known[step - 1] * n_items..][..n_items];
            let rank = scores
                .iter()
                .filter(|&&score| score >= scores[known[step]])
                .count();
            n += 1;
            if rank <= k {
                hits += 1.0;
                reciprocal += 1.0 / rank as f64;
            }
        }
    }
    (n, hits / n as f64, reciprocal / n as f64)
}

proptest! {
    #[test]
    fn it_is_the_plain_protocol(
        sessions in prop::collection::vec(prop::collection::vec(0..8_u8, 1..8), 1..30),
        // Few different scores, so that there are ties.
        scores in prop::collection::vec((0..5_u8).prop_map(f32::from), 36),
        k in 1..8_usize,
    ) {
        // The test sessions have items 0 to 7, the model knows 0 to 5.
        let names: Vec<String> = (0..6).map(|item| item.to_string()).collect();
        let counts: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let model = Markov::new(&counts, &scores);
        let sessions: Vec<String> = sessions
            .iter()
            .map(|items| items.iter().map(u8::to_string).collect::<Vec<_>>().join(" "))
            .collect();
        let sessions: Vec<&str> = sessions.iter().map(String::as_str).collect();
        let test = Split::from_parts(shop::dataset(&["0"]), shop::dataset(&sessions)).test;
        let (n, recall, mrr) = plain(&model, &test, k);
        prop_assume!(n > 0);
        let found = evaluate(&model, &test, &[Recall::at(k), Mrr::at(k)]).unwrap();
        prop_assert_eq!(found.n_queries, n);
        prop_assert!((found.get(Recall::at(k)).unwrap() - recall).abs() < 1e-12);
        prop_assert!((found.get(Mrr::at(k)).unwrap() - mrr).abs() < 1e-12);
    }
}
