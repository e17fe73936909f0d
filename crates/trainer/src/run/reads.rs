//! How a run reads what its user brings: models, examples, answers to judge. Whoever makes a run passes a
//! [`Reads`]; the program's is [`super::program::Program`]. The run itself never names that type, so a
//! page's download doesn't contain it.

use super::wanted::Wanted;
use crate::config::{Config, Data};
use crate::data::shape::Row;
use crate::data::source::Problem;
use crate::error::Result;
use crate::model::{Llama, ModelConfig, ModelFolder};
use crate::plan::Circumstances;
use crate::reward::{Grader, Weighted};
use crate::text::Tokenizer;
use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;

/// Reads what a user brings.
pub trait Reads: Debug + Send + Sync {
    /// The model in a folder; `base`, if given, is the base of an adapter.
    fn model(&self, path: &Path, base: Option<&str>) -> Result<ModelFolder>;

    /// What judges the answers to a user's examples.
    fn grader(&self, config: &Config) -> Result<Grader>;

    /// What is rewarded besides the answer, but for what a program gives.
    fn rewards(&self, config: &Config) -> Result<Vec<Weighted>>;

    /// Adds the adapters that a config asks for to a model.
    fn adapt(&self, model: &mut Llama, config: &Config) -> Result<()>;

    /// How many layers the backward pass computes again, by the config and the `budget` of bytes.
    fn recomputed(
        &self,
        config: &Config,
        model: &Llama,
        here: Circumstances,
        budget: Option<usize>,
    ) -> usize;

    /// What a name in `data.train` or `data.eval` stands for, as bytes by which it is known again.
    fn contents(&self, name: &str, config: &Config) -> Result<Vec<u8>>;

    /// What reads a user's examples for a model.
    fn examples<'a>(&self, reader: For<'a>) -> Result<Box<dyn Examples + 'a>>;
}

/// What examples are read by and for.
#[derive(Clone, Copy)]
pub struct For<'a> {
    /// Which examples are too long, and what is done with them.
    pub data: &'a Data,
    /// The model's folder, for its chat template.
    pub folder: &'a ModelFolder,
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The model's shape.
    pub model: &'a ModelConfig,
    /// Says which gold answers can be read.
    pub grader: &'a Grader,
    /// Told how far the reading has got.
    pub watch: Option<&'a dyn Watch>,
    /// The longest wait for a task's problem.
    pub longest_wait: Duration,
}

/// Told how far the reading of a file has got; a large one takes minutes.
pub trait Watch: Debug + Send + Sync {
    /// `rows` of the file's `of` rows are read.
    fn reading(&self, path: &str, rows: usize, of: usize);
}

/// Examples in tokens, by the rules of a config.
pub trait Examples {
    /// The examples of a file. Responses that are not kept are not rendered, and don't count towards the
    /// length.
    fn of_file(
        &self,
        path: &str,
        suite: &str,
        wanted: Wanted,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Problem>>;

    /// Examples that a program gave, by the same rules; `place` names them in errors.
    fn of_rows(
        &self,
        rows: &[Row],
        place: &str,
        suite: &str,
        wanted: Wanted,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Problem>>;
}
