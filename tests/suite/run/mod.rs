//! Rollouts, training steps, and runs from beginning to end.

mod device_loss;
mod kill_and_resume;
mod lab;
mod prefix;
mod rollout;
mod team;
mod traffic;
mod training;
mod updates;
