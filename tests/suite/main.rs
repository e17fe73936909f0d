//! All that needs burn, in one binary, since linking it takes longest: one module a room. What needs no burn is
//! in `tests/source` and `crates/formats/tests`.

#[path = "../common/alone.rs"]
mod alone;
#[path = "../backends/mod.rs"]
mod backends;
#[path = "../common/mod.rs"]
mod common;
#[path = "../models/mod.rs"]
mod models;
#[path = "../program/mod.rs"]
mod program;
#[path = "../../crates/hub/tests/hub/server.rs"]
#[allow(dead_code, reason = "crates/hub has the tests of a network's faults")]
mod server;

mod bad_luck;
mod commands;
mod examples;
mod memory;
mod model;
mod objective;
mod ops;
mod page;
mod regressions;
mod run;
