//! `srft report`.

use super::arguments::Report;
use super::say;
use super::tables::terminal_width;
use srft::error::Result;
use srft::platform::write_atomic;
use srft::report::{html, read_runs, text};
use std::path::{Path, PathBuf};

const FILE: &str = "report.html";

/// Writes the report on some runs, or prints it.
pub fn report(arguments: Report) -> Result<()> {
    let runs = read_runs(&arguments.runs)?;
    if arguments.text {
        say(text(&runs, terminal_width()))?;
    }
    let out = match (arguments.out, arguments.text) {
        (Some(out), _) => out,
        (None, true) => return Ok(()),
        (None, false) => place(&arguments.runs),
    };
    let html = html(&runs);
    write_atomic(&out, html.as_bytes())?;
    say(format_args!("report: {} ({} kB)", out.display(), html.len().div_ceil(1000)))
}

/// A run's report lies in its folder, one on several here.
fn place(runs: &[PathBuf]) -> PathBuf {
    match runs {
        [run] => run.join(FILE),
        _ => Path::new(FILE).into(),
    }
}
