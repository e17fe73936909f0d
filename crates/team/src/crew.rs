//! A crew: hands the jobs of a step to its members, each on a thread of its own, and does some itself.

mod state;

use crate::chain::Chain;
use crate::queue::{PATIENCE, Round, Turn};
use crate::worker::{Again, Done, Weights, Worker, spawn};
use pollster::block_on;
use srft_trainer::error::{Error, Result};
use srft_trainer::learner::{Learner, Team};
use srft_trainer::shards::{Job, Outcome};
use state::{Open, State, Task};
use std::fmt::{self, Debug, Formatter};
use std::mem::discriminant;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The learner's own device, among the members.
const HERE: usize = 0;

/// How long a member waits before it looks again whether another's job is stuck.
const LOOK: Duration = Duration::from_millis(500);

/// A member that failed waits this part of the patience before it tries again, then twice as long each time.
const RETRY: u32 = 20;

/// The longest of these waits.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// What is said where the learner's own device does what was the workers'.
const ALONE: &str = "no worker is left: this device does the work, until one is back. If it is not of their kind, \
                     the last bits are others from here on";

/// After so many chains in a row that broke, gradients come straight here for the rest of the run.
const BREAKS: u32 = 3;

/// How long the end waits for members to finish.
const FAREWELL: Duration = Duration::from_secs(5);

/// Members that share a learner's work, and the learner's own device.
pub struct Crew {
    shared: Arc<Shared>,
    /// Whether the learner's own device works, or only when no one else is left.
    works_here: bool,
    turn: Turn,
    /// Whose turn gradients are, if they are added in a chain.
    chain: Option<Turn>,
    weights: Mutex<Option<Arc<Weights>>>,
}

/// What a member does next.
enum Work {
    Job(Task),
    /// To be a link of a chain.
    Chain(Arc<Chain>, Arc<Weights>),
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    patience: Duration,
}

impl Crew {
    /// A crew of workers. The learner's own device, if its kind is given, works too; else only when no one
    /// else is left.
    pub fn new(home: Option<&str>, workers: Vec<Box<dyn Worker>>) -> Self {
        Self::patient(home, workers, PATIENCE)
    }

    /// [`Crew::new`], with the least time after which a job is thought to be stuck.
    pub fn patient(home: Option<&str>, workers: Vec<Box<dyn Worker>>, patience: Duration) -> Self {
        let kinds: Vec<&str> = home.into_iter().chain(workers.iter().map(|w| w.kind())).collect();
        let alike = kinds.windows(2).all(|pair| pair[0] == pair[1]);
        let turn = match alike {
            true => Turn::Any,
            false => Turn::Fixed { first: usize::from(home.is_none()), members: kinds.len() },
        };
        let works_here = home.is_some();
        let links = workers.iter().filter(|worker| worker.links()).count();
        let first = HERE + 1 + workers.iter().take_while(|worker| !worker.links()).count();
        let members = kinds.len();
        let chain = (links > 1 && alike).then_some(Turn::Chain { first, links, members });
        let mut state = State { threads: workers.len(), ..State::default() };
        state.names.push("this device".into());
        state.names.extend(workers.iter().map(|worker| worker.name().to_string()));
        state.works = vec![true; state.names.len()];
        if !workers.is_empty() {
            let each = workers.iter().map(|w| format!("{} ({})", w.name(), w.kind()));
            state
                .news
                .push(format!("each step is shared with {}", each.collect::<Vec<_>>().join("; ")));
        }
        if !alike {
            state.news.push(
                "warning: the devices are not alike, and neither are their last bits: each shard is \
                 always the same device's, and other devices would give other numbers"
                    .into(),
            );
        }
        let state = Mutex::new(state);
        let shared = Arc::new(Shared { state, changed: Condvar::new(), patience });
        for (worker, member) in workers.into_iter().zip(HERE + 1..) {
            let shared = shared.clone();
            let work = move || {
                shared.work(member, worker);
                shared.lock().threads -= 1;
                shared.changed.notify_all();
            };
            spawn(work);
        }
        Self { shared, works_here, turn, chain, weights: Mutex::new(None) }
    }

    /// Adds a note for the user.
    pub fn tell(&self, news: &str) {
        self.shared.lock().news.push(news.into());
    }

    /// A learner's weights, read back where they have changed.
    fn weights(&self, learner: &Learner) -> Result<Arc<Weights>> {
        let mut held = self.weights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(weights) = held.as_ref().filter(|w| w.version == learner.version) {
            return Ok(weights.clone());
        }
        *held = None; // its memory first
        Ok(held.insert(Arc::new(block_on(Weights::of(learner))?)).clone())
    }
}

impl Team for Crew {
    fn perform(
        &self,
        learner: &Learner,
        jobs: Vec<Job>,
        each: &mut dyn FnMut(Outcome),
    ) -> Result<()> {
        if jobs.is_empty() {
            return Ok(());
        }
        let weights = self.weights(learner)?;
        let is_sum = jobs.len() > 1 && matches!(jobs[0], Job::Gradient { .. });
        let chain = self.chain.filter(|_| is_sum && self.shared.lock().breaks < BREAKS);
        self.shared.begin(Arc::new(jobs), weights, chain.unwrap_or(self.turn));
        let result = self.shared.see_through(learner, self.works_here, each);
        self.shared.lock().close();
        result
    }

    fn news(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lock().news)
    }

    fn at_work(&self) -> [usize; 2] {
        let state = self.shared.lock();
        let counted = &state.works[usize::from(!self.works_here)..];
        [counted.iter().filter(|works| **works).count(), counted.len()]
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    fn begin(&self, jobs: Arc<Vec<Job>>, weights: Arc<Weights>, turn: Turn) {
        let mut state = self.lock();
        let times = state.times.remove(&discriminant(&jobs[0])).unwrap_or_default();
        let round = Round::new(jobs.len(), turn, self.patience, times);
        let keeps = matches!(turn, Turn::Chain { .. });
        state.open = Some(Open { round, jobs, weights, keeps, chain: None });
        drop(state);
        self.changed.notify_all();
    }

    /// Passes on the outcomes of the open round in order, and does jobs in between.
    fn see_through(
        &self,
        learner: &Learner,
        works_here: bool,
        each: &mut dyn FnMut(Outcome),
    ) -> Result<()> {
        let mut state = self.lock();
        loop {
            let open = state.open.as_mut().expect("this round is open");
            if let Some(outcome) = open.round.pass_on() {
                drop(state);
                each(outcome);
                state = self.lock();
                continue;
            }
            if open.round.is_over() {
                return Ok(());
            }
            if state.look_after_chain(self.patience) {
                self.changed.notify_all();
            }
            let task = if works_here { state.take(HERE) } else { state.take_last() };
            match task {
                Some(task) => {
                    if !works_here && !state.stood_in {
                        state.stood_in = true;
                        state.news.push(ALONE.into());
                    }
                    drop(state);
                    let outcome = block_on(learner.perform(&task.jobs[task.job]))?;
                    state = self.lock();
                    state.settle(HERE, &task, Done::Here(outcome));
                }
                None => state = self.wait(state, LOOK),
            }
        }
    }

    /// A member's work, until the crew is closed or the member can do no more.
    fn work(&self, member: usize, mut worker: Box<dyn Worker>) {
        while let Some(work) = self.next(member) {
            let done = match &work {
                Work::Job(task) => self.perform(member, worker.as_mut(), task),
                Work::Chain(chain, weights) => {
                    self.pass_on(member, worker.as_mut(), chain, weights)
                }
            };
            if let Err(why) = done {
                let task = if let Work::Job(task) = &work { Some(task) } else { None };
                self.lock().fail(member, task, first_line(&why.to_string()));
                self.changed.notify_all();
                if !self.recovered(member, worker.as_mut()) {
                    return;
                }
            }
            self.changed.notify_all();
        }
    }

    /// Does a job.
    fn perform(&self, member: usize, worker: &mut dyn Worker, task: &Task) -> Result<()> {
        let Task { job: number, keeps, jobs, weights } = task;
        let job = &jobs[*number];
        let done = attempt(|| match *keeps && worker.links() {
            true => Ok(Done::There(member, worker.keep(weights, job, *number)?)),
            false => Ok(Done::Here(worker.perform(weights, job)?)),
        })?;
        self.lock().settle(member, task, done);
        Ok(())
    }

    /// Does a member's part of a chain.
    fn pass_on(
        &self,
        member: usize,
        worker: &mut dyn Worker,
        chain: &Arc<Chain>,
        weights: &Weights,
    ) -> Result<()> {
        if let Some(sum) = attempt(|| worker.pass_on(chain, member, weights))? {
            self.lock().has_come(chain, sum);
        }
        Ok(())
    }

    /// Waits until a member can work again; false if it never will, or the crew is closed.
    fn recovered(&self, member: usize, worker: &mut dyn Worker) -> bool {
        let mut pause = self.patience / RETRY;
        loop {
            let again = catch_unwind(AssertUnwindSafe(|| worker.recover()));
            let again = again.unwrap_or_else(|_| Again::Never("it panicked again".into()));
            let mut state = self.lock();
            match again {
                _ if state.is_closed => return false,
                Again::Never(why) => {
                    let why = first_line(&why);
                    let name = state.names[member].clone();
                    state.news.push(format!("{name} will not be asked again: {why}"));
                    return false;
                }
                Again::Now => {
                    state.works_again(member);
                    return true;
                }
                Again::Later => {
                    let until = Instant::now() + pause;
                    while Instant::now() < until && !state.is_closed {
                        state = self.wait(state, LOOK);
                    }
                    pause = (2 * pause).min(LONGEST_RETRY);
                }
            }
        }
    }

    /// What a member does next; nothing once the crew is closed.
    fn next(&self, member: usize) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            if let Some((chain, weights)) = state.join(member) {
                return Some(Work::Chain(chain, weights));
            }
            match state.take(member) {
                Some(task) => return Some(Work::Job(task)),
                None => state = self.wait(state, LOOK),
            }
        }
    }
}

/// Does what may panic.
fn attempt<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Error::machine("it panicked")))
}

/// An error's first line. The rest says what a user could do, and here the crew does it.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

impl Drop for Crew {
    /// Members that are at work get a while to finish: a driver may not like to be cut off.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_closed = true;
        self.shared.changed.notify_all();
        let end = Instant::now() + FAREWELL;
        while state.threads > 0 && Instant::now() < end {
            state = self.shared.wait(state, LOOK);
        }
    }
}

impl Debug for Crew {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("Crew").field("names", &state.names).field("works", &state.works).finish()
    }
}
