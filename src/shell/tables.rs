//! Plain text tables.

use comfy_table::{CellAlignment, Table, presets};
use srft::run::Summary;

/// Columns where the output goes elsewhere than to a terminal.
const COLUMNS: usize = 100;

/// Columns of the terminal that standard output is on.
pub fn terminal_width() -> usize {
    Table::new().width().map_or(COLUMNS, usize::from)
}

/// Columns of the terminal that standard error is on.
pub fn error_width() -> usize {
    Table::new().use_stderr().width().map_or(COLUMNS, usize::from)
}

/// A table with a header, numbers to the right from the second column on.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Accuracy before and after, suite by suite, with the two means.
pub fn before_and_after(summary: &Summary) -> Table {
    let percent = |v: f64| format!("{:.1}", 100.0 * v);
    let change = |base: f64, last: f64| format!("{:+.1}", 100.0 * (last - base));
    let mut rows = Vec::new();
    for ood in [false, true] {
        let suites: Vec<_> = summary.suites.iter().filter(|(_, s)| s.ood == ood).collect();
        for (name, s) in &suites {
            rows.push(vec![
                name.to_string(),
                s.n.to_string(),
                percent(s.base),
                percent(s.last),
                change(s.base, s.last),
            ]);
        }
        if suites.len() > 1 {
            let mean = |f: fn(&srft::run::SuiteSummary) -> f64| {
                suites.iter().map(|(_, s)| f(s)).sum::<f64>() / suites.len() as f64
            };
            let (base, last) = (mean(|s| s.base), mean(|s| s.last));
            rows.push(vec![
                if ood { "mean, out of distribution" } else { "mean, in distribution" }.into(),
                suites.iter().map(|(_, s)| s.n).sum::<usize>().to_string(),
                percent(base),
                percent(last),
                change(base, last),
            ]);
        }
    }
    table(&["suite", "problems", "before %", "after %", "change"], rows)
}
