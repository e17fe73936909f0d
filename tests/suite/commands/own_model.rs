//! "Your model, your data", through the program: a sharded Qwen2 folder with a chat template, TRL's
//! data shapes, adapters, rewards, evaluation, merging.

use crate::common::golden_path;
use crate::program::{Home, assert_error, without_secs};
use serde_json::{Value, json};
use std::fs;

const INPUT: i32 = 2;
const MACHINE: i32 = 3;

/// A short run of the chat model; its answers are single characters.
const TRAIN: &str = "train --device cpu --model qwen --set rollout.prompts=2 --set rollout.group=3 \
     --max-new-tokens 6 --set eval.examples=3";
/// Short of its steps.
const TWO: &str = "--steps 2";

/// A home with `qwen/`: BF16 in three shards, two ends of text, ChatML.
fn home() -> Home {
    let home = Home::new();
    let from = golden_path("qwen2-sharded");
    fs::create_dir(home.path("qwen")).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if !name.contains("golden") && name != "chat.json" {
            fs::copy(entry.path(), home.path("qwen").join(name)).unwrap();
        }
    }
    let sums = (0..20).map(|i| {
        let (a, b) = (i % 4, i % 5);
        json!({
            "messages": [
                {"role": "user", "content": format!("{a}+{b}=?")},
                {"role": "assistant", "content": format!("{}", a + b)},
            ],
            "answer": format!("{}", a + b),
            "level": i,
        })
    });
    home.write("sums.jsonl", sums.map(|s| format!("{s}\n")).collect::<String>());
    home
}

#[test]
fn a_chat_model_learns_from_messages_by_adapters() {
    let home = home();
    let output = home
        .command(&format!(
            "{TRAIN} {TWO} --data sums.jsonl --lora-rank 4 --verifier math --out run"
        ))
        .output()
        .unwrap();
    let said = crate::program::stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("sums.jsonl: ignored columns: `level`"), "{said}");

    let names = home.names("run/best");
    for name in ["adapter_config.json", "adapter_model.safetensors", "tokenizer_config.json"] {
        assert!(names.contains(&name.to_string()), "{name} in {names:?}");
    }
    assert!(!names.iter().any(|n| n.starts_with("model")), "adapters alone: {names:?}");
    let sample = &home.lines("run/samples.jsonl")[0];
    let prompt = sample["prompt"].as_str().unwrap();
    assert!(prompt.starts_with("<|im_start|>system\nyou add numbers.<|im_end|>\n"), "{prompt}");
    assert!(prompt.ends_with("=?<|im_end|>\n<|im_start|>assistant\n"), "{prompt}");
    assert_eq!(sample["demonstration_reward"], 1.0);
    let evaluated = home.lines("run/evaluations/step-000002/sums.jsonl");
    assert_eq!(evaluated.len(), 2, "a tenth of the file");
    assert!(evaluated.iter().all(|s| s["right"].is_boolean() && s["response"].is_string()));

    // The adapter's folder is a model, the merged one too, and both say the same.
    home.succeeds("merge --model run/best --out merged");
    assert!(home.path("merged/generation_config.json").exists());
    let answers = ["run/best", "merged"].map(|model| {
        let command = format!(
            "generate --device cpu --model {model} --chat 1+1=? --temperature 0 --max-new-tokens 6 --json"
        );
        let line: Value = serde_json::from_str(&home.succeeds(&command)).unwrap();
        line["tokens"].clone()
    });
    assert_eq!(answers[0], answers[1]);
    let config: Value = serde_json::from_slice(&home.read("merged/config.json")).unwrap();
    assert_eq!(config["dtype"], "float32");
    home.fails("merge --model merged --out again", INPUT, &["no adapter"]);
    home.succeeds("merge --model run/best --out merged"); // over what it wrote itself
    home.write("merged/config.json", "edited by hand");
    home.fails(
        "merge --model run/best --out merged",
        INPUT,
        &["since: config.json", "--overwrite"],
    );

    let printed = home.succeeds(
        "eval --device cpu --model run/best --data sums.jsonl --verifier math --samples 3 \
         --max-new-tokens 4 --out results",
    );
    assert!(printed.contains("avg@3 %") && printed.contains("pass@3 %"), "{printed}");
    assert_eq!(home.lines("results/sums.jsonl").len(), 60);
}

/// Stopped and resumed, adapters and their moments go on bit for bit.
#[test]
fn adapters_resume_bit_for_bit() {
    let home = home();
    let train = format!(
        "{TRAIN} --data sums.jsonl --lora-rank 2 --set lora.dropout=0.2 --verifier math \
         --set optimizer.schedule=constant --set checkpoint.every=1"
    );
    home.succeeds(&format!("{train} --steps 4 --out whole"));
    home.succeeds(&format!("{train} --steps 2 --out parts"));
    let resumed = home.succeeds("train --device cpu --resume parts --steps 4");
    assert!(resumed.contains("resumed after step 2"), "{resumed}");
    for name in ["adapter_model.safetensors", "optimizer.safetensors"] {
        let [a, b] = ["whole", "parts"]
            .map(|run| home.read(&format!("{run}/checkpoints/step-000004/{name}")));
        assert!(a == b, "{name} differs");
    }
}

#[test]
fn every_shape_of_data_trains() {
    let home = home();
    for (name, rows) in [
        ("text.jsonl", vec![json!({"text": "1+1=2. 2+2=4."}), json!({"text": "3+3=6."})]),
        ("completion.jsonl", vec![json!({"prompt": "1+1=", "completion": "2"})]),
        (
            "chat.jsonl",
            vec![json!({
                "prompt": [{"role": "user", "content": "1+1=?"}],
                "completion": [{"role": "assistant", "content": "2"}],
            })],
        ),
        (
            "turns.jsonl",
            vec![json!({"messages": [
                {"role": "user", "content": "1+1=?"},
                {"role": "assistant", "content": "22"},
                {"role": "user", "content": "2+2=?"},
                {"role": "assistant", "content": "4"},
            ]})],
        ),
    ] {
        home.write(name, rows.iter().map(|r| format!("{r}\n")).collect::<String>());
        home.write("eval.csv", "prompt,answer\n1+1=,2\n");
        let command = format!(
            "{TRAIN} {TWO} --method sft --data {name} --eval-data eval.csv --out run-{name}"
        );
        home.succeeds(&command);
    }
    // Tokens with their end, two examples a step: 13 and 6 of text; 2; 2; 3 + 2.
    for (name, tokens) in
        [("text.jsonl", 19), ("completion.jsonl", 4), ("chat.jsonl", 4), ("turns.jsonl", 10)]
    {
        let trained = &home.lines(&format!("run-{name}/metrics.jsonl"))[0]["trained_tokens"];
        assert_eq!(*trained, tokens, "{name}");
    }
}

/// Templates of reasoning models drop what an earlier turn thought.
#[test]
fn turns_that_a_template_rewrites_are_told() {
    let home = home();
    home.write(
        "qwen/chat_template.jinja",
        "{% for m in messages %}<|im_start|>{{ m.role }}\n\
         {{ m.content if loop.last or m.role == 'user' else '-' }}<|im_end|>\n{% endfor %}\
         {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    );
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let row = json!({"messages": [
        turn("user", "1+1=?"), turn("assistant", "22"), turn("user", "2+2=?"), turn("assistant", "4"),
    ]});
    home.write("turns.jsonl", row.to_string());
    home.write("eval.csv", "prompt,answer\n1+1=,2\n");
    let train = format!("{TRAIN} {TWO} --method sft --data turns.jsonl --eval-data eval.csv");
    for (turns, told) in [("all", true), ("last", false)] {
        let command = format!("{train} --set data.turns={turns} --out run-{turns}");
        let output = home.command(&command).output().unwrap();
        let said = crate::program::stderr(&output);
        assert!(output.status.success(), "{said}");
        let words = "turns.jsonl: 1 with earlier turns of the assistant: read but not learned";
        assert_eq!(said.contains(words), told, "{said}");
        let trained = &home.lines(&format!("run-{turns}/metrics.jsonl"))[0]["trained_tokens"];
        assert_eq!(*trained, 4, "`4` and its end, twice");
    }
}

#[test]
fn long_examples_are_told_and_dropped_or_cut() {
    let home = home();
    let rows = ["1", "11111111111111", "1"].map(|r| json!({"prompt": "1+1=", "response": r}));
    home.write("long.jsonl", rows.map(|r| format!("{r}\n")).concat());
    home.write("eval.jsonl", json!({"prompt": "1+1=", "answer": "2"}).to_string());
    let train = format!(
        "{TRAIN} {TWO} --method sft --data long.jsonl --eval-data eval.jsonl --set data.max_tokens=10"
    );
    home.fails(&train, INPUT, &["long.jsonl:2", "4 prompt and 15 response", "data.too_long"]);
    for (done, words, tokens) in [("drop", "dropped (lines 2)", 2.0), ("cut", "cut", 4.0)] {
        let command = format!("{train} --set data.too_long={done} --out run-{done}");
        let output = home.command(&command).output().unwrap();
        let said = crate::program::stderr(&output);
        assert!(output.status.success() && said.contains("long.jsonl: 1 too long: "), "{said}");
        assert!(said.contains(words), "{said}");
        // Three examples a cycle, two a step: over two steps the long one comes at least once.
        let steps = home.lines(&format!("run-{done}/metrics.jsonl"));
        let most = steps.iter().map(|s| s["trained_tokens"].as_f64().unwrap()).fold(0.0, f64::max);
        if done == "drop" { assert_eq!(most, 2.0 * tokens) } else { assert_eq!(most, 2.0 + 6.0) }
    }
}

#[cfg(unix)]
#[test]
fn a_command_judges_and_its_failures_are_counted() {
    let home = home();
    home.write(
        "judge.sh",
        "n=0\nwhile read -r line; do n=$((n+1)); echo judging >&2\n\
         if [ $((n % 4)) = 0 ]; then echo '{\"error\": \"not today\"}'; else echo '{\"score\": 0.75}'; fi\n\
         done\n",
    );
    let train =
        format!("{TRAIN} {TWO} --data sums.jsonl --verifier command --out run --reward-cmd");
    let mut command = home.command(&train);
    let output = command.arg("sh judge.sh").output().unwrap();
    let said = crate::program::stderr(&output);
    // A demonstration that is refused is imitated, and not reinforced.
    assert!(output.status.success(), "{said}");
    assert!(said.contains("judging"), "its stderr is shown: {said}");
    let grpo = format!(
        "{TRAIN} {TWO} --method grpo --data sums.jsonl --verifier command --out grpo --reward-cmd"
    );
    let output = home.command(&grpo).arg("sh judge.sh").output().unwrap();
    assert!(output.status.success(), "{}", crate::program::stderr(&output));
    let steps = home.lines("grpo/metrics.jsonl");
    let unscored: u64 = steps.iter().map(|s| s["unscored"].as_u64().unwrap()).sum();
    assert!(unscored > 0 && unscored < 12, "{unscored} of 12 rollouts");
    assert!(steps.iter().all(|s| s["reward"] == 0.5), "0.75 is halfway from 0 to 1");
    let broken =
        home.command(&grpo.replace("grpo --reward", "broken --reward")).arg("false").output();
    assert_error(&broken.unwrap(), "train", MACHINE, &["no response could be scored"]);
}

/// GSM8K's solutions end in `#### ANSWER`; a line to the command has up to four responses, or three at the end.
#[cfg(unix)]
#[test]
fn a_command_that_wants_batches_gets_them_and_gsm8k_has_a_name() {
    let home = home();
    home.write(
        "judge.sh",
        "while read -r line; do\n\
         n=$(printf %s \"$line\" | grep -o '\"id\":' | wc -l); echo \"$n at once\" >&2\n\
         all=0.75; while [ $n -gt 1 ]; do all=\"$all, 0.75\"; n=$((n-1)); done; echo \"[$all]\"\n\
         done\n",
    );
    home.write(
        "gsm8k.jsonl",
        "{\"prompt\": \"2+2\", \"response\": \"4\", \"answer\": \"2+2 = <<2+2=4>>4\\n#### 4\"}\n"
            .repeat(20),
    );
    let train = format!(
        "{TRAIN} --steps 1 --method grpo --data gsm8k.jsonl --verifier gsm8k --set reward.command_batch=4 \
         --set checkpoint.samples_every=1"
    );
    let output =
        home.command(&format!("{train} --out run --reward-cmd")).arg("sh judge.sh").output();
    let (output, said) =
        (output.as_ref().unwrap(), crate::program::stderr(output.as_ref().unwrap()));
    assert!(output.status.success() && said.contains("4 at once"), "{said}");
    assert!(said.contains("2 at once"), "six rollouts are four and two: {said}");
    let step = &home.lines("run/metrics.jsonl")[0];
    assert_eq!((&step["rewards"]["command"], &step["unscored"]), (&0.75.into(), &0.into()));
    assert_eq!(home.lines("run/samples.jsonl")[0]["answer"], "4");
    let mut short = home.command(&format!("{train} --out short --reward-cmd"));
    let output = short.arg("sh -c 'while read -r line; do echo [0.5]; done'").output().unwrap();
    assert_error(&output, "train", MACHINE, &["which has 1 answers for"]);
}

/// A package of reasoning-gym's interface: the longer the answer, the better.
#[cfg(unix)]
const GYM: &str = "
class Long:
    def __init__(self, size, seed, most):
        self.size, self.most = size, most
    def __len__(self):
        return self.size
    def __getitem__(self, index):
        return {'question': f'{index} + 1', 'answer': str(index + 1), 'metadata': {}}
    def score_answer(self, answer, entry):
        if entry['answer'] == '7':
            raise ZeroDivisionError
        return min(1.0, len(answer or '') / self.most)
def create_dataset(name, size=30, seed=None, most=8):
    assert name == 'long' and seed is not None, 'no such task'
    return Long(size, seed, most)
";

/// Its problems by name, in conversations, and its own scorer as the judge.
#[cfg(unix)]
#[test]
fn a_task_of_reasoning_gym_trains_evaluates_and_resumes() {
    let home = home();
    home.write("reasoning_gym.py", GYM);
    let run = |arguments: &str| {
        let mut command = home.command(arguments);
        command
            .env("PYTHONPATH", home.path(""))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap()
    };
    let succeeds = |arguments: &str| {
        let output = run(arguments);
        assert!(output.status.success(), "{arguments}: {}", crate::program::stderr(&output));
        output
    };
    let task = "--task reasoning_gym:long?most=16 --set optimizer.schedule=constant";
    let set = "--method grpo --set checkpoint.samples_every=1 --set reward.answer_weight=1";
    succeeds(&format!("{TRAIN} {TWO} {task} {set} --out run"));
    let samples = home.lines("run/samples.jsonl");
    let episodes = || samples.iter().flat_map(|s| s["episodes"].as_array().unwrap());
    assert!(samples.iter().all(|s| s["suite"] == "long" && s["templated"] == true));
    for episode in episodes().filter(|e| e["truncated"] == false) {
        let length = episode["response"].as_str().unwrap().trim().chars().count() as f64;
        let reward = 2.0 * (length / 16.0).min(1.0) - 1.0;
        assert!((episode["reward"].as_f64().unwrap() - reward).abs() < 1e-6, "{episode}");
    }
    succeeds("train --resume run --steps 3");
    home.write("reasoning_gym.py", GYM.replace("+ 1'", "+ 2'"));
    let changed = run("train --resume run --steps 4");
    assert_error(&changed, "train", INPUT, &["changed since the run began", "reasoning_gym:long"]);
    let evaluated =
        succeeds("eval --device cpu --model qwen --task reasoning_gym:long --max-new-tokens 6");
    let said = String::from_utf8(evaluated.stdout).unwrap();
    assert!(said.contains("long") && said.contains("30"), "all 30 problems: {said}");
    for (arguments, words) in [
        (format!("{TRAIN} {task} --out a"), &["no demonstrations to imitate", "grpo"][..]),
        (
            format!("{TRAIN} --method grpo --task reasoning_gym:short --out b"),
            &["no such task", "create_dataset"],
        ),
        (
            format!("{TRAIN} --method grpo --data sums.jsonl --verifier task --out c"),
            &["data.verifier must be"],
        ),
    ] {
        assert_error(&run(&arguments), "train", INPUT, words);
    }
    home.write("reasoning_gym.py", "raise ImportError('no numpy')");
    let missing = run(&format!("{TRAIN} --method grpo {task} --out d"));
    assert_error(&missing, "train", INPUT, &["(no numpy)", "pip install reasoning-gym"]);
}

#[test]
fn parts_of_the_reward_are_weighed() {
    let home = home();
    let train = format!(
        "{TRAIN} {TWO} --method grpo --data sums.jsonl --verifier exact --set reward.format=[0-9]* \
         --set reward.format_weight=1 --out run"
    );
    home.succeeds(&train);
    let samples = home.lines("run/samples.jsonl");
    let episodes = samples.iter().flat_map(|s| s["episodes"].as_array().unwrap());
    for episode in episodes {
        let (reward, right) = (episode["reward"].as_f64().unwrap(), episode["right"] == true);
        let response = episode["response"].as_str().unwrap();
        let formed = episode["truncated"] == false && response.chars().all(|c| c.is_ascii_digit());
        let score = (f64::from(u8::from(right)) + f64::from(u8::from(formed))) / 2.0;
        assert_eq!(reward, 2.0 * score - 1.0, "{episode}");
    }
}

/// Each is in the metrics, the samples and the report; a weight of 0 only shows, a negative one is a penalty.
#[cfg(unix)]
#[test]
fn several_rewards_have_names_and_weights() {
    let home = home();
    home.write("judge.sh", "while read -r line; do echo 0.25; done\n");
    let rewards = "[[reward]]\nname = \"answer\"\nweight = 2\n\
         [[reward]]\nname = \"digits\"\nformat = \"[0-9]*\"\n\
         [[reward]]\nname = \"long\"\nweight = -1\ncommand = \"sh judge.sh\"\n\
         [[reward]]\nname = \"shown\"\nweight = 0\nverifier = \"numeric\"\n";
    home.write("rewards.toml", rewards);
    let settings = "--set checkpoint.samples_every=1 --set optimizer.schedule=constant";
    home.succeeds(&format!(
        "{TRAIN} {TWO} --method grpo --data sums.jsonl --verifier exact --config rewards.toml {settings} --out run"
    ));
    let samples = home.lines("run/samples.jsonl");
    for step in home.lines("run/metrics.jsonl") {
        let of_step = samples.iter().filter(|s| s["step"] == step["step"]);
        let episodes: Vec<&Value> =
            of_step.flat_map(|s| s["episodes"].as_array().unwrap()).collect();
        let names: Vec<&String> = step["rewards"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["answer", "digits", "long", "shown"]);
        for name in names {
            let scores = episodes.iter().map(|e| e["scores"][name].as_f64().unwrap());
            let mean = scores.sum::<f64>() / episodes.len() as f64;
            assert!((step["rewards"][name].as_f64().unwrap() - mean).abs() < 1e-12, "{name}");
        }
        for episode in episodes {
            let score = |name: &str| episode["scores"][name].as_f64().unwrap();
            assert_eq!((score("long"), score("answer") == 1.0), (0.25, episode["right"] == true));
            let weighed = (2.0 * score("answer") + score("digits") + (1.0 - score("long"))) / 4.0;
            assert!((episode["reward"].as_f64().unwrap() - (2.0 * weighed - 1.0)).abs() < 1e-6);
        }
    }
    home.succeeds("report run --out report.html");
    let report = String::from_utf8(home.read("report.html")).unwrap();
    assert!(report.contains("Rewards, one by one") && report.contains("shown 0.00"));
    let eval = "eval --model run/best --data sums.jsonl --verifier exact --config rewards.toml --samples 2";
    let result = home.succeeds(&format!("{eval} --out judged --json"));
    let result: Value = serde_json::from_str(&result).unwrap();
    let judged = home.lines("judged/sums.jsonl");
    for (name, mean) in result["scores"][0]["rewards"].as_object().unwrap() {
        let sum: f64 = judged.iter().map(|s| s["scores"][name].as_f64().unwrap()).sum();
        assert!((mean.as_f64().unwrap() - sum / judged.len() as f64).abs() < 1e-12, "{name}");
    }
    let table = home.succeeds(eval);
    assert!(table.contains("digits") && table.contains("0.25"), "{table}");
    home.succeeds("train --resume run --steps 3");
    let weight = "train --resume run --steps 4 --set reward.answer_weight=1";
    home.fails(weight, INPUT, &["reward.answer_weight", "was 2"]);
    home.write("rewards.toml", rewards.replace("verifier = \"numeric\"", "given = true"));
    let given =
        format!("{TRAIN} --data sums.jsonl --verifier exact --config rewards.toml --out given");
    home.fails(&given, INPUT, &["the reward `shown`", "given by a program"]);
}

/// What memory has room for may change when a run is resumed: the numbers stay the same.
#[test]
fn layers_are_kept_where_memory_has_room_for_them() {
    let home = home();
    let train = |out: &str, gib: f64, again: &str| {
        let train = format!(
            "{TRAIN} --data sums.jsonl --verifier math --lora-rank 2 --set train.memory_gib={gib} \
             --out {out}"
        );
        for command in [
            format!("{train} --steps 1 --set optimizer.schedule=constant"),
            format!("train --resume {out} --steps 2 --set train.memory_gib={gib}"),
        ] {
            let output = home.command(&command).output().unwrap();
            let said = crate::program::stderr(&output);
            assert!(output.status.success(), "{said}");
            assert!(said.contains(&format!("{again} of 2 layers are computed again")), "{said}");
        }
        without_secs(home.lines(&format!("{out}/metrics.jsonl")))
    };
    assert_eq!(train("roomy", 1.0, "0"), train("tight", 1e-5, "2"));
    let unknown = "train --model qwen --set train.checkpointing=some";
    home.fails(unknown, INPUT, &["train.checkpointing", "expected `auto`, true or false"]);
}

#[test]
fn hostile_shards_and_adapters_are_named() {
    let home = home();
    let generate = "generate --device cpu --model qwen --max-new-tokens 2 1+1=";
    let index = home.read("qwen/model.safetensors.index.json");
    let refused = |change: &dyn Fn(&mut Value), words: &[&str]| {
        let mut value: Value = serde_json::from_slice(&index).unwrap();
        change(&mut value);
        home.write("qwen/model.safetensors.index.json", value.to_string());
        home.fails(generate, INPUT, words);
        home.write("qwen/model.safetensors.index.json", &index);
    };
    let norm = "model.norm.weight";
    refused(
        &|v| v["weight_map"][norm] = "../evil.safetensors".into(),
        &["not a file of this folder"],
    );
    refused(&|v| v["weight_map"][norm] = "model-9.safetensors".into(), &["model-9.safetensors"]);
    refused(
        &|v| v["weight_map"][norm] = "model-00001-of-00003.safetensors".into(),
        &[norm, "should be in model-00001"],
    );
    refused(&|v| v["weight_map"] = json!({}), &["weight_map is empty"]);
    refused(&|v| v["weight_map"] = json!(3), &["index.json"]);
    let first = home.read("qwen/model-00001-of-00003.safetensors");
    let second = home.read("qwen/model-00002-of-00003.safetensors");
    home.write("qwen/model-00002-of-00003.safetensors", &first);
    home.fails(generate, INPUT, &["is in model-00001-of-00003.safetensors too"]);
    home.write("qwen/model-00002-of-00003.safetensors", &second[..second.len() - 3]);
    home.fails(generate, INPUT, &["qwen/model-00002", "not a complete safetensors file"]);
    home.write("qwen/model-00002-of-00003.safetensors", second);
    home.succeeds(generate);
    home.fails(&format!("{generate} --chat").replace("qwen", "tiny"), INPUT, &["no chat template"]);

    home.succeeds(&format!(
        "{TRAIN} {TWO} --data sums.jsonl --verifier math --lora-rank 2 --out run"
    ));
    let adapter = "generate --device cpu --model run/best --max-new-tokens 2 1+1=";
    let config: Value = serde_json::from_slice(&home.read("run/best/adapter_config.json")).unwrap();
    for (key, value, word) in [
        ("r", json!(3), "lora_A.weight"),
        ("use_dora", json!(true), "use_dora = true"),
        ("base_model_name_or_path", json!("Qwen/Qwen2.5-0.5B"), "nothing is downloaded"),
        ("target_modules", json!(["q_proj"]), "is not part"),
    ] {
        let mut changed = config.clone();
        changed[key] = value;
        home.write("run/best/adapter_config.json", changed.to_string());
        home.fails(adapter, INPUT, &["run/best", word]);
    }
}

#[test]
fn a_plan_says_what_goes_where_before_anything_is_loaded() {
    let home = home();
    // No weights are needed to plan with.
    for entry in fs::read_dir(home.path("qwen")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains("of-00003") {
            fs::write(path, b"").unwrap();
        }
    }
    let whole = home.succeeds("plan --model qwen --device cpu");
    for word in ["weights", "moments", "gradients", "activations", "KV cache", "head", "fits"] {
        assert!(whole.contains(word), "{word} in\n{whole}");
    }
    let adapted = home.succeeds("plan --model qwen --device cpu --lora-rank 4 --json");
    let plan: Value = serde_json::from_str(&adapted).unwrap();
    assert!(plan["items"].as_array().unwrap().iter().any(|i| i["for"] == "adapters"));
    let in_halves = home.succeeds("plan --model qwen --set run.precision=f16x3");
    assert!(in_halves.contains("for matrix units"), "{in_halves}");
    home.fails("plan --model qwen --memory 0.001", INPUT, &["do not fit", "to need less"]);
    // A byte less than all layers' activations need: one of the two is computed again.
    let json = |arguments: &str| -> Value {
        let plan = home.succeeds(&format!("plan --model qwen --device cpu --json {arguments}"));
        serde_json::from_str(&plan).unwrap()
    };
    let peak = json("--set train.checkpointing=false")["peak_bytes"].as_u64().unwrap();
    let gib = (peak - 1) as f64 / f64::from(1 << 30);
    let less = json(&format!("--memory {gib}"));
    assert!(less["peak_bytes"].as_u64().unwrap() < peak);
    assert!(less.to_string().contains("1 of 2 layers, kept"), "{less}");
    assert!(less.to_string().contains("1 of 2 layers, which are computed again"), "{less}");
    // With the data at hand it counts on texts as long as they are, not as the model allows.
    let cache = |arguments: &str| {
        let plan = home.succeeds(&format!("plan --model qwen --device cpu --json {arguments}"));
        let plan: Value = serde_json::from_str(&plan).unwrap();
        let items = plan["items"].as_array().unwrap().clone();
        let cache = items.into_iter().find(|i| i["for"] == "KV cache").unwrap();
        cache["of"].as_str().unwrap().to_string()
    };
    assert!(cache("").ends_with(" rows of 128 after them"), "{}", cache(""));
    home.write(
        "short.jsonl",
        "{\"prompt\": \"1+1=\", \"completion\": \"2\", \"answer\": \"2\"}\n".repeat(3),
    );
    let short = cache("--data short.jsonl --verifier numeric --max-new-tokens 9");
    assert!(
        short.contains(" prompts of 4 positions, and ") && short.ends_with(" rows of 9 after them"),
        "{short}"
    );
}
