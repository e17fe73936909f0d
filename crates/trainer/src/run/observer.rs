//! Who watches a run.

use crate::eval::Score;
use crate::metrics::StepReport;
use std::path::Path;

/// Receives a run's events while it trains: the terminal, the page or Python.
pub trait Observer {
    /// An evaluation is done; `step` 0 is the base.
    fn evaluated(&mut self, _step: u32, _scores: &[Score]) {}
    /// An update is done.
    fn stepped(&mut self, _report: &StepReport, _of: u32) {}
    /// A checkpoint is on disk.
    fn saved(&mut self, _path: &Path) {}
    /// So many devices share the steps now, of how many; told before each step's update is.
    fn shared(&mut self, _at_work: usize, _of: usize) {}
    /// A note that the user should see at once.
    fn noted(&mut self, _note: &str) {}
}

/// Ignores all events.
impl Observer for () {}
