//! [`Records`]: records that are being made, in the memory of those before them.

/// Records that are being made, in the memory of those before them.
///
/// Most of what making a record costs is memory for its texts, so a record that was packed into columns
/// stays and the next one is written over it.
#[derive(Debug)]
pub(super) struct Records<R> {
    /// The first so many are records; the others are only memory.
    n: usize,
    slots: Vec<R>,
}

impl<R> Default for Records<R> {
    fn default() -> Self {
        Self {
            n: 0,
            slots: Vec::new(),
        }
    }
}

impl<R> Records<R> {
    /// What becomes the next record by [`add`](Self::add), to write over.
    pub(super) fn next(&mut self, blank: impl FnOnce() -> R) -> &mut R {
        if self.n == self.slots.len() {
            self.slots.push(blank());
        }
        &mut self.slots[self.n]
    }

    /// Adds what [`next`](Self::next) gave.
    pub(super) fn add(&mut self) {
        self.n = (self.n + 1).min(self.slots.len());
    }

    pub(super) fn push(&mut self, record: R) {
        if let Some(slot) = self.slots.get_mut(self.n) {
            *slot = record;
        } else {
            self.slots.push(record);
        }
        self.n += 1;
    }

    pub(super) fn as_slice(&self) -> &[R] {
        &self.slots[..self.n]
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut R> {
        self.slots[..self.n].get_mut(at)
    }

    pub(super) const fn len(&self) -> usize {
        self.n
    }

    /// Forgets all but the first so many, with their memory.
    pub(super) fn truncate(&mut self, n: usize) {
        self.slots.truncate(n);
        self.n = self.n.min(n);
    }

    /// Forgets all, whose memory stays.
    pub(super) fn clear(&mut self) {
        self.n = 0;
    }

    /// Gives the records away.
    pub(super) fn take(&mut self) -> Vec<R> {
        self.slots.truncate(self.n);
        self.n = 0;
        std::mem::take(&mut self.slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_stays_and_records_do_not() {
        let mut records = Records::default();
        for round in ["first", "second"] {
            records.next(String::new).clone_from(&round.to_owned());
            assert_eq!(records.as_slice(), [""; 0]);
            records.add();
            records.push("pushed".to_owned());
            assert_eq!(records.as_slice(), [round, "pushed"]);
            records.clear();
        }
        assert_eq!(records.next(|| unreachable!("there is memory")), "second");
        records.add();
        records.next(String::new);
        records.truncate(1);
        assert_eq!(records.next(String::new), "");
        assert_eq!(records.take(), ["second"]);
        assert_eq!(records.take(), [""; 0]);
    }
}
