//! Text as the model reads it: tokenizers, templates, ends of text (docs/text.md). The golden files
//! are transformers' own (`tests/golden/make_text.py`).

use crate::program::Home;
use burn::tensor::Device;
use serde_json::{Value, json};
use srft::config::{Objective, Storage};
use srft::data::batch::micro_batches;
use srft::data::encode::{Encoded, encode};
use srft::data::{file, render, shape::Needs};
use srft::error::Result;
use srft::model::{Llama, ModelFolder};
use srft::objective::assemble;
use srft::records::{Demonstration, Example, Group, Origin};
use srft::rollout::Stops;
use srft::text::Tokenizer;
use srft::text::chat::ChatTemplate;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(golden(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A published kind of tokenizer with its chat template.
struct Kind {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    eos_tokens: Vec<u32>,
}

impl Kind {
    fn of(name: &str) -> Self {
        let tokenizer = read(&format!("text/{name}/tokenizer.json"));
        Self::from(name, &tokenizer, &read(&format!("text/{name}/tokenizer_config.json")))
    }

    /// The kind with another `tokenizer.json` or `tokenizer_config.json`.
    fn from(name: &str, tokenizer: &str, config: &str) -> Self {
        let template = read(&format!("text/{name}/chat_template.jinja"));
        let config = Some(config.as_bytes());
        let template = ChatTemplate::from_files(Some(template.as_bytes()), config, None, name);
        let tokenizer = Tokenizer::from_bytes(tokenizer.as_bytes(), name).unwrap();
        let tokenizer = tokenizer.with_config(config, None, name).unwrap();
        let eos_tokens = vec![tokenizer.end().expect("an end of text")];
        Self { tokenizer, template: template.unwrap().unwrap(), eos_tokens }
    }

    fn example(&self, row: &Value, all_turns: bool) -> Result<Example> {
        example(row, Some(&self.template), all_turns)
    }

    /// A row in tokens, with its text.
    fn encoded(&self, row: &Value) -> (Encoded, Example) {
        let example = self.example(row, true).unwrap_or_else(|e| panic!("{row}: {e}"));
        let encoded = encode(&self.tokenizer, &self.eos_tokens, &example);
        (encoded.unwrap_or_else(|e| panic!("{row}: {e}")), example)
    }

    /// Tokens as text; the byte tokens of a SentencePiece vocabulary apart.
    fn spelled(&self, ids: &[u32]) -> String {
        let text = self.tokenizer.spelled(ids).concat();
        text.replace(['▁', 'Ġ'], " ").replace(['Ċ'], "\n").replace("<0x0A>", "\n")
    }
}

/// What a page shows a token as: not `Ġplus`, but ` plus`.
#[test]
fn what_each_token_adds_is_the_text() {
    for name in ["llama2", "llama3", "mistral", "qwen3", "smollm2", "zephyr"] {
        let Kind { tokenizer, .. } = Kind::of(name);
        let text = "Twenty-three plus forty is 63.\n  So: 63";
        let ids = tokenizer.encode(text).unwrap();
        let written = tokenizer.written(&ids);
        assert_eq!(written.concat(), tokenizer.decode_spelled(&ids), "{name}");
        assert!(written.iter().any(|token| token.starts_with(' ')), "{name}: {written:?}");
    }
}

fn example(row: &Value, template: Option<&ChatTemplate>, all_turns: bool) -> Result<Example> {
    let needs = Needs { response: true, answer: false };
    let mut rows = file::parse(row.to_string().as_bytes(), "rows.jsonl", needs)?.rows;
    Ok(render::example(rows.remove(0), "s", template, all_turns)?.0)
}

fn numbers(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).expect("numbers")
}

/// All that is read, and the positions in it that imitation learns.
fn all_of(encoded: &Encoded) -> (Vec<u32>, Vec<u32>) {
    let shown = encoded.demonstration.as_deref().unwrap_or_default();
    let tokens = [&encoded.prompt[..], &encoded.earlier, shown].concat();
    let learned = encoded.learned.iter().copied().chain(encoded.read()..tokens.len());
    (tokens.clone(), learned.map(|position| position as u32).collect())
}

/// transformers #26273 (a turn that gains a `▁`), #30947, #29279, LlamaFactory #2962, trl #1400 and
/// others: for six kinds of tokenizers, conversations, text pairs, decoding over split characters and
/// stop texts over token borders are transformers' own, and what is learned is what the assistant
/// wrote.
#[test]
fn tokens_and_spans_are_those_of_transformers() {
    let text = read("text/expected.jsonl");
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let header = lines.next().unwrap();
    assert_eq!((&header["format"], &header["version"]), (&json!("srft-golden"), &json!(1)));
    let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
    let (mut seen, mut parted) = (BTreeMap::<String, usize>::new(), 0);
    for line in lines {
        let name = line["kind"].as_str().unwrap();
        let kind = kinds.entry(name.into()).or_insert_with(|| Kind::of(name));
        *seen.entry(line["case"].as_str().unwrap().into()).or_default() += 1;
        match line["case"].as_str().unwrap() {
            "chat" => parted += usize::from(!is_chat_of_transformers(kind, &line)),
            "pair" => parted += usize::from(!is_pair_of_transformers(kind, &line)),
            "text" => {
                let (text, alone) = (line["text"].as_str().unwrap(), numbers(&line["alone"]));
                assert_eq!(kind.tokenizer.encode(text).unwrap(), numbers(&line["ids"]), "{line}");
                assert_eq!(kind.tokenizer.pieces(text).unwrap().ids, alone, "{line}");
                let decoded = line["decoded"].as_array().unwrap();
                for (count, expected) in (1..).zip(decoded) {
                    let tokens = &alone[..count];
                    assert_eq!(kind.tokenizer.decode(tokens), *expected, "{line}");
                    // What is shown meanwhile stays, and has no half characters.
                    let shown = Stops::default().settled(&kind.tokenizer, tokens);
                    let whole = kind.tokenizer.decode(&alone);
                    assert!(whole.starts_with(&shown), "{shown:?} of {line}");
                    let at_once = expected == shown.as_str();
                    assert_eq!(
                        at_once,
                        !expected.as_str().unwrap().ends_with('\u{FFFD}'),
                        "{line}"
                    );
                }
            }
            "stop" => {
                let stop = [line["stop"].as_str().unwrap().to_string()];
                let found = Stops::new(&kind.tokenizer, &stop).first_in(&numbers(&line["ids"]), 0);
                assert_eq!(found.map(|n| n as u64), line["after"].as_u64(), "{line}");
            }
            _ => {
                let mut files: Value =
                    serde_json::from_str(&read(&format!("text/{name}/tokenizer.json"))).unwrap();
                files["added_tokens"] = line["added_tokens"].clone();
                let tokenizer = Tokenizer::from_bytes(files.to_string().as_bytes(), name).unwrap();
                let config = line["config"].to_string();
                let tokenizer = tokenizer.with_config(Some(config.as_bytes()), None, name).unwrap();
                let ids = tokenizer.pieces(line["text"].as_str().unwrap()).unwrap().ids;
                assert_eq!(ids, numbers(&line["ids"]), "{line}");
            }
        }
    }
    let counts = [("added", 11), ("chat", 52), ("pair", 48), ("stop", 24), ("text", 24)];
    assert_eq!(seen, counts.map(|(case, count)| (case.to_string(), count)).into());
    assert!(parted > 10, "{parted} texts whose border a token goes over");
}

/// Whether a conversation has transformers' tokens from end to end; else it must part from them as
/// docs/text.md says.
fn is_chat_of_transformers(kind: &Kind, line: &Value) -> bool {
    let (encoded, example) = kind.encoded(&line["row"]);
    let [prompt, whole, learned] = ["prompt", "whole", "learned"].map(|key| numbers(&line[key]));
    assert_eq!(encoded.prompt, prompt, "{line}");
    let (tokens, own) = all_of(&encoded);
    if whole.starts_with(&prompt) {
        assert_eq!(tokens, whole[..tokens.len()], "{line}");
        assert!(kind.spelled(&whole[tokens.len()..]).trim().is_empty(), "{line}");
        assert_eq!(own, learned, "{line}");
        return true;
    }
    // What the token over the border holds of the response is the model's to write.
    let within = |positions: &[u32]| -> Vec<u32> {
        positions.iter().copied().filter(|&p| (p as usize) < prompt.len()).collect()
    };
    assert_eq!(within(&own), within(&learned), "{line}");
    let behind = |positions: &[u32], ids: &[u32], from: usize| -> String {
        let positions = positions.iter().filter(|&&p| p as usize >= from);
        kind.spelled(&positions.map(|&p| ids[p as usize]).collect::<Vec<_>>())
    };
    let (ours, theirs) =
        (behind(&own, &tokens, prompt.len()), behind(&learned, &whole, prompt.len() - 1));
    let shown = example.demonstration.unwrap();
    let first = ours.split_inclusive("</s>").next().unwrap();
    assert!(ours.len() > theirs.len() && ours.ends_with(&theirs), "{line}: {ours:?} {theirs:?}");
    assert!(shown.starts_with(first), "{line}: {ours:?} {shown:?}");
    false
}

fn is_pair_of_transformers(kind: &Kind, line: &Value) -> bool {
    let (encoded, example) = kind.encoded(&line["row"]);
    let [prompt, whole] = ["prompt", "whole"].map(|key| numbers(&line[key]));
    assert_eq!(encoded.prompt, prompt, "{line}");
    let (tokens, _) = all_of(&encoded);
    let (end, tokens) = tokens.split_last().unwrap();
    assert_eq!([*end], kind.eos_tokens[..], "{line}");
    if whole.starts_with(&prompt) {
        assert_eq!(tokens, whole, "{line}");
        return true;
    }
    let text = [example.prompt, example.demonstration.unwrap()].concat();
    assert_eq!(kind.tokenizer.decode(tokens), text, "{line}");
    false
}

/// trl #3091 (the file already writes the end), trl #1400 and OpenRLHF #393 (begin-of-text twice),
/// vllm #7491 (`add_eos_token`: an end behind every prompt).
#[test]
fn begins_and_ends_are_never_doubled() {
    let plain = read("text/llama2/tokenizer.json");
    let config = read("text/llama2/tokenizer_config.json");
    let mut ending: Value = serde_json::from_str(&plain).unwrap();
    let single = ending["post_processor"]["single"].as_array_mut().unwrap();
    single.push(json!({"SpecialToken": {"id": "</s>", "type_id": 0}}));
    ending["post_processor"]["special_tokens"]["</s>"] =
        json!({"id": "</s>", "ids": [2], "tokens": ["</s>"]});
    for tokenizer in [plain, ending.to_string()] {
        let kind = Kind::from("llama2", &tokenizer, &config);
        for (row, prompt, response) in [
            (json!({"prompt": "hi", "completion": " there"}), "<s> hi", " there</s>"),
            (json!({"prompt": "<s>hi", "completion": " there</s>"}), "<s> hi", " there</s>"),
            (json!({"prompt": "<s> hi", "completion": " there</s>\n"}), "<s>  hi", " there</s>"),
            (
                json!({"prompt": "hi", "completion": " </s> it says</s>"}),
                "<s> hi",
                " </s>  it says</s>",
            ),
            (json!({"prompt": "hi", "completion": " </s>."}), "<s> hi", " </s> .</s>"),
            (json!({"text": "<s>hello"}), "<s>", " hello</s>"),
            (json!({"text": "hello</s>"}), "<s>", " hello</s>"),
        ] {
            let (encoded, _) = kind.encoded(&row);
            let shown = encoded.demonstration.unwrap();
            let found = [encoded.prompt, shown].map(|ids| kind.spelled(&ids));
            assert_eq!(found, [prompt, response], "{row}");
        }
        assert_eq!(kind.tokenizer.encode("<s>hi").unwrap()[0], 1);
        assert_eq!(kind.spelled(&kind.tokenizer.encode_continuation("hi").unwrap()), "hi");
    }
}

fn folder(kind: &str, config: Value, eos: Option<u32>) -> ModelFolder {
    let model = json!({
        "model_type": "llama", "vocab_size": 460, "hidden_size": 16, "intermediate_size": 24,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "rms_norm_eps": 1e-5, "max_position_embeddings": 64, "eos_token_id": eos,
    });
    let tokenizer = read(&format!("text/{kind}/tokenizer.json")).into_bytes();
    let mut folder = ModelFolder::of_parts("m", model.to_string().into(), Vec::new(), tokenizer);
    let template = read(&format!("text/{kind}/chat_template.jinja"));
    folder.beside = vec![
        ("tokenizer_config.json".into(), config.to_string().into()),
        ("chat_template.jinja".into(), template.into()),
    ];
    folder
}

/// QwenLM/Qwen3 #927, mlx-vlm #2112: the configs end with one token, the tokenizer with another, the
/// template's turns with a third.
#[test]
fn every_end_of_text_is_an_end() {
    let (endoftext, im_start, im_end) = (0, 1, 2);
    for (config, eos, ends) in [
        (json!({"eos_token": "<|im_end|>"}), Some(endoftext), vec![im_end, endoftext]),
        (json!({"eos_token": {"content": "<|im_end|>"}}), None, vec![im_end]),
        (json!({"eos_token": "<|endoftext|>"}), Some(endoftext), vec![endoftext, im_end]),
        (json!({"eos_token": "<|im_start|>"}), Some(endoftext), vec![im_start, endoftext, im_end]),
        (json!({}), Some(im_end), vec![im_end]),
    ] {
        let folder = folder("smollm2", config.clone(), eos);
        assert_eq!(folder.text_and_shape().unwrap().1.eos_tokens, ends, "{config}");
    }
}

/// onnxruntime-extensions #890: the two files contradict each other.
#[test]
fn added_tokens_that_contradict_the_tokenizer_are_refused_by_name() {
    let token = json!({"content": "<|im_end|>", "special": true});
    let folder = folder("smollm2", json!({"added_tokens_decoder": {"7": token}}), Some(0));
    let error = folder.tokenizer().err().unwrap().to_string();
    assert!(error.contains("`<|im_end|>` is token 7 here, but 2 in"), "{error}");
    assert!(error.starts_with("m/tokenizer_config.json: added_tokens_decoder"), "{error}");
}

/// trl #2897, verl #1724: a reward for the form sees the special tokens that make it, but neither
/// begin nor end of text nor padding.
#[test]
fn rewards_see_special_tokens() {
    let mut files: Value = serde_json::from_str(&read("text/smollm2/tokenizer.json")).unwrap();
    for (id, content) in [(300, "<think>"), (301, "</think>")] {
        let vocab = files["model"]["vocab"].as_object_mut().unwrap();
        let old = vocab.iter().find(|(_, value)| **value == id).unwrap().0.clone();
        vocab.remove(&old);
        vocab.insert(content.into(), id.into());
        files["added_tokens"].as_array_mut().unwrap().push(json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        }));
        files["model"]["merges"].as_array_mut().unwrap().retain(|merge| {
            let parts: Vec<&str> =
                merge.as_array().unwrap().iter().filter_map(Value::as_str).collect();
            !parts.contains(&old.as_str()) && parts.concat() != old
        });
    }
    let bytes = files.to_string().into_bytes();
    let bare = Tokenizer::from_bytes(&bytes, "t").unwrap();
    let ids = bare.pieces("<think>a b</think>4<|im_start|>5<|im_end|><|endoftext|>").unwrap().ids;
    assert_eq!(bare.decode(&ids), "a b45", "nothing says which of them are ends");
    let config = json!({"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}).to_string();
    let told = bare.with_config(Some(config.as_bytes()), None, "t").unwrap();
    assert_eq!(told.decode(&ids), "<think>a b</think>4<|im_start|>5");
    assert_eq!(told.ended_by(&[1]).decode(&ids), "<think>a b</think>45");
}

/// open-r1 #585, trl #5213: a template asks with a `<think>` that it leaves out of a finished turn.
#[test]
fn a_turn_that_the_prompt_opens_is_learned_from_there_on_or_refused() {
    let files = ["chat_template.jinja", "tokenizer_config.json"];
    let [jinja, config] =
        files.map(|name| std::fs::read(golden("chat/deepseek-r1-distill").join(name)).ok());
    let template = ChatTemplate::from_files(jinja.as_deref(), config.as_deref(), None, "r1");
    let template = template.unwrap().unwrap();
    let row = |content: &str| {
        json!({"messages": [{"role": "user", "content": "2+2?"},
            {"role": "assistant", "content": content}]})
    };
    let learned = |content: &str| example(&row(content), Some(&template), true);
    let opened = learned("<think>\nadd\n</think>\n\n4").unwrap();
    assert!(opened.prompt.ends_with("<think>\n"), "{}", opened.prompt);
    let shown = opened.demonstration.unwrap();
    assert_eq!(shown, "add\n</think>\n\n4<｜end▁of▁sentence｜>");
    let error = learned("4").unwrap_err();
    assert!(error.what.contains("differently once the answer follows"), "{error}");
}

/// SRFT's review §7.1: a tool's answer between is read, and no term of the loss acts on it.
#[test]
fn what_tools_say_is_read_and_not_learned() {
    let kind = Kind::of("smollm2");
    let say = |role: &str, content: &str| json!({"role": role, "content": content});
    let row = json!({
        "prompt": [say("user", "hi"), say("assistant", "so"), say("user", "what is two plus two")],
        "completion": [say("assistant", "think"), say("tool", "numbers"), say("assistant", "4")],
    });
    let (encoded, example) = kind.encoded(&row);
    let (prompt, tokens) = (encoded.prompt, encoded.demonstration.unwrap());
    assert_eq!(kind.spelled(&tokens), "4<|im_end|>");
    let group = Group {
        origin: Origin::Drawn,
        example,
        prompt_tokens: prompt,
        learned: encoded.learned,
        demonstration: Some(Demonstration {
            tokens,
            earlier: encoded.earlier,
            reward: Some(1.0),
            right: true,
        }),
        ..Group::default()
    };
    let objective = Objective { kl_coeff: 0.1, ..Objective::default() };
    let update = assemble(&[group], &objective);
    let batches = micro_batches(&update.sequences, 1 << 20);
    let targets: Vec<u32> = batches[0].targets.iter().map(|&id| id as u32).collect();
    assert_eq!(kind.spelled(&targets), "so<|im_end|>think<|im_end|>4<|im_end|>");
    assert_eq!(update.sequences[0].loss_tokens(), targets.len());
    assert_eq!(update.divisors[0].sft, targets.len() as f64);
    let read: Vec<u32> = batches[0].tokens.iter().map(|&id| id as u32).collect();
    assert!(kind.spelled(&read).contains("think<|im_end|>\n<|im_start|>tool\nnumbers<|im_end|>"));
}

/// LlamaFactory #2962: without earlier turns only the last is learned, and marks say the same.
#[test]
fn the_last_turn_alone_is_learned_where_asked() {
    for name in ["smollm2", "qwen3", "zephyr"] {
        let kind = Kind::of(name);
        let say = |role: &str, content: &str| json!({"role": role, "content": content});
        let row = json!({"messages": [
            say("assistant", "Hello!"), say("user", "hi"), say("assistant", "there"),
        ]});
        let example = kind.example(&row, false).unwrap();
        assert!(example.layout.learned.is_empty(), "{name}");
        let encoded = encode(&kind.tokenizer, &kind.eos_tokens, &example).unwrap();
        assert!(encoded.learned.is_empty() && encoded.earlier.is_empty(), "{name}");
    }
}

/// trl #1400: the template and the post-processor both write begin-of-text. `explain` on a prompt of
/// the run's own samples reads it once, told or not that a template wrote it.
#[test]
fn trl_1400_a_sampled_prompt_is_read_again_as_it_was() {
    let home = Home::new();
    let folder = folder("llama3", json!({"bos_token": "<|begin_of_text|>"}), None);
    let (tokenizer, shape) = folder.text_and_shape().unwrap();
    let model = Llama::random(shape, 7, &Device::flex());
    pollster::block_on(folder.save(&home.path("l3"), &model, Storage::F32)).unwrap();
    let row = r#"{"messages": [{"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"}], "answer": "hello"}"#;
    home.write("chat.jsonl", row.replace('\n', ""));
    home.succeeds(
        "train --device cpu --set model.path=l3 --data chat.jsonl --eval-data chat.jsonl --steps 1 \
         --set rollout.prompts=1 --set rollout.group=2 --max-new-tokens 4 --out run \
         --set checkpoint.samples_every=1",
    );
    let sampled = &home.lines("run/samples.jsonl")[0];
    let told = sampled["prompt"].as_str().unwrap();
    assert!(told.starts_with("<|begin_of_text|><|start_header_id|>user"), "{told}");
    let explained = ["true", "false"].map(|templated| {
        let line = json!({
            "prompt": told, "templated": templated == "true", "demonstration": "hello",
            "episodes": [{"response": "hi<|eot_id|>", "reward": 1.0}, {"response": "no", "reward": -1.0}],
        });
        home.write("episodes.jsonl", line.to_string());
        home.succeeds("explain --device cpu --model l3 --episodes episodes.jsonl --json")
    });
    assert_eq!(explained[0], explained[1]);
    let prompt = tokenizer.encode(told).unwrap();
    assert_eq!((prompt[0], prompt.iter().filter(|&&id| id == 0).count()), (0, 1));
}
