//! What a run reads of what its user brings: models, examples, answers to judge. Whoever makes a run gives
//! it one of these. The program's is [`super::program::Program`]; a page's download is small because
//! nothing in the run names that one.

use super::wanted::Wanted;
use crate::config::{Config, Data};
use crate::data::shape::Row;
use crate::data::source::Problem;
use crate::error::Result;
use crate::model::{Llama, ModelConfig, ModelFolder};
use crate::reward::Grader;
use crate::text::Tokenizer;
use std::fmt::Debug;
use std::path::Path;

/// Reads what a user brings.
pub trait Reads: Debug + Send + Sync {
    /// The model in a folder; an adapter over `base`, where that is given.
    fn model(&self, path: &Path, base: Option<&str>) -> Result<ModelFolder>;

    /// How the responses to a user's examples are judged.
    fn grader(&self, config: &Config) -> Result<Grader>;

    /// Lays the adapters that a config asks for over a model.
    fn adapt(&self, model: &mut Llama, config: &Config) -> Result<()>;

    /// What reads a user's examples for a model.
    fn examples<'a>(&self, reader: For<'a>) -> Result<Box<dyn Examples + 'a>>;
}

/// What examples are read for.
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
    /// Hears how far the reading is.
    pub watch: Option<&'a dyn Watch>,
}

/// Hears how far the reading of a file is, which takes minutes for a large one.
pub trait Watch: Debug + Send + Sync {
    /// So many of a file's rows are read.
    fn reading(&self, path: &str, rows: usize, of: usize);
}

/// Examples in tokens, by the rules of a config.
pub trait Examples {
    /// Those of a file. Responses that are not kept are not rendered, and do not count as too long
    /// either.
    fn of_file(
        &self,
        path: &str,
        suite: &str,
        wanted: Wanted,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Problem>>;

    /// Those that a program gave, by the same rules; `place` is theirs.
    fn of_rows(
        &self,
        rows: &[Row],
        place: &str,
        suite: &str,
        wanted: Wanted,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Problem>>;
}
