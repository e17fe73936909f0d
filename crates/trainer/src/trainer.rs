//! The training step, in the order of the paper's algorithm: sample, score, weigh, update.

use crate::config::{GroupOf, KlIn, Objective, SftGate};
use crate::data::source::{Problem, Source};
use crate::error::{Error, Result};
use crate::learner::{Gradient, Learner};
use crate::metrics::{StepReport, mean_of, mean_scores};
use crate::objective::buffer::Buffer;
use crate::objective::loss::kl_form;
use crate::objective::{Update, assemble, teaches_nothing};
use crate::ops::objective::kl::kl;
use crate::ops::objective::{COLUMNS, column};
use crate::optim::{AdamW, learning_rate};
use crate::platform::Stopwatch;
use crate::records::{
    Demonstration, Episode, Group, Origin, Role, Sequence, Temperature, Unscored,
};
use crate::reward::{Grade, Grader, MEND, Submission};
use crate::rollout::{Plan, respond};
use crate::score::{score_sequences, to_score};

/// The first of the steps that groups are refilled from.
const FIRST_REFILL: u32 = 1 << 31;

/// A run in memory: the policy, its optimiser, and the data.
pub struct Trainer {
    /// The policy and its loss.
    pub learner: Learner,
    /// AdamW and its moments.
    pub optimizer: AdamW,
    /// Training examples.
    pub source: Source,
    /// Turns responses into rewards.
    pub grader: Grader,
    /// Updates done.
    pub step: u32,
    /// Demonstrations held for a later step (ReLIFT).
    pub buffer: Buffer,
}

impl Trainer {
    /// The objective of the present step.
    pub fn objective(&self) -> Objective {
        self.learner.config.objective_at(self.step)
    }

    /// One step of SRFT: rollouts, rewards, advantages, loss, update.
    pub async fn step(&mut self) -> Result<(StepReport, Vec<Group>)> {
        let clock = Stopwatch::start();
        let objective = self.objective();
        let (groups, left_out) = match self.buffer.due(objective.buffer) {
            Some(held) => (held, Vec::new()),
            None => {
                let groups = self.drawn(self.step, usize::MAX).await?;
                self.refilled(groups, &objective).await?
            }
        };
        let rollout_secs = clock.elapsed_secs();

        let clock = Stopwatch::start();
        let train = &self.learner.config.train;
        let (epochs, steps) = (train.epochs, train.steps);
        let updates = epochs * self.minibatches(&groups).count();
        let lr = learning_rate(&self.learner.config.optimizer, self.step, steps);
        let mut done = Done::default();
        for _ in 0..epochs {
            for part in self.minibatches(&groups) {
                let update = assemble(part, &objective);
                let gradient = self.learner.nth_gradient(&update, self.step, done.updates).await?;
                check_finite(part, &update, &gradient).map_err(|what| {
                    let of = if updates > 1 { format!(", update {} of {updates}", done.updates + 1) } else { String::new() };
                    Error::numbers(format!(
                        "step {}{of}: {what}; the update was not applied",
                        self.step + 1
                    ))
                    .next("resume from the last checkpoint with a lower optimizer.lr or a smaller optimizer.clip_norm")
                })?;
                let Gradient { tensors, norm, sums } = gradient;
                self.optimizer.step(&mut self.learner.policy, tensors, norm, lr);
                done.add(update, sums, norm);
            }
        }
        let limit = self.learner.config.rollout.max_new_tokens;
        let mut report = report(&groups, &left_out, &done, &objective, limit, epochs);
        report.step = self.step + 1;
        report.lr = lr;
        self.step += 1;
        self.buffer.settle(&groups, objective.buffer);
        report.rollout_secs = rollout_secs;
        report.train_secs = clock.elapsed_secs();
        Ok((report, groups))
    }

    /// The groups of the first `most` prompts of step `step`.
    async fn drawn(&self, step: u32, most: usize) -> Result<Vec<Group>> {
        let config = &self.learner.config;
        let mut problems = self.source.examples(config.run.seed, step, config.rollout.prompts);
        problems.truncate(most);
        self.groups_at(problems, step).await
    }

    /// Groups with others, freshly drawn, in the place of those that teach nothing, `refill` times at most; and those
    /// that were replaced.
    async fn refilled(
        &self,
        mut groups: Vec<Group>,
        objective: &Objective,
    ) -> Result<(Vec<Group>, Vec<Group>)> {
        let mut left_out = Vec::new();
        for round in 0..objective.refill {
            let places: Vec<usize> =
                (0..groups.len()).filter(|&i| teaches_nothing(&groups[i], objective)).collect();
            if places.is_empty() {
                break;
            }
            // A step that no run comes to: its prompts and its random numbers are no other's.
            let step = FIRST_REFILL + self.step * objective.refill + round;
            let fresh = self.drawn(step, places.len()).await?;
            let places = places.into_iter().zip(fresh);
            left_out.extend(places.map(|(i, group)| std::mem::replace(&mut groups[i], group)));
        }
        Ok((groups, left_out))
    }

    /// A step's groups in the parts that each make an update, in order; as even as their number allows.
    pub fn minibatches<'a>(
        &self,
        groups: &'a [Group],
    ) -> impl Iterator<Item = &'a [Group]> + use<'a> {
        let parts = self.learner.config.train.minibatches.min(groups.len()).max(1);
        let count = groups.len();
        (0..parts).map(move |i| &groups[i * count / parts..(i + 1) * count / parts])
    }

    /// Samples a group for each example and scores rollouts and demonstrations.
    pub async fn groups<P: Into<Problem>>(&self, problems: Vec<P>) -> Result<Vec<Group>> {
        self.groups_at(problems, self.step).await
    }

    /// [`Trainer::groups`] by the random numbers of step `step`.
    async fn groups_at<P: Into<Problem>>(&self, problems: Vec<P>, step: u32) -> Result<Vec<Group>> {
        let objective = self.objective();
        let limit = self.learner.config.data.most_tokens(self.learner.policy.config.max_positions);
        let eos_tokens = &self.learner.policy.config.eos_tokens;
        let mut groups = Vec::with_capacity(problems.len());
        let mut cut = Vec::with_capacity(problems.len());
        for problem in problems {
            let problem: Problem = problem.into();
            let encoded = problem.in_tokens(&self.learner.tokenizer, eos_tokens)?.into_owned();
            let example = problem.example;
            let uses = objective.uses_demonstrations();
            let (prompt, earlier) = (encoded.prompt.len(), encoded.earlier);
            let read = prompt + earlier.len();
            let room = limit.saturating_sub(read).max(1);
            let mut demonstration = encoded
                .demonstration
                .filter(|_| uses)
                .map(|tokens| Demonstration { tokens, earlier, ..Demonstration::default() });
            cut.push(demonstration.as_ref().is_some_and(|d| d.tokens.len() > room));
            // A note on loading announced this cut.
            demonstration.iter_mut().for_each(|d| d.tokens.truncate(room));
            let fits = match &demonstration {
                Some(shown) => self.learner.policy.config.require_fits(read, shown.tokens.len()),
                None => self.learner.policy.config.require_fits(prompt, 1),
            };
            fits.map_err(|e| e.at(format!("{:?}", example.prompt)))?;
            groups.push(Group {
                origin: Origin::Drawn,
                example,
                prompt_tokens: encoded.prompt,
                learned: encoded.learned,
                demonstration,
                ..Group::default()
            });
        }
        self.grade_demonstrations(&mut groups, &cut, &objective)?;
        if objective.uses_rollouts() {
            self.sample(&mut groups, &objective, step).await?;
            self.penalise(&mut groups, &objective).await?;
        }
        Ok(groups)
    }

    /// What a KL penalty in the reward takes off each rollout's.
    async fn penalise(&self, groups: &mut [Group], objective: &Objective) -> Result<()> {
        let in_reward = objective.rollout_kl > 0.0 && objective.rollout_kl_in == KlIn::Reward;
        let Some(base) = self.learner.base.as_ref().filter(|_| in_reward) else { return Ok(()) };
        let sequences: Vec<Sequence> = groups
            .iter()
            .flat_map(|g| g.episodes.iter().map(|e| to_score(&g.prompt_tokens, e)))
            .collect();
        let limit = self.learner.config.train.micro_batch_tokens;
        let scored = score_sequences(base, &sequences, limit).await?;
        let form = kl_form(objective);
        for (episode, scored) in groups.iter_mut().flat_map(|g| &mut g.episodes).zip(scored) {
            let pairs = episode.logprobs.iter().zip(&scored.logprobs);
            let token = |(&logp, &base): (&f32, &f32)| {
                kl(1.0, form, f64::from(logp), f64::from(base), f64::from(logp))
            };
            let sum: f64 = pairs.map(|pair| token(pair).value).sum();
            episode.kl = (objective.rollout_kl * sum) as f32;
        }
        Ok(())
    }

    /// Grades the demonstrations that can be judged. One that was cut has no end, and one without a gold
    /// answer is only imitated.
    fn grade_demonstrations(
        &self,
        groups: &mut [Group],
        cut: &[bool],
        objective: &Objective,
    ) -> Result<()> {
        let gated = objective.sft_gate != SftGate::None;
        let needed = objective.uses_rollouts() || gated;
        let (judged, texts): (Vec<usize>, Vec<String>) = groups
            .iter()
            .enumerate()
            .filter(|(i, g)| !cut[*i] && (needed || !g.example.answer.is_empty()))
            .filter_map(|(i, g)| {
                Some((i, self.learner.tokenizer.decode(&g.demonstration.as_ref()?.tokens)))
            })
            .unzip();
        let submissions: Vec<Submission> = judged
            .iter()
            .zip(&texts)
            .map(|(&i, response)| Submission {
                example: &groups[i].example,
                response,
                finished: true,
            })
            .collect();
        let grades = self.grader.grade(&submissions)?;
        // A method that learns from rollouts too can do without graded demonstrations.
        if gated && !objective.uses_rollouts() {
            require_some("demonstration", &grades)?;
        }
        for (i, grade) in judged.into_iter().zip(grades) {
            let group = &mut groups[i];
            match (grade, &mut group.demonstration) {
                (Ok(grade), Some(demonstration)) => {
                    demonstration.right = grade.right;
                    demonstration.reward = Some(objective.reward_values.at(grade.score));
                }
                (Err(why), _) => group.unscored_demo = Some(why),
                (Ok(_), None) => {}
            }
        }
        Ok(())
    }

    async fn sample(&self, groups: &mut [Group], objective: &Objective, step: u32) -> Result<()> {
        let Learner { config, policy, tokenizer, .. } = &self.learner;
        let shared = objective.group_of == GroupOf::Shared;
        let plan = Plan {
            group: config.rollout.group - usize::from(shared),
            step,
            ..Plan::of(config, tokenizer, &policy.config.eos_tokens, self.step)
        };
        let prompts: Vec<Vec<u32>> = groups.iter().map(|g| g.prompt_tokens.clone()).collect();
        let responses = respond(policy, &prompts, &plan).await?;
        let texts: Vec<String> =
            responses.iter().map(|r| plan.stops.text(tokenizer, &r.tokens)).collect();
        let submissions: Vec<Submission> = responses
            .iter()
            .zip(&texts)
            .map(|(r, response)| Submission {
                example: &groups[r.prompt].example,
                response,
                finished: !r.truncated,
            })
            .collect();
        let grades = self.grader.grade(&submissions)?;
        require_some("response", &grades)?;
        for ((response, text), grade) in responses.into_iter().zip(texts).zip(grades) {
            let group = &mut groups[response.prompt];
            match grade {
                Ok(Grade { right, score, loose_only, scores }) => {
                    let reward = objective.reward_values.at(score);
                    let episode = response.into_episode(text);
                    let temperature = Temperature(plan.sampling.policy_temperature);
                    group.episodes.push(Episode {
                        reward,
                        right,
                        loose_only,
                        scores,
                        temperature,
                        ..episode
                    });
                }
                Err(why) => group.unscored.push(Unscored { why, tokens: response.tokens.len() }),
            }
        }
        Ok(())
    }
}

/// An error if the verifier failed on everything: then it is broken, and there is nothing to learn.
fn require_some(what: &str, grades: &[std::result::Result<Grade, String>]) -> Result<()> {
    match grades.first() {
        Some(Err(why)) if grades.iter().all(|g| g.is_err()) => {
            Err(Error::machine(format!("no {what} could be scored: {why}")).next(MEND))
        }
        _ => Ok(()),
    }
}

/// The updates of a step: what they had to learn from, and what was read back.
#[derive(Default)]
struct Done {
    /// How many.
    updates: u32,
    /// The sequences of one after the other, with the kernel's sums.
    sequences: Vec<(Sequence, [f64; COLUMNS])>,
    /// Â of each group, again for each epoch.
    advantages: Vec<Vec<f64>>,
    /// Σ of the gradients' norms.
    norms: f64,
}

impl Done {
    fn add(&mut self, update: Update, sums: Vec<[f64; COLUMNS]>, norm: f64) {
        self.updates += 1;
        self.sequences.extend(update.sequences.into_iter().zip(sums));
        self.advantages.extend(update.advantages);
        self.norms += norm;
    }
}

fn report(
    groups: &[Group],
    left_out: &[Group],
    done: &Done,
    objective: &Objective,
    limit: usize,
    epochs: usize,
) -> StepReport {
    // What was sampled, whether it teaches anything or not; a mean over what is left would say too little of the policy.
    let sampled = || groups.iter().chain(left_out);
    let episodes = || sampled().flat_map(|g| &g.episodes);
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
        objective.group_of != GroupOf::Apart && !g.episodes.is_empty() && reward_of(g).is_some()
    });
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
        rewards: mean_scores(episodes()),
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
        clip_share: share(total(Role::Rollout, column::CLIPPED), (epochs * kept_tokens) as f64),
        response_tokens: mean_of(episodes().map(|e| e.tokens.len() as f64)),
        truncated_share: share_of(&|e| e.truncated),
        context_cut_share: share_of(&|e| e.truncated && e.tokens.len() < limit),
        loose_only: episodes().filter(|e| e.loose_only).count() as u64,
        refilled: left_out.len() as u64,
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
fn check_finite(
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
