//! [`Columns`]: what a data set consists of, in memory or in files that the system maps into it.
//!
//! A mapped file has no name: it is nobody else's, and its space is free again once the last data set that holds
//! it is dropped or the process has ended, however it ended.
#![expect(unsafe_code, reason = "a file is mapped; see `ColumnWriter::finish`")]

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, ToByteSlice};
use bytes::Bytes;
use memmap2::Mmap;

use super::{SessionDataset, SessionEncoder};
use crate::error::{Error, Result};
use crate::vocabulary::ItemIdx;

/// Where the columns of a data set are kept.
#[derive(Debug, Clone)]
pub(super) enum Storage {
    /// On the heap.
    Memory,
    /// In files of this folder.
    Files(Arc<Path>),
}

/// The columns of a data set that grows, session by session.
#[derive(Debug)]
pub(super) struct Columns {
    storage: Storage,
    offsets: ColumnWriter<u64>,
    items: ColumnWriter<u32>,
    times: ColumnWriter<i64>,
    n_items: u64,
    /// The items of one session, as they are numbered in the end.
    renumbered: Vec<u32>,
}

impl Columns {
    /// # Errors
    ///
    /// [`Error::DatasetFile`] if there can be no files.
    pub(super) fn new(storage: &Storage) -> Result<Self> {
        let mut offsets = ColumnWriter::new(storage)?;
        offsets.extend(&[0])?;
        Ok(Self {
            storage: storage.clone(),
            offsets,
            items: ColumnWriter::new(storage)?,
            times: ColumnWriter::new(storage)?,
            n_items: 0,
            renumbered: Vec::new(),
        })
    }

    /// Adds a session, in which item `i` has position `positions[i]`.
    ///
    /// # Errors
    ///
    /// [`Error::DatasetFile`] if a file cannot be written.
    pub(super) fn push(
        &mut self,
        items: &[ItemIdx],
        positions: &[u32],
        times: &[i64],
    ) -> Result<()> {
        self.n_items += items.len() as u64;
        self.renumbered.clear();
        self.renumbered
            .extend(items.iter().map(|item| positions[item.get()]));
        self.offsets.extend(&[self.n_items])?;
        self.items.extend(&self.renumbered)?;
        self.times.extend(times)
    }

    /// # Errors
    ///
    /// [`Error::DatasetFile`] if a file cannot be written or mapped.
    pub(super) fn into_dataset(self, encoder: SessionEncoder) -> Result<SessionDataset> {
        Ok(SessionDataset {
            encoder,
            storage: self.storage,
            offsets: self.offsets.finish()?,
            items: self.items.finish()?,
            times: self.times.finish()?,
        })
    }
}

/// A column that grows.
#[derive(Debug)]
pub(super) enum ColumnWriter<T> {
    Memory(Vec<T>),
    File(Arc<Path>, BufWriter<File>),
}

impl<T: ArrowNativeType> ColumnWriter<T> {
    /// # Errors
    ///
    /// [`Error::DatasetFile`] if there can be no file.
    pub(super) fn new(storage: &Storage) -> Result<Self> {
        Ok(match storage {
            Storage::Memory => Self::Memory(Vec::new()),
            Storage::Files(folder) => Self::File(Arc::clone(folder), create(folder)?),
        })
    }

    /// # Errors
    ///
    /// [`Error::DatasetFile`] if the file cannot be written.
    pub(super) fn extend(&mut self, values: &[T]) -> Result<()> {
        match self {
            Self::Memory(column) => column.extend_from_slice(values),
            Self::File(folder, file) => file
                .write_all(values.to_byte_slice())
                .map_err(|source| failed(folder, source))?,
        }
        Ok(())
    }

    /// The column, which nothing changes any more.
    ///
    /// # Errors
    ///
    /// [`Error::DatasetFile`] if the file cannot be written or mapped.
    pub(super) fn finish(self) -> Result<ScalarBuffer<T>> {
        match self {
            Self::Memory(column) => Ok(ScalarBuffer::from(column)),
            Self::File(folder, file) => {
                let map = |file: BufWriter<File>| {
                    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                    // SAFETY: the file has no name and the only handle that could change it is dropped here, so its
                    // bytes stay as they are for as long as the map lives.
                    unsafe { Mmap::map(&file) }
                };
                let bytes = map(file).map_err(|source| failed(&folder, source))?;
                Ok(Buffer::from(Bytes::from_owner(bytes)).into())
            }
        }
    }
}

/// A file of a folder, without a name.
///
/// # Errors
///
/// [`Error::DatasetFile`] if there can be none.
fn create(folder: &Arc<Path>) -> Result<BufWriter<File>> {
    let file = tempfile::tempfile_in(folder).map_err(|source| failed(folder, source))?;
    Ok(BufWriter::with_capacity(1 << 18, file))
}

pub(super) fn failed(folder: &Arc<Path>, source: io::Error) -> Error {
    Error::DatasetFile {
        folder: folder.to_path_buf(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_in_files_are_those_in_memory_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let files = Storage::Files(folder.path().into());
        for len in [0, 1, 100_000] {
            let values: Vec<u64> = (0..len).map(|i| i * i).collect();
            for storage in [&Storage::Memory, &files] {
                let mut column = ColumnWriter::new(storage).unwrap();
                values
                    .chunks(77)
                    .for_each(|some| column.extend(some).unwrap());
                let column = column.finish().unwrap();
                assert_eq!(column[..], values[..]);
                assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
            }
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let nowhere = Storage::Files(Path::new("/no/such/folder").into());
        let error = ColumnWriter::<u64>::new(&nowhere).unwrap_err();
        let expected =
            "a file of the session data set in `/no/such/folder` cannot be written or mapped";
        assert_eq!(error.to_string(), expected);
    }
}
