//! Rollouts that went on from a demonstration's beginning: what they, and what they were given, are to the update.

use crate::common::config;
use srft::config::Objective;
use srft::objective::{Update, assemble};
use srft::records::{Demonstration, Episode, Group, Origin, Role};

fn objective(settings: &str) -> Objective {
    config(&format!("[rollout]\nmax_new_tokens = 10\n[objective]\n{settings}")).objective_at(0)
}

/// A rollout of `tokens` tokens after the first `given`, whose entropies are 1, 2, … of a tenth.
fn rollout(sample: usize, given: usize, tokens: usize, right: bool) -> Episode {
    Episode {
        sample,
        given,
        given_logprobs: (0..given).map(|t| -1.0 - t as f32).collect(),
        given_entropies: (0..given).map(|t| 0.1 * (t + 1) as f32).collect(),
        tokens: vec![7; tokens],
        logprobs: vec![-0.5; tokens],
        entropies: (0..tokens).map(|t| 0.1 * t as f32).collect(),
        reward: if right { 1.0 } else { -1.0 },
        right,
        ..Episode::default()
    }
}

/// A group on a prompt of two tokens, with a right demonstration of six.
fn group(episodes: Vec<Episode>) -> Group {
    Group {
        origin: Origin::Drawn,
        prompt_tokens: vec![1, 5],
        episodes,
        demonstration: Some(Demonstration {
            tokens: vec![10, 11, 12, 13, 14, 2],
            reward: Some(1.0),
            right: true,
            ..Demonstration::default()
        }),
        ..Group::default()
    }
}

fn coefficients(update: &Update) -> Vec<f32> {
    update.sequences.iter().map(|s| s.terms.self_ratio).collect()
}

/// What was given is read and carries no loss: the sequence is prompt, given, sampled, and the mean over the sampled.
#[test]
fn what_is_given_is_part_of_the_prompt() {
    let groups = [group(vec![rollout(0, 0, 2, true), rollout(1, 4, 3, false)])];
    let update = assemble(&groups, &objective("method = \"bread\""));
    let [whole, begun] = &update.sequences[..] else {
        panic!("two rollouts, and no demonstration")
    };
    assert_eq!((&whole.prompt[..], whole.response.len()), (&[1, 5][..], 2));
    assert_eq!((&begun.prompt[..], begun.response.len()), (&[1, 5, 10, 11, 12, 13][..], 3));
    assert!(begun.learned.is_empty() && begun.loss_tokens() == 3);
    // Â = ±1/√2, over two sequences of two and three tokens.
    let a = std::f32::consts::FRAC_1_SQRT_2;
    for (got, expected) in coefficients(&update).into_iter().zip([-a / 4.0, a / 6.0]) {
        assert!((got - expected).abs() < 1e-6, "{got}, {expected}");
    }
    assert_eq!(update.advantages[0].len(), 2, "the demonstration gives, but is no member");
}

/// Prefix-RFT: of all given tokens of the update the fifth with the highest entropy carries the loss of its rollout.
#[test]
fn given_tokens_of_high_entropy_are_learned() {
    let groups = [
        group(vec![rollout(0, 0, 2, false), rollout(1, 5, 3, true)]),
        group(vec![rollout(0, 0, 2, true), rollout(1, 1, 4, false)]),
    ];
    let update = assemble(&groups, &objective("method = \"prefix-rft\""));
    let learned: Vec<_> = update.sequences.iter().map(|s| s.learned.clone()).collect();
    // Entropies 0.1 to 0.5 and 0.1: from 0.4, the quantile, on; they are the fourth and the fifth given.
    assert_eq!(learned, [vec![], vec![5, 6], vec![], vec![]]);
    let of_given = &update.sequences[1];
    assert_eq!(of_given.old_logprobs, [-4.0, -5.0, -0.5, -0.5, -0.5]);
    assert_eq!((of_given.loss_tokens(), &of_given.factors[..]), (5, &[][..]));
    // Â = ±1 without std, sums over L = 10, a mean over four.
    for (got, expected) in coefficients(&update).into_iter().zip([1.0, -1.0, -1.0, 1.0]) {
        assert!((got - expected / 40.0).abs() < 1e-7, "{got}");
    }
    // A mean over tokens counts them, and factors of the rollout's own tokens leave them at 1.
    let objective =
        objective("method = \"prefix-rft\"\naggregate = \"token-mean\"\ntop_entropy = 0.5");
    let update = assemble(&groups, &objective);
    assert!((coefficients(&update)[1] + 1.0 / 13.0).abs() < 1e-7);
    assert_eq!(update.sequences[1].factors, [1.0, 1.0, 0.0, 1.0, 1.0]);
    // All of them, or none.
    for (share, count) in [("1.0", 5), ("0.0", 0)] {
        let settings = format!("method = \"prefix-rft\"\nprefix_learned = {share}");
        let update = assemble(&groups, &self::objective(&settings));
        assert_eq!(update.sequences[1].learned.len(), count);
    }
}

/// UFT: 0.001 of the mean over what was given; of a group that was given nothing, nothing.
#[test]
fn what_is_given_may_be_imitated() {
    let groups = [
        group(vec![rollout(0, 3, 2, true), rollout(1, 3, 2, false)]),
        group(vec![rollout(0, 0, 2, true), rollout(1, 0, 2, false)]),
        group(vec![rollout(0, 5, 2, true), rollout(1, 5, 2, false)]),
    ];
    let objective = objective("method = \"uft\"");
    let update = assemble(&groups, &objective);
    let shown: Vec<_> = update.sequences.iter().filter(|s| s.role == Role::Demonstration).collect();
    let imitated: Vec<_> = shown.iter().map(|s| (s.response.len(), s.terms.sft)).collect();
    assert_eq!(imitated, [(3, 0.125), (6, 0.0), (5, 0.125)], "a mean over 3 + 5 tokens");
    assert!(shown[1].terms.is_zero());
    assert!(shown.iter().all(|s| s.prompt == [1, 5]));
    let scale = srft::objective::loss::switches(&objective, Default::default()).sft_weight;
    assert_eq!(scale.map(|w| (w.scale, w.sign)), Some((0.001, 0.0)));
    // Â = ±1/√2 over 12 tokens, with penalty and bonus.
    let terms = update.sequences[0].terms;
    assert!((terms.self_ratio + std::f32::consts::FRAC_1_SQRT_2 / 12.0).abs() < 1e-6);
    let each = (0.001f64 / 12.0) as f32;
    assert_eq!((terms.kl, terms.entropy), (each, -each));
}

/// From 0.95 to 0.05 along half a cosine, then nothing.
#[test]
fn the_share_that_is_given_follows_its_schedule() {
    let config = config("[objective]\nmethod = \"uft\"\nprefix_steps = 100");
    let share = |step| config.objective_at(step).prefix_end;
    for (step, expected) in [(0, 0.95), (50, 0.5), (25, 0.5 + 0.45 * 0.5f64.sqrt())] {
        assert!((share(step) - expected).abs() < 1e-9, "{step}: {}", share(step));
    }
    let after = config.objective_at(100);
    assert!(!after.prefix_at(100).is_some_and(|_| true), "nothing is given");
    assert!(after.sft && after.uses_demonstrations());
}
