//! A group taken apart: every member, every token, every term of the loss, before the update and
//! after it. The numbers are recomputed in f64 from the logits by the objective's reference.

use super::protocol::{
    Candidate, FormulaView, GroupView, Member, PromptView, TermValues, TokenView,
};
use super::slot::Slot;
use crate::config::{KlIn, Objective, RewardValues};
use crate::data::batch::{MicroBatch, micro_batches};
use crate::error::{Error, Result};
use crate::model::Llama;
use crate::objective::entropy_weight::entropy;
use crate::objective::formula::{sequence_log_rho, token};
use crate::objective::loss::response_logits;
use crate::objective::{self, assemble_with};
use crate::ops::objective::{Switches, Weight};
use crate::ops::readback;
use crate::records::{Group, Role, Sequence, TermCoefficients};
use crate::text::Tokenizer;
use burn::tensor::Tensor;

/// Candidates shown for a token.
const CANDIDATES: usize = 5;

/// The group of prompt `index` in the slot's last step.
pub async fn inspect(slot: &Slot, run: u32, index: u32) -> Result<GroupView> {
    let (trainer, groups) = (slot.run.trainer(), &slot.groups);
    let group = groups.get(index as usize).ok_or_else(|| {
        let last = groups.len().saturating_sub(1);
        Error::input(format!("prompt {index} of {}", groups.len()))
            .next(format!("choose one from 0 to {last}"))
    })?;
    let mut objective = trainer.learner.config.objective_at(trainer.step - 1);
    if objective.imitation > 0.0 && group.episodes.is_empty() {
        return Err(Error::input("this step imitated alone, in several updates")
            .next("take a group of a step that sampled"));
    }
    let moved = slot.run.reports()?.last().and_then(|report| report.entropy_coeff);
    objective.entropy_coeff = moved.unwrap_or(objective.entropy_coeff);
    // Of several updates in a step, all are shown from the policy before the first.
    let mut place = index as usize; // within its mini-batch
    let mut parts = trainer.minibatches(groups).zip(0..);
    let (part, nth) = loop {
        let (part, nth) = parts.next().expect("every group is in a mini-batch");
        match place.checked_sub(part.len()) {
            Some(beyond) => place = beyond,
            None => break (part, nth),
        }
    };
    let update = assemble_with(part, &objective, trainer.draw(trainer.step - 1, nth));
    let switches = trainer.learner.switches(&objective, &slot.before, &update).await?;
    let members = update.members(part).swap_remove(place);
    let sequences: Vec<Sequence> = members.iter().map(all_shown).collect();
    let base = trainer.learner.base.as_ref().filter(|_| objective.holds_to_base());
    let models: Vec<&Llama> =
        [&slot.before, &trainer.learner.policy].into_iter().chain(base).collect();
    let beliefs = beliefs(&models, &sequences).await?;
    let lines = Lines {
        values: objective.reward_values,
        switches: &switches,
        tokenizer: &trainer.learner.tokenizer,
    };
    let members = members.iter().enumerate().map(|(place, member)| {
        lines.member(member, beliefs.iter().map(|of| of[place].clone()).collect())
    });
    Ok(GroupView {
        run,
        step: trainer.step,
        prompt: index,
        prompts: groups.iter().map(prompt_view).collect(),
        answer: group.example.answer.clone(),
        members: members.collect(),
        formula: formula(&objective, &switches),
    })
}

fn prompt_view(group: &Group) -> PromptView {
    PromptView {
        suite: group.example.suite.clone(),
        text: group.example.prompt.clone(),
        right: group.episodes.iter().filter(|e| e.right).count() as u32,
        rollouts: group.episodes.len() as u32,
    }
}

fn formula(objective: &Objective, switches: &Switches) -> FormulaView {
    let weight =
        |w: Option<Weight>| w.map_or((1.0, 0.0), |w| (f64::from(w.scale), f64::from(w.sign)));
    let (sft, own) = (weight(switches.sft_weight), weight(switches.self_weight));
    let (sft_share, rl_share) = objective.shares();
    FormulaView {
        sft_share,
        rl_share,
        sft_token_weight: objective.sft_token_weight.name().into(),
        kl_coeff: objective.kl_coeff,
        sft_weight_scale: sft.0,
        sft_weight_sign: sft.1,
        self_weight_scale: own.0,
        self_weight_sign: own.1,
        entropy_over: objective.entropy_over.name().into(),
        shaping: switches.shaping.map(f64::from),
        self_term: objective.self_term.name().into(),
        clip_low: objective.clip_low,
        clip_high: objective.clip_high,
        advantage_of: objective.advantage_of.name().into(),
        ratio: objective.ratio.name().into(),
        clip: objective.clip.name().into(),
        dual_clip: objective.dual_clip,
        rollout_kl: match objective.rollout_kl_in {
            KlIn::Loss => objective.rollout_kl,
            KlIn::Reward => 0.0,
        },
        kl_form: objective.kl_form.name().into(),
        max_prob: objective.max_prob,
        entropy_coeff: objective.entropy_coeff,
        aggregate: objective.aggregate.name().into(),
    }
}

/// What a model believes at one token of a response, in f64.
#[derive(Clone)]
struct Belief {
    logp: f64,
    entropy: f64,
    likeliest: Vec<(u32, f64)>,
}

impl Belief {
    fn of(logits: &[f32], target: u32) -> Self {
        let wide: Vec<f64> = logits.iter().map(|&l| f64::from(l)).collect();
        let max = wide.iter().fold(f64::NEG_INFINITY, |m, &l| m.max(l));
        let log_sum = max + wide.iter().map(|l| (l - max).exp()).sum::<f64>().ln();
        let logps: Vec<f64> = wide.iter().map(|l| l - log_sum).collect();
        let mut order: Vec<u32> = (0..logps.len() as u32).collect();
        order.sort_by(|&a, &b| logps[b as usize].total_cmp(&logps[a as usize]));
        let p = |t: u32| (t, logps[t as usize].exp());
        Self {
            logp: logps[target as usize],
            entropy: -logps.iter().map(|l| l.exp() * l).sum::<f64>(),
            likeliest: order.into_iter().take(CANDIDATES).map(p).collect(),
        }
    }
}

/// A member's sequence with all of its tokens that are shown, whether they carry loss or were only given.
fn all_shown(member: &objective::Member) -> Sequence {
    let prompt = &member.sequence.prompt;
    let given = prompt.len() - member.given..prompt.len();
    Sequence {
        learned: if given.is_empty() { member.sequence.learned.clone() } else { given.collect() },
        // Any coefficient but 0 keeps the sequence from being skipped.
        terms: TermCoefficients { sft: 1.0, ..Default::default() },
        ..member.sequence.clone()
    }
}

/// What each model believes at each token of each sequence, in one readback.
async fn beliefs(models: &[&Llama], sequences: &[Sequence]) -> Result<Vec<Vec<Vec<Belief>>>> {
    let batches = micro_batches(sequences, usize::MAX);
    let Some(batch) = batches.first() else { return Ok(vec![Vec::new(); models.len()]) };
    let logits: Vec<_> = models.iter().map(|model| response_logits(model, batch)).collect(); // [N, V]
    let [tokens, vocabulary] = logits[0].dims();
    let values = readback::floats(Tensor::cat(logits, 0)).await?;
    let spread = |logits| by_sequence(logits, vocabulary, batch, sequences.len());
    Ok(values.chunks_exact(tokens * vocabulary).map(spread).collect())
}

fn by_sequence(
    logits: &[f32],
    vocabulary: usize,
    batch: &MicroBatch,
    count: usize,
) -> Vec<Vec<Belief>> {
    let mut rows: Vec<Vec<Belief>> = vec![Vec::new(); count];
    let mut all = logits.chunks_exact(vocabulary).zip(&batch.targets);
    for (&member, ends) in batch.members.iter().zip(batch.starts.windows(2)) {
        let own = all.by_ref().take(ends[1] - ends[0]);
        rows[member] = own.map(|(logits, &target)| Belief::of(logits, target as u32)).collect();
    }
    rows
}

/// What all members' numbers have in common.
struct Lines<'a> {
    values: RewardValues,
    switches: &'a Switches,
    tokenizer: &'a Tokenizer,
}

impl Lines<'_> {
    fn member(&self, member: &objective::Member, beliefs: Vec<Vec<Belief>>) -> Member {
        let &objective::Member { sequence, reward, .. } = member;
        let mut beliefs = beliefs.into_iter();
        let [before, after] = [(); 2].map(|()| beliefs.next().unwrap_or_default());
        let base = beliefs.next();
        let is_demonstration = member.role == Role::Demonstration;
        // The tokens that are shown before the response's, and which of all carry loss.
        let first = all_shown(member).learned;
        let carries = first.iter().map(|position| sequence.learned.contains(position));
        let carries: Vec<bool> = carries.chain(sequence.response.iter().map(|_| true)).collect();
        let mut numbers = Vec::new(); // of the tokens that carry loss
        for (i, before) in before.iter().enumerate().filter(|(i, _)| carries[*i]) {
            let t = numbers.len();
            let old = sequence.old_logprobs.get(t).map_or(before.logp, |&l| f64::from(l));
            let base = base.as_ref().map_or(before.logp, |beliefs| beliefs[i].logp);
            let factor = sequence.factors.get(t).map_or(1.0, |&f| f64::from(f));
            numbers.push(([before.logp, before.entropy], [old, base, factor]));
        }
        let (stats, given): (Vec<_>, Vec<_>) = numbers.into_iter().unzip();
        let entropies = stats.iter().map(|[_, entropy]| *entropy);
        let shared = entropy(self.switches.entropy_over, is_demonstration, entropies);
        let mut terms = TermValues::default();
        let is_held = is_demonstration || sequence.terms.kl != 0.0;
        let log_rho = sequence_log_rho(&sequence.terms, self.switches, &stats, &given);
        let ids = first.iter().map(|&position| sequence.prompt[position]);
        let ids = ids.chain(sequence.response.iter().copied());
        let mut with_loss = stats.iter().zip(&given);
        let tokens: Vec<TokenView> = ids
            .zip(before.into_iter().zip(after))
            .enumerate()
            .map(|(i, (id, (before, after)))| {
                let of_loss = if carries[i] { with_loss.next() } else { None };
                // What was only given has no part in the loss.
                let only_given = ([before.logp, before.entropy], [before.logp, before.logp, 0.0]);
                let none = TermCoefficients::default();
                let (stats, given, coefficients) = match of_loss {
                    Some((stats, given)) => (stats, given, &sequence.terms),
                    None => (&only_given.0, &only_given.1, &none),
                };
                let [old, base_logp, factor] = *given;
                let h = shared.unwrap_or(before.entropy);
                let part = token(coefficients, self.switches, h, log_rho, *stats, *given);
                let [sft, rl_demo, self_term, entropy, kl] = part.terms.map(|term| term.value);
                terms.sft += sft;
                terms.rl_demo += rl_demo;
                terms.self_term += self_term;
                terms.entropy += entropy;
                terms.kl += kl;
                let takes_ratio = coefficients.self_ratio != 0.0;
                TokenView {
                    text: self.tokenizer.decode_spelled(&[id]),
                    given: i < member.given,
                    ratio: takes_ratio.then(|| log_rho.unwrap_or(before.logp - old).exp()),
                    factor,
                    logp_base: base.as_ref().filter(|_| is_held && carries[i]).map(|_| base_logp),
                    logp: before.logp,
                    entropy: before.entropy,
                    logp_after: after.logp,
                    entropy_after: after.entropy,
                    before: self.candidates(&before),
                    after: self.candidates(&after),
                    weight: if is_demonstration { part.w_sft } else { part.w_rl },
                    terms: TermValues { sft, rl_demo, self_term, entropy, kl },
                    slope: part.terms.iter().map(|term| term.d_logp).sum(),
                }
            })
            .collect();
        let mean = |value: fn(&TokenView) -> f64| {
            let with_loss = || tokens.iter().zip(&carries).filter(|(_, carries)| **carries);
            with_loss().map(|(t, _)| value(t)).sum::<f64>() / with_loss().count().max(1) as f64
        };
        let coefficients = &sequence.terms;
        Member {
            role: if is_demonstration { "demonstration" } else { "rollout" }.into(),
            response: member.response.into(),
            reward: reward.map(f64::from),
            right: member.right,
            signed: reward.map_or(0.0, |r| self.values.signed(r)),
            truncated: member.truncated,
            advantage: member.advantage,
            entropy: mean(|t| t.entropy),
            weight: mean(|t| t.weight),
            weight_applies: match is_demonstration {
                true => coefficients.sft != 0.0,
                false => {
                    let acts = coefficients.self_logp != 0.0 || coefficients.self_ratio != 0.0;
                    acts && coefficients.self_positive
                }
            },
            normaliser: member.divisors.rl,
            sft_normaliser: member.divisors.sft,
            terms,
            tokens,
        }
    }

    fn candidates(&self, belief: &Belief) -> Vec<Candidate> {
        let named =
            |&(id, p): &(u32, f64)| Candidate { text: self.tokenizer.decode_spelled(&[id]), p };
        belief.likeliest.iter().map(named).collect()
    }
}
