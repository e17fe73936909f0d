//! The adapters that a config asks for, and how the weights beneath them are held.

use crate::config::{Config, Frozen, unknown};
use crate::error::{Error, Result};
use crate::model::lora::TARGETS;
use crate::model::{Llama, Lora, ModelFolder};

/// The adapters that the config asks for.
pub fn lora_settings(config: &Config) -> Result<Option<Lora>> {
    let settings = &config.lora;
    if let Some(target) = settings.targets.iter().find(|t| !TARGETS.contains(&t.as_str())) {
        return Err(unknown("matrix", target, TARGETS.into_iter()).at("lora.targets"));
    }
    Ok((settings.rank > 0).then_some(Lora {
        rank: settings.rank,
        alpha: settings.alpha,
        rslora: settings.rslora,
        dropout: settings.dropout,
        targets: settings.targets.clone(),
    }))
}

/// Adds the adapters that the config asks for to the model; adapters that it already has are kept.
pub(super) fn adapt(model: &mut Llama, config: &Config) -> Result<()> {
    match (lora_settings(config)?, model.lora()) {
        (None, _) => Ok(()),
        (Some(wanted), None) => {
            model.adapt(wanted, config.run.seed);
            Ok(())
        }
        (Some(wanted), Some(given)) if *given == wanted => Ok(()),
        (Some(_), Some(given)) => Err(Error::input(format!(
            "the model has adapters of rank {} already, with other settings",
            given.rank
        ))
        .at(&config.model.path)
        .next("leave out the lora settings to train these further, or `srft merge` them first")),
    }
}

/// How the weights are held: frozen ones under adapters as the config says, those that train in F32, which
/// quantised ones do not.
pub fn held(config: &Config, folder: &ModelFolder) -> Result<Frozen> {
    if lora_settings(config)?.is_some() || folder.adapter.is_some() {
        return Ok(config.model.frozen);
    }
    folder.require_trainable()?;
    Ok(Frozen::F32)
}
