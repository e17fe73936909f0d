//! A worker's own: its folder of models, and the run that is open. It answers requests, whoever brings them.

mod files;
mod neighbours;
mod open;

use super::keys::Keys;
use super::message::{Answer, Item, Opening, Request, bits, decode, encode};
use super::shelf::Shelf;
use crate::chain::Peer;
use crate::local::kind;
use files::Files;
use neighbours::Neighbours;
use open::Open;
use pollster::block_on;
use srft_trainer::config::Config;
use srft_trainer::device::{Listener, Selected};
use srft_trainer::error::{Error, Kind, Result, io};
use srft_trainer::ops::readback;
use srft_trainer::platform::{FolderLock, lock_folder};
use srft_trainer::run::{NOTHING, Shared};
use srft_trainer::shards::{Job, Outcome};
use std::borrow::Cow;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An answer, and the lists of numbers that go with it.
type Answered = (Answer, Vec<Vec<u32>>);

/// A worker's folder, its device, and the run that is open.
pub struct Place {
    files: Files,
    device: Selected,
    driver: Listener,
    tell: Box<dyn Fn(&str) + Send>,
    neighbours: Neighbours,
    /// Coordinators that are connected.
    connected: Arc<AtomicUsize>,
    /// Why the device is of no use any more.
    broken: Option<Error>,
    sessions: u64,
    open: Option<Open>,
    _lock: FolderLock,
}

impl Place {
    /// A place that keeps models in `folder` and works on `device`; `tell` passes on what happens.
    pub fn new(
        folder: &Path,
        device: Selected,
        keys: &Keys,
        tell: impl Fn(&str) + Send + 'static,
    ) -> Result<Self> {
        let (driver, tell) = (device.listener(), Box::new(tell));
        fs::create_dir_all(folder).map_err(|e| io(folder, e))?;
        let lock = lock_folder(folder).map_err(|e| match e.kind {
            Kind::Input => Error::input("another worker keeps its models here")
                .at(folder.display())
                .next("give each worker a --folder of its own"),
            _ => e,
        })?;
        Ok(Self {
            files: Files::new(folder)?,
            device,
            driver,
            tell,
            neighbours: Neighbours::new(keys),
            connected: Arc::default(),
            broken: None,
            sessions: 0,
            open: None,
            _lock: lock,
        })
    }

    /// Why it does no more, if it does not.
    pub fn broken(&self) -> Option<&Error> {
        self.broken.as_ref()
    }

    /// Counts the coordinators that are connected.
    pub fn connected(&self) -> Arc<AtomicUsize> {
        self.connected.clone()
    }

    /// What it keeps for other workers.
    pub fn shelf(&self) -> Arc<Shelf> {
        self.neighbours.shelf.clone()
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

    fn heed(&mut self, words: &[u32]) -> Result<Answered> {
        let (request, lists) = decode::<Request>(words)?;
        let first = lists.first().copied().unwrap_or_default();
        let answer = match request {
            Request::Hello => {
                let version = env!("CARGO_PKG_VERSION").into();
                Answer::Hello { kind: kind(&self.device), version, is_busy: self.is_busy() }
            }
            Request::Missing { files } => {
                let is_missing =
                    |sha256: &String| self.files.file(sha256).map(|path| !path.is_file());
                let mut missing = Vec::new();
                for sha256 in files {
                    if is_missing(&sha256)? {
                        missing.push(sha256);
                    }
                }
                Answer::Missing(missing)
            }
            Request::File { sha256, length, from } => {
                self.files.store(&sha256, length, from, first)?;
                Answer::Done
            }
            Request::Open(opening) => self.open(&opening)?,
            Request::Weights { session, version, block, from, keeps } => {
                let item = Item { session, version, number: None, block };
                self.weights(&item, first, from, keeps)?
            }
            Request::Perform { session, version, job, number } => {
                return self.perform(session, version, &job, number);
            }
            Request::Gradient { session, number, block } => {
                let tensor = self.of(session).and_then(|open| open.gradient(number, block));
                let Some(tensor) = tensor else { return Ok((Answer::Unknown, Vec::new())) };
                let values = block_on(readback::floats(tensor))?;
                return Ok((Answer::Block, vec![bits(&values)]));
            }
            Request::Add { session, version, numbers, block, from, keeps } => {
                let item = Item { session, version, number: numbers.last().copied(), block };
                return self.add(item, &numbers, from, keeps);
            }
            Request::Reach { address } => match self.neighbours.line(&address) {
                Ok(_) => Answer::Done,
                Err(error) => Answer::Absent { what: error.to_string() },
            },
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

    /// Opens a run, unless another is at work here.
    fn open(&mut self, opening: &Opening) -> Result<Answer> {
        let opened = self.opened(opening);
        self.files.tidy();
        opened
    }

    fn opened(&mut self, opening: &Opening) -> Result<Answer> {
        self.sessions += 1;
        let session = self.sessions;
        if let Some(open) = self.open.as_mut().filter(|open| open.run == opening.run) {
            open.again(session);
            return Ok(Answer::Open { session });
        }
        if self.is_busy() {
            return Ok(Answer::Busy);
        }
        self.open = None; // its memory first
        let layer = Config::layer(&opening.config, "the coordinator's config")?;
        let config = Config::resolve(&[layer])?;
        let folder = self.files.model(&opening.run, "model", &opening.model)?;
        let base = match &opening.began {
            Some(model) => Some(self.files.model(&opening.run, "began", model)?),
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
        self.open = Some(Open::new(&opening.run, session, learner));
        Ok(Answer::Open { session })
    }

    fn perform(
        &mut self,
        session: u64,
        version: u64,
        job: &Job,
        number: usize,
    ) -> Result<Answered> {
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
                let blocks = part.tensors.len();
                open.keep(number, part.tensors);
                (Answer::Gradient { blocks }, sums)
            }
        };
        self.require_silence()?;
        Ok(done)
    }

    /// Puts a block of weights in its place, whether it came with the request or another worker has it.
    fn weights(
        &mut self,
        item: &Item,
        words: &[u32],
        from: Option<Peer>,
        keeps: bool,
    ) -> Result<Answer> {
        if item.block == 0 {
            self.neighbours.shelf.clear(); // of the weights before
        }
        let words = match from.map(|peer| self.neighbours.take(&peer, item.clone())) {
            None => Cow::Borrowed(words),
            Some(Ok(words)) => Cow::Owned(words),
            Some(Err(absent)) => return Ok(absent),
        };
        let Some(open) = self.of(item.session) else { return Ok(Answer::Unknown) };
        open.put(item.version, item.block, &words)?;
        if keeps {
            self.neighbours.shelf.put(item.clone(), words.into_owned());
        }
        Ok(Answer::Done)
    }

    /// Adds a block of gradients to what another worker has.
    fn add(
        &mut self,
        item: Item,
        numbers: &[usize],
        from: Option<(Peer, usize)>,
        keeps: bool,
    ) -> Result<Answered> {
        let before = match from {
            None => None,
            Some((peer, last)) => {
                let item = Item { number: Some(last), ..item.clone() };
                match self.neighbours.take(&peer, item) {
                    Ok(words) => Some(words),
                    Err(absent) => return Ok((absent, Vec::new())),
                }
            }
        };
        let open = self.of(item.session).filter(|open| open.version == Some(item.version));
        let sum = open.and_then(|open| open.sum(numbers, item.block, before.as_deref()));
        let Some(sum) = sum else { return Ok((Answer::Unknown, Vec::new())) };
        let words = bits(&block_on(readback::floats(sum))?);
        self.require_silence()?;
        if !keeps {
            return Ok((Answer::Block, vec![words]));
        }
        self.neighbours.shelf.put(item, words);
        Ok((Answer::Done, Vec::new()))
    }
}
