//! What happened, in three sentences: what was trained and how, the results, and what to look at.

use super::findings::{ends, findings};
use super::number::{grouped, percent, short, signed};
use super::read::{RunRecord, Status};
use super::results::{Estimate, Mean, Outcome, with_interval};
use std::path::Path;

/// More runs than these are described as a range.
const MOST_NAMED: usize = 3;
/// Most findings in the last sentence.
const MOST_FINDINGS: usize = 4;

/// The three sentences.
pub fn sentences(runs: &[RunRecord]) -> [String; 3] {
    [trained(runs), outcome(runs), look_at(runs)]
}

/// What is unfinished or wrong with the runs, one sentence each.
pub fn notices(runs: &[RunRecord]) -> Vec<String> {
    let mut notices = Vec::new();
    for run in runs {
        let (done, of) = (run.updates(), run.config.train.steps);
        let so_far = format!("{} has not ended: {done} of {of} updates are on file", run.name);
        match run.status {
            Status::Finished if done < of => notices.push(format!(
                "{} ended after {done} of {of} updates, since its evaluation no longer improved.",
                run.name
            )),
            Status::Finished => {}
            Status::Training => notices
                .push(format!("{so_far}, and it is training now; a later report will show more.")),
            Status::Stopped => notices.push(format!(
                "{so_far}, and nothing is training it; to continue: srft train --resume {}",
                run.path.display()
            )),
            Status::Diverged => notices.push(format!(
                "{} diverged: {done} of {of} updates are on file, then it ended ({}). Resuming \
                 would end the same way: start a new run with a lower optimizer.lr, or from one of \
                 its checkpoints.",
                run.name,
                run.diverged.as_deref().unwrap_or_default()
            )),
        }
        notices.extend(run.notes.iter().map(|note| format!("{}: {note}.", run.name)));
    }
    notices
}

/// `a`, `a and b`, `a, b and c`.
fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// What all runs have in common; `None` if they differ.
fn common(runs: &[RunRecord], of: impl Fn(&RunRecord) -> String) -> Option<String> {
    let first = runs.first().map(&of)?;
    runs.iter().all(|r| of(r) == first).then_some(first)
}

fn trained(runs: &[RunRecord]) -> String {
    let model = common(runs, model).unwrap_or_else(|| "different models".into());
    let data = common(runs, data).unwrap_or_else(|| "different data".into());
    let named = |run: &RunRecord| format!("{} ({})", run.name, run.method());
    let who = match runs {
        [run] => format!("{} trained {model} on {data} by {}", run.name, run.method()),
        runs if runs.len() <= 2 * MOST_NAMED => {
            let names: Vec<String> = runs.iter().map(named).collect();
            format!("{} runs trained {model} on {data}, {}", runs.len(), listed(&names))
        }
        runs => {
            let mut methods: Vec<&str> = Vec::new();
            for method in runs.iter().map(|r| r.config.objective.method.name()) {
                if !methods.contains(&method) {
                    methods.push(method);
                }
            }
            format!("{} runs trained {model} on {data}, by {}", runs.len(), methods.join(", "))
        }
    };
    let rate = common(runs, |r| short(r.config.optimizer.lr));
    let device = common(runs, |r| r.device.clone().unwrap_or_default()).filter(|d| !d.is_empty());
    let how: Vec<String> = [
        common(runs, updates),
        rate.map(|lr| format!("a peak learning rate of {lr}")),
        device.map(|d| format!("on {d}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    match how.is_empty() {
        true => format!("{who}."),
        false => format!("{who}: {}.", how.join(", ")),
    }
}

fn model(run: &RunRecord) -> String {
    let of = match run.config.lora.rank {
        0 => String::new(),
        rank => format!("adapters of rank {rank} for "),
    };
    match run.config.model.path.as_str() {
        "tiny" => format!("{of}the built-in model"),
        path => format!("{of}the model {}", file_name(path)),
    }
}

fn data(run: &RunRecord) -> String {
    match run.config.data.train.as_slice() {
        [] => format!("the built-in {} task", run.config.data.task),
        files => files.iter().map(|path| file_name(path)).collect::<Vec<_>>().join(" and "),
    }
}

fn file_name(path: &str) -> String {
    Path::new(path).file_name().map_or(path.into(), |name| name.to_string_lossy().into_owned())
}

fn updates(run: &RunRecord) -> String {
    let (done, planned) = (run.updates(), run.config.train.steps);
    let count = match run.status {
        Status::Finished => grouped(done.into()),
        _ => format!("{done} of {planned}"),
    };
    let each = match run.config.stages().iter().any(|o| o.uses_rollouts()) {
        true => format!(" with {} rollouts each", run.config.rollout.group),
        false => String::new(),
    };
    let plural = |n: u32, word: &str| if n == 1 { word.to_string() } else { format!("{word}s") };
    let prompts = run.config.rollout.prompts;
    let updates = plural(if run.status == Status::Finished { done } else { planned }, "update");
    format!("{count} {updates} of {prompts} {}{each}", plural(prompts as u32, "prompt"))
}

fn outcome(runs: &[RunRecord]) -> String {
    let (inside, outside) = (change(runs, Mean::In), change(runs, Mean::Out));
    match (inside, outside) {
        (Some(inside), Some(outside)) => {
            format!("In distribution, accuracy went {inside}; out of distribution, {outside}.")
        }
        (Some(inside), None) => format!("In distribution, accuracy went {inside}."),
        (None, Some(outside)) => format!("Out of distribution, accuracy went {outside}."),
        (None, None) => without_evaluations(runs),
    }
}

fn without_evaluations(runs: &[RunRecord]) -> String {
    let of_rollouts: Vec<String> = runs.iter().filter_map(training).collect();
    let why = match runs.iter().all(RunRecord::has_no_suite) {
        true => "Nothing is evaluated, since no suite is configured (data.eval)",
        false => "There is no evaluation after training yet",
    };
    match of_rollouts.is_empty() {
        false => format!("{why}; in training, right rollouts went {}.", listed(&of_rollouts)),
        true => format!("{why}, and no curve is recorded."),
    }
}

/// A run with its accuracy before and after (with interval), and the change.
type Ended<'a> = (&'a RunRecord, f64, Estimate, f64);

/// `from 34.1% to 94.8% [93.2, 96.0] (a) and to 66.0% [63.0, 68.9] (b)`.
fn change(runs: &[RunRecord], mean: Mean) -> Option<String> {
    let outcomes = runs.iter().map(|r| (r, Outcome::of_mean(r, mean)));
    let ended: Vec<Ended> =
        outcomes.filter_map(|(r, o)| Some((r, o.base?, o.last?, o.change()?))).collect();
    let (_, base, last, points) = ended.first()?;
    if let [_] = runs {
        let points = signed(100.0 * points, 1);
        let (base, last) = (percent(*base), with_interval(*last));
        return Some(format!("from {base} to {last} ({points} points)"));
    }
    let shared = ended.iter().all(|e| percent(e.1) == percent(*base)).then(|| percent(*base));
    let from = |base: f64| match &shared {
        Some(_) => String::new(),
        None => format!("from {} ", percent(base)),
    };
    let begin = shared.as_ref().map_or(String::new(), |base| format!("from {base} "));
    if ended.len() <= MOST_NAMED {
        let each = |(run, base, last, _): &Ended| {
            format!("{}to {} ({})", from(*base), with_interval(*last), run.name)
        };
        let ends: Vec<String> = ended.iter().map(each).collect();
        return Some(format!("{begin}{}", listed(&ends)));
    }
    let by_last = |a: &&Ended, b: &&Ended| a.2.0.total_cmp(&b.2.0);
    let (worst, best) = (ended.iter().min_by(by_last)?, ended.iter().max_by(by_last)?);
    Some(format!(
        "{begin}to between {} ({}) and {} ({})",
        with_interval(worst.2),
        worst.0.name,
        with_interval(best.2),
        best.0.name
    ))
}

fn training(run: &RunRecord) -> Option<String> {
    let (first, last, _) = ends(&run.values(|r| r.accuracy, |o| o.uses_rollouts()))?;
    Some(format!("from {} to {} ({})", percent(first), percent(last), run.name))
}

fn look_at(runs: &[RunRecord]) -> String {
    let mut all: Vec<(u8, String)> = runs
        .iter()
        .flat_map(|run| {
            let named = |text: &str| match (runs.len(), text.strip_prefix("its ")) {
                (1, _) => text.to_string(),
                (_, Some(rest)) => format!("{}'s {rest}", run.name),
                _ => format!("{}: {text}", run.name),
            };
            findings(run).into_iter().map(move |f| (f.rank, named(&f.text))).collect::<Vec<_>>()
        })
        .collect();
    all.sort_by_key(|(rank, _)| *rank);
    let more = all.len().saturating_sub(MOST_FINDINGS);
    let told: Vec<String> = all.into_iter().take(MOST_FINDINGS).map(|(_, text)| text).collect();
    match (told.is_empty(), more) {
        (true, _) => {
            "Nothing stands out in reward, entropy, groups, lengths and gradient norm.".into()
        }
        (false, 0) => format!("Look at this: {}.", told.join("; ")),
        (false, more) => format!("Look at this: {}; and {more} more like it.", told.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{config, evaluation, run};
    use super::*;

    fn evaluated(name: &str, ends: [f64; 2]) -> RunRecord {
        let mut run = run(name, 200);
        run.evaluations = vec![
            evaluation(0, &[("add", false, 0.341), ("two", true, 0.26)]),
            evaluation(200, &[("add", false, ends[0]), ("two", true, ends[1])]),
        ];
        run
    }

    #[test]
    fn one_run_is_told_with_its_numbers_and_intervals() {
        let [what, came, look] = sentences(&[evaluated("a", [0.948, 0.733])]);
        assert_eq!(
            what,
            "a trained the built-in model on the built-in arithmetic task by srft, seed 0: 200 updates of \
             32 prompts with 8 rollouts each, a peak learning rate of 0.0008, on CPU (flex)."
        );
        assert_eq!(
            came,
            "In distribution, accuracy went from 34.1% to 94.8% [91.8, 97.8] (+60.7 points); out of \
             distribution, from 26.0% to 73.3% [70.3, 76.3] (+47.3 points)."
        );
        assert_eq!(
            look,
            "Nothing stands out in reward, entropy, groups, lengths and gradient norm."
        );
    }

    #[test]
    fn several_runs_share_what_is_the_same() {
        let mut grpo = evaluated("b", [0.66, 0.5]);
        grpo.config = config(&["objective.method=grpo", "run.seed=3", "train.steps=200"]);
        grpo.steps.iter_mut().for_each(|s| s.truncated_share = Some(0.25));
        let [what, came, look] = sentences(&[evaluated("a", [0.948, 0.733]), grpo]);
        assert_eq!(
            what,
            "2 runs trained the built-in model on the built-in arithmetic task, a (srft, seed 0) and b \
             (grpo, seed 3): 200 updates of 32 prompts with 8 rollouts each, a peak learning rate of 0.0008, \
             on CPU (flex)."
        );
        assert_eq!(
            came,
            "In distribution, accuracy went from 34.1% to 94.8% [91.8, 97.8] (a) and to 66.0% [63.0, 69.0] (b); out of \
             distribution, from 26.0% to 73.3% [70.3, 76.3] (a) and to 50.0% [47.0, 53.0] (b)."
        );
        assert_eq!(
            look,
            "Look at this: b: 25.0% of its rollouts were cut at 44 tokens in the last 10 steps."
        );
    }

    #[test]
    fn many_runs_are_told_as_a_range() {
        let runs: Vec<RunRecord> =
            (0..8).map(|i| evaluated(&format!("r{i}"), [0.9 - 0.05 * f64::from(i), 0.5])).collect();
        let [what, came, _] = sentences(&runs);
        assert!(what.starts_with(
            "8 runs trained the built-in model on the built-in arithmetic task, by srft: "
        ));
        assert!(
            came.contains(
                "from 34.1% to between 55.0% [52.0, 58.0] (r7) and 90.0% [87.0, 93.0] (r0);"
            ),
            "{came}"
        );
    }

    #[test]
    fn a_run_without_evaluations_tells_of_its_training() {
        let [_, came, _] = sentences(&[run("a", 20)]);
        assert_eq!(
            came,
            "There is no evaluation after training yet; in training, right rollouts went from 60.0% to \
             60.0% (a)."
        );
        let mut own = run("a", 20);
        own.config = config(&["data.train=sums.jsonl"]);
        let nothing = "Nothing is evaluated, since no suite is configured (data.eval)";
        let told = |run: &RunRecord| sentences(std::slice::from_ref(run))[1].clone();
        assert!(told(&own).starts_with(nothing), "{}", told(&own));
        own.config = config(&["data.train=sums.jsonl", "data.eval=other.jsonl"]);
        assert!(told(&own).starts_with("There is no evaluation after training yet;"));
        let [what, came, _] = sentences(&[run("a", 0)]);
        assert!(what.contains("0 updates of 32 prompts"), "{what}");
        assert_eq!(came, "There is no evaluation after training yet, and no curve is recorded.");
    }

    #[test]
    fn what_has_not_ended_says_so_and_how_to_go_on() {
        let mut stopped = run("a", 12);
        stopped.config = config(&["train.steps=20"]);
        stopped.status = Status::Stopped;
        stopped.notes = vec!["the last line of metrics.jsonl is cut short and left out".into()];
        assert!(
            sentences(std::slice::from_ref(&stopped))[0].contains("12 of 20 updates of 32 prompts")
        );
        assert_eq!(
            notices(std::slice::from_ref(&stopped)),
            [
                "a has not ended: 12 of 20 updates are on file, and nothing is training it; to \
                 continue: srft train --resume runs/a",
                "a: the last line of metrics.jsonl is cut short and left out."
            ]
        );
        stopped.status = Status::Training;
        assert!(notices(&[stopped])[0].contains("it is training now"));
        assert!(notices(&[run("b", 5)]).is_empty());
    }
}
