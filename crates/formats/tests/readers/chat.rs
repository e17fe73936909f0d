//! Chat templates against transformers' own renderings (`tests/golden/chat/README.md`): every line
//! byte for byte, every refusal word for word.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use srft_formats::error::Result;
use srft_formats::text::chat::ChatTemplate;

/// 26 July 2024, where the generator's clock stands.
const NOW: i64 = 1_721_952_000;

/// What minijinja can't do, or does where Python fails: the template, and what comes of it here, a
/// text or a part of the error. The fixtures' README explains them.
const KNOWN: [(&str, std::result::Result<&str, &str>); 28] = [
    // Python refuses; here it is nothing, or some order.
    ("{% for a in n %}{{ a }}{% endfor %}", Ok("")),
    ("{{ n|list }}", Ok("[]")),
    ("{{ n|join(',') }}", Ok("")),
    ("{{ n > 0 }}", Ok("False")),
    ("{{ zz > 0 }}", Ok("False")),
    ("{{ 'a' > 0 }}", Ok("True")),
    ("{{ 1 in 'abc' }}", Ok("False")),
    ("{{ l|map('string')|tojson }}", Ok(r#"["3", "1", "2"]"#)),
    // Another text.
    ("{{ 'x'|safe + '<' }}", Ok("x<")),
    ("{{ y ~ '' }}", Ok("0.0000001")),
    ("{{ l[1.0] }}", Ok("1")),
    ("{{ d|attr('b') }}", Ok("1")),
    ("{% raw %}\n x\n{% endraw %}\ny", Ok(" x\ny")),
    (r"{{ '\U0001F600' }}", Ok(r"\U0001F600")),
    (r"{{ '\a' }}", Ok(r"\a")),
    (r"{{ '\/' }}", Ok("/")),
    ("{{ \"a\\\nb\" }}", Ok("a\\\nb")),
    // An error instead of a text.
    (r"{{ '\400' }}", Err("bad string escape")),
    ("{{ '%s-%s' % ('a', 1) }}", Err("% operator")),
    ("{{ +i }}", Err("unexpected `+`")),
    ("{{ 'x'|int }}", Err("invalid float literal")),
    ("{{ 'x'|float }}", Err("invalid float literal")),
    ("{{ {'B':1,'a':2}|dictsort(true) }}", Err("too many arguments")),
    ("{{ 'a\\nb'|indent('>>') }}", Err("cannot convert string")),
    ("{{ dict([('a',1)]) }}", Err("invalid operation")),
    ("{{ raise_exception is callable }}", Err("callable is unknown")),
    ("{{ 'a b c'|wordcount }}", Err("wordcount is unknown")),
    ("{% block x %}hi{% endblock %}", Err("unknown statement block")),
];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/chat").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn parsed(name: &str) -> Value {
    serde_json::from_str(&read(name)).expect(name)
}

/// The lines of a golden file after its header, which is checked.
fn golden_lines(name: &str) -> Vec<Value> {
    let text = read(name);
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect(name));
    let header = lines.next().expect("a header");
    let found = (header["format"].as_str(), header["version"].as_u64());
    assert_eq!(found, (Some("srft-golden"), Some(1)), "{name}: {}", header["regenerate"]);
    lines.collect()
}

/// What is wrong with an outcome; `None`: it is the one of the golden line.
fn difference(line: &Value, outcome: &Result<String>) -> Option<String> {
    let (expected, same) = match (line["expected"].as_str(), line["error"].as_str()) {
        (Some(text), _) => (text, outcome.as_ref().is_ok_and(|ours| ours == text)),
        (_, Some(words)) => (words, outcome.as_ref().is_err_and(|ours| ours.what == words)),
        _ => ("an error", outcome.is_err()),
    };
    (!same).then(|| format!("expected {expected:?}\n  actual {outcome:?}"))
}

fn template(folder: &str) -> ChatTemplate {
    let file = |name: &str| std::fs::read(path(folder).join(name)).ok();
    let template = ChatTemplate::from_files(
        file("chat_template.jinja").as_deref(),
        file("tokenizer_config.json").as_deref(),
        file("special_tokens_map.json").as_deref(),
        folder,
    );
    template.unwrap().expect("a template").at_time(NOW)
}

#[test]
fn every_rendering_is_that_of_transformers() {
    let conversations = parsed("conversations.json");
    let lines = golden_lines("expected.jsonl");
    let mut templates = BTreeMap::new();
    let mut wrong = Vec::new();
    for line in &lines {
        let [folder, name] = ["template", "conversation"].map(|key| line[key].as_str().unwrap());
        let conversation = &conversations[name];
        let outcome = templates.entry(folder).or_insert_with(|| template(folder)).render(
            conversation["messages"].as_array().unwrap(),
            conversation.get("tools"),
            line["add_generation_prompt"] == true,
            conversation["extra"].as_object().unwrap_or(&Map::new()),
        );
        wrong.extend(difference(line, &outcome).map(|d| format!("{folder}, {name}: {d}")));
    }
    assert!(templates.len() >= 20 && lines.len() == templates.len() * 2 * length(&conversations));
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), lines.len(), wrong.join("\n"));
}

fn length(object: &Value) -> usize {
    object.as_object().map_or(0, Map::len)
}

#[test]
fn every_expression_is_that_of_transformers() {
    let table = parsed("expressions.json");
    let lines = golden_lines("expressions.jsonl");
    let asked: Vec<&Value> = lines.iter().map(|line| &line["template"]).collect();
    let listed: Vec<&Value> = table["templates"].as_array().unwrap().iter().collect();
    assert_eq!(asked, listed, "expressions.jsonl is older than expressions.json");

    let messages = [json!({"role": "user", "content": "Hi"})];
    let mut known: BTreeMap<_, _> = KNOWN.into_iter().collect();
    let mut wrong = Vec::new();
    for line in &lines {
        let source = line["template"].as_str().unwrap();
        let template = ChatTemplate::from_files(Some(source.as_bytes()), None, None, "folder");
        let outcome = template.and_then(|template| {
            let template = template.expect("a template").at_time(NOW);
            template.render(&messages, None, false, table["variables"].as_object().unwrap())
        });
        let difference = difference(line, &outcome);
        let Some(ours) = known.remove(source) else {
            wrong.extend(difference.map(|d| format!("{source}: {d}")));
            continue;
        };
        let as_known = match (ours, &outcome) {
            (Ok(text), Ok(actual)) => text == actual,
            (Err(part), Err(error)) => error.what.contains(part),
            _ => false,
        };
        if difference.is_none() || !as_known {
            wrong.push(format!("{source}: known as {ours:?}\n  actual {outcome:?}"));
        }
    }
    assert!(known.is_empty(), "not in expressions.json: {known:?}");
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), lines.len(), wrong.join("\n"));
}

#[test]
fn a_changed_byte_a_changed_word_and_a_missing_failure_are_noticed() {
    let refusal = || srft_formats::error::Error::input("Roles must alternate");
    for (line, outcome, same) in [
        (json!({"expected": "a\n"}), Ok("a\n".to_string()), true),
        (json!({"expected": "a\n"}), Ok("a".to_string()), false),
        (json!({"expected": "a\n"}), Err(refusal()), false),
        (json!({"error": "Roles must alternate"}), Err(refusal()), true),
        (json!({"error": "Roles must alternate!"}), Err(refusal()), false),
        (json!({"error": "Roles must alternate"}), Ok("Roles must alternate".into()), false),
        (json!({"fails": "TypeError"}), Err(refusal()), true),
        (json!({"fails": "TypeError"}), Ok(String::new()), false),
    ] {
        assert_eq!(difference(&line, &outcome).is_none(), same, "{line}, {outcome:?}");
    }
}
