//! What runs of the built-in model can read: only their own checkpoints.

use super::shelf::{Shelf, no_files};

use crate::config::Config;
use crate::data::shape::Row;
use crate::data::source::Problem;
use crate::error::{Error, Result};
use crate::model::{Llama, ModelFolder};
use crate::plan::Circumstances;
use crate::reward::{Grader, Weighted};
use crate::run::{Examples, For, Given, Reads, Wanted};
use std::path::Path;

/// What such runs are given.
static GIVEN: Given = Given::of(&Tab);

/// Reads models that srft wrote.
#[derive(Debug)]
pub struct Tab;

impl Shelf for Tab {
    fn given(&self) -> &Given {
        &GIVEN
    }
}

/// Refuses to read examples.
struct NoExamples;

impl Reads for Tab {
    fn model(&self, path: &Path, _: Option<&str>) -> Result<ModelFolder> {
        ModelFolder::read_own(path)
    }

    fn grader(&self, config: &Config) -> Result<Grader> {
        let mut files = config.data.train.iter().chain(&config.data.eval);
        Err(no_files(files.next().map_or("data", String::as_str)))
    }

    fn rewards(&self, config: &Config) -> Result<Vec<Weighted>> {
        match config.rewards_only_answers() {
            true => Ok(Vec::new()),
            false => Err(Error::input("a page rewards nothing but the answer")
                .at("reward")
                .next("use the program")),
        }
    }

    fn adapt(&self, _: &mut Llama, config: &Config) -> Result<()> {
        match config.lora.rank {
            0 => Ok(()),
            _ => Err(Error::input("a page can't train adapters")
                .at("lora.rank")
                .next("leave it at 0")),
        }
    }

    /// A page's models are small.
    fn recomputed(
        &self,
        config: &Config,
        model: &Llama,
        _: Circumstances,
        _: Option<usize>,
    ) -> usize {
        config.train.checkpointing.recomputed(model.config.layers).unwrap_or(0)
    }

    fn contents(&self, name: &str, _: &Config) -> Result<Vec<u8>> {
        Err(no_files(name))
    }

    fn examples<'a>(&self, _: For<'a>) -> Result<Box<dyn Examples + 'a>> {
        Ok(Box::new(NoExamples))
    }
}

impl Examples for NoExamples {
    fn of_file(&self, path: &str, _: &str, _: Wanted, _: &mut Vec<String>) -> Result<Vec<Problem>> {
        Err(no_files(path))
    }

    fn of_rows(
        &self,
        _: &[Row],
        place: &str,
        _: &str,
        _: Wanted,
        _: &mut Vec<String>,
    ) -> Result<Vec<Problem>> {
        Err(no_files(place))
    }
}
