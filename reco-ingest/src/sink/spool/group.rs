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
//! group says itself what its columns are. Groups of one build have the same schema message, which is made
//! once by an [`Encoder`] and read once by a [`Decoder`]: a group of few rows would cost as much again.

use std::fmt;
use std::marker::PhantomData;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
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
const CHUNK_ROWS: usize = 2048;
const CHUNK_BYTES: usize = 16 << 20;
// Arrow counts the bytes of a text column in 32 bits: a batch stays well below.
const MAX_BATCH_BYTES: usize = 64 << 20;
// The memory of a group that is larger is given back.
const MAX_SPARE_BYTES: usize = 1 << 20;
// What an Arrow stream ends with: a message of no bytes.
const END: [u8; 8] = [255, 255, 255, 255, 0, 0, 0, 0];

/// A group that is not stored yet.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) bytes: Vec<u8>,
    pub(super) n_records: u64,
}

/// Makes groups of records.
pub(super) struct Encoder<E> {
    /// It stands behind the schema message, and writes batches into what it is given.
    stream: StreamWriter<Vec<u8>>,
    /// The schema message, with which each group begins.
    schema: Vec<u8>,
    /// The bytes of a group that was stored, for the next one.
    spare: Vec<u8>,
    records: PhantomData<fn(E)>,
}

impl<E> fmt::Debug for Encoder<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encoder")
    }
}

impl<E: Record> Encoder<E> {
    pub(super) fn new() -> Result<Self> {
        let mut stream = StreamWriter::try_new(Vec::new(), &E::schema()).map_err(failed::<E>)?;
        Ok(Self {
            schema: std::mem::take(stream.get_mut()),
            stream,
            spare: Vec::new(),
            records: PhantomData,
        })
    }

    /// The records as a group.
    pub(super) fn encode(&mut self, records: &[E]) -> Result<Group> {
        let n_bytes: usize = records.iter().map(Record::n_bytes).sum();
        // Whatever a failure before left in it is dropped.
        let bytes = self.stream.get_mut();
        *bytes = std::mem::take(&mut self.spare);
        bytes.clear();
        bytes.reserve(n_bytes + (4 << 10));
        bytes.resize(HEADER, 0);
        bytes.extend_from_slice(&self.schema);
        let mut first = 0;
        let mut batch_bytes = 0;
        for (row, record) in records.iter().enumerate() {
            if row > first && batch_bytes + record.n_bytes() > MAX_BATCH_BYTES {
                self.write(&records[first..row])?;
                (first, batch_bytes) = (row, 0);
            }
            batch_bytes += record.n_bytes();
        }
        self.write(&records[first..])?;
        let mut bytes = std::mem::take(self.stream.get_mut());
        bytes.extend_from_slice(&END);
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

    /// Takes a group back that was stored: the next one needs about as much memory.
    pub(super) fn reuse(&mut self, group: Group) {
        if group.bytes.capacity() <= MAX_SPARE_BYTES {
            self.spare = group.bytes;
        }
    }

    fn write(&mut self, records: &[E]) -> Result<()> {
        let batch = E::to_batch(records)?;
        self.stream.write(&batch).map_err(failed::<E>)
    }
}

fn failed<E: Record>(source: ArrowError) -> Error {
    Error::Arrow {
        path: E::NAME.to_owned(),
        source,
    }
}

/// How many records a group has, by its header.
pub(super) fn n_records(bytes: &[u8]) -> Result<u64, String> {
    Ok(parse(bytes)?.n_records)
}

/// Groups that are read back, one after the other, for one commit.
#[derive(Debug)]
pub(super) struct Decoder<E: Record> {
    /// What reads batches behind the schema message of the group before.
    stream: StreamDecoder,
    schema: Vec<u8>,
    packed: Packed<E>,
    /// Batches of one day, of few rows each, that come behind what is packed.
    small: Vec<RecordBatch>,
    n_small: usize,
    n_small_bytes: usize,
    day: i64,
}

impl<E: Record> Decoder<E> {
    pub(super) fn new() -> Self {
        Self {
            stream: StreamDecoder::new(),
            schema: Vec::new(),
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
        if header.day != self.day || header.day == MIXED {
            self.pack()?;
            self.day = header.day;
        }
        let before = self.len();
        let odd = |error: ArrowError| error.to_string();
        let mut batches = self.batches(header.stream)?;
        while let Some(batch) = self.stream.decode(&mut batches).map_err(odd)? {
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

    // The stream behind its schema message, for the decoder of that schema.
    fn batches(&mut self, stream: &[u8]) -> Result<Buffer, String> {
        let stream = stream.strip_suffix(&END).ok_or("it has no end")?;
        if self.schema.is_empty() || !stream.starts_with(&self.schema) {
            let schema = schema_message(stream).ok_or("it has no schema")?;
            self.stream = StreamDecoder::new();
            self.schema = schema.to_vec();
            let none = self.stream.decode(&mut Buffer::from(schema));
            if none.map_err(|error| error.to_string())?.is_some() {
                return Err("it begins with a batch".to_owned());
            }
        }
        // A copy, so that the columns lie as Arrow wants them; they are not copied again.
        Ok(Buffer::from(&stream[self.schema.len()..]))
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

// The first message of a stream: a marker, its length, and so many bytes.
fn schema_message(stream: &[u8]) -> Option<&[u8]> {
    let len = stream.get(4..8)?.try_into().map(u32::from_le_bytes).ok()?;
    stream.get(..usize::try_from(len).ok()?.checked_add(8)?)
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

    fn encode(records: &[DeadLetter]) -> Result<Group> {
        Encoder::new()?.encode(records)
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
    fn an_encoder_and_a_decoder_serve_group_after_group() {
        let mut encoder = Encoder::new().unwrap();
        let mut decoder = Decoder::<DeadLetter>::new();
        let mut expected = Vec::new();
        for n in [3, 1, 1000, 2] {
            let group = encoder.encode(&letters(n)).unwrap();
            assert_eq!(group.bytes, encode(&letters(n)).unwrap().bytes);
            decoder.push(&group.bytes).unwrap();
            // Of another build, whose schema may be another.
            decoder.push(include_bytes!("group-1.bin")).unwrap();
            expected.extend(letters(n).into_iter().chain(letters(3)));
        }
        assert_eq!(decoder.finish().unwrap().records().unwrap(), expected);
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
