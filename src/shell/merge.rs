//! `srft merge`.

use super::arguments::Merge;
use super::say;
use srft::device::select;
use srft::error::{Error, Result};
use srft::platform::exists;
use srft::run::model_folder;

/// Writes an adapter's folder as a whole model.
pub async fn merge(arguments: Merge) -> Result<()> {
    let config = arguments.settings.resolve(Vec::new(), &[])?;
    if exists(&arguments.out) {
        return Err(Error::input("something is already here")
            .at(arguments.out.display())
            .next("give a folder that does not exist yet"));
    }
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
    folder.save(&arguments.out, &model, config.checkpoint.dtype).await?;
    say(format_args!("model: {}", arguments.out.display()))
}
