//! A chain of workers, in which what is large goes from one to the next and passes the coordinator once, whatever
//! their number: the weights on their way out, and the sum of a gradient's shards on its way back. Block by
//! block, so that all of its links are busy at once.

use srft_trainer::error::Result;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many blocks a link may be ahead of the next, which keeps its memory small.
const AHEAD: usize = 4;

/// Where another worker finds what one keeps for it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "remote", derive(serde::Serialize, serde::Deserialize))]
pub struct Peer {
    /// Its address, as others reach it.
    pub address: String,
    /// Which opening of the run it is there.
    pub session: u64,
}

/// How far a chain has come.
#[derive(Debug)]
struct Progress {
    /// The blocks that each link has done.
    done: Vec<usize>,
    /// When that last changed.
    since: Instant,
    /// Why it goes no further, if it does not.
    broken: Option<String>,
}

/// A link of a sum: a worker, and the jobs whose gradients it keeps, which are neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Which member of the crew.
    pub member: usize,
    /// Where the next link finds it.
    pub peer: Peer,
    /// Its jobs, in order.
    pub jobs: Vec<usize>,
}

/// The sum of gradients that workers keep, added in the order of the jobs.
#[derive(Debug)]
pub struct Chain {
    /// Its links, in order.
    pub links: Vec<Link>,
    progress: Mutex<Progress>,
    changed: Condvar,
}

impl Chain {
    /// A chain of which nothing is done.
    pub fn new(links: Vec<Link>) -> Self {
        let done = vec![0; links.len()];
        let progress = Progress { done, since: Instant::now(), broken: None };
        Self { links, progress: Mutex::new(progress), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a member of the crew is one of its links.
    pub fn has(&self, member: usize) -> bool {
        self.links.iter().any(|link| link.member == member)
    }

    /// Does a member's part: `add` does a block of one of its links, each when its turn has come. False if the chain is
    /// broken.
    pub fn take_part(
        &self,
        member: usize,
        blocks: usize,
        mut add: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<bool> {
        for block in 0..blocks {
            for link in (0..self.links.len()).filter(|&link| self.links[link].member == member) {
                if !self.wait(link) {
                    return Ok(false);
                }
                add(link, block)?;
                let mut progress = self.lock();
                progress.done[link] += 1;
                progress.since = Instant::now();
                drop(progress);
                self.changed.notify_all();
            }
        }
        Ok(self.lock().broken.is_none())
    }

    /// Waits until a link can do its next block: the link before it has that, and the one after it is not too far
    /// behind. False if the chain is broken.
    fn wait(&self, link: usize) -> bool {
        let waits = |Progress { done, broken, .. }: &mut Progress| {
            let block = done[link];
            let is_there = link == 0 || done[link - 1] > block;
            let has_room = done.get(link + 1).is_none_or(|&next| block < next + AHEAD);
            broken.is_none() && !(is_there && has_room)
        };
        let waited = self.changed.wait_while(self.lock(), waits);
        waited.unwrap_or_else(PoisonError::into_inner).broken.is_none()
    }

    /// Ends it. The first reason counts: others follow from it.
    pub fn break_off(&self, why: &str) {
        self.lock().broken.get_or_insert_with(|| why.into());
        self.changed.notify_all();
    }

    /// Why it is broken, if it is; also if nothing has come on for so long.
    pub fn broken(&self, patience: Duration) -> Option<String> {
        let mut progress = self.lock();
        if progress.broken.is_none() && progress.since.elapsed() > patience {
            let least = progress.done.iter().enumerate().min_by_key(|(_, done)| **done);
            let name = least.map_or("nobody", |(link, _)| &self.links[link].peer.address);
            progress.broken = Some(format!("nothing came of {name}"));
            self.changed.notify_all();
        }
        progress.broken.clone()
    }
}

/// How a version of the weights goes out: each worker gets them from the one that asked before it.
#[derive(Debug, Default)]
pub struct Outward {
    takers: Mutex<Vec<Arc<Taker>>>,
}

/// A worker on its way to a version of the weights.
#[derive(Debug)]
struct Taker {
    /// Where the next finds it.
    peer: Peer,
    before: Option<Arc<Taker>>,
    place: usize,
    blocks: Mutex<Blocks>,
    changed: Condvar,
}

/// What of a version is there.
#[derive(Debug, Default)]
struct Blocks {
    there: usize,
    is_over: bool,
}

impl Outward {
    /// A worker that gets the weights now.
    pub fn join(&self, peer: Peer) -> Taking {
        let mut takers = self.takers.lock().unwrap_or_else(PoisonError::into_inner);
        let taker = Arc::new(Taker {
            peer,
            before: takers.last().cloned(),
            place: takers.len(),
            blocks: Mutex::default(),
            changed: Condvar::new(),
        });
        takers.push(taker.clone());
        Taking(taker)
    }
}

/// A worker's own side of it. If it is dropped before all is there, no one waits for it any longer.
#[derive(Debug)]
pub struct Taking(Arc<Taker>);

impl Taking {
    /// How many have joined before.
    pub fn place(&self) -> usize {
        self.0.place
    }

    /// Who has joined before it, once that one has a block; no one, if it does not get it in time.
    pub fn before(&self, block: usize, patience: Duration) -> Option<&Peer> {
        let before = self.0.before.as_deref()?;
        before.has(block, patience).then_some(&before.peer)
    }

    /// One more block is there.
    pub fn got(&self) {
        self.0.lock().there += 1;
        self.0.changed.notify_all();
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_all();
    }
}

impl Taker {
    fn lock(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, block: usize, patience: Duration) -> bool {
        let waits = |blocks: &mut Blocks| blocks.there <= block && !blocks.is_over;
        let waited = self.changed.wait_timeout_while(self.lock(), patience, waits);
        waited.unwrap_or_else(PoisonError::into_inner).0.there > block
    }
}
