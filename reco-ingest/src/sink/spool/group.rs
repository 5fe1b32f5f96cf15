//! A group of records as it is on disk.
//!
//! ```text
//! ┌─────────────┬────────────┬───────────┬──────────────────┐
//! │ format: u32 │ crc32: u32 │ rows: u64 │ Arrow IPC stream │      little-endian
//! └─────────────┴────────────┴───────────┴──────────────────┘
//! ```
//!
//! The checksum is of all that follows it. The stream carries its schema, so a group says itself what
//! its columns are.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use flate2::Crc;
use reco_core::Record;

use crate::error::{Error, Result};

const FORMAT: u32 = 1;
const HEADER: usize = 16;
// Arrow counts the bytes of a text column in 32 bits: a batch stays well below.
const MAX_BATCH_BYTES: usize = 64 << 20;

/// A group that is not stored yet.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) bytes: Vec<u8>,
    pub(super) n_records: u64,
}

/// The records as a group.
pub(super) fn encode<E: Record>(records: &[E]) -> Result<Group> {
    let failed = |source| Error::Arrow {
        path: E::NAME.to_owned(),
        source,
    };
    let n_bytes: usize = records.iter().map(Record::n_bytes).sum();
    let mut bytes = Vec::with_capacity(n_bytes + (4 << 10));
    bytes.resize(HEADER, 0);
    let mut stream = StreamWriter::try_new(bytes, &E::schema()).map_err(failed)?;
    let mut first = 0;
    let mut batch_bytes = 0;
    for (row, record) in records.iter().enumerate() {
        if row > first && batch_bytes + record.n_bytes() > MAX_BATCH_BYTES {
            let batch = E::to_batch(&records[first..row])?;
            stream.write(&batch).map_err(failed)?;
            (first, batch_bytes) = (row, 0);
        }
        batch_bytes += record.n_bytes();
    }
    let batch = E::to_batch(&records[first..])?;
    stream.write(&batch).map_err(failed)?;
    let mut bytes = stream.into_inner().map_err(failed)?;
    let n_records = u64::try_from(records.len()).unwrap_or(u64::MAX);
    bytes[8..HEADER].copy_from_slice(&n_records.to_le_bytes());
    let crc = checksum(&bytes[8..]);
    bytes[..4].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    Ok(Group { bytes, n_records })
}

/// How many records a group has, by its header.
pub(super) fn n_records(bytes: &[u8]) -> Result<u64, String> {
    Ok(parse(bytes)?.1)
}

/// The records of a group, if it is as it was stored.
pub(super) fn decode<E: Record>(bytes: &[u8]) -> Result<Vec<E>, String> {
    let (crc, n_records) = parse(bytes)?;
    if checksum(&bytes[8..]) != crc {
        return Err("it does not have its checksum".to_owned());
    }
    let odd = |error: ArrowError| error.to_string();
    let mut records = Vec::new();
    for batch in StreamReader::try_new(&bytes[HEADER..], None).map_err(odd)? {
        let batch: RecordBatch = batch.map_err(odd)?;
        records.extend(E::from_batch(&batch).map_err(|error| error.to_string())?);
    }
    if u64::try_from(records.len()) != Ok(n_records) {
        let found = records.len();
        return Err(format!("it has {found} records, and says {n_records}"));
    }
    Ok(records)
}

// The checksum and the number of records that a group states.
fn parse(bytes: &[u8]) -> Result<(u32, u64), String> {
    let Some((header, _)) = bytes.split_at_checked(HEADER) else {
        return Err("it is cut short".to_owned());
    };
    let word = |at: usize| header[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
    if word(0) != FORMAT {
        let found = word(0);
        return Err(format!("it has format {found}; this build reads {FORMAT}"));
    }
    let n_records = u64::from(word(8)) | (u64::from(word(12)) << 32);
    Ok((word(4), n_records))
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use reco_core::Timestamp;

    use super::*;
    use crate::DeadLetter;

    fn letters(n: i64) -> Vec<DeadLetter> {
        let letter = |position| DeadLetter {
            received_at: Timestamp::UNIX_EPOCH,
            source: "clicks.csv".to_owned(),
            position,
            reason: "no client".to_owned(),
            payload: vec![0, 255, 7].into(),
        };
        (0..n).map(letter).collect()
    }

    #[test]
    fn a_group_gives_back_what_went_in() {
        for n in [1, 2, 1000] {
            let group = encode(&letters(n)).unwrap();
            assert_eq!(n_records(&group.bytes), Ok(group.n_records));
            assert_eq!(decode(&group.bytes), Ok(letters(n)));
        }
    }

    #[test]
    fn a_group_of_the_first_format_is_read() {
        // Written by `encode` when this format was the newest.
        let bytes = include_bytes!("group-1.bin");
        assert_eq!(decode(bytes), Ok(letters(3)));
    }

    #[test]
    fn any_byte_that_changed_is_noticed() {
        let group = encode(&letters(2)).unwrap();
        for at in 0..group.bytes.len() {
            let mut bytes = group.bytes.clone();
            bytes[at] ^= 0x10;
            assert!(decode::<DeadLetter>(&bytes).is_err(), "byte {at}");
        }
        for len in 0..group.bytes.len() {
            assert!(
                decode::<DeadLetter>(&group.bytes[..len]).is_err(),
                "{len} bytes"
            );
        }
    }
}
