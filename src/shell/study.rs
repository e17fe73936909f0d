//! `srft study`.

use super::arguments::Study as Arguments;
use super::ready::ready;
use super::stop::{SAVING, stop_on_interrupt};
use super::{note, say};
use indicatif::{ProgressBar, ProgressStyle};
use srft::config::Config;
use srft::device::{Kind, Selected};
use srft::error::{Error, Kind as ErrorKind, Result};
use srft::eval::mean_accuracy;
use srft::metrics::StepReport;
use srft::platform::{Stopwatch, exists, read_text, write_atomic};
use srft::run::Observer;
use srft::study::finished::Finished;
use srft::study::results::{RESULTS, Results};
use srft::study::tables::{TABLES, TIMES, markdown, tables, times};
use srft::study::{Queue, SPEC, Spec, Study, Task, preset};
use std::fmt::{self, Display};
use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Carries out a study, or what is left of it, and prints its tables.
pub async fn study(arguments: Arguments) -> Result<()> {
    let (mut study, text) = asked(&arguments)?;
    let tasks = match &arguments.only {
        Some(only) => study.tasks_of(only)?,
        None => study.tasks()?,
    };
    if arguments.dry_run {
        return dry_run(&study, &tasks).await;
    }
    if !arguments.tables {
        let _lock = study.keep(&text)?;
        let result = carry_out(&mut study, &tasks, &arguments).await;
        if result.is_err() {
            // Finished runs still get their tables; the error reports the rest.
            let _ = write(&study);
        }
        result?;
    }
    let results = write(&study)?;
    say(tables_of(&results))?;
    say(times_of(&results).trim_end())?;
    let out = study.out.display();
    say(format_args!("\nthe tables: {out}/{TABLES}, {out}/{TIMES}, {out}/{RESULTS}"))
}

/// The study that the arguments name, and its text.
fn asked(arguments: &Arguments) -> Result<(Study, String)> {
    let begun = arguments.out.as_ref().map(|out| out.join(SPEC)).filter(|path| exists(path));
    let (text, place) = match (&arguments.preset, &arguments.spec, begun) {
        (Some(name), ..) => (preset(name)?.to_string(), format!("preset {name}")),
        (None, Some(path), _) => (read_text(path)?, path.display().to_string()),
        (None, None, Some(path)) => (read_text(&path)?, path.display().to_string()),
        (None, None, None) => {
            return Err(Error::input("no study is named, and --out has none")
                .next("srft study --preset paper-small, or --spec FILE.toml"));
        }
    };
    let spec = Spec::read(&text, &place, arguments.seeds)?;
    let out = arguments.out.clone().unwrap_or_else(|| Path::new("studies").join(&spec.name));
    let device = arguments.device.as_deref().unwrap_or("auto");
    Ok((Study::new(spec, &out, device), text))
}

/// Writes the tables and the records.
fn write(study: &Study) -> Result<Results> {
    let results = study.results()?;
    let mut json = serde_json::to_vec_pretty(&results).expect("plain records");
    json.push(b'\n');
    write_atomic(&study.out.join(RESULTS), &json)?;
    write_atomic(&study.out.join(TABLES), tables_of(&results).as_bytes())?;
    write_atomic(&study.out.join(TIMES), times_of(&results).as_bytes())?;
    Ok(results)
}

fn tables_of(results: &Results) -> String {
    markdown(&format!("Study {}", results.name), &tables(results))
}

fn times_of(results: &Results) -> String {
    markdown(&format!("Study {}: seconds", results.name), &times(results))
}

/// The study's device, tested.
async fn device(study: &Study) -> Result<Selected> {
    let setting = Config::setting(&format!("run.device=\"{}\"", study.device))?;
    ready(&Config::resolve(&[setting])?, false).await
}

async fn carry_out(study: &mut Study, tasks: &[Task], arguments: &Arguments) -> Result<()> {
    let waiting = Queue::new(study, tasks)?.waiting();
    if waiting.is_empty() {
        return Ok(());
    }
    study.take_inputs(&waiting, arguments.accept_changes)?.iter().for_each(note);
    let (study, queue) = (&*study, Queue::new(study, &waiting)?);
    note(format_args!("{} of {} runs are left", waiting.len(), tasks.len()));
    let selected = device(study).await?;
    // A GPU has a single queue: a second run would only wait in it.
    let jobs =
        arguments.jobs.unwrap_or(if selected.kind == Kind::Cpu { study.spec.jobs } else { 1 });
    let workers = Workers {
        study,
        queue,
        selected,
        stop: stop_on_interrupt(SAVING)?,
        left: Mutex::new(Left::new(study, &waiting)?),
    };
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(|| workers.work())).collect();
        handles.into_iter().map(|h| h.join().expect("a worker does not panic")).collect()
    });
    // A failure says more than the interruptions that it caused.
    let errors = || results.iter().filter_map(|r| r.as_ref().err());
    let failed = errors().find(|e| e.kind != ErrorKind::Interrupted).or_else(|| errors().next());
    failed.cloned().map_or(Ok(()), Err)
}

/// Shared by the threads that carry out tasks.
struct Workers<'a> {
    study: &'a Study,
    queue: Queue<'a>,
    selected: Selected,
    stop: Arc<AtomicBool>,
    left: Mutex<Left>,
}

impl Workers<'_> {
    /// Carries out one task after the other.
    fn work(&self) -> Result<()> {
        let result = self.tasks();
        if result.is_err() {
            self.stop.store(true, Ordering::SeqCst);
            self.queue.close();
        }
        result
    }

    fn tasks(&self) -> Result<()> {
        while let Some(task) = self.queue.take()? {
            if self.stop.load(Ordering::SeqCst) {
                return Err(Error::interrupted("stopped between runs, all saved")
                    .next("run the same command again to continue"));
            }
            let (clock, mut progress) = (Stopwatch::start(), Progress::new(&task));
            let carried_out =
                self.study.carry_out(&task, &self.selected, &mut progress, &self.stop);
            let result = pollster::block_on(carried_out);
            progress.finish();
            self.queue.put_back(&task);
            result?;
            let secs = clock.elapsed_secs();
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.done(self.study.cost(&task)?);
            note(format_args!("{task}: {}, {secs:.1} s; {left}", told(self.study, &task)?));
        }
        Ok(())
    }
}

/// The result of a task, in a few words.
fn told(study: &Study, task: &Task) -> Result<String> {
    let Some(run) = Finished::read(&study.path(task)?)? else { return Ok(String::new()) };
    let percent = |ood| match mean_accuracy(&run.last.scores, ood) {
        Some(v) => format!("{:.1}%", 100.0 * v),
        None => "-".into(),
    };
    let end = if run.diverged.is_some() { ", diverged" } else { "" };
    Ok(format!("{} in, {} out of distribution{end}", percent(false), percent(true)))
}

/// What is left to do, and how fast it goes.
struct Left {
    tasks: usize,
    cost: f64,
    done_cost: f64,
    clock: Stopwatch,
}

impl Left {
    fn new(study: &Study, waiting: &[Task]) -> Result<Self> {
        let costs = waiting.iter().map(|task| study.cost(task)).collect::<Result<Vec<f64>>>()?;
        let (tasks, cost) = (waiting.len(), costs.iter().sum());
        Ok(Self { tasks, cost, done_cost: 0.0, clock: Stopwatch::start() })
    }

    fn done(&mut self, cost: f64) {
        self.tasks -= 1;
        self.cost = (self.cost - cost).max(0.0);
        self.done_cost += cost;
    }
}

impl Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.cost * self.clock.elapsed_secs() / self.done_cost;
        write!(f, "{} left, about {}", self.tasks, minutes(secs))
    }
}

fn minutes(secs: f64) -> String {
    if secs < 100.0 { format!("{secs:.0} s") } else { format!("{:.0} min", secs / 60.0) }
}

/// Lists the tasks; times are estimated from a few steps of the control.
async fn dry_run(study: &Study, tasks: &[Task]) -> Result<()> {
    let rate = study.measure(&device(study).await?).await?;
    let (mut sum, mut left) = (0.0, 0);
    for task in tasks {
        let secs = study.cost(task)? * rate;
        if study.is_done(task)? {
            say(format_args!("done     {task}"))?;
        } else {
            say(format_args!("{secs:6.1} s {task}"))?;
            sum += secs;
            left += 1;
        }
    }
    let one_by_one = minutes(sum);
    say(format_args!("{left} of {} runs are left, about {one_by_one} one by one", tasks.len()))
}

/// A bar per run on a terminal, nothing elsewhere: a run's line is printed at its end.
struct Progress(Option<ProgressBar>);

impl Progress {
    fn new(task: &Task) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}");
            let style = style.expect("a valid template");
            ProgressBar::new(0).with_style(style).with_message(task.to_string())
        });
        Self(bar)
    }

    fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Progress {
    fn stepped(&mut self, report: &StepReport, of: u32) {
        if let Some(bar) = &self.0 {
            bar.set_length(of.into());
            bar.set_position(report.step.into());
        }
    }
}
