//! What there is to say of a model before anything runs.

use super::protocol::{Facts, MemoryView, StoredView};
use crate::config::Config;
use crate::device::Kind;
use crate::error::Result;
use crate::model::ModelFolder;
use crate::plan::{self, Circumstances, Plan};
use crate::run::{held, lora_settings};
use serde_json::Value;

/// The facts of a model and of a run by this config on such a device.
pub fn of(folder: &ModelFolder, config: &Config, kind: Kind) -> Result<Facts> {
    let (tokenizer, shape) = folder.text_and_shape()?;
    let texts: Value = serde_json::from_slice(&folder.tokenizer).unwrap_or_default();
    let fields: Value = serde_json::from_slice(&folder.config).unwrap_or_default();
    let template = folder.template()?.is_some();
    held(config, folder)?; // whether it can train so
    let lora = match &folder.adapter {
        Some(adapter) => Some(adapter.lora(shape.layers)?),
        None => lora_settings(config)?,
    };
    let here = Circumstances {
        on_cpu: !kind.is_gpu(),
        frozen: lora.as_ref().and_then(|_| folder.frozen_bytes()),
        longest: None,
        evaluates: true,
    };
    let budget = plan::budget(config, here.on_cpu);
    let again = plan::recomputed(config, &shape, lora.as_ref(), here, budget);
    let plan = plan::plan(config, &shape, lora.as_ref(), here, again);
    let peak_bytes = plan.peak_bytes() as f64;
    let Plan { lasting, sampling, update } = plan;
    let view = |(when, item): (&str, plan::Item)| MemoryView {
        when: when.into(),
        name: item.name.into(),
        bytes: item.bytes as f64,
        of: item.of,
    };
    let named =
        |when: &'static str, items: Vec<plan::Item>| items.into_iter().map(move |i| (when, i));
    let memory =
        named("always", lasting).chain(named("sampling", sampling)).chain(named("update", update));
    let types = folder.types()?.into_iter();
    let types: Vec<StoredView> = types
        .map(|of| StoredView { name: of.name, tensors: of.tensors as u32, bytes: of.bytes as f64 })
        .collect();
    Ok(Facts {
        name: folder.place.clone(),
        architecture: fields["architectures"][0].as_str().unwrap_or_default().into(),
        layers: shape.layers as u32,
        hidden: shape.hidden_size as u32,
        vocabulary: shape.vocab_size as u32,
        context: shape.max_positions as u32,
        parameters: plan::numbers(&shape) as f64,
        bytes: types.iter().map(|of| of.bytes).sum(),
        types,
        tokenizer: texts["model"]["type"].as_str().unwrap_or_default().into(),
        tokens: tokenizer.vocab_size() as u32,
        chats: template,
        adapted: folder.is_adapted(),
        trained: plan::trained(&shape, lora.as_ref()) as f64,
        memory: memory.map(view).collect(),
        peak_bytes,
        notes: folder.notes(&shape),
    })
}
