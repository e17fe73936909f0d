//! `srft chat` through a pipe, as a script talks to it.

use crate::program::{Home, assert_error, stderr};
use pollster::block_on;
use serde_json::{Value, json};
use srft::config::Storage;
use srft::model::ModelFolder;
use std::io::{Read, Write};
use std::process::{Child, Output, Stdio};

const INPUT: i32 = 2;

/// A conversation as the built-in model can read it: `^5+1=` and the answer, `;7*6=` and so on.
const TEMPLATE: &str = "^{% for m in messages %}{{ m.content }}\
     {% if m.role == 'assistant' %};{% endif %}{% endfor %}";
const CHAT: &str = "chat --device cpu --model talker --temperature 0";

/// A home with the built-in model as `talker`, and the random `model`, both with a chat template.
fn home() -> Home {
    let home = Home::new();
    let tiny = ModelFolder::tiny();
    let (model, _) = tiny.load(&burn::tensor::Device::flex()).unwrap();
    block_on(tiny.save(&home.path("talker"), &model, Storage::F32)).unwrap();
    for model in ["talker", "model"] {
        home.write(&format!("{model}/chat_template.jinja"), TEMPLATE);
    }
    home
}

fn begun(home: &Home, arguments: &str) -> Child {
    let mut command = home.command(arguments);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    piped.spawn().unwrap()
}

fn hears(home: &Home, arguments: &str, input: &str) -> Output {
    let mut child = begun(home, arguments);
    // A program that ends early leaves the rest unread.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What is answered to lines of input.
fn answers(home: &Home, arguments: &str, input: &str) -> String {
    let output = hears(home, arguments, input);
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// What `srft generate` answers to all of `prompt`, and how many tokens that are.
fn generated(home: &Home, prompt: &str, flags: &str) -> String {
    let command = format!("generate --device cpu --json {flags} {prompt}");
    let line: Value = serde_json::from_str(&home.succeeds(&command)).unwrap();
    line["response"].as_str().unwrap().into()
}

#[test]
fn a_conversation_is_what_generate_says_turn_by_turn() {
    let home = home();
    let greedy = |prompt: &str| generated(&home, prompt, "--model talker --temperature 0");
    let one = greedy("59+63=");
    assert!(one.contains('>'), "the model knows its task: {one}");
    let two = greedy(&format!("59+63={one};7*6="));
    let anew = greedy("7*6=");
    let input = "59+63=\r\n\n7*6=\n/reset\n7*6=\n/quit\nnot read";
    assert_eq!(answers(&home, CHAT, input), format!("{one}\n{two}\n{anew}\n"));

    // A system message stays until another takes its place; a message may have several lines.
    let with = greedy("1+1=2;59+63=");
    let input = "59+63=\n/reset\n/system\n\"\"\"59+63=\"\"\"\n/reset\n\"\"\"7*6=\n\"\"\"\n";
    home.write(
        "talker/chat_template.jinja",
        TEMPLATE.replace("{{ m.content }}", "{{ m.content | replace('\\n', '') }}"),
    );
    let told = answers(&home, &format!("{CHAT} --system 1+1=2;"), input);
    assert_eq!(told, format!("{with}\n{one}\n{anew}\n"));
    let told = answers(&home, CHAT, "/system 1+1=2;\n59+63=\n");
    assert_eq!(told, format!("{with}\n"));

    // Drawn with the seed as `generate` draws; stop texts end an answer before them.
    let flags = "--model talker --seed 5 --temperature 1.5";
    let told = answers(&home, &format!("chat --device cpu {flags}"), "59+63=\n");
    assert_eq!(told, format!("{}\n", generated(&home, "59+63=", flags)));
    let drawn = answers(&home, "chat --device cpu --model talker", "/temperature 0\n59+63=\n");
    assert_eq!(drawn, format!("{one}\n"));
    let told = answers(&home, &format!("{CHAT} --stop >"), "59+63=\n");
    assert_eq!(told, format!("{}\n", one.split('>').next().unwrap()));
    let output = hears(&home, &format!("{CHAT} --max-new-tokens 3"), "59+63=\n");
    assert!(stderr(&output).contains("cut at 3 tokens; --max-new-tokens N"));
    assert_eq!(output.stdout, format!("{}\n", &one[..3]).into_bytes());
}

#[test]
fn bad_lines_and_models_are_named() {
    let home = home();
    home.write("there.jsonl", "mine");
    let long = "9".repeat(130);
    for (input, words) in [
        ("/temperature 5000", &["temperature 5000 is not 0 or 0.001 to 1000"][..]),
        ("/temperature -1", &["temperature -1 is not"]),
        ("/temperature warm", &["`warm` is no number"]),
        ("/temperature", &["`` is no number"]),
        ("/hello you", &["no command is called /hello", "/help"]),
        ("/save", &["no file is named"]),
        ("/save new.jsonl", &["nothing was said yet"]),
        ("5+1=\n/save there.jsonl", &["there.jsonl is there already"]),
        ("hello", &["no token for 'h'"]),
        ("\"\"\"5+1=\n", &["the input ends within a message"]),
        (&long, &["have 131 tokens; the model reads 128", "shorten the message"]),
    ] {
        assert_error(&hears(&home, CHAT, input), input, INPUT, words);
    }
    assert_eq!(home.read("there.jsonl"), b"mine");
    let mut child = begun(&home, CHAT);
    child.stdin.take().unwrap().write_all(b"5+1=\n\xff\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_error(&output, "not UTF-8", INPUT, &["a line is not UTF-8"]);
    assert!(output.stdout.len() > 1, "what came before is answered");

    for (arguments, words) in [
        ("chat --device cpu --temperature -1", &["temperature -1 is not"][..]),
        ("chat --device cpu --top-p 0", &["rollout.top_p"]),
        ("chat --device cpu", &["no chat template", "srft generate"]),
        ("chat --device cpu --model talker --beside tiny", &["no chat template"]),
        ("chat --device cpu --model talker --beside nowhere", &["nowhere/config.json"]),
        ("chat --device cpu --model talker --beside base", &["talker", "neither an adapter nor"]),
    ] {
        home.fails(arguments, INPUT, words);
    }
}

/// A turn that no longer fits pushes the oldest out of what is read, and stays in what is saved.
#[test]
fn where_the_context_ends_the_oldest_turns_are_left_out_aloud() {
    let home = home();
    let messages: Vec<String> = (11..17).map(|n| format!("{n}+35=")).collect();
    let input = messages.iter().map(|m| format!("{m}\n")).collect::<String>();
    let flags = "--model model --temperature 0 --max-new-tokens 10";
    let chat = format!("chat --device cpu {flags}");
    let output = hears(&home, &chat, &(input + "/save said.jsonl"));
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the context of 64 tokens is full: from here on the first "), "{said}");
    let told: Vec<&str> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
    assert_eq!(told.len(), messages.len());
    // Each answer is to the latest turns that leave room for one of 10 tokens.
    let mut dropped = 0;
    for (turn, message) in messages.iter().enumerate() {
        let prompt = |from: usize| {
            let before = (from..turn).map(|t| format!("{}{};", messages[t], told[t]));
            before.collect::<String>() + message
        };
        let from = (dropped..=turn).find(|&from| 1 + prompt(from).len() + 10 <= 64).unwrap();
        dropped = from;
        assert_eq!(told[turn], generated(&home, &prompt(from), flags), "turn {turn} from {from}");
    }
    assert!(dropped > 1, "{dropped}");
    let saved = &home.lines("said.jsonl")[0]["messages"];
    let expected = messages.iter().zip(&told).flat_map(|(message, told)| {
        [json!({"role": "user", "content": message}), json!({"role": "assistant", "content": told})]
    });
    assert_eq!(saved, &expected.collect::<Value>());
}

/// Both kinds of base: under an adapter, and what a run of the whole model began with. Each keeps its own
/// conversation, and both are saved as data.
#[test]
fn a_base_answers_beside_what_was_trained() {
    let home = home();
    let train = "train --device cpu --model model --set rollout.prompts=2 --set rollout.group=2 \
         --max-new-tokens 4 --set eval.examples=2 --set optimizer.lr=0.1 --steps 2";
    home.succeeds(&format!("{train} --lora-rank 2 --out adapted"));
    home.succeeds(&format!("{train} --out whole"));
    for run in ["adapted", "whole"] {
        let flags = "--temperature 0 --max-new-tokens 9 --model";
        let said = |model: &str| {
            let one = generated(&home, "5+1=", &format!("{flags} {model}"));
            let two = generated(&home, &format!("5+1={one};2+2="), &format!("{flags} {model}"));
            [one, two]
        };
        let (base, best) = (said("model"), said(&format!("{run}/best")));
        assert!(base[0] != best[0] && base[1] != best[1], "{base:?} {best:?}");
        let chat = format!("chat --device cpu {flags} {run}/best --beside base");
        let told = answers(&home, &chat, &format!("5+1=\n2+2=\n/save {run}.jsonl\n"));
        let turn = |t: usize| format!("base: {}\n{run}/best: {}\n", base[t], best[t]);
        assert_eq!(told, turn(0) + &turn(1));
        let saved = home.lines(&format!("{run}.jsonl"));
        assert_eq!([&saved[0]["model"], &saved[1]["model"]], ["base", &format!("{run}/best")]);
        let score =
            format!("score --device cpu --model model --data {run}.jsonl --out {run}-scores");
        home.succeeds(&score);
        assert_eq!(home.lines(&format!("{run}-scores")).len(), 2, "two conversations to score");
    }
    let chat = "chat --device cpu --temperature 0 --model model --beside talker";
    let told = answers(&home, chat, "59+63=\n");
    assert!(told.starts_with("talker: ") && told.contains("\nmodel: "), "{told}");
}

/// Without a terminal an interrupt ends the program, with what was said so far; a first one while nothing
/// is answered waits for a second.
#[cfg(unix)]
#[test]
fn an_interrupt_stops_an_answer() {
    let home = home();
    // No token ends a text: what it says is as long as it may be.
    home.write_model("endless", json!({"max_position_embeddings": 200_000, "eos_token_id": 0}));
    home.write("endless/chat_template.jinja", TEMPLATE);
    let chat = "chat --device cpu --model endless --temperature 0 --max-new-tokens 150000";
    let mut child = begun(&home, chat);
    let interrupt = |child: &Child| {
        let signal = format!("kill -INT {}", child.id());
        assert!(std::process::Command::new("sh").args(["-c", &signal]).status().unwrap().success());
    };
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"5+1=\n").unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 8];
    stdout.read_exact(&mut first).unwrap();
    interrupt(&child);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with('\n') && rest.len() < 100_000, "{} more", rest.len());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(stderr(&output).contains("the answer was stopped"), "{}", stderr(&output));
}
