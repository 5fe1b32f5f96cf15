//! [`ModelArtifact`]: a trained model as files that any version of the crates can check and load.

mod builder;
mod manifest;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow::ipc::reader::FileReader;
use bytes::Bytes;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde::de::DeserializeOwned;

pub use builder::ModelArtifactBuilder;
pub use manifest::{FileDigest, Manifest};

use crate::check::CheckReport;
use crate::config::config_from_value;
use crate::error::{BoxError, Error, Result};
use crate::session::SessionEncoder;
use crate::vocabulary::Vocabulary;

/// A trained model as three files: what it is, what it has learnt, and which items it knows.
///
/// | file | format | content |
/// | --- | --- | --- |
/// | `manifest.json` | JSON | [`Manifest`] |
/// | `weights.safetensors` | safetensors | tensors of f32 and u32, by name |
/// | `vocabulary.arrow` | Arrow IPC file | [`Vocabulary::to_batch`] |
///
/// The same model gives the same bytes. The digests of the manifest are checked when the files are
/// put together again.
///
/// # Examples
///
/// ```
/// use reco_core::{ModelArtifact, SessionEncoder, SessionEncoding, Vocabulary};
///
/// let vocabulary = Vocabulary::from_counts([("hat", 5), ("scarf", 2)])?;
/// let encoder = SessionEncoder::new(SessionEncoding::default(), vocabulary.into())?;
/// let artifact = ModelArtifact::builder("popularity", &encoder)
///     .tensor("score", &[2], &[5.0, 2.0])
///     .build()?;
///
/// let files = artifact.to_files()?;
/// let back = ModelArtifact::from_files(&files)?;
/// assert_eq!(back.tensor("score", &[2])?, [5.0, 2.0]);
/// assert_eq!(back.encoder()?.vocabulary().len(), 2);
/// # Ok::<(), reco_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ModelArtifact {
    manifest: Manifest,
    weights: Bytes,
    vocabulary: Bytes,
}

/// The name of the manifest among an artifact's files.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The name of the weights among an artifact's files.
pub(crate) const WEIGHTS: &str = "weights.safetensors";
/// The name of the vocabulary among an artifact's files.
pub(crate) const VOCABULARY: &str = "vocabulary.arrow";

impl ModelArtifact {
    /// Puts the artifact of a model together.
    pub fn builder(kind: impl Into<String>, encoder: &SessionEncoder) -> ModelArtifactBuilder {
        ModelArtifactBuilder::new(kind.into(), encoder)
    }

    /// What the model is.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The kind of model, which names its loader.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.manifest.kind
    }

    /// The same artifact with the scores of an evaluation added, by metric.
    #[must_use]
    pub fn with_scores<N: Into<String>>(
        mut self,
        scores: impl IntoIterator<Item = (N, f64)>,
    ) -> Self {
        self.manifest
            .scores
            .extend(scores.into_iter().map(|(name, value)| (name.into(), value)));
        self
    }

    /// The same artifact with the outcome of checks on the model, in place of any that it had.
    ///
    /// A registry publishes it whatever they say, and [promotes](crate::ModelRegistry::promote) it if none
    /// failed that is an error.
    #[must_use]
    pub fn with_checks(mut self, checks: CheckReport) -> Self {
        self.manifest.checks = Some(checks);
        self
    }

    /// The hyperparameters.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownKey`] and [`Error::InvalidConfig`] if they are not those of a `C`.
    pub fn config<C: DeserializeOwned>(&self) -> Result<C> {
        config_from_value(self.kind(), self.manifest.config.clone())
    }

    /// What encodes sessions for the model.
    ///
    /// # Errors
    ///
    /// [`Error::MalformedArtifact`] if the vocabulary cannot be read,
    /// [`Error::UnsupportedFormat`] if this build does not know the encoding.
    pub fn encoder(&self) -> Result<SessionEncoder> {
        let reader = FileReader::try_new(Cursor::new(&self.vocabulary), None)
            .map_err(|error| malformed(VOCABULARY, error))?;
        let schema = reader.schema();
        let batches = reader
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| malformed(VOCABULARY, error))?;
        let batch = arrow::compute::concat_batches(&schema, &batches)
            .map_err(|error| malformed(VOCABULARY, error))?;
        let vocabulary =
            Vocabulary::from_batch(&batch).map_err(|error| malformed(VOCABULARY, error))?;
        SessionEncoder::new(self.manifest.encoding, Arc::new(vocabulary))
    }

    /// The values of a tensor of the given shape, in row-major order.
    ///
    /// # Errors
    ///
    /// [`Error::MalformedArtifact`] if it is not there, not of f32, of another shape, or holds a
    /// value that is not finite.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let values = self.values(name, shape, Dtype::F32, f32::from_le_bytes)?;
        if values.iter().all(|value| value.is_finite()) {
            return Ok(values);
        }
        Err(malformed(
            WEIGHTS,
            format!("tensor `{name}` holds a value that is not finite"),
        ))
    }

    /// The values of a tensor of positions or counts of the given shape, in row-major order.
    ///
    /// # Errors
    ///
    /// [`Error::MalformedArtifact`] if it is not there, not of u32, or of another shape.
    pub fn indices(&self, name: &str, shape: &[usize]) -> Result<Vec<u32>> {
        self.values(name, shape, Dtype::U32, u32::from_le_bytes)
    }

    fn values<T>(
        &self,
        name: &str,
        shape: &[usize],
        dtype: Dtype,
        value: fn([u8; 4]) -> T,
    ) -> Result<Vec<T>> {
        let tensors =
            SafeTensors::deserialize(&self.weights).map_err(|error| malformed(WEIGHTS, error))?;
        let tensor = tensors
            .tensor(name)
            .map_err(|error| malformed(WEIGHTS, error))?;
        if tensor.dtype() != dtype || tensor.shape() != shape {
            let found = (tensor.dtype(), tensor.shape());
            let expected = (dtype, shape);
            let reason = format!("tensor `{name}` is {found:?}, expected {expected:?}");
            return Err(malformed(WEIGHTS, reason));
        }
        let (chunks, _) = tensor.data().as_chunks::<4>();
        Ok(chunks.iter().map(|chunk| value(*chunk)).collect())
    }

    /// The names and shapes of the tensors, ordered by name.
    ///
    /// # Errors
    ///
    /// [`Error::MalformedArtifact`] if the weights cannot be read.
    pub fn tensor_shapes(&self) -> Result<BTreeMap<String, Vec<usize>>> {
        let tensors =
            SafeTensors::deserialize(&self.weights).map_err(|error| malformed(WEIGHTS, error))?;
        Ok(tensors
            .iter()
            .map(|(name, view)| (name.to_owned(), view.shape().to_vec()))
            .collect())
    }

    /// The files, by name.
    ///
    /// # Errors
    ///
    /// [`Error::MalformedArtifact`] if a score is not finite, which JSON cannot hold.
    pub fn to_files(&self) -> Result<BTreeMap<String, Bytes>> {
        if let Some((metric, score)) = self.manifest.scores.iter().find(|(_, s)| !s.is_finite()) {
            let reason = format!("the score of `{metric}` is {score}");
            return Err(malformed(MANIFEST, reason));
        }
        let manifest = serde_json::to_vec_pretty(&self.manifest)
            .map_err(|error| malformed(MANIFEST, error))?;
        Ok(BTreeMap::from([
            (MANIFEST.to_owned(), manifest.into()),
            (WEIGHTS.to_owned(), self.weights.clone()),
            (VOCABULARY.to_owned(), self.vocabulary.clone()),
        ]))
    }

    /// An artifact from its files.
    ///
    /// # Errors
    ///
    /// [`Error::MalformedArtifact`] if a file is missing or cut short, [`Error::UnsupportedFormat`]
    /// if it was written by a later version, [`Error::DigestMismatch`] if a file was changed.
    pub fn from_files(files: &BTreeMap<String, Bytes>) -> Result<Self> {
        let file = |name: &str| {
            files
                .get(name)
                .ok_or_else(|| malformed(name, "it is missing"))
        };
        let manifest = Self::parse_manifest(file(MANIFEST)?)?;
        for (name, expected) in &manifest.files {
            let found = FileDigest::of(file(name)?);
            if found != *expected {
                return Err(Error::DigestMismatch {
                    file: name.clone(),
                    expected: expected.sha256.clone(),
                    found: found.sha256,
                });
            }
        }
        for name in [WEIGHTS, VOCABULARY] {
            if !manifest.files.contains_key(name) {
                return Err(malformed(
                    MANIFEST,
                    format!("it states no digest of `{name}`"),
                ));
            }
        }
        Ok(Self {
            manifest,
            weights: file(WEIGHTS)?.clone(),
            vocabulary: file(VOCABULARY)?.clone(),
        })
    }

    /// Reads a manifest alone.
    pub(crate) fn parse_manifest(bytes: &[u8]) -> Result<Manifest> {
        /// Read first: a later format may have other fields.
        #[derive(serde::Deserialize)]
        struct Version {
            format_version: u32,
        }
        let Version { format_version } =
            serde_json::from_slice(bytes).map_err(|error| malformed(MANIFEST, error))?;
        if format_version != Manifest::FORMAT {
            return Err(Error::UnsupportedFormat {
                what: "artifact format",
                found: format_version,
                supported: Manifest::FORMAT,
            });
        }
        serde_json::from_slice(bytes).map_err(|error| malformed(MANIFEST, error))
    }
}

fn malformed(file: &str, reason: impl Into<BoxError>) -> Error {
    Error::MalformedArtifact {
        file: file.to_owned(),
        source: reason.into(),
    }
}

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes what is written to it");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SessionEncoding;

    fn artifact() -> ModelArtifact {
        let vocabulary = Vocabulary::from_counts([("hat", 5), ("scarf", 2)]).unwrap();
        let encoder = SessionEncoder::new(SessionEncoding::default(), vocabulary.into()).unwrap();
        ModelArtifact::builder("test", &encoder)
            .config(serde_json::json!({"dim": 2}))
            .tensor("w", &[2, 2], &[1.0, 2.0, 3.0, 4.0])
            .build()
            .unwrap()
            .with_scores([("recall@20", 0.5)])
    }

    fn chain(error: &dyn std::error::Error) -> String {
        let causes = std::iter::successors(Some(error), |error| error.source());
        causes
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(": ")
    }

    #[test]
    fn the_same_model_gives_the_same_bytes_and_back() {
        let files = artifact().to_files().unwrap();
        assert_eq!(files, artifact().to_files().unwrap());
        assert_eq!(ModelArtifact::from_files(&files).unwrap(), artifact());
    }

    #[test]
    fn each_damage_has_its_error() {
        let check = |damage: &dyn Fn(&mut BTreeMap<String, Bytes>), expected: &str| {
            let mut files = artifact().to_files().unwrap();
            damage(&mut files);
            let error = chain(&ModelArtifact::from_files(&files).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check(
            &|files| drop(files.remove(WEIGHTS)),
            "`weights.safetensors` of the artifact cannot be read: it is missing",
        );
        check(
            &|files| drop(files.remove(MANIFEST)),
            "`manifest.json` of the artifact cannot be read: it is missing",
        );
        check(
            &|files| *files.get_mut(WEIGHTS).unwrap() = files[WEIGHTS].slice(..20),
            "file `weights.safetensors` of the artifact has digest",
        );
        check(
            &|files| *files.get_mut(MANIFEST).unwrap() = files[MANIFEST].slice(..20),
            "`manifest.json` of the artifact cannot be read: EOF",
        );
        check(
            &|files| {
                *files.get_mut(MANIFEST).unwrap() = Bytes::from_static(b"{\"format_version\": 2}");
            },
            "the artifact format has version 2; this build reads 1",
        );
    }

    #[test]
    fn what_cannot_be_loaded_is_not_written() {
        let error = artifact()
            .with_scores([("mrr@20", f64::NAN)])
            .to_files()
            .unwrap_err();
        assert!(
            chain(&error).ends_with("the score of `mrr@20` is NaN"),
            "{error}"
        );
        let encoder = artifact().encoder().unwrap();
        let build = |tensors: &[(&str, f32)]| {
            let builder = ModelArtifact::builder("test", &encoder);
            tensors
                .iter()
                .fold(builder, |b, (name, value)| b.tensor(*name, &[1], &[*value]))
                .build()
        };
        let error = build(&[("w", f32::INFINITY)]).unwrap_err();
        assert!(
            chain(&error).ends_with("tensor `w` holds a value that is not finite"),
            "{error}"
        );
        let error = build(&[("w", 1.0), ("w", 2.0)]).unwrap_err();
        assert!(
            chain(&error).ends_with("two tensors are named `w`"),
            "{error}"
        );
    }

    #[test]
    fn a_tensor_of_another_shape_is_refused() {
        let error = chain(&artifact().tensor("w", &[4]).unwrap_err());
        assert!(
            error.ends_with("tensor `w` is (F32, [2, 2]), expected (F32, [4])"),
            "{error}"
        );
        assert!(artifact().tensor("v", &[4]).is_err());
        assert!(artifact().indices("w", &[2, 2]).is_err());
    }

    #[test]
    fn indices_come_back_to_the_last_bit() {
        let encoder = artifact().encoder().unwrap();
        let built = ModelArtifact::builder("test", &encoder)
            .indices("i", &[3], &[0, (1 << 24) + 1, u32::MAX])
            .build()
            .unwrap();
        let back = ModelArtifact::from_files(&built.to_files().unwrap()).unwrap();
        assert_eq!(
            back.indices("i", &[3]).unwrap(),
            [0, (1 << 24) + 1, u32::MAX]
        );
        let error = chain(&back.tensor("i", &[3]).unwrap_err());
        assert!(
            error.ends_with("tensor `i` is (U32, [3]), expected (F32, [3])"),
            "{error}"
        );
    }
}
