//! What a program that holds the library gives a run in place of files and verifiers.

use crate::config::{Comparison, Config};
use crate::error::{Error, Result};
use crate::records::Example;
use crate::reward::{Grader, Part};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What stands before a name in `data.train` and `data.eval` whose examples the program gives.
pub const GIVEN: &str = "given:";

/// Examples and a judge that no config can hold. Whoever resumes the run has to give them again.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Examples by the name that `data.train` and `data.eval` have for them, after [`GIVEN`].
    pub examples: BTreeMap<String, Vec<Example>>,
    /// Judges answers where `data.verifier` is `given`.
    pub judge: Option<Arc<dyn Part>>,
}

impl Given {
    /// The examples of that name.
    #[cfg_attr(target_family = "wasm", expect(dead_code, reason = "a page has no such program"))]
    pub(super) fn examples(&self, name: &str) -> Result<&[Example]> {
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
