//! [`Checkpoint`]: a training between two epochs, as a file that it goes on from to the same bytes.
//!
//! The file is one of safetensors, which other tools open. Its tensors are the weights under the names of
//! [`Gru4Rec::to_artifact`](super::Gru4Rec::to_artifact), and what the optimiser remembers under
//! `optimizer.0`, `optimizer.1` and so on: squares and velocities, row by row. Its metadata has one key,
//! `reco-train.gru4rec.checkpoint`: JSON with the version of the format, the configuration, the fingerprint of
//! the data, the epoch, the state of the generator, and a digest of all of it.
//!
//! The states of the lanes are not in it: an epoch starts without any.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rand_xoshiro::Xoshiro256PlusPlus;
use reco_core::DataFingerprint;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Gru4RecConfig;
use super::weights::Weights;
use crate::error::{Error, Result};

/// The version that is written, and the only one that is read.
const FORMAT: u32 = 1;
/// The key of the metadata.
const KEY: &str = "reco-train.gru4rec.checkpoint";
/// What the names of the optimiser's tensors start with.
const OPTIMIZER: &str = "optimizer.";

/// What an engine has learnt, with the memory of its optimiser: of the items' rows and biases, the inputs' and each
/// half of each cell, row by row squares, then velocities.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EngineState {
    pub(super) weights: Weights,
    pub(super) memory: Vec<Vec<f32>>,
}

/// A training after an epoch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Checkpoint {
    /// The last epoch that is in it, from 1.
    pub(super) epoch: u32,
    pub(super) rng: Xoshiro256PlusPlus,
    pub(super) state: EngineState,
}

/// What is not a tensor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    config: Gru4RecConfig,
    data: DataFingerprint,
    epoch: u32,
    rng: Xoshiro256PlusPlus,
    /// SHA-256 of the header without it and of the tensors, in hex.
    sha256: String,
}

impl Checkpoint {
    /// Replaces the file in one step: whoever reads it finds the one before or this one.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] if the file system fails.
    pub(super) fn write(
        &self,
        path: &Path,
        config: &Gru4RecConfig,
        data: &DataFingerprint,
    ) -> Result<()> {
        let mut header = Header {
            format: FORMAT,
            config: config.clone(),
            data: data.clone(),
            epoch: self.epoch,
            rng: self.rng.clone(),
            sha256: String::new(),
        };
        let memory = self.state.memory.iter().enumerate();
        let memory = memory.map(|(position, values)| {
            let name = format!("{OPTIMIZER}{position:03}");
            (name, vec![values.len()], values.as_slice())
        });
        let mut tensors = self.state.weights.tensors(&config.shape());
        tensors.extend(memory);
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
            .into_iter()
            .map(|(name, shape, values)| {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes());
                (name, shape, bytes.collect())
            })
            .collect();
        let bytes_of = tensors
            .iter()
            .map(|(name, _, bytes)| (name.as_str(), bytes.as_slice()));
        header.sha256 = digest(&header, bytes_of)?;
        let views = tensors
            .iter()
            .map(|(name, shape, bytes)| {
                let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
                view.map(|view| (name.as_str(), view))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| failed(path, error.to_string()))?;
        let metadata = HashMap::from([(KEY.to_owned(), serde_json::to_string(&header)?)]);
        let bytes = safetensors::serialize(views, Some(metadata))
            .map_err(|error| failed(path, error.to_string()))?;
        replace(path, &bytes).map_err(|error| failed(path, error.to_string()))
    }

    /// Reads a training of this configuration and data; only the number of epochs may be another.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] if the file cannot be read, is not whole, or is of another configuration or other
    /// data.
    pub(super) fn read(
        path: &Path,
        config: &Gru4RecConfig,
        data: &DataFingerprint,
        n_items: usize,
    ) -> Result<Self> {
        let damaged = |what: &str| failed(path, format!("the file is damaged: {what}"));
        let bytes = fs::read(path).map_err(|error| failed(path, error.to_string()))?;
        let (_, metadata) =
            SafeTensors::read_metadata(&bytes).map_err(|error| damaged(&error.to_string()))?;
        let tensors =
            SafeTensors::deserialize(&bytes).map_err(|error| damaged(&error.to_string()))?;
        let header = metadata.metadata().as_ref().and_then(|all| all.get(KEY));
        let header = header.ok_or_else(|| failed(path, "it is no checkpoint".to_owned()))?;
        let mut header: Header =
            serde_json::from_str(header).map_err(|error| damaged(&error.to_string()))?;
        if header.format != FORMAT {
            let reason = format!("its format is {}, not {FORMAT}", header.format);
            return Err(failed(path, reason));
        }
        let sha256 = std::mem::take(&mut header.sha256);
        let mut all = tensors.tensors();
        all.sort_by(|(left, _), (right, _)| left.cmp(right));
        let bytes_of = all.iter().map(|(name, view)| (name.as_str(), view.data()));
        if digest(&header, bytes_of)? != sha256 {
            return Err(damaged("the digest is another"));
        }
        if let Some(key) = difference(&header.config, config)? {
            let reason = format!("it is of another configuration: `{key}` differs");
            return Err(failed(path, reason));
        }
        if header.data != *data {
            return Err(failed(path, "it is of other data".to_owned()));
        }
        let read = |name: &str, shape: &[usize]| {
            let view = tensors.tensor(name).ok();
            let view = view.filter(|view| view.shape() == shape && view.dtype() == Dtype::F32);
            view.map(|view| values(view.data()))
                .ok_or_else(|| damaged(&format!("tensor `{name}`")))
        };
        let memory = all
            .iter()
            .filter(|(name, _)| name.starts_with(OPTIMIZER))
            .map(|(_, view)| values(view.data()));
        Ok(Self {
            epoch: header.epoch,
            rng: header.rng,
            state: EngineState {
                memory: memory.collect(),
                weights: Weights::from_tensors(&config.shape(), n_items, read)?,
            },
        })
    }
}

fn failed(path: &Path, reason: String) -> Error {
    Error::Checkpoint {
        path: path.to_owned(),
        reason,
    }
}

/// The error of a file that is whole and does not fit the engine.
pub(super) fn does_not_fit(path: &Path) -> Error {
    failed(path, "its optimiser remembers something else".to_owned())
}

fn values(bytes: &[u8]) -> Vec<f32> {
    let (values, _) = bytes.as_chunks();
    values.iter().copied().map(f32::from_le_bytes).collect()
}

/// The first hyperparameter in which two configurations differ, but for the number of epochs.
fn difference(left: &Gru4RecConfig, right: &Gru4RecConfig) -> Result<Option<String>> {
    let (left, right) = (serde_json::to_value(left)?, serde_json::to_value(right)?);
    let keys = left.as_object().into_iter().flat_map(serde_json::Map::keys);
    let mut keys = keys.filter(|key| *key != "n_epochs" && left[*key] != right[*key]);
    Ok(keys.next().cloned())
}

/// Of the header and the tensors in the order of their names.
fn digest<'a>(
    header: &Header,
    tensors: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Result<String> {
    let mut tensors: Vec<_> = tensors.collect();
    tensors.sort_unstable();
    let mut digest = Sha256::new();
    digest.update(serde_json::to_vec(header)?);
    for (name, bytes) in tensors {
        digest.update(name);
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    }
    let hex = digest.finalize();
    Ok(hex.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a file beside, makes it durable, and puts it in the place of the one that is there.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&beside, path)?;
    // The name is durable once its folder is. Other systems cannot open a folder.
    #[cfg(unix)]
    {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    }
    Ok(())
}
