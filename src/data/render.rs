//! Rows of the user's files into examples: a chat template turns messages into text.

use super::shape::{Chat, Content, Row};
use crate::error::{Error, Result};
use crate::records::{Example, Layout};
use crate::text::chat::ChatTemplate;
use serde_json::Value;

/// The example that a row is, and how many turns it cannot teach. With `all_turns`, imitation learns
/// the assistant's earlier turns too, but for those that the template writes otherwise once the
/// conversation goes on.
pub fn example(
    row: Row,
    suite: &str,
    template: Option<&ChatTemplate>,
    all_turns: bool,
) -> Result<(Example, usize)> {
    let mut rewritten = 0;
    let (prompt, demonstration, layout) = match row.content {
        Content::Completion { prompt, response } => (prompt, response, Layout::default()),
        Content::Text(text) => (String::new(), Some(text), Layout::default()),
        Content::Chat(chat) => {
            let template = template.ok_or_else(|| {
                Error::input("the row has messages, and the model no chat template").next(
                    "take a chat model, put its chat_template.jinja into the model folder, or give \
                     prompt and completion as text",
                )
            })?;
            render(&chat, template, all_turns, &mut rewritten)?
        }
    };
    let example = Example {
        suite: suite.into(),
        prompt,
        demonstration,
        answer: row.answer.unwrap_or_default(),
        layout,
        extra: row.extra,
    };
    Ok((example, rewritten))
}

fn render(
    chat: &Chat,
    template: &ChatTemplate,
    all_turns: bool,
    rewritten: &mut usize,
) -> Result<(String, Option<String>, Layout)> {
    let write = |messages: &[Value], asks: bool| {
        template.render(messages, chat.tools.as_ref(), asks, &chat.template_arguments)
    };
    let prompt = write(&chat.messages, true)?;
    let demonstration = match chat.response.is_empty() {
        true => None,
        false => {
            let whole = [&chat.messages[..], &chat.response[..]].concat();
            let whole = write(&whole, false)?;
            let rest = whole.strip_prefix(&prompt).ok_or_else(|| {
                Error::input(
                    "the chat template writes this conversation otherwise than it asks for the answer",
                )
                .next("give prompt and completion as text, as the model would see and write them")
            })?;
            Some(rest.to_string())
        }
    };
    let mut learned = Vec::new();
    if all_turns && demonstration.is_some() {
        for (index, message) in chat.messages.iter().enumerate() {
            if message["role"] != "assistant" {
                continue;
            }
            // Some templates drop an earlier turn's reasoning, or refuse a part of a conversation.
            let before = write(&chat.messages[..index], true).unwrap_or_default();
            let after = write(&chat.messages[..=index], false).unwrap_or_default();
            if prompt.starts_with(&after)
                && after.len() > before.len()
                && after.starts_with(&before)
            {
                learned.push(before.len()..after.len());
            } else {
                *rewritten += 1;
            }
        }
    }
    Ok((prompt, demonstration, Layout { templated: true, learned }))
}
