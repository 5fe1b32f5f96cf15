//! Weights to and from `PyTorch`, as the state of a module in a safetensors file.

use reco_core::SessionEncoder;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::layout::transpose;
use super::weights::Weights;
use super::{Gru4Rec, Gru4RecConfig};
use crate::error::{Error, Result};

impl Gru4Rec {
    /// The weights as the state of a `PyTorch` module, in a safetensors file.
    ///
    /// | name | shape | module |
    /// | --- | --- | --- |
    /// | `item_embedding.weight` | `[n_items, layer]` | `nn.Embedding(n_items, layer)` |
    /// | `item_bias` | `[n_items]` | `nn.Parameter` |
    /// | `input_embedding.weight` | `[n_items, embedding]` | `nn.Embedding`, if the items are read through one of their own |
    /// | `cells.0.weight_ih` | `[3 * dim, input_dim]` | `nn.GRUCell(input_dim, dim)` in an `nn.ModuleList` |
    /// | `cells.0.weight_hh` | `[3 * dim, dim]` | the same |
    /// | `cells.0.bias_ih`, `cells.0.bias_hh` | `[3 * dim]` | the same |
    ///
    /// Gates are in `PyTorch`'s order: reset, update, new. A second layer is `cells.1`, and so on. Without an
    /// embedding to read the items through, the first cell is an `nn.GRUCell(n_items, dim)` of one-hot rows.
    /// Row `i` of an embedding is item `i` of the vocabulary of [`encoder`](crate::Scorer::encoder). All values
    /// are of 32 bits. Scores are `hidden @ item_embedding.weight.T + item_bias`, with the state of the last
    /// cell.
    ///
    /// # Errors
    ///
    /// [`Error::Exchange`] if the file would be too large for the format.
    ///
    /// # Examples
    ///
    /// What `model.load_state_dict(safetensors.torch.load_file("gru4rec.safetensors"))` loads:
    ///
    /// ```python
    /// class Gru4Rec(nn.Module):
    ///     def __init__(self, n_items, layer):
    ///         super().__init__()
    ///         self.item_embedding = nn.Embedding(n_items, layer)
    ///         self.item_bias = nn.Parameter(torch.zeros(n_items))
    ///         self.cells = nn.ModuleList([nn.GRUCell(layer, layer)])
    /// ```
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        let weights = self.weights();
        let shape = self.config().shape();
        let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        for (name, sizes, values) in weights.tensors(&shape) {
            if name == ONE_HOT {
                let [n_items, gates] = [sizes[0], sizes[1]];
                let mut columns = vec![0.0; values.len()];
                transpose((values, gates), (&mut columns, n_items), n_items, gates);
                tensors.push((theirs(&name), vec![gates, n_items], bytes(&columns)));
            } else {
                tensors.push((theirs(&name), sizes, bytes(values)));
            }
        }
        let views = tensors
            .iter()
            .map(|(name, sizes, values)| {
                let view = TensorView::new(Dtype::F32, sizes.clone(), values);
                view.map(|view| (name.as_str(), view))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| failed(error.to_string()))?;
        safetensors::serialize(views, None).map_err(|error| failed(error.to_string()))
    }

    /// A model of weights that were learnt elsewhere, laid out as by [`to_safetensors`](Self::to_safetensors).
    ///
    /// `encoder` has the items in the order of the rows; `config` says which network it is.
    ///
    /// # Errors
    ///
    /// [`Error::Exchange`] if the file is not whole, a tensor is missing, unknown, of another shape or type, or has
    /// a value that is infinite or not a number; [`Error::InvalidConfig`] as for training.
    pub fn from_safetensors(
        file: &[u8],
        encoder: SessionEncoder,
        config: Gru4RecConfig,
    ) -> Result<Self> {
        config.check()?;
        let (shape, n_items) = (config.shape(), encoder.vocabulary().len());
        let tensors = SafeTensors::deserialize(file).map_err(|error| failed(error.to_string()))?;
        let read = |name: &str, sizes: &[usize]| {
            let view = tensors
                .tensor(name)
                .map_err(|error| failed(error.to_string()))?;
            if view.dtype() != Dtype::F32 || view.shape() != sizes {
                return Err(failed(format!(
                    "tensor `{name}` must be F32 of {sizes:?}, is {:?} of {:?}",
                    view.dtype(),
                    view.shape()
                )));
            }
            let (values, _) = view.data().as_chunks();
            Ok(values.iter().copied().map(f32::from_le_bytes).collect())
        };
        let mut names = Vec::new();
        let weights = Weights::from_tensors(&shape, n_items, |name, sizes| {
            let theirs = theirs(name);
            let values = if name == ONE_HOT {
                let [n_items, gates] = [sizes[0], sizes[1]];
                let columns: Vec<f32> = read(&theirs, &[gates, n_items])?;
                let mut values = vec![0.0; columns.len()];
                transpose((&columns, n_items), (&mut values, gates), gates, n_items);
                values
            } else {
                read(&theirs, sizes)?
            };
            names.push(theirs);
            Ok::<_, Error>(values)
        })?;
        if let Some(name) = tensors
            .names()
            .into_iter()
            .filter(|name| !names.iter().any(|known| known == name))
            .min()
        {
            return Err(failed(format!("tensor `{name}` is none of this network")));
        }
        if !weights.is_finite() {
            return Err(failed("a value is infinite or not a number".to_owned()));
        }
        Ok(Self::new(weights, encoder, config, None))
    }
}

/// Our name of what is the transpose of the first cell's `weight_ih`.
const ONE_HOT: &str = "input_gates";

/// Their name of a tensor.
fn theirs(name: &str) -> String {
    match name {
        ONE_HOT => "cells.0.weight_ih".to_owned(),
        "item_embedding" | "input_embedding" => format!("{name}.weight"),
        "item_bias" => name.to_owned(),
        _ => match name.rsplit_once("_l") {
            Some((name, layer)) => format!("cells.{layer}.{name}"),
            None => format!("cells.0.{name}"),
        },
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn failed(reason: String) -> Error {
    Error::Exchange { reason }
}
