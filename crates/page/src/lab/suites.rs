//! The suites of a session's task, as the page shows them.

use super::protocol::SuiteView;
use crate::data::builtin;
use crate::data::source::{Problem, Problems, Source};
use crate::eval::Suite;
use crate::run::Run;

/// Those of a run.
pub fn of(run: &Run) -> Vec<SuiteView> {
    match &run.trainer().source {
        Source::Examples(problems) => of_data(run.suites(), problems),
        _ => builtin::suites().iter().filter_map(of_task).collect(),
    }
}

/// A suite of the built-in task, as the page shows it.
fn of_task(suite: &builtin::Suite) -> Option<SuiteView> {
    let example = builtin::held_out(suite, 1, 0).pop()?;
    Some(SuiteView {
        name: suite.name.into(),
        ood: suite.out_of_distribution,
        prompt: example.prompt,
        demonstration: example.demonstration?,
    })
}

/// The suites of a visitor's data, each with its first problem; without one, a problem that is trained on.
fn of_data(suites: &[Suite], trained: &Problems) -> Vec<SuiteView> {
    let first = |name: &str, problems: &[Problem]| {
        let example = &problems.first()?.example;
        let shown = example.demonstration.clone().unwrap_or_else(|| example.answer.clone());
        let (name, prompt) = (name.into(), example.prompt.clone());
        Some(SuiteView { name, ood: false, prompt, demonstration: shown })
    };
    let mut views: Vec<SuiteView> =
        suites.iter().filter_map(|suite| first(&suite.name, &suite.problems)).collect();
    if views.is_empty() {
        let name = trained.all.first().map(|problem| problem.example.suite.clone());
        views.extend(first(&name.unwrap_or_default(), &trained.all));
    }
    views
}
