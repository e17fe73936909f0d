//! Fixed responses whose tokens are scored after every step, to show which move and by how much (the
//! paper's Fig. 2).

use super::protocol::{Probe, TokenScores};
use crate::data::builtin;
use crate::data::encode::{Encoded, encode};
use crate::data::source::Source;
use crate::error::Result;
use crate::model::Llama;
use crate::ops::sampling::Sampling;
use crate::random::step;
use crate::records::Example;
use crate::rollout::{Plan, Stops, respond};
use crate::score::{Scored, mean_shift, score};
use crate::trainer::Trainer;

/// Problems of a visitor's data: scoring a response takes a large model seconds on the CPU.
const OF_DATA: usize = 1;

/// Responses to problems, held out where there are any: the teacher's, and the base's own.
pub struct Probes {
    /// (prompt, response) tokens.
    pairs: Vec<(Vec<u32>, Vec<u32>)>,
    views: Vec<Probe>,
    micro_batch_tokens: usize,
}

impl Probes {
    /// Takes a problem of every suite that is trained on, or the first of a visitor's data, answered by the teacher and by
    /// the base.
    pub async fn new(base: &Llama, trainer: &Trainer) -> Result<Self> {
        let tokenizer = &trainer.learner.tokenizer;
        let eos_tokens = &base.config.eos_tokens;
        let examples: Vec<Example> = match &trainer.source {
            Source::Examples(data) => {
                data.all.iter().take(OF_DATA).map(|problem| problem.example.clone()).collect()
            }
            _ => {
                let suites = builtin::suites().iter().filter(|s| !s.out_of_distribution);
                suites.filter_map(|s| builtin::held_out(s, 1, 0).pop()).collect()
            }
        };
        let encoded: Vec<Encoded> =
            examples.iter().map(|e| encode(tokenizer, eos_tokens, e)).collect::<Result<_>>()?;
        let prompts: Vec<Vec<u32>> = encoded.iter().map(|e| e.prompt.clone()).collect();
        let plan = Plan {
            group: 1,
            sampling: Sampling::default(),
            stops: Stops::default(),
            ..Plan::of(&trainer.learner.config, tokenizer, eos_tokens, step::PROBES)
        };
        let own = respond(base, &prompts, &plan).await?;
        let mut written: Vec<(usize, &str, Vec<u32>)> = Vec::new();
        for (index, encoded) in encoded.into_iter().enumerate() {
            let shown = encoded.demonstration.map(|tokens| (index, "teacher", tokens));
            written.extend(shown);
        }
        written.extend(own.into_iter().map(|r| (r.prompt, "base", r.tokens)));
        let pairs: Vec<_> =
            written.iter().map(|(i, _, tokens)| (prompts[*i].clone(), tokens.clone())).collect();
        let micro_batch_tokens = trainer.learner.config.train.micro_batch_tokens;
        let scored = score(base, pairs.clone(), micro_batch_tokens).await?;
        let views =
            written.into_iter().zip(scored).map(|((index, author, tokens), scored)| Probe {
                suite: examples[index].suite.clone(),
                prompt: examples[index].prompt.clone(),
                author: author.into(),
                tokens: tokenizer.written(&tokens),
                base: scores(scored),
            });
        Ok(Self { views: views.collect(), pairs, micro_batch_tokens })
    }

    /// The probes as the page shows them.
    pub fn views(&self) -> Vec<Probe> {
        self.views.clone()
    }

    /// Scores every probe with a model, and gives the mean |Δ ln p| from the base over all their tokens.
    pub async fn look(&self, model: &Llama) -> Result<(Vec<TokenScores>, f64)> {
        let scored = score(model, self.pairs.clone(), self.micro_batch_tokens).await?;
        let looks: Vec<TokenScores> = scored.into_iter().map(scores).collect();
        let before = self.views.iter().map(|probe| probe.base.logprobs.as_slice());
        let shift = mean_shift(before.zip(looks.iter().map(|look| look.logprobs.as_slice())));
        Ok((looks, shift))
    }
}

fn scores(scored: Scored) -> TokenScores {
    TokenScores { logprobs: scored.logprobs, entropies: scored.entropies }
}
