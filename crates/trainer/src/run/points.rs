//! A run's numbers as those who watch it take them: TensorBoard, a tracker. Each has a tag, section and key.

use crate::eval::{Score, mean_accuracy};
use crate::metrics::StepReport;
use serde_json::Value;

/// The numbers that a step reports.
pub fn of_step(report: &StepReport) -> Vec<(String, f64)> {
    let report = serde_json::to_value(report).expect("a plain record");
    let mut points = Vec::new();
    for (key, value) in report.as_object().into_iter().flatten().filter(|(key, _)| *key != "step") {
        let tag = format!("{}/{key}", section(key));
        match value {
            // The rewards by their names.
            Value::Object(named) => points.extend(
                named.iter().filter_map(|(name, v)| Some((format!("{tag}/{name}"), v.as_f64()?))),
            ),
            value => points.extend(value.as_f64().map(|value| (tag, value))),
        }
    }
    points // JSON has no number that is not finite
}

/// Those of an evaluation.
pub fn of_scores(scores: &[Score]) -> Vec<(String, f64)> {
    let mut points = Vec::new();
    for Score { suite, accuracy, pass, rewards, .. } in scores {
        points.push((format!("eval/{suite}/accuracy"), *accuracy));
        points.push((format!("eval/{suite}/pass"), *pass));
        points.extend(
            rewards.iter().map(|(name, mean)| (format!("eval/{suite}/rewards/{name}"), *mean)),
        );
    }
    for (tag, ood) in [("eval/accuracy", false), ("eval/accuracy_ood", true)] {
        points.extend(mean_accuracy(scores, ood).map(|mean| (tag.to_string(), mean)));
    }
    points.retain(|(_, value)| value.is_finite());
    points
}

/// The section of a metric.
fn section(key: &str) -> &'static str {
    match key {
        _ if key.starts_with("loss") => "loss",
        _ if key.ends_with("_secs") => "time",
        _ if key.starts_with("reward") || key.starts_with("advantage") => "reward",
        "accuracy" | "groups_all_right" | "groups_all_wrong" => "reward",
        "lr" | "grad_norm" | "w_sft" | "w_rl" | "clip_share" | "trained_tokens" => "train",
        _ => "rollout",
    }
}
