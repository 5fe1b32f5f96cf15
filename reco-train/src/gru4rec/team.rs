//! Tasks of a few microseconds on the threads of a pool that stays awake.
//!
//! A step of training is a millisecond and has half a dozen points at which all threads wait for each other.
//! A thread of rayon that finds no work goes to sleep, and to wake it takes as long as a task: a third
//! of the step. So for as long as an epoch runs, threads that have nothing to do look for work until there is
//! some; they yield to whatever else the machine has to run.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::{ThreadPool, Yield};

/// Runs `work` on one thread of a pool, with the others awake and waiting for its tasks.
pub(super) fn run<R: Send>(pool: &ThreadPool, work: impl FnOnce() -> R + Send) -> R {
    // Whoever comes first has the work: a pool may have threads that begin late.
    let work = Mutex::new(Some(work));
    let is_done = AtomicBool::new(false);
    let results = pool.broadcast(|_| {
        let mine = work.lock().unwrap().take();
        if let Some(work) = mine {
            let _done = SetOnDrop(&is_done);
            return Some(work());
        }
        help_until(|| is_done.load(Ordering::Acquire));
        None
    });
    let mut results = results.into_iter().flatten();
    results
        .next()
        .expect("a pool has a thread, which takes the work or panics with it")
}

/// Also when the work panics, so that nobody waits for ever.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Runs `work` on each item, with its position; returns when all are done.
pub(super) fn for_each<T: Send>(
    items: impl ExactSizeIterator<Item = T> + Send,
    work: impl Fn(usize, T) + Sync,
) {
    let n_open = AtomicUsize::new(items.len());
    rayon::scope(|scope| {
        for (position, item) in items.enumerate() {
            let (work, n_open) = (&work, &n_open);
            scope.spawn(move |_| {
                let _closed = CountDownOnDrop(n_open);
                work(position, item);
            });
        }
        help_until(|| n_open.load(Ordering::Acquire) == 0);
    });
}

/// Runs both, side by side if a thread is free.
pub(super) fn join(here: impl FnOnce() + Send, there: impl FnOnce() + Send) {
    let n_open = AtomicUsize::new(1);
    rayon::scope(|scope| {
        let n_open = &n_open;
        scope.spawn(move |_| {
            let _closed = CountDownOnDrop(n_open);
            there();
        });
        here();
        help_until(|| n_open.load(Ordering::Acquire) == 0);
    });
}

struct CountDownOnDrop<'a>(&'a AtomicUsize);

impl Drop for CountDownOnDrop<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// Does tasks of the pool until something is so.
fn help_until(is_so: impl Fn() -> bool) {
    /// Looks for work before it gives the processor to another thread.
    const PATIENCE: u32 = 100;
    let mut n_idle = 0;
    while !is_so() {
        if matches!(rayon::yield_now(), Some(Yield::Executed)) {
            n_idle = 0;
        } else if n_idle < PATIENCE {
            n_idle += 1;
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use rayon::ThreadPoolBuilder;

    use super::*;

    #[test]
    fn all_tasks_run_once_on_any_number_of_threads() {
        for n_threads in [1, 2, 5] {
            let pool = ThreadPoolBuilder::new()
                .num_threads(n_threads)
                .build()
                .unwrap();
            let mut values = vec![0_usize; 40];
            let mut beside = 0;
            let total: usize = run(&pool, || {
                for _ in 0..50 {
                    join(
                        || for_each(values.iter_mut(), |position, value| *value += position),
                        || beside += 1,
                    );
                }
                values.iter().sum()
            });
            assert_eq!((total, beside), (50 * 39 * 40 / 2, 50));
        }
    }

    #[test]
    #[should_panic(expected = "a task fails")]
    fn a_panic_of_a_task_reaches_the_caller() {
        let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        run(&pool, || {
            for_each(0..9, |_, item| assert!(item < 5, "a task fails"));
        });
    }
}
