//! `srft worker`: runs whose steps are shared with other processes, over loopback, give the bits of one; whatever
//! is killed, stopped or cut off. Built with the feature `remote`.

#[path = "../program/mod.rs"]
#[allow(dead_code, reason = "the suite uses the rest")]
mod program;
mod relay;
mod worker;

mod bits;
mod faults;
mod messages;
#[cfg(target_os = "linux")]
mod namespaces;
mod refusals;
