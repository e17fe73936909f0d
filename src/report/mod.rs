//! A report on runs: what happened in three sentences and a table, curves, sampled rollouts taken
//! apart, settings, environment. As one HTML file, or as text for a terminal. And one on a study.
//!
//! `read` gives records; `sentences`, `results`, `chart`, `samples` and `settings` make of them what
//! is shown; `html` and `text` show it. `study` and `forest` have a study's; `frame` is every page's.

mod chart;
mod charts;
mod csv;
mod findings;
#[cfg(test)]
mod fixture;
mod forest;
mod frame;
mod html;
mod look;
mod number;
mod read;
mod results;
mod samples;
mod scale;
mod sentences;
mod settings;
mod sparkline;
mod study;
mod text;

pub use html::html;
pub use read::{RunRecord, Status, read_runs};
pub use sparkline::{live_lines, sparkline};
pub use study::{is_study, read_study, study_html, study_text};
pub use text::{tabled, text};
