//! The CPU kernel: all threads write the same tables without locks (Hogwild, arXiv 1106.5730).
//!
//! Each thread takes the next job of about 10,000 words, until the epoch has none left. Nothing is allocated
//! on the way. An input is learnt against its item and the negatives side by side: all of them (six at a time, if
//! there are more) are scored before any is changed.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use pulp::{Arch, Simd, WithSimd};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::corpus::{Corpus, Window, initial_vectors};
use super::table::{Shared, SharedRow, Table, dots, step};
use super::{Observe, Prod2VecConfig};
use crate::error::{Error, Result};
use crate::sampling::NegativeSampler;

/// Fits the vectors `[n_items, vector_size]`.
///
/// # Errors
///
/// [`Error::Threads`] if they cannot be started, and what `observe` says.
pub(super) fn fit(
    corpus: &Corpus,
    config: &Prod2VecConfig,
    threads: NonZeroUsize,
    observe: &mut Observe<'_>,
) -> Result<Vec<f32>> {
    let threads = threads.get();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|source| Error::Threads { threads, source })?;
    let (n_items, dim) = (corpus.n_items(), config.vector_size);
    let mut input = Table::from_rows(&initial_vectors(n_items, config), dim);
    let mut output = Table::new(n_items, dim);
    let sigmoid = Sigmoid::new();
    for epoch in 1..=config.epochs {
        let next_job = AtomicUsize::new(0);
        let (input, output) = (input.share(), output.share());
        let done = pool.broadcast(|_| {
            let worker = Worker {
                corpus,
                config,
                epoch,
                next_job: &next_job,
                input,
                output,
                sigmoid: &sigmoid,
            };
            Arch::new().dispatch(worker)
        });
        let loss: f64 = done.iter().map(|done| done.loss).sum();
        let n_examples: u64 = done.iter().map(|done| done.n_examples).sum();
        #[expect(clippy::cast_precision_loss, reason = "a mean")]
        let loss = loss / n_examples.max(1) as f64;
        if observe(epoch, loss)?.is_break() {
            break;
        }
    }
    Ok(input.into_rows())
}

/// How much was learnt, and how badly.
#[derive(Debug, Clone, Copy, Default)]
struct Done {
    n_examples: u64,
    loss: f64,
}

/// What one thread does in one epoch.
struct Worker<'a> {
    corpus: &'a Corpus,
    config: &'a Prod2VecConfig,
    epoch: u32,
    next_job: &'a AtomicUsize,
    input: Shared<'a>,
    output: Shared<'a>,
    sigmoid: &'a Sigmoid,
}

// Loops instead of closures: what is not inlined here is not compiled for the vectors of `S`.
impl WithSimd for Worker<'_> {
    type Output = Done;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Done {
        let Self {
            corpus,
            config,
            epoch,
            next_job,
            input,
            output,
            sigmoid,
        } = self;
        let mut own = Table::new(2, config.vector_size);
        let own = own.share();
        let (mean, gradient) = (own.row(0), own.row(1));
        let mut buffer = corpus.buffer();
        let targets = vec![0_u32; 1 + config.negative];
        let sampler = corpus.sampler();
        let done = Done::default();
        let mut learner = Learner {
            simd,
            output,
            sigmoid,
            sampler,
            gradient,
            targets,
            done,
        };
        while let Some(job) = corpus.jobs().get(next_job.fetch_add(1, Ordering::Relaxed)) {
            let alpha = corpus.alpha(config, epoch, job);
            let mut rng = job.generator(config.seed, epoch);
            for session in job.sessions() {
                let words = corpus.words(session, &mut rng, &mut buffer);
                for (place, &word) in words.iter().enumerate() {
                    let window = Window::draw(words, place, config, &mut rng);
                    for near in window.iter() {
                        input.row(near).prefetch();
                    }
                    if config.sg {
                        for near in window.iter() {
                            let near = input.row(near);
                            learner.learn(word, near, alpha, &mut rng);
                            near.add(simd, 1.0, gradient);
                        }
                    } else if window.len() > 0 {
                        let (of_word, of_gradient) = config.window_weights(window.len());
                        mean.clear(simd);
                        for near in window.iter() {
                            mean.add(simd, of_word, input.row(near));
                        }
                        learner.learn(word, mean, alpha, &mut rng);
                        for near in window.iter() {
                            input.row(near).add(simd, of_gradient, gradient);
                        }
                    }
                }
            }
        }
        learner.done
    }
}

/// Learns examples, and holds what that needs besides the tables.
struct Learner<'a, S> {
    simd: S,
    output: Shared<'a>,
    sigmoid: &'a Sigmoid,
    sampler: &'a NegativeSampler,
    /// What the hidden layer of the last example has to learn.
    gradient: SharedRow<'a>,
    /// The word itself, then its negatives.
    targets: Vec<u32>,
    done: Done,
}

impl<S: Simd> Learner<'_, S> {
    /// A hidden layer against a word and fresh negatives.
    #[inline(always)]
    fn learn(
        &mut self,
        word: u32,
        hidden: SharedRow<'_>,
        alpha: f32,
        rng: &mut Xoshiro256PlusPlus,
    ) {
        self.targets[0] = word;
        for target in &mut self.targets[1..] {
            *target = self.sampler.draw(rng);
        }
        for &target in &self.targets {
            self.output.row(target).prefetch();
        }
        self.gradient.clear(self.simd);
        self.done.n_examples += 1;
        // Six targets are five negatives, the default.
        let (sixes, rest) = self.targets.as_chunks::<6>();
        let (pairs, rest) = rest.as_chunks::<2>();
        let mut place = 0;
        for targets in sixes {
            self.done.loss += self.step(*targets, place, hidden, alpha);
            place += targets.len();
        }
        for targets in pairs {
            self.done.loss += self.step(*targets, place, hidden, alpha);
            place += targets.len();
        }
        for &target in rest {
            self.done.loss += self.step([target], place, hidden, alpha);
        }
    }

    /// A hidden layer against the targets from a place on; its loss.
    #[inline(always)]
    fn step<const N: usize>(
        &self,
        targets: [u32; N],
        place: usize,
        hidden: SharedRow<'_>,
        alpha: f32,
    ) -> f64 {
        let mut rows = [self.output.row(targets[0]); N];
        for (row, target) in rows.iter_mut().zip(targets) {
            *row = self.output.row(target);
        }
        let scores = dots(self.simd, rows, hidden);
        let mut scales = [0.0; N];
        let mut loss = 0.0;
        for n in 0..N {
            let is_word = place + n == 0;
            if targets[n] == self.targets[0] && !is_word {
                continue;
            }
            let f = scores[n];
            loss += f64::from(self.sigmoid.loss(if is_word { f } else { -f }));
            if let Some(probability) = self.sigmoid.of(f) {
                let label = if is_word { 1.0 } else { 0.0 };
                scales[n] = (label - probability) * alpha;
            }
        }
        step(self.simd, scales, rows, hidden, self.gradient);
        loss
    }
}

/// gensim's table of the logistic function: 1000 values over ±6.
#[derive(Debug)]
struct Sigmoid {
    probability: Vec<f32>,
    loss: Vec<f32>,
}

impl Sigmoid {
    const MAX: f32 = 6.0;
    const N: u16 = 1000;

    fn new() -> Self {
        let x = |i: u16| (f32::from(i) / f32::from(Self::N) * 2.0 - 1.0) * Self::MAX;
        let probability: Vec<f32> = (0..Self::N).map(|i| 1.0 / (1.0 + (-x(i)).exp())).collect();
        let loss = probability.iter().map(|p| -p.ln()).collect();
        Self { probability, loss }
    }

    /// `1 / (1 + e^-f)`; none where the table ends, and nothing is learnt.
    #[inline(always)]
    fn of(&self, f: f32) -> Option<f32> {
        (f.abs() < Self::MAX).then(|| self.probability[Self::index(f)])
    }

    /// `-ln` of it; its asymptotes where the table ends, and NaN for NaN.
    #[inline(always)]
    fn loss(&self, f: f32) -> f32 {
        if f.abs() < Self::MAX {
            self.loss[Self::index(f)]
        } else if f > 0.0 {
            0.0
        } else {
            -f
        }
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the caller checked that f is within the table"
    )]
    fn index(f: f32) -> usize {
        let place = (f + Self::MAX) * (f32::from(Self::N) / Self::MAX / 2.0);
        (place as usize).min(usize::from(Self::N) - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use reco_core::{SessionDataset, SessionEncoding, Split};

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
        Corpus::new(&Split::from_parts(data.clone(), data).train, config).unwrap()
    }

    fn fit_on(threads: usize, config: &Prod2VecConfig) -> (Vec<f32>, Vec<f64>) {
        let mut losses = Vec::new();
        let mut observe = |_, loss| {
            losses.push(loss);
            Ok(ControlFlow::Continue(()))
        };
        let threads = NonZeroUsize::new(threads).unwrap();
        let vectors = fit(&corpus(config), config, threads, &mut observe).unwrap();
        (vectors, losses)
    }

    /// The same algorithm in plain loops, from the papers' formulas; the logistic function is exact.
    fn reference(config: &Prod2VecConfig) -> (Vec<f32>, Vec<f64>) {
        let corpus = corpus(config);
        let dim = config.vector_size;
        let to_rows =
            |v: Vec<f32>| -> Vec<Vec<f32>> { v.chunks(dim).map(<[f32]>::to_vec).collect() };
        let mut input = to_rows(initial_vectors(corpus.n_items(), config));
        let mut output = vec![vec![0.0_f32; dim]; corpus.n_items()];
        let mut losses = Vec::new();
        for epoch in 1..=config.epochs {
            let (mut loss, mut n) = (0.0, 0.0);
            for job in corpus.jobs() {
                let alpha = corpus.alpha(config, epoch, job);
                let mut rng = job.generator(config.seed, epoch);
                for session in job.sessions() {
                    let mut buffer = corpus.buffer();
                    let words = corpus.words(session, &mut rng, &mut buffer);
                    for (place, &word) in words.iter().enumerate() {
                        let window: Vec<u32> = Window::draw(words, place, config, &mut rng)
                            .iter()
                            .collect();
                        // Skip-gram is a window of one item at a time.
                        let width = if config.sg { 1 } else { window.len().max(1) };
                        for window in window.chunks(width) {
                            let share = 1.0 / width as f32;
                            let of_word = if config.cbow_mean { share } else { 1.0 };
                            let of_gradient = if config.cbow_mean { 1.0 } else { share };
                            let sum = |i| window.iter().map(|&w| input[w as usize][i]).sum::<f32>();
                            let hidden: Vec<f32> = (0..dim).map(|i| of_word * sum(i)).collect();
                            let mut gradient = vec![0.0; dim];
                            let mut targets = vec![word; 1 + config.negative];
                            corpus.sampler().fill(&mut rng, &mut targets[1..]);
                            let score = |&target: &u32| -> f32 {
                                let row = &output[target as usize];
                                hidden.iter().zip(row).map(|(h, o)| h * o).sum()
                            };
                            let scores: Vec<f32> = targets.iter().map(score).collect();
                            for (place, (&target, f)) in targets.iter().zip(scores).enumerate() {
                                if place > 0 && target == word {
                                    continue;
                                }
                                let sign = if place == 0 { 1.0 } else { -1.0 };
                                loss += f64::from((-sign * f).exp().ln_1p());
                                let g = alpha * sign / (1.0 + (sign * f).exp());
                                let row = &mut output[target as usize];
                                for i in 0..dim {
                                    gradient[i] += g * row[i];
                                    row[i] += g * hidden[i];
                                }
                            }
                            for &w in window {
                                let row = input[w as usize].iter_mut().zip(&gradient);
                                row.for_each(|(x, g)| *x += of_gradient * g);
                            }
                            n += 1.0;
                        }
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
            // The table takes the logistic function at the lower end of each of its steps, which is up to
            // 0.003 off and draws all values up a little.
            let near = |(f, e): &(&f32, &f32)| (**f - **e).abs() > 0.03 + 0.03 * e.abs();
            assert_eq!(found.iter().zip(&expected).find(near), None, "{config:?}");
            let far = losses
                .iter()
                .zip(&expected_losses)
                .find(|(f, e)| (**f - **e).abs() > 0.02);
            assert_eq!(far, None, "{config:?}");
            assert!(
                losses.is_sorted_by(|a, b| a > b),
                "the loss falls: {losses:?}"
            );
        };
        check(small());
        check(Prod2VecConfig {
            sample: 0.0,
            shrink_windows: false,
            ..small()
        });
        check(Prod2VecConfig {
            sg: false,
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
        fit(&corpus(&config), &config, NonZeroUsize::MIN, &mut observe).unwrap();
        assert_eq!(epochs, 2);
    }

    #[test]
    fn the_table_is_near_the_logistic_function() {
        let sigmoid = Sigmoid::new();
        for f in [-5.99_f32, -1.0, 0.0, 0.5, 5.99] {
            let exact = 1.0 / (1.0 + (-f).exp());
            assert!((sigmoid.of(f).unwrap() - exact).abs() < 0.004, "{f}");
            assert!((sigmoid.loss(f) + exact.ln()).abs() < 0.02, "{f}");
        }
        assert_eq!(
            [sigmoid.of(6.0), sigmoid.of(-6.0), sigmoid.of(f32::NAN)],
            [None; 3]
        );
        assert_eq!(
            [sigmoid.loss(7.0), sigmoid.loss(-7.0)].map(f32::to_bits),
            [0.0_f32, 7.0].map(f32::to_bits)
        );
        assert!(sigmoid.loss(f32::NAN).is_nan());
    }
}
