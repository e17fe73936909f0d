//! However many processes share a run, its bits are those of one.

use crate::program::{Home, RUN, assert_same_run, stderr};
use crate::relay::Relay;
use crate::worker::{spawn, start, with};

const METHODS: [&str; 7] = [
    "",
    "--method grpo --set train.minibatches=2 --set train.epochs=2 --set rollout.temperature=0.8",
    "--lora-rank 2 --set lora.dropout=0.2",
    "--method sft-kl",
    "--set objective.entropy_over=batch",
    "--method grpo --lora-rank 2 --set objective.rollout_kl=0.05 --set objective.rollout_kl_in=reward",
    "--method relift",
];

#[test]
fn two_and_three_processes_give_the_bits_of_one() {
    let home = Home::with_sums();
    let one = start(&home, "one-w");
    let other = start(&home, "other-w");
    for (i, method) in METHODS.iter().enumerate() {
        let run = format!("{RUN} {method} --steps 6 --set train.shards=3");
        home.succeeds(&format!("{run} --out alone-{i}"));
        home.succeeds(&format!("{run} {} --out two-{i}", with(&[&one])));
        assert_same_run(&home, &format!("alone-{i}"), &format!("two-{i}"));
        home.succeeds(&format!("{run} {} --out three-{i}", with(&[&one, &other])));
        assert_same_run(&home, &format!("alone-{i}"), &format!("three-{i}"));
    }
    let worked = |said: &[String]| said.iter().filter(|l| l.contains("works for a run of")).count();
    for worker in [&one, &other] {
        let said = worker.said.lock().unwrap();
        assert!(worked(&said) >= METHODS.len(), "{said:?}");
    }
}

/// Gradients go from worker to worker if these reach each other, and by way of the coordinator if they don't.
#[test]
fn workers_add_up_gradients_among_themselves_where_they_can() {
    let home = Home::with_sums();
    let (one, other) = (start(&home, "one-w"), start(&home, "other-w"));
    let walled = Relay::of_senders(other.port, 1);
    let run = format!("{RUN} --steps 3 --set train.shards=5");
    home.succeeds(&format!("{run} --out alone"));
    let told = |out: &str, port: u16| {
        let workers = format!("--workers {},127.0.0.1:{port} --token-file token", one.name());
        let output = spawn(&home, &format!("{run} {workers} --out {out}")).wait_with_output();
        assert_same_run(&home, "alone", out);
        stderr(&output.unwrap())
    };
    let said = told("shared", other.port);
    assert!(said.contains("gradients are added up from worker to worker"), "{said}");
    assert!(!said.contains("could not"), "{said}");
    let said = told("walled", walled.port);
    let words = format!("does not reach the worker at 127.0.0.1:{}", walled.port);
    assert!(said.contains(&words) && said.contains("UDP port"), "{said}");
}

/// A checkpoint, adapters over a base, and the base that a penalty needs go over the line.
#[test]
fn a_run_is_resumed_with_any_number_of_workers() {
    let home = Home::with_sums();
    let worker = start(&home, "w");
    for (i, method) in ["--method sft-kl", "--method sft-kl --lora-rank 2"].iter().enumerate() {
        let run = format!(
            "{RUN} {method} --set train.shards=2 --set optimizer.schedule=constant \
             --set checkpoint.every=3"
        );
        home.succeeds(&format!("{run} --steps 6 --out whole-{i}"));
        home.succeeds(&format!("{run} --steps 3 {} --out moved-{i}", with(&[&worker])));
        home.succeeds(&format!("train --resume moved-{i} --steps 6 {}", with(&[&worker])));
        assert_same_run(&home, &format!("whole-{i}"), &format!("moved-{i}"));
        home.succeeds(&format!("{run} --steps 3 --out back-{i}"));
        home.succeeds(&format!("train --resume back-{i} --steps 6 {}", with(&[&worker])));
        assert_same_run(&home, &format!("whole-{i}"), &format!("back-{i}"));
    }
}

/// The built-in model, which a worker has; a device of this machine and a worker together; a list in a file.
#[test]
fn the_built_in_model_is_not_sent() {
    let home = Home::new();
    let worker = start(&home, "w");
    let run = "train --device cpu --steps 2 --set rollout.prompts=4 --set rollout.group=2 \
               --set eval.examples=2 --set train.shards=3";
    home.succeeds(&format!("{run} --out alone"));
    home.write("workers.txt", format!("# the lab\n{} # by the window\n", worker.name()));
    let run = run.replace("--device cpu", "--devices cpu,cpu");
    home.succeeds(&format!("{run} --workers workers.txt --token-file token --out shared"));
    assert_same_run(&home, "alone", "shared");
    assert_eq!(home.names("w/files"), Vec::<String>::new());
}
