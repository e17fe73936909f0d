//! `chat_template.jinja` and, after a byte 0 each, `tokenizer_config.json` and
//! `special_tokens_map.json`; an empty file is none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};
use srft_formats::text::chat::ChatTemplate;
use std::sync::LazyLock;

static MESSAGES: LazyLock<[Value; 5]> = LazyLock::new(|| {
    let call = json!({"name": "add", "arguments": {"a": 1, "b": [2.5, null, "é"]}});
    [
        json!({"role": "system", "content": "Be brief."}),
        json!({"role": "user", "content": "1 + 2.5 <b>=</b>\n"}),
        json!({"role": "assistant", "content": "", "reasoning_content": "Sum.",
            "tool_calls": [{"id": "123456789", "type": "function", "function": call}]}),
        json!({"role": "tool", "content": "3.5", "tool_call_id": "123456789"}),
        json!({"role": "assistant", "content": "<think>\nSum.\n</think>\n\n3.5"}),
    ]
});
static TOOLS: LazyLock<Value> = LazyLock::new(|| {
    let numbers = json!({"a": {"type": "number"}, "b": {"type": ["array", "null"]}});
    json!([{"type": "function", "function": {"name": "add", "description": "Adds.",
        "parameters": {"type": "object", "properties": numbers, "required": ["a"]}}}])
});

fuzz_target!(|input: &[u8]| {
    let [jinja, config, map] = srft_fuzz::files(input).map(|file| file.filter(|f| !f.is_empty()));
    let Ok(Some(template)) = ChatTemplate::from_files(jinja, config, map, "folder") else { return };
    let template = template.at_time(1_700_000_000);
    let prompt = |tools| template.render(&MESSAGES[..2], tools, true, &Map::new());
    let first = prompt(None).map_err(|e| e.to_string());
    assert_eq!(prompt(None).map_err(|e| e.to_string()), first, "rendering is a function");
    let _ = prompt(Some(&TOOLS));
    let _ = template.render(&*MESSAGES, Some(&TOOLS), false, &Map::new());
});
