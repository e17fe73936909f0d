//! A sampled response.

use super::Plan;
use crate::records::Episode;

/// A sampled response, not yet decoded or scored.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Response {
    /// Index of the prompt.
    pub prompt: usize,
    /// Index within the group.
    pub sample: usize,
    /// Tokens, including what ended the response, if anything did: an end-of-text, or a stop text's tokens.
    pub tokens: Vec<u32>,
    /// ln π of each token, nats.
    pub logprobs: Vec<f32>,
    /// Entropy at each token, nats.
    pub entropies: Vec<f32>,
    /// Whether it reached the length limit before it ended.
    pub truncated: bool,
}

impl Response {
    /// Not begun: as long as nothing has ended it, it counts as cut.
    pub(super) fn empty(prompt: usize, sample: usize) -> Self {
        let (tokens, logprobs, entropies) = (Vec::new(), Vec::new(), Vec::new());
        Self { prompt, sample, tokens, logprobs, entropies, truncated: true }
    }

    /// Takes sampled `ids` up to the one that ends it; tells whether it goes on. `limit` is the most tokens
    /// that it may have.
    pub(super) fn take(
        &mut self,
        ids: impl IntoIterator<Item = u32>,
        limit: usize,
        plan: &Plan<'_>,
    ) -> bool {
        let before = self.tokens.len();
        for id in ids {
            if self.truncated && self.tokens.len() < limit {
                self.tokens.push(id);
                self.truncated = !plan.eos_tokens.contains(&id);
            }
        }
        if let Some(length) = plan.stops.first_in(&self.tokens, before) {
            self.tokens.truncate(length);
            self.truncated = false;
        }
        self.truncated && self.tokens.len() < limit
    }

    /// The episode, not yet judged; `text` is the decoded response.
    pub fn into_episode(self, text: String) -> Episode {
        Episode {
            prompt: self.prompt,
            sample: self.sample,
            tokens: self.tokens,
            logprobs: self.logprobs,
            entropies: self.entropies,
            truncated: self.truncated,
            response: text,
            ..Episode::default()
        }
    }
}

/// A warning to the user if every one of the responses, (tokens, cut), was cut: none can have given a
/// whole answer.
pub fn all_cut(
    responses: impl Iterator<Item = (usize, bool)>,
    max_new_tokens: usize,
) -> Option<String> {
    let (mut by_limit, mut by_context, mut longest) = (0, 0, 0);
    for (tokens, cut) in responses {
        match cut {
            false => return None,
            true if tokens >= max_new_tokens => by_limit += 1,
            true => (by_context, longest) = (by_context + 1, longest.max(tokens)),
        }
    }
    let of_limit = format!(
        "at rollout.max_new_tokens = {max_new_tokens}: raise it (--max-new-tokens), or check that \
         the model ends its texts"
    );
    let of_context = format!(
        "by the model's context, which leaves at most {longest} tokens after the prompts: shorten \
         the prompts, or use a model with a longer context"
    );
    let all = by_limit + by_context;
    match (by_limit, by_context) {
        (0, 0) => None,
        (_, 0) => Some(format!("every response was cut ({all} of {all}), {of_limit}")),
        (0, _) => Some(format!("every response was cut ({all} of {all}), {of_context}")),
        _ => Some(format!(
            "every response was cut, {by_limit} of {all} {of_limit}; {by_context} {of_context}"
        )),
    }
}
