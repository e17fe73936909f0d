//! Shows a run's events: a bar with curves on a terminal, plain lines elsewhere, JSON for programs.

use super::tables::error_width;
use super::{note, say};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use srft::eval::{Score, mean_accuracy};
use srft::metrics::StepReport;
use srft::report::live_lines;
use srft::run::{Observer, Watch};
use std::fmt::Display;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Plain lines are printed every so many steps.
const LINE_EVERY: u32 = 10;

/// No bar for files that are read within this time.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar on a terminal while a file is read, if that takes long.
#[derive(Debug)]
pub struct Reading {
    bar: ProgressBar,
    began: Instant,
}

impl Reading {
    /// Waits for a file to be read.
    pub fn new() -> Self {
        let style =
            ProgressStyle::with_template("reading {msg} {wide_bar} {pos}/{len} rows {eta:>4} left")
                .expect("a valid template");
        Self { bar: ProgressBar::new(0).with_style(style), began: Instant::now() }
    }
}

impl Watch for Reading {
    fn reading(&self, path: &str, rows: usize, of: usize) {
        if rows == of {
            self.bar.finish_and_clear();
        } else if self.began.elapsed() > PATIENCE && std::io::stderr().is_terminal() {
            if self.bar.is_finished() {
                self.bar.reset();
            }
            self.bar.set_length(of as u64);
            self.bar.set_position(rows as u64);
            self.bar.set_message(path.to_string());
        }
    }
}

/// A bar on a terminal while a file is downloaded; elsewhere a line for each.
pub struct Downloading(ProgressBar, Mutex<String>);

impl Downloading {
    /// Waits for a file.
    pub fn new() -> Self {
        let template = "downloading {msg} {wide_bar} {bytes}/{total_bytes} {eta:>4} left";
        let style = ProgressStyle::with_template(template).expect("a valid template");
        Self(ProgressBar::new(0).with_style(style), Mutex::default())
    }
}

impl srft_hub::Watch for Downloading {
    fn downloading(&self, file: &str, done: u64, of: u64) {
        let Self(bar, shown) = self;
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = *shown != file;
        if is_new {
            *shown = file.into();
            bar.reset();
            bar.set_length(of);
            bar.set_message(file.to_string());
        }
        match std::io::stderr().is_terminal() {
            true if done == of => bar.finish_and_clear(),
            true => bar.set_position(done),
            false if is_new => note(format_args!("downloading {file}: {} KiB", of >> 10)),
            false => {}
        }
    }

    fn note(&self, text: &str) {
        note(text);
    }
}

/// Prints a run's events.
pub struct Progress {
    form: Form,
    /// How many devices share the steps now, and of how many.
    team: Option<[usize; 2]>,
}

enum Form {
    /// On a terminal; keeps the steps so far.
    Bar(ProgressBar, Vec<StepReport>),
    /// Into a file or a pipe.
    Lines,
    /// For programs, as JSON.
    Json,
}

impl Progress {
    /// In the form for this standard output; `done` are the steps already recorded.
    pub fn new(json: bool, steps: u32, done: Vec<StepReport>) -> Self {
        Self { form: Form::new(json, steps, done), team: None }
    }

    /// Prints a line of text, above the bar if there is one.
    pub fn say(&self, text: &str) {
        match &self.form {
            Form::Bar(bar, _) => bar.println(text),
            Form::Lines => line(text),
            Form::Json => {}
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Form::Bar(bar, _) = &self.form {
            bar.finish_and_clear();
        }
    }
}

impl Form {
    fn new(json: bool, steps: u32, done: Vec<StepReport>) -> Self {
        if json {
            return Form::Json;
        }
        if !std::io::stderr().is_terminal() {
            return Form::Lines;
        }
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta:>4} left\n{msg}")
            .expect("a valid template");
        let bar = ProgressBar::new(u64::from(steps)).with_style(style);
        bar.set_position(done.len() as u64);
        Form::Bar(bar, done)
    }
}

/// A duration as people say it.
fn duration(secs: f64) -> String {
    match secs {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// Prints a line, ignoring errors: a run continues whether or not anyone reads its output.
fn line(text: impl Display) {
    let _ = say(text);
}

fn sentence(r: &StepReport) -> String {
    let number =
        |value: Option<f64>, digits| value.map_or("–".into(), |v| format!("{v:.digits$}"));
    format!(
        "reward {}  entropy {}  w_SFT {}  w_RL {}  loss {:+.4}",
        r.reward.map_or("–".into(), |v| format!("{v:+.2}")),
        number(r.entropy, 3),
        number(r.w_sft, 3),
        number(r.w_rl, 3),
        r.loss
    )
}

impl Observer for Progress {
    fn evaluated(&mut self, step: u32, scores: &[Score]) {
        if let Form::Json = self.form {
            line(json!({"event": "evaluation", "step": step, "scores": scores}));
            return;
        }
        let percent = |ood| mean_accuracy(scores, ood).map(|v| format!("{:.1}%", 100.0 * v));
        let accuracy = match (percent(false), percent(true)) {
            (Some(inside), Some(outside)) => {
                format!("{inside} in distribution, {outside} out of distribution")
            }
            // The user's own suites are all of one kind.
            (one, other) => one.or(other).unwrap_or_default(),
        };
        self.say(&format!("step {step}: accuracy {accuracy}"));
    }

    fn stepped(&mut self, report: &StepReport, of: u32) {
        if report.step == 1 {
            let secs = report.rollout_secs + report.train_secs;
            let left = duration(secs * f64::from(of - 1));
            self.say(&format!(
                "the first step took {secs:.1} s: about {left} to go, plus the evaluations"
            ));
        }
        let team = self.team.map(|[at_work, of]| format!("{at_work} of {of} devices at work"));
        match &mut self.form {
            Form::Bar(bar, steps) => {
                steps.push(report.clone());
                bar.set_position(u64::from(report.step));
                // A line that reaches the last column would wrap on some terminals.
                let mut lines = live_lines(steps, error_width().saturating_sub(1));
                lines.extend(team);
                bar.set_message(lines.join("\n"));
            }
            Form::Lines if report.step.is_multiple_of(LINE_EVERY) || report.step == 1 => {
                let team = team.map_or(String::new(), |team| format!("  {team}"));
                line(format_args!("step {}/{of}: {}{team}", report.step, sentence(report)));
            }
            Form::Lines => {}
            Form::Json => {
                let mut value = serde_json::to_value(report).expect("a plain record");
                value["event"] = "step".into();
                if let Some([at_work, of]) = self.team {
                    value["devices"] = json!({"at_work": at_work, "of": of});
                }
                line(value);
            }
        }
    }

    fn shared(&mut self, at_work: usize, of: usize) {
        self.team = Some([at_work, of]);
    }

    fn noted(&mut self, text: &str) {
        match &mut self.form {
            Form::Bar(bar, _) => bar.println(format!("note: {text}")),
            Form::Lines | Form::Json => note(format_args!("note: {text}")),
        }
    }

    fn saved(&mut self, path: &Path) {
        if let Form::Json = self.form {
            line(json!({"event": "checkpoint", "path": path}));
        }
    }
}
