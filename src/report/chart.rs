//! Lays out a line chart: everything that drawing it needs, as numbers and paths in px.

use super::csv::{Column, by_step};
use super::look::Look;
use super::number::{exact, fixed, short};
use super::scale::{Axis, Tick, covering, nice_step, ticks};
use serde::Serialize;

/// Width of the drawing, px.
const WIDTH: f64 = 330.0;
const HEIGHT: f64 = 194.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 162.0;
/// Width of a character, px.
const CHARACTER: f64 = 6.3;
/// Distance between two labels, px.
const LABEL: f64 = 13.0;
/// More labels do not fit beside the plot; the key names the lines instead.
const MOST_LABELS: usize = 8;
/// Longest name of a run beside the plot, in characters.
const NAME: usize = 14;
/// How many steps an averaged line's mean covers.
pub const AVERAGED: usize = 10;

/// What a chart shows.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Unique in the report.
    pub id: String,
    /// Heading.
    pub title: String,
    /// Unit; empty for a number without one.
    pub unit: String,
    /// Meaning and formula.
    pub doc: String,
    /// The least range that the axis shows.
    pub least: Option<(f64, f64)>,
    /// Whether each line is drawn as its mean over the last [`AVERAGED`] steps, with its values thin
    /// behind it.
    pub averaged: bool,
}

/// One run's values.
#[derive(Debug, Clone)]
pub struct Line {
    /// Index of the run in the report.
    pub run: usize,
    /// The run's name.
    pub name: String,
    /// (step, value), in rising order of steps.
    pub points: Vec<(u32, f64)>,
    /// The values' 95% intervals, or empty.
    pub intervals: Vec<[f64; 2]>,
}

/// The text at a line's end.
#[derive(Debug, Serialize)]
pub struct Label {
    x: f64,
    y: f64,
    name: String,
    value: String,
}

/// A line as it is drawn.
#[derive(Debug, Serialize)]
pub struct Drawn {
    run: usize,
    name: String,
    method: &'static str,
    dash: &'static str,
    path: String,
    raw: Option<String>,
    band: Option<String>,
    marks: String,
    points: usize,
    /// Column of its values in the data; column 0 is the step.
    column: usize,
    label: Option<Label>,
}

/// A chart as it is drawn.
#[derive(Debug, Serialize)]
pub struct Chart {
    /// Unique in the report.
    pub id: String,
    title: String,
    unit: String,
    doc: String,
    about: String,
    averaged: bool,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    last_step: u32,
    low: String,
    high: String,
    digits: usize,
    rows: Vec<Tick>,
    columns: Vec<Tick>,
    /// The lines.
    pub lines: Vec<Drawn>,
    /// All the data, as CSV.
    pub csv: String,
}

/// Lays out a chart of `lines` over the steps 0 to `last_step`; `looks` has one for each run.
pub fn layout(subject: &Subject, lines: &[Line], looks: &[Look], last_step: u32) -> Chart {
    let (low, high) = range(subject, lines);
    let digits = decimals(high - low);
    let (row_values, row_unit) = ticks(low, high, 5.0);
    let rows: Vec<String> = row_values.iter().map(|&v| tick_text(v, row_unit)).collect();
    let left = (12.0 + CHARACTER * longest(rows.iter().map(String::as_str))).ceil();
    let smooth: Vec<Vec<(u32, f64)>> =
        lines.iter().map(|l| smoothed(l, subject.averaged)).collect();
    let names: Vec<String> = lines.iter().map(|l| shortened(&l.name)).collect();
    let ends: Vec<String> = smooth
        .iter()
        .map(|points| points.last().map_or(String::new(), |&(_, y)| fixed(y, digits)))
        .collect();
    let labelled = lines.len() <= MOST_LABELS;
    let label =
        longest(names.iter().map(String::as_str)) + longest(ends.iter().map(String::as_str));
    let right = WIDTH - if labelled { 16.0 + CHARACTER * (label + 1.0) } else { 12.0 };
    let x = Axis { low: 0.0, high: f64::from(last_step.max(1)), start: left, end: right };
    let y = Axis { low, high, start: BOTTOM, end: TOP };
    let row =
        |(&value, text): (&f64, String)| Tick { at: tenth(y.at(value)), text, zero: value == 0.0 };
    let rows = row_values.iter().zip(rows).map(row).collect();
    let (column_values, _) = ticks(0.0, x.high, (right - left) / 50.0);
    let whole = column_values.into_iter().filter(|v| v.fract() == 0.0);
    let column = |value: f64| Tick { at: tenth(x.at(value)), text: short(value), zero: false };
    let columns = whole.map(column).collect();

    let per_line = if subject.averaged { 2 } else { 1 };
    let mut column = 1;
    let mut drawn = Vec::with_capacity(lines.len());
    for (line, points) in lines.iter().zip(&smooth) {
        let Look { method, dash, mark } = looks[line.run];
        let raw = subject.averaged.then(|| trace(&line.points, &x, &y));
        drawn.push(Drawn {
            run: line.run,
            name: line.name.clone(),
            method,
            dash,
            path: trace(points, &x, &y),
            raw,
            band: (!line.intervals.is_empty()).then(|| band(line, &x, &y)),
            marks: marks(points, mark, last_step, &x, &y),
            points: line.points.len(),
            column: column + per_line - 1,
            label: None,
        });
        column += per_line + if line.intervals.is_empty() { 0 } else { 2 };
    }
    if labelled {
        place_labels(&mut drawn, &smooth, &names, &ends, right, &y);
    }
    Chart {
        id: subject.id.clone(),
        title: subject.title.clone(),
        unit: subject.unit.clone(),
        doc: subject.doc.clone(),
        about: about(subject, lines, &ends, last_step),
        averaged: subject.averaged,
        width: WIDTH,
        height: HEIGHT,
        left,
        right: tenth(right),
        top: TOP,
        bottom: BOTTOM,
        last_step: last_step.max(1),
        low: exact(low),
        high: exact(high),
        digits,
        rows,
        columns,
        lines: drawn,
        csv: by_step(&columns_of(subject, lines, &smooth)),
    }
}

/// Rounds to tenths of a pixel: paths are shorter, and the eye sees no difference.
fn tenth(x: f64) -> f64 {
    (10.0 * x).round() / 10.0
}

fn longest<'a>(texts: impl Iterator<Item = &'a str>) -> f64 {
    texts.map(|t| t.chars().count()).max().unwrap_or(0) as f64
}

fn shortened(name: &str) -> String {
    match name.chars().count() <= NAME {
        true => name.into(),
        false => name.chars().take(NAME - 1).chain(['…']).collect(),
    }
}

fn range(subject: &Subject, lines: &[Line]) -> (f64, f64) {
    let (mut low, mut high) = subject.least.unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
    for value in lines.iter().flat_map(|l| &l.points).map(|p| p.1).filter(|v| v.is_finite()) {
        (low, high) = (low.min(value), high.max(value));
    }
    if low <= high { covering(low, high) } else { (0.0, 1.0) }
}

/// How many decimals show a hundredth of the range.
fn decimals(span: f64) -> usize {
    (2.0 - span.log10().floor()).clamp(0.0, 9.0) as usize + usize::from(span == 100.0)
}

fn tick_text(value: f64, unit: f64) -> String {
    let decimals = (-unit.log10() - 1e-9).ceil().clamp(0.0, 20.0) as usize;
    if decimals > 4 {
        // Rounded, since 3 times 1e-5 is not 3e-5 in binary.
        return short(exact(value).parse().unwrap_or(value));
    }
    fixed(value, decimals)
}

fn smoothed(line: &Line, averaged: bool) -> Vec<(u32, f64)> {
    if !averaged {
        return line.points.clone();
    }
    let window = |i: usize| &line.points[(i + 1).saturating_sub(AVERAGED)..=i];
    let mean = |of: &[(u32, f64)]| of.iter().map(|p| p.1).sum::<f64>() / of.len() as f64;
    line.points.iter().enumerate().map(|(i, &(step, _))| (step, mean(window(i)))).collect()
}

/// A path through the points. Where many fall on one column of pixels, only the first, the lowest, the
/// highest and the last are drawn: the picture is the same, and a long run's file stays small.
fn trace(points: &[(u32, f64)], x: &Axis, y: &Axis) -> String {
    let places: Vec<(f64, f64)> = points
        .iter()
        .filter(|p| p.1.is_finite())
        .map(|&(step, value)| (tenth(x.at(f64::from(step))), tenth(y.at(value))))
        .collect();
    let mut path = String::new();
    for column in places.chunk_by(|a, b| a.0.floor() == b.0.floor()) {
        let by_height = |a: &&usize, b: &&usize| column[**a].1.total_cmp(&column[**b].1);
        let all: Vec<usize> = (0..column.len()).collect();
        let mut kept = vec![0, column.len() - 1];
        kept.extend(all.iter().min_by(by_height));
        kept.extend(all.iter().max_by(by_height));
        kept.sort_unstable();
        kept.dedup();
        for (px, py) in kept.into_iter().map(|i| column[i]) {
            path += &format!("{}{px} {py}", if path.is_empty() { 'M' } else { 'L' });
        }
    }
    path
}

/// The area of the 95% intervals.
fn band(line: &Line, x: &Axis, y: &Axis) -> String {
    let edge = |end: usize| {
        let ends = line.points.iter().zip(&line.intervals);
        ends.map(move |(&(step, _), interval)| (x.at(f64::from(step)), y.at(interval[end])))
    };
    let lower: Vec<_> = edge(0).collect();
    let outline = edge(1).chain(lower.into_iter().rev());
    let corners: Vec<String> =
        outline.map(|(px, py)| format!("{} {}", tenth(px), tenth(py))).collect();
    format!("M{}Z", corners.join("L"))
}

/// About eight marks along a line; a short line has one on each point.
fn marks(points: &[(u32, f64)], mark: &str, last_step: u32, x: &Axis, y: &Axis) -> String {
    let every = nice_step(f64::from(last_step.max(1)), 8.0).max(1.0) as u32;
    let last = points.last().map(|p| p.0);
    let chosen = |p: &&(u32, f64)| {
        p.1.is_finite() && (points.len() <= 12 || p.0.is_multiple_of(every) || Some(p.0) == last)
    };
    points
        .iter()
        .filter(chosen)
        .map(|&(step, value)| {
            format!("M{} {}{mark}", tenth(x.at(f64::from(step))), tenth(y.at(value)))
        })
        .collect()
}

/// Places labels right of the plot at the height of their lines' last values, in that order and without
/// overlap. A line that ends early has its label there too.
fn place_labels(
    drawn: &mut [Drawn],
    smooth: &[Vec<(u32, f64)>],
    names: &[String],
    ends: &[String],
    right: f64,
    y: &Axis,
) {
    let last = |points: &Vec<(u32, f64)>| points.iter().rfind(|p| p.1.is_finite()).map(|p| p.1);
    let mut heads: Vec<(usize, f64)> = smooth
        .iter()
        .enumerate()
        .filter_map(|(i, points)| Some((i, y.at(last(points)?) + 4.0)))
        .collect();
    heads.sort_by(|a, b| a.1.total_cmp(&b.1));
    for i in 1..heads.len() {
        heads[i].1 = heads[i].1.max(heads[i - 1].1 + LABEL);
    }
    let mut limit = BOTTOM;
    for head in heads.iter_mut().rev() {
        head.1 = head.1.min(limit);
        limit = head.1 - LABEL;
    }
    for (i, height) in heads {
        let (name, value) = (names[i].clone(), ends[i].clone());
        drawn[i].label = Some(Label { x: tenth(right + 8.0), y: tenth(height), name, value });
    }
}

/// The chart in words, for those who can't see it.
fn about(subject: &Subject, lines: &[Line], ends: &[String], last_step: u32) -> String {
    let unit = if subject.unit.is_empty() { String::new() } else { format!(", {}", subject.unit) };
    let last: Vec<String> =
        lines.iter().zip(ends).map(|(line, end)| format!("{} {end}", line.name)).collect();
    format!(
        "Line chart: {}{unit}, over the steps 0 to {last_step}. Last values: {}.",
        subject.title,
        last.join(", ")
    )
}

/// The values behind a chart: each line's, with its means and the ends of its intervals.
fn columns_of(subject: &Subject, lines: &[Line], smooth: &[Vec<(u32, f64)>]) -> Vec<Column> {
    let mut columns = Vec::new();
    for (Line { name, points, intervals, .. }, smooth) in lines.iter().zip(smooth) {
        columns.push((name.clone(), points.clone()));
        if subject.averaged {
            columns.push((format!("{name} (mean of {AVERAGED})"), smooth.clone()));
        }
        for (end, word) in ["from", "to"].into_iter().enumerate().filter(|_| !intervals.is_empty())
        {
            let ends = points.iter().zip(intervals).map(|(point, ends)| (point.0, ends[end]));
            columns.push((format!("{name} (95% {word})"), ends.collect()));
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Look = Look { method: "srft", dash: "none", mark: "m-1-1h2v2h-2Z" };

    fn subject(averaged: bool) -> Subject {
        Subject {
            id: "reward".into(),
            title: "Reward".into(),
            unit: String::new(),
            doc: String::new(),
            least: Some((-1.0, 1.0)),
            averaged,
        }
    }

    fn line(run: usize, name: &str, points: &[(u32, f64)]) -> Line {
        Line { run, name: name.into(), points: points.to_vec(), intervals: Vec::new() }
    }

    #[test]
    fn values_stand_where_the_axes_say() {
        let chart = layout(&subject(false), &[line(0, "a", &[(1, -1.0), (2, 1.0)])], &[LOOK], 2);
        let middle = tenth((chart.left + chart.right) / 2.0);
        assert_eq!(chart.lines[0].path, format!("M{middle} {BOTTOM}L{} {TOP}", chart.right));
        assert_eq!(chart.lines[0].marks.matches('M').count(), 2);
        let rows: Vec<&str> = chart.rows.iter().map(|t| t.text.as_str()).collect();
        assert_eq!(rows, ["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
        let label = chart.lines[0].label.as_ref().unwrap();
        assert_eq!((label.name.as_str(), label.value.as_str()), ("a", "1.00"));
    }

    #[test]
    fn data_and_means_are_in_the_file() {
        let lines =
            [line(0, "a", &[(1, 0.0), (2, 1.0)]), line(1, "b, \"c\"", &[(2, 0.5), (3, 1e-7)])];
        let chart = layout(&subject(true), &lines, &[LOOK; 2], 3);
        let expected = "step,a,a (mean of 10),\"b, \"\"c\"\"\",\"b, \"\"c\"\" (mean of 10)\"\n\
                        1,0,0,,\n2,1,0.5,0.5,0.5\n3,,,0.0000001,0.25\n";
        assert_eq!(chart.csv, expected);
        assert_eq!(chart.lines.iter().map(|l| l.column).collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn a_band_fills_the_intervals() {
        let accuracy = Line {
            intervals: vec![[-0.5, 0.5], [0.0, 1.0]],
            ..line(0, "a", &[(0, 0.0), (2, 0.5)])
        };
        let chart = layout(&subject(false), &[accuracy], &[LOOK], 2);
        let (l, r) = (chart.left, chart.right);
        // 140 px for a range of 2: ±0.5 are 35 px.
        let corners = format!("M{l} 57L{r} 22L{r} 92L{l} 127Z");
        assert_eq!(chart.lines[0].band.as_deref(), Some(corners.as_str()));
        assert!(chart.csv.starts_with("step,a,a (95% from),a (95% to)\n0,0,-0.5,0.5\n"));
    }

    #[test]
    fn a_long_run_keeps_its_spikes_and_a_small_path() {
        let mut points: Vec<(u32, f64)> = (1..=100_000).map(|s| (s, 0.0)).collect();
        points[54_321].1 = 1.0;
        let chart = layout(&subject(false), &[line(0, "a", &points)], &[LOOK], 100_000);
        let path = &chart.lines[0].path;
        assert!(path.len() < 12_000, "{} bytes", path.len());
        assert_eq!(path.split(['M', 'L']).filter(|p| p.ends_with(&format!(" {TOP}"))).count(), 1);
    }

    #[test]
    fn labels_keep_their_distance_and_stay_inside() {
        let lines: Vec<Line> = (0..6).map(|i| line(i, "run", &[(1, -1.0)])).collect();
        let chart = layout(&subject(false), &lines, &[LOOK; 6], 1);
        let mut heights: Vec<f64> =
            chart.lines.iter().map(|l| l.label.as_ref().unwrap().y).collect();
        heights.sort_by(f64::total_cmp);
        assert!(heights.windows(2).all(|w| w[1] - w[0] >= LABEL - 1e-9), "{heights:?}");
        assert!(heights[0] >= TOP && heights[5] <= BOTTOM, "{heights:?}");
    }

    #[test]
    fn one_point_and_none_are_drawn() {
        let one = layout(&subject(true), &[line(0, "a", &[(1, 0.3)])], &[LOOK], 1);
        assert!(one.lines[0].path.starts_with('M') && !one.lines[0].path.contains('L'));
        let none = layout(&subject(true), &[], &[], 0);
        assert_eq!((none.csv.as_str(), none.lines.len()), ("step\n", 0));
    }
}
