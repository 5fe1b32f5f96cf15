//! [`Plan`]: what a job learns, drawn before anything is learnt.
//!
//! Both engines go through the same plans, but that several threads divide the negatives. The CPU kernel looks ahead in them, to have rows brought into the
//! cache before it needs them.

use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::Prod2VecConfig;
use super::corpus::{Corpus, Job};
use crate::sampling::Negatives;

/// The windows of a job and their negatives. It is filled again for each job, so that nothing is allocated on
/// the way.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What subsampling kept of the job's sessions.
    words: Vec<u32>,
    places: Vec<Place>,
    negatives: Vec<u32>,
}

/// A place that has others in its window: positions in the words, and the first of its negatives.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: u32,
    middle: u32,
    end: u32,
    negatives: usize,
}

/// A word, the words near it, and what is drawn against it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Window<'a> {
    /// The word in the middle.
    pub(super) word: u32,
    before: &'a [u32],
    after: &'a [u32],
    /// The negatives: those of the whole window, or, if they are not shared, those of each word near it.
    pub(super) negatives: &'a [u32],
}

impl Plan {
    /// Draws a job of an epoch: for each session what is kept of it, then for each place the width of its
    /// window and its negatives.
    ///
    /// `n_parts` is into how many parts the negatives are divided; a job draws from one of them.
    pub(super) fn draw(
        &mut self,
        corpus: &Corpus,
        job: &Job,
        config: &Prod2VecConfig,
        epoch: u32,
        n_parts: usize,
    ) {
        let from = corpus.negatives(job, epoch, n_parts);
        let mut rng = job.generator(config.seed, epoch);
        self.words.clear();
        self.places.clear();
        self.negatives.clear();
        for session in job.sessions() {
            let first = self.words.len();
            corpus.extend_words(session, &mut rng, &mut self.words);
            for middle in first..self.words.len() {
                self.draw_window(from, first, middle, config, &mut rng);
            }
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a job has less than 2³² words, as positions in a session are below that"
    )]
    fn draw_window(
        &mut self,
        from: Negatives<'_>,
        first: usize,
        middle: usize,
        config: &Prod2VecConfig,
        rng: &mut Xoshiro256PlusPlus,
    ) {
        let width = if config.shrink_windows {
            1 + ((u64::from(rng.next_u32()) * u64::from(config.window)) >> 32) as usize
        } else {
            config.window as usize
        };
        let start = middle.saturating_sub(width).max(first);
        let end = (middle + 1 + width).min(self.words.len());
        let n_near = end - start - 1;
        if n_near == 0 {
            return;
        }
        let negatives = self.negatives.len();
        let draws_of = if config.sg && !config.share_negatives {
            n_near
        } else {
            1
        };
        self.negatives
            .resize(negatives + draws_of * config.negative, 0);
        from.fill(rng, &mut self.negatives[negatives..]);
        self.places.push(Place {
            start: start as u32,
            middle: middle as u32,
            end: end as u32,
            negatives,
        });
    }

    /// How many windows there are.
    pub(super) const fn len(&self) -> usize {
        self.places.len()
    }

    /// The words of a window that are not in the one before.
    #[inline(always)]
    pub(super) fn newcomers(&self, window: usize) -> impl Iterator<Item = u32> {
        let place = self.places.get(window);
        let (start, end) = place.map_or((0, 0), |place| (place.start, place.end));
        // A window of another session ends before this one starts.
        let before = window
            .checked_sub(1)
            .and_then(|before| self.places.get(before));
        let (known, unknown) = before.map_or((start, start), |before| {
            (before.start.clamp(start, end), before.end.clamp(start, end))
        });
        let words = |from: u32, to: u32| self.words[from as usize..to as usize].iter().copied();
        words(start, known).chain(words(unknown, end))
    }

    /// A window, if there are so many.
    #[inline(always)]
    pub(super) fn get(&self, window: usize) -> Option<Window<'_>> {
        let place = self.places.get(window)?;
        let negatives = match self.places.get(window + 1) {
            Some(next) => &self.negatives[place.negatives..next.negatives],
            None => &self.negatives[place.negatives..],
        };
        let middle = place.middle as usize;
        Some(Window {
            word: self.words[middle],
            before: &self.words[place.start as usize..middle],
            after: &self.words[middle + 1..place.end as usize],
            negatives,
        })
    }
}

impl<'a> Window<'a> {
    /// How many words are near; at least one.
    #[inline(always)]
    pub(super) const fn len(self) -> usize {
        self.before.len() + self.after.len()
    }

    /// The words near.
    #[inline(always)]
    pub(super) fn iter(self) -> impl Iterator<Item = u32> + 'a {
        self.before.iter().chain(self.after).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::corpus::tests::corpus;
    use super::*;

    fn config() -> Prod2VecConfig {
        Prod2VecConfig {
            min_count: 1,
            sample: 0.0,
            shrink_windows: false,
            window: 1,
            ..Default::default()
        }
    }

    /// The word in the middle, those near it, and how many negatives there are.
    fn windows(sessions: &[&str], config: &Prod2VecConfig) -> Vec<(u32, Vec<u32>, usize)> {
        let corpus = corpus(sessions, config).unwrap();
        let (mut windows, mut plan) = (Vec::new(), Plan::default());
        for job in corpus.jobs() {
            plan.draw(&corpus, job, config, 1, 1);
            for place in 0..plan.len() {
                let window = plan.get(place).unwrap();
                assert_eq!(window.len(), window.iter().count());
                let near = window.iter().collect();
                windows.push((window.word, near, window.negatives.len()));
            }
            assert_eq!(plan.get(plan.len()), None);
        }
        windows
    }

    #[test]
    fn windows_end_with_the_session_and_lone_words_have_none() {
        let expected = [(0, vec![1], 5), (1, vec![0, 2], 5), (2, vec![1], 5)];
        assert_eq!(windows(&["a b c", "b"], &config()), expected);
        let each_its_own = Prod2VecConfig {
            share_negatives: false,
            ..config()
        };
        let expected = [(0, vec![1], 5), (1, vec![0, 2], 10), (2, vec![1], 5)];
        assert_eq!(windows(&["a b c", "b"], &each_its_own), expected);
        let cbow = Prod2VecConfig {
            sg: false,
            ..each_its_own
        };
        assert_eq!(windows(&["a b c"], &cbow)[1].2, 5);
    }

    #[test]
    fn newcomers_are_what_the_window_before_had_not() {
        let config = Prod2VecConfig {
            window: 2,
            ..config()
        };
        let corpus = corpus(&["a b c d e", "a b"], &config).unwrap();
        let mut plan = Plan::default();
        plan.draw(&corpus, &corpus.jobs()[0], &config, 1, 1);
        let met: Vec<Vec<u32>> = (0..plan.len())
            .map(|window| plan.newcomers(window).collect())
            .collect();
        let of_first = [vec![0, 1, 2], vec![3], vec![4], vec![], vec![]];
        assert_eq!(met, [&of_first[..], &[vec![0, 1], vec![]]].concat());
        assert_eq!(plan.newcomers(plan.len()).count(), 0);
    }

    #[test]
    fn jobs_side_by_side_draw_different_negatives_and_all_of_them_in_turn() {
        let items: Vec<String> = (0..400).map(|item| item.to_string()).collect();
        let sessions: Vec<String> = (0..50).map(|_| items.join(" ")).collect();
        let sessions: Vec<&str> = sessions.iter().map(String::as_str).collect();
        let corpus = corpus(&sessions, &config()).unwrap();
        let mut plan = Plan::default();
        let mut drawn = |job: usize, epoch| -> HashSet<u32> {
            plan.draw(&corpus, &corpus.jobs()[job], &config(), epoch, 2);
            plan.negatives.iter().copied().collect()
        };
        let (even, odd) = (drawn(0, 1), drawn(1, 1));
        assert!(even.is_disjoint(&odd));
        assert_eq!(even.union(&odd).count(), 400);
        assert_eq!(drawn(2, 1), even);
        assert_eq!(drawn(0, 2), odd);
    }

    #[test]
    fn rare_items_leave_before_windows_are_laid() {
        let config = Prod2VecConfig {
            min_count: 2,
            ..config()
        };
        assert_eq!(
            windows(&["a x b", "a", "b"], &config),
            [(0, vec![1], 5), (1, vec![0], 5)]
        );
        let error = corpus(&["a x", "a", "y b"], &config).unwrap_err();
        assert_eq!(
            error.to_string(),
            "prod2vec: no session has two items of a count of 2 or more"
        );
    }

    #[test]
    fn drawn_windows_are_of_each_width() {
        let config = Prod2VecConfig {
            shrink_windows: true,
            window: 3,
            ..config()
        };
        let session = "a ".repeat(1000);
        let windows = windows(&[&session], &config);
        let mut n = [0; 7];
        windows[3..997]
            .iter()
            .for_each(|(_, near, _)| n[near.len()] += 1);
        assert_eq!([n[0], n[1], n[3], n[5]], [0; 4]);
        // A third of 994 each; five standard deviations are 75.
        assert!(
            [n[2], n[4], n[6]].iter().all(|n| (n - 331_i32).abs() < 75),
            "{n:?}"
        );
    }
}
