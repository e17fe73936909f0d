//! The page's settings where it names none: the built-in task, sized to be watched.

use crate::device::Kind;

/// A step of all three runs in well under a second on one thread of wasm.
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

/// The native trainer's step, evaluated as it goes.
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
