//! Carries out a study's runs.

use super::runs::{Study, Task, cost_of};
use crate::config::{Config, Data, Rollout, Settings};
use crate::device::Selected;
use crate::error::{Error, Kind, Result};
use crate::eval::Score;
use crate::platform::{
    FolderWriter, Stopwatch, create_folder, exists, map, mend_folder, names_in, read_text,
    remove_folder_atomic, unless_stopped, write_atomic,
};
use crate::run::{self, BEST, CHECKPOINTS, NOTHING, Observer, OnFile, Run, pretraining};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// How many steps measure a study's speed before any run is done; the first is not counted.
const MEASURED_STEPS: u32 = 4;

impl Study {
    /// Carries out a task, resuming where it stopped, and removes what only resuming needs. If a run
    /// diverges, its last good weights are its result, and it is marked as diverged.
    pub async fn carry_out(
        &self,
        task: &Task,
        selected: &Selected,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<()> {
        let path = self.path(task)?;
        let config = self.config(task)?.ok_or_else(|| {
            Error::input("the trials that decide its settings are not done")
                .at(task)
                .next("leave out --only, or add what must run before it")
        })?;
        self.require_inputs(&config).map_err(|e| e.at(task))?;
        let mut run = self.take_up(task, config, selected, &path).await?;
        if let Some(begun) = unless_stopped(stop, self.begin(&mut run, observer)).await {
            begun?;
        }
        match run.do_steps(observer, stop).await {
            Ok(()) => {}
            Err(e) if e.kind == Kind::Numbers => {} // the run says so in a file
            Err(e) => return Err(told(task, e)),
        }
        match unless_stopped(stop, self.end(task, &mut run, observer)).await {
            Some(ended) => ended?,
            None => return Err(told(task, run.stopped(observer).await)),
        }
        drop(run);
        self.tidy(task)
    }

    /// What remains to do after the last step.
    async fn end(&self, task: &Task, run: &mut Run, observer: &mut dyn Observer) -> Result<()> {
        // Written last, since the summary marks a task as done.
        if let Task::Base { name } = task {
            run.scores(observer).await?;
            let path = run.path();
            let best = path.join(BEST);
            let mut model = FolderWriter::begin(&self.base_model(name))?;
            for file in names_in(&best)? {
                model.file(&file)?.write(&map(&best.join(&file))?)?;
            }
            model.finish()?;
        }
        run.finish(observer).await.map(|_| ())
    }

    /// Removes what a finished run no longer needs.
    pub fn tidy(&self, task: &Task) -> Result<()> {
        let path = self.path(task)?;
        let mut spent = vec![path.join(CHECKPOINTS)];
        if !(self.spec.keep_models && matches!(task, Task::Run { .. })) {
            spent.push(path.join(BEST));
        }
        if let Task::Base { name } = task {
            spent.push(self.base(name).join("start"));
        }
        for folder in &spent {
            mend_folder(folder)?;
            if exists(folder) {
                remove_folder_atomic(folder)?;
            }
        }
        Ok(())
    }

    async fn take_up(
        &self,
        task: &Task,
        config: Config,
        selected: &Selected,
        path: &Path,
    ) -> Result<Run> {
        match task {
            Task::Base { name } if self.spec.bases[name].pretrain => {
                pretraining(config, self.accepts_changes, selected, &self.base(name)).await
            }
            _ if OnFile::of(path).is_run() => {
                Run::resume_with(config, &NOTHING, self.accepts_changes, selected, path)
            }
            _ => Run::create(config, selected, path),
        }
    }

    /// Begins a run. The evaluation before training is the same for all runs with the same base and
    /// seed: the first run shares its result.
    async fn begin(&self, run: &mut Run, observer: &mut dyn Observer) -> Result<()> {
        let file = self.base_scores(run.config());
        if exists(&file) {
            let scores: Vec<Score> = serde_json::from_str(&read_text(&file)?).map_err(|e| {
                Error::input(e.to_string()).at(file.display()).next("remove the file")
            })?;
            return run.begin_as(scores);
        }
        run.begin(observer).await?;
        let first = run.evaluations()?.into_iter().find(|e| e.step == 0);
        let Some(first) = first else { return Ok(()) };
        create_folder(&self.out.join("bases"))?;
        write_atomic(&file, &serde_json::to_vec(&first.scores).expect("plain records"))
    }

    /// The file of a base's scores, named by everything that its evaluation depends on.
    pub(super) fn base_scores(&self, config: &Config) -> PathBuf {
        let Settings { run, model, data, reward, eval, rollout, .. } = Settings::clone(config);
        let plain = Data::default();
        let data = Data {
            problems: plain.problems,
            pool: plain.pool,
            demonstrations: plain.demonstrations,
            wrong_demonstrations: plain.wrong_demonstrations,
            terse_demonstrations: plain.terse_demonstrations,
            ..data
        };
        let (max_new_tokens, stop) = (rollout.max_new_tokens, rollout.stop);
        let rollout = Rollout { max_new_tokens, stop, ..Rollout::default() };
        let decisive = Settings { run, model, data, reward, eval, rollout, ..Settings::default() };
        self.out.join("bases").join(format!("scores-{:08x}.json", decisive.fingerprint()))
    }

    /// Seconds per unit of [`Study::cost`], measured on a few steps of the control in memory.
    pub async fn measure(&self, selected: &Selected) -> Result<f64> {
        let control = |t: &Task| matches!(t, Task::Run { row, .. } if *row == self.spec.control);
        let task = self.tasks()?.into_iter().find(control).expect("every regime has the control");
        let Task::Run { regime, row, seed } = &task else { unreachable!("a run was looked for") };
        let (regime, row) = (self.spec.regime(regime)?, self.spec.row(row)?);
        let points = row.points()?;
        let cell = super::Cell { regime, row, point: points.first(), tuning: false, seed: *seed };
        let config = self.spec.config(cell, None, &self.device)?;
        let mut trainer = run::trainer(config.clone(), &selected.device)?.trainer;
        trainer.step().await?;
        let clock = Stopwatch::start();
        for _ in 1..MEASURED_STEPS {
            trainer.step().await?;
        }
        let secs = clock.elapsed_secs();
        let mut timed = Settings::clone(&config);
        timed.train.steps = MEASURED_STEPS - 1;
        timed.eval.samples = 0; // evaluation is not what was timed
        Ok(secs / cost_of(&timed))
    }
}

/// Adds the task to an error, for readers who see the study and not the run.
fn told(task: &Task, error: Error) -> Error {
    match error.kind {
        Kind::Interrupted => {
            Error { next: Some("run the same command again to continue".into()), ..error }
        }
        _ => error.at(task),
    }
}
