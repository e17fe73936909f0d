//! `srft train` and `srft pretrain`.

use super::arguments::{Pretrain, Train};
use super::progress::{Progress, Reading};
use super::ready::ready;
use super::settings::Settings;
use super::stop::{SAVING, stop_on_interrupt};
use super::tables::before_and_after;
use super::team::Members;
use super::{note, say};
use srft::config::{Config, Objective};
use srft::error::Result;
use srft::run::{
    BEST, Given, OnFile, PRETRAIN, Run, Summary, fresh_folder, pretraining, take_base,
};
use std::sync::Arc;

/// Explains a step's line.
const LEGEND: &str = "a step's line: mean reward, entropy in nats, and w_SFT and w_RL, which weigh \
     imitation and reinforcement in the loss";

/// Trains, from the start or from a checkpoint.
pub async fn train(mut arguments: Train) -> Result<()> {
    let members = Members::of(&mut arguments)?;
    let base = match &arguments.resume {
        Some(path) => vec![OnFile::of(path).config_layer()?],
        None => members.shards().into_iter().collect(),
    };
    let steps = ("--steps", "train.steps", arguments.steps.map(|s| s.to_string()));
    let rank = ("--lora-rank", "lora.rank", arguments.lora_rank.map(|r| r.to_string()));
    let config = arguments.settings.resolve(base, &[steps, rank])?;
    let selected = ready(&config, arguments.json).await?;
    let team = members.ready(&config, &selected, arguments.json).await?;
    let given = Given { watch: Some(Arc::new(Reading::new())), team, ..Given::default() };
    let mut run = match &arguments.resume {
        Some(path) => {
            let accepts = arguments.accept_changes;
            Run::resume_with(config, &given, accepts, &selected, path)?
        }
        None => {
            let name = format!("{}-seed{}", config.objective.method.name(), config.run.seed);
            let path = arguments.out.clone().unwrap_or_else(|| fresh_folder(&name));
            Run::create_with(config, &given, &selected, &path)?
        }
    };
    let mut progress = Progress::new(arguments.json, run.config().train.steps, run.reports()?);
    run.notes().iter().for_each(note);
    progress.say(&format!("run folder: {}", run.shown().display()));
    if arguments.resume.is_some() {
        progress.say(&format!("resumed after step {}", run.step()));
    }
    if let Some(device) = run.moved_from() {
        note(format_args!(
            "warning: the run was on {device}; here its results will not be the same to the last \
             bit"
        ));
    }
    progress.say(&intent(&run));
    progress.say(LEGEND);
    let stop = stop_on_interrupt(SAVING)?;
    let result = run.train(&mut progress, &stop).await;
    progress.finish();
    report(&result?, &run, arguments.json)
}

/// What the run is about to do. How long it takes is told after the first step.
fn intent(run: &Run) -> String {
    let config = run.config();
    let (rollout, prompts) = (&config.rollout, config.rollout.prompts);
    let step = match config.stages().iter().any(Objective::uses_rollouts) {
        true => format!(
            "each samples {} responses of up to {} tokens to each of {prompts} prompts, and updates the model",
            rollout.group, rollout.max_new_tokens
        ),
        false => format!("each imitates {prompts} demonstrations"),
    };
    let alone = config.stages().iter().any(|o| o.imitation > 0.0);
    let step = if alone { format!("{step}, or imitates alone for the same compute") } else { step };
    let problems: usize = run.suites().iter().map(|suite| suite.problems.len()).sum();
    let evaluated = match (problems, config.eval.every) {
        (0, _) => "nothing is evaluated".into(),
        (_, 0) => format!("{problems} problems are evaluated before and after"),
        (_, every) => {
            format!("{problems} problems are evaluated before, after and every {every} steps")
        }
    };
    format!(
        "{} steps of {}: {step}; {evaluated}. Ctrl-C saves, and --resume continues",
        config.train.steps,
        config.objective.method.name()
    )
}

fn report(summary: &Summary, run: &Run, json: bool) -> Result<()> {
    if json {
        let mut value = serde_json::to_value(summary).expect("a plain record");
        value["event"] = "summary".into();
        return say(value);
    }
    if let [base, .., last] = &run.evaluations()?[..] {
        say(before_and_after(base, last, run.suites()))?;
    }
    let peak = match summary.peak_memory_bytes {
        Some(bytes) => format!(", peak memory {} MiB", bytes >> 20),
        None => String::new(),
    };
    say(format_args!(
        "{} steps of {} on {}: {:.1} s sampling ({:.0} tokens/s), {:.1} s updates ({:.0} tokens/s), \
         {:.1} s evaluation{peak}",
        summary.steps,
        summary.method,
        summary.device,
        summary.rollout_secs,
        summary.rollout_tokens_per_sec,
        summary.train_secs,
        summary.trained_tokens_per_sec,
        summary.eval_secs,
    ))?;
    say(format_args!("model: {}", run.shown().join(BEST).display()))
}

/// Makes the tiny base from nothing.
pub async fn pretrain(arguments: Pretrain) -> Result<()> {
    let base = vec![Config::layer(PRETRAIN, "pretrain")?];
    let steps = ("--steps", "train.steps", arguments.steps.map(|s| s.to_string()));
    let settings = Settings { model: Some(arguments.shape.clone()), ..arguments.settings };
    let config = settings.resolve(base, &[steps])?;
    let selected = ready(&config, arguments.json).await?;
    let mut run = pretraining(config, arguments.accept_changes, &selected, &arguments.out).await?;
    let done = run.reports()?;
    let mut progress = Progress::new(arguments.json, run.config().train.steps, done);
    let stop = stop_on_interrupt(SAVING)?;
    let result = run.train(&mut progress, &stop).await;
    progress.finish();
    let summary = result?;
    take_base(&arguments.out)?;
    report(&summary, &run, arguments.json)?;
    match arguments.json {
        true => Ok(()),
        false => say(format_args!("the base: {}", arguments.out.display())),
    }
}
