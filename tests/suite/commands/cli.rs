//! The commands on good days: what they print, what they write, and that it reads back.

use crate::program::{Home, TRAIN, assert_same_run, parse_lines, without_secs};
use serde_json::Value;
use srft::config::Method;
use srft::metrics::{DEFINITIONS, StepReport};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// Every metric of every step is there and a finite number (JSON has no other, but null). Null is
/// only what this step had nothing to measure for: what rollouts show, where it sampled none.
fn assert_finite(home: &Home, run: &str, steps: usize) {
    const OF_ROLLOUTS: [&str; 6] = [
        "reward",
        "accuracy",
        "entropy",
        "response_tokens",
        "truncated_share",
        "context_cut_share",
    ];
    let may_lack = serde_json::to_value(StepReport::default()).unwrap();
    let lines = home.lines(&format!("{run}/metrics.jsonl"));
    assert_eq!(lines.len(), steps, "{run}");
    for line in &lines {
        let sampled = line["rollout_tokens"] != 0;
        for (key, value) in line.as_object().unwrap() {
            // Only the answer is rewarded.
            if key == "rewards" {
                assert_eq!(value, &serde_json::json!({}), "{run}");
                continue;
            }
            let may = may_lack[key].is_null() && !(sampled && OF_ROLLOUTS.contains(&key.as_str()));
            assert!(value.is_number() || may && value.is_null(), "{run}: {key} in {line}");
        }
    }
}

#[test]
fn a_run_folder_holds_what_is_documented() {
    let home = Home::new();
    let printed = home.succeeds(&format!(
        "{TRAIN} --steps 5 --set eval.every=2 --set checkpoint.every=2 \
         --set checkpoint.samples_every=2 --json --out run"
    ));
    let expected = [
        "best",
        "checkpoints",
        "config.toml",
        "evaluations",
        "evaluations.jsonl",
        "inputs.json",
        "metrics.jsonl",
        "samples.jsonl",
        "summary.json",
    ];
    assert_eq!(home.names("run"), expected);
    assert_eq!(home.names("run/checkpoints"), ["step-000004", "step-000005"], "the last two");
    let checkpoint = [
        "config.json",
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
        "tokenizer.json",
    ];
    assert_eq!(home.names("run/checkpoints/step-000005"), checkpoint);
    assert_eq!(home.names("run/best"), ["config.json", "model.safetensors", "tokenizer.json"]);

    let metrics = home.lines("run/metrics.jsonl");
    assert_finite(&home, "run", 5);
    // The answer is all that is rewarded.
    let defined = DEFINITIONS.iter().map(|d| d.name).filter(|&name| name != "rewards");
    let defined: Vec<&str> = defined.collect();
    for (index, line) in metrics.iter().enumerate() {
        assert_eq!(keys(line), defined);
        assert_eq!(line["step"], index + 1);
    }
    let samples = home.lines("run/samples.jsonl");
    let steps: Vec<u64> = samples.iter().map(|s| s["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [1, 1, 3, 3, 5, 5], "two prompts of every second step and of the last");
    for sample in &samples {
        let episodes = sample["episodes"].as_array().unwrap();
        assert_eq!(episodes.len(), 3);
        assert!(episodes.iter().all(|e| e["reward"] == 1.0 || e["reward"] == -1.0));
        assert!(episodes.iter().all(|e| e["response"].is_string()));
        assert_eq!(sample["demonstration_reward"], 1.0);
    }
    let evaluations = home.lines("run/evaluations.jsonl");
    let steps: Vec<u64> = evaluations.iter().map(|e| e["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [0, 2, 4, 5]);

    let summary: Value = serde_json::from_slice(&home.read("run/summary.json")).unwrap();
    assert_eq!(
        keys(&summary),
        [
            "method",
            "seed",
            "device",
            "backend",
            "version",
            "steps",
            "rollout_secs",
            "train_secs",
            "eval_secs",
            "other_secs",
            "rollout_tokens",
            "trained_tokens",
            "rollout_tokens_per_sec",
            "trained_tokens_per_sec",
            "peak_memory_bytes",
            "suites"
        ]
    );
    assert_eq!((&summary["method"], &summary["backend"]), (&"srft".into(), &"flex".into()));
    assert_eq!(summary["steps"], 5);
    let sampled: u64 = metrics.iter().map(|m| m["rollout_tokens"].as_u64().unwrap()).sum();
    assert_eq!(summary["rollout_tokens"], sampled);
    for key in ["rollout_secs", "train_secs", "eval_secs", "rollout_tokens_per_sec"] {
        assert!(summary[key].as_f64().unwrap() > 0.0, "{key}");
    }
    let suites = summary["suites"].as_object().unwrap();
    assert_eq!(suites.len(), 8);
    assert_eq!(keys(&suites["add"]), ["ood", "n", "base", "final"]);
    assert_eq!((&suites["add"]["ood"], &suites["add"]["n"]), (&false.into(), &3.into()));
    assert_eq!(suites["rank"]["ood"], true);

    // What a program was told is what is on file.
    let events = parse_lines(&printed);
    let of = |kind: &str| -> Vec<Value> {
        let chosen = events.iter().filter(|e| e["event"] == kind).cloned();
        chosen
            .map(|mut e| {
                e.as_object_mut().unwrap().remove("event");
                e
            })
            .collect()
    };
    assert_eq!(of("step"), metrics);
    assert_eq!(of("summary"), [summary]);
    assert_eq!(of("evaluation"), without_secs(evaluations));
    assert_eq!(of("checkpoint").len(), 3);
    assert_eq!(events.len(), 5 + 1 + 4 + 3);
}

#[test]
fn the_config_of_a_run_makes_the_run_again() {
    let home = Home::new();
    home.succeeds(&format!(
        "{TRAIN} --method srft-official --seed 3 --steps 4 --set optimizer.lr=3e-3 \
         --set objective.sft_gate=reward --set data.problems=5 --set eval.every=2 --out one"
    ));
    home.succeeds("train --config one/config.toml --out two");
    assert_same_run(&home, "one", "two");
    assert_eq!(home.read("one/config.toml"), home.read("two/config.toml"));

    // A flag is stronger than the file, and another method brings its own switches.
    home.succeeds("train --config one/config.toml --method grpo --steps 1 --out three");
    let resolved = home.succeeds("config --method grpo");
    let text = String::from_utf8(home.read("three/config.toml")).unwrap();
    let section = |text: &str| {
        let from = text.find("[objective]").unwrap();
        text[from..from + text[from..].find("\n[").unwrap()].to_string()
    };
    assert_eq!(section(&text), section(&resolved));
    assert!(text.contains("\nsteps = 1\n") && text.contains("\nproblems = 5\n"));
}

#[test]
fn config_prints_what_it_reads_back_with_a_comment_for_each_key() {
    let home = Home::new();
    for method in Method::ALL {
        let printed = home.succeeds(&format!("config --method {}", method.name()));
        home.write("c.toml", &printed);
        assert_eq!(home.succeeds("config --config c.toml"), printed);
        let lines: Vec<&str> = printed.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            if line.contains(" = ") && !line.starts_with('#') {
                assert!(lines[index - 1].starts_with("# "), "no comment above {line}");
            }
        }
    }
    let table = home.succeeds("config --metrics");
    assert!(DEFINITIONS.iter().all(|d| table.contains(&format!("| `{}` |", d.name))));
}

#[test]
fn generate_and_score_agree() {
    let home = Home::new();
    let generate = "generate --device cpu --model model --json -n 6 --seed 4 7*8=";
    let printed = home.succeeds(generate);
    assert_eq!(printed, home.succeeds(generate), "the same seed, the same samples");
    let samples = parse_lines(&printed);
    assert_eq!(samples.len(), 6);
    for sample in &samples {
        let documented = ["prompt", "response", "tokens", "logprobs", "entropies", "truncated"];
        assert_eq!(keys(sample), documented);
    }
    // Special tokens show in no text, so only responses without them come back the same; those
    // cut at the limit get an end-of-text that generate did not draw.
    let plain = |s: &&Value| {
        let ids = numbers(&s["tokens"]);
        let (last, rest) = ids.split_last().unwrap();
        !rest.is_empty() && rest.iter().all(|&id| id > 2.0) && *last >= 2.0
    };
    let chosen: Vec<&Value> = samples.iter().filter(plain).collect();
    assert!(!chosen.is_empty(), "{printed}");
    let lines = chosen.iter().map(|s| {
        serde_json::json!({"prompt": s["prompt"], "response": s["response"]}).to_string() + "\n"
    });
    home.write("given.jsonl", lines.collect::<String>());
    home.succeeds("score --device cpu --model model --data given.jsonl --out scored.jsonl");
    let scored = home.lines("scored.jsonl");
    assert_eq!(scored.len(), chosen.len());
    for (scored, sample) in scored.iter().zip(chosen) {
        assert_eq!(keys(scored), ["tokens", "logprobs", "entropies"]);
        let count = sample["tokens"].as_array().unwrap().len();
        assert_eq!(
            scored["tokens"].as_array().unwrap()[..count],
            *sample["tokens"].as_array().unwrap()
        );
        for key in ["logprobs", "entropies"] {
            for (a, b) in numbers(&scored[key]).iter().zip(numbers(&sample[key])) {
                assert!((a - b).abs() < 1e-5, "{key}: scored {a}, sampled {b}");
            }
        }
    }
    let text = home.succeeds("generate --device cpu --model model --temperature 0 7*8=");
    assert!(text.starts_with("7*8="), "{text}");
}

#[test]
fn eval_tells_every_suite() {
    let home = Home::new();
    let eval = "eval --device cpu --model model --set eval.examples=4 --samples 2";
    let report: Value = serde_json::from_str(&home.succeeds(&format!("{eval} --json"))).unwrap();
    let scores = report["scores"].as_array().unwrap();
    assert_eq!(scores.len(), 8);
    let expected = [
        "suite",
        "ood",
        "n",
        "samples",
        "accuracy",
        "interval",
        "pass",
        "pass_interval",
        "unscored",
    ];
    assert!(scores.iter().all(|s| keys(s) == expected && s["n"] == 4));
    let table = home.succeeds(eval);
    for name in ["add", "rank", "mean, in distribution", "mean, out of distribution"] {
        assert!(table.contains(name), "{table}");
    }
}

#[test]
fn explain_shows_a_group_in_all_its_parts() {
    let home = Home::new();
    let explain = "explain --device cpu --model model --set rollout.group=4";
    let value: Value = serde_json::from_str(&home.succeeds(&format!("{explain} --json"))).unwrap();
    for (key, count) in [("advantages", 5), ("entropy", 5), ("w_sft", 1), ("w_rl", 4)] {
        assert_eq!(numbers(&value[key]).len(), count, "{key}");
    }
    for part in ["terms", "grad_norm"] {
        for key in ["sft", "rl_demo", "self", "total"] {
            assert!(value[part][key].is_number(), "{part}.{key}: {value}");
        }
    }
    let shown = home.succeeds(&format!("{explain} --prompt 59+63="));
    assert!(shown.starts_with("59+63=") && shown.contains("L_self"), "{shown}");
}

#[test]
fn devices_are_listed_for_programs_and_people() {
    let home = Home::new();
    let list = parse_lines(&home.succeeds("devices --json --no-self-test"));
    assert_eq!((&list[0]["name"], &list[0]["backend"]), (&"CPU".into(), &"flex".into()));
    for (index, adapter) in list.iter().enumerate() {
        assert_eq!(adapter["index"], index);
        for key in ["driver", "kind", "max_binding_bytes", "max_buffer_bytes", "self_test"] {
            assert!(!adapter[key].is_null(), "{key}: {adapter}");
        }
    }
    assert!(home.succeeds("devices --no-self-test").contains("--device auto takes"));
}

#[test]
fn every_command_has_help_with_examples() {
    let home = Home::new();
    assert!(home.succeeds("--help").contains("Examples:\n  srft train"));
    for command in [
        "train", "eval", "generate", "score", "explain", "analyze", "pretrain", "devices", "config",
    ] {
        let help = home.succeeds(&format!("{command} --help"));
        assert!(help.contains(&format!("Examples:\n  srft {command}")), "{help}");
        assert!(help.contains("Usage: srft "), "{help}");
    }
}

#[test]
fn your_own_data_with_both_verifiers() {
    let home = Home::new();
    let line = |a: u32, answer: &str| {
        format!(r#"{{"prompt": "{a}+1=", "response": "so>{answer}", "answer": "{answer}"}}"#)
            .replace("so", ";")
            + "\n"
    };
    let data: String = (0..20).map(|a| line(a, &(a + 1).to_string())).collect();
    home.write("train.jsonl", &data);
    home.write("test.jsonl", line(3, "4"));
    let scores = |run: &str| home.lines(&format!("{run}/evaluations.jsonl"))[0]["scores"].clone();
    let demos = |run: &str| home.lines(&format!("{run}/metrics.jsonl"))[0]["reward_demo"].clone();

    // A tenth is kept for evaluation; the demonstrations are right by what follows the marker.
    let own = format!("{TRAIN} --data train.jsonl --steps 2 --set data.answer_after=>");
    home.succeeds(&format!("{own} --out exact"));
    assert_eq!(
        (&scores("exact")[0]["suite"], &scores("exact")[0]["n"]),
        (&"train".into(), &2.into())
    );
    assert_eq!(demos("exact"), 1.0);
    // Written otherwise, the same numbers are right for the numeric verifier only.
    home.write("train.jsonl", data.replace(r#""answer": ""#, r#""answer": "+"#));
    let numeric = format!("{own} --eval-data test.jsonl --verifier numeric");
    home.succeeds(&format!("{numeric} --out numeric"));
    assert_eq!(
        (&scores("numeric")[0]["suite"], &scores("numeric")[0]["n"]),
        (&"test".into(), &1.into())
    );
    assert_eq!(demos("numeric"), 1.0);
    home.succeeds(&format!("{own} --eval-data test.jsonl --verifier exact --out strict"));
    assert_eq!(demos("strict"), -1.0);
    for run in ["exact", "numeric", "strict"] {
        assert_finite(&home, run, 2);
    }
    let eval = "eval --device cpu --model model --eval-data test.jsonl --verifier numeric --json";
    let report: Value = serde_json::from_str(&home.succeeds(eval)).unwrap();
    assert_eq!(report["scores"][0]["n"], 1);
}

#[test]
fn every_method_and_every_switch_trains() {
    let home = Home::new();
    for method in Method::ALL {
        let name = method.name();
        home.succeeds(&format!("{TRAIN} --method {name} --steps 3 --out {name}"));
        assert_finite(&home, name, 3);
    }
    let switches: &[(&str, &[&str])] = &[
        ("sft", &["true", "false"]),
        ("rl_demo", &["true", "false"]),
        ("self_term", &["none", "signed", "advantage"]),
        ("entropy_weights", &["true", "false"]),
        ("fixed_weight", &["none", "sft", "self"]),
        ("sft_weight_scale", &["1"]),
        ("sft_weight_sign", &["minus", "plus"]),
        ("sft_token_weight", &["none", "p(1-p)", "p", "H/3", "min(p/0.1,1)"]),
        ("kl_coeff", &["0", "0.2"]),
        ("rollout_kl", &["0.1"]),
        ("rollout_kl_in", &["loss", "reward --set objective.rollout_kl=0.1"]),
        ("kl_form", &["k3", "k1", "k3-ratio --set objective.rollout_kl=0.1"]),
        ("temperature", &["0 --set rollout.temperature=0.7", "1 --set rollout.temperature=0.7"]),
        ("self_weight_scale", &["1"]),
        ("entropy_over", &["sequence", "token", "batch"]),
        ("demo_shaping", &["none", "p/(p+0.1)"]),
        ("advantage_std", &["true", "false"]),
        ("aggregate", &["token-mean", "sequence-mean", "sum-constant", "sequence-constant"]),
        ("aggregate_constant", &["100", "0"]),
        ("sft_aggregate", &["same", "token-mean", "sequence-mean"]),
        ("reward_values", &["signed", "binary"]),
        ("entropy_coeff", &["0", "0.001"]),
        ("entropy_control", &["none", "step", "gradient --set objective.entropy_coeff=0.001"]),
        ("entropy_target", &["0.5 --set objective.entropy_control=step"]),
        ("entropy_rate", &["0.01 --set objective.entropy_control=step"]),
        ("entropy_coeff_max", &["0.1 --set objective.entropy_control=step"]),
        ("imitation", &["0", "0.5 --method srft-lean"]),
        ("known", &["0.9"]),
        ("mixed_rate", &["true", "false"]),
        ("sft_gate", &["none", "reward", "advantage", "unsolved"]),
        ("rl_gate", &["none", "solved"]),
        ("gate_share", &["0.5 --set objective.rl_gate=solved"]),
        ("drop_equal_groups", &["true", "false"]),
        ("refill", &["2 --set objective.drop_equal_groups=true"]),
        ("buffer", &["1"]),
        ("group_of", &["extra", "shared", "apart --set objective.rl_demo=false"]),
        (
            "advantage_of",
            &[
                "rewards",
                "entropy --set objective.self_term=advantage",
                "teacher --set objective.self_term=advantage",
            ],
        ),
        ("entropy_reward", &["0.2"]),
        (
            "prefix",
            &[
                "none",
                "share",
                "parts --set objective.prefix_rollouts=2",
                "uniform --set objective.prefix_learned=0.2",
                "success --set objective.self_term=advantage",
            ],
        ),
        ("prefix_share", &["1 --set objective.prefix=share"]),
        ("prefix_end", &["0 --set objective.prefix=share"]),
        ("prefix_steps", &["1 --set objective.prefix=share"]),
        ("prefix_rollouts", &["1 --set objective.prefix=share"]),
        ("prefix_rounds", &["1 --set objective.prefix=success"]),
        ("prefix_learned", &["1 --set objective.prefix=share"]),
        (
            "sft_over",
            &["demonstration", "prefix --set objective.prefix=share --set objective.rl_demo=false"],
        ),
        ("ratio", &["token", "sequence --set objective.self_term=advantage"]),
        ("clip", &["loss", "weight --set objective.self_term=advantage"]),
        ("dual_clip", &["3 --set objective.self_term=advantage"]),
        ("top_entropy", &["0.2"]),
        ("clip_cov", &["0.1 --set objective.self_term=advantage"]),
        ("clip_cov_low", &["0"]),
        ("clip_cov_high", &["9"]),
        ("truncated", &["wrong", "masked", "soft --set objective.soft_tokens=2"]),
        ("soft_limit", &["4"]),
        ("soft_tokens", &["2"]),
        ("clip_low", &["0.1"]),
        ("clip_high", &["0.3"]),
        ("max_prob", &["0.5"]),
        ("mix", &["sum", "convex"]),
        ("mu", &["0.5 --set objective.mix=convex"]),
        ("mu_end", &["0 --set objective.mix=convex"]),
        ("mu_warmup_steps", &["1 --set objective.mix=convex"]),
        ("mu_decay_steps", &["1 --set objective.mix=convex"]),
        ("mu_schedule", &["constant", "linear --set objective.mix=convex", "cosine"]),
        ("second", &["sft", "grpo", "sft-kl"]),
        ("second_share", &["0.25"]),
    ];
    let section = srft::config::SECTIONS.iter().find(|s| s.name == "objective").unwrap();
    let known: Vec<&str> = section.keys.iter().map(|k| k.name).filter(|&k| k != "method").collect();
    assert_eq!(switches.iter().map(|s| s.0).collect::<Vec<_>>(), known, "every switch is tried");
    for (key, values) in switches {
        for (index, value) in values.iter().enumerate() {
            let run = format!("{key}-{index}");
            home.succeeds(&format!("{TRAIN} --set objective.{key}={value} --steps 2 --out {run}"));
            assert_finite(&home, &run, 2);
        }
    }
}

#[test]
fn pretraining_makes_a_model_folder_from_a_shape() {
    let home = Home::new();
    let pretrain = "pretrain --device cpu --shape model --steps 2 --set rollout.prompts=8 \
         --set eval.examples=2 --set rollout.max_new_tokens=12";
    home.succeeds(&format!("{pretrain} --out one"));
    home.succeeds(&format!("{pretrain} --out two"));
    let weights = home.read("one/model.safetensors");
    assert!(weights == home.read("two/model.safetensors"), "deterministic");
    assert!(weights != home.read("model/model.safetensors"), "from nothing, not from the shape");
    home.succeeds("generate --device cpu --model one 1+1=");
}

#[test]
fn a_report_is_one_file_or_text() {
    let home = Home::new();
    for (run, method) in [("a", "srft"), ("b", "grpo")] {
        home.succeeds(&format!("{TRAIN} --steps 3 --method {method} --out {run}"));
    }
    let printed = home.succeeds("report a");
    let path = std::path::Path::new("a").join("report.html");
    assert!(printed.starts_with(&format!("report: {}", path.display())), "{printed}");
    home.succeeds("report a b");
    home.succeeds("report a b --out study.html");
    let html = String::from_utf8(home.read("report.html")).unwrap();
    assert_eq!(html.as_bytes(), home.read("study.html"), "the same runs, the same bytes");
    assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"));
    assert_eq!(html.matches("id=\"chart-reward\"").count(), 1);
    let text = home.succeeds("report a b --text");
    for part in ["2 runs trained", "mean, in distribution", "Reward", "objective.method"] {
        assert!(text.contains(part), "`{part}` is missing in\n{text}");
    }
    assert_eq!(
        home.names("."),
        ["a", "b", "model", "report.html", "study.html"],
        "text alone is not kept"
    );
}
