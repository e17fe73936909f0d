//! Results as tables with headings and text, which a report shows as HTML and [`markdown`] writes:
//! `tables.md`, which is the same for the same runs, and `times.md`, which is not.

use super::results::{Accuracies, Compared, RegimeResult, Results, RowResult};
use super::stats::{Spread, Verdict};
use serde::Serialize;

/// All tables but those with seconds.
pub const TABLES: &str = "tables.md";
/// Seconds, by row.
pub const TIMES: &str = "times.md";

const ABOUT: &str = "\
Accuracies are pass@1 by sampling in %, means over suites; ± is the sample standard deviation over \
seeds. A difference is a row minus CONTROL, paired by seed and problem, with its 95% interval from a \
bootstrap over seeds and problems (srft::study::stats). CONTROL wins where the interval lies below 0, \
loses where it lies above, and ties where it holds 0; intervals are not adjusted for how many there are: \
where there is no difference, one in twenty still excludes 0. Compute is 2 operations per parameter for \
a token sampled and 6 for one trained on, relative to CONTROL's. Entropy is that of the rollouts over \
the last tenth of the steps, in nats; length is that of the responses in evaluation, in tokens.";

/// A piece of a document, in order from the top.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Block {
    /// The heading of a part.
    Heading {
        /// Its words.
        text: String,
    },
    /// Words.
    Paragraph {
        /// The words.
        text: String,
    },
    /// Text that must not be overlooked.
    Notice {
        /// The words.
        text: String,
    },
    /// A table of numbers.
    Table(Table),
    /// The meaning of names.
    Legend {
        /// Name and meaning.
        entries: Vec<(String, String)>,
    },
}

/// A table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// Its columns.
    pub header: Vec<String>,
    /// Its rows, one cell per column.
    pub rows: Vec<Vec<String>>,
    /// How many columns from the left are words; the others are numbers.
    pub words: usize,
}

impl Block {
    fn heading(text: impl Into<String>) -> Self {
        Self::Heading { text: text.into() }
    }

    fn paragraph(text: impl Into<String>) -> Self {
        Self::Paragraph { text: text.into() }
    }

    fn table(header: &[&str], rows: Vec<Vec<String>>, words: usize) -> Self {
        let header = header.iter().map(|h| h.to_string()).collect();
        Self::Table(Table { header, rows, words })
    }
}

/// The study's tables: those it asks for, where its control wins, then regime by regime.
pub fn tables(results: &Results) -> Vec<Block> {
    let control = &results.control;
    let mut blocks = vec![Block::paragraph(ABOUT.replace("CONTROL", control))];
    blocks.push(what_is_missing(results));
    for table in &results.tables {
        let regime = results.regimes.iter().find(|r| r.name == table.regime);
        let row = |name: &String| regime?.rows.iter().find(|r| r.name == *name);
        let rows: Vec<&RowResult> = table.rows.iter().filter_map(row).collect();
        if let (Some(regime), false) = (regime, rows.is_empty()) {
            blocks.push(Block::heading(&table.title));
            blocks.push(Block::paragraph(format!("Regime {}.", regime.name)));
            blocks.extend(of_rows(regime, &rows, control));
        }
    }
    blocks.extend(where_it_wins(results));
    for regime in results.regimes.iter().filter(|r| !r.rows.is_empty()) {
        blocks.push(Block::heading(format!("Regime {}", regime.name)));
        if !regime.about.is_empty() {
            blocks.push(Block::paragraph(&regime.about));
        }
        blocks.extend(of_rows(regime, &regime.rows.iter().collect::<Vec<_>>(), control));
        blocks.push(Block::paragraph("By suite:"));
        blocks.push(by_suite(regime));
    }
    blocks.extend(choices(results));
    blocks.extend(legend(results));
    blocks
}

/// Seconds, by row.
pub fn times(results: &Results) -> Vec<Block> {
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
    vec![
        Block::paragraph("Seconds that a run took, means over seeds."),
        Block::table(&header, rows, 2),
    ]
}

/// A Markdown document.
pub fn markdown(title: &str, blocks: &[Block]) -> String {
    let block = |block: &Block| match block {
        Block::Heading { text } => format!("## {text}\n"),
        Block::Paragraph { text } => format!("{text}\n"),
        Block::Notice { text } => format!("**{text}**\n"),
        Block::Table(table) => table.markdown(),
        Block::Legend { entries } => {
            entries.iter().map(|(name, meaning)| format!("- {name}: {meaning}\n")).collect()
        }
    };
    let parts = std::iter::once(format!("# {title}\n")).chain(blocks.iter().map(block));
    parts.collect::<Vec<_>>().join("\n")
}

impl Table {
    fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = |i: usize| if i < self.words { "---" } else { "--:" }.to_string();
        let rule: Vec<String> = (0..self.header.len()).map(rule).collect();
        let body: String = self.rows.iter().map(|cells| line(cells)).collect();
        format!("{}{}{body}", line(&self.header), line(&rule))
    }
}

fn what_is_missing(results: &Results) -> Block {
    const NAMED: usize = 10;
    let missing = &results.missing;
    if missing.is_empty() {
        return Block::paragraph(format!("All {} runs are done.", results.runs));
    }
    let named = missing.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    let more = if missing.len() > NAMED { "; ..." } else { "" };
    let text = format!("Not done: {} of {} runs ({named}{more}).", missing.len(), results.runs);
    Block::Notice { text }
}

fn of_rows(regime: &RegimeResult, rows: &[&RowResult], control: &str) -> Vec<Block> {
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
    let mut notes = Vec::new();
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
        notes.extend(diverged(row));
    }
    std::iter::once(Block::table(&header, lines, 1)).chain(notes).collect()
}

fn base_line(regime: &RegimeResult, width: usize, has_outside: bool) -> Vec<String> {
    let seeds = regime.base.inside.or(regime.base.outside).map_or(0, |s| s.seeds);
    let mut cells = vec!["base".to_string(), seeds.to_string()];
    cells.extend(both(&regime.base, has_outside));
    cells.resize(width, String::new());
    cells
}

/// Says which of a row's runs diverged.
fn diverged(row: &RowResult) -> Option<Block> {
    let ended = row.runs.iter().filter_map(|r| Some((r.seed, r.diverged.as_ref()?)));
    let said: Vec<String> = ended.map(|(seed, why)| format!("seed {seed} ({why})")).collect();
    let said = said.join("; ");
    let text = format!("{} diverged, and its last good weights count: {said}.", row.name);
    (!said.is_empty()).then_some(Block::Notice { text })
}

/// One line per comparison: the verdict on the control.
pub fn where_it_wins(results: &Results) -> Vec<Block> {
    let control = &results.control;
    let mut blocks = Vec::new();
    for (title, ood) in [("In distribution", false), ("Out of distribution", true)] {
        let comparisons: Vec<_> = results.comparisons(ood).collect();
        if comparisons.is_empty() {
            continue;
        }
        let [wins, ties, loses] = results.tally(ood);
        let said = format!("{title}: {control} wins {wins}, ties {ties}, loses {loses}.");
        let line = |(regime, row, compared): &(&RegimeResult, &RowResult, &Compared)| {
            vec![
                regime.name.clone(),
                row.name.clone(),
                word(compared.control).into(),
                interval(compared),
                row.compute.relative.map_or(String::new(), |r| format!("{r:.2}")),
            ]
        };
        let header = ["regime", "against", control, "difference", "compute"];
        blocks.push(Block::paragraph(said));
        blocks.push(Block::table(&header, comparisons.iter().map(line).collect(), 3));
    }
    if !blocks.is_empty() {
        blocks.insert(0, Block::heading(format!("Where {control} wins, ties and loses")));
    }
    blocks
}

fn by_suite(regime: &RegimeResult) -> Block {
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
    Block::table(&header, regime.rows.iter().map(line).collect(), 1)
}

/// Descriptions of the rows whose names do not explain them.
fn legend(results: &Results) -> Vec<Block> {
    let mut entries: Vec<(String, String)> = Vec::new();
    for row in results.regimes.iter().flat_map(|r| &r.rows) {
        if !row.about.is_empty() && !entries.iter().any(|(name, _)| *name == row.name) {
            entries.push((row.name.clone(), row.about.clone()));
        }
    }
    match entries.is_empty() {
        true => Vec::new(),
        false => vec![Block::heading("Rows"), Block::Legend { entries }],
    }
}

/// What tuned rows took from their grids.
fn choices(results: &Results) -> Vec<Block> {
    let tuned = |regime: &RegimeResult| {
        let rows = regime.rows.iter().filter(|r| r.points > 0);
        let line = |r: &RowResult| {
            vec![regime.name.clone(), r.name.clone(), r.points.to_string(), r.chosen.clone()]
        };
        rows.map(line).collect::<Vec<_>>()
    };
    let lines: Vec<Vec<String>> = results.regimes.iter().flat_map(tuned).collect();
    if lines.is_empty() {
        return Vec::new();
    }
    vec![
        Block::heading("What was tuned"),
        Block::paragraph("On problems and a seed that no other table uses."),
        Block::table(&["regime", "row", "points", "chosen"], lines, 4),
    ]
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

/// `+2.1 [+0.4, +3.8]`, in points.
pub fn interval(compared: &Compared) -> String {
    let d = &compared.difference;
    format!("{:+.1} [{:+.1}, {:+.1}]", 100.0 * d.mean, 100.0 * d.low, 100.0 * d.high)
}

/// The verdict on the control as a word.
pub fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Wins => "wins",
        Verdict::Ties => "ties",
        Verdict::Loses => "loses",
    }
}

fn thousands(tokens: f64) -> String {
    format!("{:.1}k", tokens / 1000.0)
}
