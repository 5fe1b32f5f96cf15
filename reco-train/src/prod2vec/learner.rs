//! [`Learner`]: hidden layers against outputs, many pairs at once.

use pulp::Simd;

use super::Prod2VecConfig;
use super::corpus::Corpus;
use super::logistic::{AT_ONCE, Logistic};
use super::plan::Window;
use super::table::{Shared, SharedRow, dots, step};

/// The tables that all threads share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables<'a> {
    pub(super) input: Shared<'a>,
    /// The outputs of negative sampling; empty without negatives.
    pub(super) output: Shared<'a>,
    /// The outputs of the tree's inner nodes; empty without hierarchical softmax.
    pub(super) nodes: Shared<'a>,
}

/// The hidden layers that are learnt at once, at most: skip-gram takes the words of a window together.
pub(super) const HIDDEN_AT_ONCE: usize = 4;

/// What one thread learns with: the tables, and rows of its own.
///
/// The words of a window are hidden layers of skip-gram that have the word in their middle, and usually its
/// negatives, in common (`[c]` of them, `[n]` outputs). They are learnt together, as in pWord2Vec (Ji et al.,
/// arXiv 1604.04661): an output is read and written once for all of them, and all of them see it as it was.
#[derive(Debug)]
pub(super) struct Learner<'a, S: Simd> {
    simd: S,
    corpus: &'a Corpus,
    config: &'a Prod2VecConfig,
    tables: Tables<'a>,
    /// The hidden layer of CBOW.
    mean: SharedRow<'a>,
    /// What each hidden layer has to learn.
    gradients: [SharedRow<'a>; HIDDEN_AT_ONCE],
    near: Vec<SharedRow<'a>>,
    rows: Vec<SharedRow<'a>>,
    /// 1 for an output that belongs to the word, -1 for one that does not.
    signs: Vec<f32>,
    logistic: Logistic<S>,
    n_examples: u64,
}

// Loops instead of closures, and everything inlined: what is not is not compiled for the vectors of `S`.
impl<'a, S: Simd> Learner<'a, S> {
    /// How many rows of its own it needs.
    pub(super) const N_ROWS: usize = 1 + HIDDEN_AT_ONCE;

    #[inline(always)]
    pub(super) fn new(
        simd: S,
        corpus: &'a Corpus,
        config: &'a Prod2VecConfig,
        tables: Tables<'a>,
        own: Shared<'a>,
    ) -> Self {
        Self {
            simd,
            corpus,
            config,
            tables,
            mean: own.row(0),
            gradients: [own.row(1), own.row(2), own.row(3), own.row(4)],
            near: Vec::new(),
            rows: Vec::new(),
            signs: Vec::new(),
            logistic: Logistic::new(simd),
            n_examples: 0,
        }
    }

    /// How many examples there were, and the sum of their losses.
    #[inline(always)]
    pub(super) fn done(mut self) -> (u64, f64) {
        (self.n_examples, self.logistic.loss())
    }

    /// Asks for the rows of a window: those of its outputs, and of words that were not asked for before.
    #[inline(always)]
    pub(super) fn prefetch(&self, window: Window<'_>, near: impl Iterator<Item = u32>) {
        for near in near {
            self.tables.input.row(near).prefetch();
        }
        if self.config.negative > 0 {
            self.tables.output.row(window.word).prefetch();
            for &negative in window.negatives {
                self.tables.output.row(negative).prefetch();
            }
        }
        if let Some(tree) = self.corpus.tree() {
            for turn in tree.path(window.word) {
                self.tables.nodes.row(turn.node).prefetch();
            }
        }
    }

    /// Each word of a window against the word in its middle.
    #[inline(always)]
    pub(super) fn skip_gram(&mut self, window: Window<'_>, alpha: f32) {
        self.near.clear();
        for near in window.iter() {
            self.near.push(self.tables.input.row(near));
        }
        let n_near = self.near.len();
        self.n_examples += n_near as u64;
        if !self.config.share_negatives {
            for n in 0..n_near {
                let negatives = &window.negatives[n * self.config.negative..];
                self.set_outputs(window.word, &negatives[..self.config.negative]);
                self.learn_inputs::<1>(n, alpha);
            }
            return;
        }
        self.set_outputs(window.word, window.negatives);
        let mut first = 0;
        while first + HIDDEN_AT_ONCE <= n_near {
            self.learn_inputs::<HIDDEN_AT_ONCE>(first, alpha);
            first += HIDDEN_AT_ONCE;
        }
        match n_near - first {
            0 => (),
            1 => self.learn_inputs::<1>(first, alpha),
            2 => self.learn_inputs::<2>(first, alpha),
            _ => self.learn_inputs::<3>(first, alpha),
        }
    }

    /// The mean, or the sum, of a window's words against the word in its middle.
    #[inline(always)]
    pub(super) fn cbow(&mut self, window: Window<'_>, alpha: f32) {
        let (of_word, of_gradient) = self.config.window_weights(window.len());
        self.mean.clear(self.simd);
        for near in window.iter() {
            self.mean
                .add(self.simd, of_word, self.tables.input.row(near));
        }
        self.n_examples += 1;
        self.set_outputs(window.word, window.negatives);
        self.learn([self.mean], alpha);
        for near in window.iter() {
            let input = self.tables.input.row(near);
            input.add(self.simd, of_gradient, self.gradients[0]);
        }
    }

    /// The outputs of a word: its own and those of its negatives, and the nodes of the tree on the way to it. A
    /// negative that is the word itself is skipped, as in gensim.
    #[inline(always)]
    fn set_outputs(&mut self, word: u32, negatives: &[u32]) {
        self.rows.clear();
        self.signs.clear();
        if self.config.negative > 0 {
            self.rows.push(self.tables.output.row(word));
            self.signs.push(1.0);
            for &negative in negatives {
                if negative != word {
                    self.rows.push(self.tables.output.row(negative));
                    self.signs.push(-1.0);
                }
            }
        }
        if let Some(tree) = self.corpus.tree() {
            for turn in tree.path(word) {
                self.rows.push(self.tables.nodes.row(turn.node));
                self.signs.push(turn.sign);
            }
        }
    }

    /// Learns `C` of the near rows, from the first on.
    #[inline(always)]
    fn learn_inputs<const C: usize>(&mut self, first: usize, alpha: f32) {
        let mut inputs = [self.near[first]; C];
        inputs.copy_from_slice(&self.near[first..first + C]);
        self.learn(inputs, alpha);
        for (input, gradient) in inputs.into_iter().zip(self.gradients) {
            input.add(self.simd, 1.0, gradient);
        }
    }

    /// Hidden layers against the outputs that are set, which learn at once; what the hidden layers have to learn
    /// is in the gradients then.
    #[inline(always)]
    fn learn<const C: usize>(&mut self, hidden: [SharedRow<'a>; C], alpha: f32) {
        for c in 0..C {
            self.gradients[c].clear(self.simd);
        }
        let n_rows = self.rows.len();
        let mut first = 0;
        // Six are a word and five negatives, the default.
        while first + 6 <= n_rows {
            self.learn_block::<C, 6>(hidden, first, alpha);
            first += 6;
        }
        while first + 2 <= n_rows {
            self.learn_block::<C, 2>(hidden, first, alpha);
            first += 2;
        }
        if first < n_rows {
            self.learn_block::<C, 1>(hidden, first, alpha);
        }
    }

    /// Hidden layers against `N` of the outputs, from the first on: all pairs are scored before any is changed.
    #[inline(always)]
    fn learn_block<const C: usize, const N: usize>(
        &mut self,
        hidden: [SharedRow<'a>; C],
        first: usize,
        alpha: f32,
    ) {
        const { assert!(C * N <= AT_ONCE, "pairs have a lane each") };
        let mut rows = [self.rows[first]; N];
        let mut signs = [0.0; AT_ONCE];
        for n in 0..N {
            rows[n] = self.rows[first + n];
            for c in 0..C {
                signs[c * N + n] = self.signs[first + n];
            }
        }
        let scores = dots(self.simd, hidden, rows);
        let mut steps = [0.0; AT_ONCE];
        for c in 0..C {
            steps[c * N..][..N].copy_from_slice(&scores[c]);
        }
        let used = (C * N).next_multiple_of(S::F32_LANES);
        self.logistic
            .steps(&mut steps[..used], &signs[..used], alpha);
        let mut scales = [[0.0; N]; C];
        for c in 0..C {
            scales[c].copy_from_slice(&steps[c * N..][..N]);
        }
        let mut gradients = [self.gradients[0]; C];
        gradients.copy_from_slice(&self.gradients[..C]);
        step(self.simd, &scales, hidden, rows, gradients);
    }
}
