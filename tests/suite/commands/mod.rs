//! The program's commands, and what it generates.

mod analysis;
mod bench;
mod chat;
mod cli;
mod docs;
mod explain;
mod hub;
mod own_model;
mod study;
