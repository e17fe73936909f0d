//! `srft merge`.

use super::arguments::Merge;
use super::{note, say};
use srft::config::Storage;
use srft::device::select;
use srft::error::{Error, Result};
use srft::model::EXPORT;
use srft::model::rounding::kept;
use srft::platform::require_folder;
use srft::run::open_model;

/// Writes an adapter with its base as a whole model, or a GGUF file as a folder.
pub async fn merge(arguments: Merge) -> Result<()> {
    let config = arguments.settings.resolve(Vec::new(), &[])?;
    let (out, overwrite) = (&arguments.out, arguments.overwrite);
    require_folder(out, EXPORT, overwrite)?;
    let mut folder = open_model(&config.model)?;
    let adapter = folder.adapter.take();
    if adapter.is_none() && !folder.is_gguf() {
        return Err(Error::input("no adapter is here: adapter_config.json is missing")
            .at(&config.model.path)
            .next("give --model the `best` of a run with lora.rank above 0, or a GGUF file"));
    }
    // The sums are too little work to open a GPU for.
    let selected = select("cpu").await?;
    let (mut model, _) = folder.load(&selected.device)?;
    folder.notes(&model.config).iter().for_each(note);
    let before = model.clone();
    if let Some(adapter) = &adapter {
        model = adapter.lay_over(model, &selected.device)?;
        model.merge();
    }
    let storage = config.checkpoint.dtype;
    if adapter.is_some() && storage != Storage::F32 {
        let kept = kept(&before, &model, storage).await?;
        note(format_args!("stored in {}, {kept}", storage.name()));
        if kept.loses_much() {
            note(
                "warning: that loses much of what was trained: leave checkpoint.dtype at f32, or \
                 use the adapter with its base",
            );
        }
    }
    folder.export(out, &model, storage, overwrite).await?;
    say(format_args!("model: {}", out.display()))
}
