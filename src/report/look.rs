//! How a run looks in every chart and table: a colour, a dash pattern and a mark, so that nobody needs
//! to tell colours apart. The browser page uses the same for the methods.

use super::read::RunRecord;
use serde::Serialize;

/// A run's look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Look {
    /// The method that has this colour: `method-…` in the style sheet.
    pub method: &'static str,
    /// SVG dash pattern of its lines.
    pub dash: &'static str,
    /// Outline of its marks as a path, relative to the mark's centre.
    pub mark: &'static str,
}

const fn look(method: &'static str, dash: &'static str, mark: &'static str) -> Look {
    Look { method, dash, mark }
}

const LOOKS: [Look; 8] = [
    look("srft", "none", "m-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0-6.4 0Z"),
    look("grpo", "1.5 3.5", "m0-3.8l3.6 6.6h-7.2Z"),
    look("sft", "7 4", "m-2.9-2.9h5.8v5.8h-5.8Z"),
    look("sft-grpo", "8 3 1.5 3", "m0-4l4 4l-4 4l-4-4Z"),
    look("grpo-sft", "2 2 6 2", "m0-4.2l1.2 3l3 1.2l-3 1.2l-1.2 3l-1.2-3l-3-1.2l3-1.2Z"),
    look("srft-official", "3 3", "m-3-1.1h1.9v-1.9h2.2v1.9h1.9v2.2h-1.9v1.9h-2.2v-1.9h-1.9Z"),
    look("srft-hpt", "12 3", "m0 3.8l3.6-6.6h-7.2Z"),
    look("luffy", "5 2 1.5 2 1.5 2", "m-1.3-3.8h2.6v7.6h-2.6Z"),
];

/// A look for each run: its method's, or a free one if an earlier run has that. Beyond eight runs
/// colours repeat, with another dash and mark.
pub fn looks(runs: &[RunRecord]) -> Vec<Look> {
    let methods: Vec<&str> = runs.iter().map(|r| r.config.objective.method.name()).collect();
    let mut taken: Vec<Option<Look>> = vec![None; runs.len()];
    let is_free = |taken: &[Option<Look>], l: &Look| !taken.iter().flatten().any(|t| t == l);
    for (i, method) in methods.iter().enumerate() {
        taken[i] = LOOKS.into_iter().find(|l| l.method == *method && is_free(&taken, l));
    }
    for i in 0..runs.len() {
        if taken[i].is_none() {
            let (round, at) = (i / LOOKS.len(), i % LOOKS.len());
            let other = LOOKS[(at + round) % LOOKS.len()];
            let again = Look { dash: other.dash, mark: other.mark, ..LOOKS[at] };
            taken[i] = LOOKS.into_iter().find(|l| is_free(&taken, l)).or(Some(again));
        }
    }
    taken.into_iter().flatten().collect()
}
