//! Chat templates as Hugging Face tokenizers have them: Jinja, rendered to the text that transformers'
//! `apply_chat_template` gives (`tests/golden/chat/`).
//!
//! minijinja is the engine; what Python and transformers' environment add to it is in `python`,
//! `methods`, `repr`, `json` and `date`. Deviations: the clock is UTC and can be fixed, and a template
//! may do only a limited amount of work, since it is a stranger's program.

mod date;
pub(crate) mod files;
pub mod json;
mod methods;
mod python;
mod repr;

use std::cell::Cell;
use std::error::Error as _;
use std::ops::Range;
use std::sync::OnceLock;

use minijinja::value::Value;
use minijinja::{Environment, ErrorKind};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde_json::{Map, Value as Json};

use crate::error::{Error, Result};
use crate::names::{SPECIAL_TOKENS_MAP, TOKENIZER_CONFIG};
use crate::platform::IS_PAGE;
use files::Source;
use python::Raised;

/// Published templates have up to 20 KB. The parser recurses once per link of a chain such as
/// `x|trim|trim`; a longer text could hold too many.
const MAX_TEMPLATE_BYTES: usize = 64 << 10;
/// What one rendering may spend: 1 per instruction, per item of a list, and per 64 bytes of text. A
/// hundred messages of 2 KB cost most templates less than half of it. minijinja doesn't count what it
/// compares or joins, so lists that contain a value many times over (`[x, x]`, and so on) can still
/// take unlimited time and memory, as they do in transformers.
const FUEL: u64 = 200_000;
/// A template can nest lists until its fuel is spent, and they are compared, printed and dropped
/// recursively: 110,000 levels, which take 70 MB of stack, or 180 without optimisation. Unused stack
/// isn't committed.
const STACK_BYTES: usize = 256 << 20;

/// The names under which a message's reasoning may be given; templates read the first.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// The variables that print before and after what a template marks as the assistant's, and what they
/// print: noncharacters, which occur in no text.
const MARKS: [(&str, &str); 2] = [("srft_from", "\u{FDD0}"), ("srft_to", "\u{FDD1}")];
/// A content that occurs in no text.
const PLACEHOLDER: &str = "\u{FDD2}";

/// A model's chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    special_tokens: Map<String, Json>,
    sources: Vec<Source>,
    place: String,
}

impl ChatTemplate {
    /// The template in the files of a model folder, which `place` names in errors: the contents of
    /// `chat_template.jinja` (which takes precedence), `tokenizer_config.json` and
    /// `special_tokens_map.json`. `None` if they contain no template.
    pub fn from_files(
        jinja: Option<&[u8]>,
        tokenizer_config: Option<&[u8]>,
        special_tokens_map: Option<&[u8]>,
        place: &str,
    ) -> Result<Option<Self>> {
        let config = files::object(tokenizer_config, TOKENIZER_CONFIG, place)?;
        let map = files::object(special_tokens_map, SPECIAL_TOKENS_MAP, place)?;
        let sources = files::sources(jinja, &config, place)?;
        let special_tokens = files::special_tokens(&config, &map);
        if sources.is_empty() {
            return Ok(None);
        }
        let mut environment = python::environment();
        environment.set_fuel(Some(FUEL));
        on_deep_stack(|| {
            for source in &sources {
                if source.text.len() > MAX_TEMPLATE_BYTES {
                    return Err(Error::input(format!(
                        "the chat template has {} bytes; at most {MAX_TEMPLATE_BYTES} are read",
                        source.text.len()
                    ))
                    .at(&source.place)
                    .next("use the chat template that was published with the model"));
                }
                let text = with_marks(&source.text);
                environment
                    .add_template_owned(source.name.clone(), text)
                    .map_err(|e| source.failure(&e))?;
            }
            Ok(())
        })?;
        Ok(Some(Self { environment, special_tokens, sources, place: place.to_string() }))
    }

    /// Fixes the clock that templates read by `strftime_now`. Llama 3's template, for one, begins with
    /// the date, so prompts would otherwise differ from day to day.
    #[must_use]
    pub fn at_time(mut self, unix_secs: i64) -> Self {
        python::set_clock(&mut self.environment, move || unix_secs);
        self
    }

    /// The text of a conversation. `messages` are objects with at least a string `role`; `tools`, a
    /// list of JSON schemas; `extra`, further variables for the template, such as `documents` or
    /// `enable_thinking`. If the template itself refuses, its own words are the error.
    pub fn render(
        &self,
        messages: &[Json],
        tools: Option<&Json>,
        add_generation_prompt: bool,
        extra: &Map<String, Json>,
    ) -> Result<String> {
        self.print(messages, tools, add_generation_prompt, extra, false)
    }

    /// The text of a conversation without a generation prompt, and the byte ranges that the template's
    /// `{% generation %}` blocks mark as the assistant's; none if it has no such blocks.
    pub fn render_marked(
        &self,
        messages: &[Json],
        tools: Option<&Json>,
        extra: &Map<String, Json>,
    ) -> Result<(String, Vec<Range<usize>>)> {
        let source = self.source(tools.is_some())?;
        let has = |mark: &&str| messages.iter().any(|message| message.to_string().contains(*mark));
        let marked = source.marks && !MARKS.iter().any(|(_, mark)| has(mark));
        let printed = self.print(messages, tools, false, extra, marked)?;
        if !marked {
            return Ok((printed, Vec::new()));
        }
        let (mut text, mut ranges) = (String::with_capacity(printed.len()), Vec::new());
        for piece in printed.split_inclusive(|c| MARKS.iter().any(|(_, mark)| mark.contains(c))) {
            let [from, to] = MARKS.map(|(_, mark)| piece.strip_suffix(mark));
            text.push_str(from.or(to).unwrap_or(piece));
            match (from, to, ranges.last_mut()) {
                (Some(_), ..) => ranges.push(text.len()..text.len()),
                (_, Some(_), Some(last)) => last.end = text.len(),
                _ => {}
            }
        }
        ranges.retain(|range| !range.is_empty());
        Ok((text, ranges))
    }

    /// The text before and after the content of message `index`; `None` if the template doesn't write
    /// the content exactly once, or refuses the conversation with a placeholder in its place.
    pub fn around(
        &self,
        messages: &[Json],
        index: usize,
        tools: Option<&Json>,
        extra: &Map<String, Json>,
    ) -> Option<(String, String)> {
        let mut messages = messages.to_vec();
        messages[index] =
            serde_json::json!({"role": messages[index]["role"], "content": PLACEHOLDER});
        let text = self.render(&messages, tools, false, extra).ok()?;
        let (before, behind) = text.split_once(PLACEHOLDER)?;
        (!behind.contains(PLACEHOLDER)).then(|| (before.into(), behind.into()))
    }

    /// The first word that the template writes after the assistant's last turn; `None` if there is
    /// none, or the template refuses so short a conversation.
    pub fn turn_end(&self) -> Option<String> {
        let turn = |role: &str| serde_json::json!({"role": role, "content": "Hi"});
        let messages = [turn("user"), turn("assistant")];
        let (_, behind) = self.around(&messages, 1, None, &Map::new())?;
        behind.split_whitespace().next().map(String::from)
    }

    fn print(
        &self,
        messages: &[Json],
        tools: Option<&Json>,
        add_generation_prompt: bool,
        extra: &Map<String, Json>,
        marked: bool,
    ) -> Result<String> {
        if messages.is_empty() {
            return Err(Error::input("a conversation without messages")
                .at(&self.place)
                .next("give at least one message"));
        }
        let source = self.source(tools.is_some())?;
        if tools.is_some_and(|t| !is_list_of_objects(t)) {
            return Err(Error::input("tools must be a list of objects")
                .next("give each tool as a JSON schema: {\"type\": \"function\", ...}"));
        }
        on_deep_stack(|| {
            let messages =
                messages.iter().enumerate().map(|(index, fields)| message(index, fields));
            let call = [
                ("messages", messages.collect::<Result<Value>>()?),
                ("tools", json::value(tools.unwrap_or(&Json::Null))),
                ("add_generation_prompt", add_generation_prompt.into()),
            ];
            let given = self.special_tokens.iter().chain(extra);
            let given = given.map(|(name, json)| (name.as_str(), json::value(json)));
            let documents = [("documents", Value::from(()))];
            let marks =
                MARKS.map(|(name, mark)| (name, Value::from(if marked { mark } else { "" })));
            let variables = documents.into_iter().chain(given).chain(call).chain(marks);
            let variables = Value::from_pairs(variables);
            let template = self.environment.get_template(&source.name);
            template.and_then(|t| t.render(variables)).map_err(|e| source.failure(&e))
        })
    }

    /// The template that transformers would use.
    fn source(&self, with_tools: bool) -> Result<&Source> {
        let named = |name| self.sources.iter().find(|source| source.name == name);
        let tool_use = if with_tools { named("tool_use") } else { None };
        tool_use.or_else(|| named("default")).ok_or_else(|| {
            let names: Vec<&str> = self.sources.iter().map(|s| s.name.as_str()).collect();
            Error::input(format!("no chat template named \"default\", only {names:?}"))
                .at(&self.place)
                .next("name the template to use \"default\" in tokenizer_config.json")
        })
    }
}

impl Source {
    /// minijinja's error as ours: either the words of `raise_exception`, or what failed and where.
    fn failure(&self, error: &minijinja::Error) -> Error {
        let place = match error.line() {
            Some(line) => format!("{}:{line}", self.place),
            None => self.place.clone(),
        };
        let mut cause = error.source();
        while let Some(inner) = cause {
            if let Some(Raised(message)) = inner.downcast_ref() {
                return Error::input(message).at(place).next(
                    "the model's chat template refuses this conversation: change the messages",
                );
            }
            cause = inner.source();
        }
        if error.kind() == ErrorKind::OutOfFuel {
            return Error::input(format!("the chat template took more than {FUEL} steps"))
                .at(place)
                .next("shorten the conversation; if it is short, the template is broken");
        }
        let what = match error.detail() {
            Some(detail) => format!("the chat template failed: {}: {detail}", error.kind()),
            None => format!("the chat template failed: {}", error.kind()),
        };
        Error::input(what).at(place).next(
            "give the messages the fields that the template reads, or use the template that was \
             published with the model",
        )
    }
}

/// A message as transformers passes it to the template: without null fields, and with its reasoning
/// under the standard name and under gpt-oss's.
fn message(index: usize, message: &Json) -> Result<Value> {
    let Some(fields) = message.as_object().filter(|m| m.get("role").is_some_and(Json::is_string))
    else {
        return Err(Error::input(format!("message {index} is not an object with a string `role`"))
            .next(r#"write each message like {"role": "user", "content": "Hi"}"#));
    };
    let filled = || fields.iter().filter(|(_, json)| !json.is_null());
    let field = |name| filled().find(|(key, _)| *key == name).map(|(_, json)| json);
    let reasoning = REASONING.iter().find_map(|&name| field(name));
    let named = |name| reasoning.map(|json| (name, json));
    // Of fields with the same name, the first position and the last value count.
    let thinking = named("thinking").into_iter();
    let pairs = thinking.chain(filled().map(|(key, json)| (key.as_str(), json)));
    let pairs = pairs.chain(named("reasoning_content"));
    Ok(Value::from_pairs(pairs.map(|(name, json)| (name, json::value(json)))))
}

fn is_list_of_objects(json: &Json) -> bool {
    json.as_array().is_some_and(|list| list.iter().all(Json::is_object))
}

/// Replaces `{% generation %}`, which marks what the assistant said, by a scope that prints a variable
/// at each end.
fn with_marks(template: &str) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find("{%") {
        let word = rest[start + 2..].trim_start_matches(['-', '+']).trim_start();
        text.push_str(&rest[..rest.len() - word.len()]);
        rest = word;
        let [(from, _), (to, _)] = MARKS;
        for (tag, scope, mark) in [("generation", "with", from), ("endgeneration", "endwith", to)] {
            let Some(after) = word.strip_prefix(tag) else { continue };
            let close = after.trim_start();
            if close.trim_start_matches(['-', '+']).starts_with("%}") {
                // It ends in a block too, which trims white space as the tag did.
                text.push_str(&format!("{scope} %}}{{{{ {mark} }}}}{{% set srft = 0 "));
                rest = close;
            }
        }
    }
    text + rest
}

thread_local! {
    static IS_DEEP: Cell<bool> = const { Cell::new(false) };
}

/// Threads with enough stack for whatever a template can nest, one per core (or a single one if memory
/// is short). They are created once: a thread per rendering would take longer than most renderings.
pub fn deep_threads() -> Result<&'static ThreadPool> {
    static THREADS: OnceLock<ThreadPool> = OnceLock::new();
    if let Some(threads) = THREADS.get() {
        return Ok(threads);
    }
    let with = |count| {
        let threads = ThreadPoolBuilder::new().num_threads(count).stack_size(STACK_BYTES);
        threads.start_handler(|_| IS_DEEP.set(true)).build()
    };
    let threads = with(0).or_else(|_| with(1)).map_err(|e| {
        Error::machine(format!("cannot start a thread for the chat template: {e}"))
            .next("raise the limit of virtual memory, or close other programs")
    })?;
    Ok(THREADS.get_or_init(|| threads))
}

/// Runs `work` on one of these threads.
fn on_deep_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    // A page has one thread; its stack is made deeper where it is linked.
    match IS_PAGE || IS_DEEP.get() {
        true => work(),
        false => deep_threads()?.install(work),
    }
}

#[cfg(test)]
mod tests;
