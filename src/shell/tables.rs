//! Plain text tables.

use comfy_table::Table;
use srft::eval::{Score, Suite};
use srft::report::tabled;
use srft::run::Evaluation;

/// Columns when the output is not a terminal.
const COLUMNS: usize = 100;

/// Columns of the terminal that standard output is on.
pub fn terminal_width() -> usize {
    Table::new().width().map_or(COLUMNS, usize::from)
}

/// Columns of the terminal that standard error is on.
pub fn error_width() -> usize {
    Table::new().use_stderr().width().map_or(COLUMNS, usize::from)
}

/// A table with a header; columns after the first are aligned right.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> Table {
    tabled(header, rows, 1)
}

/// A share in percent.
pub fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

/// A share in percent with its 95% interval.
pub fn with_interval(share: f64, [low, high]: [f64; 2]) -> String {
    format!("{} [{}, {}]", percent(share), percent(low), percent(high))
}

/// How many problems of a suite were scored, and out of how many if not all.
pub fn problems(score: &Score, suites: &[Suite]) -> String {
    let of = suites.iter().find(|s| s.name == score.suite).and_then(|s| s.of);
    of.map_or(score.n.to_string(), |of| format!("{}/{of}", score.n))
}

/// Accuracy before and after, suite by suite, with the two means.
pub fn before_and_after(base: &Evaluation, last: &Evaluation, suites: &[Suite]) -> Table {
    let change = |base: f64, last: f64| format!("{:+.1}", 100.0 * (last - base));
    let before = |last: &Score| base.scores.iter().find(|s| s.suite == last.suite);
    let both = last.scores.iter().filter_map(|last| Some((before(last)?, last)));
    let mut rows = Vec::new();
    for (ood, name) in [(false, "mean, in distribution"), (true, "mean, out of distribution")] {
        let mut of_kind: Vec<_> = both.clone().filter(|(_, last)| last.ood == ood).collect();
        of_kind.sort_by_key(|(_, last)| &last.suite);
        for (base, last) in &of_kind {
            rows.push(vec![
                last.suite.clone(),
                problems(last, suites),
                with_interval(base.accuracy, base.interval),
                with_interval(last.accuracy, last.interval),
                change(base.accuracy, last.accuracy),
            ]);
        }
        if of_kind.len() > 1 {
            let n = of_kind.len() as f64;
            let base = of_kind.iter().map(|(base, _)| base.accuracy).sum::<f64>() / n;
            let last = of_kind.iter().map(|(_, last)| last.accuracy).sum::<f64>() / n;
            let all: usize = of_kind.iter().map(|(_, last)| last.n).sum();
            let means = [all.to_string(), percent(base), percent(last), change(base, last)];
            rows.push([name.to_string()].into_iter().chain(means).collect());
        }
    }
    table(&["suite", "problems", "before % [95%]", "after % [95%]", "change"], rows)
}
