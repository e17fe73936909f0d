//! A report on runs: what happened in three sentences and a table, curves, sampled rollouts explained,
//! settings, environment. It is one HTML file, or text for a terminal. A study has a report too.
//!
//! `read` gives records; `sentences`, `results`, `chart`, `samples` and `settings` turn them into what
//! is shown; `html` and `text` show it. `study` and `forest` are for studies; `frame` is shared by all
//! pages.

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
pub use number::{grouped, significant, span};
pub use read::{RunRecord, Status, read_runs};
pub use sparkline::{live_lines, sparkline};
pub use study::{is_study, read_study, study_html, study_text};
pub use text::{tabled, text};
