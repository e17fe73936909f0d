//! Workers and coordinators that are killed, stopped, cut off: the run's numbers do not change.

use crate::program::{Home, RUN, assert_same_run, stderr};
use crate::relay::Relay;
use crate::worker::{interrupt, spawn, start, start_at, with};
use srft::random::Stream;
use std::thread::sleep;
use std::time::{Duration, Instant};

const STEPS: &str = "--steps 60 --set train.shards=4 --set checkpoint.every=5 --set eval.every=20";

/// More steps than there is time for.
pub const ENDLESS: usize = 1_000_000;

/// A run of the built-in model, whose steps take a tenth of a second or so.
pub fn run(steps: usize, out: &str) -> String {
    format!(
        "train --device cpu --steps {steps} --set train.shards=4 --set rollout.prompts=16 \
         --set rollout.group=8 --set eval.examples=1 --set checkpoint.every=0 \
         --set checkpoint.samples_every=0 --set optimizer.schedule=constant --out {out}"
    )
}

/// The run in `shared`, wherever it was stopped, has the weights of one that is not shared.
pub fn assert_as_alone(home: &Home) {
    let count = home.steps("shared");
    home.succeeds(&run(count, "alone"));
    let weights =
        |run: &str| home.read(&format!("{run}/checkpoints/step-{count:06}/model.safetensors"));
    assert!(weights("alone") == weights("shared"), "after {count} steps");
}

/// Twenty workers are killed at random moments, and started again on their ports.
#[test]
fn killed_workers_change_no_number() {
    let home = Home::with_sums();
    home.succeeds(&format!("{RUN} {STEPS} --out whole"));
    let mut workers = [start(&home, "a"), start(&home, "b")];
    let mut stream = Stream::new(5, 1, 0);
    let mut kills = 0;
    for attempt in 0.. {
        let run =
            format!("{RUN} {STEPS} {} --out shared-{attempt}", with(&[&workers[0], &workers[1]]));
        let mut child = spawn(&home, &run);
        while child.try_wait().unwrap().is_none() {
            sleep(Duration::from_millis(u64::from(100 + stream.below(400))));
            if kills < 20 && child.try_wait().unwrap().is_none() {
                let which = stream.below(2) as usize;
                let port = workers[which].port;
                workers[which].kill();
                kills += 1;
                sleep(Duration::from_millis(u64::from(stream.below(300))));
                workers[which] = start_at(&home, ["a", "b"][which], port);
            }
        }
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        assert_same_run(&home, "whole", &format!("shared-{attempt}"));
        if kills >= 20 {
            break;
        }
        assert!(attempt < 40, "{kills} kills only");
    }
}

/// The coordinator is killed five times; its workers serve the resumed run.
#[test]
fn a_killed_coordinator_is_resumed_with_its_workers() {
    let home = Home::with_sums();
    home.succeeds(&format!("{RUN} {STEPS} --out whole"));
    let workers = [start(&home, "a"), start(&home, "b")];
    let shared = with(&[&workers[0], &workers[1]]);
    let mut stream = Stream::new(6, 1, 0);
    let mut kills = 0;
    for attempt in 0.. {
        let out = format!("killed-{attempt}");
        loop {
            let command = match home.path(&out).join("config.toml").exists() {
                true => format!("train --resume {out} {shared}"),
                false => format!("{RUN} {STEPS} {shared} --out {out}"),
            };
            let mut child = spawn(&home, &command);
            if kills < 5 {
                let until = home.steps(&out) + 1 + stream.below(20) as usize;
                while child.try_wait().unwrap().is_none() && home.steps(&out) < until {
                    sleep(Duration::from_millis(1));
                }
                if child.try_wait().unwrap().is_none() {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    kills += 1;
                    continue;
                }
            }
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
            break;
        }
        assert_same_run(&home, "whole", &out);
        if kills >= 5 {
            break;
        }
        assert!(attempt < 40, "{kills} kills only");
    }
}

/// A worker that answers no more, and one whose wire is cut for half a minute: the run goes on without them, and with
/// them once they are back.
#[test]
fn a_stopped_worker_and_a_cut_wire_hold_nothing_up_for_long() {
    let home = Home::new();
    let (stopped, cut) = (start(&home, "a"), start(&home, "b"));
    let relay = Relay::new(cut.port);
    let workers =
        format!("--workers {},127.0.0.1:{} --token-file token", stopped.name(), relay.port);
    let child = spawn(&home, &format!("{} {workers}", run(ENDLESS, "shared")));
    let done = || home.steps("shared");
    let wait = |steps: usize| {
        let (from, begun) = (done(), Instant::now());
        while done() < from + steps {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{} steps in a minute",
                done() - from
            );
            sleep(Duration::from_millis(20));
        }
    };
    wait(5);
    stopped.signal("-STOP");
    relay.cut(true);
    wait(5);
    sleep(Duration::from_secs(30));
    relay.cut(false);
    stopped.signal("-CONT");
    sleep(Duration::from_secs(10));
    wait(5);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    let wire = format!("127.0.0.1:{}", relay.port);
    for words in ["has failed", "works again", &wire, &stopped.name()] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    assert_as_alone(&home);
}
