//! Stopping a run at any moment, gently or not: it resumes to the same numbers and the same bytes.

use crate::program::{Home, RUN, assert_error, assert_same_run, leftovers, parse_lines, stderr};
use srft::random::Stream;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::time::Duration;

fn spawn(home: &Home, arguments: &str) -> Child {
    let mut command = home.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What a crash of the whole machine leaves besides: the last line cut, here within a character.
fn tear(home: &Home, out: &str, kills: usize) {
    let path = home.path(out).join("samples.jsonl");
    let Ok(mut samples) = std::fs::read(&path) else { return };
    // Lines of the last checkpoint are on disk for good.
    samples.extend_from_slice("{\"step\": 1, \"prompt\": \"٤".as_bytes());
    samples.truncate(samples.len() - kills % 2);
    std::fs::write(&path, samples).unwrap();
}

#[test]
fn killed_at_twenty_random_moments_it_ends_as_if_nothing_had_been() {
    ends_the_same("", 20);
}

/// Several updates a step, a ratio of sequences, a penalty in the reward, weights a token, prefixes that are drawn and
/// sought.
#[test]
fn so_it_does_by_other_methods() {
    for settings in [
        "--method gspo --set train.minibatches=2 --set train.epochs=2 --set rollout.temperature=0.8",
        "--method cispo --set train.minibatches=2 --set objective.rollout_kl=0.05 \
         --set objective.rollout_kl_in=reward --set objective.truncated=masked",
        "--method trsft --set train.epochs=2",
        "--method srft-lean --set objective.known=0.001 --set objective.imitation=0.5",
        "--method gtpo --set train.minibatches=2 --set objective.entropy_control=step",
        "--method clip-cov --set objective.clip_cov=0.1 --set objective.entropy_control=gradient \
         --set objective.entropy_coeff=0.01",
        "--method prefix-rft --set objective.prefix_steps=30 --set train.minibatches=2",
        "--method bread --set objective.prefix_rounds=3",
    ] {
        ends_the_same(settings, 5);
    }
}

/// Kills a run with `settings` so often, at random moments, and compares its end with that of a whole one.
fn ends_the_same(settings: &str, most: usize) {
    let home = Home::with_sums();
    let run =
        |out: &str| format!("{RUN} {settings} --steps 40 --set checkpoint.every=1 --out {out}");
    home.succeeds(&run("whole"));
    if settings.is_empty() {
        let accuracies: Vec<_> =
            home.lines("whole/metrics.jsonl").iter().map(|m| m["accuracy"].to_string()).collect();
        assert!(accuracies.iter().any(|a| a != "0.0"), "rewards vary: {accuracies:?}");
    }

    let mut stream = Stream::new(2, 1, 0);
    let (mut kills, mut underway) = (0, 0);
    for attempt in 0.. {
        let out = format!("killed-{attempt}");
        let steps = || home.steps(&out);
        loop {
            let begun = home.path(&out).join("config.toml").exists();
            let command = if begun { format!("train --resume {out}") } else { run(&out) };
            let mut child = spawn(&home, &command);
            if kills < most {
                // Some steps on, so that most kills hit a run that is underway, and at any moment of a step.
                let until = steps() + stream.below(4) as usize;
                while child.try_wait().unwrap().is_none() && steps() < until {
                    std::thread::sleep(Duration::from_millis(1));
                }
                std::thread::sleep(Duration::from_millis(u64::from(stream.below(20))));
                if child.try_wait().unwrap().is_none() {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    kills += 1;
                    underway += usize::from(steps() > 0);
                    tear(&home, &out, kills);
                    continue;
                }
            }
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
            break;
        }
        assert_same_run(&home, "whole", &out);
        assert_eq!(leftovers(&home.path(&out)), Vec::<std::path::PathBuf>::new());
        if kills == most {
            break;
        }
    }
    assert!(4 * underway >= most, "only {underway} of {most} kills hit a run that had made a step");
}

#[cfg(unix)]
#[test]
fn interrupted_it_saves_says_how_to_go_on_and_ends_the_same() {
    let home = Home::with_sums();
    let run = |out: &str| {
        format!(
            "{RUN} --steps 400 --set checkpoint.every=0 --json \
         --set checkpoint.keep=1 --out {out}"
        )
    };
    home.succeeds(&run("whole"));

    // The pipe holds some hundred lines: unread, the run cannot end before the signal comes.
    let mut child = spawn(&home, &run("stopped"));
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains(r#""step":3,"#) {
        line.clear();
        assert!(stdout.read_line(&mut line).unwrap() > 0, "the run ended before step 3");
    }
    let signal = format!("kill -INT {}", child.id());
    assert!(std::process::Command::new("sh").args(["-c", &signal]).status().unwrap().success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    let next = "srft train --resume stopped";
    assert_error(&output, "train, interrupted", 130, &["stopped after step", next]);

    let steps = home.lines("stopped/metrics.jsonl").len();
    assert!((3..400).contains(&steps), "stopped after {steps}");
    assert_eq!(home.names("stopped/checkpoints"), [format!("step-{steps:06}")]);
    let last = parse_lines(&rest).pop().unwrap();
    assert_eq!(last["event"], "checkpoint");

    home.succeeds("train --resume stopped");
    assert_same_run(&home, "whole", "stopped");
}

/// A reward command that does not answer while `hang` is there keeps a step from being finished: the first
/// signal waits for it, the second does not.
#[cfg(unix)]
#[test]
fn a_second_interrupt_stops_at_once_and_loses_nothing_saved() {
    let home = Home::with_sums();
    let script = "while read line; do \
        if [ $(cat run/metrics.jsonl 2>/dev/null | wc -l) -eq 5 ]; then touch asked; fi; \
        while [ -e asked ] && [ ! -e mended ]; do sleep 0.05; done; echo '{\"score\": 0.5}'; done";
    home.write("judge.sh", script);
    let run = format!("{RUN} --verifier command --steps 8 --set checkpoint.every=2 --out run");
    let mut command = home.command(&run);
    command.args(["--set", "reward.command=sh judge.sh", "--set", "eval.every=0"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while !home.path("asked").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before the judge was asked");
        std::thread::sleep(Duration::from_millis(5));
    }
    let signal = format!("kill -INT {}", child.id());
    let interrupt = || {
        assert!(std::process::Command::new("sh").args(["-c", &signal]).status().unwrap().success());
    };
    interrupt();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("press Ctrl-C again")), "the first is heard");
    interrupt();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(home.names("run/checkpoints"), ["step-000002", "step-000004"]);
    home.write("mended", "");
    home.succeeds("train --resume run");
    assert_eq!(home.lines("run/metrics.jsonl").len(), 8);
}

/// What a step needs besides weights, moments and its number: held demonstrations, the present μ, the
/// base.
#[test]
fn methods_with_a_state_of_their_own_resume_to_the_same_bytes() {
    let home = Home::with_sums();
    for (name, method) in [
        ("relift", "--method relift --set objective.buffer=3"),
        ("chord", "--method chord --set objective.mu_decay_steps=9"),
        ("sft-kl", "--method sft-kl"),
        ("uft", "--method uft --set objective.prefix_steps=6"),
    ] {
        let run = |out: &str| {
            format!(
                "{RUN} {method} --steps 8 --set checkpoint.every=1 --set checkpoint.keep=9 --out {out}"
            )
        };
        let (whole, cut) = (format!("{name}-whole"), format!("{name}-cut"));
        home.succeeds(&run(&whole));
        let checkpoint =
            |run: &str, step: u32| home.path(run).join(format!("checkpoints/step-{step:06}"));
        for back_to in [6, 3, 1] {
            if !home.path(&cut).exists() {
                home.succeeds(&run(&cut));
            }
            for step in back_to + 1..=8 {
                std::fs::remove_dir_all(checkpoint(&cut, step)).unwrap();
            }
            home.succeeds(&format!("train --resume {cut}"));
            assert_same_run(&home, &whole, &cut);
            for step in
                (1..=8).filter(|&step| checkpoint(&whole, step).join("buffer.jsonl").exists())
            {
                let [a, b] = [&whole, &cut]
                    .map(|run| std::fs::read(checkpoint(run, step).join("buffer.jsonl")));
                assert!(a.unwrap() == b.unwrap(), "{name}: what is held at step {step}");
            }
        }
        let held: Vec<bool> =
            (1..=8).map(|step| checkpoint(&whole, step).join("buffer.jsonl").exists()).collect();
        assert_eq!(held.iter().any(|&h| h), name == "relift", "{name}: {held:?}");
    }
    let metrics = home.lines("relift-whole/metrics.jsonl");
    assert!(metrics.iter().any(|m| m["loss_sft"].as_f64() > Some(0.0)), "it imitates");
    assert!(metrics.iter().any(|m| m["rollout_tokens"].as_u64() > Some(0)), "it samples");
    let penalty = |m: &serde_json::Value| m["loss_kl"].as_f64().unwrap();
    let held = home.lines("sft-kl-whole/metrics.jsonl");
    assert!(
        penalty(&held[0]).abs() < 1e-7 && penalty(&held[7]) > 1e-7,
        "the policy leaves the base"
    );
}

/// Under adapters the base is what they lie over, resumed or not.
#[test]
fn under_adapters_a_kl_penalty_resumes_to_the_same_bytes() {
    let home = Home::with_sums();
    let run = |out: &str| {
        format!(
            "{RUN} --method sft-kl --lora-rank 2 --steps 6 --set checkpoint.every=2 --out {out}"
        )
    };
    home.succeeds(&run("whole"));
    home.succeeds(&run("cut"));
    for step in [4, 6] {
        std::fs::remove_dir_all(home.path(&format!("cut/checkpoints/step-{step:06}"))).unwrap();
    }
    home.succeeds("train --resume cut");
    let numbers = |run: &str| {
        let file = |name: &str| home.read(&format!("{run}/checkpoints/step-000006/{name}"));
        let metrics = crate::program::without_secs(home.lines(&format!("{run}/metrics.jsonl")));
        (metrics, file("adapter_model.safetensors"), file("optimizer.safetensors"))
    };
    assert!(numbers("whole") == numbers("cut"));
    assert!(home.lines("whole/metrics.jsonl")[5]["loss_kl"].as_f64() > Some(1e-9));
}

#[test]
fn without_its_base_a_kl_penalty_does_not_resume() {
    let home = Home::with_sums();
    home.succeeds(&format!("{RUN} --method sft-kl --steps 4 --set checkpoint.every=2 --out run"));
    std::fs::remove_dir_all(home.path("run/checkpoints/step-000004")).unwrap();
    std::fs::remove_dir_all(home.path("model")).unwrap();
    home.fails("train --resume run", 2, &["KL penalty", "put its folder back"]);
}

#[test]
fn a_finished_run_resumes_to_what_it_is() {
    let home = Home::with_sums();
    home.succeeds(&format!("{RUN} --steps 6 --out run"));
    let files = ["metrics.jsonl", "evaluations.jsonl", "samples.jsonl", "config.toml"];
    let before = files.map(|f| home.read(&format!("run/{f}")));
    let summary = || serde_json::from_slice::<serde_json::Value>(&home.read("run/summary.json"));
    let first = summary().unwrap();
    home.succeeds("train --resume run");
    assert!(before == files.map(|f| home.read(&format!("run/{f}"))));
    let second = summary().unwrap();
    for key in ["steps", "rollout_secs", "train_secs", "eval_secs", "rollout_tokens", "suites"] {
        assert_eq!(first[key], second[key], "{key}");
    }
}

#[test]
fn an_early_stop_stays_stopped() {
    let home = Home::with_sums();
    // A learning rate that changes no answer: the second evaluation cannot be better.
    let stale = "--set optimizer.lr=1e-12 --set train.patience=1";
    home.succeeds(&format!("{RUN} {stale} --steps 30 --out run"));
    assert_eq!(home.lines("run/metrics.jsonl").len(), 6);
    home.succeeds("train --resume run");
    assert_eq!(home.lines("run/metrics.jsonl").len(), 6);
}

#[test]
fn with_a_constant_rate_a_run_can_be_extended() {
    let home = Home::with_sums();
    let run = format!("{RUN} --set optimizer.schedule=constant --set checkpoint.samples_every=1");
    home.succeeds(&format!("{run} --steps 9 --out whole"));
    home.succeeds(&format!("{run} --steps 3 --out longer"));
    home.succeeds("train --resume longer --steps 6");
    // The new length is kept: this resume has nothing left to do.
    home.succeeds("train --resume longer");
    assert_eq!(home.lines("longer/metrics.jsonl").len(), 6);
    home.succeeds("train --resume longer --steps 9 --set checkpoint.keep=1");
    home.succeeds("train --resume whole --set checkpoint.keep=1");
    assert_eq!(home.names("longer/checkpoints"), ["step-000009"]);
    let numbers = |run: &str| {
        (
            crate::program::without_secs(home.lines(&format!("{run}/metrics.jsonl"))),
            home.read(&format!("{run}/samples.jsonl")),
            home.read(&format!("{run}/checkpoints/step-000009/model.safetensors")),
        )
    };
    assert!(numbers("whole") == numbers("longer"));
}

#[test]
fn resuming_needs_neither_the_base_nor_its_folder_name() {
    let home = Home::with_sums();
    home.succeeds(&format!("{RUN} --steps 4 --set checkpoint.every=2 --out run"));
    std::fs::remove_dir_all(home.path("run/checkpoints/step-000004")).unwrap();
    std::fs::remove_dir_all(home.path("model")).unwrap();
    std::fs::rename(home.path("run"), home.path("elsewhere")).unwrap();
    home.succeeds("train --resume elsewhere");
    assert_eq!(home.lines("elsewhere/metrics.jsonl").len(), 4);
}
