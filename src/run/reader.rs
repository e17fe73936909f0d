//! A config's examples for a model: what it could not be trained or judged on is an error here, never
//! a score.

use super::given::{GIVEN, Given, NOTHING};
use crate::config::{Config, Objective};
use crate::data::builtin;
use crate::data::source::Source;
use crate::error::{Error, Result};
use crate::eval::Suite;
use crate::model::{ModelConfig, ModelFolder};
use crate::records::Example;
use crate::reward::Grader;
use crate::text::Tokenizer;

/// One in this many of a user's examples is kept for evaluation where no file for it is given.
const EVAL_ONE_IN: usize = 10;

/// What templates take for now when they write a date into a prompt: 26 July 2024, Llama 3.1's own
/// default, so that a run resumed tomorrow reads what it read today. Seconds since 1970.
#[cfg(not(target_family = "wasm"))]
const WRITTEN_SECS: i64 = 1_721_952_000;

/// Reads examples for a model.
pub struct Reader<'a> {
    /// Which files, and what the method needs of them.
    config: &'a Config,
    given: &'a Given,
    #[cfg(not(target_family = "wasm"))]
    files: files::Files<'a>,
    /// What the user should hear.
    pub notes: Vec<String>,
}

impl<'a> Reader<'a> {
    /// A reader for the model of a folder.
    pub fn new(
        config: &'a Config,
        folder: &'a ModelFolder,
        tokenizer: &'a Tokenizer,
        model: &'a ModelConfig,
        grader: &'a Grader,
    ) -> Result<Self> {
        #[cfg(target_family = "wasm")]
        let _ = (folder, tokenizer, model, grader);
        Ok(Self {
            config,
            given: &NOTHING,
            #[cfg(not(target_family = "wasm"))]
            files: files::Files {
                data: &config.data,
                tokenizer,
                model,
                grader,
                template: folder.template()?.map(|template| template.at_time(WRITTEN_SECS)),
            },
            notes: Vec::new(),
        })
    }

    /// The reader with what a program gives in place of files.
    pub(super) fn with(self, given: &'a Given) -> Self {
        Self { given, ..self }
    }

    /// The training source.
    pub fn source(&mut self) -> Result<Source> {
        let data = &self.config.data;
        if !data.train.is_empty() {
            let examples = self.training()?;
            return Ok(Source::Examples(match data.eval.is_empty() {
                true => split(examples).0,
                false => examples,
            }));
        }
        if !data.eval.is_empty() {
            return Err(Error::input("a file for evaluation, but none for training")
                .at("data.eval")
                .next("add --data F.jsonl; the built-in task is evaluated on its own suites"));
        }
        match data.task.as_str() {
            "arithmetic" => Ok(Source::Builtin(data.clone())),
            "pretraining" => Ok(Source::Pretraining),
            other => Err(Error::input(format!("data.task = `{other}` is not known"))
                .next("one of: arithmetic, pretraining; or give a file with --data")),
        }
    }

    /// The evaluation suites: the built-in ones, the files of `data.eval`, or a tenth of `data.train`.
    /// Training with no answers at all has none.
    pub fn suites(&mut self) -> Result<Vec<Suite>> {
        let (n, skip) = (self.config.eval.examples, self.config.eval.skip);
        let mut suites = self.whole_suites(n.saturating_add(skip))?;
        for suite in &mut suites {
            let all = std::mem::take(&mut suite.examples);
            let had = all.len();
            suite.examples = all.into_iter().skip(skip).take(n).collect();
            if suite.examples.is_empty() && skip > 0 {
                return Err(Error::input(format!(
                    "{} has {had} problems to evaluate on",
                    suite.name
                ))
                .at("eval.skip")
                .next(format!("pass over fewer of them than {skip}")));
            }
        }
        Ok(suites)
    }

    /// Those with all their problems, or for the built-in ones the first `n`.
    fn whole_suites(&mut self, n: usize) -> Result<Vec<Suite>> {
        let data = &self.config.data;
        let of_file =
            |path: &str, examples| Suite { name: stem(path), out_of_distribution: false, examples };
        match (data.train.as_str(), data.eval.as_str()) {
            ("", "") => Ok(builtin::suites()
                .iter()
                .map(|s| Suite {
                    name: s.name.into(),
                    out_of_distribution: s.out_of_distribution,
                    // The same problems for every seed of training, so that runs compare.
                    examples: builtin::held_out(s, n, 0),
                })
                .collect()),
            (train, "") => {
                let said = self.notes.len(); // when the file was read for training
                let held = split(self.training()?).1;
                self.notes.truncate(said);
                if held.is_empty() {
                    return Err(Error::input(format!(
                        "fewer than {EVAL_ONE_IN} examples leave none to evaluate on"
                    ))
                    .at(train)
                    .next("give an evaluation file with --eval-data"));
                }
                Ok(vec![of_file(train, held)])
            }
            (_, eval) => {
                let read = |path: &str| Ok(of_file(path, self.examples(path, false, true)?));
                eval.split(',').map(str::trim).filter(|p| !p.is_empty()).map(read).collect()
            }
        }
    }

    /// The suites with the responses that they come with: what the files of `data.eval` give, which
    /// need neither response nor answer, or the built-in demonstrations.
    #[cfg(not(target_family = "wasm"))]
    pub fn answered_suites(&mut self) -> Result<Vec<Suite>> {
        let (data, n) = (&self.config.data, self.config.eval.examples);
        if data.eval.is_empty() {
            return self.suites();
        }
        let needs = crate::data::shape::Needs { response: false, answer: false };
        let mut suites = Vec::new();
        for path in data.eval.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let mut examples = self.files.read(path, needs, true, &mut self.notes)?;
            if examples.len() > n {
                self.notes
                    .push(format!("{path}: the first {n} examples are taken (eval.examples)"));
            }
            examples.truncate(n);
            suites.push(Suite { name: stem(path), out_of_distribution: false, examples });
        }
        Ok(suites)
    }

    /// Tokens of the longest text that the user's files come to, each prompt with its demonstration or
    /// the longest response that may be sampled; `None` for the built-in task.
    #[cfg(not(target_family = "wasm"))]
    pub fn longest(&mut self) -> Result<Option<usize>> {
        if self.config.data.train.is_empty() {
            return Ok(None);
        }
        let mut examples = self.training()?;
        if !self.config.data.eval.is_empty() {
            examples.extend(self.suites()?.into_iter().flat_map(|suite| suite.examples));
        }
        let (tokenizer, model) = (self.files.tokenizer, self.files.model);
        let mut longest = 0;
        for example in &examples {
            let encoded = crate::data::encode::encode(tokenizer, &model.eos_tokens, example)?;
            let shown = encoded.demonstration.map_or(0, |tokens| tokens.len());
            let response = shown.max(self.config.rollout.max_new_tokens);
            longest = longest.max(encoded.prompt.len() + response);
        }
        Ok(Some(longest.min(model.max_positions)))
    }

    fn training(&mut self) -> Result<Vec<Example>> {
        let stages = self.config.stages();
        let response = stages.iter().any(Objective::uses_demonstrations);
        // Without a file for evaluation a tenth of this one is evaluated on.
        let answer = stages.iter().any(|o| o.uses_rollouts() || o.rl_demo)
            || self.config.data.eval.is_empty();
        self.examples(&self.config.data.train.clone(), response, answer)
    }

    /// The examples of a file that have what is needed.
    #[cfg(not(target_family = "wasm"))]
    pub fn examples(&mut self, path: &str, response: bool, answer: bool) -> Result<Vec<Example>> {
        let needs = crate::data::shape::Needs { response, answer };
        let Some(name) = path.strip_prefix(GIVEN) else {
            return self.files.read(path, needs, response, &mut self.notes);
        };
        let mut examples = self.given.examples(name)?.to_vec();
        for (index, example) in examples.iter_mut().enumerate() {
            if example.suite.is_empty() {
                example.suite = name.into();
            }
            let usable = self.files.require_usable(example, needs, response);
            usable.map_err(|e| e.at(format!("{path}: example {index}")))?;
        }
        match examples.is_empty() {
            false => Ok(examples),
            true => Err(Error::input("no examples").at(path).next("give at least one")),
        }
    }

    /// A page has no files.
    #[cfg(target_family = "wasm")]
    fn examples(&mut self, path: &str, _: bool, _: bool) -> Result<Vec<Example>> {
        let _ = (self.given, GIVEN);
        Err(Error::input("a page reads no data files")
            .at(path)
            .next("train on it with the program"))
    }
}

fn stem(path: &str) -> String {
    let path = path.strip_prefix(GIVEN).unwrap_or(path);
    let stem = std::path::Path::new(path).file_stem();
    stem.unwrap_or_default().to_string_lossy().into_owned()
}

/// (for training, for evaluation): every tenth example goes to the second.
fn split(examples: Vec<Example>) -> (Vec<Example>, Vec<Example>) {
    let mut parts = (Vec::new(), Vec::new());
    for (index, example) in examples.into_iter().enumerate() {
        let part = if index % EVAL_ONE_IN == EVAL_ONE_IN - 1 { &mut parts.1 } else { &mut parts.0 };
        part.push(example);
    }
    parts
}

/// The user's files.
#[cfg(not(target_family = "wasm"))]
mod files {
    use super::stem;
    use crate::config::{Data, TooLong, Turns};
    use crate::data::encode::encode;
    use crate::data::shape::Needs;
    use crate::data::{file, render};
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
        /// Responses that are not kept do not count as too long either.
        pub fn read(
            &self,
            path: &str,
            needs: Needs,
            keeps_responses: bool,
            notes: &mut Vec<String>,
        ) -> Result<Vec<Example>> {
            let file = file::parse(&read(Path::new(path))?, path, needs)?;
            notes.extend(file.notes);
            let (suite, all_turns) = (stem(path), self.data.turns == Turns::All);
            let (mut examples, mut long, mut unlearned) = (Vec::new(), Vec::new(), Vec::new());
            for row in file.rows {
                let line = row.line;
                let at = |e: Error| e.at(format!("{path}:{line}"));
                let example = render::example(row, &suite, self.template.as_ref(), all_turns);
                let (mut example, rewritten) = example.map_err(at)?;
                if rewritten > 0 && needs.response {
                    unlearned.push(line);
                }
                if needs.answer || !example.answer.is_empty() {
                    self.grader.check_gold(&example.answer).map_err(at)?;
                }
                if !keeps_responses {
                    example.demonstration = None;
                }
                let encoded = encode(self.tokenizer, &self.model.eos_tokens, &example);
                let encoded = encoded.map_err(at)?;
                let response = encoded.demonstration.map_or(1, |tokens| tokens.len());
                match self.require_fits(encoded.prompt.len(), response) {
                    Ok(()) => examples.push(example),
                    Err(e) if self.data.too_long == TooLong::Error => return Err(at(e)),
                    Err(_) => {
                        long.push(line);
                        // A prompt that leaves no room cannot be cut.
                        let cuts = self.data.too_long == TooLong::Cut;
                        if cuts && self.require_fits(encoded.prompt.len(), 1).is_ok() {
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
        pub fn require_usable(
            &self,
            example: &mut Example,
            needs: Needs,
            keeps_response: bool,
        ) -> Result<()> {
            if needs.response && example.demonstration.is_none() {
                return Err(Error::input("no demonstration, which the method imitates")
                    .next("give it one, or take a method without demonstrations, such as grpo"));
            }
            if needs.answer || !example.answer.is_empty() {
                self.grader.check_gold(&example.answer)?;
            }
            if !keeps_response {
                example.demonstration = None;
            }
            let encoded = encode(self.tokenizer, &self.model.eos_tokens, example)?;
            let response = encoded.demonstration.map_or(1, |tokens| tokens.len());
            self.require_fits(encoded.prompt.len(), response)
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
            self.model.require_fits(prompt, response)
        }

        /// What is done with examples that are too long.
        fn done(&self) -> &'static str {
            match self.data.too_long {
                TooLong::Cut => "cut, or dropped where the prompt alone is",
                TooLong::Drop | TooLong::Error => "dropped",
            }
        }
    }

    /// What the user should hear of some lines of a file.
    fn note_of(path: &str, lines: &[usize], what: &str, done: &str) -> Option<String> {
        let named: Vec<String> = lines.iter().take(LINES_NAMED).map(usize::to_string).collect();
        let more = if lines.len() > LINES_NAMED { ", ..." } else { "" };
        (!lines.is_empty()).then(|| {
            format!("{path}: {} {what}: {done} (lines {}{more})", lines.len(), named.join(", "))
        })
    }
}
