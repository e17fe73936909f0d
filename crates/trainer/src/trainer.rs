//! The training step, in the order of the paper's algorithm: sample, score, weigh, update.

mod imitate;
mod prefix;
mod report;

use self::report::{Done, check_finite, report};
use crate::config::{AdvantageOf, KlIn, Objective, SftGate};
use crate::data::source::{Problem, Source};
use crate::error::{Error, Result};
use crate::learner::{Gradient, Learner};
use crate::metrics::{StepReport, mean_of};
use crate::objective::bonus::Bonus;
use crate::objective::buffer::Buffer;
use crate::objective::turns::Turns;
use crate::objective::{Draw, assemble_with, teaches_nothing};
use crate::ops::objective::kl::kl;
use crate::optim::{AdamW, learning_rate};
use crate::platform::Stopwatch;
use crate::records::{Demonstration, Episode, Group, Origin, Temperature, Unscored};
use crate::reward::{Grade, Grader, MEND, Submission};
use crate::rollout::{By, Plan, Start};
use crate::shards::Which;

/// The first of the steps that groups are refilled from.
const FIRST_REFILL: u32 = 1 << 31;

/// What to do where numbers end.
const SMALLER_STEPS: &str = "resume from the last checkpoint with a lower optimizer.lr or a smaller \
                             optimizer.clip_norm";

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
    /// Steps done.
    pub step: u32,
    /// Demonstrations held for a later step (ReLIFT).
    pub buffer: Buffer,
    /// The entropy bonus's coefficient, once a step has moved it.
    pub bonus: Option<Bonus>,
    /// Which step imitates alone, and which demonstrations are read.
    pub turns: Turns,
}

impl Trainer {
    /// The objective of the present step.
    pub fn objective(&self) -> Objective {
        self.learner.config.objective_at(self.step)
    }

    /// One step of SRFT: rollouts, rewards, advantages, loss, update.
    pub async fn step(&mut self) -> Result<(StepReport, Vec<Group>)> {
        // Set when the step is done: one that fails is done again.
        let mut turns = self.turns.clone();
        if let Some(imitated) = self.imitate(&mut turns).await? {
            self.turns = turns;
            return Ok(imitated);
        }
        let clock = Stopwatch::start();
        let mut objective = self.objective();
        let (groups, left_out) = match self.buffer.due(objective.buffer) {
            Some(held) => (held, Vec::new()),
            None => {
                let groups = self.drawn(self.step, usize::MAX).await?;
                self.refilled(groups, &objective).await?
            }
        };
        let moved = self.move_bonus(&groups, &mut objective);
        let rollout_secs = clock.elapsed_secs();

        let clock = Stopwatch::start();
        let train = &self.learner.config.train;
        let (epochs, steps) = (train.epochs, train.steps);
        let updates = (epochs * self.minibatches(&groups).count()) as u32;
        let lr = learning_rate(&self.learner.config.optimizer, self.step, steps);
        let mut done = Done::default();
        for _ in 0..epochs {
            for part in self.minibatches(&groups) {
                let rate = lr * rate_share(part, &objective);
                self.update(part, &objective, rate, updates, &mut done).await?;
            }
        }
        let limit = self.learner.config.rollout.max_new_tokens;
        let mut report = report(&groups, &left_out, &done, &objective, limit, epochs);
        report.step = self.step + 1;
        report.lr = lr;
        turns.success = report.accuracy.unwrap_or(turns.success);
        self.turns = turns;
        report.entropy_coeff = moved.map(|_| objective.entropy_coeff);
        self.bonus = moved.or(self.bonus);
        self.step += 1;
        self.buffer.settle(&groups, objective.buffer);
        report.rollout_secs = rollout_secs;
        report.train_secs = clock.elapsed_secs();
        Ok((report, groups))
    }

    /// The next of a step's `updates`: adds what it learned from to `done`.
    async fn update(
        &mut self,
        groups: &[Group],
        objective: &Objective,
        rate: f64,
        updates: u32,
        done: &mut Done,
    ) -> Result<()> {
        let update = assemble_with(groups, objective, self.draw(self.step, done.updates));
        let gradient = self.learner.nth_gradient(&update, self.step, done.updates).await?;
        check_finite(groups, &update, &gradient).map_err(|what| {
            let (step, nth) = (self.step + 1, done.updates + 1);
            let of = match updates {
                1 => String::new(),
                _ => format!(", update {nth} of {updates}"),
            };
            Error::numbers(format!("step {step}{of}: {what}; the update was not applied"))
                .next(SMALLER_STEPS)
        })?;
        let Gradient { tensors, norm, sums } = gradient;
        // A rate of 0 skips the update: AdamW would still change its moments.
        if rate > 0.0 {
            self.optimizer.step(&mut self.learner.policy, tensors, norm, rate);
            self.learner.version += 1;
        }
        done.add(update, sums, norm);
        Ok(())
    }

    /// The random numbers of update `update` of step `step`, both counted from 0.
    pub fn draw(&self, step: u32, update: u32) -> Draw {
        Draw { seed: self.learner.config.run.seed, step, update }
    }

    /// Sets the coefficient of the entropy bonus where the rollouts' entropy moves it, and gives what it is after this step.
    fn move_bonus(&self, groups: &[Group], objective: &mut Objective) -> Option<Bonus> {
        let mut bonus = Bonus::of(objective).map(|fresh| self.bonus.unwrap_or(fresh))?;
        let entropies = groups.iter().flat_map(|g| &g.episodes).flat_map(|e| &e.entropies);
        let entropy = mean_of(entropies.map(|&h| f64::from(h)))?;
        let acting = bonus.acting(objective, entropy);
        bonus.follow(objective, entropy);
        objective.entropy_coeff = acting;
        Some(bonus)
    }

    /// The groups of the first `most` prompts of step `step`.
    async fn drawn(&self, step: u32, most: usize) -> Result<Vec<Group>> {
        let config = &self.learner.config;
        let mut problems = self.source.examples(config.run.seed, step, config.rollout.prompts);
        problems.truncate(most);
        self.groups_at(problems, step, &self.objective()).await
    }

    /// Replaces groups that teach nothing by freshly drawn ones, at most `refill` times. Gives the groups to learn from,
    /// and those that were replaced.
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
        self.groups_at(problems, self.step, &self.objective()).await
    }

    /// [`Trainer::groups`] by the random numbers of step `step`.
    async fn groups_at<P: Into<Problem>>(
        &self,
        problems: Vec<P>,
        step: u32,
        objective: &Objective,
    ) -> Result<Vec<Group>> {
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
        self.grade_demonstrations(&mut groups, &cut, objective)?;
        if objective.uses_rollouts() {
            self.roll_out(&mut groups, objective, step).await?;
            self.penalise(&mut groups, objective).await?;
            if objective.advantage_of == AdvantageOf::Teacher {
                self.learner.teach(&mut groups).await?;
            }
            if objective.prefix_learned > 0.0 {
                self.learner.score_given(&mut groups).await?;
            }
        }
        Ok(groups)
    }

    /// What a KL penalty in the reward takes off each rollout's.
    async fn penalise(&self, groups: &mut [Group], objective: &Objective) -> Result<()> {
        let in_reward = objective.rollout_kl > 0.0 && objective.rollout_kl_in == KlIn::Reward;
        if !in_reward {
            return Ok(());
        }
        let scored = self.learner.score_rollouts(Which::Base, groups).await?;
        for (episode, scored) in groups.iter_mut().flat_map(|g| &mut g.episodes).zip(scored) {
            let pairs = episode.logprobs.iter().zip(&scored.logprobs);
            let token = |(&logp, &base): (&f32, &f32)| {
                kl(1.0, objective.kl_form, f64::from(logp), f64::from(base), f64::from(logp))
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
        if gated && !objective.uses_rollouts() && objective.imitation == 0.0 {
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

    /// Samples a group's rollouts from each of `starts`, and judges them.
    async fn sample(
        &self,
        groups: &mut [Group],
        starts: &[Start],
        objective: &Objective,
        step: u32,
    ) -> Result<()> {
        let Learner { config, policy, tokenizer, .. } = &self.learner;
        let by = By::Rollout { step: self.step, draws: step };
        let plan = Plan::by(by, config, tokenizer, &policy.config.eos_tokens);
        let responses = self.learner.respond(starts, by).await?;
        let given = starts.iter().flat_map(|start| {
            let given = start.read.len() - groups[start.prompt].prompt_tokens.len();
            start.samples.clone().map(move |_| given)
        });
        let given: Vec<usize> = given.collect();
        let texts: Vec<String> = responses
            .iter()
            .zip(&given)
            .map(|(r, &given)| {
                let own = plan.stops.text(tokenizer, &r.tokens);
                let shown = groups[r.prompt].demonstration.as_ref();
                shown.map_or(own.clone(), |shown| {
                    prefix::text(tokenizer, &shown.tokens[..given], &r.tokens, own)
                })
            })
            .collect();
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
        let judged = responses.into_iter().zip(given).zip(texts).zip(grades);
        for (((response, given), text), grade) in judged {
            let group = &mut groups[response.prompt];
            match grade {
                Ok(Grade { right, score, loose_only, scores }) => {
                    let reward = objective.reward_values.at(score);
                    let shown = group.demonstration.as_ref().map_or(&[][..], |d| &d.tokens);
                    let given_text = tokenizer.decode(&shown[..given]);
                    let episode = response.into_episode(text);
                    let temperature = Temperature(plan.sampling.policy_temperature);
                    group.episodes.push(Episode {
                        reward,
                        right,
                        loose_only,
                        scores,
                        temperature,
                        given,
                        given_text,
                        ..episode
                    });
                }
                Err(why) => group.unscored.push(Unscored { why, tokens: response.tokens.len() }),
            }
        }
        Ok(())
    }
}

/// What `mixed_rate` multiplies the learning rate by: full from half of the groups on.
fn rate_share(groups: &[Group], objective: &Objective) -> f64 {
    if !objective.mixed_rate {
        return 1.0;
    }
    let mixed = groups.iter().filter(|g| !teaches_nothing(g, objective)).count();
    (2.0 * mixed as f64 / groups.len() as f64).min(1.0)
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
