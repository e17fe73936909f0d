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

/// The preset of a device, as TOML.
pub fn of(kind: Kind) -> &'static str {
    if kind.is_gpu() { GPU } else { CPU }
}
