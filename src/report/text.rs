//! The report as text for a terminal.

use super::charts::{Curve, curves_of};
use super::number::{percent, significant, span};
use super::read::RunRecord;
use super::results::{COSTS, Row, Time, costs, no_evaluation, table};
use super::sentences::{notices, sentences};
use super::settings::between;
use super::sparkline::sparkline;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// Columns of a curve, of its title and of a value.
const CURVE: usize = 40;
const TITLE: usize = 28;
const VALUE: usize = 8;

/// The report on `runs`, for a terminal `width` columns wide.
pub fn text(runs: &[RunRecord], width: usize) -> String {
    let mut blocks: Vec<String> = sentences(runs).into_iter().chain(notices(runs)).collect();
    blocks = blocks.iter().map(|paragraph| wrapped(paragraph, width)).collect();
    let rows = table(runs);
    match rows.is_empty() {
        true => blocks.push(no_evaluation(runs).into()),
        false => blocks.push(results(runs, &rows, width)),
    }
    let took = runs.iter().map(|run| [vec![run.name.clone()], costs(run)].concat()).collect();
    blocks.push(drawn(&[&["run"], &COSTS[..]].concat(), took, COSTS.len() + 1, width));
    blocks.extend(runs.iter().map(|run| curves(run, runs.len() > 1, width)));
    if let [_, _, ..] = runs {
        let differences = between(runs);
        let names = runs.iter().map(|r| r.name.as_str());
        let header: Vec<&str> = std::iter::once("setting").chain(names).collect();
        let rows = differences.into_iter().map(|d| [vec![d.key], d.values].concat()).collect();
        blocks.push(drawn(&header, rows, runs.len() + 1, width));
    }
    blocks.join("\n\n")
}

/// A table; numbers are aligned right, after `words` columns of words.
pub fn tabled(header: &[&str], rows: Vec<Vec<String>>, words: usize) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header.to_vec()).add_rows(rows);
    for column in table.column_iter_mut().skip(words) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The table as lines of at most `width` columns.
pub fn drawn(header: &[&str], rows: Vec<Vec<String>>, words: usize, width: usize) -> String {
    let mut table = tabled(header, rows, words);
    let width = u16::try_from(width).unwrap_or(u16::MAX);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width).to_string()
}

fn results(runs: &[RunRecord], rows: &[Row], width: usize) -> String {
    let mut header = vec!["suite", "problems"];
    header.extend(runs.iter().map(|r| r.name.as_str()));
    let row = |row: &Row| {
        let mut texts = vec![row.suite.clone(), row.problems.to_string()];
        texts.extend(row.cells.iter().map(|c| {
            let pass = if c.pass.is_empty() { String::new() } else { format!(", {}", c.pass) };
            format!("{} → {} {} ({}){pass}", c.base, c.last, c.interval, c.change)
        }));
        texts
    };
    let table = drawn(&header, rows.iter().map(row).collect(), 1, width);
    format!("Accuracy in percent, base → end [95% interval] (change):\n{table}")
}

fn curves(run: &RunRecord, named: bool, width: usize) -> String {
    let mut lines = Vec::new();
    if named {
        lines.push(format!("{} ({})", run.name, run.method()));
    }
    for Curve { title, share, values } in curves_of(run) {
        let of = |value: f64| if share { percent(value) } else { significant(value) };
        let curve = sparkline(&values, CURVE.min(width.saturating_sub(TITLE + 2 * VALUE + 3)));
        let [first, last] =
            [values.first(), values.last()].map(|v| v.map_or(String::new(), |v| of(*v)));
        lines.push(format!("{title:<TITLE$} {first:>VALUE$} {curve} {last}"));
    }
    let time = Time::of(run);
    let parts = time.parts().into_iter().filter(|p| p.1 > 0.0);
    let parts: Vec<String> = parts
        .map(|(name, secs, share)| format!("{name} {} ({})", span(secs), percent(share)))
        .collect();
    if !parts.is_empty() {
        lines.push(wrapped(&format!("time: {}", parts.join(", ")), width));
    }
    lines.join("\n")
}

/// Text wrapped to lines of at most `width` columns; a longer word stays whole.
pub fn wrapped(paragraph: &str, width: usize) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in paragraph.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            text.push('\n');
            column = 0;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text += word;
        column += length;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{config, evaluation, run};
    use super::*;

    fn evaluated(name: &str) -> RunRecord {
        let mut run = run(name, 20);
        run.evaluations =
            vec![evaluation(0, &[("add", false, 0.3)]), evaluation(20, &[("add", false, 0.9)])];
        run
    }

    #[test]
    fn a_terminal_gets_sentences_table_curves_and_differences() {
        let mut other = evaluated("b");
        other.config = config(&["run.seed=7", "train.steps=20"]);
        let text = text(&[evaluated("a"), other], 100);
        let squeezed = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "In distribution, accuracy went from 30.0% to 90.0% [87.0, 93.0] (a)",
            "30.0 → 90.0 [87.0, 93.0] (+60.0)",
            "Reward 0.200 ▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄ 0.200",
            "Accuracy in training 60.0% ▄",
            "| run.seed | 0 | 7 |",
            "time: sampling and scoring 5.0 s (27.8%)",
        ] {
            assert!(squeezed.contains(part), "`{part}` is missing in\n{text}");
        }
        assert!(text.lines().all(|l| l.chars().count() <= 100), "{text}");
    }

    #[test]
    fn a_narrow_terminal_and_an_empty_run_are_no_trouble() {
        for width in [0, 1, 20, 40] {
            let text = text(&[evaluated("a"), run("b", 0), run("c", 1)], width);
            assert!(text.contains("reward") || text.contains("Reward"));
        }
        assert!(text(&[run("a", 3)], 80).contains("No evaluation is on file."));
        assert_eq!(wrapped("aa bb cc", 5), "aa bb\ncc");
    }
}
