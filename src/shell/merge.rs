//! `srft merge`.

use super::arguments::Merge;
use super::say;
use srft::device::select;
use srft::error::{Error, Result};
use srft::model::EXPORT;
use srft::platform::require_folder;
use srft::run::model_folder;

/// Writes an adapter's folder as a whole model.
pub async fn merge(arguments: Merge) -> Result<()> {
    let config = arguments.settings.resolve(Vec::new(), &[])?;
    let (out, overwrite) = (&arguments.out, arguments.overwrite);
    require_folder(out, EXPORT, overwrite)?;
    let mut folder = model_folder(&config.model.path)?;
    let adapter = folder.adapter.take().ok_or_else(|| {
        Error::input("no adapter is here: adapter_config.json is missing")
            .at(&config.model.path)
            .next("give --model the `best` of a run with lora.rank above 0")
    })?;
    // The sums are small work: no GPU is worth opening for them.
    let selected = select("cpu").await?;
    let (model, _) = folder.load(&selected.device)?;
    let mut model = adapter.lay_over(model, &selected.device)?;
    model.merge();
    folder.export(out, &model, config.checkpoint.dtype, overwrite).await?;
    say(format_args!("model: {}", out.display()))
}
