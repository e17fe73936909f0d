//! The values behind charts, as CSV files in links.

use super::number::exact;

/// A column's name, and its values by rising step.
pub type Column = (String, Vec<(u32, f64)>);

/// One row per step; a cell is empty where a column has no value.
pub fn by_step(columns: &[Column]) -> String {
    let mut steps: Vec<u32> = columns.iter().flat_map(|(_, points)| points).map(|p| p.0).collect();
    steps.sort_unstable();
    steps.dedup();
    let mut text = String::from("step");
    columns.iter().for_each(|(name, _)| text += &format!(",{}", quoted(name)));
    text.push('\n');
    let mut rest: Vec<&[(u32, f64)]> = columns.iter().map(|(_, points)| &points[..]).collect();
    for step in steps {
        text += &step.to_string();
        for points in &mut rest {
            text.push(',');
            if let [(at, value), others @ ..] = points
                && *at == step
            {
                text += &exact(*value);
                *points = others;
            }
        }
        text.push('\n');
    }
    text
}

/// A name as a field of a CSV file, on one line.
pub fn quoted(name: &str) -> String {
    let name = name.replace(['\n', '\r'], " ");
    match name.contains([',', '"']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name,
    }
}
