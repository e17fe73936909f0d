//! Other workers, from which a worker of a chain takes what they keep for it.

use crate::chain::Peer;
use crate::remote::keys::{Keys, Role};
use crate::remote::line::Line;
use crate::remote::message::{Answer, Item};
use crate::remote::shelf::Shelf;
use srft_trainer::error::Result;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A connection that was lost before says so within this time.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The others.
pub struct Neighbours {
    keys: Keys,
    /// What is kept for them.
    pub shelf: Arc<Shelf>,
    /// Lines to them, by address.
    lines: HashMap<String, Line>,
}

impl Neighbours {
    /// Those with the same token.
    pub fn new(keys: &Keys) -> Self {
        Self { keys: keys.clone(), shelf: Arc::default(), lines: HashMap::new() }
    }

    /// Takes what another worker keeps for this one, whose own opening `item` names.
    pub fn take(&mut self, peer: &Peer, item: Item) -> std::result::Result<Vec<u32>, Answer> {
        let item = Item { session: peer.session, ..item };
        let begun = Instant::now();
        let mut taken = self.line(&peer.address).and_then(|line| line.take(&item));
        // A connection that was lost long ago says so at once.
        if taken.is_err() && begun.elapsed() < AT_ONCE {
            taken = self.line(&peer.address).and_then(|line| line.take(&item));
        }
        taken.map_err(|error| Answer::Absent { what: format!("{}: {}", peer.address, error.what) })
    }

    /// A line to another worker, connected.
    pub fn line(&mut self, address: &str) -> Result<&mut Line> {
        if !self.lines.contains_key(address) {
            let line = Line::new(address, &self.keys, Role::Worker)?;
            self.lines.insert(address.into(), line);
        }
        let line = self.lines.get_mut(address).expect("it was put there");
        line.connect()?;
        Ok(line)
    }
}
