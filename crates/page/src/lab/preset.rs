//! The settings of a page that names none: the built-in task, small enough to be watched.

use crate::device::Kind;

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
[checkpoint]
every = 0
keep = 1
samples_every = 0
";

/// For a GPU: steps like the native trainer's, evaluated along the way.
const GPU: &str = "
[train]
steps = 200
[eval]
every = 10
examples = 64
[checkpoint]
every = 0
keep = 1
samples_every = 0
";

/// For a published model on the CPU: one thread of wasm takes most of a minute for a step of such a size.
const MODELS_CPU: &str = "
[data]
verifier = 'math'
[rollout]
prompts = 2
group = 4
max_new_tokens = 16
temperature = 0.7
[optimizer]
lr = 5e-4
[lora]
rank = 8
[train]
steps = 30
micro_batch_tokens = 512
checkpointing = 'auto'
memory_gib = 0.5
[eval]
every = 0
examples = 8
[checkpoint]
every = 0
keep = 1
samples_every = 0
";

/// For a published model on a GPU.
const MODELS_GPU: &str = "
[data]
verifier = 'math'
[rollout]
prompts = 4
group = 8
max_new_tokens = 32
temperature = 0.7
[optimizer]
lr = 5e-4
[lora]
rank = 8
[train]
steps = 100
micro_batch_tokens = 1024
checkpointing = 'auto'
memory_gib = 2.0
[eval]
every = 20
examples = 16
[checkpoint]
every = 0
keep = 1
samples_every = 0
";

/// The preset of a device for a published model, as TOML.
pub fn of_models(kind: Kind) -> &'static str {
    if kind.is_gpu() { MODELS_GPU } else { MODELS_CPU }
}

/// The preset of a device, as TOML.
pub fn of(kind: Kind) -> &'static str {
    if kind.is_gpu() { GPU } else { CPU }
}
