//! Members on other machines.

use super::keys::Keys;
use super::line::is_lost;
use super::member::{Held, OnMachine};
use super::message::{Answer, Model, Opening, Part as File, Request, sha256};
use crate::crew::Crew;
use crate::local::{Devices, kind};
use crate::worker::Worker;
use iroh::SecretKey;
use srft_trainer::error::Result;
use srft_trainer::learner::Team;
use srft_trainer::model::ModelFolder;
use srft_trainer::run::{Hire, Shared};
use std::borrow::Cow;
use std::sync::Arc;

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
        let mut machines = Vec::new();
        for name in &self.names {
            let mut worker = OnMachine::new(name, &self.keys, opening.clone(), run.device.clone())?;
            // One that is lost meanwhile may be back: whatever runs it starts it again.
            let ready = worker.ready(&files).or_else(|e| match is_lost(&e) {
                true => worker.ready(&files),
                false => Err(e),
            });
            ready.map_err(|e| if e.place.is_none() { e.at(worker.name()) } else { e })?;
            machines.push(worker);
        }
        // Adapters are small, and by way of this machine no worker depends on another.
        let note = match run.config.lora.rank {
            0 => chain(&mut machines)?,
            _ => None,
        };
        let mut workers = self.devices.workers(run)?;
        workers.extend(machines.into_iter().map(|worker| Box::new(worker) as Box<dyn Worker>));
        let alike = workers.iter().all(|w| w.kind() == own);
        let works_here = !self.devices.others.is_empty() || alike;
        let crew = Crew::new(works_here.then_some(&own), workers);
        note.iter().for_each(|note| crew.tell(note));
        Ok(Arc::new(crew))
    }
}

/// Makes workers the links of a chain if they are alike and reach each other. What is to be told of it.
fn chain(machines: &mut [OnMachine]) -> Result<Option<String>> {
    let count = machines.len();
    if count < 2 || machines.windows(2).any(|pair| pair[0].kind() != pair[1].kind()) {
        return Ok(None);
    }
    let addresses: Vec<String> =
        machines.iter().map(|m| m.line.address()).collect::<Result<_>>()?;
    for (from, worker) in machines.iter_mut().enumerate() {
        for address in addresses.iter().enumerate().filter(|(to, _)| *to != from).map(|(_, a)| a) {
            let answer = worker.line.ask(&Request::Reach { address: address.clone() }, &[]);
            // One that is lost is missed at its first job.
            let Ok((Answer::Absent { what }, _)) = answer else { continue };
            return Ok(Some(format!(
                "warning: {} does not reach the worker at {address} ({}), so that every gradient passes this \
                 machine: open that one's UDP port to the others, and give addresses that they know too",
                worker.name(),
                what.lines().next().unwrap_or_default()
            )));
        }
    }
    machines.iter_mut().for_each(|worker| worker.links = count);
    Ok(Some("gradients are added up from worker to worker".into()))
}

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
