//! Making a base from scratch: random weights of a given shape, trained on the built-in task's mix.

use super::{BEST, NOTHING, OnFile, Run, model_folder};
use crate::config::{Config, Storage};
use crate::device::Selected;
use crate::error::{Error, Result};
use crate::model::{self, Llama};
use crate::platform::{exists, map, mend_folder, names_in, write_atomic};
use std::path::Path;

/// Settings of the tiny base's pretraining; docs/task.md says how they were chosen.
pub const PRETRAIN: &str = r#"
[objective]
method = "sft"
[data]
task = "pretraining"
[rollout]
prompts = 128
[optimizer]
lr = 3e-3
schedule = "cosine"
final_fraction = 0.05
warmup_steps = 50
beta2 = 0.98
weight_decay = 0.01
[train]
steps = 3000
[checkpoint]
every = 500
samples_every = 0
"#;

/// The run in `out/run` that makes a base with the shape and tokenizer of `config.model`, and initial
/// weights drawn by `run.seed`. A run that was stopped is resumed; if its inputs changed since it began,
/// only with `accepts_changes`.
pub async fn pretraining(
    config: Config,
    accepts_changes: bool,
    selected: &Selected,
    out: &Path,
) -> Result<Run> {
    let (start, run) = (out.join("start"), out.join("run"));
    let shape = config.model.path.clone();
    let config = config.with(|settings| settings.model.path = start.display().to_string())?;
    if OnFile::of(&run).is_run() {
        return Run::resume_with(config, &NOTHING, accepts_changes, selected, &run);
    }
    // A process that was killed before its run began leaves a part of `start`, or the run's lock alone.
    mend_folder(&start)?;
    let is_begun = |name: &String| {
        let only_lock =
            || names_in(&run).is_ok_and(|names| names.iter().all(|n| n.starts_with('.')));
        name == "start" || name == "run" && only_lock()
    };
    let mut others = names_in(out).unwrap_or_default().into_iter().filter(|name| !is_begun(name));
    if let Some(name) = others.next() {
        return Err(Error::input(format!(
            "`{name}` is here, but not the pretraining it belongs to"
        ))
        .at(out.display())
        .next("give a new --out"));
    }
    let folder = model_folder(&shape)?;
    let (_, shape) = folder.text_and_shape()?;
    let fresh = Llama::random(shape, config.run.seed, &selected.device);
    folder.save(&start, &fresh, Storage::F32).await?;
    Run::create(config, selected, &run)
}

/// Copies the model that the finished run made into `out`.
pub fn take_base(out: &Path) -> Result<()> {
    let best = out.join("run").join(BEST);
    for name in [model::CONFIG, model::TOKENIZER, model::WEIGHTS] {
        let (made, place) = (map(&best.join(name))?, out.join(name));
        if exists(&place) && *map(&place)? != *made {
            return Err(Error::input("the run did not make the file that is here")
                .at(place.display())
                .next("move it away, and run the same command again"));
        }
        write_atomic(&place, &made)?;
    }
    Ok(())
}
