//! A checkpoint: a model folder anyone can load, and beside it what resuming needs.

use crate::config::Storage;
use crate::error::{Error, Result};
use crate::model::{Llama, ModelFolder, Parameter, serialize};
use crate::objective::bonus::Bonus;
use crate::objective::buffer::Buffer;
use crate::objective::turns::Turns;
use crate::optim::AdamW;
use crate::platform::{Bytes, FileWriter, FolderWriter};
use burn::tensor::{Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// AdamW's moments, `first.I` and `second.I` in parameter order.
pub const MOMENTS: &str = "optimizer.safetensors";
/// ReLIFT's held demonstrations, a JSON object a line; only written if there are any.
pub const BUFFER: &str = "buffer.jsonl";
/// Which demonstrations are passed over, and what else decides which step imitates alone; only written if that is on.
pub const TURNS: &str = "turns.json";
/// Step, best result and the checksums of the other files.
pub const STATE: &str = "state.json";
const FORMAT: &str = "srft-checkpoint-1";

/// What resuming needs besides weights, moments and ReLIFT's buffer. Random numbers and the data cursor are
/// pure functions of (seed, step), so the step stands for both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Names the format and its version.
    pub format: String,
    /// Fingerprint of the run's config.
    pub run: u32,
    /// Adapter and backend that computed the step.
    pub device: String,
    /// Updates done.
    pub step: u32,
    /// AdamW's own count, for bias correction.
    pub optimizer_updates: u32,
    /// The entropy bonus's coefficient, if the run moves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bonus: Option<Bonus>,
    /// Best mean accuracy in distribution so far.
    pub best_accuracy: Option<f64>,
    /// Evaluations since the best one.
    pub stale_evaluations: u32,
    /// Time spent on writing so far, seconds.
    pub other_secs: f64,
    /// CRC-32 of each other file.
    pub checksums: BTreeMap<String, u32>,
    /// CRC-32 of this record with this field 0.
    pub checksum: u32,
}

impl State {
    /// The state of a fresh run.
    pub fn new(run: u32, device: String) -> Self {
        Self {
            format: FORMAT.into(),
            run,
            device,
            step: 0,
            optimizer_updates: 0,
            bonus: None,
            best_accuracy: None,
            stale_evaluations: 0,
            other_secs: 0.0,
            checksums: BTreeMap::new(),
            checksum: 0,
        }
    }

    fn own_checksum(&self) -> u32 {
        let bare = Self { checksum: 0, ..self.clone() };
        crc32fast::hash(&serde_json::to_vec(&bare).expect("a plain record"))
    }
}

/// What a run carries from step to step besides weights and moments.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    /// ReLIFT's demonstrations.
    pub buffer: &'a Buffer,
    /// Of a run whose steps may imitate alone.
    pub turns: Option<&'a Turns>,
}

/// Writes the checkpoint `path`, whole or not at all, `state.json` last.
pub async fn write(
    path: &Path,
    base: &ModelFolder,
    model: &Llama,
    optimizer: &AdamW,
    Held { buffer, turns }: Held<'_>,
    mut state: State,
) -> Result<()> {
    let mut folder = FolderWriter::begin(path)?;
    base.write(&mut folder, model, Storage::F32).await?;
    write_moments(folder.file(MOMENTS)?, optimizer).await?;
    if !buffer.held.is_empty() {
        let file = folder.file(BUFFER)?;
        for held in &buffer.held {
            let line = serde_json::to_string(held).expect("a plain record");
            file.write(format!("{line}\n").as_bytes())?;
        }
    }
    if let Some(turns) = turns {
        folder.file(TURNS)?.write(&serde_json::to_vec(turns).expect("a plain record"))?;
    }
    state.optimizer_updates = optimizer.updates;
    state.checksums = folder.checksums();
    state.checksum = state.own_checksum();
    let mut text = serde_json::to_vec_pretty(&state).expect("a plain record");
    text.push(b'\n');
    folder.file(STATE)?.write(&text)?;
    folder.finish()
}

/// Checks a checkpoint's files (`get` reads one by name) and returns its state.
pub fn check(get: impl Fn(&str) -> Result<Bytes>) -> Result<State> {
    let damaged = |name: &str, what: String| {
        Error::input(what).at(name).next(
            "the checkpoint was cut short or altered: remove its folder to resume from the one before",
        )
    };
    let get = |name: &str| get(name).map_err(|e| damaged(name, e.what));
    let bytes = get(STATE)?;
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|e| damaged(STATE, e.to_string()))?;
    let format = value["format"].as_str().unwrap_or_default();
    if format != FORMAT {
        return Err(Error::input(format!("format `{format}`, expected `{FORMAT}`"))
            .at(STATE)
            .next("resume it with the version of srft that wrote it"));
    }
    let state: State = serde_json::from_value(value).map_err(|e| damaged(STATE, e.to_string()))?;
    let compare = |name: &str, actual: u32, expected: u32| match actual == expected {
        true => Ok(()),
        false => Err(damaged(
            name,
            format!("the checksum is {actual:08x}, the checkpoint recorded {expected:08x}"),
        )),
    };
    compare(STATE, state.own_checksum(), state.checksum)?;
    for (name, &expected) in &state.checksums {
        compare(name, crc32fast::hash(&get(name)?), expected)?;
    }
    Ok(state)
}

async fn write_moments(file: &mut FileWriter, optimizer: &AdamW) -> Result<()> {
    let mut blocks = Vec::new();
    for (index, m) in optimizer.moments.iter().enumerate() {
        for (kind, tensor) in [("first", &m.first), ("second", &m.second)] {
            let (name, shape) = (format!("{kind}.{index}"), tensor.dims().to_vec());
            blocks.push(Parameter { name, shape, tensor: tensor.clone() });
        }
    }
    serialize::write(file, blocks, Storage::F32, None, |_, _| Ok(())).await
}

/// The buffer of a checkpoint from its file's bytes.
pub fn restore_buffer(bytes: &[u8]) -> Result<Buffer> {
    let lines = bytes.split(|&b| b == b'\n').filter(|line| !line.is_empty());
    let held = lines.map(serde_json::from_slice).collect::<serde_json::Result<_>>();
    let held = held.map_err(|e| {
        Error::input(e.to_string())
            .at(BUFFER)
            .next("the file was altered, or another version of srft wrote it")
    })?;
    Ok(Buffer { held })
}

/// Whose turn it is, from its file's bytes.
pub fn restore_turns(bytes: &[u8]) -> Result<Turns> {
    serde_json::from_slice(bytes).map_err(|e| {
        Error::input(e.to_string())
            .at(TURNS)
            .next("the file was altered, or another version of srft wrote it")
    })
}

/// Restores the moments into an optimiser made for the same model.
pub fn restore_moments(optimizer: &mut AdamW, bytes: &[u8], updates: u32) -> Result<()> {
    let other = |what: String| {
        Error::input(what).at(MOMENTS).next("the moments belong to another model or are cut short")
    };
    let file = SafeTensors::deserialize(bytes).map_err(|e| other(e.to_string()))?;
    if file.len() != 2 * optimizer.moments.len() {
        let expected = 2 * optimizer.moments.len();
        return Err(other(format!("{} tensors, expected {expected}", file.len())));
    }
    for (index, m) in optimizer.moments.iter_mut().enumerate() {
        for (kind, tensor) in [("first", &mut m.first), ("second", &mut m.second)] {
            let name = format!("{kind}.{index}");
            let view = file.tensor(&name).map_err(|e| other(format!("{name}: {e}")))?;
            let shape = tensor.dims();
            if view.shape() != shape || view.dtype() != Dtype::F32 {
                return Err(other(format!(
                    "{name} is {:?} {:?}, expected F32 {shape:?}",
                    view.dtype(),
                    view.shape()
                )));
            }
            let values: Vec<f32> = view
                .data()
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect();
            *tensor = Tensor::from_data(TensorData::new(values, shape), &tensor.device());
        }
    }
    optimizer.updates = updates;
    Ok(())
}
