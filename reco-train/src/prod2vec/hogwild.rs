//! The CPU kernel: all threads write the same tables without locks (Hogwild, arXiv 1106.5730).
//!
//! Each thread takes the next job of about 1,000 words, until the epoch has none left. It draws the whole job
//! first and asks for the rows of a window while it learns the one before. Nothing is allocated on the way.
//!
//! What two threads cost more than one are rows that both write, which go from one core's cache to the other's.
//! Most rows that are written are those of negatives. So the negatives are divided into as many parts as there are
//! threads, and jobs that follow one another, which are learnt at the same time, draw from different ones.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use pulp::{Arch, Simd, WithSimd};

use super::corpus::Corpus;
use super::learner::{Learner, Tables};
use super::plan::Plan;
use super::table::Table;
use super::trainer::FEWEST_TO_SHARE;
use super::weights::Weights;
use super::{Observe, Prod2VecConfig};
use crate::error::{Error, Result};

/// How many windows the rows are asked for ahead: two take longer to be learnt than memory to answer.
const AHEAD: usize = 1;

/// Fits the weights, from what they are at the start.
///
/// # Errors
///
/// [`Error::Threads`] if they cannot be started, and what `observe` says.
pub(super) fn fit(
    corpus: &Corpus,
    config: &Prod2VecConfig,
    threads: NonZeroUsize,
    weights: Weights,
    observe: &mut Observe<'_>,
) -> Result<Weights> {
    let threads = threads.get();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|source| Error::Threads { threads, source })?;
    let n_parts = n_parts(corpus, config, threads);
    let mut tables = [weights.vectors, weights.outputs, weights.nodes]
        .map(|rows| Table::from_rows(&rows, config.vector_size));
    for epoch in 1..=config.epochs {
        let next_job = AtomicUsize::new(0);
        let [input, output, nodes] = tables.each_mut().map(Table::share);
        let tables = Tables {
            input,
            output,
            nodes,
        };
        let done = pool.broadcast(|_| {
            let worker = Worker {
                corpus,
                config,
                epoch,
                next_job: &next_job,
                tables,
                n_parts,
            };
            Arch::new().dispatch(worker)
        });
        let n_examples: u64 = done.iter().map(|(n_examples, _)| n_examples).sum();
        let loss: f64 = done.iter().map(|(_, loss)| loss).sum();
        #[expect(clippy::cast_precision_loss, reason = "a mean")]
        let loss = loss / n_examples.max(1) as f64;
        if observe(epoch, loss)?.is_break() {
            break;
        }
    }
    let [vectors, outputs, nodes] = tables.map(Table::into_rows);
    Ok(Weights {
        vectors,
        outputs,
        nodes,
    })
}

/// Into how many parts the negatives are divided.
///
/// A part has enough items for windows to share, and no item makes more than an eighth of one: its own windows would
/// see few others. More than eight parts are not needed for threads to seldom meet in one.
fn n_parts(corpus: &Corpus, config: &Prod2VecConfig, threads: usize) -> usize {
    const MOST: usize = 8;
    if !config.share_negatives {
        return 1;
    }
    let by_items = corpus.n_items() / FEWEST_TO_SHARE;
    let by_share = (1..=MOST)
        .rev()
        .find(|n| corpus.largest_share() * *n as f64 <= 1.0 / 8.0);
    threads
        .min(MOST)
        .min(by_items)
        .min(by_share.unwrap_or(1))
        .max(1)
}

/// What one thread does in one epoch. It says how many examples there were, and the sum of their losses.
struct Worker<'a> {
    corpus: &'a Corpus,
    config: &'a Prod2VecConfig,
    epoch: u32,
    next_job: &'a AtomicUsize,
    tables: Tables<'a>,
    /// Into how many parts the negatives are divided.
    n_parts: usize,
}

impl WithSimd for Worker<'_> {
    type Output = (u64, f64);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (u64, f64) {
        let Self {
            corpus,
            config,
            epoch,
            next_job,
            tables,
            n_parts,
        } = self;
        let mut own = Table::new(Learner::<S>::N_ROWS, config.vector_size);
        let mut learner = Learner::new(simd, corpus, config, tables, own.share());
        let mut plan = Plan::default();
        while let Some(job) = corpus.jobs().get(next_job.fetch_add(1, Ordering::Relaxed)) {
            let alpha = corpus.alpha(config, epoch, job);
            plan.draw(corpus, job, config, epoch, n_parts);
            for place in 0..plan.len() + AHEAD {
                if let Some(window) = plan.get(place) {
                    learner.prefetch(window, plan.newcomers(place));
                }
                let Some(window) = place.checked_sub(AHEAD).and_then(|place| plan.get(place))
                else {
                    continue;
                };
                if config.sg {
                    learner.skip_gram(window, alpha);
                } else {
                    learner.cbow(window, alpha);
                }
            }
        }
        learner.done()
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use reco_core::{SessionDataset, SessionEncoding, Split};

    use super::super::learner::HIDDEN_AT_ONCE;
    use super::super::logistic::MAX_EXP;
    use super::*;

    /// Two circles of seven items; sessions walk along one of them.
    fn corpus(config: &Prod2VecConfig) -> Corpus {
        let mut builder = SessionDataset::builder(SessionEncoding::default());
        for session in 0..300 {
            for step in 0..(2 + session % 5) {
                let item = (session * 5 + step) % 7 + session % 2 * 7;
                let time = reco_core::Timestamp::UNIX_EPOCH;
                builder
                    .push(&session.to_string(), &item.to_string(), time)
                    .unwrap();
            }
        }
        let data = builder.build().unwrap();
        Corpus::new(&Split::from_parts(data.clone(), data).train, config, None).unwrap()
    }

    fn fit_on(threads: usize, config: &Prod2VecConfig) -> (Vec<f32>, Vec<f64>) {
        let mut losses = Vec::new();
        let mut observe = |_, loss| {
            losses.push(loss);
            Ok(ControlFlow::Continue(()))
        };
        let threads = NonZeroUsize::new(threads).unwrap();
        let corpus = corpus(config);
        let initial = Weights::new(corpus.n_items(), config);
        let weights = fit(&corpus, config, threads, initial, &mut observe).unwrap();
        (weights.vectors, losses)
    }

    /// The same algorithm in plain loops, from the papers' formulas, one example after the other.
    fn reference(config: &Prod2VecConfig) -> (Vec<f32>, Vec<f64>) {
        let corpus = corpus(config);
        let dim = config.vector_size;
        let to_rows =
            |v: Vec<f32>| -> Vec<Vec<f32>> { v.chunks(dim).map(<[f32]>::to_vec).collect() };
        let initial = Weights::new(corpus.n_items(), config);
        let mut input = to_rows(initial.vectors);
        // The outputs of the items, then those of the nodes.
        let mut output = to_rows([initial.outputs, initial.nodes].concat());
        let first_node = if config.negative > 0 {
            corpus.n_items()
        } else {
            0
        };
        let (mut losses, mut plan) = (Vec::new(), Plan::default());
        for epoch in 1..=config.epochs {
            let (mut loss, mut n) = (0.0, 0.0);
            for job in corpus.jobs() {
                let alpha = corpus.alpha(config, epoch, job);
                plan.draw(&corpus, job, config, epoch, 1);
                for place in 0..plan.len() {
                    let window = plan.get(place).unwrap();
                    let near: Vec<u32> = window.iter().collect();
                    // Skip-gram is windows of one item, of which a few are learnt at once if they share
                    // their negatives.
                    let width = if config.sg { 1 } else { near.len() };
                    let shares = config.sg && config.share_negatives;
                    let examples: Vec<&[u32]> = near.chunks(width).collect();
                    let at_once = if shares { HIDDEN_AT_ONCE } else { 1 };
                    for (block, examples) in examples.chunks(at_once).enumerate() {
                        let share = 1.0 / width as f32;
                        let of_word = if config.cbow_mean { share } else { 1.0 };
                        let of_gradient = if config.cbow_mean { 1.0 } else { share };
                        let hidden = |near: &&[u32]| -> Vec<f32> {
                            let sum = |i| near.iter().map(|&w| input[w as usize][i]).sum::<f32>();
                            (0..dim).map(|i| of_word * sum(i)).collect()
                        };
                        let hidden: Vec<Vec<f32>> = examples.iter().map(hidden).collect();
                        let mut gradients = vec![vec![0.0; dim]; hidden.len()];
                        let mut targets = Vec::new();
                        if config.negative > 0 {
                            targets.push((window.word as usize, 1.0));
                            let own = if config.sg && !shares { block } else { 0 };
                            let negatives = &window.negatives[own * config.negative..];
                            let negatives = negatives[..config.negative].iter();
                            let others = negatives.filter(|n| **n != window.word);
                            targets.extend(others.map(|&n| (n as usize, -1.0)));
                        }
                        if let Some(tree) = corpus.tree() {
                            let path = tree.path(window.word).iter();
                            targets.extend(
                                path.map(|turn| (first_node + turn.node as usize, turn.sign)),
                            );
                        }
                        // Six, or two, or one are scored before any of them is changed.
                        let mut rest = &targets[..];
                        while !rest.is_empty() {
                            let n_rows = [6, 2, 1].into_iter().find(|n| *n <= rest.len());
                            let (targets, later) = rest.split_at(n_rows.unwrap());
                            rest = later;
                            let score = |target: usize, hidden: &[f32]| -> f32 {
                                hidden.iter().zip(&output[target]).map(|(h, o)| h * o).sum()
                            };
                            let scores: Vec<Vec<f32>> = targets
                                .iter()
                                .map(|target| hidden.iter().map(|h| score(target.0, h)).collect())
                                .collect();
                            for (&(target, sign), scores) in targets.iter().zip(scores) {
                                let before = output[target].clone();
                                for ((f, hidden), gradient) in
                                    scores.into_iter().zip(&hidden).zip(&mut gradients)
                                {
                                    loss += f64::from((-sign * f).exp().ln_1p());
                                    if f.abs() >= MAX_EXP {
                                        continue;
                                    }
                                    let g = alpha * sign / (1.0 + (sign * f).exp());
                                    for i in 0..dim {
                                        gradient[i] += g * before[i];
                                        output[target][i] += g * hidden[i];
                                    }
                                }
                            }
                        }
                        for (near, gradient) in examples.iter().zip(&gradients) {
                            for &w in *near {
                                let row = input[w as usize].iter_mut().zip(gradient);
                                row.for_each(|(x, g)| *x += of_gradient * g);
                            }
                        }
                        n += examples.len() as f64;
                    }
                }
            }
            losses.push(loss / n);
        }
        (input.concat(), losses)
    }

    fn small() -> Prod2VecConfig {
        Prod2VecConfig {
            vector_size: 11,
            window: 3,
            sample: 0.1,
            alpha: 0.05,
            ..Default::default()
        }
    }

    #[test]
    fn one_thread_does_what_plain_loops_do() {
        let check = |config: Prod2VecConfig| {
            let ((found, losses), (expected, expected_losses)) =
                (fit_on(1, &config), reference(&config));
            let far = |(f, e): &(&f32, &f32)| (**f - **e).abs() > 1e-3 * (1.0 + e.abs());
            assert_eq!(found.iter().zip(&expected).find(far), None, "{config:?}");
            let far = losses
                .iter()
                .zip(&expected_losses)
                .find(|(f, e)| (**f - **e).abs() > 0.02);
            assert_eq!(far, None, "{config:?}");
            // Not from each epoch to the next: what is drawn is too little.
            assert!(losses[4] < losses[0], "the loss falls: {losses:?}");
        };
        check(small());
        check(Prod2VecConfig {
            sample: 0.0,
            shrink_windows: false,
            ..small()
        });
        check(Prod2VecConfig {
            share_negatives: false,
            ..small()
        });
        check(Prod2VecConfig {
            sg: false,
            ..small()
        });
        check(Prod2VecConfig {
            sg: false,
            hs: true,
            ..small()
        });
        check(Prod2VecConfig {
            sg: false,
            hs: true,
            negative: 0,
            ..small()
        });
        check(Prod2VecConfig {
            share_negatives: false,
            hs: true,
            negative: 0,
            ..small()
        });
        check(Prod2VecConfig {
            sg: false,
            cbow_mean: false,
            ..small()
        });
    }

    #[test]
    fn one_thread_gives_the_same_bits_and_two_learn_as_well() {
        let (vectors, losses) = fit_on(1, &small());
        assert_eq!(
            (&vectors, &losses),
            (&fit_on(1, &small()).0, &fit_on(1, &small()).1)
        );
        let other_seed = Prod2VecConfig { seed: 2, ..small() };
        assert_ne!(vectors, fit_on(1, &other_seed).0);
        let (_, on_two) = fit_on(2, &small());
        assert!(
            on_two
                .iter()
                .zip(&losses)
                .all(|(a, b)| (a - b).abs() < 0.05),
            "{on_two:?} {losses:?}"
        );
    }

    #[test]
    fn the_observer_can_stop_after_an_epoch() {
        let config = small();
        let mut epochs = 0;
        let mut observe = |epoch, _| {
            epochs = epoch;
            Ok(if epoch == 2 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        };
        let corpus = corpus(&config);
        let initial = Weights::new(corpus.n_items(), &config);
        fit(&corpus, &config, NonZeroUsize::MIN, initial, &mut observe).unwrap();
        assert_eq!(epochs, 2);
    }
}
