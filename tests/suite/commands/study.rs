//! `srft study`: what it makes, that it goes on where it was stopped, and that it says what is wrong.

use crate::program::{Home, assert_error, leftovers, stderr};
use serde_json::Value;
use srft::random::Stream;
use srft::study::results::Results;
use srft::study::{PRESETS, Spec, Study, Task};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

/// Two rows, one of them tuned, in two regimes, one of them on a base of the study's own.
const SPEC: &str = r#"
name = "small"
seeds = 2
jobs = 2
control = "srft"

[settings]
model.path = "model"
rollout = { prompts = 2, group = 3, max_new_tokens = 12, slots = 0 }
optimizer.lr = 1e-2
train = { steps = 12, checkpointing = false }
eval = { examples = 4, samples = 2 }
checkpoint = { every = 2, samples_every = 0 }

[tuning]
seeds = [1000]
settings.eval = { skip = 4, examples = 3 }

[bases.weak.settings]
model.path = "model"
rollout = { prompts = 4, max_new_tokens = 12 }
train.steps = 3
eval.examples = 2

[bases.tried]
pretrain = false
settings.objective.method = "sft"

[[row]]
name = "srft"
about = "As printed."

[[row]]
name = "sft"
settings.objective.method = "sft"
grid.optimizer.lr = [1e-3, 1e-2]

[[regime]]
name = "main"
about = "Right demonstrations."

[[regime]]
name = "weak"
base = "weak"
settings.train.steps = 6
seeds = 1

[[regime]]
name = "tried"
base = "tried"
rows = ["srft"]
seeds = 1

[[table]]
title = "Both"
regime = "main"
rows = ["sft", "srft"]
"#;

/// Two bases, 2 × 2 trials, 2 × 2 runs, 2 and 1.
const TASKS: usize = 2 + 4 + 4 + 2 + 1;

fn home() -> Home {
    let home = Home::new();
    home.write("small.toml", SPEC);
    home
}

fn study(out: &str) -> String {
    format!("study --spec small.toml --device cpu --out {out}")
}

/// The records without their wall times.
fn records(home: &Home, out: &str) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|key, _| !key.ends_with("_secs"));
                map.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = serde_json::from_slice(&home.read(&format!("{out}/results.json"))).unwrap();
    strip(&mut value);
    value
}

/// The summaries below a folder, which finished runs have, and when each was written.
fn finished(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(finished(&path));
        } else if path.file_name().is_some_and(|name| name == "summary.json") {
            let written = path.metadata().unwrap().modified().unwrap();
            found.insert(path, written);
        }
    }
    found
}

fn tables(home: &Home, out: &str) -> String {
    String::from_utf8(home.read(&format!("{out}/tables.md"))).unwrap()
}

#[test]
fn killed_at_random_moments_it_repeats_no_run_and_gives_the_same_tables() {
    let home = home();
    home.succeeds(&study("whole"));
    assert_eq!(finished(&home.path("whole")).len(), TASKS);

    let mut stream = Stream::new(3, 1, 0);
    let (mut kills, mut underway) = (0, 0);
    let mut before: BTreeMap<PathBuf, SystemTime> = BTreeMap::new();
    loop {
        let mut command = home.command(&study("killed"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // Every other time at any moment, else some moments after a run has ended.
        let goes_on = |now: usize| kills % 2 == 0 || now == before.len();
        while child.try_wait().unwrap().is_none() && goes_on(finished(&home.path("killed")).len()) {
            if kills % 2 == 0 {
                std::thread::sleep(Duration::from_millis(u64::from(stream.below(300))));
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(u64::from(stream.below(20))));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        let now = finished(&home.path("killed"));
        for (path, written) in &before {
            assert_eq!(now.get(path), Some(written), "{} was made again", path.display());
        }
        kills += 1;
        underway += usize::from(!now.is_empty() && now.len() < TASKS);
        before = now;
        if output.status.success() {
            break;
        }
        assert_eq!(output.status.code(), None, "{}", stderr(&output));
    }
    assert!(underway >= 2, "only {underway} of {kills} kills left a study underway");
    assert_eq!(before.len(), TASKS);
    assert_eq!(tables(&home, "whole"), tables(&home, "killed"));
    assert_eq!(records(&home, "whole"), records(&home, "killed"));
    assert_eq!(leftovers(&home.path("killed")), Vec::<PathBuf>::new());

    // Nothing is left to do, one run at a time gives the same, and so does looking only.
    let printed = home.succeeds(&study("killed"));
    assert_eq!(finished(&home.path("killed")), before);
    assert!(printed.contains(tables(&home, "whole").trim_end()), "{printed}");
    home.succeeds(&format!("{} --jobs 1", study("single")));
    assert_eq!(tables(&home, "whole"), tables(&home, "single"));
    std::fs::remove_file(home.path("killed/tables.md")).unwrap();
    home.succeeds("study --out killed --tables");
    assert_eq!(tables(&home, "whole"), tables(&home, "killed"));
}

#[test]
fn its_folders_are_ordinary_runs_without_what_only_resuming_needs() {
    let home = home();
    home.succeeds(&study("out"));
    assert_eq!(
        home.names("out"),
        [
            "bases",
            "inputs.json",
            "results.json",
            "runs",
            "study.toml",
            "tables.md",
            "times.md",
            "tuning"
        ]
    );
    assert_eq!(home.names("out/runs"), ["main", "tried", "weak"]);
    assert_eq!(home.names("out/runs/main/sft"), ["seed-0", "seed-1"]);
    let files = [
        "config.toml",
        "evaluations",
        "evaluations.jsonl",
        "inputs.json",
        "metrics.jsonl",
        "summary.json",
    ];
    assert_eq!(home.names("out/runs/main/srft/seed-1"), files);
    assert_eq!(home.names("out/bases/weak"), ["model", "run"]);
    assert_eq!(home.names("out/tuning/main/sft"), ["optimizer.lr=0.001", "optimizer.lr=0.01"]);
    let base = home.read("out/bases/tried/model/model.safetensors");
    assert!(base != home.read("model/model.safetensors"), "it was trained");
    // The same problems for both rows, others for tuning; the base's own weights.
    let prompts = |run: &str| -> Vec<String> {
        let lines = home.lines(&format!("out/{run}/evaluations/step-000012/add.jsonl"));
        lines.iter().map(|l| l["prompt"].to_string()).collect()
    };
    let (tested, tried) =
        (prompts("runs/main/srft/seed-0"), prompts("tuning/main/sft/optimizer.lr=0.01/seed-1000"));
    assert_eq!((tested.len(), tried.len()), (8, 6));
    assert_eq!(tested, prompts("runs/main/sft/seed-1"));
    assert!(tried.iter().all(|p| !tested.contains(p)));
    let text = |path: &str| String::from_utf8(home.read(path)).unwrap();
    assert!(
        text("out/runs/weak/sft/seed-0/config.toml").contains("path = \"out/bases/weak/model\"")
    );
    assert!(text("out/runs/weak/sft/seed-0/config.toml").contains("slots = 0"));

    let results: Results = serde_json::from_slice(&home.read("out/results.json")).unwrap();
    assert_eq!((results.runs, results.missing.len()), (TASKS, 0));
    let [main, weak, tried] = &results.regimes[..] else { panic!("{results:?}") };
    assert_eq!((main.rows.len(), main.rows[0].runs.len(), weak.rows[1].runs.len()), (2, 2, 1));
    assert_eq!(tried.rows.len(), 1);
    assert_eq!((main.suites["add"].problems, main.suites["add"].samples), (4, 2));
    let [srft, sft] = &main.rows[..] else { panic!("{main:?}") };
    assert_eq!((srft.difference.is_none(), srft.compute.relative), (true, Some(1.0)));
    assert!(sft.chosen.starts_with("optimizer.lr=") && sft.points == 2);
    assert_eq!((srft.compute.updates, sft.compute.rollout_tokens, sft.entropy), (12.0, 0.0, None));
    // The records agree with what the runs say of themselves.
    let summary: Value =
        serde_json::from_str(&text("out/runs/main/sft/seed-1/summary.json")).unwrap();
    let inside = summary["suites"].as_object().unwrap().values().filter(|s| s["ood"] == false);
    let accuracies: Vec<f64> = inside.map(|s| s["final"].as_f64().unwrap()).collect();
    let mean = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
    assert!((sft.runs[1].inside.unwrap() - mean).abs() < 1e-12);
    let difference = sft.difference.as_ref().unwrap().inside.as_ref().unwrap().difference;
    let by_mean = sft.accuracy.inside.unwrap().mean - srft.accuracy.inside.unwrap().mean;
    assert!((difference.mean - by_mean).abs() < 1e-12, "{difference:?} {by_mean}");
}

#[test]
fn a_part_of_it_gives_tables_that_say_what_is_missing() {
    let home = home();
    let printed = home.succeeds(&format!("{} --only main/srft", study("out")));
    let notice = printed.lines().find(|line| line.starts_with("**")).expect("a notice");
    assert!(notice.starts_with("**Not done: 11 of 13 runs ("), "{notice}");
    assert!(notice.ends_with("; ...).**"), "{notice}");
    assert_eq!(finished(&home.path("out")).len(), 2);
    home.succeeds(&format!("{} --only weak/sft", study("out")));
    assert_eq!(
        finished(&home.path("out")).len(),
        2 + 1 + 2 + 1,
        "its base, trials and run besides"
    );
    let listed = home.succeeds(&format!("{} --dry-run", study("out")));
    assert_eq!(listed.lines().count(), TASKS + 1);
    assert_eq!(listed.matches("done ").count(), 6, "{listed}");
    assert!(listed.contains("7 of 13 runs are left"), "{listed}");
    assert_eq!(finished(&home.path("out")).len(), 6);
    // The folder knows what it is of.
    home.succeeds("study --out out --device cpu");
    assert!(!tables(&home, "out").contains("Not done"));
    home.succeeds(&format!("{} --seeds 1", study("one")));
    assert_eq!(finished(&home.path("one")).len(), TASKS - 2);
    home.succeeds("study --out one --device cpu");
    assert_eq!(finished(&home.path("one")).len(), TASKS - 2, "with the seeds asked for");
}

#[test]
fn a_study_has_a_report() {
    let home = home();
    home.fails("report out", 2, &["no such folder"]);
    home.succeeds(&format!("{} --only main/srft", study("out")));
    home.succeeds("report out");
    let html = String::from_utf8(home.read("out/report.html")).unwrap();
    assert!(
        html.contains("11 of 13 runs are not done") && html.contains("Nothing can be compared")
    );
    home.succeeds("study --out out --device cpu");
    home.succeeds("report out --out all.html");
    let html = String::from_utf8(home.read("all.html")).unwrap();
    assert!(html.contains("id=\"forest-main\"") && !html.contains("not done"));
    let printed = home.succeeds("report out --text");
    assert!(printed.contains("13 of 13") && printed.contains("out/tables.md"), "{printed}");
    home.fails("report out out/runs/main/srft/seed-0", 2, &["include other folders"]);
    std::fs::remove_file(home.path("out/results.json")).unwrap();
    home.fails("report out", 2, &["srft study --out out --tables"]);
}

#[test]
fn a_run_with_other_settings_is_an_error_that_names_the_key() {
    let home = home();
    home.succeeds(&format!("{} --only main/srft", study("out")));
    home.write("small.toml", SPEC.replace("group = 3", "group = 4"));
    let words = ["out/runs/main/srft/seed-0: rollout.group", "the study has 4, the run on disk 3"];
    home.fails(&study("out"), 2, &words);
    home.fails(&format!("{} --tables", study("out")), 2, &words);
    // What decides no number may change.
    home.write("small.toml", SPEC.replace("every = 2", "every = 3"));
    home.succeeds(&format!("{} --only main/srft", study("out")));
}

#[cfg(unix)]
#[test]
fn interrupted_it_says_that_the_same_command_goes_on() {
    let home = home();
    home.write("small.toml", SPEC.replace("steps = 12", "steps = 4000"));
    let mut command = home.command(&format!("{} --only main/srft", study("out")));
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = || std::fs::read_to_string(home.path("out/runs/main/srft/seed-0/metrics.jsonl"));
    let clock = Instant::now();
    while lines().map_or(0, |text| text.lines().count()) < 3 {
        assert!(clock.elapsed() < Duration::from_secs(300), "the run does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    let signal = format!("kill -INT {}", child.id());
    assert!(std::process::Command::new("sh").args(["-c", &signal]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_error(
        &output,
        "study, interrupted",
        130,
        &["all saved", "run the same command again to continue"],
    );
    assert!(home.path("out/tables.md").exists());
    assert_eq!(home.names("out/runs/main/srft/seed-0/checkpoints").len(), 1 + 1);
}

#[test]
fn what_is_wrong_with_a_study_is_said_before_it_begins() {
    let home = home();
    for (from, to, words) in [
        (
            "control = \"srft\"",
            "control = \"srtf\"",
            &["unknown row `srtf`", "did you mean `srft`?"][..],
        ),
        ("[[row]]\nname = \"sft\"", "[[row]]\nname = \"srft\"", &["two rows are named srft"]),
        ("name = \"main\"", "name = \"../main\"", &["cannot be the name of a regime"]),
        ("base = \"weak\"", "base = \"week\"", &["unknown base `week`", "did you mean `weak`?"]),
        (
            "base = \"weak\"",
            "rows = [\"sft\"]",
            &["regime weak", "the control row srft is not in it"],
        ),
        ("optimizer.lr = 1e-2", "optimizer.lr = -1.0", &["optimizer.lr must be positive"]),
        ("optimizer.lr = 1e-2", "optimiser.lr = 1.0", &["did you mean `optimizer`?"]),
        (
            "grid.optimizer.lr = [1e-3, 1e-2]",
            "grid.optimizer.lr = 1e-3",
            &["grid.optimizer.lr", "a list of values"],
        ),
        ("seeds = [1000]", "seeds = [1]", &["tuning.seeds", "seed 1 is one of the study's own"]),
        (
            "skip = 4, examples = 3",
            "skip = 3, examples = 3",
            &["problems that the tables report", "eval.skip = 4"],
        ),
        ("seeds = 1\n", "sedes = 1\n", &["small.toml:", "unknown field `sedes`"]),
        (
            "rows = [\"sft\", \"srft\"]",
            "rows = [\"grpo\"]",
            &["table \"Both\"", "unknown row `grpo`"],
        ),
        ("seeds = 2", "seeds = 0", &["seeds must be at least 1"]),
    ] {
        assert!(SPEC.contains(from), "{from}");
        home.write("small.toml", SPEC.replacen(from, to, 1));
        home.fails(&study("out"), 2, words);
        assert!(!home.path("out").exists(), "{to}");
    }
    home.write("small.toml", SPEC);
    home.fails("study --preset papersmall", 2, &["unknown preset `papersmall`", "paper-small"]);
    home.fails("study --out nowhere", 2, &["no study is named"]);
    home.fails(&format!("{} --only mian", study("out")), 2, &["--only", "did you mean `main`?"]);
}

/// Every run of the presets has a valid config, and a row's cost is a number.
#[test]
fn presets_are_whole() {
    for (name, text) in PRESETS {
        let spec = Spec::read(text, name, None).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(spec.name, name);
        let study = Study::new(spec, Path::new("nowhere"), "cpu");
        let tasks = study.tasks().unwrap();
        assert!(tasks.iter().all(|task| study.cost(task).unwrap() > 0.0));
        assert!(tasks.iter().any(|task| matches!(task, Task::Trial { .. })));
    }
}

/// Every row of the study of recent methods runs: one step of it, on little.
#[test]
fn each_row_of_the_methods_runs() {
    let home = Home::new();
    let (_, text) = PRESETS.into_iter().find(|(name, _)| *name == "methods").unwrap();
    let mut spec: toml::Table = text.parse().unwrap();
    let rows = spec["row"].as_array_mut().unwrap();
    let names: Vec<String> = rows.iter().map(|r| r["name"].as_str().unwrap().into()).collect();
    rows.iter_mut().for_each(|row| {
        row.as_table_mut().unwrap().remove("grid");
        row.as_table_mut().unwrap().remove("tune_in");
    });
    let small = "rollout = { prompts = 4, group = 3, max_new_tokens = 12 }\ntrain.steps = 1\n\
                 eval.examples = 2\ncheckpoint = { every = 0, samples_every = 0 }";
    spec.insert("settings".into(), toml::Value::Table(small.parse().unwrap()));
    spec.insert("seeds".into(), 1.into());
    spec.remove("tuning");
    home.write("methods.toml", spec.to_string());
    home.succeeds("study --spec methods.toml --out out --only main");
    let tables = String::from_utf8(home.read("out/tables.md")).unwrap();
    for name in names {
        assert!(tables.contains(&format!("| {name} |")), "{name}: {tables}");
    }
}
