//! [`ModelArtifactBuilder`]: the parts of a model into an artifact.

use std::collections::BTreeMap;

use arrow::ipc::writer::FileWriter;
use bytes::Bytes;
use safetensors::tensor::{Dtype, TensorView};

use super::{FileDigest, Manifest, ModelArtifact, VOCABULARY, WEIGHTS, malformed};
use crate::error::{Error, Result};
use crate::session::{DataFingerprint, SessionEncoder};
use crate::vocabulary::Vocabulary;

/// Puts a [`ModelArtifact`] together; see [`ModelArtifact::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ModelArtifactBuilder {
    kind: String,
    encoder: SessionEncoder,
    config: serde_json::Value,
    data: Option<DataFingerprint>,
    tensors: Vec<(String, Vec<usize>, Values)>,
}

/// The values of a tensor, in row-major order.
#[derive(Debug, Clone)]
enum Values {
    F32(Vec<f32>),
    U32(Vec<u32>),
}

impl ModelArtifactBuilder {
    pub(super) fn new(kind: String, encoder: &SessionEncoder) -> Self {
        Self {
            kind,
            encoder: encoder.clone(),
            config: serde_json::Value::Object(serde_json::Map::new()),
            data: None,
            tensors: Vec::new(),
        }
    }

    /// The hyperparameters, as JSON.
    pub fn config(self, config: serde_json::Value) -> Self {
        Self { config, ..self }
    }

    /// What the model was fitted on.
    pub fn data(self, data: DataFingerprint) -> Self {
        Self {
            data: Some(data),
            ..self
        }
    }

    /// A tensor, in row-major order.
    pub fn tensor(mut self, name: impl Into<String>, shape: &[usize], values: &[f32]) -> Self {
        self.tensors
            .push((name.into(), shape.to_vec(), Values::F32(values.to_vec())));
        self
    }

    /// A tensor of positions or counts, in row-major order: numbers that f32 would round from 2²⁴ on.
    pub fn indices(mut self, name: impl Into<String>, shape: &[usize], values: &[u32]) -> Self {
        self.tensors
            .push((name.into(), shape.to_vec(), Values::U32(values.to_vec())));
        self
    }

    /// The artifact.
    ///
    /// # Errors
    ///
    /// [`Error::MalformedArtifact`] if a tensor's shape does not fit its number of values, if a value
    /// is not finite, or if two tensors have one name: what is built can be loaded.
    pub fn build(self) -> Result<ModelArtifact> {
        let mut tensors = BTreeMap::new();
        for (name, shape, values) in self.tensors {
            let (dtype, bytes) = match values {
                Values::F32(values) if values.iter().all(|value| value.is_finite()) => {
                    (Dtype::F32, le_bytes(&values, |value| value.to_le_bytes()))
                }
                Values::F32(_) => {
                    let reason = format!("tensor `{name}` holds a value that is not finite");
                    return Err(malformed(WEIGHTS, reason));
                }
                Values::U32(values) => (Dtype::U32, le_bytes(&values, |value| value.to_le_bytes())),
            };
            let tensor = (dtype, shape, bytes);
            if tensors.insert(name.clone(), tensor).is_some() {
                return Err(malformed(
                    WEIGHTS,
                    format!("two tensors are named `{name}`"),
                ));
            }
        }
        let views = tensors
            .iter()
            .map(|(name, (dtype, shape, bytes))| {
                let view = TensorView::new(*dtype, shape.clone(), bytes);
                Ok((name, view.map_err(|error| malformed(WEIGHTS, error))?))
            })
            .collect::<Result<Vec<_>>>()?;
        let weights = safetensors::serialize(views, None);
        let weights = Bytes::from(weights.map_err(|error| malformed(WEIGHTS, error))?);
        let vocabulary = Bytes::from(write_vocabulary(self.encoder.vocabulary())?);
        let files = BTreeMap::from([
            (WEIGHTS.to_owned(), FileDigest::of(&weights)),
            (VOCABULARY.to_owned(), FileDigest::of(&vocabulary)),
        ]);
        let manifest = Manifest {
            format_version: Manifest::FORMAT,
            kind: self.kind,
            config: self.config,
            encoding: self.encoder.encoding(),
            data: self.data,
            scores: BTreeMap::new(),
            checks: None,
            files,
        };
        Ok(ModelArtifact {
            manifest,
            weights,
            vocabulary,
        })
    }
}

fn le_bytes<T: Copy>(values: &[T], bytes: impl Fn(T) -> [u8; 4]) -> Vec<u8> {
    values.iter().flat_map(|&value| bytes(value)).collect()
}

fn write_vocabulary(vocabulary: &Vocabulary) -> Result<Vec<u8>> {
    let batch = vocabulary.to_batch()?;
    let arrow = |source| Error::Arrow {
        table: "vocabulary".to_owned(),
        source,
    };
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).map_err(arrow)?;
    writer.write(&batch).map_err(arrow)?;
    writer.into_inner().map_err(arrow)
}
