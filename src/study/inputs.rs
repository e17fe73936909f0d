//! The files that a study's runs read. `inputs.json` in its folder has the length and CRC-32 of each
//! file when the study began: runs on different data are not seeds of the same row.

use super::runs::{Study, Task};
use crate::config::Config;
use crate::error::Result;
use crate::platform::{exists, names_in, remove_file};
use crate::run::{Inputs, OnFile};
use std::path::Path;

impl Study {
    /// Compares what the runs of these tasks will read with what the study began with, and records it;
    /// returns notes for the user. A changed file is an error unless `accepts`.
    pub fn take_inputs(&mut self, tasks: &[Task], accepts: bool) -> Result<Vec<String>> {
        let mut configs = Vec::new();
        for task in tasks {
            configs.extend(self.likely_config(task)?);
        }
        let (now, began) = (self.inputs(&configs)?, Inputs::read(&self.out)?);
        // A run's own record is checked only if the study has none.
        self.accepts_changes = accepts || began.is_some();
        let (is_known, is_new) = (began.is_some(), !self.has_begun()?);
        let (inputs, notes) = now.since_whole(began, accepts)?;
        inputs.write(&self.out)?;
        if is_known && !notes.is_empty() {
            self.forget_base_scores()?; // they are of other files
        }
        Ok(if is_new { Vec::new() } else { notes })
    }

    /// Refuses a run whose files have changed since the study began.
    pub(super) fn require_inputs(&self, config: &Config) -> Result<()> {
        let now = self.inputs(std::slice::from_ref(config))?;
        now.since_whole(Inputs::read(&self.out)?, false).map(|_| ())
    }

    fn inputs(&self, configs: &[Config]) -> Result<Inputs> {
        // A base made by the study is not one of the user's files.
        Inputs::of_all(configs, |model| !Path::new(&model.path).starts_with(&self.out))
    }

    fn has_begun(&self) -> Result<bool> {
        for task in self.tasks()? {
            if OnFile::of(&self.path(&task)?).is_run() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn forget_base_scores(&self) -> Result<()> {
        let bases = self.out.join("bases");
        let names = if exists(&bases) { names_in(&bases)? } else { Vec::new() };
        let scores = names.iter().filter(|name| name.starts_with("scores-"));
        scores.map(|name| bases.join(name)).try_for_each(|file| remove_file(&file))
    }
}
