//! Rollouts that begin inside a demonstration: sampled as they are scored, the same in every run, and told apart from what
//! they were given.

use super::training::{TINY_STEP, change, loss, problems, trainer};
use crate::backends::{compare, devices};
use pollster::block_on;
use srft::config::Prefix;
use srft::objective::advantage::advantages;
use srft::objective::assemble;
use srft::ops::objective::column;
use srft::records::{Demonstration, Example, Group};
use srft::shards::Which;
use srft::trainer::Trainer;

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// The groups of the trainer's step.
fn groups(trainer: &Trainer) -> Vec<Group> {
    let prompts = trainer.learner.config.rollout.prompts;
    block_on(trainer.groups(trainer.source.examples(0, trainer.step, prompts))).unwrap()
}

fn shown(group: &Group) -> &Demonstration {
    group.demonstration.as_ref().unwrap()
}

/// The sampler's log-probabilities after a prefix are those of the scoring pass, and the text is that of both.
#[test]
fn what_goes_on_from_a_prefix_is_scored_as_it_was_sampled() {
    for (backend, device) in devices() {
        for (share, some) in [(0.5, 0), (0.9, 1), (1.0, 2)] {
            let mut trainer = trainer(&device, "grpo", TINY_STEP, problems(3));
            change(&mut trainer, |s| {
                (s.objective.prefix, s.objective.prefix_share) = (Prefix::Share, share);
                (s.objective.prefix_rollouts, s.rollout.temperature) = (some, 0.8);
            });
            let groups = groups(&trainer);
            let scored = block_on(trainer.learner.score_rollouts(Which::Policy, &groups)).unwrap();
            let episodes = groups.iter().flat_map(|g| &g.episodes);
            for (episode, scored) in episodes.zip(scored) {
                compare(backend, &scored.logprobs, &wide(&episode.logprobs), 1e-4).unwrap();
                compare(backend, &scored.entropies, &wide(&episode.entropies), 1e-4).unwrap();
            }
            for group in &groups {
                let whole = shown(group).tokens.len();
                let expected = ((share * whole as f64) as usize).min(whole - 1);
                for (k, episode) in group.episodes.iter().enumerate() {
                    let begins = some == 0 || k >= 4 - some;
                    assert_eq!(episode.given, if begins { expected } else { 0 }, "{backend}");
                    assert_eq!((episode.sample, episode.tokens.is_empty()), (k, false));
                    let read = [group.given(episode), &episode.tokens].concat();
                    assert_eq!(episode.response, trainer.learner.tokenizer.decode(&read));
                    assert!(episode.response.starts_with(&episode.given_text), "{backend}");
                    assert_eq!(episode.given_text.chars().count(), episode.given);
                }
            }
            let report = block_on(trainer.step()).unwrap().0;
            let mean = groups.iter().flat_map(|g| {
                g.episodes.iter().map(|e| e.given as f64 / shown(g).tokens.len() as f64)
            });
            let mean = mean.sum::<f64>() / 12.0;
            assert!((report.given_share.unwrap() - mean).abs() < 1e-12, "{backend}");
        }
    }
}

/// Shares are drawn a prompt and step: fifths, or any between the schedule's and the largest, and the same again.
#[test]
fn shares_are_drawn_for_each_prompt_and_step() {
    let (_, device) = devices().remove(0);
    let settings = TINY_STEP.replace("prompts = 3", "prompts = 12");
    for (method, least) in [("uft", 0.0), ("prefix-rft", 0.5)] {
        let mut trainer = trainer(&device, method, &settings, problems(40));
        trainer.learner.base = Some(trainer.learner.policy.clone());
        change(&mut trainer, |s| s.objective.prefix_steps = 100);
        trainer.step = 50; // the schedule's share is a half
        let given = |trainer: &Trainer| -> Vec<(usize, usize)> {
            let of = |g: &Group| (g.episodes[3].given, shown(g).tokens.len());
            groups(trainer).iter().map(of).collect()
        };
        let drawn = given(&trainer);
        assert_eq!(drawn, given(&trainer), "{method}: the same in every run");
        let share = |&(given, whole): &(usize, usize)| given as f64 / whole as f64;
        let mean = drawn.iter().map(share).sum::<f64>() / 12.0;
        let distinct: std::collections::BTreeSet<_> = drawn.iter().collect();
        assert!(distinct.len() > 3 && (0.3..0.9).contains(&mean), "{method}: {drawn:?}");
        for pair @ &(given, whole) in &drawn {
            let fifths: Vec<usize> = (0..=5).map(|k| (k * whole / 5).min(whole - 1)).collect();
            assert!(method != "uft" || fifths.contains(&given), "{given} of {whole}");
            assert!(share(pair) > least - 1.0 / whole as f64 && given < whole, "{given}, {whole}");
        }
        trainer.step = 51;
        let next = given(&trainer).iter().map(share).collect::<Vec<_>>();
        assert_ne!(next, drawn.iter().map(share).collect::<Vec<_>>(), "{method}");
        trainer.step = 100;
        let after = groups(&trainer);
        assert!(after.iter().flat_map(|g| &g.episodes).all(|e| e.given == 0), "{method}");
        assert_eq!(block_on(trainer.step()).unwrap().0.given_share, None);
    }
}

/// The loss of given tokens is the objective's over their scored numbers, and its gradient is that of its value.
#[test]
fn given_tokens_that_are_learned_have_their_rollouts_loss() {
    for (backend, device) in devices() {
        let mut trainer = trainer(&device, "prefix-rft", TINY_STEP, problems(3));
        let mut groups = groups(&trainer);
        for (i, episode) in groups.iter_mut().flat_map(|g| &mut g.episodes).enumerate() {
            episode.reward = (i % 3) as f32; // none is right yet
        }
        for group in &groups {
            let guided = &group.episodes[3];
            assert_eq!(guided.given_logprobs.len(), guided.given, "{backend}");
            let numbers = (guided.given_logprobs.clone(), guided.given_entropies.clone());
            let mut again = vec![group.clone()];
            block_on(trainer.learner.score_given(&mut again)).unwrap();
            let guided = &again[0].episodes[3];
            assert_eq!(numbers, (guided.given_logprobs.clone(), guided.given_entropies.clone()));
        }
        let update = assemble(&groups, &trainer.objective());
        let learned: usize = update.sequences.iter().map(|s| s.learned.len()).sum();
        let given: usize = groups.iter().flat_map(|g| &g.episodes).map(|e| e.given).sum();
        assert!(learned > 0 && learned <= given / 4 + 1, "{backend}: {learned} of {given}");
        // Every ratio is 1: −Â over all that carries loss.
        let mut expected = 0.0;
        for (group, part) in groups.iter().zip(update.sequences.chunks(4)) {
            let rewards: Vec<f64> = group.episodes.iter().map(|e| f64::from(e.reward)).collect();
            let of = advantages(&rewards, false).into_iter().zip(part);
            expected -= of.map(|(a, s)| a * s.loss_tokens() as f64).sum::<f64>() / (12.0 * 10.0);
        }
        let gradient = block_on(trainer.learner.gradient(&update, 0)).unwrap();
        compare(backend, &[loss(&gradient) as f32], &[expected], 1e-4).unwrap();
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
        let ratio = (loss_at(2e-3) - loss_at(-2e-3)) / 4e-3;
        assert!((ratio - 1.0).abs() < 0.03, "{backend}: {ratio}");
    }
}

/// Sums whose demonstration is the answer, so that half of it makes a random policy right now and then.
fn sums() -> Vec<Example> {
    let sum = |a: u32| Example {
        suite: "sums".into(),
        prompt: format!("{a}+1="),
        demonstration: Some(format!(">{}", a + 1)),
        answer: (a + 1).to_string(),
        ..Example::default()
    };
    (1..7).map(sum).collect()
}

/// Where none is right, a prefix is sought after which some are; draws are new each time, and all is counted.
#[test]
fn a_prefix_is_sought_where_nothing_succeeds() {
    for (backend, device) in devices() {
        let settings = "[rollout]\nprompts = 6\ngroup = 24\nmax_new_tokens = 3\n";
        let trainer = |rounds: u32| {
            let mut trainer = trainer(&device, "bread", settings, sums());
            change(&mut trainer, |s| s.objective.prefix_rounds = rounds);
            trainer
        };
        let (one, several) = (groups(&trainer(1)), groups(&trainer(4)));
        assert_eq!(several, groups(&trainer(4)), "{backend}: the same in every run");
        let right = |g: &Group| g.episodes.iter().filter(|e| e.right).count();
        let mut found = 0;
        for (one, several) in one.iter().zip(&several) {
            for group in [one, several] {
                assert_eq!(group.episodes.len(), 24, "{backend}");
                let samples: Vec<usize> = group.episodes.iter().map(|e| e.sample).collect();
                assert_eq!(samples, (0..24).collect::<Vec<_>>(), "{backend}");
                let given = group.episodes[0].given;
                assert!(group.episodes.iter().all(|e| e.given == given), "{backend}");
                // A demonstration of `>`, one digit and the end.
                assert_eq!(given == 0, group.tried.is_empty(), "{backend}: {given}");
                assert!(given <= 2, "{backend}: {given}");
                if given == 0 {
                    assert!(right(group) > 0, "{backend}: it would have been sought");
                }
                found += usize::from(given > 0 && right(group) > 0);
            }
            if let Some(first) = one.tried.first() {
                assert_eq!((one.tried.len(), first.given), (24, 0), "{backend}");
                assert!(one.tried.iter().all(|e| !e.right));
                assert_eq!(one.episodes[0].given, 1, "{backend}: half of three tokens");
                assert_eq!(several.tried[..24], one.tried[..], "{backend}: the first are the same");
                let tokens = |e: &[srft::records::Episode]| {
                    e.iter().map(|e| e.tokens.clone()).collect::<Vec<_>>()
                };
                assert_ne!(tokens(&one.tried), tokens(&one.episodes), "{backend}: other draws");
            }
        }
        assert!(found > 0, "{backend}: no prefix helped");
        let (report, trained) = block_on(trainer(4).step()).unwrap();
        let tried: usize = trained.iter().map(|g| g.tried.len()).sum();
        let sampled = trained.iter().flat_map(|g| g.episodes.iter().chain(&g.tried));
        let tokens: usize = sampled.map(|e| e.tokens.len()).sum();
        assert_eq!(report.tried, tried as u64, "{backend}");
        assert!(tried > 0 && report.rollout_tokens == tokens as u64, "{backend}");
    }
}

/// No demonstration, one of several turns, one that leaves no room in the model's context.
#[test]
fn where_nothing_can_be_given_rollouts_begin_at_the_prompt() {
    let (_, device) = devices().remove(0);
    let mut examples = problems(4);
    examples[0].demonstration = None;
    let long = format!("{}>7", "1+1=2,".repeat(8)); // 50 of 64 positions
    examples[1].demonstration = Some(long.clone());
    let (prompt, turns) = (examples[2].prompt.len(), "1+1=2,>7");
    examples[2].demonstration = Some(turns.into());
    examples[2].layout.learned = vec![prompt..prompt + 2, prompt + 4..prompt + turns.len()];
    let mut trainer = trainer(&device, "grpo", TINY_STEP, examples);
    change(&mut trainer, |s| {
        (s.objective.prefix, s.objective.prefix_share) = (Prefix::Share, 1.0);
        s.rollout.prompts = 4;
    });
    let given: Vec<(String, usize, usize)> = groups(&trainer)
        .iter()
        .map(|g| (g.example.prompt.clone(), g.prompt_tokens.len(), g.episodes[0].given))
        .collect();
    let of = |example: &Example| given.iter().find(|(p, ..)| *p == example.prompt).unwrap();
    let all: Vec<Example> =
        trainer.source.examples(0, 0, 4).into_iter().map(|p| p.example).collect();
    for example in &all {
        let &(_, prompt, given) = of(example);
        match &example.demonstration {
            None => assert_eq!(given, 0),
            Some(text) if text == turns => assert_eq!(given, 0, "others speak in it"),
            // Its end-of-text is left to sample, and one token fits.
            Some(text) => assert_eq!(given, text.len().min(63 - prompt)),
        }
    }
    assert!(all.iter().any(|e| e.demonstration.as_ref() == Some(&long)));
}
