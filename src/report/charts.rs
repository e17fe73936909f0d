//! Which charts a report has, and the lines in them.

use super::chart::{Chart, Line, Subject, layout};
use super::look::Look;
use super::read::RunRecord;
use super::results::{Estimate, Mean, mean_of};
use crate::config::{FixedWeight, Objective, Prefix, SelfTerm, SftGate};
use crate::metrics::{DEFINITIONS, Definition, StepReport};
use crate::run::Evaluation;
use serde::Serialize;
use std::collections::BTreeSet;

/// Related charts.
#[derive(Debug, Serialize)]
pub struct ChartGroup {
    title: &'static str,
    /// Whether it is folded until the reader opens it.
    folded: bool,
    /// At least one.
    pub charts: Vec<Chart>,
}

/// A metric's chart.
struct Metric {
    group: &'static str,
    name: &'static str,
    title: &'static str,
    value: fn(&StepReport) -> Option<f64>,
    /// Whether the metric has a meaning under this objective.
    acts: fn(&Objective) -> bool,
    least: Option<(f64, f64)>,
    averaged: bool,
    /// Whether it is left out if it is 0 at every step.
    rare: bool,
}

const PERCENT: Option<(f64, f64)> = Some((0.0, 100.0));
const FROM_ZERO: Option<(f64, f64)> = Some((0.0, 0.0));

const OUTCOME: &str = "Outcome";
const ENTROPY: &str = "Entropy and what it weighs";
const LOSS: &str = "Loss and its terms";
const GROUPS: &str = "Groups";
const RESPONSES: &str = "Responses";
const UPDATES: &str = "Updates";

macro_rules! metric {
    ($group:expr, $field:ident $(as $cast:ty)?, $title:literal, $acts:expr, $least:expr $(, $flag:ident)*) => {
        Metric {
            group: $group,
            name: stringify!($field),
            title: $title,
            value: |r| (r.$field $(as $cast)?).into(),
            acts: $acts,
            $($flag: true,)*
            ..Metric { least: $least, ..PLAIN }
        }
    };
}

const PLAIN: Metric = Metric {
    group: "",
    name: "",
    title: "",
    value: |_| None,
    acts: |_| true,
    least: None,
    averaged: false,
    rare: false,
};

fn rollouts(o: &Objective) -> bool {
    o.uses_rollouts()
}

fn compared(o: &Objective) -> bool {
    o.rl_demo || o.sft_gate != SftGate::None
}

const METRICS: &[Metric] = &[
    metric!(OUTCOME, reward, "Reward", rollouts, None, averaged),
    metric!(OUTCOME, accuracy, "Accuracy in training", rollouts, PERCENT, averaged),
    metric!(ENTROPY, entropy, "Entropy, rollouts", rollouts, FROM_ZERO),
    metric!(
        ENTROPY,
        entropy_demo,
        "Entropy, demonstrations",
        |o| o.uses_demonstrations(),
        FROM_ZERO
    ),
    metric!(ENTROPY, w_sft, "w_SFT", |o| o.sft && o.varies(FixedWeight::Sft), FROM_ZERO),
    metric!(
        ENTROPY,
        w_rl,
        "w_RL",
        |o| o.uses_rollouts() && o.varies(FixedWeight::SelfTerm),
        FROM_ZERO
    ),
    metric!(LOSS, loss, "Loss", |_| true, None),
    metric!(LOSS, loss_sft, "L_SFT", |o| o.sft, None),
    metric!(LOSS, loss_rl_demo, "L_RL,demo", |o| o.rl_demo, None),
    metric!(LOSS, loss_self, "L_self", rollouts, None),
    metric!(LOSS, loss_kl, "KL penalty", |o| o.kl_coeff != 0.0, None, rare),
    metric!(LOSS, loss_entropy, "Entropy bonus", |o| o.entropy_coeff != 0.0, None, rare),
    metric!(GROUPS, groups_all_right, "Groups all right", rollouts, PERCENT, averaged),
    metric!(GROUPS, groups_all_wrong, "Groups all wrong", rollouts, PERCENT, averaged),
    metric!(
        GROUPS,
        given_share,
        "Demonstration given",
        |o| o.prefix != Prefix::None,
        FROM_ZERO,
        averaged
    ),
    metric!(GROUPS, tried as f64, "Rollouts replaced", rollouts, FROM_ZERO, rare),
    metric!(GROUPS, advantage_demo, "Advantage of demonstrations", compared, FROM_ZERO, averaged),
    metric!(GROUPS, reward_demo, "Reward of demonstrations", compared, None, averaged),
    metric!(RESPONSES, response_tokens, "Length of a rollout", rollouts, FROM_ZERO, averaged),
    metric!(RESPONSES, truncated_share, "Rollouts cut", rollouts, FROM_ZERO, averaged),
    metric!(RESPONSES, unscored as f64, "Rollouts unscored", rollouts, FROM_ZERO, rare),
    metric!(
        RESPONSES,
        unscored_demos as f64,
        "Demonstrations unscored",
        |o| o.uses_demonstrations(),
        FROM_ZERO,
        rare
    ),
    metric!(
        RESPONSES,
        loose_only as f64,
        "Rollouts right by value alone",
        rollouts,
        FROM_ZERO,
        rare
    ),
    metric!(
        RESPONSES,
        clip_share,
        "Tokens clipped",
        |o| o.self_term == SelfTerm::Advantage,
        FROM_ZERO,
        rare
    ),
    metric!(UPDATES, grad_norm, "Gradient norm", |_| true, FROM_ZERO),
    metric!(UPDATES, lr, "Learning rate", |_| true, FROM_ZERO),
    metric!(UPDATES, rollout_secs, "Sampling time", rollouts, FROM_ZERO, averaged),
    metric!(UPDATES, train_secs, "Update time", |_| true, FROM_ZERO, averaged),
];

/// A metric of a run, as a terminal shows it.
pub struct Curve {
    /// Name.
    pub title: String,
    /// A share in [0, 1].
    pub share: bool,
    /// One value per step, at least one.
    pub values: Vec<f64>,
}

/// The metrics of a run that have a meaning and are not always 0, without wall times.
pub fn curves_of(run: &RunRecord) -> Vec<Curve> {
    let curve = |metric: &Metric| {
        let values: Vec<f64> =
            run.values(metric.value, metric.acts).into_iter().map(|v| v.1).collect();
        let share = definition(metric.name).unit == "share";
        let drawn = values.iter().any(|&v| v != 0.0);
        drawn.then_some(Curve { title: metric.title.into(), share, values })
    };
    let named = rewards_of(std::slice::from_ref(run)).into_iter().map(|name| {
        let values = scores(run, &name).into_iter().map(|v| v.1).collect();
        Curve { title: format!("Reward `{name}`"), share: false, values }
    });
    let all = METRICS.iter().filter(|m| !m.name.ends_with("_secs")).filter_map(curve);
    named.chain(all).collect()
}

/// The names of the runs' rewards, where a run has several.
fn rewards_of(runs: &[RunRecord]) -> BTreeSet<String> {
    runs.iter().flat_map(|run| &run.steps).flat_map(|step| step.rewards.keys().cloned()).collect()
}

/// A reward's mean score, by step.
fn scores(run: &RunRecord, name: &str) -> Vec<(u32, f64)> {
    run.steps.iter().filter_map(|step| Some((step.step, *step.rewards.get(name)?))).collect()
}

fn definition(name: &str) -> &'static Definition {
    DEFINITIONS.iter().find(|d| d.name == name).expect("every chart's metric is defined")
}

/// The charts of `runs` in groups, and the metrics that are not drawn because they were 0 at every
/// step.
pub fn charts(runs: &[RunRecord], looks: &[Look]) -> (Vec<ChartGroup>, Vec<&'static str>) {
    let last_step = runs.iter().map(RunRecord::updates).max().unwrap_or(0);
    let mut groups: Vec<ChartGroup> = Vec::new();
    let mut add = |title, folded, chart| match groups.iter_mut().find(|g| g.title == title) {
        Some(group) => group.charts.push(chart),
        None => groups.push(ChartGroup { title, folded, charts: vec![chart] }),
    };
    for mean in [Mean::In, Mean::Out] {
        let lines = accuracy_lines(runs, &|e| mean_of(&e.scores, mean));
        if !lines.is_empty() {
            add(OUTCOME, false, layout(&accuracy_subject(mean), &lines, looks, last_step));
        }
    }
    let mut zero = Vec::new();
    for metric in METRICS {
        let definition = definition(metric.name);
        let share = definition.unit == "share";
        let lines = metric_lines(runs, metric, if share { 100.0 } else { 1.0 });
        if lines.is_empty() {
            continue;
        }
        if metric.rare && lines.iter().flat_map(|l| &l.points).all(|p| p.1 == 0.0) {
            zero.push(metric.name);
            continue;
        }
        let subject = Subject {
            id: metric.name.replace('_', "-"),
            title: metric.title.into(),
            unit: if share { "%" } else { definition.unit }.into(),
            doc: definition.doc.into(),
            least: metric.least,
            averaged: metric.averaged,
        };
        add(metric.group, false, layout(&subject, &lines, looks, last_step));
    }
    for (i, name) in rewards_of(runs).into_iter().enumerate() {
        let line = |(run, record): (usize, &RunRecord)| {
            let (points, intervals) = (scores(record, &name), Vec::new());
            let line = Line { run, name: record.name.clone(), points, intervals };
            (!line.points.is_empty()).then_some(line)
        };
        let lines: Vec<Line> = runs.iter().enumerate().filter_map(line).collect();
        let subject = Subject {
            id: format!("reward-{i}"),
            doc: format!("Mean score of the rollouts by the reward {name}, before its weight."),
            title: name,
            unit: "score".into(),
            least: Some((0.0, 1.0)),
            averaged: true,
        };
        add("Rewards, one by one", false, layout(&subject, &lines, looks, last_step));
    }
    for (i, suite) in suites_with_curves(runs).iter().enumerate() {
        let of_suite = |e: &Evaluation| {
            let score = e.scores.iter().find(|s| &s.suite == suite)?;
            Some((score.accuracy, score.interval))
        };
        let subject = Subject {
            id: format!("suite-{i}"),
            title: suite.clone(),
            doc: format!("Accuracy on the suite {suite}, with its 95% interval over problems."),
            ..accuracy_subject(Mean::In)
        };
        let lines = accuracy_lines(runs, &of_suite);
        add("Accuracy, suite by suite", true, layout(&subject, &lines, looks, last_step));
    }
    (groups, zero)
}

fn accuracy_subject(mean: Mean) -> Subject {
    let (id, words) = match mean {
        Mean::In => ("accuracy-in", "in distribution"),
        Mean::Out => ("accuracy-out", "out of distribution"),
    };
    Subject {
        id: id.into(),
        title: format!("Accuracy, {words}"),
        unit: "% of held-out problems".into(),
        doc: format!(
            "Mean over the suites {words} of avg@k, the share of right samples per problem; the band is \
             its 95% interval over problems."
        ),
        least: PERCENT,
        averaged: false,
    }
}

type Evaluated<'a> = &'a dyn Fn(&Evaluation) -> Option<Estimate>;

fn accuracy_lines(runs: &[RunRecord], value: Evaluated) -> Vec<Line> {
    let line = |(run, record): (usize, &RunRecord)| {
        let points = record.evaluations.iter().filter_map(|e| {
            let (accuracy, interval) = value(e)?;
            Some(((e.step, 100.0 * accuracy), interval.map(|end| 100.0 * end)))
        });
        let (points, intervals): (Vec<_>, Vec<_>) = points.unzip();
        let name = record.name.clone();
        (!points.is_empty()).then_some(Line { run, name, points, intervals })
    };
    runs.iter().enumerate().filter_map(line).collect()
}

fn metric_lines(runs: &[RunRecord], metric: &Metric, scale: f64) -> Vec<Line> {
    let line = |(run, record): (usize, &RunRecord)| {
        let mut points = record.values(metric.value, metric.acts);
        points.iter_mut().for_each(|p| p.1 *= scale);
        let name = record.name.clone();
        (!points.is_empty()).then_some(Line { run, name, points, intervals: Vec::new() })
    };
    runs.iter().enumerate().filter_map(line).collect()
}

/// The suites, if a run was evaluated during training.
fn suites_with_curves(runs: &[RunRecord]) -> Vec<String> {
    let mut suites: Vec<String> = Vec::new();
    for score in runs
        .iter()
        .filter(|r| r.evaluations.len() > 2)
        .flat_map(|r| &r.evaluations)
        .flat_map(|e| &e.scores)
    {
        if !suites.contains(&score.suite) {
            suites.push(score.suite.clone());
        }
    }
    suites
}
