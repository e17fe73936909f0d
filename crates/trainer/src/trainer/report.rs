//! What a step reports of its groups and its updates.

use crate::config::{AdvantageOf, GroupOf, Objective, Prefix};
use crate::learner::Gradient;
use crate::metrics::{StepReport, mean_of, mean_scores};
use crate::objective::Update;
use crate::ops::objective::{COLUMNS, column};
use crate::records::{Episode, Group, Role, Sequence};

/// The updates of a step: what they had to learn from, and what was read back.
#[derive(Default)]
pub(super) struct Done {
    /// How many.
    pub updates: u32,
    /// The sequences of one after the other, with the kernel's sums.
    sequences: Vec<(Sequence, [f64; COLUMNS])>,
    /// Â of each group, again for each epoch.
    advantages: Vec<Vec<f64>>,
    /// Σ of the gradients' norms.
    norms: f64,
}

impl Done {
    /// The sequences of the updates from the one on that began at `first`, with the kernel's sums.
    pub fn since(&self, first: usize) -> &[(Sequence, [f64; COLUMNS])] {
        &self.sequences[first..]
    }

    /// How many sequences there were so far.
    pub fn count(&self) -> usize {
        self.sequences.len()
    }

    pub fn add(&mut self, update: Update, sums: Vec<[f64; COLUMNS]>, norm: f64) {
        self.updates += 1;
        self.sequences.extend(update.sequences.into_iter().zip(sums));
        self.advantages.extend(update.advantages);
        self.norms += norm;
    }
}

/// What a step reports: `groups` are those that it learned from, `left_out` those that others replaced; `limit` is the
/// longest response, in tokens.
pub(super) fn report(
    groups: &[Group],
    left_out: &[Group],
    done: &Done,
    objective: &Objective,
    limit: usize,
    epochs: usize,
) -> StepReport {
    // What was sampled, whether it teaches anything or not; a mean over what is left would say too little of the policy.
    let sampled = || groups.iter().chain(left_out);
    let episodes = || sampled().flat_map(|g| g.episodes.iter().chain(&g.tried));
    let updates = f64::from(done.updates.max(1));
    // Each update's loss is a mean over its own tokens. An empty sum is -0.0 in Rust; adding 0.0 makes it 0.0.
    let loss =
        |column: usize| done.sequences.iter().map(|(_, s)| s[column]).sum::<f64>() / updates + 0.0;
    let of_role = |role: Role, column: usize| {
        let rows = done.sequences.iter();
        rows.filter(move |(s, _)| s.role == role && !s.terms.is_zero())
            .map(move |(s, row)| (row[column], s.loss_tokens() as f64))
    };
    let total =
        |role: Role, column: usize| of_role(role, column).map(|(v, _)| v).sum::<f64>() + 0.0;
    let scored_tokens: usize = episodes().map(|e| e.tokens.len()).sum();
    let kept_tokens: usize = groups.iter().flat_map(|g| &g.episodes).map(|e| e.tokens.len()).sum();
    let unscored_tokens: usize = sampled().flat_map(|g| &g.unscored).map(|u| u.tokens).sum();
    let demo_tokens: f64 = of_role(Role::Demonstration, 0).map(|(_, n)| n).sum();
    let share = |part: f64, of: f64| (of > 0.0).then(|| part / of);
    let all = |right: bool| {
        let same = |g: &&Group| g.episodes.iter().all(|e| e.right == right);
        let judged = sampled().filter(|g| !g.episodes.is_empty());
        mean_of(judged.map(|g| f64::from(u8::from(same(&g)))))
    };
    let reward_of = |g: &Group| Some(f64::from(g.demonstration.as_ref()?.reward?));
    // Without rollouts in its group, or if it is kept out of the group, a demonstration has no advantage.
    let compared = groups.iter().zip(&done.advantages).filter(|(g, _)| {
        let member = objective.has_demonstrations() && objective.group_of != GroupOf::Apart;
        member && !g.episodes.is_empty() && reward_of(g).is_some()
    });
    let given = sampled().filter_map(|g| {
        let whole = g.demonstration.as_ref()?.tokens.len() as f64;
        Some(g.episodes.iter().map(move |e| e.given as f64 / whole))
    });
    let learned = done.sequences.iter().filter(|(s, _)| s.role == Role::Rollout);
    let learned: usize = learned.map(|(s, _)| s.learned.len()).sum();
    let terms = [column::SFT, column::RL_DEMO, column::SELF, column::BONUS, column::KL].map(loss);
    let share_of =
        |is: &dyn Fn(&Episode) -> bool| mean_of(episodes().map(|e| f64::from(u8::from(is(e)))));
    let entropies = episodes().flat_map(|e| &e.entropies).map(|&h| f64::from(h));
    StepReport {
        loss: terms.iter().sum(),
        loss_sft: terms[0],
        loss_rl_demo: terms[1],
        loss_self: terms[2],
        loss_entropy: terms[3],
        loss_kl: terms[4],
        grad_norm: done.norms / updates,
        reward: mean_of(episodes().map(|e| f64::from(e.reward))),
        rewards: mean_scores(episodes().map(|e| &e.scores)),
        accuracy: share_of(&|e| e.right),
        reward_demo: mean_of(groups.iter().filter_map(reward_of)),
        advantage_demo: mean_of(compared.filter_map(|(_, a)| a.last().copied())),
        groups_all_right: all(true),
        groups_all_wrong: all(false),
        entropy: mean_of(entropies),
        entropy_demo: share(total(Role::Demonstration, column::ENTROPY), demo_tokens),
        w_sft: mean_of(of_role(Role::Demonstration, column::WEIGHT).map(|(w, _)| w))
            .filter(|_| objective.sft),
        w_rl: mean_of(of_role(Role::Rollout, column::WEIGHT).map(|(w, _)| w)),
        clip_share: share(
            total(Role::Rollout, column::CLIPPED),
            (epochs * kept_tokens + learned) as f64,
        ),
        response_tokens: mean_of(episodes().map(|e| e.tokens.len() as f64)),
        truncated_share: share_of(&|e| e.truncated),
        context_cut_share: share_of(&|e| e.truncated && e.tokens.len() < limit),
        loose_only: episodes().filter(|e| e.loose_only).count() as u64,
        refilled: left_out.len() as u64,
        given_share: mean_of(given.flatten()).filter(|_| objective.prefix != Prefix::None),
        tried: sampled().map(|g| g.tried.len() as u64).sum(),
        untaught: match objective.advantage_of {
            AdvantageOf::Rewards | AdvantageOf::Entropy => 0,
            AdvantageOf::Teacher => episodes().filter(|e| e.taught.is_empty()).count() as u64,
        },
        unscored: sampled().map(|g| g.unscored.len() as u64).sum(),
        unscored_demos: groups.iter().filter(|g| g.unscored_demo.is_some()).count() as u64,
        rollout_tokens: (scored_tokens + unscored_tokens) as u64,
        trained_tokens: done
            .sequences
            .iter()
            .filter(|(s, _)| !s.terms.is_zero())
            .map(|(s, _)| s.loss_tokens() as u64)
            .sum(),
        ..Default::default()
    }
}

/// What is not a finite number, and what it is.
pub(super) fn check_finite(
    groups: &[Group],
    update: &Update,
    gradient: &Gradient,
) -> std::result::Result<(), String> {
    let sum = |column: usize| gradient.sums.iter().map(|s| s[column]).sum::<f64>();
    let demonstrations = update.sequences.iter().zip(&gradient.sums);
    let demonstrations = demonstrations.filter(|(s, _)| s.role == Role::Demonstration);
    let entropies = groups.iter().flat_map(|g| &g.episodes).flat_map(|e| &e.entropies);
    let named = [
        ("L_SFT", sum(column::SFT)),
        ("L_RL,demo", sum(column::RL_DEMO)),
        ("L_self", sum(column::SELF)),
        ("entropy bonus", sum(column::BONUS)),
        ("KL penalty", sum(column::KL)),
        ("gradient norm", gradient.norm),
        // If no sequence carries loss, only these show that the policy is broken.
        ("entropy of the rollouts", entropies.map(|&h| f64::from(h)).sum()),
        ("entropy of the demonstrations", demonstrations.map(|(_, s)| s[column::ENTROPY]).sum()),
    ];
    match named.into_iter().find(|(_, value)| !value.is_finite()) {
        Some((name, value)) => Err(format!("{name} is {value}")),
        None => Ok(()),
    }
}
