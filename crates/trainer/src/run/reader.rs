//! Loads the configured examples for a model. Anything that can't be trained or judged on is an error
//! here, so that it can't show up later as a score of 0.

use super::given::{GIVEN, Given, NOTHING};
use super::names::suite_names;
use super::reads::{Examples, For};
use super::wanted::{PROBLEMS, Wanted};
use crate::config::{Config, Objective, Prefix, Settings};
use crate::data::builtin;
use crate::data::source::{Problem, Source};
use crate::error::{Error, Result};
use crate::eval::Suite;
use crate::model::{ModelConfig, ModelFolder};
use crate::records::Example;
use crate::reward::Grader;
use crate::text::Tokenizer;
use std::collections::BTreeMap;

/// One in this many of a user's examples is kept for evaluation if no evaluation file is given.
const EVAL_ONE_IN: usize = 10;

/// More problems than this in a file's suite give a note: all are evaluated, before and after training.
const MANY_PROBLEMS: usize = 1000;

/// Reads examples for a model.
pub struct Reader<'a> {
    /// Which files, and what the method needs of them.
    config: &'a Config,
    given: &'a Given,
    /// The name of each file's suite.
    names: BTreeMap<&'a str, String>,
    max_positions: usize,
    examples: Box<dyn Examples + 'a>,
    /// Notes to the user.
    pub notes: Vec<String>,
    /// See [`longest`](Self::longest).
    longest: Option<usize>,
}

impl<'a> Reader<'a> {
    /// The program's reader, for the model in a folder.
    pub fn new(
        config: &'a Config,
        folder: &'a ModelFolder,
        tokenizer: &'a Tokenizer,
        model: &'a ModelConfig,
        grader: &'a Grader,
    ) -> Result<Self> {
        Self::of(config, &NOTHING, folder, tokenizer, model, grader)
    }

    /// Like [`Reader::new`], with what a run is given.
    pub fn of(
        config: &'a Config,
        given: &'a Given,
        folder: &'a ModelFolder,
        tokenizer: &'a Tokenizer,
        model: &'a ModelConfig,
        grader: &'a Grader,
    ) -> Result<Self> {
        let data = &config.data;
        let watch = given.watch.as_deref();
        let longest_wait = config.reward.longest_wait();
        let read_for = For { data, folder, tokenizer, model, grader, watch, longest_wait };
        Ok(Self {
            config,
            given,
            names: suite_names(data.train.iter().chain(&data.eval).map(String::as_str)),
            max_positions: model.max_positions,
            examples: given.reads.examples(read_for)?,
            notes: Vec::new(),
            longest: None,
        })
    }

    /// What to train on, and what to evaluate on: the built-in suites, the files of `data.eval`, or a tenth
    /// of `data.train`. Training data without any answers gives no suite.
    pub fn source_and_suites(&mut self) -> Result<(Source, Vec<Suite>)> {
        let data = &self.config.data;
        if data.train.is_empty() {
            let source = self.builtin_source()?;
            return Ok((source, self.suites()?));
        }
        let mut training = self.training()?;
        let suites = match data.eval.is_empty() {
            true => self.held_out(&mut training),
            false => self.evaluation_files(PROBLEMS)?,
        };
        let problems: Vec<Problem> = training.into_iter().flat_map(|file| file.problems).collect();
        self.measure(&problems);
        Ok((Source::of(problems), self.taken(suites)?))
    }

    /// The suites to evaluate on; none is an error.
    pub fn suites(&mut self) -> Result<Vec<Suite>> {
        let data = &self.config.data;
        let suites = match (data.train.is_empty(), data.eval.is_empty()) {
            (_, false) => self.evaluation_files(PROBLEMS)?,
            (true, true) => self.builtin_suites(),
            (false, true) => {
                let mut training = self.training()?;
                self.held_out(&mut training)
            }
        };
        match suites.is_empty() {
            false => self.taken(suites),
            true => Err(Error::input("too few examples with an answer to evaluate on")
                .at(data.train.join(", "))
                .next("give a file for evaluation with --eval-data")),
        }
    }

    /// The suites with the responses that their rows have, if `keeps_responses`: the files of `data.eval`,
    /// which need neither response nor answer, or the built-in suites with their demonstrations.
    pub fn answered_suites(&mut self, keeps_responses: bool) -> Result<Vec<Suite>> {
        if self.config.data.eval.is_empty() {
            return self.suites();
        }
        let suites =
            self.evaluation_files(Wanted { answer: false, keeps_responses, ..PROBLEMS })?;
        self.taken(suites)
    }

    /// The examples of `data.train`, each with its response.
    pub fn responses(&mut self) -> Result<Vec<Example>> {
        let wanted = Wanted { response: true, answer: false, keeps_responses: true };
        let suites = self.files_of(&self.config.data.train, wanted)?;
        Ok(suites.into_iter().flat_map(|file| file.problems).map(|p| p.example).collect())
    }

    /// Tokens of the longest text among the user's examples read so far: a prompt with its demonstration, or
    /// with the longest response that may be sampled. `None` for the built-in task.
    pub fn longest(&self) -> Option<usize> {
        self.longest.map(|longest| longest.min(self.max_positions))
    }

    fn measure(&mut self, problems: &[Problem]) {
        let begins_inside = self.config.stages().iter().any(|o| o.prefix != Prefix::None);
        for encoded in problems.iter().filter_map(|problem| problem.encoded.as_ref()) {
            let shown = encoded.demonstration.as_ref().map_or(0, |d| encoded.read() + d.len());
            // A rollout may go on from near the demonstration's end.
            let read = if begins_inside { shown } else { 0 }.max(encoded.prompt.len());
            let asked = read + self.config.rollout.max_new_tokens;
            self.longest = self.longest.max(Some(asked.max(shown)));
        }
    }

    fn builtin_source(&self) -> Result<Source> {
        let data = &self.config.data;
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

    /// The built-in suites, each with as many problems as `eval.skip` and `eval.examples` need.
    fn builtin_suites(&self) -> Vec<Suite> {
        let eval = &self.config.eval;
        let count = eval.skip.saturating_add(eval.builtin_examples());
        let suite = |s: &builtin::Suite| Suite {
            name: s.name.into(),
            out_of_distribution: s.out_of_distribution,
            // The same problems whatever the training's seed, so that runs can be compared.
            problems: builtin::held_out(s, count, 0).into_iter().map(Problem::from).collect(),
            of: None,
        };
        builtin::suites().iter().map(suite).collect()
    }

    /// The training files, each with all of its examples.
    fn training(&mut self) -> Result<Vec<Suite>> {
        let stages = self.config.stages();
        let response = stages.iter().any(Objective::uses_demonstrations);
        let answer = stages.iter().any(Objective::uses_answers);
        let wanted = Wanted { response, answer, keeps_responses: response };
        self.files_of(&self.config.data.train, wanted)
    }

    fn evaluation_files(&mut self, wanted: Wanted) -> Result<Vec<Suite>> {
        let files = &self.config.data.eval;
        match files.iter().enumerate().find(|(index, file)| files[..*index].contains(file)) {
            None => self.files_of(files, wanted),
            Some((_, file)) => Err(Error::input("the file is given for evaluation twice")
                .at(file)
                .next("leave one out; eval.samples draws more responses to each problem")),
        }
    }

    /// Takes every tenth example that has an answer out of each training file.
    fn held_out(&mut self, training: &mut [Suite]) -> Vec<Suite> {
        let (mut suites, mut judged, mut all) = (Vec::new(), 0, 0);
        for suite in training {
            let mut held = Vec::new();
            let mut seen = 0;
            all += suite.problems.len();
            for problem in std::mem::take(&mut suite.problems) {
                let can_be_judged = can_be_judged(&problem.example);
                seen += usize::from(can_be_judged);
                let is_held = can_be_judged && seen % EVAL_ONE_IN == 0;
                if is_held { &mut held } else { &mut suite.problems }.push(problem);
            }
            judged += seen;
            // A file that is listed twice for training is evaluated once.
            if !held.is_empty() && !suites.iter().any(|s: &Suite| s.name == suite.name) {
                suites.push(Suite { name: suite.name.clone(), problems: held, ..*suite });
            }
        }
        let add = "--eval-data F.jsonl gives problems for it";
        self.notes.extend(match (judged, suites.is_empty()) {
            (0, _) => Some(format!("no answers in the data: nothing is evaluated; {add}")),
            (_, true) => Some(format!(
                "fewer than {EVAL_ONE_IN} examples with an answer: all are trained on, and nothing \
                 is evaluated; {add}"
            )),
            _ if judged < all => Some(format!(
                "{judged} of {all} examples have an answer: every tenth of them is kept for \
                 evaluation"
            )),
            _ => None,
        });
        suites
    }

    /// Leaves the problems of each suite that are evaluated, and notes if these are not all.
    fn taken(&mut self, mut suites: Vec<Suite>) -> Result<Vec<Suite>> {
        let Settings { eval, data, .. } = &**self.config;
        let is_builtin = data.train.is_empty() && data.eval.is_empty();
        let most = if is_builtin { eval.builtin_examples() } else { eval.file_examples() };
        for suite in &mut suites {
            let had = suite.problems.len();
            suite.problems.drain(..eval.skip.min(had));
            suite.problems.truncate(most);
            let (name, takes) = (&suite.name, suite.problems.len());
            if takes == 0 && eval.skip > 0 {
                return Err(Error::input(format!("{name} has {had} problems to evaluate on"))
                    .at("eval.skip")
                    .next(format!("skip fewer of them than {}", eval.skip)));
            }
            if takes < had && !is_builtin {
                suite.of = Some(had);
                self.notes.push(format!(
                    "{name}: {takes} of {had} problems are evaluated (eval.examples, eval.skip)"
                ));
            } else if takes > MANY_PROBLEMS && !is_builtin {
                self.notes.push(format!(
                    "{name}: all {takes} problems are evaluated; eval.examples=200 takes the first 200"
                ));
            }
        }
        suites.iter().for_each(|suite| self.measure(&suite.problems));
        Ok(suites)
    }

    /// The files, in their order.
    fn files_of(&mut self, paths: &'a [String], wanted: Wanted) -> Result<Vec<Suite>> {
        let mut suites = Vec::with_capacity(paths.len());
        for path in paths {
            let name = self.names[path.as_str()].clone();
            let problems = match path.strip_prefix(GIVEN) {
                Some(given) => self.given_examples(given, path, &name, wanted)?,
                None => self.examples.of_file(path, &name, wanted, &mut self.notes)?,
            };
            suites.push(Suite { name, out_of_distribution: false, problems, of: None });
        }
        Ok(suites)
    }

    fn given_examples(
        &mut self,
        given: &str,
        path: &str,
        suite: &str,
        wanted: Wanted,
    ) -> Result<Vec<Problem>> {
        let rows = self.given.examples(given)?;
        if rows.is_empty() {
            return Err(Error::input("no examples").at(path).next("give at least one"));
        }
        self.examples.of_rows(rows, path, suite, wanted, &mut self.notes)
    }
}

fn can_be_judged(example: &Example) -> bool {
    !example.answer.is_empty() && !example.prompt.is_empty()
}
