//! A run of the lab, with what it takes to inspect its last step.

use crate::model::Llama;
use crate::records::Group;
use crate::run::Run;

/// A run and its last step.
pub struct Slot {
    /// Its place among all runs of the session.
    pub index: u32,
    /// The run.
    pub run: Run,
    /// The folder's name in a saved file.
    pub name: String,
    /// The policy before the last step; weights are shared with the one after it until they differ.
    pub before: Llama,
    /// What the last step trained on.
    pub groups: Vec<Group>,
}

impl Slot {
    /// A run before its first step here.
    pub fn new(index: usize, run: Run, name: String) -> Self {
        let before = run.trainer().learner.policy.clone();
        Self { index: index as u32, run, name, before, groups: Vec::new() }
    }
}
