//! Words that mislead.

use crate::program::{Home, RUN, TRAIN, stderr};
use serde_json::json;
use std::fs;
use std::path::Path;

const INPUT: i32 = 2;

/// What a command that goes well says on standard error.
fn said(home: &Home, arguments: &str) -> String {
    let output = home.command(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", stderr(&output));
    stderr(&output)
}

/// README's own line counted on texts of the model's whole context, and advised what was given.
#[test]
fn a_plan_counts_what_a_run_holds_and_advises_what_helps() {
    let home = Home::new();
    let sizes = json!({
        "max_position_embeddings": 8192, "hidden_size": 256, "intermediate_size": 4096, "num_hidden_layers": 2
    });
    home.write_model("long", sizes);
    let readme = "plan --model long --lora-rank 16 --memory 8";
    let printed = home.succeeds(readme);
    assert!(printed.contains("64 rows of 512 after them") && printed.contains("fits"), "{printed}");
    let words = said(&home, readme);
    assert!(words.contains("no --data") && words.contains("up to 1024 tokens"), "{words}");
    assert!(
        home.succeeds(&format!("{readme} --max-new-tokens 88")).contains("rows of 88 after them")
    );

    let small = "--memory 0.01";
    let given =
        home.fails(&format!("plan --model long --lora-rank 16 {small}"), INPUT, &["--data"]);
    assert!(!given.contains("--lora-rank"), "{given}");
    home.fails(&format!("plan --model long {small}"), INPUT, &["--lora-rank 16 ("]);
    home.write(
        "short.jsonl",
        "{\"prompt\": \"1+1=\", \"response\": \"2\", \"answer\": \"2\"}\n".repeat(10),
    );
    let known = format!("plan --model long --data short.jsonl {small}");
    let known = home.fails(&known, INPUT, &["do not fit"]);
    assert!(!known.contains("--data"), "{known}");
}

/// None of three is no certainty: Wilson's interval, where there was "± 0.0".
#[test]
fn none_of_three_leaves_half_of_it_open() {
    let home = Home::new();
    let line = r#"{"prompt": "1+1=", "answer": "987654"}"#;
    home.write("three.jsonl", format!("{line}\n").repeat(3));
    let eval = "eval --device cpu --model model --data three.jsonl --max-new-tokens 2";
    let printed = home.succeeds(eval);
    assert!(printed.contains("0.0 [0.0, 56.1]") && !printed.contains('±'), "{printed}");
}

/// greyhaven-ai/autocontext PR #1067, modelscope/ms-swift #4950: nothing was said, or the wrong limit.
#[test]
fn autocontext_1067_what_cut_every_response_is_told_at_once() {
    let home = Home::new();
    let long = format!(r#"{{"prompt": "{}", "answer": "987654"}}"#, "1".repeat(61));
    home.write("long.jsonl", format!("{long}\n"));
    home.write("short.jsonl", r#"{"prompt": "1+1=", "answer": "987654"}"#);
    for (data, tokens, words, other) in [
        ("long", 100, "by the model's context", "--max-new-tokens"),
        ("short", 2, "rollout.max_new_tokens = 2", "context"),
    ] {
        let common = format!("--device cpu --model model --max-new-tokens {tokens}");
        let eval = said(&home, &format!("eval {common} --data {data}.jsonl"));
        let train = format!(
            "train {common} --method grpo --data {data}.jsonl --eval-data {data}.jsonl --steps 2 \
             --set rollout.prompts=1 --set rollout.group=2 --out run-{data}"
        );
        let train = said(&home, &train);
        for told in [eval, train] {
            assert_eq!(told.matches("every response was cut").count(), 1, "{told}");
            assert!(told.contains(words) && !told.contains(other), "{told}");
        }
        for step in home.lines(&format!("run-{data}/metrics.jsonl")) {
            let by_context = if data == "long" { 1.0 } else { 0.0 };
            assert_eq!(step["truncated_share"], 1.0, "{step}");
            assert_eq!(step["context_cut_share"], by_context, "{step}");
        }
    }
    let report = home.succeeds("report run-long --text");
    let words = report.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("were cut by the model's context"), "{report}");
}

/// peft #1388; unsloth #3091; QwenLM/Qwen #1168.
#[test]
fn peft_1388_merging_into_half_precision_says_what_is_lost() {
    let home = Home::new();
    let train = |lr: &str, out: &str| {
        home.succeeds(&format!(
            "{TRAIN} --steps 1 --lora-rank 2 --set optimizer.lr={lr} --out {out}"
        ));
    };
    train("1e-6", "small");
    train("0.5", "large");
    let merge = |run: &str, dtype: &str| {
        let name = format!("{run}-{dtype}");
        said(
            &home,
            &format!("merge --model {run}/best --out {name} --set checkpoint.dtype={dtype}"),
        )
    };
    let small = merge("small", "bf16");
    assert!(small.contains("stored in bf16, ") && small.contains("remain changed"), "{small}");
    assert!(small.contains("warning: that loses much"), "{small}");
    let large = merge("large", "f16");
    assert!(large.contains("stored in f16, ") && !large.contains("warning"), "{large}");
    assert!(!merge("small", "f32").contains("stored in"));
}

/// A system message for `generate --chat`.
#[test]
fn a_chat_takes_a_system_message() {
    let home = Home::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/qwen2-sharded");
    fs::create_dir(home.path("qwen")).unwrap();
    for entry in fs::read_dir(golden).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, home.path("qwen").join(path.file_name().unwrap())).unwrap();
        }
    }
    home.write(
        "qwen/chat_template.jinja",
        "{% if messages[0].role != 'system' or messages[0].content != '12' %}\
         {{ raise_exception('twelve, please') }}{% endif %}\
         {% for m in messages %}{{ m.content }}{% endfor %}",
    );
    let chat = "generate --device cpu --model qwen --max-new-tokens 2 --chat 1+1=";
    home.fails(chat, INPUT, &["twelve, please"]);
    home.fails(&format!("{chat} --system 13"), INPUT, &["twelve, please"]);
    home.succeeds(&format!("{chat} --system 12"));
    let plain = home.command("generate --model qwen --system 12 1+1=").output().unwrap();
    assert!(stderr(&plain).contains("--chat"), "{}", stderr(&plain));
}

#[test]
fn beyond_the_models_context_the_way_out_is_named() {
    let home = Home::new();
    let long = format!(r#"{{"prompt": "{}", "response": "1", "answer": "1"}}"#, "1".repeat(70));
    home.write("long.jsonl", long);
    let train = format!("{TRAIN} --data long.jsonl --eval-data long.jsonl --out run");
    home.fails(&train, INPUT, &["the model takes 64", "data.too_long"]);
}

/// A step's line has words that the paper explains and a newcomer does not know.
#[test]
fn a_run_says_what_its_lines_show() {
    let home = Home::new();
    let printed = home.succeeds(&format!("{TRAIN} --steps 1 --out run"));
    let legend = printed.find("a step's line: mean reward").unwrap();
    assert!(legend < printed.find("step 1/1").unwrap(), "{printed}");
}

/// What `eval` prints of a suite: how many of its problems, and how sure that is.
#[test]
fn a_runs_table_tells_how_many_problems_and_how_sure() {
    let home = Home::with_sums();
    let printed = home.succeeds(&format!("{RUN} --steps 2 --set eval.examples=3 --out run"));
    let row = printed.lines().find(|line| line.contains(" sums ")).unwrap();
    assert!(row.contains(" 3/20 ") && row.matches('[').count() == 2, "{printed}");
    let eval = "eval --device cpu --model run/best --data sums.jsonl --set eval.examples=3 \
                --max-new-tokens 4";
    let evaluated = home.succeeds(eval);
    let cell = evaluated.lines().find(|line| line.contains(" sums ")).unwrap();
    let share = cell.split('|').nth(3).unwrap().trim();
    assert!(row.contains(share) && share.contains('['), "{row}\n{cell}");
}

/// Half precision loses small steps: training says so of `best`, in `merge`'s words.
#[test]
fn training_into_half_precision_says_what_best_loses() {
    let home = Home::with_sums();
    let told =
        |name: &str, more: &str| said(&home, &format!("{RUN} --steps 2 --out {name} {more}"));
    let bf16 = "--set checkpoint.dtype=bf16 --set optimizer.lr=1e-6";
    let small = told("small", bf16);
    assert!(small.contains("stored in bf16") && small.contains("remain changed"), "{small}");
    assert!(small.contains("loses much of what was trained"), "{small}");
    let large = told("large", "--set checkpoint.dtype=f16");
    assert!(large.contains("stored in f16") && !large.contains("loses much"), "{large}");
    for quiet in [told("whole", ""), told("adapter", &format!("{bf16} --lora-rank 2"))] {
        assert!(!quiet.contains("stored in"), "{quiet}");
    }
}

/// A report promised an evaluation that no suite was there for.
#[test]
fn a_report_of_a_run_without_suites_promises_none() {
    let home = Home::with_sums();
    let sums = String::from_utf8(home.read("sums.jsonl")).unwrap();
    home.write("few.jsonl", sums.lines().take(8).map(|l| format!("{l}\n")).collect::<String>());
    let run = RUN.replace("--data sums.jsonl --eval-data sums.jsonl", "--data few.jsonl");
    home.succeeds(&format!("{run} --steps 2 --out run"));
    let text = home.succeeds("report run --text");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("no suite is configured (data.eval)") && !text.contains("yet"), "{text}");
}
