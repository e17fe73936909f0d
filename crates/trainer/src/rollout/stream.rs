//! One response, told while it is sampled, after a past that stays between turns. Rollouts for training
//! don't come here: a readback a token would hold them up.

use super::{Plan, Response, require_room};
use crate::error::Result;
use crate::model::{Decoding, Llama};
use crate::ops::attention::{KvCache, Packing, Tree};
use crate::ops::readback;
use crate::ops::sampling::{Draw, Draws, Sampled, sample};
use crate::platform::give_way;
use crate::text::Tokenizer;
use burn::tensor::{Int, Tensor, TensorData};

/// What a model has read and said, with its keys and values: of a next prompt that begins the same, only
/// the rest is read. It belongs to that model.
#[derive(Debug, Default)]
pub struct Past {
    tokens: Vec<u32>,
    caches: Vec<KvCache>, // one a layer, a single row
}

impl Past {
    /// Reads a prompt; gives the logits [1, V] after it. `capacity` is how many positions will be needed.
    fn read(&mut self, decoding: &Decoding<'_>, prompt: &[u32], capacity: usize) -> Tensor<2> {
        let model = decoding.model();
        let pairs = self.tokens.iter().zip(prompt);
        let known = pairs.take_while(|(old, new)| old == new).count().min(prompt.len() - 1);
        let ints = |tokens: &[u32]| {
            let ids: Vec<i32> = tokens.iter().map(|&id| id as i32).collect();
            Tensor::from_data(TensorData::new(ids, [tokens.len()]), &model.device())
        };
        let old = std::mem::take(&mut self.caches);
        self.tokens = prompt.to_vec();
        // `extend` attends one position after the other: for most of a prompt that is slower than all anew.
        if 2 * known >= prompt.len() {
            self.caches = old.into_iter().map(|c| c.back_to(known as u32, capacity)).collect();
            return decoding.extend(ints(&prompt[known..]), &mut self.caches);
        }
        let tree = Tree { prompt: prompt.len(), branches: vec![0] };
        let packing = Packing { trees: vec![tree] };
        let (logits, caches) = decoding.prefill(ints(prompt), packing, capacity - prompt.len());
        self.caches = caches;
        logits
    }

    /// Reads one more token.
    fn append(&mut self, decoding: &Decoding<'_>, id: u32, token: Tensor<1, Int>) -> Tensor<2> {
        self.tokens.push(id);
        decoding.decode(token, &mut self.caches)
    }
}

/// Samples one response to `prompt`, the first that [`super::respond`] gives. `told` gets its text piece by
/// piece, in pieces that later ones only continue, once a token (a piece may be empty); together they are
/// the text of [`super::Stops::text`]. The response ends where `told` gives back false.
pub async fn stream(
    model: &Llama,
    tokenizer: &Tokenizer,
    prompt: &[u32],
    plan: &Plan<'_>,
    past: &mut Past,
    mut told: impl FnMut(&str) -> Result<bool>,
) -> Result<Response> {
    require_room(model, std::iter::once(prompt), plan)?;
    let capacity = (prompt.len() + plan.max_new_tokens).min(model.config.max_positions);
    let limit = capacity - prompt.len();
    let mut response = Response::empty(0, 0);
    let (mut all, mut shown) = (Vec::new(), String::new());
    give_way().await;
    let decoding = Decoding::new(model, plan.cache);
    let mut logits = past.read(&decoding, prompt, capacity);
    let mut draws = Draws::new([Draw { prompt: 0, sample: 0, position: 0 }], &model.device());
    loop {
        let Sampled { tokens, stats } =
            sample(logits, &mut draws, plan.seed, plan.step, plan.sampling);
        all.push(stats);
        let id = readback::ints(tokens.clone()).await?[0] as u32;
        let goes_on = response.take([id], limit, plan);
        let text = match goes_on {
            true => plan.stops.settled(tokenizer, &response.tokens),
            false => plan.stops.text(tokenizer, &response.tokens),
        };
        if !told(news(&mut shown, &text))? || !goes_on {
            break;
        }
        give_way().await;
        logits = past.append(&decoding, id, tokens);
    }
    let stats = readback::floats(Tensor::cat(all, 0)).await?;
    for pair in stats.chunks_exact(2).take(response.tokens.len()) {
        response.logprobs.push(pair[0]);
        response.entropies.push(pair[1]);
    }
    Ok(response)
}

/// What of `text` was not shown yet. Nothing, where it doesn't continue what was: a byte alone may be a
/// character, and be none beside the next (tokenizers that fall back to bytes), until more come.
fn news<'a>(shown: &mut String, text: &'a str) -> &'a str {
    let Some(new) = text.strip_prefix(shown.as_str()) else { return "" };
    shown.push_str(new);
    new
}

#[cfg(test)]
mod tests {
    use super::news;

    #[test]
    fn what_was_shown_is_continued_and_never_repeated() {
        let mut shown = String::new();
        let pieces =
            ["", "a", "a\n", "a", "a\n日", "a\n日", "x"].map(|text| news(&mut shown, text));
        assert_eq!(pieces, ["", "a", "\n", "", "日", "", ""]);
    }
}
