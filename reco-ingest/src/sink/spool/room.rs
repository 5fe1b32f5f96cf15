//! [`Room`]: how much more a spool may take on disk.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;

// The unit in which the storage gives out disk.
const PAGE: u64 = 4096;
// What a page holds besides the value.
const PAGE_OVERHEAD: u64 = 256;
// What a group takes besides its records: the schema, and how the columns lie.
const GROUP_OVERHEAD: u64 = 8 << 10;

/// How much more a spool may take on disk, in pages.
///
/// A write takes what it may need at most before it is let in, and waits for it. Once it is stored, in a
/// group with others, that is given back, and what the group really takes is taken instead, waiting for
/// nothing. What is taken beyond the limit, as by a spool that was made under a higher one, is owed:
/// nothing is let in before it is repaid.
#[derive(Debug)]
pub(super) struct Room {
    free: Semaphore,
    owed: Mutex<usize>,
    n_pages: usize,
}

/// Pages that a write has taken until it is stored; given back when dropped.
#[derive(Debug)]
pub(super) struct Taken {
    room: Arc<Room>,
    n_pages: usize,
}

impl Room {
    pub(super) fn new(max_bytes: u64) -> Self {
        let n_pages = usize::try_from(max_bytes / PAGE).unwrap_or(usize::MAX);
        // `acquire_many` takes no more.
        let n_pages = n_pages.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Self {
            free: Semaphore::new(n_pages),
            owed: Mutex::new(0),
            n_pages,
        }
    }

    /// How many pages a write of so many bytes may need at most; none if it is more than there can be.
    pub(super) fn estimate(&self, n_bytes: usize) -> Option<usize> {
        let n_bytes = u64::try_from(n_bytes).unwrap_or(u64::MAX);
        let n_pages = pages_of(n_bytes.saturating_add(GROUP_OVERHEAD));
        (n_pages <= self.n_pages).then_some(n_pages)
    }

    /// Takes pages as soon as they are free; none if they are not in time, or at once if `now`.
    pub(super) async fn take(
        self: &Arc<Self>,
        n_pages: usize,
        max_wait: Option<Duration>,
    ) -> Option<Taken> {
        let n = u32::try_from(n_pages).ok()?;
        let permit = match max_wait {
            None => self.free.try_acquire_many(n).ok()?,
            Some(max_wait) => tokio::time::timeout(max_wait, self.free.acquire_many(n))
                .await
                .ok()?
                .ok()?,
        };
        permit.forget();
        Some(Taken {
            room: Arc::clone(self),
            n_pages,
        })
    }

    /// Takes pages that are used already, free or not.
    pub(super) fn charge(&self, n_pages: usize) {
        let mut owed = self.owed.lock().unwrap();
        *owed += n_pages - self.free.forget_permits(n_pages);
    }

    /// Gives pages back.
    pub(super) fn give_back(&self, n_pages: usize) {
        let mut owed = self.owed.lock().unwrap();
        let repaid = n_pages.min(*owed);
        *owed -= repaid;
        self.free.add_permits(n_pages - repaid);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.give_back(self.n_pages);
    }
}

/// How many pages a value takes: the storage gives out powers of two.
pub(super) fn pages_of(n_bytes: u64) -> usize {
    let n_pages = n_bytes.saturating_add(PAGE_OVERHEAD).div_ceil(PAGE);
    let n_pages = n_pages.checked_next_power_of_two().unwrap_or(u64::MAX);
    usize::try_from(n_pages).unwrap_or(usize::MAX)
}

/// So many pages in bytes.
pub(super) fn bytes_of(n_pages: usize) -> u64 {
    u64::try_from(n_pages)
        .unwrap_or(u64::MAX)
        .saturating_mul(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_owed_is_repaid_before_anything_is_let_in() {
        let room = Arc::new(Room::new(10 * PAGE));
        room.charge(14);
        assert!(room.take(1, None).await.is_none());
        room.give_back(4);
        assert!(room.take(1, None).await.is_none());
        room.give_back(3);
        let taken = room.take(3, None).await;
        assert!(taken.is_some() && room.take(1, None).await.is_none());
        drop(taken);
        assert!(room.take(3, Some(Duration::ZERO)).await.is_some());
    }

    #[test]
    fn a_value_takes_a_power_of_two_of_pages() {
        let cases = [
            (0, 1),
            (3_840, 1),
            (3_841, 2),
            (64 * 600, 16),
            (1 << 20, 512),
        ];
        assert_eq!(
            cases.map(|(n_bytes, _)| pages_of(n_bytes)),
            cases.map(|(_, n)| n)
        );
        let room = Room::new(1 << 20);
        assert_eq!(room.estimate(600), Some(4));
        assert_eq!(room.estimate(1 << 20), None);
    }
}
