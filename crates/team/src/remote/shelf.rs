//! What a worker keeps for the next in a chain.

use super::message::{Answer, Item, decode, encode};
use srft_trainer::error::{Error, Result};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Blocks that other workers will take.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<HashMap<Item, Vec<u32>>>);

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, HashMap<Item, Vec<u32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a block.
    pub fn put(&self, item: Item, block: Vec<u32>) {
        self.lock().insert(item, block);
    }

    /// Forgets what no one has taken.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The answer to a message that asks for a block; it is given once.
    pub fn answer(&self, words: &[u32]) -> Vec<u32> {
        let asked: Result<(Item, _)> = decode(words);
        let found = asked.map(|(item, _)| self.lock().remove(&item));
        let missing = || Error::machine("it keeps no such block");
        match found.and_then(|found| found.ok_or_else(missing)) {
            Ok(block) => encode(&Answer::Block, &[&block]),
            Err(error) => encode(&Answer::failed(&error), &[]),
        }
    }
}
