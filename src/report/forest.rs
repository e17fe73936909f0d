//! Draws where a study's control wins, ties and loses: one interval per row, by regime.

use super::csv::quoted;
use super::frame::percent_encoded;
use super::number::{exact, fixed, signed};
use super::scale::{Axis, Tick, covering, ticks};
use crate::study::results::{Compared, RegimeResult, Results, RowResult};
use crate::study::tables::{interval, word};
use serde::Serialize;
use serde_json::json;

/// The intervals of a regime's rows, drawn.
#[derive(Serialize)]
struct Forest {
    name: String,
    about: String,
    height: f64,
    ticks: Vec<Tick>,
    rows: Vec<ForestRow>,
    csv: String,
}

#[derive(Serialize)]
struct ForestRow {
    name: String,
    y: f64,
    compute: String,
    intervals: Vec<Drawn>,
}

#[derive(Serialize)]
struct Drawn {
    side: &'static str,
    verdict: &'static str,
    y: f64,
    low: f64,
    mean: f64,
    high: f64,
    text: String,
}

/// Width of the drawing, px.
const WIDTH: f64 = 920.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 560.0;
const TOP: f64 = 30.0;
const LINE: f64 = 30.0;

/// The values for the template of the differences.
pub fn differences(results: &Results) -> serde_json::Value {
    let bounds = [false, true].into_iter().flat_map(|ood| results.comparisons(ood));
    let (low, high) = bounds.fold((0f64, 0f64), |(low, high), (.., c)| {
        (low.min(c.difference.low), high.max(c.difference.high))
    });
    let (low, high) = covering(100.0 * low, 100.0 * high);
    let axis = Axis { low, high, start: LEFT, end: RIGHT };
    let forests: Vec<Forest> = results
        .regimes
        .iter()
        .filter(|regime| regime.rows.iter().any(|r| r.difference.is_some()))
        .map(|regime| forest(regime, axis))
        .collect();
    let files: Vec<String> = forests.iter().map(|f| percent_encoded(&f.csv)).collect();
    json!({
        "control": results.control,
        "forests": forests,
        "files": files,
        "width": WIDTH,
        "left": LEFT,
        "right": RIGHT,
        "top": TOP,
    })
}

fn forest(regime: &RegimeResult, axis: Axis) -> Forest {
    let (values, _) = ticks(axis.low, axis.high, 8.0);
    let ticks = values.into_iter().map(|v| Tick {
        at: axis.at(v),
        text: signed(v, 0),
        zero: v.abs() < 1e-9,
    });
    let compared = regime.rows.iter().filter(|r| r.difference.is_some());
    let rows: Vec<ForestRow> = compared
        .enumerate()
        .map(|(i, row)| forest_row(row, TOP + LINE * (i as f64 + 0.5), axis))
        .collect();
    let mut csv = String::from("row,side,difference,low,high,compute,seeds\n");
    for row in &regime.rows {
        for (side, compared) in sides(row) {
            let d = compared.difference;
            let numbers = [100.0 * d.mean, 100.0 * d.low, 100.0 * d.high].map(exact).join(",");
            let compute = row.compute.relative.map_or(String::new(), exact);
            let name = quoted(&row.name);
            csv += &format!("{name},{side},{numbers},{compute},{}\n", d.seeds);
        }
    }
    Forest {
        name: regime.name.clone(),
        about: regime.about.clone(),
        height: TOP + LINE * rows.len() as f64 + 8.0,
        ticks: ticks.collect(),
        rows,
        csv,
    }
}

/// A row's comparisons, each with the name of its side.
fn sides(row: &RowResult) -> impl Iterator<Item = (&'static str, &Compared)> {
    let both = row.difference.as_ref().map(|d| [("in", &d.inside), ("out", &d.outside)]);
    both.into_iter().flatten().filter_map(|(side, compared)| Some((side, compared.as_ref()?)))
}

fn forest_row(row: &RowResult, y: f64, axis: Axis) -> ForestRow {
    let drawn = |(side, compared): (&'static str, &Compared)| {
        let d = compared.difference;
        let [low, mean, high] = [d.low, d.mean, d.high].map(|v| axis.at(100.0 * v));
        Drawn {
            side,
            verdict: word(compared.control),
            y: y + if side == "in" { -6.0 } else { 6.0 },
            low,
            mean,
            high,
            text: interval(compared),
        }
    };
    ForestRow {
        name: row.name.clone(),
        y,
        compute: row.compute.relative.map_or(String::new(), |r| fixed(r, 2)),
        intervals: sides(row).map(drawn).collect(),
    }
}
