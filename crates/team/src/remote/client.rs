//! Members on other machines.

use super::endpoint::SILENCE;
use super::keys::Keys;
use super::line::Line;
use super::message::{
    Answer, FILE_PART, Model, Opening, Part as File, Request, bits, floats, sha256, words_of,
};
use crate::crew::Crew;
use crate::local::{Devices, kind};
use crate::worker::{Again, Weights, Worker};
use burn::tensor::{Device, Tensor, TensorData};
use iroh::SecretKey;
use srft_trainer::error::{Error, Kind, Result};
use srft_trainer::learner::Team;
use srft_trainer::model::ModelFolder;
use srft_trainer::run::{Hire, Shared};
use srft_trainer::shards::{Job, Outcome, Part};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Instant;

/// Workers on other machines, and further devices of this one.
#[derive(Debug)]
pub struct Workers {
    /// The run's own device, and others of this machine.
    pub devices: Devices,
    /// The workers as the user named them.
    pub names: Vec<String>,
    /// What they and the run know each other by.
    pub keys: Keys,
}

impl Hire for Workers {
    /// Each worker must be there when the run begins. The run's own device works too, unless it is unlike all of
    /// them: it would hold them up, and round otherwise.
    fn team(&self, run: &Shared<'_>) -> Result<Arc<dyn Team>> {
        let own = kind(&self.devices.home);
        let model = Files::of(run.folder);
        let began = run.began.map(Files::of);
        let opening = Arc::new(Opening {
            // Of this process alone: another run of the same settings has weights of its own.
            run: sha256(&SecretKey::generate().to_bytes())[..16].into(),
            config: run.config.to_annotated_toml(),
            model: model.named(),
            began: began.as_ref().map(Files::named),
            recomputed: run.recomputed,
        });
        let files: Vec<&Held> = model.all().chain(began.iter().flat_map(Files::all)).collect();
        let mut workers = self.devices.workers(run)?;
        for name in &self.names {
            let mut worker = OnMachine {
                line: Line::new(name, &self.keys)?,
                keys: self.keys.clone(),
                name: format!("worker {name}"),
                kind: String::new(),
                opening: opening.clone(),
                home: run.device.clone(),
                session: 0,
                is_busy: false,
                version: None,
            };
            worker.wait()?;
            worker.send(&files)?;
            worker.open()?;
            workers.push(Box::new(worker));
        }
        let alike = workers.iter().all(|w| w.kind() == own);
        let works_here = !self.devices.others.is_empty() || alike;
        Ok(Arc::new(Crew::new(works_here.then_some(&own), workers)))
    }
}

/// A file, and what is in it.
type Held<'a> = (File, Cow<'a, [u8]>);

/// A model's files.
struct Files<'a> {
    base: Vec<Held<'a>>,
    adapter: Vec<Held<'a>>,
}

impl<'a> Files<'a> {
    fn of(folder: &'a ModelFolder) -> Self {
        let hashed = |(name, bytes): (&str, Cow<'a, [u8]>)| {
            (File { name: name.into(), sha256: sha256(&bytes) }, bytes)
        };
        // The built-in model is there already.
        let base = if folder.is_built_in() { Vec::new() } else { folder.files() };
        Self {
            base: base.into_iter().map(hashed).collect(),
            adapter: folder.adapter_files().into_iter().map(hashed).collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Held<'a>> {
        self.base.iter().chain(&self.adapter)
    }

    /// Their names and hashes.
    fn named(&self) -> Model {
        let names = |files: &[Held]| files.iter().map(|(file, _)| file.clone()).collect();
        Model { base: names(&self.base), adapter: names(&self.adapter) }
    }
}

struct OnMachine {
    line: Line,
    keys: Keys,
    name: String,
    kind: String,
    opening: Arc<Opening>,
    home: Device,
    session: u64,
    is_busy: bool,
    version: Option<u64>,
}

impl OnMachine {
    /// Connects, and learns what it is.
    fn greet(&mut self) -> Result<()> {
        self.line.connect()?;
        let own = env!("CARGO_PKG_VERSION");
        let (answer, _) = self.line.ask(&Request::Hello, &[])?;
        let Answer::Hello { kind, version, is_busy } = answer else {
            return Err(self.strange(&answer));
        };
        self.is_busy = is_busy;
        if version != own {
            return Err(self
                .wrong(format!("it has srft {version}, and this is {own}"))
                .next("start both with the same srft"));
        }
        if !self.kind.is_empty() && kind != self.kind {
            return Err(self
                .wrong(format!("it is {kind} now, and was {}", self.kind))
                .next("start it on the device that it had, or resume the run"));
        }
        self.kind = kind;
        Ok(())
    }

    /// Sends those of the files that it lacks.
    fn send(&mut self, files: &[&Held<'_>]) -> Result<()> {
        let names = files.iter().map(|(file, _)| file.sha256.clone()).collect();
        let (answer, _) = self.line.ask(&Request::Missing { files: names }, &[])?;
        let Answer::Missing(missing) = answer else { return Err(self.strange(&answer)) };
        // A base may be named twice.
        let mut left: HashSet<String> = missing.into_iter().collect();
        for (File { sha256, .. }, bytes) in
            files.iter().filter(|(file, _)| left.remove(&file.sha256))
        {
            for (index, part) in bytes.chunks(FILE_PART).enumerate() {
                let (length, from) = (bytes.len() as u64, (index * FILE_PART) as u64);
                let request = Request::File { sha256: sha256.clone(), length, from };
                self.done(&request, &[&words_of(part)])?;
            }
        }
        Ok(())
    }

    /// Opens the run there.
    fn open(&mut self) -> Result<()> {
        self.version = None;
        match self.line.ask(&Request::Open((*self.opening).clone()), &[])? {
            (Answer::Open { session }, _) => (self.session, self.is_busy) = (session, false),
            (Answer::Busy, _) => {
                self.is_busy = true;
                return Err(self.busy());
            }
            (answer, _) => return Err(self.strange(&answer)),
        }
        Ok(())
    }

    fn busy(&self) -> Error {
        Error::machine("it works for another run")
            .at(&self.name)
            .next("wait until that has ended, or leave this worker out")
    }

    /// Connects, once a coordinator that was killed before has been missed there.
    fn wait(&mut self) -> Result<()> {
        let end = Instant::now() + 2 * SILENCE;
        loop {
            self.greet()?;
            match self.is_busy {
                false => return Ok(()),
                true if Instant::now() < end => sleep(SILENCE / 10),
                true => return Err(self.busy()),
            }
        }
    }

    fn done(&mut self, request: &Request, lists: &[&[u32]]) -> Result<()> {
        match self.line.ask(request, lists)? {
            (Answer::Done, _) => Ok(()),
            (answer, _) => Err(self.strange(&answer)),
        }
    }

    fn wrong(&self, what: String) -> Error {
        Error::input(what).at(&self.name)
    }

    fn strange(&self, answer: &Answer) -> Error {
        let what = match answer {
            Answer::Unknown => "it was started anew, or works for another run",
            _ => "it answered something else than was asked",
        };
        Error::machine(what).at(&self.name)
    }

    /// Brings the weights up to date.
    fn update(&mut self, weights: &Weights) -> Result<()> {
        if self.version == Some(weights.version) {
            return Ok(());
        }
        let last = weights.blocks.len() - 1;
        for (block, values) in weights.blocks.iter().enumerate() {
            let session = self.session;
            let version = (block == last).then_some(weights.version);
            self.done(&Request::Weights { session, block, version }, &[&bits(values)])?;
        }
        self.version = Some(weights.version);
        Ok(())
    }

    fn gradient(&mut self, weights: &Weights, count: usize, sums: Vec<Vec<u32>>) -> Result<Part> {
        let expected = weights.shapes.len();
        if count != expected {
            let what = format!("its gradient has {count} blocks, and the model {expected}");
            return Err(Error::machine(what).at(&self.name));
        }
        let mut tensors = Vec::with_capacity(count);
        for (block, &shape) in weights.shapes.iter().enumerate() {
            let (answer, lists) =
                self.line.ask(&Request::Gradient { session: self.session, block }, &[])?;
            let [values] = &lists[..] else { return Err(self.strange(&answer)) };
            if values.len() != shape[0] * shape[1] {
                return Err(self.strange(&answer));
            }
            let data = TensorData::new(floats(values), shape);
            tensors.push(Tensor::from_data(data, &self.home));
        }
        let sums = sums.into_iter().map(|words| {
            let length = words.len();
            Tensor::from_data(TensorData::new(floats(&words), [length]), &self.home)
        });
        Ok(Part { tensors, sums: sums.collect() })
    }
}

impl Worker for OnMachine {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &str {
        &self.kind
    }

    fn perform(&mut self, weights: &Weights, job: &Job) -> Result<Outcome> {
        self.update(weights)?;
        let (session, version) = (self.session, weights.version);
        let request = Request::Perform { session, version, job: job.clone() };
        match self.line.ask(&request, &[])? {
            (Answer::Responses(responses), _) => Ok(Outcome::Responses(responses)),
            (Answer::Scores(scores), _) => Ok(Outcome::Scores(scores)),
            (Answer::Gradient { blocks }, sums) => {
                Ok(Outcome::Gradient(self.gradient(weights, blocks, sums)?))
            }
            (answer, _) => Err(self.strange(&answer)),
        }
    }

    fn recover(&mut self) -> Again {
        if self.is_busy {
            // While it is connected, it looks to the worker like the run that is at work there.
            match Line::new(self.line.name(), &self.keys) {
                Ok(line) => (self.line, self.is_busy) = (line, false),
                Err(_) => return Again::Later,
            }
        }
        let again = self.greet().and_then(|()| self.open());
        match again {
            Ok(()) => Again::Now,
            Err(e) if e.kind == Kind::Machine => Again::Later,
            Err(e) => Again::Never(e.to_string()),
        }
    }
}
