//! One who answers in a chat: a model with a conversation of its own.

use super::super::note;
use serde_json::{Value, json};
use srft::config::Config;
use srft::error::{Error, Result};
use srft::model::{Llama, ModelFolder};
use srft::ops::sampling::Sampling;
use srft::rollout::{Past, Plan, stream};
use srft::text::Tokenizer;
use srft::text::chat::ChatTemplate;

/// At least this part (1 / this) of the context is for the answer, if it may become that long.
const ANSWERS_SHARE: usize = 4;

/// The chat template of a model; `next` says what to do without one.
pub fn template_of(folder: &ModelFolder, next: &str) -> Result<ChatTemplate> {
    let missing = || Error::input("the model has no chat template").at(&folder.place).next(next);
    folder.template()?.ok_or_else(missing)
}

/// The tokens by which a model is asked to go on with a conversation.
pub fn prompt_of(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    messages: &[Value],
) -> Result<Vec<u32>> {
    let text = template.render(messages, None, true, &Default::default())?;
    Ok(tokenizer.pieces(&text)?.ids)
}

/// A message of a conversation.
pub fn message(role: &str, text: &str) -> Value {
    json!({"role": role, "content": text})
}

/// How a message is answered.
pub struct Asking<'a> {
    pub config: &'a Config,
    pub sampling: Sampling,
    pub system: Option<&'a str>,
    /// The key of the random numbers.
    pub turn: u32,
}

/// What the user said and what was answered.
struct Turn {
    message: String,
    answer: String,
}

pub struct Speaker {
    /// What an answer is headed by, where several answer.
    pub name: String,
    model: Llama,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    turns: Vec<Turn>,
    /// The oldest turns, which the context has no room for.
    left_out: usize,
    past: Past,
}

impl Speaker {
    pub fn new(
        name: &str,
        folder: &ModelFolder,
        model: Llama,
        tokenizer: Tokenizer,
    ) -> Result<Self> {
        let template = template_of(
            folder,
            "put the model's chat_template.jinja into its folder, or let it go on with a text: \
             srft generate 'TEXT'",
        )?;
        let (name, turns, left_out) = (name.into(), Vec::new(), 0);
        Ok(Self { name, model, tokenizer, template, turns, left_out, past: Past::default() })
    }

    /// Begins anew.
    pub fn forget(&mut self) {
        self.turns.clear();
        self.left_out = 0;
    }

    /// Whether there is a turn to save.
    pub fn has_spoken(&self) -> bool {
        !self.turns.is_empty()
    }

    /// The conversation without its first `without` turns.
    pub fn messages(&self, system: Option<&str>, without: usize) -> Vec<Value> {
        let turns = self.turns[without..].iter();
        let turns =
            turns.flat_map(|t| [message("user", &t.message), message("assistant", &t.answer)]);
        system.map(|text| message("system", text)).into_iter().chain(turns).collect()
    }

    /// What the model reads before it answers. Where the context is full, the oldest turns are left out,
    /// aloud.
    pub fn prompt(&mut self, asking: &Asking<'_>, asked: &str) -> Result<Vec<u32>> {
        let context = self.model.config.max_positions;
        let room = asking.config.rollout.max_new_tokens.min(context / ANSWERS_SHARE);
        let (mut without, turns) = (self.left_out, self.turns.len());
        let prompt = loop {
            let mut messages = self.messages(asking.system, without);
            messages.push(message("user", asked));
            let prompt = prompt_of(&self.template, &self.tokenizer, &messages)?;
            if prompt.len() + room <= context || without == turns {
                break prompt;
            }
            without += 1;
        };
        if prompt.len() >= context {
            return Err(Error::input(format!(
                "the message and what surrounds it have {} tokens; the model reads {context}, its answer \
                 included",
                prompt.len()
            ))
            .next("shorten the message, or the system message"));
        }
        if without > self.left_out {
            note(format_args!(
                "note: the context of {context} tokens is full: from here on the first {without} of \
                 {turns} turns are left out; /reset begins anew"
            ));
            self.left_out = without;
        }
        Ok(prompt)
    }

    /// Answers `asked`, which ends `prompt`, and keeps the turn; gives back what is to be said about it.
    pub async fn answer(
        &mut self,
        asking: &Asking<'_>,
        asked: &str,
        prompt: &[u32],
        tell: impl FnMut(&str) -> Result<bool>,
    ) -> Result<Option<String>> {
        let (config, eos) = (asking.config, &self.model.config.eos_tokens);
        let plan = Plan {
            group: 1,
            sampling: asking.sampling,
            ..Plan::of(config, &self.tokenizer, eos, asking.turn)
        };
        let response =
            stream(&self.model, &self.tokenizer, prompt, &plan, &mut self.past, tell).await?;
        let answer = plan.stops.text(&self.tokenizer, &response.tokens);
        if answer.trim().is_empty() {
            return Ok(Some("note: an empty answer; this turn is not kept".into()));
        }
        self.turns.push(Turn { message: asked.into(), answer });
        let limit = config.rollout.max_new_tokens;
        Ok(response.truncated.then(|| match response.tokens.len() < limit {
            true => format!(
                "note: cut: the context of {} tokens is full",
                self.model.config.max_positions
            ),
            false => format!("note: cut at {limit} tokens; --max-new-tokens N lets it go on"),
        }))
    }
}
