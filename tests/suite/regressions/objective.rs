//! What is rewarded is what is trained, and what has no value is no 0.

use crate::program::{Home, TRAIN, stderr};
use serde_json::{Value, json};
use srft::config::{Config, Method};

const INPUT: i32 = 2;

/// Sums of one digit with demonstrations of one digit.
fn sums(home: &Home) {
    let row = |i: u32| json!({"prompt": format!("{}+{}=", i % 4, i % 5), "response": format!("{}", i % 4 + i % 5), "answer": format!("{}", i % 4 + i % 5)});
    let rows: Vec<String> = (0..12).map(|i| row(i).to_string()).collect();
    home.write("sums.jsonl", rows.join("\n"));
}

fn train(home: &Home, arguments: &str) -> Vec<Value> {
    let command = format!(
        "{TRAIN} --steps 2 --data sums.jsonl --eval-data sums.jsonl --set eval.examples=1 \
         --set checkpoint.samples_every=1 {arguments}"
    );
    let run = arguments.split_whitespace().last().unwrap();
    home.succeeds(&command);
    home.lines(&format!("{run}/metrics.jsonl"))
}

/// TRL #5352, open-r1 PR #213: the format's reward was reported, and reached no rollout's loss.
#[test]
fn trl_5352_the_format_reward_reaches_the_default_methods_rollouts() {
    let home = Home::new();
    sums(&home);
    let plain = train(&home, "--verifier exact --out plain");
    let formed = train(
        &home,
        "--verifier exact --set reward.format=.* --set reward.format_weight=5 --out formed",
    );
    // The same rollouts, other rewards.
    assert_eq!(plain[0]["entropy"], formed[0]["entropy"]);
    assert_ne!(plain[0]["loss_self"], formed[0]["loss_self"]);
    // −1 for a rollout that is wrong and unformed is −1 as before: the printed form's bits.
    let none = train(
        &home,
        "--verifier exact --set reward.format=none --set reward.format_weight=0 --out none",
    );
    assert_eq!(plain[0]["loss_self"], none[0]["loss_self"]);
}

/// TRL PR #3199, ms-swift #3980: groups of one train to the end without a gradient.
#[test]
fn trl_3199_a_group_of_one_is_refused_where_its_gradient_is_0() {
    let resolve = |method: &str, further: &str| {
        let text = format!("[objective]\nmethod = \"{method}\"\n[rollout]\ngroup = 1\n{further}");
        Config::resolve(&[Config::layer(&text, "test").unwrap()])
    };
    for method in Method::ALL {
        let taken = ["srft", "srft-official", "sft", "sft-kl", "dft", "eaft", "trsft", "opsd"]
            .contains(&method.name());
        match resolve(method.name(), "") {
            Ok(_) => assert!(taken, "{}", method.name()),
            Err(e) => {
                assert!(!taken, "{}: {e}", method.name());
                let next = e.next.unwrap();
                assert!(
                    e.what.starts_with("rollout.group must be") && next.contains("rollout.group")
                );
            }
        }
    }
    // Beside a demonstration that never comes, one rollout is alone.
    assert!(resolve("srft-official", "[data]\ndemonstrations = 0.0").is_err());
    assert!(resolve("srft", "[data]\ndemonstrations = 0.0").is_ok());
    let home = Home::new();
    home.fails(
        "train --device cpu --model model --method luffy --set rollout.group=1 --out run",
        INPUT,
        &["rollout.group must be at least 2", "--set rollout.group=VALUE"],
    );
}

/// TRL #3452: rollouts that are all the same, by temperature 0 or by a single token to choose from.
#[test]
fn trl_3452_greedy_training_is_refused_however_it_is_asked_for() {
    for key in ["temperature = 0.0", "top_k = 1"] {
        let layer = Config::layer(&format!("[rollout]\n{key}"), "test").unwrap();
        let error = Config::resolve(&[layer]).unwrap_err();
        assert!(error.what.contains("all the same"), "{error}");
    }
}

/// A run that samples nothing has no reward, and says so in every place.
#[test]
fn metrics_without_a_value_are_null_and_no_0() {
    let home = Home::new();
    sums(&home);
    let command = format!("{TRAIN} --steps 2 --data sums.jsonl --eval-data sums.jsonl");
    let told = home.succeeds(&format!("{command} --method sft --out run"));
    let line = told.lines().find(|l| l.starts_with("step 1/2")).unwrap();
    assert!(line.contains("reward –  entropy –  w_SFT 1.000  w_RL –  loss +"), "{line}");
    for step in home.lines("run/metrics.jsonl") {
        for key in [
            "reward",
            "accuracy",
            "advantage_demo",
            "groups_all_right",
            "groups_all_wrong",
            "entropy",
            "w_rl",
            "clip_share",
            "response_tokens",
            "truncated_share",
        ] {
            assert_eq!(step[key], Value::Null, "{key} of {step}");
        }
        for key in ["loss_rl_demo", "loss_self", "loss_entropy", "loss_kl", "rollout_tokens"] {
            assert_eq!(step[key].as_f64(), Some(0.0), "{key} of {step}");
            assert!(!step[key].to_string().starts_with('-'), "{key} of {step}");
        }
        assert!(step["entropy_demo"].as_f64() > Some(0.0), "{step}");
    }
    let report = home.succeeds("report run --text");
    assert!(!report.contains("Reward ") && report.contains("L_SFT"), "{report}");
    home.succeeds(&format!("{command} --method grpo --out grpo"));
    let step = &home.lines("grpo/metrics.jsonl")[0];
    assert_eq!((&step["w_sft"], &step["reward_demo"]), (&Value::Null, &Value::Null));
    assert!(step["reward"].is_number() && step["clip_share"].is_number(), "{step}");
}

/// TRL PR #3079: a judge that fails. It fails on the demonstrations here, and the run goes on.
#[cfg(unix)]
#[test]
fn trl_3079_a_demonstration_that_cannot_be_judged_does_not_end_the_run() {
    let home = Home::new();
    let row = json!({"prompt": "5+5=", "response": "5+5>10", "answer": "10"});
    home.write("sums.jsonl", format!("{row}\n{row}\n{row}"));
    home.write(
        "judge.sh",
        "while read -r line; do case \"$line\" in *'\"response\":\"5+5>10\"'*) echo '{\"error\": \"too short\"}';; \
         *) echo '{\"score\": 0.25}';; esac; done\n",
    );
    let command = format!(
        "{TRAIN} --steps 2 --data sums.jsonl --eval-data sums.jsonl --set eval.examples=1 \
         --verifier command --set checkpoint.samples_every=1 --out run --reward-cmd"
    );
    let output = home.command(&command).arg("sh judge.sh").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    for step in home.lines("run/metrics.jsonl") {
        assert_eq!((&step["unscored_demos"], &step["unscored"]), (&json!(2), &json!(0)), "{step}");
        assert_eq!((&step["reward_demo"], &step["advantage_demo"]), (&Value::Null, &Value::Null));
        assert_eq!(step["loss_rl_demo"].as_f64(), Some(0.0), "it has no RL term: {step}");
        assert!(step["loss_sft"].as_f64() > Some(0.0), "it is imitated: {step}");
        assert_eq!(step["reward"].as_f64(), Some(-0.5), "a score of 0.25");
    }
    let sample = &home.lines("run/samples.jsonl")[0];
    assert!(sample["unscored_demonstration"].as_str().unwrap().contains("too short"), "{sample}");
    let report = home.succeeds("report run --text");
    let told = report.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("the verifier failed on 4 of its demonstrations"), "{report}");
    home.succeeds("report run --out run.html");
}

/// A rollout that could not be judged was sampled all the same.
#[cfg(unix)]
#[test]
fn unscored_rollouts_count_as_sampled_tokens() {
    let home = Home::new();
    sums(&home);
    let run = |name: &str, judge: &str| {
        let command = format!(
            "{TRAIN} --steps 1 --method grpo --data sums.jsonl --eval-data sums.jsonl \
             --set eval.examples=2 --verifier command --out {name} --reward-cmd"
        );
        home.write("judge.sh", format!("n=0; while read -r line; do n=$((n+1)); {judge}; done\n"));
        let output = home.command(&command).arg("sh judge.sh").output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        home.lines(&format!("{name}/metrics.jsonl")).remove(0)
    };
    let whole = run("whole", "echo '{\"score\": 1}'");
    let failing = run(
        "failing",
        "if [ $((n % 2)) = 0 ]; then echo '{\"error\": \"no\"}'; else echo '{\"score\": 1}'; fi",
    );
    assert!(failing["unscored"].as_u64() > Some(0), "{failing}");
    assert_eq!(whole["rollout_tokens"], failing["rollout_tokens"]);
}

/// A demonstration without its end was judged wrong, and its RL term pushed the teacher's tokens down.
#[test]
fn a_cut_demonstration_is_imitated_and_not_judged() {
    let home = Home::new();
    let row = json!({"prompt": "1+1=", "response": "222222222222222", "answer": "222222222222222"});
    home.write("sums.jsonl", row.to_string());
    let steps =
        train(&home, "--verifier exact --set data.max_tokens=10 --set data.too_long=cut --out run");
    for step in &steps {
        assert_eq!((&step["reward_demo"], &step["unscored_demos"]), (&Value::Null, &json!(0)));
        assert_eq!(step["loss_rl_demo"].as_f64(), Some(0.0), "{step}");
        assert!(step["loss_sft"].as_f64() > Some(0.0), "{step}");
    }
    assert_eq!(home.lines("run/samples.jsonl")[0]["demonstration_reward"], Value::Null);
}

/// Ten steps of which 0.7 are the second stage's: it began a step late, by a float's last digit.
#[test]
fn a_share_of_the_steps_is_what_arithmetic_says() {
    for (steps, share, first) in [
        (10, "0.7", 3),
        (100, "0.29", 71),
        (3, "0.5", 2),
        (7, "0.0", 7),
        (7, "1.0", 0),
        (1000, "0.999", 1),
    ] {
        let text = format!(
            "[train]\nsteps = {steps}\n[objective]\nmethod = \"sft-grpo\"\nsecond_share = {share}"
        );
        let config = Config::resolve(&[Config::layer(&text, "test").unwrap()]).unwrap();
        let second = (0..steps).find(|&s| config.objective_at(s).method == Method::Grpo);
        assert_eq!(second.unwrap_or(steps), first, "{share} of {steps}");
    }
}

/// Terms that do not act are 0, and not f32's smallest number.
#[test]
fn terms_that_are_absent_are_exactly_0() {
    let home = Home::new();
    let group = json!({
        "prompt": "1+1=", "demonstration": "2",
        "episodes": [{"response": "3", "reward": -1}, {"response": "4", "reward": -1}],
    });
    home.write("episodes.jsonl", group.to_string());
    for (method, absent) in [("dapo", "total"), ("sft", "entropy"), ("grpo", "total")] {
        let told = home.succeeds(&format!(
            "explain --device cpu --model model --method {method} --episodes episodes.jsonl --json"
        ));
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["terms"][absent].as_f64(), Some(0.0), "{method}: {told}");
        assert!(
            told["entropy"][0].as_f64() > Some(0.0),
            "its entropy is told all the same: {told}"
        );
    }
}
