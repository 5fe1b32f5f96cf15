//! word2vec's files of vectors, as the original tool and gensim's `KeyedVectors` write and read them.

use std::io::{BufRead, Read, Write};
use std::sync::Arc;

use reco_core::{ItemId, ItemIdx, SessionEncoder, SessionEncoding, Vocabulary};

use super::{Prod2Vec, Prod2VecConfig};
use crate::error::{Error, Result};
use crate::rule::MAX_DIM;

/// The longest item id that is read, in bytes: above it, a file is something else.
const MAX_ID: usize = 1 << 16;
/// The longest header: two numbers.
const MAX_HEADER: usize = 64;
/// The longest number of a text file, with the space before it.
const MAX_NUMBER: usize = 64;

/// Which of word2vec's two formats a file has.
///
/// Both begin with a line of two numbers, how many items there are and how many dimensions. An item is its id, a
/// space, and its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word2VecFormat {
    /// An item a line, its numbers in decimal, with a space between; gensim's `binary=False`.
    Text,
    /// The numbers as little-endian f32, after each other; gensim's `binary=True`. A line feed before an id,
    /// which the original tool writes and gensim does not, is skipped.
    Binary,
}

impl Prod2Vec {
    /// Writes the vectors for whatever reads word2vec's files: gensim's
    /// `KeyedVectors.load_word2vec_format(path, binary=…)`, say.
    ///
    /// The most frequent item comes first, ties by id, as gensim has it. Counts, hyperparameters and output
    /// vectors are not in these files; [`to_artifact`](Self::to_artifact) keeps them. Both formats keep each bit
    /// of a vector. Wrap a file in a [`BufWriter`](std::io::BufWriter).
    ///
    /// # Errors
    ///
    /// [`Error::Word2Vec`] if an item's id is empty or has white space or control characters, which these files
    /// cannot hold: the id is refused, not changed. [`Error::Io`] if writing fails.
    pub fn write_word2vec(&self, mut output: impl Write, format: Word2VecFormat) -> Result<()> {
        let vocabulary = self.vocabulary();
        let mut order: Vec<usize> = (0..vocabulary.len()).collect();
        order.sort_by_key(|&item| std::cmp::Reverse(vocabulary.counts()[item]));
        for (entry, &item) in (1..).zip(&order) {
            check_id(entry, vocabulary.items()[item].as_str())?;
        }
        writeln!(output, "{} {}", vocabulary.len(), self.config().vector_size)?;
        for item in order {
            let id = &vocabulary.items()[item];
            write!(output, "{id}")?;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "an index of the vocabulary"
            )]
            let vector = self.row(ItemIdx(item as u32));
            match format {
                Word2VecFormat::Text => {
                    vector
                        .iter()
                        .try_for_each(|value| write!(output, " {value}"))?;
                    writeln!(output)?;
                }
                Word2VecFormat::Binary => {
                    write!(output, " ")?;
                    vector
                        .iter()
                        .try_for_each(|value| output.write_all(&value.to_le_bytes()))?;
                }
            }
        }
        output.flush()?;
        Ok(())
    }

    /// A model of the vectors that gensim's `save_word2vec_format` or another tool has written.
    ///
    /// `config` says how the model answers ([`last`](Prod2VecConfig::last)); its `vector_size` is replaced by
    /// the file's. As in gensim, the first of `n` items counts as seen `n` times, the second `n - 1` times. Memory
    /// is taken as the file is read, whatever its header promises.
    ///
    /// # Errors
    ///
    /// [`Error::Word2Vec`] names the entry (0 for the header) that is cut short, is not UTF-8, has an id with
    /// white space or one that was there before, or a number that is not finite or none; and what follows the
    /// last entry. [`Error::Io`] if reading fails, [`Error::InvalidConfig`] for hyperparameters out of range, and
    /// [`Error::Core`] for a vector that is too long.
    pub fn read_word2vec(
        mut input: impl BufRead,
        format: Word2VecFormat,
        encoding: SessionEncoding,
        mut config: Prod2VecConfig,
    ) -> Result<Self> {
        let (n_items, dim) = header(&mut input)?;
        config.vector_size = dim;
        config.keep_outputs = false;
        config.check()?;
        let mut entries: Vec<(ItemId, u64, Vec<f32>)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for entry in 1..=n_items {
            let (id, vector) = match format {
                Word2VecFormat::Text => text_entry(&mut input, entry, dim)?,
                Word2VecFormat::Binary => binary_entry(&mut input, entry, dim)?,
            };
            check_id(entry, &id)?;
            if let Some(value) = vector.iter().find(|value| !value.is_finite()) {
                return Err(wrong(entry, format!("item `{id}` has the value {value}")));
            }
            let id = ItemId::from(id.as_str());
            if !seen.insert(id.clone()) {
                return Err(wrong(entry, format!("item `{id}` is there twice")));
            }
            entries.push((id, n_items - entry + 1, vector));
        }
        let rest = input
            .bytes()
            .find(|byte| !matches!(byte, Ok(b'\n' | b'\r')));
        if rest.transpose()?.is_some() {
            let reason = format!("the header says {n_items} items, but there is more");
            return Err(wrong(n_items + 1, reason));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        let counts = entries.iter().map(|(id, count, _)| (id.clone(), *count));
        let vocabulary = Vocabulary::from_counts(counts)?;
        let encoder = SessionEncoder::new(encoding, Arc::new(vocabulary))?;
        let vectors = entries.into_iter().flat_map(|(_, _, vector)| vector);
        Ok(Self::new(encoder, vectors.collect(), config, None)?)
    }
}

fn wrong(entry: u64, reason: impl Into<String>) -> Error {
    Error::Word2Vec {
        entry,
        reason: reason.into(),
    }
}

fn check_id(entry: u64, id: &str) -> Result<()> {
    if id.is_empty() {
        return Err(wrong(entry, "the item id is empty"));
    }
    if id.len() > MAX_ID {
        return Err(wrong(entry, "the item id is too long"));
    }
    if id.chars().any(|c| c.is_whitespace() || c.is_control()) {
        let reason = format!("item id {id:?} has white space or control characters");
        return Err(wrong(entry, reason));
    }
    Ok(())
}

/// What comes before a byte, which must be there within so many.
fn until(input: &mut impl BufRead, end: u8, most: usize, entry: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(most as u64 + 1).read_until(end, &mut bytes)?;
    match bytes.pop() {
        Some(last) if last == end => Ok(bytes),
        _ if bytes.len() >= most => Err(wrong(entry, "is too long to be one")),
        _ => Err(wrong(entry, "the file ends within it")),
    }
}

fn header(input: &mut impl BufRead) -> Result<(u64, usize)> {
    let line = until(input, b'\n', MAX_HEADER, 0)?;
    let line = String::from_utf8_lossy(&line);
    let not_two = || {
        wrong(
            0,
            format!("{line:?} is not the number of items and of dimensions"),
        )
    };
    let mut numbers = line.split_whitespace();
    let (Some(n_items), Some(dim), None) = (numbers.next(), numbers.next(), numbers.next()) else {
        return Err(not_two());
    };
    let n_items: u64 = n_items.parse().map_err(|_| not_two())?;
    let dim: usize = dim.parse().map_err(|_| not_two())?;
    if n_items == 0 || n_items > u64::from(u32::MAX) || dim == 0 || dim > MAX_DIM {
        let reason = format!("{n_items} items of {dim} dimensions are not a model");
        return Err(wrong(0, reason));
    }
    Ok((n_items, dim))
}

fn text_entry(input: &mut impl BufRead, entry: u64, dim: usize) -> Result<(String, Vec<f32>)> {
    let most = MAX_ID + dim * MAX_NUMBER;
    let mut line = Vec::new();
    // The last line may lack its end.
    input.take(most as u64 + 1).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(wrong(entry, "the file ends before it"));
    }
    if line.len() > most {
        return Err(wrong(entry, "is too long to be one"));
    }
    let line = String::from_utf8(line).map_err(|_| wrong(entry, "is not UTF-8"))?;
    let mut fields = line.trim_end().split(' ');
    let id = fields.next().unwrap_or_default().to_owned();
    let number = |field: &str| {
        let no_number = |_| wrong(entry, format!("{field:?} is not a number"));
        field.parse::<f32>().map_err(no_number)
    };
    let vector: Vec<f32> = fields.map(number).collect::<Result<_>>()?;
    if vector.len() != dim {
        let reason = format!("item `{id}` has {} numbers instead of {dim}", vector.len());
        return Err(wrong(entry, reason));
    }
    Ok((id, vector))
}

fn binary_entry(input: &mut impl BufRead, entry: u64, dim: usize) -> Result<(String, Vec<f32>)> {
    let id = until(input, b' ', MAX_ID, entry)?;
    let id = id.strip_prefix(b"\n").unwrap_or(&id);
    let id = String::from_utf8(id.to_vec()).map_err(|_| wrong(entry, "is not UTF-8"))?;
    let mut bytes = vec![0; dim * size_of::<f32>()];
    input.read_exact(&mut bytes).map_err(|error| {
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            wrong(entry, "the file ends within it")
        } else {
            error.into()
        }
    })?;
    let (values, _) = bytes.as_chunks::<4>();
    Ok((
        id,
        values
            .iter()
            .map(|&value| f32::from_le_bytes(value))
            .collect(),
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Word2VecFormat::{Binary, Text};
    use super::*;

    fn read(bytes: &[u8], format: Word2VecFormat) -> Result<Prod2Vec> {
        let config = Prod2VecConfig::default();
        Prod2Vec::read_word2vec(bytes, format, SessionEncoding::default(), config)
    }

    fn write(model: &Prod2Vec, format: Word2VecFormat) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        model.write_word2vec(&mut bytes, format)?;
        Ok(bytes)
    }

    #[test]
    fn files_written_by_hand() {
        let text = b"2 3\nhat 1 -0.5 2e-3\nscarf 0 0 1\n";
        let model = read(text, Text).unwrap();
        assert_eq!(model.vector("hat"), Some(&[1.0, -0.5, 2e-3][..]));
        assert_eq!(model.vector("scarf"), Some(&[0.0, 0.0, 1.0][..]));
        assert_eq!(
            write(&model, Text).unwrap(),
            b"2 3\nhat 1 -0.5 0.002\nscarf 0 0 1\n"
        );
        let binary = b"2 1\nhat \0\0\x80\x3fscarf \0\0\0\0";
        assert_eq!(
            write(&read(binary, Binary).unwrap(), Binary).unwrap(),
            binary
        );
        // The original tool ends each entry with a line feed.
        let model = read(b"2 1\nhat \0\0\x80\x3f\nscarf \0\0\0\0\n", Binary).unwrap();
        assert_eq!(write(&model, Binary).unwrap(), binary);
    }

    #[test]
    fn broken_files_say_where() {
        let check = |bytes: &[u8], format, expected: &str| {
            assert_eq!(read(bytes, format).unwrap_err().to_string(), expected);
        };
        let at = |entry: u64, reason: &str| format!("word2vec file, entry {entry}: {reason}");
        check(b"", Text, &at(0, "the file ends within it"));
        check(&[b'1'; 100], Text, &at(0, "is too long to be one"));
        check(
            b"2 x\n",
            Text,
            &at(0, "\"2 x\" is not the number of items and of dimensions"),
        );
        check(
            b"9999999999 2\n",
            Text,
            &at(0, "9999999999 items of 2 dimensions are not a model"),
        );
        check(
            b"1 99999\n",
            Binary,
            &at(0, "1 items of 99999 dimensions are not a model"),
        );
        // A header that promises the most does not take memory for it.
        check(
            b"4294967295 16384\n",
            Text,
            &at(1, "the file ends before it"),
        );
        check(b"2 1\na 1\n", Text, &at(2, "the file ends before it"));
        check(
            b"1 2\na 1\n",
            Text,
            &at(1, "item `a` has 1 numbers instead of 2"),
        );
        check(b"1 1\na b 1\n", Text, &at(1, "\"b\" is not a number"));
        check(b"1 1\na NaN\n", Text, &at(1, "item `a` has the value NaN"));
        check(b"1 1\na inf\n", Text, &at(1, "item `a` has the value inf"));
        check(b"1 1\n\xff 1\n", Text, &at(1, "is not UTF-8"));
        check(b"1 1\n 1\n", Text, &at(1, "the item id is empty"));
        check(
            b"1 1\na\tb 1\n",
            Text,
            &at(1, "item id \"a\\tb\" has white space or control characters"),
        );
        check(b"2 1\na 1\na 2\n", Text, &at(2, "item `a` is there twice"));
        check(
            b"1 1\na 1\nb 2\n",
            Text,
            &at(2, "the header says 1 items, but there is more"),
        );
        check(
            b"1 2\na \0\0\0\0\0",
            Binary,
            &at(1, "the file ends within it"),
        );
        check(b"1 1\n\xff \0\0\0\0", Binary, &at(1, "is not UTF-8"));
        check(
            b"1 1\na \0\0\xc0\x7f",
            Binary,
            &at(1, "item `a` has the value NaN"),
        );
        check(
            b"1 1\na \0\0\0\0b \0\0\0\0",
            Binary,
            &at(2, "the header says 1 items, but there is more"),
        );
    }

    #[test]
    fn ids_that_do_not_fit_are_refused() {
        let vocabulary = Vocabulary::from_counts([("a b", 1)]).unwrap();
        let encoder =
            SessionEncoder::new(SessionEncoding::default(), Arc::new(vocabulary)).unwrap();
        let config = Prod2VecConfig {
            vector_size: 1,
            ..Default::default()
        };
        let model = Prod2Vec::new(encoder, vec![1.0], config, None).unwrap();
        assert_eq!(
            write(&model, Text).unwrap_err().to_string(),
            "word2vec file, entry 1: item id \"a b\" has white space or control characters"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_comes_back(
            items in prop::collection::btree_map(
                "[^\\s\\p{C}]{1,8}", (any::<u32>(), prop::collection::vec(-1e6..1e6_f32, 3)), 1..20,
            ),
        ) {
            let counts = items.iter().map(|(id, (count, _))| (id.clone(), u64::from(*count)));
            let vocabulary = Arc::new(Vocabulary::from_counts(counts).unwrap());
            let encoder = SessionEncoder::new(SessionEncoding::default(), vocabulary).unwrap();
            let vectors = items.values().flat_map(|(_, vector)| vector.clone()).collect();
            let config = Prod2VecConfig { vector_size: 3, ..Default::default() };
            let model = Prod2Vec::new(encoder, vectors, config, None).unwrap();
            for format in [Text, Binary] {
                let bytes = write(&model, format).unwrap();
                let found = read(&bytes, format).unwrap();
                for (id, (_, vector)) in &items {
                    prop_assert_eq!(found.vector(id), Some(&vector[..]));
                }
                prop_assert_eq!(write(&found, format).unwrap(), bytes);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for format in [Text, Binary] {
                drop(read(&bytes, format));
                drop(read(&[b"2 3\n", &bytes[..]].concat(), format));
            }
        }
    }
}
