//! A round of jobs: what waits, what is being done and by whom, what is done.

use crate::chain::Link;
use crate::worker::Done;
use burn::tensor::Tensor;
use srft_trainer::shards::{Outcome, Part};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The least time after which a job is thought to be stuck.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A job is thought to be stuck after this many times the median of its kind.
const STUCK: u32 = 4;

/// How long a job that is stuck is left to others before a member that works only at need does it.
const LEFT: Duration = Duration::from_secs(2);

/// How many times are kept of a kind.
const KEPT: usize = 64;

/// Nothing is known of a kind's first jobs, in which shaders are compiled: they get so many times the patience.
const AT_FIRST: u32 = 30;

/// How long the latest jobs of a kind have taken.
#[derive(Debug, Clone, Default)]
pub struct Times(VecDeque<Duration>);

impl Times {
    fn add(&mut self, time: Duration) {
        self.0.push_back(time);
        self.0.drain(..self.0.len().saturating_sub(KEPT));
    }

    /// The time after which a job is thought to be stuck.
    fn limit(&self, patience: Duration) -> Duration {
        let mut sorted: Vec<Duration> = self.0.iter().copied().collect();
        sorted.sort();
        let known = sorted.get(sorted.len() / 2).map(|&median| median * STUCK);
        known.unwrap_or(patience * AT_FIRST).max(patience)
    }
}

/// Whose turn a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Whoever comes first.
    Any,
    /// Each shard has one member, as long as that one works: members differ in their bits.
    Fixed {
        /// The first member that has shards; the others follow.
        first: usize,
        /// How many have.
        members: usize,
    },
    /// Whoever comes first, but the members of a chain begin at equal distances, so that each gets neighbours,
    /// and the others at the end: what comes of theirs is added after the chain's sum.
    Chain {
        /// The first member of the chain; the others follow.
        first: usize,
        /// How many it has.
        links: usize,
        /// How many members work, those outside of the chain too.
        members: usize,
    },
}

/// A job that a member has begun.
#[derive(Debug)]
struct Begun {
    job: usize,
    member: usize,
    at: Instant,
}

/// A round of jobs. Times are passed in, so that tests need not wait.
#[derive(Debug)]
pub struct Round {
    turn: Turn,
    patience: Duration,
    waiting: VecDeque<usize>,
    begun: Vec<Begun>,
    /// Jobs, and the members that have failed at them.
    failed: Vec<(usize, usize)>,
    outcomes: Vec<Option<Done>>,
    passed_on: usize,
    times: Times,
}

/// A gradient's part whose tensors are in `tensors`, or in a later part's.
fn part(tensors: Vec<Tensor<2>>, sums: Vec<Tensor<1>>) -> Option<Done> {
    Some(Done::Here(Outcome::Gradient(Part { tensors, sums })))
}

impl Round {
    /// `jobs` jobs, of which none is begun. `times` are those of their kind so far; a job may be stuck once it has
    /// taken `patience`.
    pub fn new(jobs: usize, turn: Turn, patience: Duration, times: Times) -> Self {
        Self {
            turn,
            patience,
            waiting: (0..jobs).collect(),
            begun: Vec::new(),
            failed: Vec::new(),
            outcomes: (0..jobs).map(|_| None).collect(),
            passed_on: 0,
            times,
        }
    }

    /// The next job for `member`: one that waits and that it has not failed at, or else one that seems stuck, which is
    /// then done twice. `works` says which members do.
    pub fn take(
        &mut self,
        member: usize,
        now: Instant,
        works: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let has_failed = |job: usize, member: usize| self.failed.contains(&(job, member));
        let is_mine = |job: usize| match self.turn {
            Turn::Any | Turn::Chain { .. } => true,
            Turn::Fixed { first, members } => {
                let whose = first + job % members;
                whose == member || !works(whose) || has_failed(job, whose)
            }
        };
        let fits = |&(_, &job): &(usize, &usize)| is_mine(job) && !has_failed(job, member);
        let rank = |&(at, &job): &(usize, &usize)| match self.turn {
            Turn::Chain { first, links, members } if (first..first + links).contains(&member) => {
                let begins = (member - first) * self.outcomes.len() / members;
                (job < begins, job)
            }
            Turn::Chain { .. } => (false, usize::MAX - job),
            _ => (false, at),
        };
        let first = self.waiting.iter().enumerate().filter(fits).min_by_key(rank);
        let job = match first.map(|(at, _)| at) {
            Some(at) => self.waiting.remove(at)?,
            None => self.stuck(now).filter(|&job| !has_failed(job, member))?,
        };
        self.begun.push(Begun { job, member, at: now });
        Some(job)
    }

    /// A job for a member that works only where no one else does it: one at which all of `others` that work have
    /// failed, or that has been stuck for longer than they would have left it.
    pub fn take_last(
        &mut self,
        member: usize,
        now: Instant,
        mut others: impl Iterator<Item = usize> + Clone,
    ) -> Option<usize> {
        let failed = &self.failed;
        let is_left = |job: &usize| others.clone().all(|other| failed.contains(&(*job, other)));
        let job = match self.waiting.iter().position(is_left) {
            Some(at) => self.waiting.remove(at)?,
            None => {
                let patience = if others.next().is_some() { LEFT } else { Duration::ZERO };
                self.stuck(now.checked_sub(patience)?)?
            }
        };
        self.begun.push(Begun { job, member, at: now });
        Some(job)
    }

    /// The first job that only members have begun who have had it for too long.
    fn stuck(&self, now: Instant) -> Option<usize> {
        let limit = self.times.limit(self.patience);
        let late = |b: &&Begun| now.saturating_duration_since(b.at) > limit;
        let of = |job: usize| self.begun.iter().filter(move |b| b.job == job);
        self.begun.iter().filter(late).map(|b| b.job).find(|&job| of(job).all(|b| late(&b)))
    }

    /// Who else has begun a job, and how long ago.
    pub fn others(&self, job: usize, member: usize, now: Instant) -> Vec<(usize, Duration)> {
        let of = self.begun.iter().filter(|b| b.job == job && b.member != member);
        of.map(|b| (b.member, now.duration_since(b.at))).collect()
    }

    /// A member has done a job. The first outcome counts; another of the same kind has the same bits.
    pub fn settle(&mut self, member: usize, job: usize, done: Done, now: Instant) {
        if let Some(at) = self.begun.iter().position(|b| b.job == job && b.member == member) {
            self.times.add(now.duration_since(self.begun.swap_remove(at).at));
        }
        if self.is_wanted(job) {
            self.outcomes[job] = Some(done);
            self.begun.retain(|b| b.job != job);
        }
    }

    /// A member has failed at a job: it waits again, unless another does it or has done it.
    pub fn give_back(&mut self, member: usize, job: usize) {
        self.begun.retain(|b| !(b.job == job && b.member == member));
        self.failed.push((job, member));
        if self.is_wanted(job)
            && self.begun.iter().all(|b| b.job != job)
            && !self.waiting.contains(&job)
        {
            self.waiting.push_front(job);
        }
    }

    /// Whether a job still lacks an outcome.
    fn is_wanted(&self, job: usize) -> bool {
        job >= self.passed_on && self.outcomes[job].is_none()
    }

    /// The next outcome in order, once it is here.
    pub fn pass_on(&mut self) -> Option<Outcome> {
        let next = self.outcomes.get_mut(self.passed_on)?;
        let Done::Here(outcome) = next.take_if(|done| matches!(done, Done::Here(_)))? else {
            return None;
        };
        self.passed_on += 1;
        Some(outcome)
    }

    /// The links of the next chain, once each job that is left has been done.
    pub fn links(&self) -> Option<Vec<Link>> {
        let left = &self.outcomes[self.passed_on..];
        if left.iter().any(Option::is_none) {
            return None;
        }
        // What comes after an outcome that is here is added to that by itself: sums have one order.
        let most = if self.passed_on == 0 { left.len() } else { 1 };
        let mut links: Vec<Link> = Vec::new();
        for (done, job) in left.iter().take(most).zip(self.passed_on..) {
            let Some(Done::There(member, kept)) = done else { break };
            match links.last_mut().filter(|link| link.member == *member) {
                Some(link) => link.jobs.push(job),
                None => {
                    let (member, peer) = (*member, kept.peer.clone());
                    links.push(Link { member, peer, jobs: vec![job] });
                }
            }
        }
        Some(links).filter(|links| !links.is_empty())
    }

    /// The sum of a chain is here.
    pub fn has_come(&mut self, links: &[Link], tensors: Vec<Tensor<2>>) {
        let mut tensors = Some(tensors);
        for &job in links.iter().rev().flat_map(|link| link.jobs.iter().rev()) {
            let done = self.outcomes[job].take();
            self.outcomes[job] = match done {
                // The last job has the sum of all.
                Some(Done::There(_, kept)) => part(tensors.take().unwrap_or_default(), kept.sums),
                other => other,
            };
        }
    }

    /// What members have kept is lost: that of one, or of all. The jobs wait again.
    pub fn lose(&mut self, whose: Option<usize>) {
        for (job, done) in self.outcomes.iter_mut().enumerate() {
            let is_lost = |done: &mut Done| matches!(done, Done::There(member, _) if whose.is_none_or(|m| m == *member));
            if done.take_if(is_lost).is_some() {
                self.waiting.push_back(job);
            }
        }
    }

    /// Whether every outcome was passed on.
    pub fn is_over(&self) -> bool {
        self.passed_on == self.outcomes.len()
    }

    /// How long jobs of the kind have taken, these included.
    pub fn into_times(self) -> Times {
        self.times
    }
}
