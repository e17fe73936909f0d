//! `srft report`.

use super::arguments::Report;
use super::say;
use super::tables::terminal_width;
use srft::error::{Error, Result};
use srft::platform::write_atomic;
use srft::report::{html, is_study, read_runs, read_study, study_html, study_text, text};
use std::path::{Path, PathBuf};

const FILE: &str = "report.html";

/// Writes the report on some runs, or on a study, or prints it.
pub fn report(arguments: Report) -> Result<()> {
    let (html, printed) = of(&arguments)?;
    if arguments.text {
        say(printed.trim_end())?;
    }
    let out = match (arguments.out, arguments.text) {
        (Some(out), _) => out,
        (None, true) => return Ok(()),
        (None, false) => place(&arguments.runs),
    };
    write_atomic(&out, html.as_bytes())?;
    say(format_args!("report: {} ({} kB)", out.display(), html.len().div_ceil(1000)))
}

/// As HTML and as text.
fn of(arguments: &Report) -> Result<(String, String)> {
    let width = terminal_width();
    match arguments.runs.as_slice() {
        [folder] if is_study(folder) => {
            let results = read_study(folder)?;
            Ok((study_html(&results, folder), study_text(&results, folder, width)))
        }
        folders => match folders.iter().find(|folder| is_study(folder)) {
            Some(study) => Err(Error::input("a study has a report of its own")
                .at(study.display())
                .next("name it alone, or run folders alone")),
            None => {
                let runs = read_runs(folders)?;
                Ok((html(&runs), text(&runs, width)))
            }
        },
    }
}

/// The report on one folder lies in it, one on several here.
fn place(runs: &[PathBuf]) -> PathBuf {
    match runs {
        [run] => run.join(FILE),
        _ => Path::new(FILE).into(),
    }
}
