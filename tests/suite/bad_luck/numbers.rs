//! Numbers that are not finite, and rewards that tell nothing.

use super::NUMBERS;
use crate::program::{Home, TRAIN};

/// With no loss at all (GRPO, all rewards equal) the policy's entropy alone shows that it broke.
#[test]
fn a_broken_policy_without_any_loss_is_noticed_too() {
    let home = Home::new();
    // Right is whatever starts the very first response: rewards differ once, and the step is wild.
    let wild = "--set optimizer.lr=1e38 --set optimizer.warmup_steps=0 --set optimizer.clip_norm=0";
    let line = |a: u32| format!(r#"{{"prompt": "{a}+1=", "response": "1", "answer": "1"}}"#) + "\n";
    home.write("ones.jsonl", (0..9).map(line).collect::<String>());
    let data = "--data ones.jsonl --eval-data ones.jsonl --set rollout.max_new_tokens=2";
    let run = format!("{TRAIN} {data} {wild} --method grpo --set rollout.group=200 --steps 9");
    home.fails(&format!("{run} --out run"), NUMBERS, &["step 2: ", "not applied"]);
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_keeps_the_weights() {
    let home = Home::new();
    let run = "--steps 9 --set optimizer.lr=1e30 --set optimizer.warmup_steps=0 --out run";
    let message = home.fails(&format!("{TRAIN} {run}"), NUMBERS, &["step 2: ", "not applied"]);
    let next = "srft train --config run/config.toml --model run/checkpoints/step-000001 --set optimizer.lr=";
    assert!(message.contains(next), "{message}");
    assert_eq!(home.lines("run/metrics.jsonl").len(), 1);
    home.succeeds("generate --device cpu --model run/checkpoints/step-000001 1+1=");
}

/// Every rollout gets the same reward: advantages are 0, and nothing is divided by it.
#[test]
fn equal_rewards_everywhere_are_no_reason_to_stop() {
    let home = Home::new();
    for method in ["srft", "grpo", "luffy"] {
        home.succeeds(&format!("{TRAIN} --method {method} --steps 2 --out {method}"));
        for line in home.lines(&format!("{method}/metrics.jsonl")) {
            assert_eq!(line["groups_all_wrong"], 1.0);
            assert!(line["loss"].as_f64().unwrap().is_finite(), "{line}");
        }
    }
    let last = home.lines("grpo/metrics.jsonl").pop().unwrap();
    assert_eq!(last["grad_norm"], 0.0, "GRPO has nothing to learn from it");
}
