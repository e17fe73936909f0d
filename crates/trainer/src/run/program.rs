//! How the program and the wheel read what users bring: any folder, any file, every verifier.

use super::adapters::adapt;
use super::files::Files;
use super::reads::{Examples, For, Reads};
use crate::config::{Comparison, Config, Settings};
use crate::error::Result;
use crate::model::{Llama, ModelFolder};
use crate::plan::{self, Circumstances};
use crate::reward::command::Command;
use crate::reward::{Format, Grader, Part, Verifier};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Reads from disk.
#[derive(Debug)]
pub struct Program;

impl Reads for Program {
    fn model(&self, path: &Path, base: Option<&str>) -> Result<ModelFolder> {
        ModelFolder::read_over(path, base)
    }

    fn grader(&self, config: &Config) -> Result<Grader> {
        let Settings { data, reward, math, .. } = &**config;
        let marker = (!data.answer_after.is_empty()).then(|| data.answer_after.clone());
        let verifier = Verifier::new(data.verifier, marker, math.form);
        let mut grader = Grader::of(verifier, data.reward);
        if !reward.command.is_empty() {
            let limit = Duration::from_secs_f64(reward.command_secs);
            let command: Arc<dyn Part> = Arc::new(Command::new(&reward.command, limit)?);
            match data.verifier {
                Comparison::Command => grader.judge = Some(command),
                _ => grader.parts.push((reward.command_weight, command)),
            }
        }
        if !reward.format.is_empty() {
            grader.parts.push((reward.format_weight, Arc::new(Format::new(&reward.format)?)));
        }
        Ok(grader)
    }

    fn adapt(&self, model: &mut Llama, config: &Config) -> Result<()> {
        adapt(model, config)
    }

    fn recomputed(
        &self,
        config: &Config,
        model: &Llama,
        here: Circumstances,
        budget: Option<usize>,
    ) -> usize {
        plan::recomputed(config, &model.config, model.lora(), here, budget)
    }

    fn examples<'a>(&self, reader: For<'a>) -> Result<Box<dyn Examples + 'a>> {
        Ok(Box::new(Files::new(reader)?))
    }
}
