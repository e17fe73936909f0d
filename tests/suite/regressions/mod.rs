//! Troubles that people reported of other trainers, tried here: a test names the public report that it
//! answers, in its name or in the line above it. Inputs and wording are ours.

mod data;
mod folders;
mod objective;
#[cfg(unix)] // signals
mod resume;
mod speed;
mod text;
mod verifiers;
mod words;
mod writers;
