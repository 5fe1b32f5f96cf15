//! [`Lines`]: the lines of a file, plain or gzipped, each of bounded length.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

const GZIP: [u8; 2] = [0x1f, 0x8b];
// So much is read at a time.
const READ_BYTES: usize = 256 << 10;
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: u64,
    /// Its bytes with what ends it: `\n`, `\r\n`, or nothing at the end of the file.
    pub(super) raw: Vec<u8>,
    /// How many bytes of it were left out because it is too long.
    pub(super) n_cut: u64,
}

impl Line {
    /// The line without what ends it.
    pub(super) fn content(&self) -> &[u8] {
        content(&self.raw)
    }
}

/// Some text without the line end at its end.
pub(super) fn content(raw: &[u8]) -> &[u8] {
    let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
    raw.strip_suffix(b"\r").unwrap_or(raw)
}

/// The lines of a file, without a byte order mark at its beginning.
pub(super) struct Lines {
    reader: Box<dyn BufRead + Send>,
    n_read: Arc<AtomicU64>,
    number: u64,
    max_bytes: usize,
    pushed_back: VecDeque<Line>,
    /// The room of a line that is not needed any more.
    spare: Vec<u8>,
}

impl Lines {
    /// Opens a file; it is gunzipped if it begins as a gzip file does, whatever its name.
    pub(super) fn open(path: &Path, max_bytes: usize) -> io::Result<Self> {
        Self::new(File::open(path)?, max_bytes)
    }

    fn new(file: impl Read + Send + 'static, max_bytes: usize) -> io::Result<Self> {
        let n_read = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            inner: file,
            n_read: Arc::clone(&n_read),
        };
        let mut file = BufReader::with_capacity(READ_BYTES, counted);
        let mut reader: Box<dyn BufRead + Send> = if file.fill_buf()?.starts_with(&GZIP) {
            Box::new(BufReader::new(MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        };
        if reader.fill_buf()?.starts_with(&BYTE_ORDER_MARK) {
            reader.consume(BYTE_ORDER_MARK.len());
        }
        Ok(Self {
            reader,
            n_read,
            number: 0,
            max_bytes,
            pushed_back: VecDeque::new(),
            spare: Vec::new(),
        })
    }

    /// How many bytes of the file were read, as it is stored.
    pub(super) fn n_read(&self) -> u64 {
        self.n_read.load(Ordering::Relaxed)
    }

    /// The next line; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.pushed_back.pop_front() {
            return Ok(Some(line));
        }
        let mut raw = std::mem::take(&mut self.spare);
        // Room for a `\r\n` that is not part of the content.
        let limit = self.max_bytes as u64 + 2;
        (&mut self.reader).take(limit).read_until(b'\n', &mut raw)?;
        if raw.is_empty() {
            return Ok(None);
        }
        let mut n_cut = 0;
        if !raw.ends_with(b"\n") {
            n_cut = self.skip_line()?;
        }
        if content(&raw).len() > self.max_bytes {
            n_cut += (raw.len() - self.max_bytes) as u64;
            raw.truncate(self.max_bytes);
        }
        self.number += 1;
        Ok(Some(Line {
            number: self.number,
            raw,
            n_cut,
        }))
    }

    /// Takes the bytes of a line back, for the room of the next.
    pub(super) fn recycle(&mut self, mut raw: Vec<u8>) {
        raw.clear();
        self.spare = raw;
    }

    /// Makes lines that were taken come again, in their order.
    pub(super) fn push_back(&mut self, lines: impl DoubleEndedIterator<Item = Line>) {
        for line in lines.rev() {
            self.pushed_back.push_front(line);
        }
    }

    // Reads to the end of the line, and says how many bytes that were.
    fn skip_line(&mut self) -> io::Result<u64> {
        let mut n_bytes = 0;
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(n_bytes);
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let n = end.map_or(buffer.len(), |at| at + 1);
            self.reader.consume(n);
            n_bytes += n as u64;
            if end.is_some() {
                return Ok(n_bytes);
            }
        }
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

struct Counted<R> {
    inner: R,
    n_read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.n_read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    fn check(input: &[u8], expected: &[(&[u8], u64)]) {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(input).unwrap();
        for stored in [input.to_vec(), gzip.finish().unwrap()] {
            let n_stored = stored.len() as u64;
            let mut lines = Lines::new(Cursor::new(stored), 4).unwrap();
            let mut found = Vec::new();
            while let Some(line) = lines.next().unwrap() {
                assert_eq!(line.number, found.len() as u64 + 1);
                found.push((line.content().to_vec(), line.n_cut));
            }
            let found: Vec<_> = found
                .iter()
                .map(|(raw, cut)| (raw.as_slice(), *cut))
                .collect();
            assert_eq!(found, expected);
            assert_eq!(lines.n_read(), n_stored);
        }
    }

    #[test]
    fn lines_end_in_any_way() {
        check(b"", &[]);
        check(b"a\nb", &[(b"a", 0), (b"b", 0)]);
        check(b"a\r\n\r\nb\n", &[(b"a", 0), (b"", 0), (b"b", 0)]);
        check(
            b"\xef\xbb\xbfa\n\xef\xbb\xbf",
            &[(b"a", 0), (b"\xef\xbb\xbf", 0)],
        );
    }

    #[test]
    fn long_lines_are_cut() {
        check(b"abcd\nx", &[(b"abcd", 0), (b"x", 0)]);
        check(b"abcd\r\nx", &[(b"abcd", 0), (b"x", 0)]);
        check(b"abcdefghij\nx", &[(b"abcd", 7), (b"x", 0)]);
        check(b"abcde\nx", &[(b"abcd", 2), (b"x", 0)]);
        check(b"abcdefghij", &[(b"abcd", 6)]);
    }

    #[test]
    fn a_file_that_is_cut_within_gzip_is_an_error() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"a\nb\n").unwrap();
        let mut stored = gzip.finish().unwrap();
        stored.truncate(stored.len() - 6);
        let mut lines = Lines::new(Cursor::new(stored), 100).unwrap();
        let error = std::iter::from_fn(|| lines.next().transpose()).find_map(Result::err);
        assert_eq!(error.unwrap().kind(), io::ErrorKind::UnexpectedEof);
    }
}
