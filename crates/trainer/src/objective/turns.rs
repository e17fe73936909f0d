//! Whose turn it is: a step imitates alone or samples, and a demonstration is read or passed over.

use crate::records::Example;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Turns that a demonstration is passed over at most before it is read again.
const LONGEST_WAIT: u32 = 64;

/// The state of both; kept in a run's checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turns {
    /// Share of the rollouts that were right in the last step that sampled.
    pub success: f64,
    /// How much of a step that imitates alone is due.
    pub due: f64,
    /// How many problems have had their turn.
    pub cursor: u64,
    /// The demonstrations that are passed over for a time, by a hash of prompt and text.
    pub waits: BTreeMap<u64, Wait>,
}

/// How long a demonstration is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// Turns in all.
    pub turns: u32,
    /// Turns that are left.
    pub left: u32,
}

impl Default for Turns {
    fn default() -> Self {
        Self { success: 1.0, due: 0.5, cursor: 0, waits: BTreeMap::new() }
    }
}

impl Turns {
    /// Whether the next step imitates alone: a share `least` of them does where all rollouts are right, and all where none
    /// is, since a group without a right one teaches nothing.
    pub fn imitates(&mut self, least: f64) -> bool {
        self.due += 1.0 - (1.0 - least) * self.success;
        let now = self.due >= 1.0;
        self.due -= f64::from(u8::from(now));
        now
    }

    /// Whether a demonstration is read in its turn.
    pub fn reads(&mut self, example: &Example) -> bool {
        match self.waits.get_mut(&key(example)) {
            Some(wait) if wait.left > 0 => {
                wait.left -= 1;
                false
            }
            _ => true,
        }
    }

    /// A demonstration was read and is known: as with cards that one learns by, it waits twice as long each time.
    pub fn known(&mut self, example: &Example) {
        let key = key(example);
        let before = self.waits.get(&key).map_or(0, |wait| wait.turns);
        let turns = (2 * before).clamp(1, LONGEST_WAIT);
        self.waits.insert(key, Wait { turns, left: turns });
    }

    /// A demonstration was read and is not known.
    pub fn unknown(&mut self, example: &Example) {
        self.waits.remove(&key(example));
    }

    /// A demonstration is wrong, or could not be judged.
    pub fn refused(&mut self, example: &Example) {
        let wait = Wait { turns: LONGEST_WAIT, left: LONGEST_WAIT };
        self.waits.insert(key(example), wait);
    }
}

/// FNV-1a, which is the same on every machine.
fn key(example: &Example) -> u64 {
    let demonstration = example.demonstration.as_deref().unwrap_or_default();
    let bytes = example.prompt.bytes().chain([0]).chain(demonstration.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(prompt: &str) -> Example {
        let demonstration = Some(format!("of {prompt}"));
        Example { prompt: prompt.into(), demonstration, ..Example::default() }
    }

    #[test]
    fn steps_imitate_by_share_and_more_where_rollouts_fail() {
        let imitated = |success: f64| {
            let mut turns = Turns { success, ..Turns::default() };
            (0..100).filter(|_| turns.imitates(0.75)).count()
        };
        assert_eq!((imitated(1.0), imitated(0.4), imitated(0.0)), (75, 90, 100));
    }

    #[test]
    fn what_is_known_is_read_ever_more_rarely() {
        let (mut turns, [one, other]) = (Turns::default(), ["one", "other"].map(example));
        let read: Vec<u32> = (0..40)
            .filter(|_| {
                let read = turns.reads(&one);
                if read {
                    turns.known(&one);
                }
                assert!(turns.reads(&other), "it is another's wait");
                read
            })
            .collect();
        assert_eq!(read, [0, 2, 5, 10, 19, 36]);
        turns.unknown(&one);
        assert!(turns.reads(&one) && turns.reads(&one));
        turns.refused(&other);
        assert_eq!((0..100).filter(|_| turns.reads(&other)).count(), 36);
        let text = serde_json::to_string(&turns).unwrap();
        assert_eq!(serde_json::from_str::<Turns>(&text).unwrap(), turns);
    }
}
