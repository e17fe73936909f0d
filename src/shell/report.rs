//! `srft report`.

use super::arguments::Report;
use super::say;
use super::tables::terminal_width;
use srft::error::{Error, Result};
use srft::platform::OutFile;
use srft::report::{
    RunRecord, html, is_study, read_runs, read_study, study_html, study_text, text,
};
use srft::study::results::Results;
use std::path::{Path, PathBuf};

const FILE: &str = "report.html";

/// What to report on.
enum Subject {
    Runs(Vec<RunRecord>),
    Study(Results, PathBuf),
}

/// Writes or prints the report on some runs or on a study.
pub fn report(arguments: Report) -> Result<()> {
    let subject = Subject::read(&arguments.runs)?;
    if arguments.text {
        say(subject.text(terminal_width()))?;
    }
    let out = match (arguments.out, arguments.text) {
        (Some(out), _) => out,
        (None, true) => return Ok(()),
        (None, false) => place(&arguments.runs),
    };
    let html = subject.html();
    let overwrite = arguments.overwrite;
    OutFile { path: &out, kind: "report", is_such, overwrite }.write(html.as_bytes())?;
    say(format_args!("report: {} ({} kB)", out.display(), html.len().div_ceil(1000)))
}

/// Whether bytes are a report of this command.
fn is_such(bytes: &[u8]) -> bool {
    let title = b"<title>SRFT report: ";
    let head = &bytes[..bytes.len().min(2000)];
    head.starts_with(b"<!doctype html>") && head.windows(title.len()).any(|part| part == title)
}

impl Subject {
    fn read(folders: &[PathBuf]) -> Result<Self> {
        match (folders, folders.iter().find(|folder| is_study(folder))) {
            (_, None) => Ok(Self::Runs(read_runs(folders)?)),
            ([folder], Some(_)) => Ok(Self::Study(read_study(folder)?, folder.clone())),
            (_, Some(study)) => Err(Error::input("a study's report can't include other folders")
                .at(study.display())
                .next("give only that folder, or only run folders")),
        }
    }

    fn html(&self) -> String {
        match self {
            Self::Runs(runs) => html(runs),
            Self::Study(results, folder) => study_html(results, folder),
        }
    }

    fn text(&self, width: usize) -> String {
        match self {
            Self::Runs(runs) => text(runs, width),
            Self::Study(results, folder) => study_text(results, folder, width),
        }
    }
}

/// The default place: in the folder if there is one run, else in the working folder.
fn place(runs: &[PathBuf]) -> PathBuf {
    match runs {
        [run] => run.join(FILE),
        _ => Path::new(FILE).into(),
    }
}
