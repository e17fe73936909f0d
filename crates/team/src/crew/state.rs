//! Who does what, and what has come of it.

use super::HERE;
use crate::chain::Chain;
use crate::queue::{Round, Times};
use crate::worker::{Done, Weights};
use burn::tensor::Tensor;
use srft_trainer::shards::Job;
use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A chain in which nothing moves for so many times the patience is given up.
const STILL: u32 = 3;

/// What members share.
#[derive(Default)]
pub struct State {
    /// The members, the learner's own device first.
    pub names: Vec<String>,
    /// Which of them work.
    pub works: Vec<bool>,
    /// Whether the learner's own device has stood in for workers that it is unlike.
    pub stood_in: bool,
    /// The round that is open.
    pub open: Option<Open>,
    /// How long jobs have taken, kind by kind.
    pub times: HashMap<Discriminant<Job>, Times>,
    /// What is to be told.
    pub news: Vec<String>,
    /// Chains in a row that broke.
    pub breaks: u32,
    /// Threads of members that still run.
    pub threads: usize,
    /// Whether the crew is closed.
    pub is_closed: bool,
}

/// The round that is open.
pub struct Open {
    /// Its jobs' state.
    pub round: Round,
    /// Its jobs, by which it is known.
    pub jobs: Arc<Vec<Job>>,
    /// The weights that they are done with.
    pub weights: Arc<Weights>,
    /// Whether gradients stay with members that can be links of a chain.
    pub keeps: bool,
    /// The chain that is under way, and the members that are at it.
    pub chain: Option<(Arc<Chain>, Vec<usize>)>,
}

/// A job that a member has taken.
pub struct Task {
    /// Which of its round.
    pub job: usize,
    /// Whether the gradient may stay with the member.
    pub keeps: bool,
    /// Those of its round.
    pub jobs: Arc<Vec<Job>>,
    /// The weights.
    pub weights: Arc<Weights>,
}

impl State {
    /// A job of the open round for `member`.
    pub fn take(&mut self, member: usize) -> Option<Task> {
        let (works, open, now) = (&self.works, self.open.as_mut()?, Instant::now());
        let job = open.round.take(member, now, |i| works[i])?;
        Some(self.begun(member, job, now))
    }

    /// A job that no one else does, for the learner's own device.
    pub fn take_last(&mut self) -> Option<Task> {
        let (works, open, now) = (&self.works, self.open.as_mut()?, Instant::now());
        let others = (HERE + 1..works.len()).filter(|&i| works[i]);
        let job = open.round.take_last(HERE, now, others)?;
        Some(self.begun(HERE, job, now))
    }

    /// What `member` needs for a job that it has taken. Who has had it for too long counts as one that doesn't work,
    /// until it answers.
    fn begun(&mut self, member: usize, job: usize, now: Instant) -> Task {
        let open = self.open.as_ref().expect("its job was taken");
        for (other, since) in open.round.others(job, member, now) {
            self.works[other] = other == HERE;
            self.news.push(format!(
                "{} has had a job for {:.0} s; {} does it too",
                self.names[other],
                since.as_secs_f64(),
                self.names[member]
            ));
        }
        let (jobs, weights) = (open.jobs.clone(), open.weights.clone());
        Task { job, keeps: open.keeps, jobs, weights }
    }

    /// The round of these jobs, if that is still open.
    fn round_of(&mut self, jobs: &Arc<Vec<Job>>) -> Option<&mut Open> {
        self.open.as_mut().filter(|open| Arc::ptr_eq(&open.jobs, jobs))
    }

    /// A member has done a job.
    pub fn settle(&mut self, member: usize, task: &Task, done: Done) {
        self.works_again(member);
        let Some(open) = self.round_of(&task.jobs) else { return };
        // What is kept for a chain that was given up is of no use.
        if matches!(done, Done::Here(_)) || open.keeps {
            open.round.settle(member, task.job, done, Instant::now());
        }
    }

    /// Ends the open round.
    pub fn close(&mut self) {
        if let Some(Open { round, jobs, chain, .. }) = self.open.take() {
            self.times.insert(discriminant(&jobs[0]), round.into_times());
            if let Some((chain, _)) = chain {
                chain.break_off("the round is over");
            }
        }
    }

    /// Gives a member work again; tells the user if it had failed.
    pub fn works_again(&mut self, member: usize) {
        if !std::mem::replace(&mut self.works[member], true) {
            self.news.push(format!("{} works again", self.names[member]));
        }
    }

    /// A member has failed, at a job of the open round if it is of that; what it has kept is lost.
    pub fn fail(&mut self, member: usize, task: Option<&Task>, why: &str) {
        if let Some(task) = task
            && let Some(open) = self.round_of(&task.jobs)
        {
            open.round.give_back(member, task.job);
        }
        if let Some(open) = &mut self.open {
            open.round.lose(Some(member));
            let chain = open.chain.as_ref().filter(|(chain, _)| chain.has(member));
            chain.inspect(|(chain, _)| chain.break_off(&format!("{}: {why}", self.names[member])));
        }
        self.works[member] = false;
        self.news
            .push(format!("{} has failed ({why}); its work is done elsewhere", self.names[member]));
    }

    /// The chain that `member` is a link of, if it is not at it yet.
    pub fn join(&mut self, member: usize) -> Option<(Arc<Chain>, Arc<Weights>)> {
        let open = self.open.as_mut()?;
        let (chain, joined) = open.chain.as_mut()?;
        if joined.contains(&member) || !chain.has(member) {
            return None;
        }
        joined.push(member);
        Some((chain.clone(), open.weights.clone()))
    }

    /// Begins a chain once each job has been done, and gives up one that is broken or stands still. Says whether
    /// anything has changed.
    pub fn look_after_chain(&mut self, patience: Duration) -> bool {
        let Some(open) = &mut self.open else { return false };
        match &open.chain {
            None => {
                open.chain =
                    open.round.links().map(|links| (Arc::new(Chain::new(links)), Vec::new()))
            }
            Some((chain, _)) => {
                let Some(why) = chain.broken(patience * STILL) else { return false };
                (open.chain, open.keeps) = (None, false);
                open.round.lose(None);
                self.breaks += 1;
                self.news.push(format!(
                    "the workers could not add up the gradient among themselves ({why}): it is computed once more, and \
                     added here"
                ));
                return true;
            }
        }
        open.chain.is_some()
    }

    /// A chain's sum is here.
    pub fn has_come(&mut self, chain: &Arc<Chain>, sum: Vec<Tensor<2>>) {
        let Some(open) = &mut self.open else { return };
        if open.chain.as_ref().is_some_and(|(other, _)| Arc::ptr_eq(chain, other)) {
            open.chain = None;
            open.round.has_come(&chain.links, sum);
            self.breaks = 0;
        }
    }
}
