//! The user's data files, read for a model: what is too long for it, or cannot be judged, is found here.

use super::reader::Wanted;
use crate::config::{Data, TooLong, Turns};
use crate::data::encode::encode;
use crate::data::shape::Needs;
use crate::data::{file, packed, render};
use crate::error::{Error, Result};
use crate::model::ModelConfig;
use crate::platform::read;
use crate::records::Example;
use crate::reward::Grader;
use crate::text::Tokenizer;
use crate::text::chat::ChatTemplate;
use std::path::Path;

/// Lines named in a note; the others are counted.
const LINES_NAMED: usize = 5;

/// What reading needs besides the file.
pub struct Files<'a> {
    pub data: &'a Data,
    pub tokenizer: &'a Tokenizer,
    pub model: &'a ModelConfig,
    pub grader: &'a Grader,
    pub template: Option<ChatTemplate>,
}

impl Files<'_> {
    /// The examples of a file. Responses that are not kept are not rendered, and do not count as too
    /// long either.
    pub fn read(
        &self,
        path: &str,
        suite: &str,
        wanted: Wanted,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Example>> {
        let Wanted { response, answer, keeps_responses } = wanted;
        let bytes = packed::unpack(read(Path::new(path)).map_err(|e| not_a_list(path, e))?, path)?;
        let file = file::parse(&bytes, path, Needs { response, answer })?;
        notes.extend(file.notes);
        let all_turns = self.data.turns == Turns::All;
        let (mut examples, mut long, mut unlearned) = (Vec::new(), Vec::new(), Vec::new());
        for row in file.rows {
            let line = row.line;
            let row = if keeps_responses { row } else { row.without_response() };
            let at = |e: Error| e.at(format!("{path}:{line}"));
            let example = render::example(row, suite, self.template.as_ref(), all_turns);
            let (example, rewritten) = example.map_err(at)?;
            if rewritten > 0 && response {
                unlearned.push(line);
            }
            if answer || !example.answer.is_empty() {
                self.grader.check_gold(&example.answer).map_err(at)?;
            }
            let encoded = encode(self.tokenizer, &self.model.eos_tokens, &example);
            let encoded = encoded.map_err(at)?;
            let read = encoded.read();
            let response = encoded.demonstration.map_or(1, |tokens| tokens.len());
            match self.require_fits(read, response) {
                Ok(()) => examples.push(example),
                Err(e) if self.data.too_long == TooLong::Error => return Err(at(e)),
                Err(_) => {
                    long.push(line);
                    // A prompt that leaves no room cannot be cut.
                    let cuts = self.data.too_long == TooLong::Cut;
                    if cuts && self.require_fits(read, 1).is_ok() {
                        examples.push(example);
                    }
                }
            }
        }
        notes.extend(note_of(path, &long, "too long", self.done()));
        let why = "read and not learned: the chat template writes them otherwise later on";
        notes.extend(note_of(path, &unlearned, "with earlier turns of the assistant", why));
        match examples.is_empty() {
            false => Ok(examples),
            true => Err(Error::input("every example is too long")
                .at(path)
                .next("raise data.max_tokens, or take a model with a longer context")),
        }
    }

    /// An error for an example that a program gave and that cannot be trained or judged on.
    pub fn require_usable(&self, example: &mut Example, wanted: Wanted) -> Result<()> {
        if wanted.response && example.demonstration.is_none() {
            return Err(Error::input("no demonstration, which the method imitates")
                .next("give it one, or take a method without demonstrations, such as grpo"));
        }
        if wanted.answer || !example.answer.is_empty() {
            self.grader.check_gold(&example.answer)?;
        }
        if !wanted.keeps_responses {
            example.demonstration = None;
        }
        let encoded = encode(self.tokenizer, &self.model.eos_tokens, example)?;
        let read = encoded.read();
        self.require_fits(read, encoded.demonstration.map_or(1, |tokens| tokens.len()))
    }

    fn require_fits(&self, prompt: usize, response: usize) -> Result<()> {
        let most = self.data.max_tokens;
        if most > 0 && prompt + response > most {
            return Err(Error::input(format!(
                "{prompt} prompt and {response} response tokens, more than data.max_tokens = \
                 {most}"
            ))
            .next("raise it, or set data.too_long to drop or cut"));
        }
        self.model.require_fits(prompt, response).map_err(|e| {
            let next = "shorten it, set data.too_long to drop or cut, or take a model with a longer context";
            Error { next: Some(next.into()), ..e }
        })
    }

    /// What is done with examples that are too long.
    fn done(&self) -> &'static str {
        match self.data.too_long {
            TooLong::Cut => "cut, or dropped where the prompt alone is",
            TooLong::Drop | TooLong::Error => "dropped",
        }
    }
}

/// The error for a file that is not there; where its name may be meant as several, how those are given.
fn not_a_list(path: &str, error: Error) -> Error {
    if !path.contains(',') {
        return error;
    }
    let files: Vec<&str> = path.split(',').map(str::trim).collect();
    let next = format!(
        "several files are a list: {files:?} in place of the text, or a flag for each: --data {} \
         (or --eval-data)",
        files.join(" --data ")
    );
    Error { next: Some(next), ..error }
}

/// What the user should hear of some lines of a file.
fn note_of(path: &str, lines: &[usize], what: &str, done: &str) -> Option<String> {
    let named: Vec<String> = lines.iter().take(LINES_NAMED).map(usize::to_string).collect();
    let more = if lines.len() > LINES_NAMED { ", ..." } else { "" };
    (!lines.is_empty()).then(|| {
        format!("{path}: {} {what}: {done} (lines {}{more})", lines.len(), named.join(", "))
    })
}
