//! [`Lines`]: the lines of a file, plain or gzipped, each of bounded length.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf as _, Bytes};
use flate2::bufread::MultiGzDecoder;
use memchr::memchr;

const GZIP: [u8; 2] = [0x1f, 0x8b];
// So much is read at a time.
const BLOCK_BYTES: usize = 256 << 10;
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: u64,
    /// Its bytes with what ends it: `\n`, `\r\n`, or nothing at the end of the file. They are a part of
    /// the block of the file that was read with them, which is kept as long as they are.
    pub(super) raw: Bytes,
    /// How many bytes of it were left out because it is too long.
    pub(super) n_cut: u64,
}

impl Line {
    /// The line without what ends it.
    pub(super) fn content(&self) -> Bytes {
        self.raw.slice(..content(&self.raw).len())
    }
}

/// Some text without the line end at its end.
pub(super) fn content(raw: &[u8]) -> &[u8] {
    let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
    raw.strip_suffix(b"\r").unwrap_or(raw)
}

/// The lines of a file, without a byte order mark at its beginning.
pub(super) struct Lines {
    reader: Box<dyn Read + Send>,
    n_read: Arc<AtomicU64>,
    /// What was read of the file and is in no line yet.
    block: Bytes,
    is_ended: bool,
    number: u64,
    max_bytes: usize,
    pushed_back: VecDeque<Line>,
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
        let mut file = BufReader::with_capacity(BLOCK_BYTES, counted);
        let reader: Box<dyn Read + Send> = if file.fill_buf()?.starts_with(&GZIP) {
            Box::new(MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        };
        let mut lines = Self {
            reader,
            n_read,
            block: Bytes::new(),
            is_ended: false,
            number: 0,
            max_bytes,
            pushed_back: VecDeque::new(),
        };
        lines.read_block()?;
        if lines.block.starts_with(&BYTE_ORDER_MARK) {
            lines.block.advance(BYTE_ORDER_MARK.len());
        }
        Ok(lines)
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
        // Room for a `\r\n` that is not part of the content.
        let mut raw = self.take_to_line_end(self.max_bytes.saturating_add(2))?;
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

    /// Makes lines that were taken come again, in their order.
    pub(super) fn push_back(&mut self, lines: impl DoubleEndedIterator<Item = Line>) {
        for line in lines.rev() {
            self.pushed_back.push_front(line);
        }
    }

    // The next bytes, with the end of their line, but at most `limit`; none at the end of the file.
    fn take_to_line_end(&mut self, limit: usize) -> io::Result<Bytes> {
        let mut n_searched = 0;
        loop {
            let n_there = self.block.len().min(limit);
            if let Some(at) = memchr(b'\n', &self.block[n_searched..n_there]) {
                return Ok(self.block.split_to(n_searched + at + 1));
            }
            if n_there == limit || self.is_ended {
                return Ok(self.block.split_to(n_there));
            }
            n_searched = n_there;
            self.read_block()?;
        }
    }

    // Reads to the end of the line, and says how many bytes that were.
    fn skip_line(&mut self) -> io::Result<u64> {
        let mut n_bytes = 0;
        loop {
            let part = self.take_to_line_end(BLOCK_BYTES)?;
            n_bytes += part.len() as u64;
            if part.is_empty() || part.ends_with(b"\n") {
                return Ok(n_bytes);
            }
        }
    }

    // Reads a block, which begins with what is left of the one before. A line that is longer than a block
    // doubles it each time, so that it is not copied again and again.
    fn read_block(&mut self) -> io::Result<()> {
        let mut n = self.block.len();
        let mut block = vec![0; (2 * n).max(BLOCK_BYTES)];
        block[..n].copy_from_slice(&self.block);
        while n < block.len() {
            match self.reader.read(&mut block[n..]) {
                Ok(0) => {
                    self.is_ended = true;
                    break;
                }
                Ok(more) => n += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        block.truncate(n);
        self.block = Bytes::from(block);
        Ok(())
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
                found.push((line.content(), line.n_cut));
            }
            let found: Vec<_> = found
                .iter()
                .map(|(raw, cut)| (raw.as_ref(), *cut))
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
    fn lines_may_be_of_any_length_and_end_anywhere_in_a_block() {
        for n_bytes in [
            BLOCK_BYTES - 1,
            BLOCK_BYTES,
            BLOCK_BYTES + 1,
            5 * BLOCK_BYTES,
        ] {
            let long = vec![b'x'; n_bytes];
            let text = [&long, b"\nab\n".as_slice(), &long, b"\n", &long].concat();
            let mut lines = Lines::new(Cursor::new(text), 5 * BLOCK_BYTES).unwrap();
            for expected in [&long, b"ab".as_slice(), &long, &long] {
                let line = lines.next().unwrap().unwrap();
                assert_eq!((line.content().as_ref(), line.n_cut), (expected, 0));
            }
            assert_eq!(lines.next().unwrap(), None);
        }
        // What is too long is passed over block by block.
        let text = [&[b'x'; 3 * BLOCK_BYTES], b"\nab\n".as_slice()].concat();
        let mut lines = Lines::new(Cursor::new(text), 4).unwrap();
        let cut = lines.next().unwrap().unwrap();
        assert_eq!(
            (cut.raw.as_ref(), cut.n_cut),
            (b"xxxx".as_slice(), 3 * BLOCK_BYTES as u64 - 4 + 1)
        );
        assert_eq!(lines.next().unwrap().unwrap().content().as_ref(), b"ab");
    }

    #[test]
    fn a_file_that_is_cut_within_gzip_is_an_error() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"a\nb\n").unwrap();
        let mut stored = gzip.finish().unwrap();
        stored.truncate(stored.len() - 6);
        let read = Lines::new(Cursor::new(stored), 100).and_then(|mut lines| {
            while lines.next()?.is_some() {}
            Ok(())
        });
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
