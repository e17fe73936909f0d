//! The program's commands, one file each.

mod analyze;
mod arguments;
mod bench;
mod chat;
mod devices;
mod explain;
mod export;
mod generate;
mod merge;
mod plan;
mod progress;
mod ready;
mod report;
mod score;
mod settings;
mod stop;
mod study;
mod tables;
mod team;
mod train;

pub use arguments::Arguments;

use arguments::Command;
use srft::config::Model;
use srft::device::Selected;
use srft::error::{Result, io};
use srft::model::{Llama, ModelFolder};
use srft::run::load_model;
use srft::text::Tokenizer;
use std::fmt::Display;
use std::io::{ErrorKind, Write, stderr, stdout};
use std::path::Path;

/// Runs the requested command.
pub async fn run(arguments: Arguments) -> Result<()> {
    if matches!(
        arguments.command,
        Command::Train(_) | Command::Worker(_) | Command::Pretrain(_) | Command::Study(_)
    ) {
        stop::hold_signals();
    }
    match arguments.command {
        Command::Train(a) => train::train(a).await,
        Command::Worker(a) => team::worker(a).await,
        Command::Pretrain(a) => train::pretrain(a).await,
        Command::Eval(a) => generate::eval(a).await,
        Command::Generate(a) => generate::generate(a).await,
        Command::Chat(a) => chat::chat(a).await,
        Command::Study(a) => study::study(a).await,
        Command::Score(a) => score::score(a).await,
        Command::Explain(a) => explain::explain(a).await,
        Command::Analyze(a) => analyze::analyze(a).await,
        Command::Report(a) => report::report(a),
        Command::Merge(a) => merge::merge(a).await,
        Command::Export(a) => export::export(a).await,
        Command::Plan(a) => plan::plan(a),
        Command::Devices(a) => devices::devices(a).await,
        Command::Bench(a) => bench::bench(a).await,
        Command::Config(a) => {
            let text = match a.metrics {
                true => srft::metrics::as_markdown(),
                false => a.settings.named(Vec::new(), &[])?.to_annotated_toml(),
            };
            say(text.trim_end())
        }
    }
}

/// Loads a model onto the device, and says where it differs from what its files claim.
fn load(model: &Model, selected: &Selected) -> Result<(ModelFolder, Llama, Tokenizer)> {
    let (folder, model, tokenizer) = load_model(model, &selected.device)?;
    folder.notes(&model.config).iter().for_each(note);
    Ok((folder, model, tokenizer))
}

/// Prints a line. A closed pipe, as in `| head`, is ignored; other errors, such as a full disk, are
/// returned.
fn say(line: impl Display) -> Result<()> {
    print(format_args!("{line}\n")).map(drop)
}

/// Prints at once. Tells whether it can be read: no more, if it goes into a closed pipe.
fn print(text: impl Display) -> Result<bool> {
    let mut out = stdout();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(io(Path::new("standard output"), e)),
    }
}

/// Prints a line for people to standard error; errors are ignored.
pub fn note(line: impl Display) {
    let _ = writeln!(stderr(), "{line}");
}
