//! A loss term of your own, and an optimiser of your own: the `Learner` gives the gradient of SRFT's
//! loss, to which this adds that of λ/2·‖w − w₀‖², a pull to the weights before training, and goes down it.
//!
//!     cargo run --release --example loss_term
//!
//! A term that looks at tokens (their probability, entropy, advantage) belongs into the kernel instead:
//! ARCHITECTURE.md, "Where to change what".

#![allow(clippy::print_stdout, reason = "an example is a program of its own")]

use srft::config::Config;
use srft::device::select;
use srft::error::Result;
use srft::objective::assemble;
use srft::ops::adamw::squared_norm;
use srft::ops::readback;
use srft::run::{Parts, trainer};

const LR: f64 = 0.05;
const LAMBDA: f64 = 0.1;

fn main() -> Result<()> {
    pollster::block_on(train("auto")).map(drop)
}

/// Three steps; returns the distance from the weights before training after each.
pub async fn train(device: &str) -> Result<Vec<f64>> {
    let config =
        Config::resolve(&[Config::layer("rollout = { prompts = 4, group = 4 }", "here")?])?;
    let objective = config.objective.clone();
    let Parts { mut trainer, .. } = trainer(config, &select(device).await?.device)?;
    let began = trainer.learner.policy.clone();
    let mut distances = Vec::new();
    for step in 0..3 {
        let examples = trainer.source.examples(0, step, 4);
        let groups = trainer.groups(examples).await?;
        let update = assemble(&groups, &objective);
        let gradient = trainer.learner.gradient(&update, step).await?;
        let weights = trainer.learner.policy.parameters_mut();
        for ((w, g), w0) in weights.into_iter().zip(gradient.tensors).zip(began.parameters()) {
            let pull = (w.tensor.clone() - w0.tensor) * LAMBDA;
            *w.tensor = w.tensor.clone() - (g + pull) * LR;
        }
        let moved = trainer.learner.policy.parameters().into_iter().zip(began.parameters());
        let moved: Vec<_> = moved.map(|(w, w0)| w.tensor - w0.tensor).collect();
        let distance = readback::floats(squared_norm(&moved)).await?[0].sqrt();
        println!("step {step}: gradient {:.3}, moved {distance:.4}", gradient.norm);
        distances.push(f64::from(distance));
        trainer.step = step + 1;
    }
    Ok(distances)
}
