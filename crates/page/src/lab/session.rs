//! The runs of a lab: started or loaded, stepped in turn, inspected.

use super::Emit;
use super::answer::{Asking, answer};
use super::asked::{Asked, SLICE, SLICE_GPU};
use super::herald::Herald;
use super::inspect::inspect;
use super::preset;
use super::probes::Probes;
use super::protocol::{
    AdapterView, Answer, Event, GroupView, ModelView, PastEvaluation, Ready, RunRequest, RunView,
    Share, Start,
};
use super::shelf::Shelf;
use super::slot::Slot;
use super::suites;
use crate::archive::{self, Unpacked};
use crate::config::{Config, unknown};
use crate::device::{Kind, Listener, Selected, select};
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::model::Llama;
use crate::plan;
use crate::platform::remove_folder_atomic;
use crate::run::{Evaluation, OnFile, Reader, Run, held, numbered};
use crate::selftest;
use crate::trainer::Trainer;
use std::path::{Path, PathBuf};

/// A device whose kernels passed their self-test.
#[derive(Clone)]
pub struct Opened {
    /// The device as the page asked for it.
    pub wanted: String,
    selected: Selected,
    self_test: Vec<String>,
}

impl Opened {
    /// Chooses, opens and tests a device.
    pub async fn select(wanted: &str) -> Result<Self> {
        let mut selected = select(wanted).await?;
        let report = selftest::require_whole(&selected).await?;
        report.note.iter().for_each(|note| selected.reason.extend(["; ", note]));
        let self_test = report.passed.iter().map(|kernel| kernel.to_string()).collect();
        Ok(Self { wanted: wanted.into(), selected, self_test })
    }
}

/// The runs of a lab and what they share.
pub struct Session {
    /// The folder of its runs.
    pub home: PathBuf,
    share: Share,
    selected: Selected,
    self_test: Vec<String>,
    base: Llama,
    probes: Probes,
    slots: Vec<Slot>,
    is_base_evaluated: bool,
    play_until: u32, // steps of every run
    asked: Option<Asked>,
    questions: u32,
}

impl Session {
    /// Starts this worker's share of the runs in `home`.
    pub async fn start(
        start: &Start,
        share: Share,
        shelf: &dyn Shelf,
        opened: Opened,
        home: &Path,
    ) -> Result<Self> {
        if start.runs.is_empty() {
            return Err(Error::input("no runs").next("ask for at least one, for example srft"));
        }
        let kind = opened.selected.kind;
        let configs = start.runs.iter().map(|request| config_of(start, request, shelf, kind));
        let configs = configs.collect::<Result<Vec<_>>>()?;
        let share = share.of_runs(kind, &configs)?;
        let (driver, mut slots) = (opened.selected.listener(), Vec::new());
        let mut names: Vec<String> = Vec::new();
        for (index, (request, config)) in start.runs.iter().zip(configs).enumerate() {
            let name = numbered(&request.method, |name| names.iter().any(|other| other == name));
            names.push(name.clone());
            if !share.has(index) {
                continue;
            }
            shelf.keep(&config.model, &opened.selected.device)?;
            let run = Run::create_with(config, shelf.given(), &opened.selected, &home.join(&name))?;
            slots.push(Slot::new(index, run, name));
        }
        Self::of(shelf, share, opened, driver, slots, home).await
    }

    /// Resumes this worker's share of the runs of a saved file, in `home`.
    pub async fn load(
        bytes: Vec<u8>,
        settings: &[String],
        share: Share,
        shelf: &dyn Shelf,
        opened: Opened,
        home: &Path,
    ) -> Result<Self> {
        let (driver, mut slots) = (opened.selected.listener(), Vec::new());
        let Unpacked { runs, data } = archive::unpack(&bytes, home)?;
        drop(bytes);
        for (name, file) in data {
            shelf.bring(&name, Some(file)).ok(); // where it can't be of use, the run says what it lacks
        }
        let changes = settings.iter().map(|setting| Config::setting(setting));
        let changes = changes.collect::<Result<Vec<_>>>()?;
        let config_of = |name: &String| {
            let on_file = OnFile::of(&home.join(name)).config_layer()?;
            Config::resolve(&[&[on_file], &changes[..]].concat())
        };
        let configs = runs.iter().map(config_of).collect::<Result<Vec<_>>>()?;
        let share = share.of_runs(opened.selected.kind, &configs)?;
        for (index, (name, config)) in runs.into_iter().zip(configs).enumerate() {
            let path = home.join(&name);
            if !share.has(index) {
                remove_folder_atomic(&path)?;
                continue;
            }
            shelf.keep(&config.model, &opened.selected.device)?;
            let run = Run::resume_with(config, shelf.given(), false, &opened.selected, &path)?;
            slots.push(Slot::new(index, run, name));
        }
        Self::of(shelf, share, opened, driver, slots, home).await
    }

    async fn of(
        shelf: &dyn Shelf,
        share: Share,
        opened: Opened,
        driver: Listener,
        slots: Vec<Slot>,
        home: &Path,
    ) -> Result<Self> {
        let Opened { selected, self_test, .. } = opened;
        let first = slots[0].run.trainer();
        // A run that began on another machine may name a model that a tab does not have: then the policy
        // as loaded stands in for the base.
        let config = &first.learner.config;
        let base = match shelf.given().open(&config.model) {
            Ok(folder) => folder.load_frozen(held(config, &folder)?, &selected.device)?.0,
            Err(_) => first.learner.policy.clone(),
        };
        let probes = Probes::new(&base, first).await?;
        driver.require_silence()?;
        Ok(Self {
            home: home.into(),
            share,
            selected,
            self_test,
            base,
            probes,
            slots,
            is_base_evaluated: false,
            play_until: 0,
            asked: None,
            questions: 0,
        })
    }

    /// The session as the page shows it.
    pub fn view(&self) -> Result<Ready> {
        let model = &self.base.config;
        Ok(Ready {
            version: env!("CARGO_PKG_VERSION").into(),
            adapter: AdapterView {
                name: self.selected.name.clone(),
                backend: self.selected.backend.clone(),
                reason: self.selected.reason.clone(),
                is_gpu: self.selected.kind.is_gpu(),
            },
            self_test: self.self_test.clone(),
            share: self.share,
            runs: self.slots.iter().map(|slot| run_view(&slot.run)).collect::<Result<_>>()?,
            steps: self.slots.iter().map(|s| s.run.config().train.steps).max().unwrap_or(0),
            step: self.step(),
            model: ModelView {
                parameters: plan::numbers(model) as u32,
                layers: model.layers as u32,
                hidden: model.hidden_size as u32,
                vocabulary: model.vocab_size as u32,
            },
            suites: suites::of(&self.slots[0].run),
            probes: self.probes.views(),
        })
    }

    /// Steps that every run has done.
    pub fn step(&self) -> u32 {
        self.slots.iter().map(|s| s.run.step()).min().unwrap_or(0)
    }

    /// Whether every run is at its end.
    pub fn is_done(&self) -> bool {
        self.slots.iter().all(|s| s.run.is_done())
    }

    /// Whether the runs play: there are steps to do.
    pub fn is_playing(&self) -> bool {
        self.slots.iter().any(|s| !s.run.is_done() && s.run.step() < self.play_until)
    }

    /// Plays to the end.
    pub fn play(&mut self) {
        self.play_until = u32::MAX;
    }

    /// Plays until every run has done so many steps; unless given, one more than the one that has done the fewest.
    pub fn play_to(&mut self, steps: Option<u32>) {
        let fewest = self.unfinished().map(|slot| slot.run.step()).min().unwrap_or(0);
        self.play_until = steps.unwrap_or(fewest + 1);
    }

    fn unfinished(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| !slot.run.is_done())
    }

    /// Stops playing after the present step.
    pub fn pause(&mut self) {
        self.play_until = 0;
    }

    /// Does one step of the run that has done the fewest; before the first step, the base's evaluation.
    pub async fn advance(&mut self, emit: &Emit) -> Result<()> {
        if !self.is_base_evaluated {
            return self.evaluate_base(emit).await;
        }
        let unfinished = self.slots.iter_mut().filter(|slot| !slot.run.is_done());
        let Some(slot) = unfinished.min_by_key(|slot| slot.run.step()) else { return Ok(()) };
        let mut herald = Herald { emit, run: Some(slot.index), is_mute: false };
        slot.before = slot.run.trainer().learner.policy.clone();
        (_, slot.groups) = slot.run.advance(&mut herald).await?;
        emit(strip(&self.probes, slot).await?, None);
        if slot.run.is_done() {
            slot.run.finish(&mut herald).await?;
        }
        Ok(())
    }

    /// Evaluates the base once for all runs, which share it.
    async fn evaluate_base(&mut self, emit: &Emit) -> Result<()> {
        let mut herald = Herald { emit, run: None, is_mute: !self.share.is_first() };
        let (first, others) = self.slots.split_at_mut(1);
        first[0].run.begin(&mut herald).await?;
        let base = first[0].run.evaluations()?.into_iter().find(|e| e.step == 0);
        for slot in others {
            match &base {
                Some(base) => slot.run.begin_as(base.scores.clone())?,
                None => slot.run.begin(&mut herald).await?,
            }
        }
        self.is_base_evaluated = true;
        Ok(())
    }

    /// Begins an evaluation of the base and every run on the suites named (none: all), `examples` problems
    /// each; [`Session::evaluate_on`] continues it.
    pub fn evaluate(&mut self, shelf: &dyn Shelf, names: &[String], examples: u32) -> Result<()> {
        if self.is_evaluating() {
            return Err(Error::input("an evaluation is under way").next("cancel it first"));
        }
        let first = &self.slots[0].run;
        let config = first.config().with(|s| s.eval.examples = examples.max(1) as usize)?;
        let Trainer { learner: Learner { tokenizer, .. }, grader, .. } = first.trainer();
        let (folder, model) = (first.base(), &self.base.config);
        let mut suites =
            Reader::of(&config, shelf.given(), folder, tokenizer, model, grader)?.suites()?;
        if let Some(name) = names.iter().find(|n| !suites.iter().any(|s| &s.name == *n)) {
            return Err(unknown("suite", name, suites.iter().map(|s| &*s.name)));
        }
        suites.retain(|s| names.is_empty() || names.contains(&s.name));
        let slice = if self.selected.kind.is_gpu() { SLICE_GPU } else { SLICE };
        let first = usize::from(!self.share.is_first());
        self.asked = Some(Asked::new(suites, slice, first..self.slots.len() + 1));
        Ok(())
    }

    /// Whether a requested evaluation is under way.
    pub fn is_evaluating(&self) -> bool {
        self.asked.is_some()
    }

    /// Does the next slice of the evaluation under way; an error ends the evaluation.
    pub async fn evaluate_on(&mut self, emit: &Emit) -> Result<()> {
        let Some(mut asked) = self.asked.take() else { return Ok(()) };
        asked.advance(&self.base, &self.slots, emit).await?;
        self.asked = Some(asked).filter(|asked| !asked.is_done());
        Ok(())
    }

    /// Ends the evaluation under way, if there is one.
    pub fn cancel(&mut self) {
        self.asked = None;
    }

    /// The scores of the probes by every run that has done a step.
    pub async fn strips(&self) -> Result<Vec<Event>> {
        let mut strips = Vec::new();
        for slot in self.slots.iter().filter(|slot| slot.run.step() > 0) {
            strips.push(strip(&self.probes, slot).await?);
        }
        Ok(strips)
    }

    /// The base's answer to a prompt, then each run's.
    pub async fn ask(
        &mut self,
        shelf: &dyn Shelf,
        prompt: &str,
        temperature: f64,
        tokens: Option<u32>,
    ) -> Result<Vec<Answer>> {
        self.questions += 1;
        let runs = self.slots.iter().map(|slot| (Some(slot.index), &slot.run));
        let base = self.share.is_first().then(|| (None, &self.slots[0].run));
        let mut answers = Vec::new();
        for (run, of) in base.into_iter().chain(runs) {
            let model = if run.is_some() { &of.trainer().learner.policy } else { &self.base };
            let trainer = of.trainer();
            let Learner { tokenizer, config, .. } = &trainer.learner;
            let prompt = shelf
                .prompt(of.base(), tokenizer, config, prompt)
                .map_err(|e| e.at("the prompt"))?;
            let asking = Asking { prompt, temperature, tokens, question: self.questions };
            answers.push(answer(model, trainer, run, asking).await?);
        }
        Ok(answers)
    }

    /// A group of a run's last step, taken apart.
    pub async fn inspect(&self, run: u32, prompt: u32) -> Result<GroupView> {
        let slot = self.slots.iter().find(|s| s.index == run && !s.groups.is_empty());
        let slot = slot.ok_or_else(|| {
            Error::input(format!("run {run} has done no step here"))
                .next("let the runs do a step first")
        })?;
        inspect(slot, run, prompt).await
    }

    /// A name, the common step, and the run folders as a zip.
    pub async fn save(
        &mut self,
        shelf: &dyn Shelf,
        adapters: bool,
        emit: &Emit,
    ) -> Result<(String, u32, Vec<u8>)> {
        for slot in &mut self.slots {
            slot.run.save(&mut Herald { emit, run: None, is_mute: false }).await?;
            if adapters {
                shelf.export(&slot.run).await?;
            }
        }
        let mut files = match self.share.is_first() {
            true => shelf.data(self.slots[0].run.config())?,
            false => Vec::new(),
        };
        files.extend(self.slots.iter().map(|s| (s.name.clone(), s.run.path().to_path_buf())));
        let runs: Vec<(&str, &Path)> = files.iter().map(|(n, p)| (n.as_str(), &**p)).collect();
        let step = self.step();
        Ok((format!("srft-step-{step}.zip"), step, archive::pack(&runs)?))
    }
}

fn config_of(start: &Start, request: &RunRequest, shelf: &dyn Shelf, kind: Kind) -> Result<Config> {
    let method = format!("objective.method={}", request.method);
    let settings = start.settings.iter().chain([&method]).chain(&request.settings);
    let own = settings.map(|setting| Config::setting(setting)).collect::<Result<Vec<_>>>()?;
    let model = Config::resolve(&own)?.model.path.clone();
    preset::under(own, shelf.preset(kind, &model))
}

/// A run's view of the probes.
async fn strip(probes: &Probes, slot: &Slot) -> Result<Event> {
    let trainer = slot.run.trainer();
    let (probes, shift) = probes.look(&trainer.learner.policy).await?;
    Ok(Event::Strip { run: slot.index, step: trainer.step, probes, shift })
}

fn run_view(run: &Run) -> Result<RunView> {
    let past = |e: Evaluation| PastEvaluation {
        step: e.step,
        scores: e.scores.into_iter().map(Into::into).collect(),
    };
    Ok(RunView {
        method: run.config().objective.method.name().into(),
        config: run.config().to_annotated_toml(),
        settings: run.config().to_json(),
        reports: run.reports()?,
        evaluations: run.evaluations()?.into_iter().map(past).collect(),
    })
}
