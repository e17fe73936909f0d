//! `model.safetensors` in and out, under Hugging Face's names.

use super::{Llama, ModelConfig};
use crate::error::{Error, Result};
use crate::ops::readback;
use burn::tensor::{Device, Tensor, TensorData, bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;

/// Reads every weight that `config` asks for; anything missing, extra, misshapen or not finite is
/// an error that names the tensor.
pub fn read(bytes: &[u8], config: ModelConfig, device: &Device) -> Result<Llama> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| {
        Error::input(format!("not a whole safetensors file: {e}"))
            .next("the file may be cut short or altered: copy it again")
    })?;
    // Before anything of the claimed sizes is allocated, the file must bear them out.
    require_sizes(&file, &config)?;
    let mut model = Llama::empty(config, device);
    let mut taken: HashMap<String, Vec<f32>> = HashMap::new();
    for parameter in model.parameters_mut() {
        if !taken.contains_key(&parameter.name) {
            let values = floats(&file, &parameter.name, &parameter.shape)?;
            taken.insert(parameter.name.clone(), values);
        }
        let [rows, columns] = parameter.block_shape;
        let start = parameter.first_row * columns;
        let values = taken[&parameter.name][start..start + rows * columns].to_vec();
        *parameter.tensor = Tensor::from_data(TensorData::new(values, [rows, columns]), device);
    }
    // Tied checkpoints may repeat the embedding as lm_head.weight; transformers ignores it too.
    let tied_head = |name: &str| model.config.tied && name == super::HEAD;
    if let Some(extra) = file.names().into_iter().find(|&n| !taken.contains_key(n) && !tied_head(n))
    {
        return Err(Error::input(format!("tensor `{extra}` is not part of this architecture"))
            .next(SAME_MODEL));
    }
    Ok(model)
}

/// The widths and the depth that `config` claims, against tensors that hold each of them.
fn require_sizes(file: &SafeTensors, config: &ModelConfig) -> Result<()> {
    let (hidden, last) = (config.hidden_size, config.layers - 1);
    let layer = |part: &str| format!("model.layers.{last}.{part}.weight");
    tensor(file, "model.embed_tokens.weight", &[config.vocab_size, hidden])?;
    tensor(file, &layer("mlp.down_proj"), &[hidden, config.intermediate_size])?;
    tensor(file, &layer("self_attn.q_proj"), &[config.heads * config.head_dim, hidden])?;
    tensor(file, &layer("self_attn.k_proj"), &[config.kv_heads * config.head_dim, hidden])?;
    if config.layers > file.len() {
        return Err(Error::input(format!("{} tensors for {} layers", file.len(), config.layers))
            .next(SAME_MODEL));
    }
    Ok(())
}

const SAME_MODEL: &str = "config.json and model.safetensors must belong to the same model";

fn tensor<'a>(file: &'a SafeTensors, name: &str, shape: &[usize]) -> Result<TensorView<'a>> {
    let view = file.tensor(name).map_err(|_| {
        Error::input(format!("tensor `{name}` of shape {shape:?} is missing")).next(SAME_MODEL)
    })?;
    if view.shape() != shape {
        let given = view.shape();
        return Err(Error::input(format!(
            "tensor `{name}` has shape {given:?}, expected {shape:?}"
        ))
        .next(SAME_MODEL));
    }
    Ok(view)
}

fn floats(file: &SafeTensors, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let view = tensor(file, name, shape)?;
    let bytes = view.data();
    let pairs = || bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => {
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
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
            "tensor `{name}` holds {} at element {index}",
            values[index]
        ))
        .next("the checkpoint is damaged: use an earlier one")),
        None => Ok(values),
    }
}

/// The weights as the bytes of a `model.safetensors` in F32; an error where one is not finite,
/// since no checkpoint is better than one that cannot be read back.
pub async fn write(model: &Llama) -> Result<Vec<u8>> {
    let mut order: Vec<(String, Vec<usize>)> = Vec::new();
    let mut values: HashMap<String, Vec<u8>> = HashMap::new();
    for parameter in model.parameters() {
        let block = readback::floats(parameter.tensor.clone()).await;
        let block = block.map_err(|e| e.at(&parameter.name))?;
        if !block.iter().all(|x| x.is_finite()) {
            return Err(Error::numbers(format!("`{}` is no longer finite", parameter.name))
                .next("go back to an earlier checkpoint with a lower learning rate"));
        }
        if !values.contains_key(&parameter.name) {
            order.push((parameter.name.clone(), parameter.shape.clone()));
        }
        let bytes = block.iter().flat_map(|v| v.to_le_bytes());
        values.entry(parameter.name).or_default().extend(bytes);
    }
    let views = order.iter().map(|(name, shape)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), &values[name]);
        (name, view.expect("blocks add up to the tensor's shape"))
    });
    let format = HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize(views, Some(format))
        .map_err(|e| Error::machine(format!("serialising weights: {e}")))
}
