//! A study: rows × regimes × seeds, each an ordinary run, and tables made from their folders.
//!
//! `OUT/runs/REGIME/ROW/seed-N` are the runs, `OUT/tuning/…` the trials of rows that have a grid,
//! `OUT/bases/NAME` the bases that were made for the study. What is done is known from the folders
//! alone, so a study that was stopped, in whatever way, goes on where it was.

mod carry_out;
pub mod finished;
mod inputs;
mod queue;
pub mod results;
mod runs;
mod spec;
pub mod stats;
pub mod tables;

pub use queue::Queue;
pub use runs::{Choice, SPEC, Study, Task};
pub use spec::{Base, Cell, PRESETS, Point, Regime, Row, Spec, TableSpec, preset};
