//! What may come out of a file, as `packed` has it for gzip.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::fields::Result;
use super::super::packed::{MOST_BYTES, most, too_much};

/// Bytes that may still be taken, by all who share it.
#[derive(Clone)]
pub struct Budget {
    most: usize,
    taken: Arc<AtomicUsize>,
}

impl Budget {
    /// For a file of `size` bytes.
    pub fn of(size: usize) -> Self {
        Self { most: most(size, MOST_BYTES), taken: Arc::default() }
    }

    pub fn left(&self) -> usize {
        self.most.saturating_sub(self.taken.load(Ordering::Relaxed))
    }

    /// An error if there is less than that.
    pub fn allows(&self, bytes: usize) -> Result<()> {
        match bytes <= self.left() {
            true => Ok(()),
            false => Err(too_much(self.most)),
        }
    }

    pub fn take(&self, bytes: usize) -> Result<()> {
        self.allows(bytes)?;
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}
