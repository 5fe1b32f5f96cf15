//! Hyperparameter search: what a study does with its trials.

mod fitting;
mod kill;
mod resume;
mod tables;

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use proptest::prelude::*;
use reco_core::BoxError;
use reco_train::search::{
    AshaConfig, Budget, Demand, Direction, Domain, Objective, Outcome, Parameter, Params, Pruner,
    Sampler, Space, Study, StudyConfig, TpeConfig, Trial, TrialRecord, Trials, objective_fn,
};
use serde_json::Value;

/// A space with all kinds of parameters.
pub(crate) fn space() -> Space {
    Space::new([
        Parameter::choice("kind", ["near", "far"]),
        Parameter::log_uniform("rate", 1e-4, 1.0),
        Parameter::integer("n", 8, 64).step(8),
        Parameter::uniform("share", 0.0, 1.0).when("kind", ["near"]),
    ])
    .unwrap()
}

/// How good values are after a step, of 9: curves that cross.
fn value_at(params: &Params, step: u32) -> f64 {
    let rate = params.number("rate").unwrap();
    let n = params.number("n").unwrap();
    let far = params
        .number("share")
        .map_or(0.5, |share| (share - 0.3).abs());
    let end = 1.0 - (rate.log10() + 2.0).abs() / 4.0 - far / 2.0 - (n - 32.0).abs() / 100.0;
    end * (1.0 - (-f64::from(step) * n / 64.0).exp())
}

/// Reports nine steps.
pub(crate) fn walk(trial: &mut Trial<'_>) -> Result<f64, BoxError> {
    trial.ends_at(9);
    for step in 1..=9 {
        let value = value_at(trial.params(), step);
        if trial.report(step, value).is_break() {
            break;
        }
    }
    Ok(value_at(trial.params(), 9))
}

fn config() -> StudyConfig {
    StudyConfig {
        seed: 7,
        sampler: Sampler::Tpe(TpeConfig {
            n_startup_trials: 5,
            ..Default::default()
        }),
        pruner: Pruner::Asha(AshaConfig::default()),
        ..Default::default()
    }
}

fn study() -> Study {
    Study::new(space(), config(), Budget::threads(1))
}

/// Trials without how long they took, which differs.
fn timeless(trials: &Trials) -> Vec<TrialRecord> {
    let mut records = trials.records().to_vec();
    for record in &mut records {
        record.seconds = 0.0;
    }
    records
}

#[test]
fn with_one_worker_the_same_study_makes_the_same_trials() {
    let objective = objective_fn("walk", walk);
    let trials = study().run(&objective, 30).unwrap();
    let again = study().run(&objective, 30).unwrap();
    assert_eq!(timeless(&trials), timeless(&again));
    assert!(
        trials.count("pruned") > 5 && trials.count("complete") > 2,
        "{trials:?}"
    );

    let other = StudyConfig {
        seed: 8,
        ..config()
    };
    let other = Study::new(space(), other, Budget::threads(1))
        .run(&objective, 30)
        .unwrap();
    assert_ne!(timeless(&trials), timeless(&other));
}

#[test]
fn the_best_is_that_of_the_direction() {
    let x = Space::new([Parameter::uniform("x", -1.0, 1.0)]).unwrap();
    let objective = objective_fn("x", |trial| Ok(trial.params().number("x").ok_or("no x")?));
    for (direction, at_the_end) in [(Direction::Maximize, 0.9), (Direction::Minimize, -0.9)] {
        let config = StudyConfig {
            direction,
            ..Default::default()
        };
        let trials = Study::new(x.clone(), config, Budget::threads(1))
            .run(&objective, 40)
            .unwrap();
        let best = trials.best().unwrap().value().unwrap();
        assert!(
            (best - at_the_end).abs() < 0.1 + 1e-9,
            "{direction:?}: {best}"
        );
        let values: Vec<f64> = trials
            .ranked()
            .iter()
            .filter_map(|trial| trial.value())
            .collect();
        assert!(values.is_sorted() || values.iter().rev().is_sorted());
        assert_eq!(values[0].to_bits(), best.to_bits());
    }
}

/// What a sorted list would do, told trial by trial of their curves.
#[test]
fn asha_stops_those_that_a_sorted_list_stops() {
    let trials = study().run(&objective_fn("walk", walk), 40).unwrap();
    let mut at_rung: [Vec<f64>; 2] = Default::default();
    for trial in trials.records() {
        let mut expected = None;
        for (rung, seen) in [1, 3].into_iter().zip(&mut at_rung) {
            let value = value_at(&trial.params, rung);
            seen.push(value);
            let mut sorted = seen.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            if value < sorted[(sorted.len() / 3).max(1) - 1] {
                expected = Some(rung);
                break;
            }
        }
        let stopped = match trial.outcome {
            Some(Outcome::Pruned { step }) => Some(step),
            _ => None,
        };
        assert_eq!(stopped, expected, "trial {}", trial.number);
    }
}

#[test]
fn a_trial_that_fails_is_written_down_and_the_study_goes_on() {
    let objective = objective_fn("failures", |trial| match trial.number() {
        0 => Err("no luck".into()),
        1 => panic!("with the number {}", trial.number()),
        2 => Ok(f64::NAN),
        3 => {
            assert!(trial.report(1, f64::INFINITY).is_break());
            Ok(1.0)
        }
        4 => Err(reco_train::Error::Device {
            operation: "read",
            reason: "gone".to_owned(),
        }
        .into()),
        _ => walk(trial),
    });
    let trials = study().run(&objective, 12).unwrap();
    let reasons: Vec<&str> = trials.records()[..5]
        .iter()
        .map(|trial| match &trial.outcome {
            Some(Outcome::Failed { reason }) => reason.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        reasons,
        [
            "no luck",
            "panicked: with the number 1",
            "its value is NaN",
            "reported inf at step 1",
            "device failed to read: gone"
        ]
    );
    assert_eq!(trials.count("failed"), 5);
    assert!(trials.best().unwrap().number > 4);
}

#[test]
fn a_study_of_which_all_trials_fail_has_no_best() {
    let trials = study()
        .run(&objective_fn("none", |_| Err("no".into())), 4)
        .unwrap();
    assert!(trials.best().is_none() && trials.count("failed") == 4);
}

#[test]
fn settings_out_of_range_are_refused_before_anything_runs() {
    let objective = objective_fn("never", |_| panic!("it ran"));
    let refuse = |config: StudyConfig, expected: &str| {
        let error = Study::new(space(), config, Budget::threads(1))
            .run(&objective, 1)
            .unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    let pruner = Pruner::Asha(AshaConfig {
        reduction_factor: 1,
        ..Default::default()
    });
    refuse(
        StudyConfig { pruner, ..config() },
        "asha: `reduction_factor` must be from 2 to 4294967295, is 1",
    );
    let sampler = Sampler::Tpe(TpeConfig {
        n_ei_candidates: 0,
        ..Default::default()
    });
    refuse(
        StudyConfig {
            sampler,
            ..config()
        },
        "tpe: `n_ei_candidates` must be from 1 to 1048576, is 0",
    );
}

/// Each trial holds what its values say, and counts what all hold together.
#[derive(Debug, Default)]
struct Counting {
    threads: AtomicUsize,
    bytes: AtomicU64,
    most_threads: AtomicUsize,
    most_bytes: AtomicU64,
    n: AtomicUsize,
    most: AtomicUsize,
}

impl Objective for Counting {
    fn context(&self) -> Value {
        "counting".into()
    }

    fn check(&self, _: &Space) -> reco_train::Result<()> {
        Ok(())
    }

    fn demand(&self, params: &Params) -> Result<Demand, BoxError> {
        let of = |name| {
            params
                .get(name)
                .and_then(Value::as_u64)
                .ok_or("no such parameter")
        };
        Ok(Demand {
            threads: usize::try_from(of("threads")?)?,
            bytes: of("bytes")?,
        })
    }

    fn evaluate(&self, trial: &mut Trial<'_>) -> Result<f64, BoxError> {
        let Demand { threads, bytes } = trial.demand();
        let now = self.threads.fetch_add(threads, Ordering::SeqCst) + threads;
        self.most_threads.fetch_max(now, Ordering::SeqCst);
        let now = self.bytes.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.most_bytes.fetch_max(now, Ordering::SeqCst);
        let now = self.n.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        for _ in 0..200 {
            std::thread::yield_now();
        }
        self.n.fetch_sub(1, Ordering::SeqCst);
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.threads.fetch_sub(threads, Ordering::SeqCst);
        Ok(0.0)
    }
}

#[test]
fn trials_together_never_hold_more_than_the_budget() {
    let space = Space::new([
        Parameter::integer("threads", 1, 6),
        Parameter::integer("bytes", 1, 120),
    ])
    .unwrap();
    let config = StudyConfig {
        sampler: Sampler::Random,
        ..Default::default()
    };
    let budget = Budget {
        threads: 5,
        bytes: 100,
    };
    let counting = Counting::default();
    let trials = Study::new(space, config, budget)
        .workers(8)
        .run(&counting, 300)
        .unwrap();
    let most_threads = counting.most_threads.into_inner();
    assert!(most_threads <= 5, "{most_threads}");
    assert!(counting.most_bytes.into_inner() <= 100);
    assert!(counting.most.into_inner() > 1, "nothing ran side by side");

    // What never fits is refused in words, and only that.
    for trial in trials.records() {
        let of = |name| trial.params.get(name).and_then(Value::as_u64).unwrap();
        let expected = match (of("threads"), of("bytes")) {
            (threads @ 6.., _) => Some(format!("needs {threads} threads, the budget has 5")),
            (_, bytes @ 101..) => {
                Some(format!("needs {bytes} bytes of memory, the budget has 100"))
            }
            _ => None,
        };
        let reason = match &trial.outcome {
            Some(Outcome::Failed { reason }) => Some(reason.clone()),
            _ => None,
        };
        assert_eq!(reason, expected);
    }
    assert!(trials.count("failed") > 20 && trials.count("complete") > 200);
}

#[test]
fn as_many_trials_as_workers_run_side_by_side() {
    let barrier = Barrier::new(3);
    // It would never end if they did not.
    let objective = objective_fn("meet", |_| {
        barrier.wait();
        Ok(0.0)
    });
    let study = Study::new(space(), config(), Budget::threads(3)).workers(3);
    assert_eq!(study.run(&objective, 9).unwrap().count("complete"), 9);
}

fn parameters() -> impl Strategy<Value = Vec<Parameter>> {
    let domain = prop_oneof![
        (-1e6..1e6_f64, 1e-3..1e6_f64).prop_map(|(low, by)| Domain::Uniform {
            low,
            high: low + by
        }),
        (1e-9..1.0_f64, 1.1..1e6_f64).prop_map(|(low, by)| Domain::LogUniform {
            low,
            high: low * by
        }),
        (1..100_i64, 1..1000_i64, 1..50_i64, any::<bool>()).prop_map(|(low, by, step, log)| {
            let high = low + by;
            Domain::Integer {
                low,
                high,
                step,
                log,
            }
        }),
        (1..6_i64).prop_map(|n| Domain::Choice((0..n).map(Value::from).collect())),
    ];
    prop::collection::vec((domain, any::<bool>()), 1..6).prop_map(|domains| {
        let mut parameters = vec![Parameter::choice("first", [true, false])];
        for (i, (domain, depends)) in domains.into_iter().enumerate() {
            let parameter = Parameter::new(format!("p{i}"), domain);
            parameters.push(if depends {
                parameter.when("first", [true])
            } else {
                parameter
            });
        }
        parameters
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_sample_is_in_the_space(parameters in parameters(), seed in any::<u64>(), is_random in any::<bool>()) {
        let space = Space::new(parameters).unwrap();
        let sampler = if is_random {
            Sampler::Random
        } else {
            Sampler::Tpe(TpeConfig { n_startup_trials: 4, ..Default::default() })
        };
        let config = StudyConfig { seed, sampler, ..Default::default() };
        let objective = objective_fn("sum", |trial| {
            Ok(trial.params().iter().filter_map(|(_, value)| value.as_f64()).sum())
        });
        let trials = Study::new(space.clone(), config, Budget::threads(1)).run(&objective, 30).unwrap();
        for trial in trials.records() {
            prop_assert!(space.contains(&trial.params), "{}", trial.params);
            prop_assert_eq!(trial.state(), "complete");
        }
        let back: Space = serde_json::from_str(&serde_json::to_string(&space).unwrap()).unwrap();
        prop_assert_eq!(back.parameters().len(), space.parameters().len());
    }
}
