//! A worker's own: its folder of models, and the run that is open. It answers requests, whoever brings them.

use super::message::{
    Answer, Model, Opening, Part, Request, bits, bytes_of, decode, encode, floats,
    sha256 as hash_of,
};
use crate::local::kind;
use crate::worker::put;
use burn::tensor::Tensor;
use pollster::block_on;
use srft_trainer::config::Config;
use srft_trainer::device::{Listener, Selected};
use srft_trainer::error::{Error, Kind, Result, io};
use srft_trainer::learner::Learner;
use srft_trainer::model::ModelFolder;
use srft_trainer::ops::readback;
use srft_trainer::platform::{FolderLock, lock_folder, map};
use srft_trainer::run::{NOTHING, Shared};
use srft_trainer::shards::{Job, Outcome};
use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
    /// Why the device is of no use any more.
    broken: Option<Error>,
    sessions: u64,
    open: Option<Open>,
    _lock: FolderLock,
}

/// The run that is open.
struct Open {
    run: String,
    session: u64,
    learner: Learner,
    version: Option<u64>,
    /// Blocks of the next version that are here.
    blocks: usize,
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
        fs::create_dir_all(folder).map_err(|e| io(folder, e))?;
        let place = Self {
            folder: folder.into(),
            device,
            driver,
            tell,
            connected: Arc::default(),
            broken: None,
            sessions: 0,
            open: None,
            _lock: lock_folder(folder).map_err(|e| match e.kind {
                Kind::Input => Error::input("another worker keeps its models here")
                    .at(folder.display())
                    .next("give each worker a --folder of its own"),
                _ => e,
            })?,
        };
        fs::create_dir_all(place.files()).map_err(|e| io(&place.files(), e))?;
        let _ = fs::remove_dir_all(place.runs()); // of a worker that was killed
        Ok(place)
    }

    /// Why it does no more, if it does not.
    pub fn broken(&self) -> Option<&Error> {
        self.broken.as_ref()
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
        let heeded = catch_unwind(AssertUnwindSafe(|| self.heed(words)));
        let (answer, lists) = match heeded.unwrap_or_else(|_| Err(self.give_up("it panicked"))) {
            Ok(done) => done,
            Err(error) => (Answer::failed(&error), Vec::new()),
        };
        encode(&answer, &lists.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    fn heed(&mut self, words: &[u32]) -> Result<(Answer, Vec<Vec<u32>>)> {
        let (request, lists) = decode::<Request>(words)?;
        let first = lists.first().copied().unwrap_or_default();
        let answer = match request {
            Request::Hello => {
                let version = env!("CARGO_PKG_VERSION").into();
                Answer::Hello { kind: kind(&self.device), version, is_busy: self.is_busy() }
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
            Request::Weights { session, block, version } => {
                let Some(open) = self.of(session) else { return Ok((Answer::Unknown, Vec::new())) };
                open.put(block, first)?;
                open.version = version;
                Answer::Done
            }
            Request::Perform { session, version, job } => {
                return self.perform(session, version, &job);
            }
            Request::Gradient { session, block } => {
                let open = self.of(session);
                let tensor = open.and_then(|open| open.gradient.get(block).cloned());
                let Some(tensor) = tensor else { return Ok((Answer::Unknown, Vec::new())) };
                let values = block_on(readback::floats(tensor))?;
                return Ok((Answer::Block, vec![bits(&values)]));
            }
        };
        Ok((answer, Vec::new()))
    }

    /// The open run, if it is that session's.
    fn of(&mut self, session: u64) -> Option<&mut Open> {
        self.open.as_mut().filter(|open| open.session == session)
    }

    /// Whether it works for a run whose coordinator is connected, besides the one that asks.
    fn is_busy(&self) -> bool {
        self.open.is_some() && self.connected.load(Ordering::SeqCst) > 1
    }

    /// Does no more: what the device would give from now on is not to be trusted.
    fn give_up(&mut self, why: &str) -> Error {
        self.open = None;
        let broken =
            Error::input(format!("its device has failed ({why})")).next("start the worker again");
        (self.tell)(&broken.to_string());
        self.broken = Some(broken.clone());
        broken
    }

    /// What the driver has complained of.
    fn require_silence(&mut self) -> Result<()> {
        let heard = self.driver.require_silence();
        heard.map_err(|e| self.give_up(&e.what))
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
        file.sync_all().map_err(|e| io(&part, e))?;
        drop(file);
        // Dropped at once: Windows renames no file that is mapped.
        let found = hash_of(&map(&part)?);
        if found != sha256 {
            let _ = fs::remove_file(&part);
            return Err(Error::machine(format!(
                "a file arrived with SHA-256 {found}, not {sha256}"
            )));
        }
        fs::rename(&part, &path).map_err(|e| io(&path, e))
    }

    /// Opens a run, unless another is at work here.
    fn open(&mut self, opening: &Opening) -> Result<Answer> {
        let opened = self.opened(opening);
        let _ = fs::remove_dir_all(self.runs()); // the files stay
        opened
    }

    fn opened(&mut self, opening: &Opening) -> Result<Answer> {
        self.sessions += 1;
        let session = self.sessions;
        if let Some(open) = self.open.as_mut().filter(|open| open.run == opening.run) {
            (open.session, open.version, open.blocks) = (session, None, 0);
            return Ok(Answer::Open { session });
        }
        if self.is_busy() {
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
        self.require_silence()?;
        (self.tell)(&format!("works for a run of {}", config.objective.method.name()));
        let (run, gradient) = (opening.run.clone(), Vec::new());
        self.open = Some(Open { run, session, learner, version: None, blocks: 0, gradient });
        Ok(Answer::Open { session })
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
            if !from.is_file() {
                return Err(Error::input(format!("{name} is not here any more"))
                    .next("resume the run: it is sent again"));
            }
            let _ = fs::remove_file(&to); // of a reading that failed
            if fs::hard_link(&from, &to).is_err() {
                fs::copy(&from, &to).map_err(|e| io(&from, e))?;
            }
        }
        // A folder has several files; a GGUF file may be in parts.
        let is_gguf = |part: &&Part| parts.len() == 1 || part.name.ends_with(".gguf");
        Ok(parts.iter().find(is_gguf).map_or(folder.into(), |part| folder.join(&part.name)))
    }

    fn perform(
        &mut self,
        session: u64,
        version: u64,
        job: &Job,
    ) -> Result<(Answer, Vec<Vec<u32>>)> {
        let Some(open) = self.of(session).filter(|open| open.version == Some(version)) else {
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
        self.require_silence()?;
        Ok(done)
    }
}

impl Open {
    /// Puts a block of weights in its place; they come in order.
    fn put(&mut self, block: usize, words: &[u32]) -> Result<()> {
        self.version = None; // until the last block is there
        if block == 0 {
            self.blocks = 0;
        }
        if block != self.blocks {
            return Err(Error::machine(format!("block {block} of weights after {}", self.blocks)));
        }
        self.blocks += 1;
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
        put(parameter, floats(words));
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
        false => Err(Error::input(format!(
            "{name:?} is not taken as a file's name: letters, digits, `-`, `_` and `.` are"
        ))),
    }
}
