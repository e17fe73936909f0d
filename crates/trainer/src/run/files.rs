//! Reads the user's data for a model, and finds what is too long for it or cannot be judged.

use super::reads::{Examples, For};
use super::wanted::Wanted;
use crate::config::{Columns, TooLong, Turns, Unreadable};
use crate::data::encode::{Encoded, encode};
use crate::data::gym::{self, Tasks};
use crate::data::shape::{Needs, Row};
use crate::data::source::Problem;
use crate::data::{file, packed, render};
use crate::error::{Error, Result};
use crate::hub::{Kind, located};
use crate::model::ModelFolder;
use crate::platform::{IS_PAGE, read};
use crate::text::chat::{ChatTemplate, deep_threads};
use rayon::prelude::*;

/// Rows named in a note; the others are counted.
const ROWS_NAMED: usize = 5;

/// Rows a core that are read in parallel before the results are collected, and the most in all.
const ROWS_A_CORE: usize = 128;
const MOST_ROWS: usize = 2048;

/// A row that can be used, unless it is too long.
struct Checked {
    line: usize,
    /// Earlier turns of the assistant that carry no loss, since the template writes them otherwise later.
    rewritten: usize,
    problem: Problem,
    /// Whether the verifier can read its gold answer.
    readable: bool,
    /// The error if it is too long.
    fits: Result<()>,
    /// Whether its prompt leaves room for a response of one token.
    can_be_cut: bool,
}

/// Where rows come from, for messages.
struct Place<'a> {
    of: &'a str,
    /// What rows are called, in the plural.
    rows: &'a str,
    at: &'a (dyn Fn(usize) -> String + Sync),
}

impl Place<'_> {
    /// A note to the user about some of the rows.
    fn note_of(&self, which: &[usize], what: &str, done: &str) -> Option<String> {
        let named: Vec<String> = which.iter().take(ROWS_NAMED).map(usize::to_string).collect();
        let more = if which.len() > ROWS_NAMED { ", ..." } else { "" };
        let (count, named) = (which.len(), named.join(", "));
        (count > 0)
            .then(|| format!("{}: {count} {what}: {done} ({} {named}{more})", self.of, self.rows))
    }
}

/// The date that templates write into prompts, seconds since 1970: 26 July 2024, Llama 3.1's default. It
/// is fixed so that a run resumed tomorrow reads what it read today.
const WRITTEN_SECS: i64 = 1_721_952_000;

/// A model's chat template, with a fixed date for templates that write one.
pub fn data_template(folder: &ModelFolder) -> Result<Option<ChatTemplate>> {
    Ok(folder.template()?.map(|template| template.at_time(WRITTEN_SECS)))
}

/// Reads files of examples.
pub struct Files<'a> {
    of: For<'a>,
    tasks: &'static dyn Tasks,
    template: Option<ChatTemplate>,
}

impl Examples for Files<'_> {
    fn of_file(
        &self,
        path: &str,
        suite: &str,
        wanted: Wanted,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Problem>> {
        let needs = Needs { response: wanted.response, answer: wanted.answer };
        let task = gym::task_of(path);
        let bytes = match task {
            Some(task) => self.task(task, path, wanted)?,
            None => {
                let bytes = read(&located(path, Kind::Data)).map_err(|e| not_a_list(path, e))?;
                packed::unpack(bytes, path)?
            }
        };
        let columns = if task.is_some() { &[][..] } else { &self.of.data.columns };
        let columns = Columns::new(columns).expect("checked with the settings");
        let file = file::parse_columns(bytes, path, &columns, needs)?;
        // A task's rows have columns of ours, which nobody need be told of.
        notes.extend(file.notes.into_iter().filter(|_| task.is_none()));
        let at = |number: usize| file.numbered.at(path, number);
        let place = Place { of: path, rows: file.numbered.what(), at: &at };
        self.problems(file.rows, suite, wanted, &place, notes)
    }

    fn of_rows(
        &self,
        rows: &[Row],
        place: &str,
        suite: &str,
        wanted: Wanted,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Problem>> {
        let at = |index: usize| format!("{place}: example {index}");
        let rows = rows.iter().enumerate().map(|(line, row)| Row { line, ..row.clone() });
        let rows: Vec<Row> = rows.collect();
        if let Some(row) = rows.iter().find(|row| wanted.response && !row.responds()) {
            return Err(Error::input("no demonstration, which the method imitates")
                .at(at(row.line))
                .next("give it one, or use a method without demonstrations, such as grpo"));
        }
        self.problems(rows, suite, wanted, &Place { of: place, rows: "examples", at: &at }, notes)
    }
}

impl<'a> Files<'a> {
    /// A reader of files for a model.
    pub fn new(of: For<'a>, tasks: &'static dyn Tasks) -> Result<Self> {
        Ok(Self { of, tasks, template: data_template(of.folder)? })
    }

    /// The rows of a task: conversations if the model has a chat template.
    fn task(&self, task: &str, path: &str, wanted: Wanted) -> Result<Vec<u8>> {
        if wanted.response {
            return Err(Error::input("the task has answers, but no demonstrations to imitate")
                .at(path)
                .next("use a method without demonstrations, such as --method grpo"));
        }
        let problems = self.tasks.problems(task, self.of.longest_wait)?;
        Ok(gym::jsonl(task, &problems, self.template.is_some()))
    }

    fn problems(
        &self,
        rows: Vec<Row>,
        suite: &str,
        wanted: Wanted,
        place: &Place,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Problem>> {
        let (count, mut rows) = (rows.len(), rows.into_iter());
        let (mut problems, mut long, mut unlearned) = (Vec::new(), Vec::new(), Vec::new());
        let mut unreadable = Vec::new();
        let tell = |left: usize| {
            if let Some(watch) = self.of.watch {
                watch.reading(place.of, count - left, count);
            }
        };
        tell(count);
        let at_a_time = MOST_ROWS.min(ROWS_A_CORE * rayon::current_num_threads());
        while rows.len() > 0 {
            let some: Vec<Row> = rows.by_ref().take(at_a_time).collect();
            let check = |row: Row| {
                let line = row.line;
                self.check(row, suite, wanted).map_err(|e| e.at((place.at)(line)))
            };
            let checked: Vec<Result<Checked>> =
                self.side_by_side(|| some.into_par_iter().map(check).collect())?;
            for row in checked {
                let Checked { line, rewritten, problem, readable, fits, can_be_cut } = row?;
                if !readable {
                    unreadable.push(line);
                    continue;
                }
                if rewritten > 0 && wanted.response {
                    unlearned.push(line);
                }
                // Copied out of the reading threads' heaps, where it would be scattered among short-lived
                // allocations and make each further row slower to read.
                let problem = problem.clone();
                match fits {
                    Ok(()) => problems.push(problem),
                    Err(e) if self.of.data.too_long == TooLong::Error => {
                        return Err(e.at((place.at)(line)));
                    }
                    Err(_) => {
                        long.push(line);
                        if can_be_cut && self.of.data.too_long == TooLong::Cut {
                            problems.push(problem);
                        }
                    }
                }
            }
            tell(rows.len());
        }
        notes.extend(place.note_of(&long, "too long", self.done()));
        let why = "whose gold answer cannot be read";
        notes.extend(place.note_of(&unreadable, why, "dropped"));
        let why = "read but not learned, since the chat template rewrites them in later turns";
        notes.extend(place.note_of(&unlearned, "with earlier turns of the assistant", why));
        match problems.is_empty() {
            false => Ok(problems),
            true if long.is_empty() && !unreadable.is_empty() => {
                Err(Error::input("no gold answer in it can be read")
                    .at(place.of)
                    .next("data.unreadable = \"error\" says why; or use another verifier"))
            }
            true => Err(Error::input("every example is too long")
                .at(place.of)
                .next("raise data.max_tokens, or use a model with a longer context")),
        }
    }

    /// Checks a row and encodes it. Rows are independent of each other and read in parallel.
    fn check(&self, row: Row, suite: &str, wanted: Wanted) -> Result<Checked> {
        let line = row.line;
        let row = if wanted.keeps_responses { row } else { row.without_response() };
        let all_turns = self.of.data.turns == Turns::All;
        let row = if self.template.is_some() { row.asked() } else { row };
        let row = row.with_system(&self.of.data.system);
        let (mut example, rewritten) =
            render::example(row, suite, self.template.as_ref(), all_turns)?;
        if let Some(gold) = self.of.grader.verifier.gold_within(&example.answer) {
            example.answer = gold.into();
        }
        let judged = wanted.answer || !example.answer.is_empty();
        let gold = if judged { self.of.grader.check_gold(&example.answer) } else { Ok(()) };
        let readable = gold.is_ok();
        if let (Err(e), Unreadable::Error) = (gold, self.of.data.unreadable) {
            let next = e.next.as_deref().unwrap_or("correct it");
            let next = format!("{next}; data.unreadable = \"drop\" leaves such examples out");
            return Err(Error { next: Some(next), ..e });
        }
        let encoded = encode(self.of.tokenizer, &self.of.model.eos_tokens, &example)?;
        let fits = self.require_fits(encoded.read(), shown(&encoded));
        // If the prompt alone is too long, cutting the demonstration does not help.
        let can_be_cut = self.require_fits(encoded.read(), 1).is_ok();
        let problem = Problem { example, encoded: Some(encoded) };
        Ok(Checked { line, rewritten, problem, readable, fits, can_be_cut })
    }

    /// Runs `work` on a thread pool with all cores and, if there is a template, a stack deep enough for it.
    fn side_by_side<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        match &self.template {
            Some(_) if !IS_PAGE => Ok(deep_threads()?.install(work)),
            _ => Ok(work()),
        }
    }

    fn require_fits(&self, prompt: usize, response: usize) -> Result<()> {
        let most = self.of.data.max_tokens;
        if most > 0 && prompt + response > most {
            return Err(Error::input(format!(
                "{prompt} prompt and {response} response tokens, more than data.max_tokens = \
                 {most}"
            ))
            .next("raise it, or set data.too_long to drop or cut"));
        }
        self.of.model.require_fits(prompt, response).map_err(|e| {
            let next = "shorten it, set data.too_long to drop or cut, or use a model with a longer \
                        context";
            Error { next: Some(next.into()), ..e }
        })
    }

    /// What is done with examples that are too long, in words.
    fn done(&self) -> &'static str {
        match self.of.data.too_long {
            TooLong::Cut => "cut, or dropped if the prompt alone is",
            TooLong::Drop | TooLong::Error => "dropped",
        }
    }
}

/// Tokens of the demonstration, or of the shortest response.
fn shown(encoded: &Encoded) -> usize {
    encoded.demonstration.as_ref().map_or(1, Vec::len)
}

/// The error for a missing file; if the name looks like several files, it says how to give several.
fn not_a_list(path: &str, error: Error) -> Error {
    if !path.contains(',') {
        return error;
    }
    let files: Vec<&str> = path.split(',').map(str::trim).collect();
    let next = format!(
        "to give several files, write a list, {files:?}, or one flag per file: --data {} (or \
         --eval-data)",
        files.join(" --data ")
    );
    Error { next: Some(next), ..error }
}
