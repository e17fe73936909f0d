//! Weights in and out, under Hugging Face's names.

use super::llama::{EMBEDDING, HEAD};
use super::serialize::write as write_tensors;
use super::tensors::{SAME_MODEL, Tensors};
use super::{Llama, ModelConfig, Parameter, ParameterMut};
use crate::config::{Frozen, Storage};
use crate::error::{Error, Result};
use crate::ops::stored::{BlockType, StoredMatrix};
use crate::ops::weight::Weight;
use crate::platform::FileWriter;
use burn::tensor::{Device, Tensor, TensorData, bf16, f16};
use safetensors::tensor::{Dtype, TensorView};
use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

/// A model's weights in its files, by Hugging Face's names.
pub trait Source {
    /// How many tensors there are.
    fn count(&self) -> usize;

    /// Refuses a tensor that is missing or has another shape.
    fn require(&self, name: &str, shape: &[usize]) -> Result<()>;

    /// Some rows of a tensor of that shape in f32; a vector is one row. A number that is not finite is an
    /// error.
    fn rows(&self, name: &str, shape: &[usize], rows: Range<usize>) -> Result<Vec<f32>>;

    /// The numbers of a tensor of that shape as they are stored, if that is not in f32.
    fn stored(&self, name: &str, shape: &[usize]) -> Result<Option<(BlockType, Cow<'_, [u8]>)>>;

    /// Refuses tensors that are no weight of the model, whose head is `tied` to the embedding or not.
    fn require_only(&self, names: &HashSet<String>, tied: bool) -> Result<()>;
}

impl Source for Tensors<'_> {
    fn count(&self) -> usize {
        self.count()
    }

    fn require(&self, name: &str, shape: &[usize]) -> Result<()> {
        self.get(name, shape).map(|_| ())
    }

    fn rows(&self, name: &str, shape: &[usize], rows: Range<usize>) -> Result<Vec<f32>> {
        let (view, columns) = (self.get(name, shape)?, shape[shape.len() - 1]);
        floats(name, &view, rows.start * columns..rows.end * columns)
            .map_err(|e| e.at(self.place_of(name)))
    }

    fn stored(&self, name: &str, shape: &[usize]) -> Result<Option<(BlockType, Cow<'_, [u8]>)>> {
        let view = self.get(name, shape)?;
        let kind = match view.dtype() {
            Dtype::F16 => BlockType::F16,
            Dtype::BF16 => BlockType::Bf16,
            _ => return Ok(None),
        };
        Ok(Some((kind, Cow::Borrowed(view.data()))))
    }

    fn require_only(&self, names: &HashSet<String>, tied: bool) -> Result<()> {
        self.require_only(names, |name| is_spare(name, tied))
    }
}

/// Puts matrices that do not train into a model in a form other than f32.
pub type Hold<S> = fn(&S, &mut Llama) -> Result<()>;

/// How matrices that do not train are held.
pub fn hold<S: Source>(frozen: Frozen) -> Hold<S> {
    match frozen {
        Frozen::Stored => hold_stored,
        Frozen::F32 => |_, _| Ok(()),
    }
}

/// Reads every weight that `config` asks for, and whether the head is tied from the files; see
/// [`read_from`].
pub fn read<'a>(
    tensors: &mut Tensors<'a>,
    mut config: ModelConfig,
    device: &Device,
    hold: Hold<Tensors<'a>>,
) -> Result<Llama> {
    settle_tying(tensors, &mut config)?;
    read_from(tensors, config, device, hold)
}

/// Reads every weight that `config` asks for; any other tensor is an error. Matrices that `hold` has put
/// in place are not read again.
pub fn read_from<S: Source>(
    source: &S,
    config: ModelConfig,
    device: &Device,
    hold: Hold<S>,
) -> Result<Llama> {
    // The files must have the sizes that the config claims before anything is allocated by them.
    require_sizes(source, &config)?;
    let mut model = Llama::empty(config, device);
    let names = model.weights_mut().into_iter().map(|p| p.name).collect();
    hold(source, &mut model)?;
    fill(source, model.weights_mut(), device)?;
    source.require_only(&names, model.config.tied)?;
    Ok(model)
}

/// Whether a tensor can be ignored, as transformers does: a second copy of a tied head, tables that are
/// computed.
pub fn is_spare(name: &str, tied: bool) -> bool {
    tied && name == HEAD || name.ends_with("rotary_emb.inv_freq")
}

/// Decides whether the head is tied, as transformers does since 5.0: a stored head that differs from the
/// embedding is the head, whatever the config says; and if tied, either of the two may be stored alone.
fn settle_tying(tensors: &mut Tensors, config: &mut ModelConfig) -> Result<()> {
    if !config.tied || !tensors.has(HEAD) {
        return Ok(());
    }
    if !tensors.has(EMBEDDING) {
        tensors.put_in_place(EMBEDDING, HEAD);
        return Ok(());
    }
    let shape = [config.vocab_size, config.hidden_size];
    let (embedding, head) = (tensors.get(EMBEDDING, &shape)?, tensors.get(HEAD, &shape)?);
    config.tied = if embedding.dtype() == head.dtype() {
        embedding.data() == head.data()
    } else {
        let row = |index: usize| index * shape[1]..(index + 1) * shape[1];
        let same = |index| -> Result<bool> {
            Ok(floats(EMBEDDING, &embedding, row(index))? == floats(HEAD, &head, row(index))?)
        };
        let mut rows = 0..shape[0];
        rows.try_fold(true, |so_far, index| Ok::<_, Error>(so_far && same(index)?))?
    };
    Ok(())
}

/// Checks the widths and the depth that `config` claims against tensors that have them.
fn require_sizes(source: &impl Source, config: &ModelConfig) -> Result<()> {
    let (hidden, last) = (config.hidden_size, config.layers - 1);
    let layer = |part: &str| format!("model.layers.{last}.{part}.weight");
    source.require(EMBEDDING, &[config.vocab_size, hidden])?;
    source.require(&layer("mlp.down_proj"), &[hidden, config.intermediate_size])?;
    source.require(&layer("self_attn.q_proj"), &[config.heads * config.head_dim, hidden])?;
    source.require(&layer("self_attn.k_proj"), &[config.kv_heads * config.head_dim, hidden])?;
    let given = source.count();
    if config.layers > given {
        return Err(
            Error::input(format!("{given} tensors for {} layers", config.layers)).next(SAME_MODEL)
        );
    }
    Ok(())
}

/// Fills a list of weights, a block at a time, so that host memory never holds the model twice. Anything
/// missing, of the wrong shape or not finite is an error that names file and tensor.
pub fn fill(source: &impl Source, parameters: Vec<ParameterMut>, device: &Device) -> Result<()> {
    for parameter in parameters {
        let [rows, columns] = parameter.block_shape;
        let first = parameter.first_row;
        let values = source.rows(&parameter.name, &parameter.shape, first..first + rows)?;
        *parameter.tensor = Tensor::from_data(TensorData::new(values, [rows, columns]), device);
    }
    Ok(())
}

/// Keeps the matrices that are stored in half precision or quantised as they are stored: the layers', embedding
/// and head.
fn hold_stored<S: Source>(source: &S, model: &mut Llama) -> Result<()> {
    let device = model.device();
    for (name, matrix) in model.matrices_mut() {
        let shape = matrix.dims();
        let Some((kind, bytes)) = finite(source, &name, &shape)? else { continue };
        if let Some(weight) = StoredMatrix::new(&bytes, kind, shape[0], &device) {
            matrix.freeze(Arc::new(weight));
        }
    }
    for (name, table) in model.tables_mut() {
        let shape @ [rows, _] = table.dims();
        let Some((kind, bytes)) = finite(source, name, &shape)? else { continue };
        let row_bytes = bytes.len() / rows;
        let block_rows = table.rows_within(row_bytes);
        let blocks = bytes.chunks(block_rows * row_bytes).map(|bytes| {
            let weight = StoredMatrix::new(bytes, kind, bytes.len() / row_bytes, &device)?;
            Some(Weight::Frozen(Arc::new(weight)))
        });
        if let Some(blocks) = blocks.collect::<Option<Vec<_>>>() {
            table.freeze(blocks, block_rows);
        }
    }
    Ok(())
}

/// The numbers of a matrix as they are stored, if that is not in f32; one that is not finite is an error.
fn finite<'a, S: Source>(
    source: &'a S,
    name: &str,
    shape: &[usize; 2],
) -> Result<Option<(BlockType, Cow<'a, [u8]>)>> {
    let stored = source.stored(name, shape)?;
    if let Some((kind, bytes)) = &stored
        && let Some(index) = kind.first_not_finite(bytes)
    {
        let row = index / shape[1];
        source.rows(name, shape, row..row + 1)?; // says which number it is
    }
    Ok(stored)
}

/// Some elements of a tensor as f32.
fn floats(name: &str, view: &TensorView, range: Range<usize>) -> Result<Vec<f32>> {
    let bytes = |size: usize| &view.data()[range.start * size..range.end * size];
    let pairs = || bytes(2).chunks_exact(2).map(|b| [b[0], b[1]]);
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => {
            let quads = bytes(4).chunks_exact(4);
            quads.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        }
        Dtype::F16 => pairs().map(|b| f16::from_le_bytes(b).to_f32()).collect(),
        Dtype::BF16 => pairs().map(|b| bf16::from_le_bytes(b).to_f32()).collect(),
        other => {
            return Err(Error::input(format!("tensor `{name}` has type {other:?}"))
                .next("supported: F32, F16, BF16"));
        }
    };
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(Error::numbers(format!(
            "tensor `{name}` holds {} at element {}",
            values[index],
            range.start + index
        ))
        .next("the checkpoint is damaged: use an earlier one")),
        None => Ok(values),
    }
}

/// The type's name in transformers' config.
pub fn torch_name(dtype: Storage) -> &'static str {
    match dtype {
        Storage::F32 => "float32",
        Storage::F16 => "float16",
        Storage::Bf16 => "bfloat16",
    }
}

/// Writes a safetensors file of these weights. A value that is not finite (in F16: too large) is an
/// error, since no checkpoint is better than one that cannot be loaded.
pub async fn write(
    file: &mut FileWriter,
    parameters: Vec<Parameter>,
    storage: Storage,
) -> Result<()> {
    let require_storable = |name: &str, values: &[f32]| {
        let largest = values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        require_finite(name, values)?;
        if storage == Storage::F16 && !f16::from_f32(largest).is_finite() {
            return Err(Error::numbers(format!("`{name}` holds {largest}, more than F16 can"))
                .next("store it as bf16 or f32: --set checkpoint.dtype=bf16"));
        }
        Ok(())
    };
    // transformers refuses a file that does not name its framework.
    write_tensors(file, parameters, storage, Some("pt"), require_storable).await
}

/// Refuses to write what cannot be loaded.
pub fn require_finite(name: &str, values: &[f32]) -> Result<()> {
    match values.iter().all(|x| x.is_finite()) {
        true => Ok(()),
        false => Err(Error::numbers(format!("`{name}` is no longer finite"))
            .next("go back to an earlier checkpoint with a lower learning rate")),
    }
}
