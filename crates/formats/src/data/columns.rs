//! Columns under the names that published data sets give them, taken as the parts of a row (`data.columns`).

use serde_json::{Map, Value, json};

use super::fields::{Result, listed};
use crate::config::Columns;

/// A row's fields under their parts' names. Columns that were taken whole are gone; a part takes the
/// place of a column of its name.
pub fn named(columns: &Columns, mut fields: Map<String, Value>) -> Result<Map<String, Value>> {
    let mut parts = Map::new();
    for (part, column) in columns.pairs() {
        let value = find(&fields, column).ok_or_else(|| {
            let names = listed(fields.keys());
            format!("no column `{column}`, which data.columns takes as {part}; there are {names}")
        })?;
        let value = match value {
            Value::Null => continue,
            Value::Number(_) | Value::Bool(_) if part == "answer" => value.to_string().into(),
            _ => value.clone(),
        };
        parts.insert(part.clone(), value);
    }
    for (part, column) in columns.pairs() {
        fields.shift_remove(column);
        fields.shift_remove(part);
    }
    let mut message = |role: &str| {
        parts.shift_remove(role).map(|content| json!({"role": role, "content": content}))
    };
    let [system, user, assistant] = ["system", "user", "assistant"].map(&mut message);
    if let Some(assistant) = assistant {
        parts.insert("completion".into(), json!([assistant]));
    }
    if let Some(user) = user {
        parts.insert("prompt".into(), json!([user]));
    }
    fields.extend(parts);
    if let Some(system) = system {
        let conversation = ["prompt", "messages"]
            .into_iter()
            .find(|name| fields.get(*name).is_some_and(Value::is_array));
        let Some(Value::Array(messages)) = conversation.and_then(|name| fields.get_mut(name))
        else {
            return Err("a system message goes before a conversation; data.columns names no user, and there are no messages".into());
        };
        messages.insert(0, system);
    }
    Ok(fields)
}

/// A column by its name, or by a path into its objects: `reward_model.ground_truth`.
fn find<'a>(fields: &'a Map<String, Value>, column: &str) -> Option<&'a Value> {
    fields.get(column).or_else(|| {
        let (name, rest) = column.split_once('.')?;
        find(fields.get(name)?.as_object()?, rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(settings: &[&str]) -> Option<Columns> {
        Columns::new(&Vec::from_iter(settings.iter().map(|s| s.to_string())))
    }

    fn applied(settings: &[&str], row: Value) -> Result<Value> {
        let Value::Object(fields) = row else { panic!("no object") };
        named(&columns(settings).unwrap(), fields).map(Value::Object)
    }

    #[test]
    fn columns_of_published_data_sets_become_the_parts_of_a_row() {
        let gsm8k = json!({"question": "1+1?", "answer": "so\n#### 2"});
        let user = json!({"role": "user", "content": "1+1?"});
        let assistant = json!({"role": "assistant", "content": "so\n#### 2"});
        let verl =
            json!({"prompt": [user], "hint": "h", "reward_model": {"ground_truth": 2}, "id": 1});
        let alpaca = json!({"instruction": "i", "input": "", "output": "o", "s": "t"});
        for (settings, row, expected) in [
            (
                &["user=question", "assistant = answer", "answer=answer"][..],
                gsm8k.clone(),
                json!({"answer": "so\n#### 2", "completion": [assistant], "prompt": [user]}),
            ),
            (&["prompt=question"], gsm8k, json!({"answer": "so\n#### 2", "prompt": "1+1?"})),
            (
                &["assistant=hint", "answer=reward_model.ground_truth"],
                verl,
                json!({"prompt": [user], "reward_model": {"ground_truth": 2}, "id": 1, "answer": "2",
                    "completion": [{"role": "assistant", "content": "h"}]}),
            ),
            (
                &["system=s", "user=instruction", "assistant=output"],
                alpaca,
                json!({"input": "", "completion": [{"role": "assistant", "content": "o"}],
                    "prompt": [{"role": "system", "content": "t"}, {"role": "user", "content": "i"}]}),
            ),
            (
                &["answer=a.b"],
                json!({"a.b": "1", "a": {"b": "2"}}),
                json!({"a": {"b": "2"}, "answer": "1"}),
            ),
            (
                &["system=s"],
                json!({"prompt": [user], "s": "t"}),
                json!({"prompt": [{"role": "system", "content": "t"}, user]}),
            ),
            (&["answer=b"], json!({"answer": "a", "b": null, "text": "t"}), json!({"text": "t"})),
            (&[], json!({"text": "t"}), json!({"text": "t"})),
        ] {
            assert_eq!(applied(settings, row).unwrap(), expected, "{settings:?}");
        }
    }

    #[test]
    fn a_missing_column_and_a_setting_of_another_form_are_refused() {
        let error = applied(&["user=q"], json!({"question": 1, "x": 2})).unwrap_err();
        assert_eq!(
            error,
            "no column `q`, which data.columns takes as user; there are `question`, `x`"
        );
        let into = applied(&["answer=a.b.c"], json!({"a": {"b": "2"}}));
        assert!(into.unwrap_err().starts_with("no column `a.b.c`"));
        let alone = applied(&["system=s"], json!({"s": "t", "prompt": "p"})).unwrap_err();
        assert!(alone.starts_with("a system message goes before a conversation"), "{alone}");
        for bad in [&["question"][..], &["usr=q"], &["user="], &["user=a", "user=b"], &["=q"]] {
            assert_eq!(columns(bad), None, "{bad:?}");
        }
    }
}
