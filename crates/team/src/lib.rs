//! Several devices that share a run's steps.
//!
//! A config cuts a step into shards (`train.shards`); a [`srft_trainer::shards::Job`] is one of them, a function
//! of the weights and of what it says. So it does not matter which device does it, nor whether another had begun
//! it before: the outcomes are added in the order of the shards, and the run's numbers are those of one device.
//!
//! [`crew::Crew`] hands jobs to [`worker::Worker`]s, each on a thread of its own, and does some itself.
//! [`local::Devices`] makes workers of the devices of this machine; the feature `remote` adds those of others.

pub mod chain;
pub mod worker;
pub mod queue;
pub mod crew;
pub mod local;
pub mod traffic;
#[cfg(feature = "remote")]
pub mod remote;
