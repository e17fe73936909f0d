//! The kind of a row of data, judged by its fields. The shapes are TRL's: prompt and completion
//! as text or as messages, a whole conversation, or bare text (its guide "Dataset formats and types").

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::fields::{self, Result, kind, listed, nearest};
use super::messages;
use crate::records::{Example, Layout};

/// The fields that have a meaning here.
const KNOWN: [&str; 8] = [
    "prompt",
    "response",
    "completion",
    "messages",
    "text",
    "answer",
    "tools",
    "chat_template_kwargs",
];

/// Every row has exactly one of these fields.
pub(super) const CONTENT: [&str; 3] = ["prompt", "messages", "text"];

/// Fields that exclude each other: two shapes, or two names for one thing.
const RIVALS: [(&str, &str); 10] = [
    ("prompt", "messages"),
    ("prompt", "text"),
    ("messages", "text"),
    ("response", "completion"),
    ("messages", "response"),
    ("messages", "completion"),
    ("text", "response"),
    ("text", "completion"),
    ("text", "tools"),
    ("text", "chat_template_kwargs"),
];

/// What the method requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// A demonstration in every row: for any method with a supervised term.
    pub response: bool,
    /// A prompt and its gold answer in every row: for any method with rewards, and for every evaluation
    /// file.
    pub answer: bool,
}

/// One example as the user's file or program gives it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The line on which it starts, counted from 1; rows from a program are counted from 0.
    pub line: usize,
    /// The suite that the row names; empty for the file's own suite.
    pub suite: String,
    /// Prompt and response.
    pub content: Content,
    /// The gold answer.
    pub answer: Option<String>,
    /// The fields without a meaning here, in their order.
    pub extra: Map<String, Value>,
}

/// Prompt and response of a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Content {
    /// Text continued by text; no chat template is applied.
    Completion {
        /// The prompt as the model reads it.
        prompt: String,
        /// The demonstration.
        response: Option<String>,
    },
    /// Messages, which a chat template turns into text.
    Chat(Chat),
    /// Text to be imitated as a whole.
    Text(String),
    /// A question, of a program's: what a user says where the model has a chat template, else text.
    Question(String),
    /// Made by an embedding program: text with its layout.
    Made {
        /// The prompt as the model reads it.
        prompt: String,
        /// The demonstration.
        response: Option<String>,
        /// How both become tokens.
        layout: Layout,
    },
}

/// A conversation up to the point where the model speaks, and what it should say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chat {
    /// The prompt's messages, never empty.
    pub messages: Vec<Value>,
    /// The demonstration's messages; empty where there is none.
    pub response: Vec<Value>,
    /// The tools that the template shows to the model: an array of objects, never empty.
    pub tools: Option<Value>,
    /// Further variables of the template, such as `enable_thinking`.
    pub template_arguments: Map<String, Value>,
}

impl Row {
    /// The row without its response, for sampling: a template need not be able to render the response.
    pub fn without_response(mut self) -> Self {
        match &mut self.content {
            Content::Completion { response, .. } | Content::Made { response, .. } => {
                *response = None;
            }
            Content::Chat(chat) => chat.response.clear(),
            Content::Text(_) | Content::Question(_) => {}
        }
        self
    }

    /// The row with a system message, if it is a conversation that begins without one; an empty text is none.
    pub fn with_system(mut self, text: &str) -> Self {
        if let Content::Chat(chat) = &mut self.content
            && !text.is_empty()
            && chat.messages[0]["role"] != "system"
        {
            chat.messages.insert(0, json!({"role": "system", "content": text}));
        }
        self
    }

    /// Whether it has a response.
    pub fn responds(&self) -> bool {
        match &self.content {
            Content::Completion { response, .. } | Content::Made { response, .. } => {
                response.is_some()
            }
            Content::Chat(chat) => !chat.response.is_empty(),
            Content::Text(_) => true,
            Content::Question(_) => false,
        }
    }

    /// The row for a model with a chat template: a question is a conversation.
    pub fn asked(mut self) -> Self {
        if let Content::Question(text) = self.content {
            self.content = Content::Chat(Chat {
                messages: vec![json!({"role": "user", "content": text})],
                response: Vec::new(),
                tools: None,
                template_arguments: Map::new(),
            });
        }
        self
    }
}

impl From<Example> for Row {
    fn from(example: Example) -> Self {
        let Example { suite, prompt, demonstration: response, answer, layout, extra } = example;
        let answer = (!answer.is_empty()).then_some(answer);
        Self { line: 0, suite, content: Content::Made { prompt, response, layout }, answer, extra }
    }
}

/// The row in `fields`, or why there is none.
pub fn row(line: usize, mut fields: Map<String, Value>, needs: Needs) -> Result<Row> {
    require_clear(&fields)?;
    // Table formats fill columns that a row lacks with null.
    let mut take = |name: &'static str| fields.shift_remove(name).filter(|value| !value.is_null());
    let [prompt, response, completion, conversation, text, answer, tools, arguments] =
        KNOWN.map(|name| take(name).map(|value| (name, value)));
    let response = response.or(completion);
    let content = match (prompt, conversation, text) {
        (Some((_, prompt @ Value::Array(_))), ..) => {
            let messages = messages::prompt(prompt)?;
            let response = response.map(|(name, value)| messages::response(name, value));
            chat((messages, response.transpose()?.unwrap_or_default()), tools, arguments)?
        }
        (Some(prompt), ..) => {
            if let Some((name, _)) = tools.or(arguments) {
                return Err(format!("`{name}` goes with a `prompt` of messages; this one is text"));
            }
            let response = response.map(fields::text).transpose()?;
            Content::Completion { prompt: fields::text(prompt)?, response }
        }
        (_, Some((_, messages)), _) => chat(messages::conversation(messages)?, tools, arguments)?,
        (.., Some(text)) => Content::Text(fields::text(text)?),
        _ if fields.is_empty() => return Err("no `prompt`, `messages` or `text`".into()),
        _ => {
            let names = listed(fields.keys());
            return Err(format!(
                "no `prompt`, `messages` or `text`, only {names}; --columns user=NAME,assistant=NAME,answer=NAME says \
                 which are which"
            ));
        }
    };
    let answer = answer.map(fields::text).transpose()?;
    let row = Row { line, suite: String::new(), content, answer, extra: fields };
    require_enough(&row, needs)?;
    Ok(row)
}

/// Refuses fields that contradict each other, and unknown ones that look like a known one misspelt.
fn require_clear(fields: &Map<String, Value>) -> Result<()> {
    let has = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
    if let Some((a, b)) = RIVALS.iter().find(|(a, b)| has(a) && has(b)) {
        return Err(format!("both `{a}` and `{b}` are given; keep one of them"));
    }
    // HumanEval's `test` is not a misspelt `text`: `text` can't stand beside `prompt`.
    let mut could_stand = KNOWN.to_vec();
    could_stand.retain(|name| {
        !has(name) && !RIVALS.iter().any(|(a, b)| a == name && has(b) || b == name && has(a))
    });
    for name in fields.keys().filter(|name| !KNOWN.contains(&name.as_str())) {
        if let Some(known) = nearest(name, &could_stand) {
            return Err(format!(
                "unknown field `{name}`; the nearest known one is `{known}`: if that is meant, \
                 rename it, else give it a less similar name"
            ));
        }
    }
    Ok(())
}

/// Refuses a row that lacks what the method needs.
fn require_enough(row: &Row, needs: Needs) -> Result<()> {
    if needs.response && !row.responds() {
        let why = "which this method needs as demonstration";
        return Err(format!("no `response`, {why}; in `messages` it is the last, an assistant's"));
    }
    if needs.answer && matches!(row.content, Content::Text(_)) {
        return Err("`text` has no prompt to answer, which rewards and evaluation need".into());
    }
    if needs.answer && row.answer.is_none() {
        return Err("no `answer`, which rewards and evaluation compare with".into());
    }
    Ok(())
}

type Field = (&'static str, Value);

fn chat(
    (messages, response): (Vec<Value>, Vec<Value>),
    tools: Option<Field>,
    arguments: Option<Field>,
) -> Result<Content> {
    let template_arguments = match arguments {
        None => Map::new(),
        Some((_, Value::Object(arguments))) => arguments,
        Some((name, other)) => {
            return Err(format!("`{name}` is {}; expected an object", kind(&other)));
        }
    };
    let tools = tools.map(self::tools).transpose()?.flatten();
    Ok(Content::Chat(Chat { messages, response, tools, template_arguments }))
}

/// The tools, perhaps as a string of JSON, which is how TRL keeps them in tables. An empty array counts
/// as none: otherwise templates would introduce tools that don't exist.
fn tools((name, value): Field) -> Result<Option<Value>> {
    let value = match value {
        Value::String(json) => {
            fields::parse(&json).map_err(|e| format!("`{name}` is {}", fields::reason(&e)))?
        }
        other => other,
    };
    match value {
        Value::Array(tools) if !tools.iter().all(Value::is_object) => {
            Err(format!("`{name}` must hold objects, one per function"))
        }
        Value::Array(tools) => Ok((!tools.is_empty()).then_some(Value::Array(tools))),
        other => Err(format!("`{name}` is {}; expected an array", kind(&other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Needs = Needs { response: false, answer: false };
    const RESPONSE: Needs = Needs { response: true, answer: false };
    const ANSWER: Needs = Needs { response: false, answer: true };
    const ALL: Needs = Needs { response: true, answer: true };

    /// What `row` makes of an object; USER and ASST in it stand for messages of the two.
    fn row_of(json: &str, needs: Needs) -> Result<Row> {
        let message = |role: &str| format!(r#"{{"role": "{role}", "content": "hi"}}"#);
        let json = json.replace("USER", &message("user")).replace("ASST", &message("assistant"));
        let Ok(Value::Object(fields)) = fields::parse(&json) else { panic!("no object: {json}") };
        row(7, fields, needs)
    }

    #[test]
    fn text_prompts_with_and_without_response() {
        let completion = |prompt: &str, response: Option<&str>| Content::Completion {
            prompt: prompt.into(),
            response: response.map(String::from),
        };
        for (json, content, answer) in [
            (
                r#"{"prompt": "a ", "response": " b", "answer": "c"}"#,
                completion("a ", Some(" b")),
                Some("c"),
            ),
            (r#"{"completion": "b", "prompt": "[INST]"}"#, completion("[INST]", Some("b")), None),
            (r#"{"prompt": "é", "answer": "c"}"#, completion("é", None), Some("c")),
            (
                r#"{"prompt": "a", "completion": null, "tools": null, "answer": null}"#,
                completion("a", None),
                None,
            ),
            (
                r#"{"text": "a\nb", "answer": "c", "prompt": null}"#,
                Content::Text("a\nb".into()),
                Some("c"),
            ),
        ] {
            let row = row_of(json, NONE).expect(json);
            assert_eq!((row.line, &row.content, row.answer.as_deref()), (7, &content, answer));
            assert!(row.extra.is_empty(), "{json}");
        }
    }

    fn chat_of(json: &str, needs: Needs) -> Result<Chat> {
        match row_of(json, needs)?.content {
            Content::Chat(chat) => Ok(chat),
            other => panic!("{json} is {other:?}"),
        }
    }

    #[test]
    fn a_system_message_goes_before_a_conversation_that_has_none() {
        let system = json!({"role": "system", "content": "s"});
        for (row, messages) in [(r#"{"messages": [USER, ASST]}"#, 2), (r#"{"prompt": [USER]}"#, 2)]
        {
            let row = row_of(row, NONE).unwrap();
            assert_eq!(row.clone().with_system(""), row);
            let Content::Chat(chat) = row.with_system("s").content else { panic!("a chat") };
            assert_eq!((chat.messages.len(), &chat.messages[0]), (messages, &system));
        }
        let own = r#"{"prompt": [{"role": "system", "content": "own"}, USER]}"#;
        for unchanged in [own, r#"{"prompt": "text"}"#] {
            let row = row_of(unchanged, NONE).unwrap();
            assert_eq!(row.clone().with_system("s"), row, "{unchanged}");
        }
    }

    #[test]
    fn messages_make_a_chat() {
        for (json, before, response) in [
            (r#"{"prompt": [USER]}"#, 1, 0),
            (r#"{"prompt": [USER, ASST, USER], "completion": [ASST]}"#, 3, 1),
            (r#"{"prompt": [USER], "response": [ASST, ASST]}"#, 1, 2),
            (r#"{"messages": [USER, ASST]}"#, 1, 1),
            (r#"{"messages": [USER, ASST, ASST]}"#, 2, 1),
            (r#"{"messages": [USER, ASST, USER]}"#, 3, 0),
        ] {
            let chat = chat_of(json, NONE).expect(json);
            assert_eq!((chat.messages.len(), chat.response.len()), (before, response), "{json}");
            assert_eq!((chat.tools, chat.template_arguments.len()), (None, 0), "{json}");
            assert_eq!(chat_of(json, RESPONSE).is_ok(), response > 0, "{json}");
        }
    }

    #[test]
    fn tools_and_template_arguments_go_to_the_template() {
        for (tools, expected) in [
            (r#"[{"name": "f"}]"#, Some(r#"[{"name":"f"}]"#)),
            (r#""[{\"name\": \"f\"}]""#, Some(r#"[{"name":"f"}]"#)),
            ("[]", None),
            ("null", None),
        ] {
            let arguments = r#"{"b": 1, "a": 2}"#;
            let json = format!(
                r#"{{"prompt": [USER], "tools": {tools}, "chat_template_kwargs": {arguments}}}"#
            );
            let chat = chat_of(&json, NONE).expect(&json);
            assert_eq!(chat.tools.map(|tools| tools.to_string()).as_deref(), expected);
            assert_eq!(Value::Object(chat.template_arguments).to_string(), r#"{"b":1,"a":2}"#);
        }
    }

    #[test]
    fn other_fields_are_kept_in_their_order() {
        // `test` is near `text`, which couldn't stand beside `prompt`.
        let json =
            r#"{"z": 1, "prompt": "a", "test": [null], "answer": "b", "level": null, "a": "c"}"#;
        let extra = Value::Object(row_of(json, ANSWER).expect("a good row").extra);
        assert_eq!(extra.to_string(), r#"{"z":1,"test":[null],"level":null,"a":"c"}"#);
    }

    #[test]
    fn each_kind_of_bad_row_says_what_was_expected() {
        for (json, needs, reason) in [
            ("{}", NONE, "no `prompt`, `messages` or `text`"),
            (r#"{"prompt": null}"#, NONE, "no `prompt`, `messages` or `text`"),
            (r#"{"question": "a", "solution": "b"}"#, NONE, "`text`, only `question`, `solution`"),
            (r#"{"response": "a", "answer": "b"}"#, ALL, "no `prompt`"),
            (r#"{"prompt": "a", "answer": "b"}"#, ALL, "no `response`, which this method needs"),
            (r#"{"prompt": "a", "response": "b"}"#, ALL, "no `answer`, which rewards"),
            (r#"{"text": "a", "answer": "b"}"#, ANSWER, "`text` has no prompt"),
            (r#"{"prompt": "", "answer": "c"}"#, NONE, "`prompt` is empty"),
            (r#"{"prompt": "a", "response": " "}"#, NONE, "`response` is empty"),
            (r#"{"prompt": "a", "answer": ""}"#, NONE, "`answer` is empty"),
            (r#"{"prompt": 4.5}"#, NONE, r#"the number 4.5; expected a string: write "4.5""#),
            (r#"{"prompt": true}"#, NONE, "`prompt` is a boolean; expected a string"),
            (r#"{"prompt": {"a": 1}}"#, NONE, "`prompt` is an object; expected a string"),
            (r#"{"prompt": ["a"]}"#, NONE, "message 1 of `prompt` is a string"),
            (
                r#"{"prompt": "a", "completion": []}"#,
                NONE,
                "`completion` is an array; expected a string",
            ),
            (
                r#"{"prompt": [USER], "completion": "b"}"#,
                NONE,
                "`completion` is a string; expected an array",
            ),
            (
                r#"{"prompt": [USER], "completion": [USER]}"#,
                NONE,
                "must begin and end with an assistant's",
            ),
            (r#"{"prompt": [USER, ASST]}"#, NONE, "`prompt` ends with an assistant's message"),
            (r#"{"messages": "a"}"#, NONE, "`messages` is a string; expected an array of messages"),
            (r#"{"messages": [ASST]}"#, NONE, "`messages` has nothing"),
            (r#"{"messages": [USER]}"#, ALL, "no `response`, which this method needs"),
            (r#"{"text": 1}"#, NONE, "`text` is the number 1"),
            (r#"{"prompt": [USER], "tools": {}}"#, NONE, "`tools` is an object; expected an array"),
            (r#"{"prompt": [USER], "tools": "f"}"#, NONE, "`tools` is not JSON"),
            (r#"{"prompt": [USER], "tools": ["f"]}"#, NONE, "`tools` must hold objects"),
            (r#"{"prompt": "a", "tools": []}"#, NONE, "`tools` goes with a `prompt` of messages"),
            (
                r#"{"prompt": [USER], "chat_template_kwargs": []}"#,
                NONE,
                "is an array; expected an object",
            ),
            (r#"{"promt": "a"}"#, NONE, "unknown field `promt`; the nearest known one is `prompt`"),
            (
                r#"{"Answers": "a"}"#,
                NONE,
                "unknown field `Answers`; the nearest known one is `answer`",
            ),
            (r#"{"MESSAGES": []}"#, NONE, "the nearest known one is `messages`"),
            (r#"{"prompt": "a", "tool": "b"}"#, NONE, "the nearest known one is `tools`"),
        ] {
            let error = row_of(json, needs).expect_err(json);
            assert!(error.contains(reason), "{json}: {error}");
        }
    }

    #[test]
    fn rivals_are_both_named() {
        for (a, b) in RIVALS {
            let error = row_of(&format!(r#"{{"{b}": "x", "{a}": "y"}}"#), NONE).unwrap_err();
            assert!(error.contains(&format!("both `{a}` and `{b}` are given")), "{error}");
        }
    }
}
