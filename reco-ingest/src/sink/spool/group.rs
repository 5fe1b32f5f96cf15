//! A group of records as it is on disk.
//!
//! ```text
//! ┌─────────────┬────────────┬───────────┬──────────┬──────────────────┐
//! │ format: u32 │ crc32: u32 │ rows: u64 │ day: i64 │ Arrow IPC stream │      little-endian
//! └─────────────┴────────────┴───────────┴──────────┴──────────────────┘
//! ```
//!
//! The checksum is of all that follows it. The day, since 1970 and in UTC, is the partition of all the rows;
//! a group of several days has [`MIXED`] there, one of format 1 nothing. The stream carries its schema, so a
//! group says itself what its columns are.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use flate2::Crc;
use reco_core::{Record, project};

use crate::delta::{Packed, date_of_day, day_of};
use crate::error::{Error, Result};

const FORMAT: u32 = 2;
const HEADER: usize = 24;
const HEADER_1: usize = 16;
// The day of a group that has several.
const MIXED: i64 = i64::MIN;
// The batches of small groups are put together up to so many rows, or bytes: each has a price.
const CHUNK_ROWS: usize = 8192;
const CHUNK_BYTES: usize = 16 << 20;
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
    let mut days = records.iter().map(|record| day_of(record.timestamp()));
    let first = days.next().unwrap_or(MIXED);
    let day = if days.all(|day| day == first) {
        first
    } else {
        MIXED
    };
    bytes[8..16].copy_from_slice(&n_records.to_le_bytes());
    bytes[16..HEADER].copy_from_slice(&day.to_le_bytes());
    let crc = checksum(&bytes[8..]);
    bytes[..4].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    Ok(Group { bytes, n_records })
}

/// How many records a group has, by its header.
pub(super) fn n_records(bytes: &[u8]) -> Result<u64, String> {
    Ok(parse(bytes)?.n_records)
}

/// Groups that are read back, one after the other, for one commit.
#[derive(Debug)]
pub(super) struct Decoder<E: Record> {
    packed: Packed<E>,
    /// Batches of one day, of few rows each, that come behind what is packed.
    small: Vec<RecordBatch>,
    n_small: usize,
    n_small_bytes: usize,
    day: i64,
}

impl<E: Record> Decoder<E> {
    pub(super) const fn new() -> Self {
        Self {
            packed: Packed::new(),
            small: Vec::new(),
            n_small: 0,
            n_small_bytes: 0,
            day: MIXED,
        }
    }

    /// Adds the records of a group, if it is as it was stored.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        let header = parse(bytes)?;
        if checksum(&bytes[8..]) != header.crc {
            return Err("it does not have its checksum".to_owned());
        }
        let odd = |error: ArrowError| error.to_string();
        if header.day != self.day || header.day == MIXED {
            self.pack()?;
            self.day = header.day;
        }
        let before = self.len();
        for batch in StreamReader::try_new(header.stream, None).map_err(odd)? {
            let batch = batch.map_err(odd)?;
            if header.day == MIXED {
                let records = E::from_batch(&batch).map_err(|error| error.to_string())?;
                self.packed
                    .push(&records)
                    .map_err(|error| error.to_string())?;
            } else {
                self.n_small += batch.num_rows();
                self.small.push(batch);
            }
        }
        let found = self.len() - before;
        if u64::try_from(found) != Ok(header.n_records) {
            let n_records = header.n_records;
            return Err(format!("it has {found} records, and says {n_records}"));
        }
        self.n_small_bytes += bytes.len();
        if self.n_small >= CHUNK_ROWS || self.n_small_bytes >= CHUNK_BYTES {
            self.pack()?;
        }
        Ok(())
    }

    /// How many records there are.
    pub(super) const fn len(&self) -> usize {
        self.packed.len() + self.n_small
    }

    /// All of them, for a commit.
    pub(super) fn finish(mut self) -> Result<Packed<E>, String> {
        self.pack()?;
        Ok(self.packed)
    }

    fn pack(&mut self) -> Result<(), String> {
        let small = std::mem::take(&mut self.small);
        (self.n_small, self.n_small_bytes) = (0, 0);
        // Groups of one schema follow one another: it is the one of the build that wrote them.
        for run in small.chunk_by(|a, b| a.schema_ref() == b.schema_ref()) {
            let batch = concat_batches(run[0].schema_ref(), run);
            let batch = batch.map_err(|error| error.to_string())?;
            let batch = project::<E>(&batch).map_err(|error| error.to_string())?;
            let date = date_of_day(self.day).ok_or("it is of no date")?;
            self.packed.push_batch(batch, date);
        }
        Ok(())
    }
}

/// What a group says of itself.
struct Header<'a> {
    crc: u32,
    n_records: u64,
    day: i64,
    stream: &'a [u8],
}

fn parse(bytes: &[u8]) -> Result<Header<'_>, String> {
    let cut_short = || "it is cut short".to_owned();
    let take = |from: usize, to: usize| bytes.get(from..to).ok_or_else(cut_short);
    let u32_at = |at| Ok::<_, String>(take(at, at + 4)?.try_into().map_or(0, u32::from_le_bytes));
    let u64_at = |at| Ok::<_, String>(take(at, at + 8)?.try_into().map_or(0, u64::from_le_bytes));
    let (day, header) = match u32_at(0)? {
        FORMAT => (u64_at(16)?.cast_signed(), HEADER),
        1 => (MIXED, HEADER_1),
        found => {
            return Err(format!(
                "it has format {found}; this build reads 1 to {FORMAT}"
            ));
        }
    };
    Ok(Header {
        crc: u32_at(4)?,
        n_records: u64_at(8)?,
        day,
        stream: bytes.get(header..).ok_or_else(cut_short)?,
    })
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

    fn decode(bytes: &[u8]) -> Result<Vec<DeadLetter>, String> {
        let mut decoder = Decoder::<DeadLetter>::new();
        decoder.push(bytes)?;
        let packed = decoder.finish()?;
        Ok(packed.records().unwrap())
    }

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
    fn a_group_of_any_format_is_read() {
        // Each was written by `encode` when its format was the newest.
        for bytes in [
            &include_bytes!("group-1.bin")[..],
            include_bytes!("group-2.bin"),
        ] {
            assert_eq!(decode(bytes), Ok(letters(3)));
        }
    }

    #[test]
    fn groups_of_one_day_and_of_several_keep_their_order() {
        let on = |days: &[i64]| -> Vec<DeadLetter> {
            let letters = letters(4).into_iter().zip(days.iter().cycle());
            letters
                .map(|(letter, day)| DeadLetter {
                    received_at: Timestamp::from_second(day * 86_400 + 7).unwrap(),
                    ..letter
                })
                .collect()
        };
        let groups = [
            on(&[3]),
            on(&[3]),
            on(&[4, 3]),
            on(&[4]),
            on(&[-1]),
            on(&[4]),
        ];
        let mut decoder = Decoder::<DeadLetter>::new();
        for group in &groups {
            decoder.push(&encode(group).unwrap().bytes).unwrap();
        }
        assert_eq!(decoder.len(), 24);
        let packed = decoder.finish().unwrap();
        assert_eq!(packed.records().unwrap(), groups.concat());
        for chunk in packed.chunks() {
            let records = DeadLetter::from_batch(&chunk.batch).unwrap();
            let dates = chunk
                .rows
                .iter()
                .flat_map(|(date, rows)| rows.iter().map(|row| (*row, *date)));
            let mut dates: Vec<_> = dates.collect();
            dates.sort_unstable();
            let found: Vec<_> = records
                .iter()
                .map(|letter| date_of_day(day_of(letter.received_at)))
                .collect();
            assert_eq!(
                dates
                    .into_iter()
                    .map(|(_, date)| Some(date))
                    .collect::<Vec<_>>(),
                found
            );
        }
    }

    #[test]
    fn any_byte_that_changed_is_noticed() {
        let group = encode(&letters(2)).unwrap();
        for at in 0..group.bytes.len() {
            let mut bytes = group.bytes.clone();
            bytes[at] ^= 0x10;
            assert!(decode(&bytes).is_err(), "byte {at}");
        }
        for len in 0..group.bytes.len() {
            assert!(decode(&group.bytes[..len]).is_err(), "{len} bytes");
        }
    }
}
