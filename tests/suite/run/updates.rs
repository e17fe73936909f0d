//! What a step makes of its rollouts: at their temperature, in several updates, in the place of those that teach nothing,
//! taught by the policy itself, held to the base.

use super::training::{
    TINY_STEP, change, difference, loss, other_model, problems, sampled, train, trainer,
};
use crate::backends::{compare, devices, floats};
use pollster::block_on;
use srft::config::Truncated;
use srft::learner::Gradient;
use srft::model::Llama;
use srft::objective::advantage::advantages;
use srft::objective::{assemble, teaches_nothing};
use srft::ops::objective::column;
use srft::score::{score, score_sequences};
use srft::trainer::Trainer;

/// On demonstrations: at the base there is no penalty and no pull; away from it the penalty is k3 of both models' numbers.
#[test]
fn the_kl_penalty_takes_the_log_probabilities_of_the_base() {
    for (backend, device) in devices() {
        let mut held = trainer(&device, "sft-kl", TINY_STEP, Vec::new());
        let update = assemble(&sampled(&held), &held.objective());
        let penalty =
            |gradient: &Gradient| -> f64 { gradient.sums.iter().map(|row| row[column::KL]).sum() };
        let at_base = block_on(held.learner.gradient(&update, held.step)).unwrap();
        assert!(penalty(&at_base).abs() < 1e-7, "{backend}: {}", penalty(&at_base));
        change(&mut held, |s| s.objective.kl_coeff = 0.0);
        let mut alone = update.clone();
        alone.sequences.iter_mut().for_each(|s| s.terms.kl = 0.0);
        let alone = block_on(held.learner.gradient(&alone, held.step)).unwrap();
        assert!(difference(&at_base, &alone) < 1e-5, "{backend}");

        change(&mut held, |s| s.objective.kl_coeff = 0.2);
        let base = other_model(&device);
        held.learner.base = Some(base.clone());
        let from_base = block_on(held.learner.gradient(&update, held.step)).unwrap();
        assert!(penalty(&from_base) > 1e-3, "{backend}: {}", penalty(&from_base));
        assert!(difference(&from_base, &alone) > 1e-3, "{backend}: it pulls");
        // Its value is k3 of both models' numbers.
        let scored = |model: &Llama| {
            let pairs = update.sequences.iter().map(|s| (s.prompt.clone(), s.response.clone()));
            block_on(score(model, pairs.collect(), 128)).unwrap()
        };
        let mut expected = 0.0;
        let both = scored(&held.learner.policy).into_iter().zip(scored(&base));
        for (sequence, (own, of_base)) in update.sequences.iter().zip(both) {
            for (p, base) in own.logprobs.iter().zip(&of_base.logprobs) {
                let log_r = f64::from(base - p);
                expected += f64::from(sequence.terms.kl) * (log_r.exp() - 1.0 - log_r);
            }
        }
        compare(backend, &[penalty(&from_base) as f32], &[expected], 1e-4).unwrap();
    }
}

/// What samples is what is trained: at a temperature, the rollouts' log-probabilities and entropies are those that the
/// loss has, and its gradient is that of its value.
#[test]
fn rollouts_are_trained_at_the_temperature_that_drew_them() {
    for (backend, device) in devices() {
        for (temperature, of_loss, at) in [(0.7, 0.0, 0.7), (0.7, 1.0, 1.0), (1.5, 0.0, 1.5)] {
            let mut trainer = trainer(&device, "grpo", TINY_STEP, Vec::new());
            change(&mut trainer, |s| {
                (s.rollout.temperature, s.objective.temperature) = (temperature, of_loss);
            });
            let groups = sampled(&trainer);
            let update = assemble(&groups, &trainer.objective());
            let sequences = &update.sequences;
            assert!(sequences.iter().all(|s| s.temperature == at as f32), "{backend}");
            let scored =
                block_on(score_sequences(&trainer.learner.policy, sequences, 128)).unwrap();
            let episodes = groups.iter().flat_map(|g| &g.episodes);
            for (episode, scored) in episodes.zip(scored) {
                let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
                compare(backend, &scored.logprobs, &wide(&episode.logprobs), 1e-4).unwrap();
                compare(backend, &scored.entropies, &wide(&episode.entropies), 1e-4).unwrap();
            }
            // Along the gradient the loss rises by the square of its norm.
            let gradient = block_on(trainer.learner.gradient(&update, 0)).unwrap();
            let mut loss_at = |step: f64| -> f64 {
                let before = trainer.learner.policy.clone();
                let parameters = trainer.learner.policy.parameters_mut();
                for (p, g) in parameters.into_iter().zip(&gradient.tensors) {
                    *p.tensor = p.tensor.clone() + g.clone() * (step / gradient.norm.powi(2));
                }
                let moved = block_on(trainer.learner.gradient(&update, 0)).unwrap();
                trainer.learner.policy = before;
                moved.sums.iter().map(|row| row[column::SELF]).sum()
            };
            let (step, rise) = (2e-3, loss_at(2e-3) - loss_at(-2e-3));
            let ratio = rise / (2.0 * step);
            assert!((ratio - 1.0).abs() < 0.03, "{backend}, {temperature}, {of_loss}: {ratio}");
        }
    }
}

/// A step of several updates gives the same weights as its updates by hand, one after the other: each has its own prompts,
/// and the log-probabilities from sampling. After the first, ratios leave 1 and some tokens are clipped.
#[test]
fn a_step_may_hold_several_updates() {
    for (backend, device) in devices() {
        let [mut by_hand, mut whole] = [(); 2].map(|()| {
            let mut trainer = trainer(&device, "grpo", TINY_STEP, problems(8));
            change(&mut trainer, |s| {
                (s.train.minibatches, s.train.epochs, s.optimizer.lr) = (2, 2, 0.02);
                // Nothing is right yet: rewards differ by length.
                (s.objective.truncated, s.objective.soft_tokens) = (Truncated::Soft, 10);
            });
            trainer
        });
        let (report, groups) = block_on(whole.step()).unwrap();
        assert_eq!(whole.optimizer.updates, 4, "{backend}");
        let objective = by_hand.objective();
        let lr = report.lr;
        let middle = groups.len() / 2;
        let (mut norms, mut clipped) = (0.0, 0.0);
        for nth in 0..4u32 {
            let part = if nth % 2 == 0 { &groups[..middle] } else { &groups[middle..] };
            let update = assemble(part, &objective);
            let gradient = block_on(by_hand.learner.nth_gradient(&update, 0, nth)).unwrap();
            norms += gradient.norm;
            clipped += gradient.sums.iter().map(|row| row[column::CLIPPED]).sum::<f64>();
            let Gradient { tensors, norm, .. } = gradient;
            by_hand.optimizer.step(&mut by_hand.learner.policy, tensors, norm, lr);
        }
        assert_eq!(report.grad_norm, norms / 4.0, "{backend}");
        let tokens: usize = groups.iter().flat_map(|g| &g.episodes).map(|e| e.tokens.len()).sum();
        assert_eq!(report.clip_share, Some(clipped / (2 * tokens) as f64), "{backend}");
        assert!(clipped > 0.0, "{backend}: nothing was clipped");
        let weights = |trainer: &Trainer| -> Vec<Vec<f32>> {
            trainer.learner.policy.parameters().into_iter().map(|p| floats(p.tensor)).collect()
        };
        assert!(weights(&whole) == weights(&by_hand), "{backend}: other weights");
    }
}

/// The teacher is the policy with the demonstration before the prompt; each token's advantage is what it says more than
/// the sampler. Who has none, or too long a one, carries no loss and is counted.
#[test]
fn the_teacher_is_the_policy_that_sees_the_demonstration() {
    for (backend, device) in devices() {
        let mut examples = problems(3);
        examples[1].demonstration = None;
        // Prompt, demonstration and prompt once more do not fit in 64 positions.
        examples[2].demonstration = Some(format!("{}>7", "1+1=2,".repeat(8)));
        let mut trainer = trainer(&device, "opsd", TINY_STEP, examples);
        let groups = block_on(trainer.groups(trainer.source.examples(0, 0, 3))).unwrap();
        let update = assemble(&groups, &trainer.objective());
        let policy = &trainer.learner.policy;
        let mut sequences = update.sequences.iter();
        let (mut taught, mut loss_expected, mut tokens) = (0, 0.0, 0);
        for group in &groups {
            let own = sequences
                .by_ref()
                .take(group.episodes.len() + usize::from(group.demonstration.is_some()));
            let own: Vec<_> = own.collect();
            for (episode, sequence) in group.episodes.iter().zip(&own) {
                tokens += episode.tokens.len();
                let context = group.demonstration.as_ref().map(|shown| {
                    [&group.prompt_tokens[..], &shown.tokens, &group.prompt_tokens].concat()
                });
                let fits = |context: &Vec<u32>| {
                    policy.config.require_fits(context.len(), episode.tokens.len()).is_ok()
                };
                let context = context.filter(fits);
                assert_eq!(episode.taught.is_empty(), context.is_none(), "{backend}");
                assert_eq!(sequence.terms.is_zero(), context.is_none(), "{backend}");
                let Some(context) = context else { continue };
                let pair = vec![(context, episode.tokens.clone())];
                let scored = block_on(score(policy, pair, 128)).unwrap().remove(0);
                let wide: Vec<f64> = scored.logprobs.iter().map(|&l| f64::from(l)).collect();
                compare(backend, &episode.taught, &wide, 1e-4).unwrap();
                let gains = episode.taught.iter().zip(&episode.logprobs).map(|(t, l)| t - l);
                assert!(gains.clone().eq(sequence.factors.iter().copied()), "{backend}");
                loss_expected -= gains.map(f64::from).sum::<f64>();
                taught += 1;
            }
        }
        assert!((1..8).contains(&taught), "{backend}: {taught}");
        let gradient = block_on(trainer.learner.gradient(&update, 0)).unwrap();
        compare(backend, &[loss(&gradient) as f32], &[loss_expected / tokens as f64], 1e-4)
            .unwrap();
        assert!(gradient.norm > 0.0);
        let report = &train(&mut trainer, 1)[0];
        assert_eq!(report.untaught, 12 - taught, "{backend}");
    }
}

/// Groups of equal rewards are drawn anew, at most so often: by other prompts, the same in every run, and what they
/// sampled is counted.
#[test]
fn groups_that_teach_nothing_are_refilled() {
    for (backend, device) in devices() {
        let stepped = |refill: u32| {
            let mut trainer = trainer(&device, "dapo", TINY_STEP, problems(40));
            change(&mut trainer, |s| {
                s.objective.refill = refill;
                // Nothing is right yet: some groups differ by length.
                (s.objective.truncated, s.objective.soft_tokens) = (Truncated::Soft, 1);
                (s.rollout.prompts, s.rollout.group, s.rollout.max_new_tokens) = (8, 2, 6);
            });
            let (report, groups) = block_on(trainer.step()).unwrap();
            let prompts: Vec<String> = groups.iter().map(|g| g.example.prompt.clone()).collect();
            let idle = groups.iter().filter(|g| teaches_nothing(g, &trainer.objective())).count();
            (report, prompts, idle)
        };
        let (alone, first, idle) = stepped(0);
        assert!(idle > 2 && alone.refilled == 0, "{backend}: {idle}");
        let (once, second, left) = stepped(1);
        assert_eq!(once.refilled, idle as u64, "{backend}");
        assert!(left < idle, "{backend}: {left} of {idle}");
        let changed = first.iter().zip(&second).filter(|(a, b)| a != b).count();
        assert!(0 < changed && changed <= idle, "{backend}: {changed}");
        assert!(once.rollout_tokens > alone.rollout_tokens, "{backend}");
        let (often, _, none) = stepped(50);
        assert_eq!(none, 0, "{backend}: {} drawn anew", often.refilled);
        assert_eq!(stepped(50).0.without_times(), often.without_times(), "{backend}");
    }
}

/// KL(θ‖base) on rollouts: none at the base; away from it in the loss, or in the rewards that advantages are of.
#[test]
fn rollouts_may_be_held_to_the_base() {
    for (backend, device) in devices() {
        for (place, form) in
            [("loss", "k3"), ("loss", "k3-ratio"), ("reward", "k1"), ("reward", "k3")]
        {
            let settings = format!(
                "rollout_kl = 0.5\nrollout_kl_in = \"{place}\"\nkl_form = \"{form}\"\n{TINY_STEP}"
            );
            let mut trainer = trainer(&device, "grpo", &settings, Vec::new());
            trainer.learner.base = Some(trainer.learner.policy.clone());
            let what = format!("{backend}, {form} in the {place}");
            let penalty_of = |trainer: &Trainer| {
                let groups = sampled(trainer);
                let update = assemble(&groups, &trainer.objective());
                let gradient = block_on(trainer.learner.gradient(&update, 0)).unwrap();
                let in_loss: f64 = gradient.sums.iter().map(|row| row[column::KL]).sum();
                let taken_off: Vec<f32> =
                    groups.iter().flat_map(|g| &g.episodes).map(|e| e.kl).collect();
                (groups, update, in_loss, taken_off)
            };
            let (.., in_loss, taken_off) = penalty_of(&trainer);
            assert!(in_loss.abs() < 1e-6, "{what}: {in_loss}");
            assert!(taken_off.iter().all(|kl| kl.abs() < 1e-4), "{what}: {taken_off:?}");

            let base = other_model(&device);
            trainer.learner.base = Some(base.clone());
            let (groups, update, in_loss, taken_off) = penalty_of(&trainer);
            assert_eq!(in_loss > 1e-3, place == "loss", "{what}: {in_loss}");
            assert_eq!(taken_off.iter().any(|kl| kl.abs() > 1e-3), place == "reward", "{what}");
            if place == "reward" {
                let of_base = block_on(score_sequences(&base, &update.sequences, 128)).unwrap();
                let episodes = groups.iter().flat_map(|g| &g.episodes);
                for (episode, of_base) in episodes.zip(of_base) {
                    let pairs = episode.logprobs.iter().zip(&of_base.logprobs);
                    let sum: f64 = pairs
                        .map(|(p, base)| f64::from(base - p))
                        .map(|log_r| if form == "k1" { -log_r } else { log_r.exp() - 1.0 - log_r })
                        .sum();
                    compare(&what, &[episode.kl], &[0.5 * sum], 1e-4).unwrap();
                }
                let advantages: Vec<Vec<f64>> = groups
                    .iter()
                    .map(|g| {
                        let rewards = g.episodes.iter().map(|e| f64::from(e.reward - e.kl));
                        advantages(&rewards.collect::<Vec<_>>(), true)
                    })
                    .collect();
                assert_eq!(update.advantages, advantages, "{what}");
            }
        }
    }
}
