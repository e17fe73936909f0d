//! A member on another machine.

use super::endpoint::SILENCE;
use super::keys::{Keys, Role};
use super::line::Line;
use super::message::{Answer, FILE_PART, Opening, Part as File, Request, bits, floats, words_of};
use crate::chain::{Chain, Peer, Taking};
use crate::queue::PATIENCE;
use crate::worker::{Again, Kept, Weights, Worker};
use burn::tensor::{Device, Tensor, TensorData};
use srft_trainer::error::{Error, Kind, Result};
use srft_trainer::shards::{Job, Outcome, Part};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Instant;

/// A file, and what is in it.
pub type Held<'a> = (File, Cow<'a, [u8]>);

/// A worker on another machine, which does jobs of one run.
pub struct OnMachine {
    /// The line to it.
    pub line: Line,
    keys: Keys,
    name: String,
    kind: String,
    opening: Arc<Opening>,
    home: Device,
    session: u64,
    is_busy: bool,
    version: Option<u64>,
    /// How many workers its chain has; 0: there is none.
    pub links: usize,
}

impl OnMachine {
    /// The worker that the user named, for a run whose device is `home`; not yet connected.
    pub fn new(name: &str, keys: &Keys, opening: Arc<Opening>, home: Device) -> Result<Self> {
        Ok(Self {
            line: Line::new(name, keys, Role::Coordinator)?,
            keys: keys.clone(),
            name: format!("worker {name}"),
            kind: String::new(),
            opening,
            home,
            session: 0,
            is_busy: false,
            version: None,
            links: 0,
        })
    }

    /// Connects, sends what it lacks, and opens the run.
    pub fn ready(&mut self, files: &[&Held<'_>]) -> Result<()> {
        self.wait()?;
        self.send(files)?;
        self.open()
    }

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
        let taking = match self.links {
            0 => None,
            _ => Some(weights.outward.join(self.peer()?)),
        };
        let keeps = taking.as_ref().is_some_and(|taking| taking.place() + 1 < self.links);
        let (session, version) = (self.session, weights.version);
        let request = |block, from| Request::Weights { session, version, block, from, keeps };
        let mut before = taking.as_ref();
        for (block, values) in weights.blocks.iter().enumerate() {
            let peer = before.and_then(|taking| taking.before(block, PATIENCE));
            let is_there = match peer {
                None => false,
                Some(peer) => match self.line.ask(&request(block, Some(peer.clone())), &[])? {
                    (Answer::Done, _) => true,
                    (Answer::Absent { .. }, _) => false,
                    (answer, _) => return Err(self.strange(&answer)),
                },
            };
            if !is_there {
                before = None; // the rest comes from here too
                self.done(&request(block, None), &[&bits(values)])?;
            }
            taking.iter().for_each(Taking::got);
        }
        self.version = Some(weights.version);
        Ok(())
    }

    /// Where other workers find it.
    fn peer(&self) -> Result<Peer> {
        Ok(Peer { address: self.line.address()?, session: self.session })
    }

    fn ask_for(
        &mut self,
        job: &Job,
        weights: &Weights,
        number: usize,
    ) -> Result<(Answer, Vec<Vec<u32>>)> {
        self.update(weights)?;
        let (session, version, job) = (self.session, weights.version, job.clone());
        self.line.ask(&Request::Perform { session, version, job, number }, &[])
    }

    /// The kernel's sums of a gradient of so many blocks.
    fn sums(&self, weights: &Weights, count: usize, sums: Vec<Vec<u32>>) -> Result<Vec<Tensor<1>>> {
        let expected = weights.shapes.len();
        if count != expected {
            let what = format!("its gradient has {count} blocks, and the model {expected}");
            return Err(Error::machine(what).at(&self.name));
        }
        let sums = sums.into_iter().map(|words| {
            let length = words.len();
            Tensor::from_data(TensorData::new(floats(&words), [length]), &self.home)
        });
        Ok(sums.collect())
    }

    /// A block as it has come.
    fn block(&self, came: &(Answer, Vec<Vec<u32>>), shape: [usize; 2]) -> Result<Tensor<2>> {
        match came {
            (Answer::Block, lists) if lists.len() == 1 && lists[0].len() == shape[0] * shape[1] => {
                let data = TensorData::new(floats(&lists[0]), shape);
                Ok(Tensor::from_data(data, &self.home))
            }
            (answer, _) => Err(self.strange(answer)),
        }
    }

    fn gradient(&mut self, weights: &Weights, number: usize) -> Result<Vec<Tensor<2>>> {
        let mut tensors = Vec::with_capacity(weights.shapes.len());
        for (block, &shape) in weights.shapes.iter().enumerate() {
            let request = Request::Gradient { session: self.session, number, block };
            let came = self.line.ask(&request, &[])?;
            tensors.push(self.block(&came, shape)?);
        }
        Ok(tensors)
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
        match self.ask_for(job, weights, 0)? {
            (Answer::Responses(responses), _) => Ok(Outcome::Responses(responses)),
            (Answer::Scores(scores), _) => Ok(Outcome::Scores(scores)),
            (Answer::Gradient { blocks }, sums) => {
                let sums = self.sums(weights, blocks, sums)?;
                Ok(Outcome::Gradient(Part { tensors: self.gradient(weights, 0)?, sums }))
            }
            (answer, _) => Err(self.strange(&answer)),
        }
    }

    fn links(&self) -> bool {
        self.links > 0
    }

    fn keep(&mut self, weights: &Weights, job: &Job, number: usize) -> Result<Kept> {
        match self.ask_for(job, weights, number)? {
            (Answer::Gradient { blocks }, sums) => {
                Ok(Kept { peer: self.peer()?, sums: self.sums(weights, blocks, sums)? })
            }
            (answer, _) => Err(self.strange(&answer)),
        }
    }

    fn pass_on(
        &mut self,
        chain: &Chain,
        me: usize,
        weights: &Weights,
    ) -> Result<Option<Vec<Tensor<2>>>> {
        let (session, version) = (self.session, weights.version);
        let last = chain.links.len() - 1;
        let mut sum = Vec::new();
        let is_whole = chain.take_part(me, weights.shapes.len(), |link, block| {
            let before = link.checked_sub(1).map(|before| &chain.links[before]);
            let from = before.and_then(|link| Some((link.peer.clone(), *link.jobs.last()?)));
            let (numbers, keeps) = (chain.links[link].jobs.clone(), link < last);
            let request = Request::Add { session, version, numbers, block, from, keeps };
            match self.line.ask(&request, &[])? {
                (Answer::Done, _) if keeps => {}
                (Answer::Absent { what }, _) => chain.break_off(&what),
                came => sum.push(self.block(&came, weights.shapes[block])?),
            }
            Ok(())
        })?;
        Ok((is_whole && !sum.is_empty()).then_some(sum))
    }

    fn recover(&mut self) -> Again {
        if self.is_busy {
            // While it is connected, it looks to the worker like the run that is at work there.
            match Line::new(self.line.name(), &self.keys, Role::Coordinator) {
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
