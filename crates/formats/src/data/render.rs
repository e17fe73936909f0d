//! Turns rows into examples: a chat template renders messages to text, and the parts that the assistant
//! wrote are located in it.

use super::shape::{Chat, Content, Row};
use crate::error::{Error, Result};
use crate::records::{Example, Layout};
use crate::text::chat::ChatTemplate;
use serde_json::Value;
use std::ops::Range;

/// The example in a row, and how many turns are not learned. With `all_turns` the SFT loss covers the
/// assistant's earlier turns too, except those that the template renders differently once the
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
        Content::Made { prompt, response, layout } => (prompt, response, layout),
        Content::Question(prompt) => (prompt, None, Layout::default()),
        Content::Chat(chat) => {
            let template = template.ok_or_else(|| {
                Error::input("the row has messages, but the model has no chat template").next(
                    "use a chat model, put its chat_template.jinja into the model folder, or give \
                     prompt and completion as text",
                )
            })?;
            render(&chat, template, all_turns, &mut rewritten)?
        }
    };
    let example = Example {
        suite: if row.suite.is_empty() { suite.into() } else { row.suite },
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
    let (tools, arguments) = (chat.tools.as_ref(), &chat.template_arguments);
    let prompt = template.render(&chat.messages, tools, true, arguments)?;
    let mut layout = Layout { templated: true, learned: Vec::new() };
    if chat.response.is_empty() {
        return Ok((prompt, None, layout));
    }
    let messages = [&chat.messages[..], &chat.response[..]].concat();
    let (text, marks) = template.render_marked(&messages, tools, arguments)?;
    let written = Written { chat, template, messages: &messages, text: &text };
    let (asked, last) = (chat.messages.len(), messages.len() - 1);
    let demonstration = match text.strip_prefix(&prompt) {
        Some(rest) => rest.to_string(),
        None => written.opened(&prompt).ok_or_else(otherwise)?,
    };
    if all_turns {
        let within = |range: &Range<usize>| {
            range.end <= prompt.len() && prompt.starts_with(&text[..range.end])
        };
        if marks.is_empty() {
            let earlier = (0..asked).filter(|&index| messages[index]["role"] == "assistant");
            for turn in earlier.map(|index| written.turn(index).filter(within)) {
                *rewritten += usize::from(turn.is_none());
                layout.learned.extend(turn);
            }
        } else {
            layout.learned.extend(marks.iter().filter(|range| within(range)).cloned());
        }
    }
    // A response of one turn is the assistant's from start to end.
    if asked < last {
        let mut turns = Vec::new();
        for index in (asked..=last).filter(|&index| messages[index]["role"] == "assistant") {
            let turn = written.turn(index).or_else(|| written.body(index)).ok_or_else(otherwise)?;
            turns.push(turn);
        }
        let marked = marks.into_iter().filter(|range| range.end > prompt.len()).collect::<Vec<_>>();
        if !marked.is_empty() {
            turns = marked;
        }
        // What the model has to write first after the prompt is learned, whatever a template marks.
        turns[0].start = prompt.len();
        layout.learned.extend(turns);
    }
    Ok((prompt, Some(demonstration), layout))
}

fn otherwise() -> Error {
    Error::input("the chat template writes the prompt differently once the answer follows")
        .next("give prompt and completion as text, as the model would see and write them")
}

/// A whole conversation as the template renders it.
struct Written<'a> {
    chat: &'a Chat,
    template: &'a ChatTemplate,
    messages: &'a [Value],
    text: &'a str,
}

impl Written<'_> {
    /// The range of message `index`, an assistant's turn: from where the model would be asked for it to
    /// where the next message begins. `None` if the template renders it differently when it is the last
    /// message.
    fn turn(&self, index: usize) -> Option<Range<usize>> {
        let (tools, arguments) = (self.chat.tools.as_ref(), &self.chat.template_arguments);
        let write = |count: usize, asks: bool| {
            self.template.render(&self.messages[..count], tools, asks, arguments)
        };
        let within = |text: &String| self.text.starts_with(text.as_str());
        let (before, after) = (write(index, true), write(index + 1, false));
        if ![&before, &after].into_iter().flatten().all(within) {
            return None;
        }
        // Some templates refuse a partial conversation, and none is asked for the first message.
        let body = || self.body(index);
        let start = before.map(|text| text.len()).ok().or_else(|| Some(body()?.start))?;
        let end = after.map(|text| text.len()).ok().or_else(|| Some(body()?.end))?;
        (start < end).then_some(start..end)
    }

    /// The range of the content of message `index`.
    fn body(&self, index: usize) -> Option<Range<usize>> {
        let (tools, arguments) = (self.chat.tools.as_ref(), &self.chat.template_arguments);
        let (before, behind) = self.template.around(self.messages, index, tools, arguments)?;
        let fits = before.len() + behind.len() <= self.text.len()
            && self.text.starts_with(&before)
            && self.text.ends_with(&behind);
        fits.then(|| before.len()..self.text.len() - behind.len())
    }

    /// The rest of a response whose beginning the prompt already holds, such as the `<think>` that some
    /// templates open with, and which they drop from a finished turn with the reasoning after it.
    fn opened(&self, prompt: &str) -> Option<String> {
        let (tools, arguments) = (self.chat.tools.as_ref(), &self.chat.template_arguments);
        let [response] = &self.chat.response[..] else { return None };
        let index = self.messages.len() - 1;
        let (before, behind) = self.template.around(self.messages, index, tools, arguments)?;
        let opening = prompt.strip_prefix(&before).filter(|opening| !opening.is_empty())?;
        let rest = response["content"].as_str()?.strip_prefix(opening)?;
        Some([rest, &behind].concat())
    }
}
