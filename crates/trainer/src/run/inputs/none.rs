//! A page reads no files that could change.

use super::given::Given;
use crate::config::Config;
use crate::error::Result;
use crate::model::ModelFolder;
use std::path::Path;

/// What a run's checkpoints are known by, and nothing else.
pub struct Inputs {
    pub run: u32,
}

impl Inputs {
    pub fn of(_: &Config, _: &Given, _: Option<&ModelFolder>, run: u32) -> Result<Self> {
        Ok(Self { run })
    }

    pub fn read(_: &Path) -> Result<Option<Self>> {
        Ok(None)
    }

    pub fn write(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    pub fn since(self, _: Option<Self>, _: bool) -> Result<(Self, Vec<String>)> {
        Ok((self, Vec::new()))
    }
}
