//! The report on a study: where its control wins, ties and loses, in sentences, in intervals by regime,
//! and in tables.

use super::forest::differences;
use super::frame::{Section, page};
use super::number::fixed;
use super::text::{drawn, wrapped};
use crate::error::{Error, Result};
use crate::platform::{exists, read_text};
use crate::study::SPEC;
use crate::study::results::{Compared, RESULTS, RegimeResult, Results, RowResult};
use crate::study::stats::Verdict;
use crate::study::tables::{Block, TABLES, Table, tables, times, where_it_wins};
use serde::Serialize;
use serde_json::json;
use std::path::Path;

const SECTIONS: &[Section<Results>] = &[
    Section {
        id: "happened",
        title: "What happened",
        template: include_str!("page/outcome.html.jinja"),
        fill: outcome,
    },
    Section {
        id: "differences",
        title: "Differences",
        template: include_str!("page/differences.html.jinja"),
        fill: differences,
    },
    Section {
        id: "tables",
        title: "Tables",
        template: include_str!("page/blocks.html.jinja"),
        fill: |results| json!({"parts": parts(tables(results))}),
    },
    Section {
        id: "times",
        title: "Time",
        template: include_str!("page/blocks.html.jinja"),
        fill: |results| json!({"parts": parts(times(results))}),
    },
];

/// Whether a folder is a study's.
pub fn is_study(path: &Path) -> bool {
    exists(&path.join(SPEC))
}

/// The results of the study in a folder.
///
/// # Errors
/// A study without tables yet, or a damaged file.
pub fn read_study(path: &Path) -> Result<Results> {
    let file = path.join(RESULTS);
    let again = format!("srft study --out {} --tables writes it", path.display());
    if !exists(&file) {
        let missing = Error::input(format!("the study has no {RESULTS} yet"));
        return Err(missing.at(path.display()).next(again));
    }
    serde_json::from_str(&read_text(&file)?)
        .map_err(|e| Error::input(e.to_string()).at(file.display()).next(again))
}

/// The report on a study as self-contained HTML.
pub fn study_html(results: &Results, path: &Path) -> String {
    let head = json!({
        "names": results.name,
        "sources": [path.display().to_string()],
        "runs": [],
    });
    page(head, results, SECTIONS)
}

/// The report on the study in `path` as text for a terminal `width` columns wide, without the tables
/// that are too wide for it.
pub fn study_text(results: &Results, path: &Path, width: usize) -> String {
    let mut text: Vec<String> = sentences(results).iter().map(|s| wrapped(s, width)).collect();
    text.extend(where_it_wins(results).into_iter().filter_map(|block| match block {
        Block::Paragraph { text } => Some(wrapped(&text, width)),
        Block::Table(Table { header, rows, words }) => {
            let header: Vec<&str> = header.iter().map(String::as_str).collect();
            Some(drawn(&header, rows, words, width))
        }
        _ => None,
    }));
    text.push(format!("all tables: {}", path.join(TABLES).display()));
    text.join("\n\n")
}

/// Three sentences: what was compared, the results, and the size of the differences.
fn sentences(results: &Results) -> Vec<String> {
    let Results { control, regimes, .. } = results;
    let rows: usize = regimes.iter().map(|r| r.rows.len()).sum();
    let seeds = regimes.iter().flat_map(|r| &r.rows).map(|r| r.runs.len()).max().unwrap_or(0);
    let mut said = vec![format!(
        "{} compares {control} with other settings in {} regimes: {rows} rows of up to {seeds} seeds, \
         {} of {} runs done.",
        results.name,
        regimes.len(),
        results.runs - results.missing.len(),
        results.runs
    )];
    let tally = |ood: bool| {
        let [wins, ties, loses] = results.tally(ood);
        (wins + ties + loses > 0).then(|| format!("wins {wins}, ties {ties} and loses {loses}"))
    };
    match (tally(false), tally(true)) {
        (Some(inside), Some(outside)) => said.push(format!(
            "Of its comparisons {control} {inside} in distribution, and {outside} out of it."
        )),
        (Some(one), None) | (None, Some(one)) => {
            said.push(format!("Of its comparisons {control} {one}."));
        }
        (None, None) => said.push("Nothing can be compared yet.".into()),
    }
    let all = [false, true].into_iter().flat_map(|ood| {
        let place = if ood { "out of distribution" } else { "in distribution" };
        results.comparisons(ood).map(move |c| (place, c))
    });
    let decided: Vec<_> = all.filter(|(_, (.., c))| c.control != Verdict::Ties).collect();
    let told = |(place, (regime, row, c)): &(&str, (&RegimeResult, &RowResult, &Compared))| {
        let points = fixed(100.0 * c.difference.mean.abs(), 1);
        format!("{points} points {place} against {} in {}", row.name, regime.name)
    };
    let size = |(_, (.., c)): &&(&str, (&RegimeResult, &RowResult, &Compared))| c.difference.mean;
    let best = decided.iter().filter(|d| size(d) < 0.0).min_by(|a, b| size(a).total_cmp(&size(b)));
    let worst = decided.iter().filter(|d| size(d) > 0.0).max_by(|a, b| size(a).total_cmp(&size(b)));
    let ends = [best.map(|b| ("leads", b)), worst.map(|w| ("trails", w))];
    let ends: Vec<String> = ends
        .into_iter()
        .flatten()
        .map(|(how, end)| format!("{how} by at most {}", told(end)))
        .collect();
    if !ends.is_empty() {
        said.push(format!("Where the interval excludes 0, {control} {}.", ends.join(", and ")));
    }
    said
}

fn outcome(results: &Results) -> serde_json::Value {
    let missing = results.missing.len();
    let notice = format!("{missing} of {} runs are not done.", results.runs);
    json!({
        "sentences": sentences(results),
        "notices": if missing > 0 { vec![notice] } else { Vec::new() },
    })
}

/// The blocks between two headings.
#[derive(Serialize)]
struct Part {
    heading: Option<String>,
    blocks: Vec<Block>,
}

fn parts(blocks: Vec<Block>) -> Vec<Part> {
    let mut parts = vec![Part { heading: None, blocks: Vec::new() }];
    for block in blocks {
        match block {
            Block::Heading { text } => parts.push(Part { heading: Some(text), blocks: Vec::new() }),
            other => parts.last_mut().expect("never empty").blocks.push(other),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::results::{Accuracies, Compute, Differences};
    use crate::study::stats::Difference;

    fn row(name: &str, difference: Option<[f64; 3]>) -> RowResult {
        let compared = |[low, mean, high]: [f64; 3]| {
            let difference = Difference { mean, low, high, seeds: 2 };
            Some(Compared { difference, control: difference.verdict() })
        };
        RowResult {
            name: name.into(),
            about: "<b>about</b>".into(),
            chosen: String::new(),
            points: 0,
            runs: Vec::new(),
            accuracy: Accuracies::default(),
            pass: Accuracies::default(),
            suites: Default::default(),
            difference: difference.map(|d| Differences { inside: compared(d), outside: None }),
            compute: Compute { relative: Some(0.5), ..Default::default() },
            entropy: None,
            response_tokens: None,
        }
    }

    fn results() -> Results {
        let rows = vec![
            row("srft", None),
            row("sft", Some([-0.2, -0.1, -0.05])),
            row("grpo", Some([-0.1, 0.0, 0.1])),
            row("<img>", Some([0.1, 0.3, 0.4])),
        ];
        let regime = RegimeResult {
            name: "main".into(),
            about: "one & all".into(),
            suites: Default::default(),
            base: Accuracies::default(),
            rows,
        };
        Results {
            name: "s".into(),
            control: "srft".into(),
            runs: 8,
            missing: vec!["main/sft seed 1".into()],
            regimes: vec![regime],
            tables: Vec::new(),
        }
    }

    #[test]
    fn sentences_count_verdicts_and_name_the_ends() {
        let said = sentences(&results());
        assert!(
            said[0].contains("1 regimes: 4 rows") && said[0].contains("7 of 8 runs"),
            "{said:?}"
        );
        assert_eq!(said[1], "Of its comparisons srft wins 1, ties 1 and loses 1.");
        assert_eq!(
            said[2],
            "Where the interval excludes 0, srft leads by at most 10.0 points in distribution \
             against sft in main, and trails by at most 30.0 points in distribution against <img> in \
             main."
        );
    }

    #[test]
    fn every_comparison_is_drawn_and_hostile_names_stay_text() {
        let html = study_html(&results(), Path::new("studies/s"));
        assert_eq!(html.matches("class=\"interval in ").count(), 3);
        for verdict in ["wins", "ties", "loses"] {
            assert_eq!(html.matches(&format!("class=\"interval in {verdict}\"")).count(), 1);
        }
        assert!(html.contains("1 of 8 runs are not done") && !html.contains("<img>"));
        assert!(!html.contains("<b>about</b>") && html.contains("one &amp; all"));
        let zero = html.find("class=\"tick zero\"").expect("a line where nothing differs");
        let at: f64 = html[zero..].split('"').nth(3).unwrap().parse().unwrap();
        let marks: Vec<f64> = html
            .match_indices("<circle cx=\"")
            .map(|(i, m)| html[i + m.len()..].split('"').next().unwrap().parse().unwrap())
            .collect();
        assert!(marks[0] < at && marks[1] == at && marks[2] > at, "{marks:?} about {at}");
        assert!(html.contains("sft%2Cin%2C-10") || html.contains("sft,in,-10,-20,-5,0.5,2"));
    }

    #[test]
    fn a_terminal_gets_the_comparisons() {
        let text = study_text(&results(), Path::new("studies/s"), 80);
        assert!(text.contains("| main   | sft") && text.ends_with("studies/s/tables.md"), "{text}");
    }
}
