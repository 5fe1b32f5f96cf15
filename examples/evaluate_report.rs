//! What `evaluate --report` writes: the model beside the bestsellers, as a page.
//!
//! Scores with intervals, slices, a paired comparison, and a suite of behavioural tests with one test of our
//! own.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Context;
use reco_core::Split;
use reco_train::evaluate::behavior::{
    Accuracy, CaseConfig, Cases, CatalogueCoverage, Consistency, Expectation, HitsByPopularity,
    Measured, Perturb, Perturbation, Robustness, Suite, Tolerance, behavior_fn,
};
use reco_train::evaluate::{
    Bootstrap, Comparison, Coverage, HitRate, ModelReport, Mrr, Ndcg, Novelty, PopularityBias,
    Protocol, Recall, Report, Slicing,
};
use reco_train::{PopularityTrainer, Scorer, Trainer};

/// Compares a model with the bestsellers and writes the page; says whether it may be promoted.
pub(crate) fn write(
    file: &Path,
    name: &str,
    model: &impl Scorer,
    split: &Split,
    seed: u64,
) -> anyhow::Result<String> {
    let bestsellers = PopularityTrainer.fit(&split.train, &mut |_| ControlFlow::Continue(()))?;
    let metrics = [
        Mrr::at(20),
        Recall::at(20),
        Recall::at(5),
        Ndcg::at(20),
        Coverage::at(20),
        PopularityBias::at(20),
        Novelty::at(20),
    ];

    // ## Ranks: the model is asked once, and all numbers are made of its answers.
    let protocol = Protocol::default();
    let ranks = protocol.rank(model, &split.test, &metrics)?;
    let of_bestsellers = protocol.rank(&bestsellers, &split.test, &metrics)?;

    // ## Slices and intervals: whole sessions are drawn again and again.
    let train = split.train.vocabulary();
    let slicings = [
        Slicing::by_query_length(&[1, 2, 3, 6]),
        Slicing::by_popularity(train),
        Slicing::by_cold(train, 20),
    ];
    let bootstrap = Bootstrap {
        seed,
        ..Bootstrap::default()
    };

    // ## Behavioural tests: in themselves, and beside the champion, which the bestsellers are here.
    let kept = Expectation::NotBelowChampion(Tolerance::Relative(0.05));
    let suite = Suite::default()
        .require(Accuracy(HitRate::at(20)), kept)
        .require(HitsByPopularity::default(), Expectation::AtLeast(0.01))
        .require(Consistency, Expectation::AtLeast(1.0))
        .require(Robustness, Expectation::AtLeast(1.0))
        .warn(CatalogueCoverage, Expectation::AtLeast(0.1))
        .report(Perturbation::new(Perturb::Shuffle))
        .report(Perturbation::new(Perturb::RepeatLast))
        .report(behavior_fn(
            "answers_the_query",
            "The share of cases whose first answer is the item that was just seen.",
            |subject| {
                let again = subject
                    .answers()
                    .filter(|(case, answer)| answer.items().next() == case.session.items().last());
                Ok(Measured::share(again.count(), subject.answers().len()))
            },
        ));
    let config = CaseConfig {
        seed,
        ..CaseConfig::default()
    };
    let cases = Cases::new(&split.train, &split.test, config)?;
    let champion = suite.run(&bestsellers, &cases, None)?;
    let scores: BTreeMap<String, f64> = champion.scores().collect();
    let behavior = suite.run(model, &cases, Some(&scores))?;
    let said = behavior.to_string();

    // ## The page; an artifact would take `behavior.checks(name)`, and a registry heed them.
    let mut report = Report::new(format!("{name} beside the bestsellers"));
    report.models = vec![
        ModelReport::new(name, &ranks, &slicings, Some(&bootstrap))?.with_behavior(behavior),
        ModelReport::new("bestsellers", &of_bestsellers, &slicings, Some(&bootstrap))?
            .with_behavior(champion),
    ];
    let pair = ((name, &ranks), ("bestsellers", &of_bestsellers));
    report
        .comparisons
        .push(Comparison::new(pair.0, pair.1, &bootstrap)?);
    std::fs::write(file, report.to_html())
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(said)
}
