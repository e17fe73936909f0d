//! Errors that drivers report on their own, outside any call, and who must learn of them.

use crate::error::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many errors a device's driver has reported outside any call (a lost device, out of memory, a
/// validation error), and the last one's words.
#[derive(Debug, Clone, Default)]
pub struct Complaints(Arc<Mutex<(usize, String)>>);

impl Complaints {
    /// Adds a complaint.
    pub fn add(&self, words: String) {
        log::error!("{words}");
        if let Ok(mut last) = LAST_WORDS.lock() {
            *last = Some(words.clone());
        }
        let mut said = self.said();
        *said = (said.0 + 1, words);
    }

    /// A listener for complaints from now on.
    pub fn listener(&self) -> Listener {
        Listener { heard: self.said().0, complaints: self.clone() }
    }

    fn said(&self) -> MutexGuard<'_, (usize, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Learns of a driver's complaints. Each run on a shared device has a listener of its own: a complaint does
/// not say whose work was refused, so every run must hear it.
#[derive(Debug, Clone)]
pub struct Listener {
    complaints: Complaints,
    heard: usize,
}

impl Listener {
    /// An error if the driver has complained since this listener began: what it refused was not computed, so
    /// every result since may be wrong.
    pub fn require_silence(&self) -> Result<()> {
        let said = self.complaints.said();
        if said.0 == self.heard {
            return Ok(());
        }
        Err(Error::machine(format!("the driver complained: {}", said.1))
            .next("resume the run; if it happens again, update the driver or use --device cpu"))
    }
}

/// The last complaint of any driver. Read by [`last_words`] when a readback fails.
static LAST_WORDS: Mutex<Option<String>> = Mutex::new(None);

/// The driver's last complaint, for error messages.
pub fn last_words() -> Option<String> {
    LAST_WORDS.lock().ok()?.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two runs of a study share a GPU: the one that looks first must not hide the complaint from the other.
    #[test]
    fn everyone_who_shares_a_device_hears_its_driver() {
        let (shared, other) = (Complaints::default(), Complaints::default());
        let runs = [shared.listener(), shared.listener(), other.listener()];
        let heard = |runs: &[Listener]| -> Vec<bool> {
            runs.iter().map(|run| run.require_silence().is_err()).collect()
        };
        assert_eq!(heard(&runs), [false; 3]);
        shared.add("refused a shader".into());
        for _ in 0..2 {
            assert_eq!(heard(&runs), [true, true, false]);
        }
        assert!(runs[1].require_silence().unwrap_err().what.contains("refused a shader"));
        let later = shared.listener();
        assert_eq!(heard(std::slice::from_ref(&later)), [false], "it began afterwards");
        shared.add("lost".into());
        assert_eq!(heard(&[later]), [true]);
    }
}
