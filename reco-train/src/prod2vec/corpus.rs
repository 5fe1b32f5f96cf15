//! The sessions as both engines go through them: what is kept, in which order, and what is drawn.

use std::ops::Range;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use reco_core::{ItemId, ItemIdx, SessionEncoder, TrainSet, Vocabulary};

use super::huffman::HuffmanTree;
use super::{KIND, Prod2VecConfig};
use crate::error::{Error, Result};
use crate::sampling::{NegativeSampler, Negatives};

/// How many words share a learning rate and a generator. gensim's `batch_words` is 10,000; fewer let a small
/// data set be divided among threads evenly.
const WORDS_PER_JOB: usize = 1_000;

/// The sessions in the model's own vocabulary. An interaction is a word.
#[derive(Debug)]
pub(super) struct Corpus {
    sessions: Sessions,
    encoder: SessionEncoder,
    n_words: usize,
    /// An item stays in its place if 32 random bits are at most this; empty if all stay.
    keep: Vec<u32>,
    sampler: NegativeSampler,
    /// The codes of hierarchical softmax, if there is one.
    tree: Option<HuffmanTree>,
    jobs: Vec<Job>,
}

/// The sessions, of which no copy is made.
#[derive(Debug)]
struct Sessions {
    train: TrainSet,
    /// The position of each item of the training set in the vocabulary, if it is there; empty if they are the same.
    positions: Vec<Option<ItemIdx>>,
}

/// Sessions that share a learning rate and a generator, so that what is drawn does not depend on which
/// thread takes them.
#[derive(Debug)]
pub(super) struct Job {
    sessions: Range<usize>,
    n_words_before: usize,
    idx: usize,
}

impl Corpus {
    /// Drops the items below `min_count` and encodes the sessions with what is left. Items of an earlier
    /// vocabulary stay, be they below it or not there at all.
    pub(super) fn new(
        train: &TrainSet,
        config: &Prod2VecConfig,
        earlier: Option<&Vocabulary>,
    ) -> Result<Self> {
        let all = train.vocabulary();
        let earlier: &[ItemId] = earlier.map_or(&[], Vocabulary::items);
        let counts = all.items().iter().zip(all.counts());
        let kept = counts.filter(|(item, count)| {
            **count >= config.min_count || earlier.binary_search(item).is_ok()
        });
        let kept = kept.map(|(item, &count)| (item.clone(), count));
        // Counts of an item are added up.
        let earlier = earlier.iter().map(|item| (item.clone(), 0));
        let vocabulary = Vocabulary::from_counts(kept.chain(earlier))?;
        let encoder = SessionEncoder::new(train.encoder().encoding(), Arc::new(vocabulary))?;
        let own = encoder.vocabulary();
        let positions = if own.items() == all.items() {
            Vec::new()
        } else {
            let items = all.items().iter();
            items.map(|item| own.idx(item.as_str())).collect()
        };
        let sessions = Sessions {
            train: train.clone(),
            positions,
        };
        let (jobs, n_words) = sessions.jobs().ok_or_else(|| {
            let min_count = config.min_count;
            let reason = format!("no session has two items of a count of {min_count} or more");
            Error::NothingToLearn {
                model: KIND,
                reason,
            }
        })?;
        let counts = encoder.vocabulary().counts();
        let keep = keep_thresholds(counts, config.sample);
        let sampler = NegativeSampler::new(counts, config.ns_exponent)?;
        let tree = config.hs.then(|| HuffmanTree::new(counts));
        Ok(Self {
            sessions,
            encoder,
            n_words,
            keep,
            sampler,
            tree,
            jobs,
        })
    }

    pub(super) fn n_items(&self) -> usize {
        self.encoder.vocabulary().len()
    }

    pub(super) const fn n_words(&self) -> usize {
        self.n_words
    }

    pub(super) fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// How much of the negatives are the item that is drawn most often.
    pub(super) fn largest_share(&self) -> f64 {
        self.sampler.largest_share()
    }

    /// What a job of an epoch draws its negatives from: one of so many parts of them. The jobs next to each other
    /// draw from different parts, and each from another in the next epoch.
    pub(super) fn negatives(&self, job: &Job, epoch: u32, n_parts: usize) -> Negatives<'_> {
        let turn = job.idx + epoch as usize;
        self.sampler.part(turn % n_parts, n_parts)
    }

    #[inline(always)]
    pub(super) const fn tree(&self) -> Option<&HuffmanTree> {
        self.tree.as_ref()
    }

    pub(super) fn vocabulary(&self) -> &Vocabulary {
        self.encoder.vocabulary()
    }

    pub(super) fn into_encoder(self) -> SessionEncoder {
        self.encoder
    }

    /// The learning rate of a job of an epoch, from 1.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share of the work, not a count"
    )]
    pub(super) fn alpha(&self, config: &Prod2VecConfig, epoch: u32, job: &Job) -> f32 {
        let within = job.n_words_before as f64 / self.n_words as f64;
        config.alpha_at((f64::from(epoch - 1) + within) / f64::from(config.epochs))
    }

    /// Adds the words of a session that subsampling keeps.
    pub(super) fn extend_words(
        &self,
        session: usize,
        rng: &mut Xoshiro256PlusPlus,
        words: &mut Vec<u32>,
    ) {
        self.sessions.words(session, |word| {
            if self.keep.is_empty() || self.keep[word as usize] >= rng.next_u32() {
                words.push(word);
            }
        });
    }
}

impl Sessions {
    /// The words of a session.
    fn words(&self, session: usize, each: impl FnMut(u32)) {
        let items = self.train.session(session).iter();
        if self.positions.is_empty() {
            items.map(|item| item.0).for_each(each);
        } else {
            let positions = items.map(|item| self.positions[item.get()]);
            let encoding = self.train.encoder().encoding();
            let words = encoding.apply(positions);
            words.map(|(_, word)| word.0).for_each(each);
        }
    }

    /// The jobs, and how many words they have; none if no session has two words, without which nothing can be
    /// learnt.
    fn jobs(&self) -> Option<(Vec<Job>, usize)> {
        let (mut jobs, mut first, mut n_words_before) = (Vec::new(), 0, 0);
        let (mut n_words, mut has_pair) = (0, false);
        let n_sessions = self.train.n_sessions();
        for session in 0..n_sessions {
            let before = n_words;
            self.words(session, |_| n_words += 1);
            has_pair |= n_words - before >= 2;
            let end = session + 1;
            if n_words - n_words_before >= WORDS_PER_JOB || end == n_sessions {
                jobs.push(Job {
                    sessions: first..end,
                    n_words_before,
                    idx: jobs.len(),
                });
                (first, n_words_before) = (end, n_words);
            }
        }
        has_pair.then_some((jobs, n_words))
    }
}

impl Job {
    /// The sessions, by position.
    pub(super) fn sessions(&self) -> Range<usize> {
        self.sessions.clone()
    }

    /// The generator of the job in an epoch: the same whatever the engine and the thread.
    pub(super) fn generator(&self, seed: u64, epoch: u32) -> Xoshiro256PlusPlus {
        // Odd factors, so that no two of the first 2³² jobs and epochs share a state.
        let epoch = u64::from(epoch).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let job = (self.idx as u64 + 1).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Xoshiro256PlusPlus::seed_from_u64(seed ^ epoch.rotate_left(17) ^ job)
    }
}

/// word2vec's subsampling: an item of count `n` stays with probability `(√(n / t) + 1) · t / n`, where
/// `t` is `sample` of all words.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a probability as a part of 2³²; the cast saturates"
)]
fn keep_thresholds(counts: &[u64], sample: f64) -> Vec<u32> {
    let total: u64 = counts.iter().sum();
    let threshold = if sample < 1.0 {
        sample * total as f64
    } else {
        (sample * (3.0 + 5.0_f64.sqrt()) / 2.0).floor()
    };
    let probability = |&count: &u64| {
        let count = count as f64;
        ((count / threshold).sqrt() + 1.0) * threshold / count
    };
    if threshold == 0.0 || counts.iter().all(|count| probability(count) >= 1.0) {
        return Vec::new();
    }
    counts
        .iter()
        .map(|count| (probability(count) * f64::from(u32::MAX)) as u32)
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use reco_core::{SessionDataset, SessionEncoding, Split};

    use super::*;

    pub(in super::super) fn corpus(sessions: &[&str], config: &Prod2VecConfig) -> Result<Corpus> {
        let mut builder = SessionDataset::builder(SessionEncoding::default());
        for (session, items) in sessions.iter().enumerate() {
            for item in items.split_whitespace() {
                builder
                    .push(&session.to_string(), item, reco_core::Timestamp::UNIX_EPOCH)
                    .unwrap();
            }
        }
        let data = builder.build().unwrap();
        Corpus::new(&Split::from_parts(data.clone(), data).train, config, None)
    }

    #[test]
    fn subsampling_worked_by_hand() {
        // t = 0.1 · 100; (√(90 / 10) + 1) · 10 / 90 = 4 / 9, and the rare item stays.
        let keep = keep_thresholds(&[90, 10], 0.1);
        let share = |keep: u32| f64::from(keep) / f64::from(u32::MAX);
        assert!((share(keep[0]) - 4.0 / 9.0).abs() < 1e-9);
        assert_eq!(keep[1], u32::MAX);
        assert!(keep_thresholds(&[90, 10], 0.0).is_empty());
        // gensim's short form: items above the count itself are thinned out.
        let keep = keep_thresholds(&[1000, 100], 100.0);
        assert!(keep[0] < u32::MAX);
        assert_eq!(keep[1], u32::MAX);
    }

    #[test]
    fn jobs_cover_each_session_once_in_order() {
        let sessions = vec!["a b c d e f g h i j"; 250];
        let corpus = corpus(&sessions, &Prod2VecConfig::default()).unwrap();
        let jobs: Vec<_> = corpus.jobs.iter().map(|job| job.sessions.clone()).collect();
        assert_eq!(jobs, [0..100, 100..200, 200..250]);
        assert_eq!(corpus.jobs[2].n_words_before, 2_000);
        assert_eq!(corpus.n_words(), 2_500);
    }

    #[test]
    fn sessions_are_encoded_again_without_rare_items() {
        let config = Prod2VecConfig {
            min_count: 2,
            sample: 0.0,
            ..Default::default()
        };
        let corpus = corpus(&["b x c", "y", "c b"], &config).unwrap();
        let mut words = Vec::new();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        (0..3).for_each(|session| corpus.extend_words(session, &mut rng, &mut words));
        assert_eq!(words, [0, 1, 1, 0]);
        assert_eq!(corpus.n_words(), 4);
    }
}
