//! Results as Markdown: `tables.md`, the same for the same runs, and `times.md`, which is not.

use super::results::{Accuracies, Compared, RegimeResult, Results, RowResult};
use super::stats::{Spread, Verdict};
use std::fmt::Write;

/// Everything but seconds.
pub const TABLES: &str = "tables.md";
/// Seconds, row by row.
pub const TIMES: &str = "times.md";

const ABOUT: &str = "\
Accuracies are pass@1 by sampling in %, means over suites; ± is the sample standard deviation over \
seeds. A difference is a row less CONTROL, paired by seed and problem, with its 95% interval from a \
bootstrap over seeds and problems (`srft::study::stats`). CONTROL wins where the interval lies below 0, \
loses where it lies above, and ties where it holds 0; intervals are not adjusted for how many there are: \
of differences that are none, one in twenty excludes 0. Compute is 2 operations a parameter for a \
token sampled and 6 for one trained on, over CONTROL's. Entropy is that of the rollouts over the last \
tenth of the steps, in nats; length is that of the responses in evaluation, in tokens.
";

/// The study's tables.
pub fn markdown(results: &Results) -> String {
    let control = &results.control;
    let mut text = format!("# Study {}\n\n{}\n", results.name, ABOUT.replace("CONTROL", control));
    text += &what_is_missing(results);
    for table in &results.tables {
        let regime = results.regimes.iter().find(|r| r.name == table.regime);
        let row = |name: &String| regime?.rows.iter().find(|r| r.name == *name);
        let rows: Vec<&RowResult> = table.rows.iter().filter_map(row).collect();
        if let (Some(regime), false) = (regime, rows.is_empty()) {
            let _ = write!(text, "## {}\n\nRegime {}.\n\n", table.title, regime.name);
            text += &of_rows(regime, &rows, control);
        }
    }
    text += &where_it_wins(results);
    for regime in results.regimes.iter().filter(|r| !r.rows.is_empty()) {
        let _ = write!(text, "## Regime {}\n\n{}", regime.name, paragraph(&regime.about));
        text += &of_rows(regime, &regime.rows.iter().collect::<Vec<_>>(), control);
        text += "By suite:\n\n";
        text += &by_suite(regime);
    }
    text + &choices(results) + &legend(results)
}

/// Seconds, row by row.
pub fn times(results: &Results) -> String {
    let mut text = format!("# Study {}: seconds\n\nMeans over seeds.\n\n", results.name);
    let mut rows = Vec::new();
    for regime in &results.regimes {
        for row in &regime.rows {
            let c = &row.compute;
            let all = c.rollout_secs + c.train_secs + c.eval_secs;
            let secs = [c.rollout_secs, c.train_secs, c.eval_secs, all];
            let mut cells = vec![regime.name.clone(), row.name.clone(), row.runs.len().to_string()];
            cells.extend(secs.map(|s| format!("{s:.1}")));
            rows.push(cells);
        }
    }
    let header = ["regime", "row", "runs", "sampling", "updates", "evaluation", "together"];
    text += &table(&header, rows, 2);
    text
}

fn what_is_missing(results: &Results) -> String {
    const NAMED: usize = 10;
    let missing = &results.missing;
    if missing.is_empty() {
        return format!("All {} runs are done.\n\n", results.runs);
    }
    let named = missing.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    let more = if missing.len() > NAMED { "; ..." } else { "" };
    format!("**Not done: {} of {} runs** ({named}{more}).\n\n", missing.len(), results.runs)
}

fn of_rows(regime: &RegimeResult, rows: &[&RowResult], control: &str) -> String {
    let samples = regime.suites.values().map(|s| s.samples).max().unwrap_or(1);
    let has_outside = regime.suites.values().any(|s| s.ood);
    let pass = format!("pass@{samples}");
    let mut header = vec!["row", "seeds", "in"];
    if has_outside {
        header.push("out");
    }
    if samples > 1 {
        header.push(&pass);
    }
    header.push("difference in");
    if has_outside {
        header.push("difference out");
    }
    let said = format!("{control} (in / out)");
    header.push(if has_outside { &said } else { control });
    header.extend(["entropy", "length", "updates", "sampled", "trained", "compute"]);
    let mut lines = vec![base_line(regime, header.len(), has_outside)];
    let mut notes = String::new();
    for row in rows {
        let mut cells = vec![row.name.clone(), row.runs.len().to_string()];
        cells.extend(both(&row.accuracy, has_outside));
        if samples > 1 {
            cells.push(spread(row.pass.inside, 100.0, 1));
        }
        let differences = row.difference.as_ref();
        let of = [
            differences.and_then(|d| d.inside.as_ref()),
            differences.and_then(|d| d.outside.as_ref()),
        ];
        let shown = &of[..if has_outside { 2 } else { 1 }];
        cells.extend(shown.iter().map(|c| c.map_or(String::new(), interval)));
        let verdicts: Vec<&str> = shown.iter().flatten().map(|c| word(c.control)).collect();
        cells.push(verdicts.join(" / "));
        cells.push(spread(row.entropy, 1.0, 3));
        cells.push(spread(row.response_tokens, 1.0, 1));
        let c = &row.compute;
        cells.extend([
            format!("{:.0}", c.updates),
            thousands(c.rollout_tokens),
            thousands(c.trained_tokens),
        ]);
        cells.push(c.relative.map_or(String::new(), |r| format!("{r:.2}")));
        lines.push(cells);
        notes += &diverged(row);
    }
    format!("{}{notes}", table(&header, lines, 1))
}

fn base_line(regime: &RegimeResult, width: usize, has_outside: bool) -> Vec<String> {
    let seeds = regime.base.inside.or(regime.base.outside).map_or(0, |s| s.seeds);
    let mut cells = vec!["base".to_string(), seeds.to_string()];
    cells.extend(both(&regime.base, has_outside));
    cells.resize(width, String::new());
    cells
}

/// Says which of a row's runs broke down.
fn diverged(row: &RowResult) -> String {
    let ended = row.runs.iter().filter_map(|r| Some((r.seed, r.diverged.as_ref()?)));
    let said: Vec<String> = ended.map(|(seed, why)| format!("seed {seed} ({why})")).collect();
    match said.is_empty() {
        true => String::new(),
        false => format!(
            "{} diverged, and its last good weights count: {}.\n\n",
            row.name,
            said.join("; ")
        ),
    }
}

/// A line a comparison: what it says of the control.
fn where_it_wins(results: &Results) -> String {
    let control = &results.control;
    let regimes: Vec<&RegimeResult> = results.regimes.iter().filter(|r| r.rows.len() > 1).collect();
    if regimes.is_empty() {
        return String::new();
    }
    let mut text = format!("## Where {control} wins, ties and loses\n\n");
    for (title, ood) in [("In distribution", false), ("Out of distribution", true)] {
        let of = |row: &RowResult| {
            let differences = row.difference.clone()?;
            if ood { differences.outside } else { differences.inside }
        };
        let mut lines = Vec::new();
        let mut counts = [0; 3];
        for regime in &regimes {
            for row in &regime.rows {
                let Some(compared) = of(row) else { continue };
                counts[compared.control as usize] += 1;
                lines.push(vec![
                    regime.name.clone(),
                    row.name.clone(),
                    word(compared.control).into(),
                    interval(&compared),
                    row.compute.relative.map_or(String::new(), |r| format!("{r:.2}")),
                ]);
            }
        }
        if lines.is_empty() {
            continue;
        }
        let [wins, ties, loses] = counts;
        let _ = write!(text, "{title}: {control} wins {wins}, ties {ties}, loses {loses}.\n\n");
        text += &table(&["regime", "against", control, "difference", "compute"], lines, 2);
    }
    text
}

fn by_suite(regime: &RegimeResult) -> String {
    let mut suites: Vec<_> = regime.suites.iter().collect();
    suites.sort_by_key(|(name, size)| (size.ood, (*name).clone()));
    let heads: Vec<String> = suites
        .iter()
        .map(|(name, size)| {
            format!("{name}{} ({})", if size.ood { ", out" } else { "" }, size.problems)
        })
        .collect();
    let header: Vec<&str> =
        std::iter::once("row").chain(heads.iter().map(String::as_str)).collect();
    let cell = |row: &RowResult, name: &String| {
        row.suites.get(name).map_or(String::new(), |v| format!("{:.1}", 100.0 * v))
    };
    let line = |row: &RowResult| {
        let cells = suites.iter().map(|(name, _)| cell(row, name));
        std::iter::once(row.name.clone()).chain(cells).collect()
    };
    table(&header, regime.rows.iter().map(line).collect(), 1)
}

/// What rows are, where their names do not say it.
fn legend(results: &Results) -> String {
    let mut said: Vec<(&str, &str)> = Vec::new();
    for row in results.regimes.iter().flat_map(|r| &r.rows) {
        if !row.about.is_empty() && !said.iter().any(|(name, _)| *name == row.name) {
            said.push((&row.name, &row.about));
        }
    }
    let lines: String = said.iter().map(|(name, about)| format!("- {name}: {about}\n")).collect();
    if lines.is_empty() { lines } else { format!("## Rows\n\n{lines}") }
}

/// What tuned rows took from their grids.
fn choices(results: &Results) -> String {
    let tuned = |regime: &RegimeResult| {
        let rows = regime.rows.iter().filter(|r| r.points > 0);
        let line = |r: &RowResult| {
            vec![regime.name.clone(), r.name.clone(), r.points.to_string(), r.chosen.clone()]
        };
        rows.map(line).collect::<Vec<_>>()
    };
    let lines: Vec<Vec<String>> = results.regimes.iter().flat_map(tuned).collect();
    if lines.is_empty() {
        return String::new();
    }
    format!(
        "## What was tuned\n\nOn problems and a seed that no other table sees.\n\n{}",
        table(&["regime", "row", "points", "chosen"], lines, 4)
    )
}

fn both(accuracies: &Accuracies, has_outside: bool) -> Vec<String> {
    let mut cells = vec![spread(accuracies.inside, 100.0, 1)];
    if has_outside {
        cells.push(spread(accuracies.outside, 100.0, 1));
    }
    cells
}

fn spread(spread: Option<Spread>, scale: f64, digits: usize) -> String {
    match spread {
        None => String::new(),
        Some(Spread { mean, std: None, .. }) => format!("{:.digits$}", scale * mean),
        Some(Spread { mean, std: Some(std), .. }) => {
            format!("{:.digits$} ± {:.digits$}", scale * mean, scale * std)
        }
    }
}

fn interval(compared: &Compared) -> String {
    let d = &compared.difference;
    format!("{:+.1} [{:+.1}, {:+.1}]", 100.0 * d.mean, 100.0 * d.low, 100.0 * d.high)
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Wins => "wins",
        Verdict::Ties => "ties",
        Verdict::Loses => "loses",
    }
}

fn thousands(tokens: f64) -> String {
    format!("{:.1}k", tokens / 1000.0)
}

fn paragraph(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{text}\n\n") }
}

/// A Markdown table, numbers to the right from column `numbers` on.
fn table(header: &[&str], rows: Vec<Vec<String>>, numbers: usize) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule: Vec<String> =
        (0..header.len()).map(|i| if i < numbers { "---" } else { "--:" }.into()).collect();
    let header: Vec<String> = header.iter().map(|h| h.to_string()).collect();
    let body: String = rows.iter().map(|cells| line(cells)).collect();
    format!("{}{}{body}\n", line(&header), line(&rule))
}
