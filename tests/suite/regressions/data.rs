//! Data as it comes: files, lists, stop texts.

use crate::program::{Home, stderr};
use serde_json::{Value, json};

/// A short supervised run of the very small model.
const SFT: &str = "train --device cpu --model model --method sft --steps 2 --set rollout.prompts=2 \
     --max-new-tokens 4";
/// An evaluation of it, greedily.
const EVAL: &str = "eval --device cpu --model model --max-new-tokens 4 --set eval.temperature=0";

/// Sums as a file's lines, `row` from the two numbers and their sum.
fn sums(count: u32, row: impl Fn(u32, u32, u32) -> Value) -> String {
    (0..count).map(|i| format!("{}\n", row(i % 7, i % 5, i % 7 + i % 5))).collect()
}

fn bare(a: u32, b: u32, sum: u32) -> Value {
    json!({"prompt": format!("{a}+{b}="), "completion": format!("{sum}")})
}

fn answered(a: u32, b: u32, sum: u32) -> Value {
    json!({"prompt": format!("{a}+{b}="), "completion": format!("{sum}"), "answer": sum})
}

/// Runs to a good end; gives back the notes beside what was printed.
fn told(home: &Home, arguments: &str) -> (String, String) {
    let output = home.command(arguments).output().unwrap();
    assert!(output.status.success(), "srft {arguments}\n{}", stderr(&output));
    (String::from_utf8(output.stdout.clone()).unwrap(), stderr(&output))
}

/// Supervised data without answers is what every trainer takes (trl #2541, open-r1 #624).
#[test]
fn trl_2541_supervised_training_needs_no_answers() {
    let home = Home::new();
    home.write("sft.jsonl", sums(12, bare));
    home.write("few.jsonl", sums(3, answered));
    home.write("text.jsonl", sums(12, |a, b, sum| json!({"text": format!("{a}+{b}={sum}")})));
    let message =
        |a: u32, sum: u32| json!({"prompt": format!("{a}="), "response": sum.to_string()});
    home.write(
        "mixed.jsonl",
        sums(40, |a, _, sum| match a % 2 {
            0 => answered(a, 0, a),
            _ => message(a, sum),
        }),
    );
    for (file, note, suites) in [
        ("sft", "no answers in the data: nothing is evaluated", 0),
        ("text", "no answers in the data", 0),
        ("few", "fewer than 10 examples with an answer", 0),
        ("mixed", "23 of 40 examples have an answer: every tenth", 1),
    ] {
        let (printed, notes) = told(&home, &format!("{SFT} --data {file}.jsonl --out {file}"));
        assert!(notes.contains(note), "{file}: {notes}");
        assert_eq!(printed.contains("| suite"), suites > 0, "{printed}");
        assert_eq!(home.lines(&format!("{file}/metrics.jsonl")).len(), 2);
        assert!(home.path(&format!("{file}/best/model.safetensors")).exists(), "{file}");
        let summary: Value =
            serde_json::from_slice(&home.read(&format!("{file}/summary.json"))).unwrap();
        assert_eq!(summary["suites"].as_object().unwrap().len(), suites);
        home.succeeds(&format!("report {file} --text"));
    }
    // Two of twenty-three are held out, and the model after the last step is the best.
    assert_eq!(home.lines("mixed/evaluations.jsonl")[0]["scores"][0]["n"], 2);
    let [best, last] =
        ["best", "checkpoints/step-000002"].map(|f| format!("sft/{f}/model.safetensors"));
    assert_eq!(home.read(&best), home.read(&last));
    let plan = home.succeeds("plan --device cpu --model model --method sft --data sft.jsonl");
    assert!(!plan.contains("KV cache"), "{plan}");

    // Where answers are needed, what is shown as right has one.
    let error = home.fails(
        "train --device cpu --model model --data sft.jsonl",
        2,
        &["sft.jsonl:1: no `answer`", "rewards and evaluation"],
    );
    let shown = error.split("such as").nth(1).unwrap();
    assert_eq!(shown.matches(r#""answer": "4""#).count(), 2, "{error}");
    let gate = "--set objective.sft_gate=reward --data sft.jsonl --out gate";
    home.fails(&format!("{SFT} {gate}"), 2, &["no `answer`"]);
}

/// A run without problems to evaluate on is stopped and resumed like any other.
#[test]
fn a_run_without_evaluation_resumes() {
    let home = Home::new();
    home.write("text.jsonl", sums(12, |a, b, sum| json!({"text": format!("{a}+{b}={sum}")})));
    let steady = "--set optimizer.schedule=constant --set train.patience=1 --set eval.every=1";
    home.succeeds(&format!("{SFT} {steady} --data text.jsonl --out run"));
    home.succeeds("train --device cpu --resume run --steps 4");
    assert_eq!(home.lines("run/metrics.jsonl").len(), 4);
}

/// Two evaluation files of one name came out as one row (transformers #16474).
#[test]
fn transformers_16474_two_files_of_one_name_are_two_suites() {
    let home = Home::new();
    for folder in ["gsm8k", "math"] {
        std::fs::create_dir(home.path(folder)).unwrap();
    }
    home.write("gsm8k/test.jsonl", sums(2, answered));
    home.write("math/test.jsonl", sums(3, answered));
    home.write("math/train, v2.jsonl", sums(4, bare));
    home.write("add.csv", "prompt,answer\n1+1=,2\n");
    let files = "--eval-data gsm8k/test.jsonl --eval-data math/test.jsonl --eval-data add.csv";
    let mut command = home.command(&format!("{SFT} {files} --out run --data"));
    assert!(command.arg("math/train, v2.jsonl").output().unwrap().status.success());
    let twice = "--data add.csv --data add.csv";
    home.fails(&format!("{EVAL} {twice}"), 2, &["add.csv", "given for evaluation twice"]);
    let names = ["add.csv", "gsm8k/test", "math/test"];
    let summary: Value = serde_json::from_slice(&home.read("run/summary.json")).unwrap();
    let suites = summary["suites"].as_object().unwrap();
    let found: Vec<(&str, u64)> =
        suites.iter().map(|(name, s)| (name.as_str(), s["n"].as_u64().unwrap())).collect();
    assert_eq!(found, [(names[0], 1), (names[1], 2), (names[2], 3)]);
    let written = home.names("run/evaluations/step-000002");
    assert_eq!(written, ["add.csv.jsonl", "gsm8k-test.jsonl", "math-test.jsonl"]);
    assert_eq!(home.lines("run/samples.jsonl")[0]["suite"], "train, v2");
    let report = home.succeeds("report run --text");
    let table = home.succeeds(&format!("{EVAL} {}", files.replace("--eval-", "--")));
    for name in names {
        assert!(report.contains(name), "{report}");
        assert!(table.contains(name), "{table}");
    }
}

/// `rollout.stop=<|im_end|>` was three stops (transformers #28932, MLX-Textgen #3), and a stop text
/// stayed in the answer (fauxpilot #85, SkyRL #778).
#[test]
fn transformers_28932_a_stop_is_one_text_and_leaves_the_answer() {
    let home = Home::new();
    home.write("sums.csv", "prompt,answer\n59+63=,\"9\"\n");
    let tiny = "eval --device cpu --data sums.csv --set eval.temperature=0 --out o";
    for verifier in ["exact", "numeric", "math", "regex"] {
        let _ = std::fs::remove_dir_all(home.path("o"));
        home.succeeds(&format!("{tiny} --verifier {verifier} --stop +"));
        let sample = &home.lines("o/sums.jsonl")[0];
        assert_eq!(
            (&sample["response"], &sample["right"], &sample["truncated"], &sample["tokens"]),
            (&json!("9"), &json!(true), &json!(false), &json!(2)),
        );
    }
    let generate = "generate --device cpu 59+63= --temperature 0 --json";
    let response = |stops: &str| -> Value {
        serde_json::from_str(&home.succeeds(&format!("{generate} {stops}"))).unwrap()
    };
    let whole = response("")["response"].as_str().unwrap().to_string();
    assert!(whole.contains(',') && whole.contains('>'), "{whole}");
    let before = |stop: char| whole.split(stop).next().unwrap();
    for (stops, text) in [
        ("--set rollout.stop=<|im_end|>", &*whole),
        ("--set rollout.stop=>|,", &whole),
        ("--set rollout.stop=", &whole),
        ("--stop $", &whole),
        ("--set rollout.stop=[\">\",\",\"]", before(',')),
        ("--stop > --stop >1", before('>')),
    ] {
        assert_eq!(response(stops)["response"], *text, "{stops}");
    }
    home.fails(
        &format!("{generate} --set rollout.stop=[\"\"]"),
        2,
        &["rollout.stop", "empty text"],
    );
    // In training the text is cut and the tokens stay.
    home.write("train.csv", "prompt,response,answer\n59+63=,9,9\n");
    home.succeeds(
        "train --device cpu --data train.csv --steps 1 --stop + --out run --set rollout.group=4 \
         --set rollout.prompts=2 --set checkpoint.samples_every=1 --set rollout.temperature=0.1",
    );
    let episodes: Vec<Value> = home.lines("run/samples.jsonl");
    let episodes: Vec<&Value> =
        episodes.iter().flat_map(|group| group["episodes"].as_array().unwrap()).collect();
    assert_eq!(episodes.len(), 8);
    assert!(episodes.iter().all(|e| e["response"] == "9" && e["right"] == true), "{episodes:?}");
    // A character is a token here: the 9 and the stop.
    assert_eq!(home.lines("run/metrics.jsonl")[0]["response_tokens"], 2.0);
}

/// An evaluation took the first 200 problems without a word (MultiQA #19, lm-evaluation-harness #2598).
#[test]
fn multiqa_19_a_file_is_evaluated_whole_unless_a_number_is_asked() {
    let home = Home::new();
    home.write("sums.jsonl", sums(230, answered));
    let whole: Value =
        serde_json::from_str(&home.succeeds(&format!("{EVAL} --data sums.jsonl --json"))).unwrap();
    assert_eq!(whole["scores"][0]["n"], 230);
    let some = format!("{EVAL} --data sums.jsonl --set eval.examples=3 --set eval.skip=9");
    let (table, notes) = told(&home, &some);
    assert!(table.contains("3/230"), "{table}");
    assert!(notes.contains("sums: 3 of 230 problems are evaluated"), "{notes}");
}

/// gzip is read (data-juicer #1055); a list of old says how it is written now.
#[test]
fn files_as_they_come() {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    let home = Home::new();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(sums(11, answered).as_bytes()).unwrap();
    home.write("a.jsonl.gz", packed.finish().unwrap());
    home.write("b.json", json!({"data": [answered(1, 2, 3), answered(3, 4, 7)]}).to_string());
    home.write("c.csv", "prompt,completion\n1+1=,2\n");
    let score = "score --device cpu --model model --out o.jsonl";
    home.succeeds(&format!("{score} --data a.jsonl.gz --data b.json --data c.csv"));
    let [files, one] = ["--data c.csv --data b.json", "--data c.csv"].map(|data| {
        home.succeeds(&format!("{score} {data}"));
        home.lines("o.jsonl")
    });
    assert_eq!((files.len(), &files[0]), (3, &one[0]), "one after the other");
    // Each file gives its own tenth.
    home.succeeds(&format!("{SFT} --data a.jsonl.gz --data b.json --out run"));
    assert_eq!(home.lines("run/evaluations.jsonl")[0]["scores"][0]["suite"], "a");
    home.fails(
        &format!("{EVAL} --data a.jsonl,b.json"),
        2,
        &[
            "a.jsonl,b.json",
            "No such file",
            "[\"a.jsonl\", \"b.json\"]",
            "--data a.jsonl --data b.json",
        ],
    );
    home.write("old.toml", "[data]\neval = \"b.json\"\ntrain = \"\"\n[rollout]\nstop = \"\"\n");
    assert!(home.succeeds(&format!("{EVAL} --config old.toml")).contains("| b "));
}

/// A template that writes a finished turn otherwise than it asks for one (open-r1 #585, trl #5213)
/// does no harm where nobody needs what was answered.
#[test]
fn open_r1_585_demonstrations_that_are_not_used_are_not_rendered() {
    let home = Home::new();
    let template = "{% for m in messages %}{% if m.role == 'user' %}^{{ m.content }}={% else %}\
        {{ m.content }}${% endif %}{% endfor %}{% if add_generation_prompt %}>{% endif %}";
    home.write("model/chat_template.jinja", template);
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let row = json!({"messages": [turn("user", "1+1"), turn("assistant", "2")], "answer": 2});
    home.write("chat.jsonl", format!("{row}\n{row}\n"));
    home.succeeds(&format!("{EVAL} --data chat.jsonl"));
    let train = "train --device cpu --model model --steps 1 --set rollout.prompts=1 \
        --set rollout.group=2 --max-new-tokens 4 --data chat.jsonl --out run --method";
    home.succeeds(&format!("{train} grpo"));
    let shift = "analyze token-shift --device cpu --base model --model model --max-new-tokens 4 \
        --data chat.jsonl --samples greedy";
    home.succeeds(shift);
    home.fails(&format!("{train} sft"), 2, &["chat.jsonl:1", "writes the prompt differently"]);
}

/// `score` said "cut" and then refused (trl #4698).
#[test]
fn trl_4698_score_cuts_and_drops_as_training_does() {
    let home = Home::new();
    let long = json!({"prompt": "1+1=", "response": "2".repeat(90)});
    home.write("long.jsonl", format!("{long}\n{}\n", bare(1, 1, 2)));
    let score = "score --device cpu --model model --data long.jsonl --out o.jsonl";
    home.fails(score, 2, &["long.jsonl:1", "data.too_long to drop or cut"]);
    for (how, lengths) in [
        ("--set data.too_long=cut", vec![60, 2]),
        ("--set data.too_long=cut --set data.max_tokens=20", vec![15, 2]),
        ("--set data.too_long=drop", vec![2]),
    ] {
        let (_, notes) = told(&home, &format!("{score} {how}"));
        assert!(notes.contains("1 too long"), "{notes}");
        let scored = home.lines("o.jsonl");
        let found: Vec<usize> =
            scored.iter().map(|s| s["tokens"].as_array().unwrap().len()).collect();
        assert_eq!(found, lengths, "{how}");
    }
}
