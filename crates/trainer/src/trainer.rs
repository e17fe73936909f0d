//! The training step, in the order of the paper's algorithm: sample, score, weigh, update.

use crate::config::{GroupOf, Objective, SftGate};
use crate::data::source::{Problem, Source};
use crate::error::{Error, Result};
use crate::learner::{Gradient, Learner};
use crate::metrics::{StepReport, mean_of, mean_scores};
use crate::objective::buffer::Buffer;
use crate::objective::{Update, assemble};
use crate::ops::objective::column;
use crate::optim::{AdamW, learning_rate};
use crate::platform::Stopwatch;
use crate::records::{Demonstration, Episode, Group, Origin, Role, Unscored};
use crate::reward::{Grade, Grader, MEND, Submission};
use crate::rollout::{Plan, respond};

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
        let groups = match self.buffer.due(objective.buffer) {
            Some(held) => held,
            None => {
                let prompts = self.learner.config.rollout.prompts;
                let examples =
                    self.source.examples(self.learner.config.run.seed, self.step, prompts);
                self.groups(examples).await?
            }
        };
        let rollout_secs = clock.elapsed_secs();

        let clock = Stopwatch::start();
        let update = assemble(&groups, &objective);
        let gradient = self.learner.gradient(&update, self.step).await?;
        let lr = learning_rate(
            &self.learner.config.optimizer,
            self.step,
            self.learner.config.train.steps,
        );
        let limit = self.learner.config.rollout.max_new_tokens;
        let mut report = report(&groups, &update, &gradient, &objective, limit);
        report.step = self.step + 1;
        report.lr = lr;
        check_finite(&report)?;
        self.optimizer.step(&mut self.learner.policy, gradient.tensors, gradient.norm, lr);
        self.step += 1;
        self.buffer.settle(&groups, objective.buffer);
        report.rollout_secs = rollout_secs;
        report.train_secs = clock.elapsed_secs();
        Ok((report, groups))
    }

    /// Samples a group for each example and scores rollouts and demonstrations.
    pub async fn groups<P: Into<Problem>>(&self, problems: Vec<P>) -> Result<Vec<Group>> {
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
            self.sample(&mut groups, &objective).await?;
        }
        Ok(groups)
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

    async fn sample(&self, groups: &mut [Group], objective: &Objective) -> Result<()> {
        let Learner { config, policy, tokenizer, .. } = &self.learner;
        let shared = objective.group_of == GroupOf::Shared;
        let plan = Plan {
            group: config.rollout.group - usize::from(shared),
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
                    group.episodes.push(Episode { reward, right, loose_only, scores, ..episode });
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

fn report(
    groups: &[Group],
    update: &Update,
    gradient: &Gradient,
    objective: &Objective,
    limit: usize,
) -> StepReport {
    let episodes = || groups.iter().flat_map(|g| &g.episodes);
    // An empty sum is -0.0 in Rust; adding 0.0 makes it 0.0.
    let sum = |column: usize| gradient.sums.iter().map(|s| s[column]).sum::<f64>() + 0.0;
    let of_role = |role: Role, column: usize| {
        let rows = update.sequences.iter().zip(&gradient.sums);
        rows.filter(move |(s, _)| s.role == role && !s.terms.is_zero())
            .map(move |(s, row)| (row[column], s.loss_tokens() as f64))
    };
    let total =
        |role: Role, column: usize| of_role(role, column).map(|(v, _)| v).sum::<f64>() + 0.0;
    let scored_tokens: usize = episodes().map(|e| e.tokens.len()).sum();
    let unscored_tokens: usize = groups.iter().flat_map(|g| &g.unscored).map(|u| u.tokens).sum();
    let demo_tokens: f64 = of_role(Role::Demonstration, 0).map(|(_, n)| n).sum();
    let share = |part: f64, of: f64| (of > 0.0).then(|| part / of);
    let all = |right: bool| {
        let same = |g: &&Group| g.episodes.iter().all(|e| e.right == right);
        let sampled = groups.iter().filter(|g| !g.episodes.is_empty());
        mean_of(sampled.map(|g| f64::from(u8::from(same(&g)))))
    };
    let reward_of = |g: &Group| Some(f64::from(g.demonstration.as_ref()?.reward?));
    // Without rollouts in its group, or if it is kept out of the group, a demonstration has no advantage.
    let compared = groups.iter().zip(&update.advantages).filter(|(g, _)| {
        objective.group_of != GroupOf::Apart && !g.episodes.is_empty() && reward_of(g).is_some()
    });
    let terms = [column::SFT, column::RL_DEMO, column::SELF, column::REGULARISER].map(sum);
    let share_of =
        |is: &dyn Fn(&Episode) -> bool| mean_of(episodes().map(|e| f64::from(u8::from(is(e)))));
    let entropies = episodes().flat_map(|e| &e.entropies).map(|&h| f64::from(h));
    StepReport {
        loss: terms.iter().sum(),
        loss_sft: terms[0],
        loss_rl_demo: terms[1],
        loss_self: terms[2],
        loss_entropy: total(Role::Rollout, column::REGULARISER),
        loss_kl: total(Role::Demonstration, column::REGULARISER),
        grad_norm: gradient.norm,
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
        clip_share: share(total(Role::Rollout, column::CLIPPED), scored_tokens as f64),
        response_tokens: mean_of(episodes().map(|e| e.tokens.len() as f64)),
        truncated_share: share_of(&|e| e.truncated),
        context_cut_share: share_of(&|e| e.truncated && e.tokens.len() < limit),
        loose_only: episodes().filter(|e| e.loose_only).count() as u64,
        unscored: groups.iter().map(|g| g.unscored.len() as u64).sum(),
        unscored_demos: groups.iter().filter(|g| g.unscored_demo.is_some()).count() as u64,
        rollout_tokens: (scored_tokens + unscored_tokens) as u64,
        trained_tokens: update
            .sequences
            .iter()
            .filter(|s| !s.terms.is_zero())
            .map(|s| s.loss_tokens() as u64)
            .sum(),
        ..Default::default()
    }
}

fn check_finite(report: &StepReport) -> Result<()> {
    let named = [
        ("L_SFT", Some(report.loss_sft)),
        ("L_RL,demo", Some(report.loss_rl_demo)),
        ("L_self", Some(report.loss_self)),
        ("entropy bonus", Some(report.loss_entropy)),
        ("KL penalty", Some(report.loss_kl)),
        ("gradient norm", Some(report.grad_norm)),
        // If no sequence carries loss, only these show that the policy is broken.
        ("entropy of the rollouts", report.entropy),
        ("entropy of the demonstrations", report.entropy_demo),
    ];
    let known = named.iter().filter_map(|(name, value)| Some((name, (*value)?)));
    match known.into_iter().find(|(_, value)| !value.is_finite()) {
        Some((name, value)) => Err(Error::numbers(format!(
            "step {}: {name} is {value}; the update was not applied",
            report.step
        ))
        .next("resume from the last checkpoint with a lower optimizer.lr or a smaller optimizer.clip_norm")),
        None => Ok(()),
    }
}
