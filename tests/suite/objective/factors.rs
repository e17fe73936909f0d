//! Factors a token by hand, and the coefficient of the entropy bonus that a run moves.

use crate::backends::compare;
use crate::common::config;
use srft::config::Objective;
use srft::objective::bonus::Bonus;
use srft::objective::{Draw, Update, assemble, assemble_with};
use srft::records::{Episode, Group, Origin};

/// A group of responses, each with a reward and its tokens' (ln p, H).
fn group(responses: &[(f32, &[[f32; 2]])]) -> Vec<Group> {
    let episode = |(sample, (reward, tokens)): (usize, &(f32, &[[f32; 2]]))| Episode {
        sample,
        tokens: vec![7; tokens.len()],
        logprobs: tokens.iter().map(|token| token[0]).collect(),
        entropies: tokens.iter().map(|token| token[1]).collect(),
        reward: *reward,
        right: *reward > 0.0,
        ..Episode::default()
    };
    vec![Group {
        origin: Origin::Drawn,
        prompt_tokens: vec![1],
        episodes: responses.iter().enumerate().map(episode).collect(),
        ..Group::default()
    }]
}

fn objective(settings: &str) -> Objective {
    config(&format!("[objective]\n{settings}")).objective_at(0)
}

fn factors(update: &Update) -> Vec<Vec<f32>> {
    update.sequences.iter().map(|s| s.factors.clone()).collect()
}

/// GTPO: H of 1, 1/2 and 3 of right ones, 1/2, 2 and 1 of wrong ones. At the first position 1 + 0.2 · 1/4 and 1 + 0.2 · 3/4,
/// and with 1/H −1 − 0.2 · 2/3 and −1 − 0.2 · 1/3; at the second each is alone.
#[test]
fn entropy_shapes_the_reward_of_a_token() {
    let groups = group(&[
        (1.0, &[[-1.0, 1.0], [-1.0, 0.5]]),
        (1.0, &[[-1.0, 3.0]]),
        (-1.0, &[[-1.0, 0.5], [-1.0, 2.0]]),
        (-1.0, &[[-1.0, 1.0]]),
    ]);
    let rewards = [1.05, 1.1, 1.15, -17.0 / 15.0, -1.1, -16.0 / 15.0];
    let update = assemble(&groups, &objective("method = \"gtpo\"\nadvantage_std = false"));
    compare("advantages", &factors(&update).concat(), &rewards, 1e-6).unwrap();
    let lengths: Vec<usize> = factors(&update).iter().map(Vec::len).collect();
    assert_eq!(lengths, [2, 1, 2, 1]);
    assert!(update.sequences.iter().all(|s| (s.terms.self_ratio + 1.0 / 6.0).abs() < 1e-6));

    // By their standard deviation, which takes n − 1: their sum is 0.
    let std = (rewards.iter().map(|r| r * r).sum::<f64>() / 5.0).sqrt() + 1e-6;
    let update = assemble(&groups, &objective("method = \"gtpo\""));
    compare("by std", &factors(&update).concat(), &rewards.map(|r| r / std), 1e-6).unwrap();

    // A sure token is no division by 0, and a group of one kind differs within itself.
    let sure = group(&[(-1.0, &[[0.0, 0.0], [0.0, 0.0]]), (-1.0, &[[-1.0, 1.0], [0.0, 0.0]])]);
    let own = "method = \"gtpo\"\ndrop_equal_groups = false\nadvantage_std = false";
    let update = assemble(&sure, &objective(own));
    compare("sure", &factors(&update).concat(), &[-0.1, 0.0, 0.1, 0.0], 1e-6).unwrap();
}

/// Clip-Cov: Â of ±1, ln p of −0.1 and −3 around their mean: products of ±1.45.
#[test]
fn tokens_that_vary_with_their_advantage_lose_their_gradient() {
    let groups = group(&[(1.0, &[[-0.1, 0.0], [-3.0, 0.0]]), (-1.0, &[[-0.1, 0.0], [-3.0, 0.0]])]);
    let of = |settings: &str, draw: Draw| {
        let own = format!("method = \"clip-cov\"\nadvantage_std = false\n{settings}");
        factors(&assemble_with(&groups, &objective(&own), draw))
    };
    let all = of("clip_cov = 1.0", Draw::default());
    assert_eq!(all, [[0.0, 1.0], [1.0, 0.0]]);
    let one = |seed: u64| of("clip_cov = 0.25", Draw { seed, ..Draw::default() });
    let (first, second) = (vec![vec![0.0, 1.0], vec![]], vec![vec![], vec![1.0, 0.0]]);
    let drawn: Vec<_> = (0..16).map(one).collect();
    assert!(drawn.iter().all(|d| *d == first || *d == second), "{drawn:?}");
    assert!(drawn.contains(&first) && drawn.contains(&second), "either may be drawn: {drawn:?}");
    assert_eq!(drawn, (0..16).map(one).collect::<Vec<_>>(), "a pure function of its key");
    // One at least; none where none lies between.
    assert_eq!(of("", Draw::default()).iter().filter(|f| !f.is_empty()).count(), 1);
    let none: [Vec<f32>; 2] = [vec![], vec![]];
    assert_eq!(of("clip_cov = 1.0\nclip_cov_high = 1.4", Draw::default()), none);
    assert_eq!(of("clip_cov = 0.0", Draw::default()), none);
}

/// Up below the target and down above it, where it does not act.
#[test]
fn the_entropy_bonus_moves_by_steps() {
    let objective = objective(
        "method = \"grpo\"\nentropy_control = \"step\"\nentropy_coeff = 0.01\nentropy_target = 0.5\n\
         entropy_rate = 0.004\nentropy_coeff_max = 0.015",
    );
    let mut bonus = Bonus::of(&objective).unwrap();
    let steps = [0.6, 0.4, 0.5, 0.3, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1];
    let acted: Vec<f32> = steps
        .iter()
        .map(|&entropy| {
            let acting = bonus.acting(&objective, entropy);
            bonus.follow(&objective, entropy);
            acting as f32
        })
        .collect();
    let expected = [0.0, 0.006, 0.01, 0.014, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    compare("acted", &acted, &expected, 1e-6).unwrap();
    assert!((bonus.coefficient - 0.004).abs() < 1e-12, "{bonus:?}");
}

/// What PyTorch's AdamW makes of the authors' adaptive temperature.
#[test]
fn the_entropy_bonus_moves_by_its_gradient() {
    let moved = |coefficient: f64, entropies: &[f64]| {
        let objective = objective(&format!(
            "method = \"srft-official\"\nentropy_control = \"gradient\"\nentropy_coeff = {coefficient}\n\
             entropy_target = 0.2\nentropy_rate = 0.05"
        ));
        let mut bonus = Bonus::of(&objective).unwrap();
        let follow = |&entropy: &f64| {
            bonus.follow(&objective, entropy);
            (bonus.coefficient, bonus.acting(&objective, entropy))
        };
        entropies.iter().map(follow).unzip::<f64, f64, Vec<_>, Vec<_>>()
    };
    let close = |got: &[f64], want: &[f64]| {
        assert_eq!(got.len(), want.len());
        assert!(got.iter().zip(want).all(|(g, w)| (g / w - 1.0).abs() < 1e-12), "{got:?}");
    };
    let (got, _) = moved(0.01, &[0.9, 0.5, 0.1, 0.2, 0.15, 0.05, 0.0, 0.0]);
    close(
        &got,
        &[
            0.009_534_223_028_923_854,
            0.009_135_091_239_721_543,
            0.008_879_114_542_796_315,
            0.008_678_595_042_877_423,
            0.008_529_397_247_139_478,
            0.008_444_137_789_694_7,
            0.008_420_523_297_069_065,
            0.008_446_572_773_181_261,
        ],
    );
    // Beyond its most it has no gradient, and goes on by its momentum; what acts is the most.
    let (got, acted) = moved(0.9, &[0.1; 6]);
    close(
        &got,
        &[
            0.946_193_825_903_851_5,
            0.994_783_017_823_603_7,
            1.045_927_411_283_555_7,
            1.089_748_122_790_923_4,
            1.128_188_182_790_828_3,
            1.162_377_680_852_627,
        ],
    );
    assert_eq!(acted[2..], [1.0; 4]);
}
