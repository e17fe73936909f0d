//! What a program that holds the library gives a run in place of files and verifiers.

use crate::config::{Comparison, Config};
#[cfg(not(target_family = "wasm"))]
use crate::data::shape::Row;
use crate::error::{Error, Result};
use crate::reward::{Grader, Part};
#[cfg(not(target_family = "wasm"))]
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

/// What stands before a name in `data.train` and `data.eval` whose examples the program gives.
pub const GIVEN: &str = "given:";

/// Examples and a judge that no config can hold. Whoever resumes the run has to give them again.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Examples, as the rows of a file are, by the name that `data.train` and `data.eval` have for them,
    /// after [`GIVEN`].
    #[cfg(not(target_family = "wasm"))]
    pub examples: BTreeMap<String, Vec<Row>>,
    /// Judges answers where `data.verifier` is `given`.
    pub judge: Option<Arc<dyn Part>>,
    /// Hears how far the reading of a file is.
    pub watch: Option<Arc<dyn Watch>>,
}

/// Hears how far the reading of a file is, which takes minutes for a large one.
pub trait Watch: Debug + Send + Sync {
    /// So many of a file's rows are read.
    fn reading(&self, path: &str, rows: usize, of: usize);
}

/// What a run is given that files and verifiers are enough for.
pub static NOTHING: Given = Given {
    #[cfg(not(target_family = "wasm"))]
    examples: BTreeMap::new(),
    judge: None,
    watch: None,
};

impl Given {
    /// The examples of that name.
    #[cfg(not(target_family = "wasm"))]
    pub(super) fn examples(&self, name: &str) -> Result<&[Row]> {
        self.examples.get(name).map(Vec::as_slice).ok_or_else(|| {
            Error::input("a program gave this run its examples, and they are not here")
                .at(format!("{GIVEN}{name}"))
                .next("go on from that program, or give a file with --data and --eval-data")
        })
    }

    /// Puts the judge in the verifier's place, where the config says so.
    pub(super) fn judge(&self, mut grader: Grader, config: &Config) -> Result<Grader> {
        if config.data.verifier == Comparison::Given {
            let judge = self.judge.clone().ok_or_else(|| {
                Error::input("a program judged this run's answers, and it is not here")
                    .at("data.verifier")
                    .next("go on from that program, or take another verifier")
            })?;
            grader.judge = Some(judge);
        }
        Ok(grader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::select;
    use crate::eval::Score;
    use crate::metrics::StepReport;
    use crate::records::Example;
    use crate::reward::{Scores, Submission};
    use crate::run::{Observer, Run};
    use pollster::block_on;
    use std::path::Path;

    /// Likes responses that begin with the gold answer.
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

    struct Silent;

    impl Observer for Silent {
        fn evaluated(&mut self, _: u32, _: &[Score]) {}
        fn stepped(&mut self, _: &StepReport, _: u32) {}
        fn saved(&mut self, _: &Path) {}
    }

    fn examples(numbers: std::ops::Range<u32>) -> Vec<Example> {
        let example = |n| Example {
            suite: String::new(),
            prompt: format!("{n}="),
            demonstration: Some(format!("{n}")),
            answer: "1".into(),
            layout: Default::default(),
            extra: Default::default(),
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
        let scores = block_on(run.scores(&mut Silent)).unwrap();
        assert_eq!((scores[0].suite.as_str(), scores[0].n), ("later", 3));
        for group in block_on(run.advance(&mut Silent)).unwrap().1 {
            assert!(examples(10..20).iter().any(|e| e.prompt == group.example.prompt));
            assert_eq!(group.example.suite, "numbers");
            let demonstration = group.demonstration.unwrap();
            assert!(demonstration.right, "10 to 19 begin with 1");
            for episode in group.episodes {
                assert_eq!(episode.right, episode.response.starts_with('1'));
            }
        }
        block_on(run.save(&mut Silent)).unwrap();
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
