//! The settings of a page that names none: the built-in task, small enough to be watched; or a published model.

use crate::config::Config;
use crate::device::Kind;
use crate::error::Result;
use toml::Table;

/// Settings as TOML, later ones over earlier ones.
pub type Preset = &'static [&'static str];

/// What is kept of a run in a tab's memory.
const KEPT: &str = "
[checkpoint]
every = 0
keep = 1
samples_every = 0
";

/// For the CPU: a step of all three runs takes well under a second on one thread of wasm.
const CPU: &str = "
[rollout]
prompts = 8
group = 4
[optimizer]
lr = 8e-4
[train]
steps = 150
[eval]
every = 10
examples = 24
";

/// For a GPU: steps like the native trainer's, evaluated along the way.
const GPU: &str = "
[train]
steps = 200
[eval]
every = 10
examples = 64
";

/// For a published model.
const MODELS: &str = "
[data]
verifier = 'math'
[rollout]
temperature = 0.7
[optimizer]
lr = 5e-4
[lora]
rank = 8
[train]
checkpointing = 'auto'
";

/// On the CPU: one thread of wasm takes most of a minute for a step of such a size.
const MODELS_CPU: &str = "
[rollout]
prompts = 2
group = 4
max_new_tokens = 16
[train]
steps = 30
micro_batch_tokens = 512
memory_gib = 0.5
[eval]
every = 0
examples = 8
";

/// On a GPU.
const MODELS_GPU: &str = "
[rollout]
prompts = 4
group = 8
max_new_tokens = 32
[train]
steps = 100
micro_batch_tokens = 1024
memory_gib = 2.0
[eval]
every = 20
examples = 16
";

/// The preset of a device.
pub fn of(kind: Kind) -> Preset {
    if kind.is_gpu() { &[KEPT, GPU] } else { &[KEPT, CPU] }
}

/// The preset of a device for a published model.
pub fn of_models(kind: Kind) -> Preset {
    if kind.is_gpu() { &[KEPT, MODELS, MODELS_GPU] } else { &[KEPT, MODELS, MODELS_CPU] }
}

/// The config of settings over a preset.
pub fn under(settings: Vec<(String, Table)>, preset: Preset) -> Result<Config> {
    let preset = preset.iter().map(|text| Config::layer(text, "the page's preset"));
    let mut layers = preset.collect::<Result<Vec<_>>>()?;
    layers.extend(settings);
    Config::resolve(&layers)
}
