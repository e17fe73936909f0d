//! The jobs of a step: done here, or by a team.

use super::Learner;
use crate::data::batch::micro_batches;
use crate::error::Result;
use crate::model::{DropoutKey, How};
use crate::objective::loss::{BatchEntropy, micro_batch_gradient, switches};
use crate::platform::give_way;
use crate::records::Sequence;
use crate::rollout::{By, Plan, Response, Start, respond_from};
use crate::score::{Scored, score_sequences};
use crate::shards::{Job, Outcome, Part, Which, shards};
use burn::tensor::Tensor;
use std::ops::Range;

impl Learner {
    /// Does a job here. Boxed: what waits in these would make every future above some 80 kB larger, and a thread's
    /// stack with it.
    pub async fn perform(&self, job: &Job) -> Result<Outcome> {
        let limit = self.config.train.micro_batch_tokens;
        Ok(match job {
            Job::Respond { starts, by } => {
                let eos = &self.policy.config.eos_tokens;
                let plan = Plan::by(*by, &self.config, &self.tokenizer, eos);
                Outcome::Responses(Box::pin(respond_from(&self.policy, starts, &plan)).await?)
            }
            Job::Score { model, sequences } => {
                let model = match (model, &self.base) {
                    (Which::Base, Some(base)) => base,
                    _ => &self.policy,
                };
                Outcome::Scores(Box::pin(score_sequences(model, sequences, limit)).await?)
            }
            Job::Gradient { step, key, entropy, sequences } => {
                Outcome::Gradient(Box::pin(self.part(*step, *key, *entropy, sequences)).await)
            }
        })
    }

    /// The gradient of sequences of which some carry loss.
    async fn part(
        &self,
        step: u32,
        key: u32,
        entropy: BatchEntropy,
        sequences: &[Sequence],
    ) -> Part {
        let objective = self.config.objective_at(step);
        let switches = switches(&objective, entropy);
        let base = self.base.as_ref().filter(|_| objective.holds_to_base());
        let parameters = self.policy.parameters();
        let mut total: Vec<Option<Tensor<2>>> = vec![None; parameters.len()];
        let mut packed = Vec::new();
        let batches = micro_batches(sequences, self.config.train.micro_batch_tokens);
        for (batch, micro_batch) in batches.iter().zip(key..) {
            give_way().await;
            let dropout = DropoutKey { seed: self.config.run.seed, step, micro_batch };
            let how = How { recomputed: self.recomputed, dropout };
            let (policy, sum) = (&self.policy, &mut total);
            let sums = micro_batch_gradient(policy, base, batch, sequences, &switches, how, sum);
            packed.push(sums.await.flatten::<1>(0, 1));
        }
        let each = total.into_iter().zip(&parameters);
        Part {
            tensors: each.map(|(g, p)| g.unwrap_or_else(|| p.tensor.zeros_like())).collect(),
            sums: packed,
        }
    }

    /// Does jobs, here or by the team, and passes on what comes of them, in order.
    pub(crate) async fn share(&self, jobs: Vec<Job>, each: &mut dyn FnMut(Outcome)) -> Result<()> {
        match &self.team {
            Some(team) => team.perform(self, jobs, each),
            None => {
                for job in &jobs {
                    each(self.perform(job).await?);
                }
                Ok(())
            }
        }
    }

    /// Samples the responses of each start with the policy, in order.
    pub async fn respond(&self, starts: &[Start], by: By) -> Result<Vec<Response>> {
        let (parts, count) = (self.config.train.shards, starts.len());
        let shard = |i: usize| starts[i * count / parts..(i + 1) * count / parts].to_vec();
        let shards = (0..parts).map(shard).filter(|starts| !starts.is_empty());
        let jobs = shards.map(|starts| Job::Respond { starts, by }).collect();
        let mut all = Vec::new();
        let mut each = |outcome| match outcome {
            Outcome::Responses(responses) => all.extend(responses),
            _ => unreachable!("responses were asked for"),
        };
        self.share(jobs, &mut each).await?;
        Ok(all)
    }

    /// Scores the tokens of sequences that carry loss, in order.
    pub async fn score(&self, model: Which, sequences: &[Sequence]) -> Result<Vec<Scored>> {
        let cut = shards(sequences, self.config.train.shards).into_iter();
        let of = |range: Range<usize>| Job::Score { model, sequences: sequences[range].to_vec() };
        let mut all = Vec::new();
        let mut each = |outcome| match outcome {
            Outcome::Scores(scored) => all.extend(scored),
            _ => unreachable!("scores were asked for"),
        };
        self.share(cut.map(of).collect(), &mut each).await?;
        Ok(all)
    }
}
