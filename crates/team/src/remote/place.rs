//! A worker's own: its folder of models, and the run that is open. It answers requests, whoever brings them.

use super::message::{
    Answer, Model, Opening, Part, Request, bits, bytes_of, decode, encode, floats,
};
use crate::local::kind;
use burn::tensor::{Tensor, TensorData};
use pollster::block_on;
use sha2::{Digest, Sha256};
use srft_trainer::config::Config;
use srft_trainer::device::{Listener, Selected};
use srft_trainer::error::{Error, Result, io};
use srft_trainer::learner::Learner;
use srft_trainer::model::ModelFolder;
use srft_trainer::ops::readback;
use srft_trainer::platform::map;
use srft_trainer::run::{NOTHING, Shared};
use srft_trainer::shards::{Job, Outcome};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A worker's folder, its device, and the run that is open.
pub struct Place {
    folder: PathBuf,
    device: Selected,
    driver: Listener,
    tell: Box<dyn Fn(&str) + Send>,
    /// Coordinators that are connected.
    connected: Arc<AtomicUsize>,
    open: Option<Open>,
}

/// The run that is open.
struct Open {
    run: String,
    learner: Learner,
    version: Option<u64>,
    gradient: Vec<Tensor<2>>,
}

impl Place {
    /// A place that keeps models in `folder` and works on `device`; `tell` passes on what happens.
    pub fn new(
        folder: &Path,
        device: Selected,
        tell: impl Fn(&str) + Send + 'static,
    ) -> Result<Self> {
        let (driver, tell) = (device.listener(), Box::new(tell));
        let connected = Arc::default();
        let place = Self { folder: folder.into(), device, driver, tell, connected, open: None };
        fs::create_dir_all(place.files()).map_err(|e| io(&place.files(), e))?;
        Ok(place)
    }

    /// Counts the coordinators that are connected.
    pub fn connected(&self) -> Arc<AtomicUsize> {
        self.connected.clone()
    }

    fn files(&self) -> PathBuf {
        self.folder.join("files")
    }

    /// Where a run's models are laid out while they are read.
    fn runs(&self) -> PathBuf {
        self.folder.join("runs")
    }

    /// The answer to a message, whatever is in it.
    pub fn answer(&mut self, words: &[u32]) -> Vec<u32> {
        let (answer, lists) = match self.heed(words) {
            Ok(done) => done,
            Err(error) => (Answer::failed(&error), Vec::new()),
        };
        encode(&answer, &lists.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    fn heed(&mut self, words: &[u32]) -> Result<(Answer, Vec<Vec<u32>>)> {
        let (request, lists) = decode::<Request>(words)?;
        let first = lists.first().copied().unwrap_or_default();
        let answer = match request {
            Request::Hello { .. } => {
                let version = env!("CARGO_PKG_VERSION").into();
                Answer::Hello { kind: kind(&self.device), version }
            }
            Request::Missing { files } => {
                let is_missing = |sha256: &String| self.file(sha256).map(|path| !path.is_file());
                let mut missing = Vec::new();
                for sha256 in files {
                    if is_missing(&sha256)? {
                        missing.push(sha256);
                    }
                }
                Answer::Missing(missing)
            }
            Request::File { sha256, length, from } => {
                self.store(&sha256, length, from, first)?;
                Answer::Done
            }
            Request::Open(opening) => self.open(&opening)?,
            Request::Weights { run, block, version } => {
                let Some(open) = self.of(&run) else { return Ok((Answer::Unknown, Vec::new())) };
                open.put(block, first)?;
                open.version = version;
                Answer::Done
            }
            Request::Perform { run, version, job } => return self.perform(&run, version, &job),
            Request::Gradient { block } => {
                let open = self.open.as_mut();
                let tensor = open.and_then(|open| open.gradient.get(block).cloned());
                let Some(tensor) = tensor else { return Ok((Answer::Unknown, Vec::new())) };
                let values = block_on(readback::floats(tensor))?;
                return Ok((Answer::Block, vec![bits(&values)]));
            }
        };
        Ok((answer, Vec::new()))
    }

    /// The open run, if it is this one.
    fn of(&mut self, run: &str) -> Option<&mut Open> {
        self.open.as_mut().filter(|open| open.run == run)
    }

    /// Where a file of that hash lies.
    fn file(&self, sha256: &str) -> Result<PathBuf> {
        let is_hash = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
        match is_hash {
            true => Ok(self.files().join(sha256)),
            false => Err(Error::input(format!("`{sha256}` is no SHA-256"))),
        }
    }

    /// Adds a part to a file; the last must complete what its hash says.
    fn store(&self, sha256: &str, length: u64, from: u64, words: &[u32]) -> Result<()> {
        let path = self.file(sha256)?;
        let part = path.with_extension("part");
        let there = if from == 0 { 0 } else { fs::metadata(&part).map_or(0, |m| m.len()) };
        let left = length.checked_sub(from).filter(|_| there == from);
        let Some(left) = left else {
            return Err(Error::machine(format!(
                "a part of a file at {from}, of which {there} bytes are here"
            )));
        };
        let bytes = bytes_of(words, left.min(4 * words.len() as u64) as usize);
        let mut options = fs::OpenOptions::new();
        let file = options.create(true).write(true).truncate(from == 0).append(from > 0);
        let mut file = file.open(&part).map_err(|e| io(&part, e))?;
        file.write_all(&bytes).map_err(|e| io(&part, e))?;
        if from + (bytes.len() as u64) < length {
            return Ok(());
        }
        drop(file);
        // Dropped at once: Windows renames no file that is mapped.
        let hash = Sha256::digest(&*map(&part)?);
        let found: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        if found != sha256 {
            let _ = fs::remove_file(&part);
            return Err(Error::machine(format!(
                "a file arrived with SHA-256 {found}, not {sha256}"
            )));
        }
        fs::rename(&part, &path).map_err(|e| io(&path, e))
    }

    /// Opens a run, unless it is open already or another is at work here.
    fn open(&mut self, opening: &Opening) -> Result<Answer> {
        if self.of(&opening.run).is_some() {
            return Ok(Answer::Done);
        }
        // The one that asks is connected, too.
        if self.open.is_some() && self.connected.load(Ordering::SeqCst) > 1 {
            return Ok(Answer::Busy);
        }
        self.open = None; // its memory first
        let layer = Config::layer(&opening.config, "the coordinator's config")?;
        let config = Config::resolve(&[layer])?;
        let folder = self.model(&opening.run, "model", &opening.model)?;
        let base = match &opening.began {
            Some(model) => Some(self.model(&opening.run, "began", model)?),
            None => None,
        };
        let run = Shared {
            config: &config,
            folder: &folder,
            began: base.as_ref(),
            reads: NOTHING.reads,
            recomputed: opening.recomputed,
            device: &self.device.device,
        };
        let learner = run.learner(&self.device.device)?;
        self.driver.require_silence()?;
        drop((folder, base));
        let _ = fs::remove_dir_all(self.runs()); // the files stay
        (self.tell)(&format!("works for a run of {}", config.objective.method.name()));
        let run = opening.run.clone();
        self.open = Some(Open { run, learner, version: None, gradient: Vec::new() });
        Ok(Answer::Done)
    }

    /// A model whose files are all here, laid out as its folder.
    fn model(&self, run: &str, name: &str, model: &Model) -> Result<ModelFolder> {
        let home = self.runs().join(checked(run)?).join(name);
        if model.base.is_empty() && model.adapter.is_empty() {
            return Ok(ModelFolder::tiny());
        }
        let base = match model.base.is_empty() {
            true => "tiny".into(),
            false => self.lay_out(&home.join("base"), &model.base)?,
        };
        match model.adapter.is_empty() {
            true => ModelFolder::read(&base),
            false => {
                let adapter = self.lay_out(&home.join("adapter"), &model.adapter)?;
                ModelFolder::read_over(&adapter, Some(&base.display().to_string()))
            }
        }
    }

    /// Links the files into a folder; gives what a model is read from: the folder, or a GGUF file in it.
    fn lay_out(&self, folder: &Path, parts: &[Part]) -> Result<PathBuf> {
        fs::create_dir_all(folder).map_err(|e| io(folder, e))?;
        for Part { name, sha256 } in parts {
            let (from, to) = (self.file(sha256)?, folder.join(checked(name)?));
            if to.is_file() {
                continue; // of the same run, and so of the same hash
            }
            if fs::hard_link(&from, &to).is_err() {
                fs::copy(&from, &to).map_err(|e| io(&from, e))?;
            }
        }
        // A folder has several files; a GGUF file may be in parts.
        let is_gguf = |part: &&Part| parts.len() == 1 || part.name.ends_with(".gguf");
        Ok(parts.iter().find(is_gguf).map_or(folder.into(), |part| folder.join(&part.name)))
    }

    fn perform(&mut self, run: &str, version: u64, job: &Job) -> Result<(Answer, Vec<Vec<u32>>)> {
        let Some(open) = self.of(run).filter(|open| open.version == Some(version)) else {
            return Ok((Answer::Unknown, Vec::new()));
        };
        let outcome = block_on(open.learner.perform(job))?;
        let done = match outcome {
            Outcome::Responses(responses) => (Answer::Responses(responses), Vec::new()),
            Outcome::Scores(scores) => (Answer::Scores(scores), Vec::new()),
            Outcome::Gradient(part) => {
                let mut sums = Vec::new();
                for tensor in part.sums {
                    sums.push(bits(&block_on(readback::floats(tensor))?));
                }
                open.gradient = part.tensors;
                (Answer::Gradient { blocks: open.gradient.len() }, sums)
            }
        };
        self.driver.require_silence()?;
        Ok(done)
    }
}

impl Open {
    /// Puts a block of weights in its place.
    fn put(&mut self, block: usize, words: &[u32]) -> Result<()> {
        self.version = None; // until the last block is there
        let mut parameters = self.learner.policy.parameters_mut();
        let count = parameters.len();
        let Some(parameter) = parameters.get_mut(block) else {
            return Err(Error::machine(format!("block {block} of weights; there are {count}")));
        };
        let [rows, columns] = parameter.block_shape;
        if words.len() != rows * columns {
            return Err(Error::machine(format!(
                "{} numbers for {}, which has {rows} × {columns}",
                words.len(),
                parameter.name
            )));
        }
        let data = TensorData::new(floats(words), [rows, columns]);
        *parameter.tensor = Tensor::from_data(data, &parameter.tensor.device());
        Ok(())
    }
}

/// A name that leads nowhere else.
fn checked(name: &str) -> Result<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !name.starts_with('.')
        && !name.is_empty()
        && name.len() < 200
        && name.chars().all(is_plain)
    {
        true => Ok(name),
        false => Err(Error::input(format!("{name:?} is no name for a file here"))),
    }
}
