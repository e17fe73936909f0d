//! What a learner's models are asked about a step's groups.

use super::Learner;
use crate::error::Result;
use crate::records::{Episode, Group, Sequence};
use crate::score::Scored;
use crate::shards::Which;

impl Learner {
    /// Scores the rollouts of groups as they were sampled, in order.
    pub async fn score_rollouts(&self, model: Which, groups: &[Group]) -> Result<Vec<Scored>> {
        let of = |g: &'_ Group, e: &Episode| as_sampled(g.read_before(e), e);
        let sequences = groups.iter().flat_map(|g| g.episodes.iter().map(move |e| of(g, e)));
        self.score(model, &sequences.collect::<Vec<_>>()).await
    }

    /// Asks the policy about the tokens that its rollouts were given, as it is asked about their own.
    pub async fn score_given(&self, groups: &mut [Group]) -> Result<()> {
        let (mut asked, mut sequences) = (Vec::new(), Vec::new());
        for (i, group) in groups.iter().enumerate() {
            for (k, episode) in group.episodes.iter().enumerate().filter(|(_, e)| e.given > 0) {
                let given = Episode { tokens: group.given(episode).to_vec(), ..episode.clone() };
                asked.push((i, k));
                sequences.push(as_sampled(group.prompt_tokens.clone(), &given));
            }
        }
        let scored = self.score(Which::Policy, &sequences).await?;
        for ((i, k), scored) in asked.into_iter().zip(scored) {
            let episode = &mut groups[i].episodes[k];
            (episode.given_logprobs, episode.given_entropies) = (scored.logprobs, scored.entropies);
        }
        Ok(())
    }

    /// Asks the policy for its rollouts' tokens once more, with the demonstration before the prompt: the teacher
    /// of self-distillation. A rollout without one, or too long with it for the model, is not asked about.
    pub async fn teach(&self, groups: &mut [Group]) -> Result<()> {
        let (mut asked, mut sequences) = (Vec::new(), Vec::new());
        for (i, group) in groups.iter().enumerate() {
            let Some(shown) = &group.demonstration else { continue };
            let prompt = &group.prompt_tokens;
            let context = [&prompt[..], &shown.earlier, &shown.tokens, prompt].concat();
            for (k, episode) in group.episodes.iter().enumerate() {
                let context = [&context, group.given(episode)].concat();
                let fits = self.policy.config.require_fits(context.len(), episode.tokens.len());
                if fits.is_ok() {
                    asked.push((i, k));
                    sequences.push(as_sampled(context, episode));
                }
            }
        }
        let scored = self.score(Which::Policy, &sequences).await?;
        for ((i, k), scored) in asked.into_iter().zip(scored) {
            groups[i].episodes[k].taught = scored.logprobs;
        }
        Ok(())
    }
}

/// A rollout to be scored as it was sampled, after `read`.
fn as_sampled(read: Vec<u32>, episode: &Episode) -> Sequence {
    Sequence {
        temperature: episode.temperature.0,
        ..Sequence::to_score(read, episode.tokens.clone())
    }
}
