//! Examples and a judge that an embedding program passes to a run in memory.

use super::hire::Hire;
use super::program::Program;
use super::reads::{Reads, Watch};
use crate::config::{self, Comparison, Config, NamedReward, RewardBy};
use crate::data::builtin;
use crate::data::gym::ByProcess;
use crate::data::shape::Row;
use crate::error::{Error, Result};
use crate::hub::{Kind, located};
use crate::model::ModelFolder;
use crate::reward::{Grader, Part, Weighted};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Prefix of a name in `data.train` or `data.eval` whose examples the program gives.
pub const GIVEN: &str = "given:";

/// What reads a run's files, and what no config can hold: examples and a judge in memory. Whoever resumes
/// the run must give them again.
#[derive(Debug, Clone)]
pub struct Given {
    /// Reads what the config names.
    pub reads: &'static dyn Reads,
    /// Examples, like a file's rows, by the name that follows [`GIVEN`] in `data.train` and `data.eval`.
    pub examples: BTreeMap<String, Vec<Row>>,
    /// Judges answers where `data.verifier` is `given`.
    pub judge: Option<Arc<dyn Part>>,
    /// The rewards that a config names as `given`, by their names.
    pub rewards: BTreeMap<String, Arc<dyn Part>>,
    /// Told how far the reading of a file has got.
    pub watch: Option<Arc<dyn Watch>>,
    /// Finds the devices that share the run's work; none: its own does it all.
    pub team: Option<Arc<dyn Hire>>,
}

/// No examples and no judge: the program's run on files and verifiers.
pub static NOTHING: Given = Given::of(&Program { tasks: &ByProcess });

impl Default for Given {
    fn default() -> Self {
        NOTHING.clone()
    }
}

impl Given {
    /// No examples and no judge, only a reader of the files that a config names.
    pub const fn of(reads: &'static dyn Reads) -> Self {
        Self {
            reads,
            examples: BTreeMap::new(),
            judge: None,
            rewards: BTreeMap::new(),
            watch: None,
            team: None,
        }
    }

    /// The model that a config names; `model.base`, if set, is the base of an adapter.
    pub fn open(&self, model: &config::Model) -> Result<ModelFolder> {
        match model.path.as_str() {
            "tiny" => over(ModelFolder::tiny(), &model.base),
            path => self.read_over(&located(path, Kind::Model), &model.base),
        }
    }

    /// The model's folder in `path`; `base`, unless empty, is the base of an adapter.
    pub(super) fn read_over(&self, path: &Path, base: &str) -> Result<ModelFolder> {
        over(self.reads.model(path, (!base.is_empty()).then_some(base))?, base)
    }

    /// What judges responses: the built-in task's verifier, or for the user's files the configured one, and
    /// the other rewards.
    pub(super) fn grader(&self, config: &Config) -> Result<Grader> {
        let data = &config.data;
        let is_builtin = data.train.is_empty() && data.eval.is_empty();
        let mut grader = match is_builtin {
            true => Grader::of(builtin::verifier(), data.reward),
            false => self.reads.grader(config)?,
        };
        grader.answer_weight = config.reward.answer_weight;
        grader.parts = self.reads.rewards(config)?;
        for NamedReward { name, weight, by } in &config.reward.named {
            if *by == RewardBy::Given {
                let (name, weight, part) = (name.clone(), *weight, self.reward(name)?);
                grader.parts.push(Weighted { name, weight, part });
            }
        }
        self.judge(grader, config)
    }

    fn reward(&self, name: &str) -> Result<Arc<dyn Part>> {
        self.rewards.get(name).cloned().ok_or_else(|| {
            Error::input("this reward is given by a program, which is not here")
                .at(format!("the reward `{name}`"))
                .next("train from that program, or judge it by a format, a command or a verifier")
        })
    }

    /// The examples of that name.
    pub(super) fn examples(&self, name: &str) -> Result<&[Row]> {
        self.examples.get(name).map(Vec::as_slice).ok_or_else(|| {
            Error::input("this run's examples came from a program, and are not on disk")
                .at(format!("{GIVEN}{name}"))
                .next("resume from that program, or give a file with --data and --eval-data")
        })
    }

    /// Puts the given judge in the verifier's place, if the config says so.
    fn judge(&self, mut grader: Grader, config: &Config) -> Result<Grader> {
        if config.data.verifier == Comparison::Given {
            let judge = self.judge.clone().ok_or_else(|| {
                Error::input("this run's answers were judged by a program, which is not here")
                    .at("data.verifier")
                    .next("resume from that program, or use another verifier")
            })?;
            grader.judge = Some(judge);
        }
        Ok(grader)
    }
}

/// Refuses a base for a whole model.
fn over(folder: ModelFolder, base: &str) -> Result<ModelFolder> {
    match base.is_empty() || folder.is_adapted() {
        true => Ok(folder),
        false => Err(Error::input(format!(
            "`{base}` is given as an adapter's base, but the model is not an adapter"
        ))
        .at(&folder.place)
        .next("leave out --base (model.base), or give the adapter's folder with --model")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::select;
    use crate::records::Example;
    use crate::reward::{Scores, Submission};
    use crate::run::Run;
    use pollster::block_on;

    /// A judge that accepts responses that begin with the gold answer.
    #[derive(Debug)]
    struct Begins;

    impl Part for Begins {
        fn name(&self) -> &'static str {
            "begins"
        }

        fn scores(&self, submissions: &[Submission]) -> Result<Scores> {
            let begins = |s: &Submission| s.response.starts_with(&s.example.answer);
            Ok(submissions.iter().map(|s| Ok(f64::from(u8::from(begins(s))))).collect())
        }
    }

    fn examples(numbers: std::ops::Range<u32>) -> Vec<Example> {
        let example = |n| Example {
            prompt: format!("{n}="),
            demonstration: Some(format!("{n}")),
            answer: "1".into(),
            ..Example::default()
        };
        numbers.map(example).collect()
    }

    fn rows(numbers: std::ops::Range<u32>) -> Vec<Row> {
        examples(numbers).into_iter().map(Row::from).collect()
    }

    fn config(settings: &[&str]) -> Config {
        let layer = |setting: &&str| Config::setting(setting).unwrap();
        Config::resolve(&settings.iter().map(layer).collect::<Vec<_>>()).unwrap()
    }

    const SETTINGS: [&str; 5] = [
        "data.train=given:numbers",
        "data.eval=given:later",
        "data.verifier=given",
        "rollout.prompts=2",
        "eval.examples=3",
    ];

    #[test]
    fn a_run_learns_from_what_it_is_given_and_from_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("run");
        let selected = block_on(select("cpu")).unwrap();
        let mut given = Given { judge: Some(Arc::new(Begins)), ..Default::default() };
        given.examples.insert("numbers".into(), rows(10..20));
        given.examples.insert("later".into(), rows(20..30));
        let mut run = Run::create_with(config(&SETTINGS), &given, &selected, &path).unwrap();
        let scores = block_on(run.scores(&mut ())).unwrap();
        assert_eq!((scores[0].suite.as_str(), scores[0].n), ("later", 3));
        for group in block_on(run.advance(&mut ())).unwrap().1 {
            assert!(examples(10..20).iter().any(|e| e.prompt == group.example.prompt));
            assert_eq!(group.example.suite, "numbers");
            let demonstration = group.demonstration.unwrap();
            assert!(demonstration.right, "10 to 19 begin with 1");
            for episode in group.episodes {
                assert_eq!(episode.right, episode.response.starts_with('1'));
            }
        }
        block_on(run.save(&mut ())).unwrap();
        drop(run);
        let resumed = Run::resume_with(config(&SETTINGS), &given, false, &selected, &path).unwrap();
        assert_eq!(resumed.step(), 1);
        drop(resumed);
        let alone = Run::resume(config(&SETTINGS), &selected, &path).err().unwrap();
        assert_eq!(alone.place.as_deref(), Some("data.verifier"));
        given.examples.remove("later");
        let less =
            Run::resume_with(config(&SETTINGS), &given, false, &selected, &path).err().unwrap();
        assert_eq!(less.place.as_deref(), Some("given:later"));
    }

    #[test]
    fn examples_that_are_of_no_use_are_named() {
        let home = tempfile::tempdir().unwrap();
        let selected = block_on(select("cpu")).unwrap();
        type Spoil = fn(&mut Example);
        let cases: [(Spoil, &str); 4] = [
            (|e| e.demonstration = None, "given:numbers: example 3: no demonstration"),
            (|e| e.answer.clear(), "given:numbers: example 3: the gold answer is empty"),
            (|e| e.prompt = "x=".into(), "given:numbers: example 3: the tokenizer has no token"),
            (|e| e.prompt = "1".repeat(999), "given:numbers: example 3: 1000 prompt"),
        ];
        for (index, (spoil, message)) in cases.into_iter().enumerate() {
            let mut given = Given { judge: Some(Arc::new(Begins)), ..Default::default() };
            given.examples.insert("numbers".into(), rows(10..20));
            given.examples.insert("later".into(), rows(20..30));
            let mut spoiled = examples(13..14).remove(0);
            spoil(&mut spoiled);
            given.examples.get_mut("numbers").unwrap()[3] = spoiled.into();
            let path = home.path().join(index.to_string());
            let error = Run::create_with(config(&SETTINGS), &given, &selected, &path);
            let error = error.err().unwrap().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
