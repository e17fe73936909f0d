//! How the program and the wheel read what users bring: any folder, any file, every verifier.

use super::adapters::adapt;
use super::files::Files;
use super::reads::{Examples, For, Reads};
use crate::config::{Comparison, Config, NamedReward, RewardBy, Settings};
use crate::data::gym::{self, Tasks};
use crate::error::Result;
use crate::hub::{Kind, located};
use crate::model::{Llama, ModelFolder};
use crate::plan::{self, Circumstances};
use crate::platform::read;
use crate::reward::command::Command;
use crate::reward::{Format, Grader, Part, Verifier, Weighted};
use std::path::Path;
use std::sync::Arc;

/// The program that a line names, asked for so many responses at once.
fn command(line: &str, batch: usize, config: &Config) -> Result<Arc<dyn Part>> {
    Ok(Arc::new(Command::new(line, config.reward.longest_wait())?.in_batches(batch)))
}

/// Reads from disk.
#[derive(Debug)]
pub struct Program {
    /// What makes and judges the tasks that data name.
    pub tasks: &'static dyn Tasks,
}

impl Reads for Program {
    fn model(&self, path: &Path, base: Option<&str>) -> Result<ModelFolder> {
        ModelFolder::read_over(path, base)
    }

    fn grader(&self, config: &Config) -> Result<Grader> {
        let Settings { data, reward, math, .. } = &**config;
        let marker = (!data.answer_after.is_empty()).then(|| data.answer_after.clone());
        let verifier = Verifier::new(data.verifier, marker, math.form);
        let mut grader = Grader::of(verifier, data.reward);
        grader.judge = match data.verifier {
            Comparison::Command => Some(command(&reward.command, reward.command_batch, config)?),
            Comparison::Task => Some(self.tasks.judge(&data.answer_after, reward.longest_wait())),
            _ => None,
        };
        Ok(grader)
    }

    fn rewards(&self, config: &Config) -> Result<Vec<Weighted>> {
        let Settings { data, reward, math, .. } = &**config;
        let of = |name: &str, weight, part| Weighted { name: name.into(), weight, part };
        let mut parts = Vec::new();
        if !reward.command.is_empty() && data.verifier != Comparison::Command {
            let command = command(&reward.command, reward.command_batch, config)?;
            parts.push(of("command", reward.command_weight, command));
        }
        if !reward.format.is_empty() {
            let format = Format::new(&reward.format).map_err(|e| e.at("reward.format"))?;
            parts.push(of("format", reward.format_weight, Arc::new(format)));
        }
        for NamedReward { name, weight, by } in &reward.named {
            let part: Arc<dyn Part> = match by {
                RewardBy::Format(pattern) => Arc::new(
                    Format::new(pattern).map_err(|e| e.at(format!("the reward `{name}`")))?,
                ),
                RewardBy::Command(line, batch) => command(line, *batch, config)?,
                RewardBy::Verifier(comparison, marker) => {
                    let marker = (!marker.is_empty()).then(|| marker.clone());
                    Arc::new(Verifier::new(*comparison, marker, math.form))
                }
                RewardBy::Given => continue,
            };
            parts.push(of(name, *weight, part));
        }
        Ok(parts)
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
        Ok(Box::new(Files::new(reader, self.tasks)?))
    }

    fn contents(&self, name: &str, config: &Config) -> Result<Vec<u8>> {
        match gym::task_of(name) {
            Some(task) => {
                let problems = self.tasks.problems(task, config.reward.longest_wait())?;
                Ok(gym::jsonl(task, &problems, false))
            }
            None => read(&located(name, Kind::Data)),
        }
    }
}
