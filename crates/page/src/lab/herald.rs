//! Tells what a run does, as events.

use super::Emit;
use super::protocol::Event;
use crate::eval::Score;
use crate::metrics::StepReport;
use crate::run::Observer;

/// Turns a run's observer calls into events.
pub struct Herald<'a> {
    /// Gets the events.
    pub emit: &'a Emit,
    /// The run; none: what is evaluated is the base.
    pub run: Option<u32>,
    /// Whether another worker tells the same.
    pub is_mute: bool,
}

impl Observer for Herald<'_> {
    fn evaluated(&mut self, step: u32, scores: &[Score]) {
        if self.is_mute {
            return;
        }
        let (run, scores) = (self.run, scores.iter().cloned().map(Into::into).collect());
        (self.emit)(Event::Evaluation { run, step, scores, asked: false }, None);
    }

    fn stepped(&mut self, report: &StepReport, _of: u32) {
        if let Some(run) = self.run {
            (self.emit)(Event::Step { run, report: report.clone() }, None);
        }
    }
}
