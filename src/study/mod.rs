//! A study: rows × regimes × seeds, each an ordinary run, and tables made from their folders.
//!
//! `OUT/runs/REGIME/ROW/seed-N` are the runs, `OUT/tuning/…` the trials of rows with a grid,
//! `OUT/bases/NAME` the bases made for the study. The folders alone tell what is done, so a study
//! resumes however it was stopped.

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
