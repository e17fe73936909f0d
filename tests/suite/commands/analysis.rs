//! The paper's analyses: token shift and learning dynamics, on models whose every probability is
//! known by hand, and the commands that make them; clipping of probable tokens through a whole step.

use crate::backends::{compare, devices};
use crate::program::{Home, TRAIN, stderr};
use burn::tensor::{Device, Tensor, TensorData};
use pollster::block_on;
use serde_json::{Value, json};
use srft::analysis::dynamics::{Dynamics, Point, Reference, RunPath, prompts};
use srft::analysis::token_shift::{Distribution, ResponseShift, TokenShift, token_shift};
use srft::analysis::{Asked, Source, draw, require_same_tokens, responses};
use srft::config::Config;
use srft::eval::Suite;
use srft::model::{Llama, ModelConfig, ModelFolder};
use srft::records::Example;
use srft::score::{mean_shift, score};
use srft::text::Tokenizer;

const V: usize = 23;
const INPUT: i32 = 2;
/// End-of-text, which the tiny tokenizer spells `$`.
const EOS: u32 = 2;

/// A model that thinks the same wherever it is asked: every token 1 / V, or `raised` a half and each
/// of the others 1 / 44. Its hidden state is all ones, and the head's row of `raised` adds up to
/// ln 22, since e^(ln 22) = 22 weighs as much as the 22 others.
fn model(raised: Option<u32>, device: &Device) -> Llama {
    let config = json!({
        "model_type": "llama", "vocab_size": V, "hidden_size": 4, "intermediate_size": 4,
        "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
        "rms_norm_eps": 1e-9, "max_position_embeddings": 64, "tie_word_embeddings": false,
        "bos_token_id": 1, "eos_token_id": EOS
    });
    let config = ModelConfig::from_json(config.to_string().as_bytes(), "m").unwrap();
    let mut model = Llama::empty(config, device);
    for p in model.parameters_mut() {
        let [rows, columns] = p.block_shape;
        let mut values = vec![0.0; rows * columns];
        if p.name.contains("norm") || p.name.contains("embed_tokens") {
            values.fill(1.0);
        }
        if let (true, Some(raised)) = (p.name.contains("lm_head"), raised) {
            values[raised as usize * 4..][..4].fill(22f32.ln() / 4.0);
        }
        *p.tensor = Tensor::from_data(TensorData::new(values, [rows, columns]), device);
    }
    model
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_bytes(&ModelFolder::tiny().tokenizer, "t").unwrap()
}

fn config(settings: &str) -> Config {
    Config::resolve(&[Config::layer(settings, "test").unwrap()]).unwrap()
}

/// A problem with or without a demonstration.
fn example(prompt: &str, demonstration: Option<&str>) -> Example {
    Example {
        suite: "s".into(),
        prompt: prompt.into(),
        demonstration: demonstration.map(String::from),
        ..Example::default()
    }
}

fn suite(name: &str, out_of_distribution: bool, examples: Vec<Example>) -> Suite {
    let problems = examples.into_iter().map(Into::into).collect();
    Suite { name: name.into(), out_of_distribution, problems, of: None }
}

fn asked(suite: &str, prompt: &[u32], response: &[u32]) -> Asked {
    let (prompt, response) = (prompt.to_vec(), response.to_vec());
    Asked { suite: suite.into(), text: "5+1=".into(), prompt, response }
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

/// Entropy is the one of the whole vocabulary: of V equal logits it is ln V.
#[test]
fn the_entropy_of_uniform_logits_is_ln_v() {
    for (backend, device) in devices() {
        let pairs = vec![(vec![1, 8], vec![9, EOS])];
        let scored = block_on(score(&model(None, &device), pairs, 64)).unwrap();
        let ln_v = (V as f64).ln();
        compare(backend, &scored[0].entropies, &[ln_v; 2], 1e-6).unwrap();
        compare(backend, &scored[0].logprobs, &[-ln_v; 2], 1e-6).unwrap();
    }
}

#[test]
fn a_raised_logit_shifts_tokens_as_worked_out_by_hand() {
    // 7 is raised: its p goes from 1/23 to 1/2, that of 9 and of end-of-text to 1/44.
    let asked = [asked("a", &[1, 8], &[7, 9, EOS]), asked("b", &[1], &[7])];
    let (up, down) = (0.5 - 1.0 / 23.0, 1.0 / 44.0 - 1.0 / 23.0);
    let (ln_up, ln_down) = ((23.0f64 / 2.0).ln(), (23.0f64 / 44.0).ln());
    for (backend, device) in devices() {
        let (base, raised) = (model(None, &device), model(Some(7), &device));
        // A micro-batch a response, or one for all.
        for tokens in [1, 64] {
            let shifts =
                block_on(token_shift(&base, &raised, &tokenizer(), &asked, tokens)).unwrap();
            let first = &shifts[0];
            assert_eq!(first.tokens, ["4", "6", "$"], "end-of-text is a token");
            let check = |got: &[f64], want: &[f64]| {
                compare(backend, &narrow(got), want, 1e-5).unwrap();
            };
            check(&first.before, &[1.0 / 23.0; 3]);
            check(&first.after, &[0.5, 1.0 / 44.0, 1.0 / 44.0]);
            check(&first.delta_p, &[up, down, down]);
            check(&first.delta_logp, &[ln_up, ln_down, ln_down]);
            let shift = TokenShift::new("one", "other", shifts);
            let suites: Vec<&str> = shift.suites.iter().map(|s| s.suite.as_str()).collect();
            assert_eq!(suites, ["a", "b"]);
            // Four tokens: two up by 0.457, two down by 0.021; 2.442 and 0.649 nats.
            let all = &shift.all;
            assert_eq!((all.responses, all.tokens), (2, 4));
            assert_eq!((all.share_above_0_1, all.share_above_0_5), (0.5, 0.0));
            let mean = (2.0 * ln_up - 2.0 * ln_down) / 4.0;
            assert!((all.mean_abs_delta_logp - mean).abs() < 1e-5, "{all:?}");
            assert_eq!(all.delta_p.counts, [0, 0, 2, 0, 0, 0, 0, 2, 0]);
            assert_eq!(all.delta_logp.counts, [0, 0, 2, 0, 0, 0, 0, 0, 0, 2, 0]);
            assert_eq!(shift.suites[1].distribution.share_above_0_1, 1.0);
        }
    }
}

#[test]
fn a_model_against_itself_has_not_moved() {
    for (_, device) in devices() {
        let model = Llama::random(model(None, &device).config, 3, &device);
        let asked = [asked("a", &[1, 8], &[7, 9, EOS]), asked("a", &[1, 4, 5], &[9, 11, 4, 4])];
        let shifts = block_on(token_shift(&model, &model, &tokenizer(), &asked, 4)).unwrap();
        for shift in &shifts {
            assert!(shift.delta_p.iter().chain(&shift.delta_logp).all(|&d| d == 0.0), "{shift:?}");
        }
        let all = Distribution::of(&shifts);
        assert_eq!((all.tokens, all.mean_abs_delta_logp, all.share_above_0_1), (7, 0.0, 0.0));
        assert_eq!(all.delta_p.counts, [0, 0, 0, 0, 7, 0, 0, 0, 0]);
    }
}

#[test]
fn bins_are_closed_above() {
    let with = |delta_p: Vec<f64>| ResponseShift {
        suite: "s".into(),
        prompt: String::new(),
        tokens: vec!["t".into(); delta_p.len()],
        before: vec![0.0; delta_p.len()],
        after: delta_p.clone(),
        delta_logp: vec![0.0; delta_p.len()],
        delta_p,
    };
    let of = |delta_p: &[f64]| Distribution::of(&[with(delta_p.to_vec())]);
    let edges = of(&[-1.0, -0.5, -0.1, 0.001, 0.01, 0.1, 0.5, 1.0]);
    assert_eq!(edges.delta_p.counts, [2, 1, 0, 0, 1, 1, 1, 1, 1]);
    assert_eq!((edges.share_above_0_1, edges.share_above_0_5), (4.0 / 8.0, 2.0 / 8.0));
    let named: Vec<String> = edges.delta_p.rows().into_iter().map(|(name, _)| name).collect();
    assert_eq!((named[0].as_str(), named[8].as_str()), ("to -0.5", "over +0.5"));
    assert_eq!(named[4], "-0.001 to +0.001");
    let none = Distribution::of(&[]);
    assert_eq!((none.tokens, none.mean_abs_delta_logp, none.share_above_0_5), (0, 0.0, 0.0));
}

#[test]
fn responses_are_given_or_written_by_the_model() {
    let (device, tokenizer) = (Device::flex(), tokenizer());
    // This one ends at once whenever it speaks; that one says 7 (`4`) until it is cut.
    let (brief, wordy) = (model(Some(EOS), &device), model(Some(7), &device));
    let suites = [
        suite("a", false, vec![example("5+1=", Some("6"))]),
        suite("b", true, vec![example("5+1=", None)]),
    ];
    let config = config("[rollout]\nmax_new_tokens = 3");
    let ask = |model, source| block_on(responses(model, &tokenizer, &suites, source, &config));
    let written = |model, source| -> Vec<Vec<u32>> {
        ask(model, source).unwrap().into_iter().map(|a| a.response).collect()
    };
    assert_eq!(written(&brief, Source::Given), [vec![9, EOS], vec![EOS]]);
    assert_eq!(written(&wordy, Source::Given), [vec![9, EOS], vec![7, 7, 7]]);
    assert_eq!(written(&wordy, Source::Greedy), [[7, 7, 7], [7, 7, 7]]);
    let drawn = written(&wordy, Source::Drawn);
    assert_eq!(drawn, written(&wordy, Source::Drawn), "one seed");
    let asked = ask(&brief, Source::Given).unwrap();
    assert_eq!((asked[1].suite.as_str(), asked[1].text.as_str()), ("b", "5+1="));
    assert_eq!(asked[1].prompt, [1, 8, 13, 4, 17]);
    assert!(
        block_on(responses(&brief, &tokenizer, &[], Source::Given, &config)).unwrap().is_empty()
    );
}

#[test]
fn distances_are_zero_to_oneself_symmetric_on_equal_tokens_and_known_by_hand() {
    let pairs = || vec![(vec![1, 8], vec![7, 9, EOS]), (vec![1], vec![7])];
    for (backend, device) in devices() {
        let (uniform, raised) = (model(None, &device), model(Some(7), &device));
        let at = |of: &Llama, tokens| block_on(Reference::of(of, pairs(), tokens)).unwrap();
        let from = |reference: &Reference, to: &Llama| block_on(reference.distance(to)).unwrap();
        for tokens in [1, 64] {
            assert_eq!(from(&at(&uniform, tokens), &uniform), 0.0);
            assert_eq!(from(&at(&raised, tokens), &raised), 0.0);
            let there = from(&at(&uniform, tokens), &raised);
            assert_eq!(there, from(&at(&raised, tokens), &uniform));
            // Two tokens of each kind: ln (23/2) and ln (44/23).
            let expected = ((23.0f64 / 2.0).ln() + (44.0f64 / 23.0).ln()) / 2.0;
            compare(backend, &[there as f32], &[expected], 1e-5).unwrap();
        }
        let view = at(&raised, 64).view("r", "m");
        assert_eq!((view.responses, view.tokens), (2, 4), "end-of-text counts");
    }
    assert_eq!(mean_shift(std::iter::empty()), 0.0);
}

#[test]
fn a_reference_is_measured_where_it_goes_itself() {
    let (device, tokenizer) = (Device::flex(), tokenizer());
    let (uniform, raised) = (model(None, &device), model(Some(7), &device));
    let suites = [
        suite("a", false, vec![example("1=", None), example("2=", None)]),
        suite("ood", true, vec![example("3=", None)]),
        suite("b", false, vec![example("4=", None)]),
    ];
    let prompts = prompts(&suites, &tokenizer, &[EOS], 9).unwrap();
    assert_eq!(prompts, [[1, 4, 17], [1, 7, 17], [1, 5, 17]], "in turn, none out of distribution");
    let generated = |of: &Llama, count, settings: &str| {
        block_on(Reference::generate(of, &tokenizer, &prompts, count, &config(settings)))
    };
    let settings = "[rollout]\nmax_new_tokens = 20";
    // More responses than prompts: several to each.
    let own = generated(&raised, 7, settings).unwrap();
    assert_eq!(own.view("r", "m").responses, 7);
    let distance = |reference: &Reference, to| block_on(reference.distance(to)).unwrap();
    assert_eq!(distance(&own, &raised), 0.0);
    assert_eq!(
        distance(&own, &uniform),
        distance(&generated(&raised, 7, settings).unwrap(), &uniform)
    );
    // Half of what the raised model says is 7, which it is surest of; the uniform one says it once
    // in 23 tokens: the two measure the same pair of models on other tokens.
    let other = generated(&uniform, 7, settings).unwrap();
    assert!(distance(&own, &uniform) > distance(&other, &raised) + 0.1);
    let seeded = format!("{settings}\n[run]\nseed = 5");
    assert_ne!(
        distance(&generated(&raised, 7, &seeded).unwrap(), &uniform),
        distance(&own, &uniform)
    );
    let error = generated(&raised, 0, settings).err().unwrap();
    assert!(error.what.contains("no responses"), "{error}");
}

#[test]
fn other_tokens_under_the_same_ids_are_refused() {
    let text = String::from_utf8(ModelFolder::tiny().tokenizer).unwrap();
    let other = Tokenizer::from_bytes(text.replace(r#""s": 22"#, r#""t": 22"#).as_bytes(), "t");
    require_same_tokens(&tokenizer(), &tokenizer()).unwrap();
    let error = require_same_tokens(&tokenizer(), &other.unwrap()).unwrap_err();
    assert!(error.what.contains(r#"token 22 is "s" in one and "t" in the other"#), "{error}");
}

/// Whether every element that is opened is closed, and no text was taken for an element.
fn is_well_formed(svg: &str) -> bool {
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap();
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        match (tag.starts_with('/'), tag.ends_with('/')) {
            (true, _) if open.pop() != Some(name) => return false,
            (false, false) => open.push(name),
            _ => {}
        }
    }
    open.is_empty()
}

#[test]
fn pictures_are_xml_whatever_the_tokens_are() {
    let hostile = ["</text>", "&", "\"", "\u{0}", "Ġthe", "\n", "", "\u{FFFF}", "é", "]]>"];
    let response = ResponseShift {
        suite: "<s>".into(),
        prompt: "a<b\u{1}".into(),
        tokens: hostile.map(String::from).to_vec(),
        before: vec![0.5; 10],
        after: vec![0.25; 10],
        delta_p: vec![-0.25; 10],
        delta_logp: vec![-0.7; 10],
    };
    let shift = TokenShift::new("<base>", "a & b", vec![response]);
    let svg = draw::token_shift(&shift, 3);
    assert!(is_well_formed(&svg), "{svg}");
    assert!(!svg.contains(|c: char| c.is_control() && c != '\n') && svg.contains("> the</text>"));
    let point = |step, distances| Point { step, distances };
    for k in 1..=4 {
        let references = (0..k).map(|i| {
            serde_json::from_value(
                json!({"name": format!("r{i}<"), "model": "m", "responses": 1, "tokens": 1}),
            )
            .unwrap()
        });
        let dynamics = Dynamics {
            metric: "m".into(),
            references: references.collect(),
            paths: vec![RunPath {
                run: "runs/a&b".into(),
                method: "srft".into(),
                points: vec![point(0, vec![0.0; k]), point(5, vec![0.3; k])],
            }],
        };
        let svg = draw::dynamics(&dynamics);
        assert!(is_well_formed(&svg) && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!(svg.matches("<polyline").count(), (k * (k - 1) / 2).max(1));
    }
}

#[test]
fn colours_tell_up_from_down_and_none() {
    assert_eq!(draw::colour(0.0), [255; 3]);
    let ([up_r, _, up_b], [down_r, _, down_b]) = (draw::colour(0.3), draw::colour(-0.3));
    assert!(up_b > up_r && down_r > down_b);
    assert_eq!(draw::colour(7.0), draw::colour(1.0), "bounded");
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn the_program_shows_a_token_shift() {
    let home = Home::new();
    home.succeeds(&format!("{TRAIN} --steps 3 --set optimizer.lr=1e-2 --out run"));
    let shift = "analyze token-shift --device cpu --base model --set eval.examples=3";
    let trained = format!("{shift} --model run/best");
    let value: Value = serde_json::from_str(&home.succeeds(&format!("{trained} --json"))).unwrap();
    assert_eq!((&value["base"], &value["model"]), (&"model".into(), &"run/best".into()));
    assert_eq!(value["suites"].as_array().unwrap().len(), 8);
    assert_eq!(
        (&value["suites"][0]["suite"], &value["suites"][0]["responses"]),
        (&"add".into(), &3.into())
    );
    let responses = value["responses"].as_array().unwrap();
    assert_eq!(responses.len(), 24);
    assert_eq!(responses[0]["tokens"].as_array().unwrap().last().unwrap(), "$");
    let tokens: usize = responses.iter().map(|r| r["tokens"].as_array().unwrap().len()).sum();
    assert_eq!(value["all"]["tokens"], tokens);
    assert!(number(&value["all"]["mean_abs_delta_logp"]) > 0.0);

    // What is written reads back as the same record; both pictures and tables come of it.
    home.succeeds(&format!("{trained} --out shift.json"));
    let read: TokenShift = serde_json::from_slice(&home.read("shift.json")).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), value);
    let printed = home.succeeds(&format!("{trained} --strips 2 --out shift.svg"));
    assert!(printed.starts_with("add: ") && printed.contains("\nsub: "), "{printed}");
    assert!(!printed.contains("\nmul: ") && !printed.contains('\x1b'), "two strips, no terminal");
    for words in ["mean abs Δ ln p (nats)", "over +0.5", "all "] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    assert!(is_well_formed(std::str::from_utf8(&home.read("shift.svg")).unwrap()));

    let same: Value =
        serde_json::from_str(&home.succeeds(&format!("{shift} --model model --json"))).unwrap();
    assert_eq!(same["all"]["mean_abs_delta_logp"], 0.0);
    // Data with a response and without: the second is the model's own, cut or ended.
    home.write("d.jsonl", "{\"prompt\": \"5+1=\", \"response\": \"6\"}\n{\"prompt\": \"5+1=\"}\n");
    let of = |samples: &str| -> Value {
        let data = "--data d.jsonl --set rollout.max_new_tokens=3 --json --samples";
        serde_json::from_str(&home.succeeds(&format!("{trained} {data} {samples}"))).unwrap()
    };
    let (given, greedy) = (of("given"), of("greedy"));
    assert_eq!(given["responses"][0]["tokens"], json!(["6", "$"]));
    assert_eq!(given["responses"][1]["tokens"], greedy["responses"][0]["tokens"]);
    assert_eq!(given["suites"][0]["suite"], "d");
    assert_eq!(greedy["responses"][0]["tokens"], greedy["responses"][1]["tokens"]);
    assert_eq!(of("drawn")["responses"].as_array().unwrap().len(), 2);
}

#[test]
fn the_program_follows_a_run() {
    let home = Home::new();
    let train = format!("{TRAIN} --steps 4 --set optimizer.lr=1e-2 --set checkpoint.every=1");
    home.succeeds(&format!("{train} --set checkpoint.keep=9 --out run"));
    home.succeeds(&format!("{train} --method sft --seed 1 --out other"));
    let analyze = "analyze dynamics --device cpu --responses 6 --set rollout.max_new_tokens=8 \
         --reference base=model --reference end=run/checkpoints/step-000004";
    let text = home.succeeds(&format!("{analyze} --run run --run other --json"));
    let value: Value = serde_json::from_str(&text).unwrap();
    assert!(value["metric"].as_str().unwrap().contains("|Δ ln p|"));
    let references = value["references"].as_array().unwrap();
    let named: Vec<_> =
        references.iter().map(|r| (r["name"].clone(), r["responses"].clone())).collect();
    assert_eq!(named, [("base".into(), 6.into()), ("end".into(), 6.into())]);
    let points = |run: usize| value["paths"][run]["points"].as_array().unwrap().clone();
    let steps =
        |run: usize| points(run).iter().map(|p| p["step"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!((steps(0), steps(1)), (vec![0, 1, 2, 3, 4], vec![0, 3, 4]));
    assert_eq!(
        (&value["paths"][0]["method"], &value["paths"][1]["method"]),
        (&"srft".into(), &"sft".into())
    );
    // From the base, exactly, to the end, exactly.
    let distance =
        |run: usize, point: usize, to: usize| number(&points(run)[point]["distances"][to]);
    assert_eq!((distance(0, 0, 0), distance(0, 4, 1)), (0.0, 0.0));
    assert_eq!((distance(1, 0, 0), distance(1, 0, 1)), (0.0, distance(0, 0, 1)), "one base");
    assert!(distance(1, 2, 1) > 0.0);
    assert!(0.0 < distance(0, 1, 0) && distance(0, 1, 0) < distance(0, 4, 0), "away: {text}");

    home.succeeds(&format!("{analyze} --run run --out d.json"));
    let read: Dynamics = serde_json::from_slice(&home.read("d.json")).unwrap();
    assert_eq!(serde_json::to_value(&read.paths[0]).unwrap(), value["paths"][0], "the same draws");
    let output = home.command(&format!("{analyze} --run other --out d.svg")).output().unwrap();
    assert!(output.status.success());
    let (printed, notes) = (String::from_utf8(output.stdout.clone()).unwrap(), stderr(&output));
    assert!(printed.contains("other (sft)") && printed.contains("to end"), "{printed}");
    assert!(
        notes.contains("2 of 4 checkpoints are left") && notes.contains("checkpoint.keep=4"),
        "{notes}"
    );
    assert!(is_well_formed(std::str::from_utf8(&home.read("d.svg")).unwrap()));
}

#[test]
fn what_cannot_be_analysed() {
    let home = Home::new();
    home.succeeds(&format!("{TRAIN} --steps 1 --out run"));
    home.write_model("foreign", json!({}));
    let text = String::from_utf8(home.read("foreign/tokenizer.json")).unwrap();
    home.write("foreign/tokenizer.json", text.replace(r#""s": 22"#, r#""t": 22"#));
    let refused = |arguments: &str, words: &[&str]| {
        home.fails(&format!("analyze {arguments}"), INPUT, words);
    };
    let differ = ["the tokenizers differ: token 22", "foreign"];
    let shift = "token-shift --device cpu --base model --model";
    refused(&format!("{shift} foreign"), &differ);
    refused(&format!("{shift} nowhere"), &["nowhere/config.json"]);
    refused(&format!("{shift} model --out shift.png"), &["shift.png", ".svg"]);
    home.write("empty.jsonl", "");
    home.write("bare.jsonl", "{\"response\": \"6\"}\n");
    home.write("long.jsonl", format!("{{\"prompt\": \"{}\"}}\n", "1".repeat(70)));
    for (file, word) in [("empty", "no examples"), ("bare", "`prompt`"), ("long", "long.jsonl:1")] {
        refused(&format!("{shift} model --data {file}.jsonl"), &[word, file]);
    }

    let dynamics = "dynamics --device cpu --run";
    refused(&format!("{dynamics} run --reference base"), &["`base` is not of the form NAME=DIR"]);
    refused(
        &format!("{dynamics} run --reference a=model --reference a=run/best"),
        &["`a=run/best`", "another"],
    );
    refused(&format!("{dynamics} nowhere --reference a=model"), &["nowhere", "no such folder"]);
    refused(&format!("{dynamics} run --reference a=model --reference b=foreign"), &differ);
    refused(&format!("{dynamics} run --reference a=model --responses 0"), &["at least one"]);
    refused(&format!("{dynamics} run --reference a=model --out d.txt"), &["d.txt", ".json"]);
    std::fs::remove_dir_all(home.path("run/checkpoints/step-000001")).unwrap();
    refused(&format!("{dynamics} run --reference a=model"), &["no checkpoints", "run/checkpoints"]);
}

/// `objective.max_prob` (App. A.2): far below what any token has, the self term is gone and with it
/// the gradient; at 1 it is there. Nothing else of the step changes.
#[test]
fn clipping_every_probable_token_leaves_no_self_term() {
    let home = Home::new();
    let step = |max_prob: &str, run: &str| {
        home.succeeds(&format!(
            "{TRAIN} --steps 1 --set objective.sft=false --set objective.rl_demo=false \
             --set objective.max_prob={max_prob} --out {run}"
        ));
        home.lines(&format!("{run}/metrics.jsonl")).remove(0)
    };
    let (all, none) = (step("1", "all"), step("1e-30", "none"));
    assert!(number(&all["loss_self"]) != 0.0 && number(&all["grad_norm"]) > 0.0);
    assert_eq!((number(&none["loss_self"]), number(&none["grad_norm"])), (0.0, 0.0));
    for key in ["entropy", "w_rl", "rollout_tokens", "trained_tokens", "reward"] {
        assert_eq!(all[key], none[key], "{key}");
    }
    for bad in ["0", "1.1"] {
        let setting = format!("{TRAIN} --set objective.max_prob={bad} --out bad");
        home.fails(&setting, INPUT, &["objective.max_prob", "(0, 1]"]);
    }
}
