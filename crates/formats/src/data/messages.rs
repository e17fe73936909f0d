//! The messages of a conversation: objects with `role` and `content`. Other fields, such as
//! `tool_calls` or `reasoning_content`, are passed on to the chat template unchanged.

use serde_json::{Map, Value};

use super::fields::{Result, kind, listed, nearest};

/// The roles that chat templates share. Other roles are left to the template, unless they look like a
/// misspelling of one of these.
const ROLES: [&str; 5] = ["system", "developer", "user", "assistant", "tool"];

/// A prompt's messages. A prompt that ends with the assistant's message would have to be continued (as
/// TRL does), which is not what a response is.
pub fn prompt(value: Value) -> Result<Vec<Value>> {
    let messages = checked("prompt", value)?;
    match messages.last().is_some_and(is_assistant) {
        true => Err("`prompt` ends with an assistant's message; move it to `completion`".into()),
        false => Ok(messages),
    }
}

/// A demonstration's messages, from the assistant's first to its last, perhaps with tools' between.
pub fn response(name: &str, value: Value) -> Result<Vec<Value>> {
    let messages = checked(name, value)?;
    let [first, last] = [messages.first(), messages.last()].map(|m| m.is_some_and(is_assistant));
    match first && last {
        true => Ok(messages),
        false => Err(format!("`{name}` must begin and end with an assistant's message")),
    }
}

/// Splits a whole conversation into (prompt, response). The response is the last message if that is the
/// assistant's; else there is none.
pub fn conversation(value: Value) -> Result<(Vec<Value>, Vec<Value>)> {
    let mut prompt = checked("messages", value)?;
    let response = Vec::from_iter(prompt.pop_if(|last| is_assistant(last)));
    match prompt.is_empty() {
        true => Err("`messages` has nothing that the assistant's message responds to".into()),
        false => Ok((prompt, response)),
    }
}

/// The messages in field `name`, each checked.
fn checked(name: &str, value: Value) -> Result<Vec<Value>> {
    let Value::Array(messages) = value else {
        return Err(format!("`{name}` is {}; expected an array of messages", kind(&value)));
    };
    if messages.is_empty() {
        return Err(format!("`{name}` is empty; expected at least one message"));
    }
    for (index, message) in messages.iter().enumerate() {
        check(message).map_err(|e| format!("message {} of `{name}` {e}", index + 1))?;
    }
    Ok(messages)
}

fn check(message: &Value) -> Result<()> {
    let Value::Object(fields) = message else {
        return Err(format!("is {}; expected an object with `role` and `content`", kind(message)));
    };
    let missing = |name: &str| format!("has no `{name}`, only {}", listed(fields.keys()));
    let role = match fields.get("role") {
        Some(Value::String(role)) => role.as_str(),
        Some(other) => return Err(format!("has {} as `role`; expected a string", kind(other))),
        None => return Err(missing("role")),
    };
    if !ROLES.contains(&role)
        && let Some(known) = nearest(role, &ROLES)
    {
        return Err(format!("has the unknown role `{role}`; the nearest known one is `{known}`"));
    }
    let empty = match fields.get("content") {
        Some(Value::String(text)) => is_blank(text),
        Some(Value::Array(parts)) => all_blank(parts)?,
        Some(Value::Null) | None if calls_tools(fields) => false,
        Some(other) => return Err(format!("has {} as `content`; expected a string", kind(other))),
        None => return Err(missing("content")),
    };
    // A system prompt may be empty, which suppresses a template's own; so may a tool's output.
    match empty && (role == "user" || role == "assistant" && !calls_tools(fields)) {
        true => Err("is empty; expected some text".into()),
        false => Ok(()),
    }
}

/// Whether all parts of a content are blank text; an error if a part is not text.
fn all_blank(parts: &[Value]) -> Result<bool> {
    let mut blank = true;
    for (index, part) in parts.iter().enumerate() {
        match (&part["type"], &part["text"]) {
            (Value::String(kind), Value::String(text)) if kind == "text" => blank &= is_blank(text),
            (kind, _) => {
                return Err(format!(
                    "has content part {} of type {kind}; only parts such as {} can be read",
                    index + 1,
                    r#"{"type": "text", "text": "…"}"#
                ));
            }
        }
    }
    Ok(blank)
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

fn is_assistant(message: &Value) -> bool {
    message["role"] == "assistant"
}

fn calls_tools(message: &Map<String, Value>) -> bool {
    message.get("tool_calls").and_then(Value::as_array).is_some_and(|calls| !calls.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_stay_as_they_are() {
        let call = json!({"tool_calls": [{"type": "function"}], "role": "assistant", "name": "a"});
        for message in [
            json!({"role": "user", "content": "hello", "z": 1, "a": null}),
            json!({"content": [{"type": "text", "text": "hello"}], "role": "user"}),
            json!({"role": "system", "content": ""}),
            json!({"role": "tool", "content": "", "tool_call_id": "1"}),
            json!({"role": "critic", "content": "hm"}),
            json!({"role": "assistant", "content": null, "tool_calls": [1]}),
            json!({"role": "assistant", "content": "", "tool_calls": [1]}),
            call,
        ] {
            let checked = checked("messages", json!([message])).expect("a good message");
            assert_eq!(json!(checked).to_string(), json!([message]).to_string());
        }
    }

    #[test]
    fn each_kind_of_bad_message_is_named() {
        let text = |kind: &str| json!({"role": "user", "content": [{"type": kind, "text": "a"}]});
        for (messages, reason) in [
            (json!("hi"), "`messages` is a string; expected an array of messages"),
            (json!([]), "`messages` is empty"),
            (json!(["hi"]), "message 1 of `messages` is a string; expected an object with `role`"),
            (json!([{"content": "a"}]), "message 1 of `messages` has no `role`, only `content`"),
            (json!([{"from": "a", "value": "b"}]), "has no `role`, only `from`, `value`"),
            (json!([{"role": 1, "content": "a"}]), "has a number as `role`"),
            (
                json!([{"role": "User", "content": "a"}]),
                "role `User`; the nearest known one is `user`",
            ),
            (json!([{"role": "asistant", "content": "a"}]), "the nearest known one is `assistant`"),
            (json!([text("text"), {"role": "user"}]), "message 2 of `messages` has no `content`"),
            (json!([{"role": "user", "content": null}]), "has null as `content`"),
            (json!([{"role": "user", "content": {"a": 1}}]), "has an object as `content`"),
            (json!([{"role": "assistant", "content": null, "tool_calls": []}]), "has null"),
            (json!([{"role": "user", "content": " "}]), "message 1 of `messages` is empty"),
            (json!([{"role": "assistant", "content": "\n"}]), "message 1 of `messages` is empty"),
            (json!([{"role": "user", "content": []}]), "message 1 of `messages` is empty"),
            (json!([{"role": "user", "content": [{"type": "text", "text": " "}]}]), "is empty"),
            (json!([text("image")]), "has content part 1 of type \"image\"; only parts such as"),
            (json!([{"role": "user", "content": ["a"]}]), "has content part 1 of type null"),
        ] {
            let error = checked("messages", messages.clone()).expect_err("a bad message");
            assert!(error.contains(reason), "{messages}: {error}");
        }
    }

    /// One message per letter: s(ystem), u(ser), a(ssistant), t(ool).
    fn messages(roles: &str) -> Value {
        let role = |c| ROLES.iter().find(|role| role.starts_with(c)).expect("a role's letter");
        roles.chars().map(|c| json!({"role": role(c), "content": "text"})).collect()
    }

    #[test]
    fn a_conversation_is_parted_before_its_last_response() {
        for (roles, prompt) in [
            ("ua", 1),
            ("sua", 2),
            ("uaua", 3),
            ("uata", 3),
            ("uaa", 2),
            ("u", 1),
            ("uau", 3),
            ("uat", 3),
        ] {
            let (before, response) = conversation(messages(roles)).expect(roles);
            assert_eq!(
                (before.len(), before.len() + response.len()),
                (prompt, roles.len()),
                "{roles}"
            );
        }
        assert!(conversation(messages("a")).is_err());
    }

    #[test]
    fn prompts_and_responses_end_where_they_must() {
        for (roles, is_prompt, is_response) in [
            ("u", true, false),
            ("su", true, false),
            ("uat", true, false),
            ("ua", false, false),
            ("a", false, true),
            ("ata", false, true),
            ("at", true, false),
        ] {
            assert_eq!(prompt(messages(roles)).is_ok(), is_prompt, "{roles}");
            assert_eq!(response("completion", messages(roles)).is_ok(), is_response, "{roles}");
        }
    }
}
